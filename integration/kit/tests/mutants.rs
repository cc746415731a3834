//! The kit is tested by mutants (K6): each is killed by its case, and each case kills one.
//!
//! In virtual time: a wait costs nothing, so a mutant that hangs is found as fast as one that lies.

#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::path::Path;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};
use polybus_kit::mutants::{self, Mutant};
use polybus_kit::{Case, CaseReport, MutantReport, Report, RunOptions, Selection, Subject, Verdict, cases};

/// A seed at which each flaw that strikes by chance strikes within the cases' traffic.
const SEED: u64 = 20_261_121;

/// Cases that no mutant can meet here, and why. Each of them ends as "not run" or refused, and never as a pass.
const NOT_HERE: &[(&str, &str)] = &[
    ("K1s", "needs a listener without TLS"),
    ("K2s", "needs a listener with a certificate of another host"),
    ("K3s", "the contract has no signatures yet"),
    ("K4s", "the contract has no signatures yet"),
    ("R3", "compares two reports; its own tests are in `parity`"),
];

/// Set in the process of a test that has one of its own.
const ALONE: &str = "POLYBUS_KIT_ALONE";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials: Vec<_> = mutants::ALL.iter().map(killed).collect();
    trials.push(Trial::test("k6_each_case_kills_a_mutant", each_case_kills));
    trials.push(alone("k6_a_correct_bus_passes".to_owned(), correct_passes));
    trials.push(alone("k6_the_report_shows_who_kills_whom".to_owned(), matrix));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A test in a process of its own. What the others have taken and given back would hide what a bus keeps.
fn alone(name: String, test: impl FnOnce() -> Result<(), Failed> + Send + 'static) -> Trial {
    let only = name.clone();
    Trial::test(name, move || {
        if std::env::var_os(ALONE).is_some() {
            return test();
        }
        let mut process = Command::new(std::env::current_exe()?);
        let done = process.args(["--exact", &only]).env(ALONE, "1").output()?;
        if done.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&done.stdout).into_owned().into())
        }
    })
}

/// A correct bus of its own, that can be away and full, has a second tenant, and knows a wrong password.
fn correct(name: &str) -> Subject {
    let fresh = |name: &str| {
        let url = format!("embedded:{name}-{}?max_message=1048576", uuid::Uuid::new_v4());
        Subject::from_url(&url).expect("a bus in memory")
    };
    let neighbour = fresh("neighbour");
    let subject = fresh(name).with_neighbour(move || neighbour.open());
    mutants::with_weather(&mutants::with_stranger(&subject))
}

fn in_virtual_time<F: Future>(work: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().expect("a runtime").block_on(work)
}

fn options() -> RunOptions {
    RunOptions::default().with_seed(SEED)
}

/// What the selected cases did to the mutant.
fn report_of(mutant: &Mutant, selection: Selection) -> Option<MutantReport> {
    let only = options().with_selection(selection);
    let reports = in_virtual_time(mutants::run(correct, &[*mutant], &cases::all(), &only));
    reports.into_iter().next()
}

/// The mutant is killed by each case that its row names.
fn killed(mutant: &'static Mutant) -> Trial {
    let name = format!("k6_{}_is_killed_by_{}", mutant.name, mutant.killers.join("_and_").to_lowercase());
    let test = move || {
        let killers = Selection::cases(mutant.killers.iter().copied());
        let report = report_of(mutant, killers).ok_or("no report")?;
        if report.is_killed() {
            return Ok(());
        }
        let words: Vec<_> = report.cases.iter().map(ToString::to_string).collect();
        Err(format!("\"{}\" lives: {}", mutant.flaw, words.join("; ")).into())
    };
    if mutant.group == "R" { alone(name, test) } else { Trial::test(name, test) }
}

/// A case that kills nothing proves nothing. That each killer kills is what the other tests show.
fn each_case_kills() -> Result<(), Failed> {
    let kills = |case: &&Case| mutants::ALL.iter().any(|mutant| mutant.killers.contains(&case.id));
    let excused = |case: &&Case| NOT_HERE.iter().any(|(id, _)| *id == case.id);
    let all = cases::all();
    let idle: Vec<_> = all.iter().filter(|case| !kills(case) && !excused(case)).collect();
    if !idle.is_empty() {
        return Err(format!("these kill no mutant: {idle:?}").into());
    }
    let needless: Vec<_> = all.iter().filter(|case| kills(case) && excused(case)).collect();
    if needless.is_empty() { Ok(()) } else { Err(format!("excused for nothing: {needless:?}").into()) }
}

/// Without a flaw nothing is killed, so that a kill means something.
fn correct_passes() -> Result<(), Failed> {
    let report = in_virtual_time(polybus_kit::run(&correct("correct"), &cases::all(), &options()));
    let excused = |id: &str| NOT_HERE.iter().any(|(other, _)| *other == id);
    let wrong = |case: &&CaseReport| match case.verdict {
        Verdict::Pass => excused(&case.id),
        Verdict::Fail => true,
        Verdict::Refused | Verdict::NotRun => !excused(&case.id),
    };
    let wrong: Vec<_> = report.cases.iter().filter(wrong).map(ToString::to_string).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// Every mutant meets the cases of its group, and the page says what came of it.
fn matrix() -> Result<(), Failed> {
    let mut report = Report::new(&correct("matrix"), SEED);
    // Those that keep memory come first, while there is none that others gave back.
    let (keeping, others): (Vec<&Mutant>, Vec<&Mutant>) =
        mutants::ALL.iter().partition(|mutant| mutant.group == "R");
    for mutant in keeping.into_iter().chain(others) {
        let killers = mutant.killers.iter().copied();
        report.mutants.extend(report_of(mutant, Selection::groups([mutant.group]).and_cases(killers)));
    }
    let place = |report: &MutantReport| mutants::ALL.iter().position(|mutant| mutant.name == report.name);
    report.mutants.sort_by_key(place);
    let [json, page] = report.write(Path::new(env!("CARGO_TARGET_TMPDIR")))?;
    let (json, page) = (std::fs::read_to_string(json)?, std::fs::read_to_string(page)?);
    for mutant in mutants::ALL {
        if !(json.contains(mutant.name) && page.contains(mutant.name)) {
            return Err(format!("{} is not in the report", mutant.name).into());
        }
    }
    let alive: Vec<_> =
        report.mutants.iter().filter(|mutant| !mutant.is_killed()).map(|mutant| &mutant.name).collect();
    if alive.is_empty() { Ok(()) } else { Err(format!("alive in their own group: {alive:?}").into()) }
}
