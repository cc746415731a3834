//! The kit is tested by mutants (K6): each is killed by its case, and each case kills one.
//!
//! In virtual time: a wait costs nothing, so a mutant that hangs is found as fast as one that lies.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use polybus_kit::mutants::{self, Mutant};
use polybus_kit::{Case, Report, RunOptions, Selection, Subject, Verdict, cases};

/// A seed at which each flaw that strikes by chance strikes within the cases' traffic.
const SEED: u64 = 20_261_121;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials: Vec<_> = mutants::ALL.iter().map(killed).collect();
    if std::env::var_os("KIT_MATRIX").is_some() {
        trials.push(Trial::test("matrix", matrix));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A correct bus of its own.
fn correct(name: &str) -> Subject {
    let url = |name: &str| format!("embedded:{name}-{}?max_message=1048576", uuid::Uuid::new_v4());
    let subject = Subject::from_url(&url(name)).expect("a bus in memory");
    let neighbour = Subject::from_url(&url("neighbour")).expect("a bus in memory");
    mutants::with_stranger(&subject.with_neighbour(move || neighbour.open()))
}

fn in_virtual_time<F: Future>(work: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().expect("a runtime").block_on(work)
}

fn options() -> RunOptions {
    RunOptions::default().with_seed(SEED)
}

fn killed(mutant: &'static Mutant) -> Trial {
    let name = format!("k6_{}_is_killed_by_{}", mutant.name, mutant.killer.to_lowercase());
    Trial::test(name, move || {
        let only = options().with_selection(Selection::cases([mutant.killer]));
        let reports = in_virtual_time(mutants::run(correct, &[*mutant], &cases::all(), &only));
        let report = reports.first().ok_or("no report")?;
        if report.is_killed() {
            return Ok(());
        }
        let words: Vec<_> = report.cases.iter().map(ToString::to_string).collect();
        Err(format!("{} lives: {}", mutant.flaw, words.join("; ")).into())
    })
}

fn matrix() -> Result<(), Failed> {
    let all: Vec<Case> = cases::all();
    let began = std::time::Instant::now();
    let only: Vec<Mutant> = match std::env::var("KIT_MATRIX") {
        Ok(names) if names != "all" => mutants::ALL
            .iter()
            .filter(|mutant| names.split(',').any(|name| name == mutant.name))
            .copied()
            .collect(),
        _ => mutants::ALL.to_vec(),
    };
    let mut report = in_virtual_time(polybus_kit::run(&correct("matrix"), &all, &options()));
    eprintln!(
        "correct: {}",
        report
            .cases
            .iter()
            .filter(|case| case.verdict != Verdict::Pass)
            .map(|case| format!("\n  {case}"))
            .collect::<String>()
    );
    let mut slow: Vec<_> = report.cases.iter().map(|case| (case.elapsed_ms, case.id.as_str())).collect();
    slow.sort_unstable();
    eprintln!("slowest: {:?}", slow.iter().rev().take(16).collect::<Vec<_>>());
    eprintln!("correct took {:?}", began.elapsed());
    for mutant in &only {
        let began = std::time::Instant::now();
        let reports = in_virtual_time(mutants::run(correct, &[*mutant], &all, &options()));
        for found in &reports {
            let by: Vec<_> = found
                .cases
                .iter()
                .filter(|case| case.verdict == Verdict::Fail)
                .map(|case| case.id.as_str())
                .collect();
            eprintln!("{:24} {:3} {:?} in {:?}", found.name, found.killers.join(","), by, began.elapsed());
        }
        report.mutants.extend(reports);
    }
    let idle: Vec<_> = mutants::idle(&all, &report.mutants).iter().map(|case| case.id).collect();
    eprintln!("idle: {idle:?} in {:?}", began.elapsed());
    Ok(drop::<Report>(report))
}
