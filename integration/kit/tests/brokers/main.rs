//! The kit on real brokers: RabbitMQ 3.10 and 4.0, NATS 2.9, 2.10 and 2.15, one test for each case and broker.
//!
//! Each version has one broker that its tests share, and another one that is killed, stopped, paused and filled, by one
//! test at a time. Cases that measure the process have one of their own each, after the others. Then a report of each broker is
//! written, and compared with the embedded bus (R3).
//!
//! A broker that cannot be started fails its tests. With `POLYBUS_ALLOW_MISSING` set they are shown as ignored instead.
//! With `POLYBUS_KIT_BROKERS=later` nothing is run: `integration/test.sh` does so while it runs all other tests.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a test harness says")]

mod foreign;
mod harm;
mod parity;
mod stand;

use std::env;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::thread;

use libtest_mimic::{Arguments, Failed, Trial};
use polybus_brokers::{Kind, Product};
use polybus_kit::{Case, cases};

use crate::parity::Embedded;
use crate::stand::Stand;

/// What cannot be run on a broker, and says why when it is: nobody can turn their clocks, the contract has no signatures,
/// and NATS cannot be made to hand out nothing.
const fn not_run(product: Product) -> &'static [&'static str] {
    match product {
        Product::RabbitMq => &["J9", "K3s", "K4s"],
        Product::Nats => &["J7", "J9", "K3s", "K4s"],
    }
}

/// What is open: cases that do not hold on a broker yet, or not always. They are not run here and are shown so, and do
/// not count as passed. `polybus-kit run` runs them.
const OPEN: [(Kind, &str, &str); 4] = [
    (Kind::NATS_2_9, "D6", "servers before 2.10 may lose sight of a message that is given back"),
    (Kind::NATS_2_9, "I3", "servers before 2.10 may lose sight of a message that is given back"),
    (Kind::NATS_2_9, "I8", "servers before 2.10 may lose sight of a message that is given back"),
    (
        Kind::NATS_2_9,
        "J2",
        "servers before 2.10 may wait after a kill for acks of messages that they no longer have",
    ),
];

/// The test that compares reports.
const PARITY: &str = "r3_embedded_equals_live";

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if env::var("POLYBUS_KIT_BROKERS").is_ok_and(|when| when == "later") {
        eprintln!("NOT RUN: the kit on brokers is left to a step of its own");
        return ExitCode::SUCCESS;
    }
    let seed = seed();
    let kinds = Kind::ALL.into_iter().filter(|kind| arguments.list || is_wanted(&arguments, *kind));
    let stands: Vec<_> = kinds.map(|kind| Arc::new(Stand::new(kind, seed))).collect();
    let missing = if arguments.list { Vec::new() } else { start_all(&stands) };
    let is_missing = |stand: &Stand| missing.contains(&stand.kind);

    let trials = |alone: bool| {
        let cases = cases::all().into_iter().filter(move |case| is_alone(case) == alone);
        let cases: Vec<_> = cases.filter(|case| !is_parity(case)).collect();
        // All brokers at once: case by case, not broker by broker.
        cases.into_iter().flat_map(|case| {
            let runs = |stand: &Stand| {
                let listed = not_run(stand.kind.product()).contains(&case.id);
                !is_missing(stand) && !listed && !is_open(stand.kind, case.id)
            };
            stands
                .iter()
                .map(move |stand| trial(stand.clone(), case).with_ignored_flag(!runs(stand)))
                .collect::<Vec<_>>()
        })
    };
    let honest = stands.iter().map(|stand| {
        let (name, runs) = (name(stand.kind, "says_what_is_not_run"), !is_missing(stand));
        let stand = stand.clone();
        let listed = not_run(stand.kind.product());
        Trial::test(name, move || stand.says_what_is_not_run(listed)).with_ignored_flag(!runs)
    });
    let embedded = Arc::new(Embedded::default());
    let compared = stands.iter().map(|stand| {
        let (stand, embedded, runs) = (stand.clone(), embedded.clone(), !is_missing(stand));
        let name = name(stand.kind, PARITY);
        Trial::test(name, move || embedded.compare(&stand)).with_ignored_flag(!runs)
    });
    let first: Vec<_> = trials(false).chain(honest).collect();
    let second: Vec<_> = trials(true).chain(compared).collect();
    if arguments.list {
        return libtest_mimic::run(&arguments, first.into_iter().chain(second).collect()).exit_code();
    }
    println!("seed {seed}; POLYBUS_KIT_SEED={seed} repeats it");
    for (kind, case, why) in OPEN {
        println!("NOT RUN, open: {case} on {kind}: {why}");
    }
    // Most of them wait for their turn.
    arguments.test_threads.get_or_insert(64);
    let first = libtest_mimic::run(&arguments, first);
    arguments.test_threads = Some(1);
    let second = libtest_mimic::run(&arguments, second);
    for stand in &stands {
        stand.close();
    }
    if first.has_failed() || second.has_failed() { ExitCode::from(101) } else { ExitCode::SUCCESS }
}

/// Starts the brokers, all at once, and says which are missing where that is allowed.
fn start_all(stands: &[Arc<Stand>]) -> Vec<Kind> {
    let starting: Vec<_> = stands
        .iter()
        .map(|stand| {
            let stand = stand.clone();
            thread::spawn(move || stand.start().err().map(|why| (stand.kind, why)))
        })
        .collect();
    let failed: Vec<_> = starting.into_iter().filter_map(|thread| thread.join().ok().flatten()).collect();
    let allowed = env::var_os("POLYBUS_ALLOW_MISSING").is_some();
    for (kind, why) in &failed {
        eprintln!("{} {kind}: {why}", if allowed { "NOT RUN" } else { "FAILED" });
    }
    failed.into_iter().filter(|_| allowed).map(|(kind, _)| kind).collect()
}

fn trial(stand: Arc<Stand>, case: Case) -> Trial {
    let name = case_name(stand.kind, &case);
    if is_alone(&case) && env::var_os(ALONE).is_none() {
        return Trial::test(name.clone(), move || in_a_process_of_its_own(&name));
    }
    Trial::test(name, move || stand.judge(&case))
}

/// Set for the process in which one case measures what the process takes.
const ALONE: &str = "POLYBUS_KIT_ALONE";

/// What this process took for the tests before would be in the way of a case that measures it.
fn in_a_process_of_its_own(name: &str) -> Result<(), Failed> {
    let run = Command::new(env::current_exe()?).args(["--exact", name]).env(ALONE, "1").output()?;
    if run.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned().into())
}

fn name(kind: Kind, what: &str) -> String {
    format!("{}::{what}", kind.word())
}

fn case_name(kind: Kind, case: &Case) -> String {
    name(kind, &format!("{}_{}", case.id.to_lowercase(), case.name))
}

fn is_open(kind: Kind, case: &str) -> bool {
    OPEN.iter().any(|(on, id, _)| *on == kind && *id == case)
}

/// Whether it measures this process.
fn is_alone(case: &Case) -> bool {
    case.group() == "R" || case.id == "B6"
}

fn is_parity(case: &Case) -> bool {
    case.id == polybus_kit::parity::CASE
}

/// Whether the command line asks for any test of this broker: one that nobody asks for is not started.
fn is_wanted(arguments: &Arguments, kind: Kind) -> bool {
    let matches = |name: &String, filter: &String| {
        if arguments.exact { name == filter } else { name.contains(filter.as_str()) }
    };
    let cases = cases::all().into_iter().map(|case| case_name(kind, &case));
    let mut names = cases.chain([name(kind, "says_what_is_not_run")]);
    names.any(|name| {
        arguments.filter.as_ref().is_none_or(|filter| matches(&name, filter))
            && !arguments.skip.iter().any(|skip| matches(&name, skip))
    })
}

fn seed() -> u64 {
    env::var("POLYBUS_KIT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..))
}
