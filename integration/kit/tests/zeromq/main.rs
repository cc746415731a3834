//! The kit over ZeroMQ: a broker in a process of its own, in memory and with a journal, over TCP and over a path, with a
//! proxy that makes the link bad, and a broker that is killed, stopped and paused. One more has a wall clock that jumps: see
//! `clock.rs`.
//!
//! The broker is this program again, with `POLYBUS_KIT_ZMQ` set.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a test harness says")]

mod child;
mod clock;
mod kills;
mod serve;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use polybus_kit::proxy::Proxy;
use polybus_kit::{Case, CaseReport, Faults, RunOptions, Subject, Times, Verdict, cases, run_case};

use child::{Child, SECRET, WRONG_SECRET};

/// What cannot be run on any of them: nothing is encrypted, the contract has no signatures, nobody fills the disk of the
/// broker or keeps it from handing out, and clocks are turned elsewhere.
const NOT_RUN: [&str; 8] = ["J7", "J8", "J9", "K1s", "K2s", "K3s", "K4s", "R3"];

/// The leases of the kit's queues.
const LEASE: Duration = Duration::from_secs(1);

/// One of the subjects.
#[derive(Clone, Copy)]
struct Under {
    name: &'static str,
    journal: bool,
    ipc: bool,
    /// Its wall clock can be turned.
    clock: bool,
    /// What cannot be run on this one besides.
    not_run: &'static [&'static str],
}

const SUBJECTS: [Under; 3] = [
    Under { name: "memory", journal: false, ipc: false, clock: false, not_run: &["I2"] },
    Under { name: "journal", journal: true, ipc: false, clock: false, not_run: &[] },
    // A path has no proxy in front of it.
    Under { name: "path", journal: false, ipc: true, clock: false, not_run: &["I2", "J3", "J4"] },
];

/// For the one case that turns the clock.
const CLOCK: Under = Under { name: "clock", journal: true, ipc: false, clock: true, not_run: &[] };

impl Under {
    fn runs(&self, case: &Case) -> bool {
        !NOT_RUN.contains(&case.id) && !self.not_run.contains(&case.id)
    }

    /// The bus, with a neighbour, with who can do harm to it, and one who knows a wrong secret where there are secrets.
    async fn subject(&self) -> Result<Subject, Failed> {
        let (broker, neighbour) = (Child::start(*self).await?, Child::start(*self).await?);
        let mut faults: Vec<Arc<dyn Faults>> = Vec::new();
        let mut url = broker.url(SECRET);
        if !self.ipc {
            let proxy = Proxy::start(broker.address()).await?;
            url = broker.url_at(&proxy.address().to_string(), SECRET);
            faults.push(Arc::new(proxy));
        }
        let broker = Arc::new(broker);
        faults.push(broker.clone());
        // A busy machine takes its time: what is handed out shall be seen before its lease is over.
        let times = Times::default().with_lease(LEASE).with_redelivery(LEASE / 2);
        let other = Subject::from_url(&neighbour.url(SECRET))?;
        let mut subject = Subject::from_url(&url)?
            .with_neighbour(move || {
                let _kept = &neighbour;
                other.open()
            })
            .with_times(times)
            .with_faults(Arc::new(faults));
        if self.journal {
            let stranger = Subject::from_url(&broker.url(WRONG_SECRET))?;
            subject = subject.with_stranger(WRONG_SECRET, move || stranger.open());
        }
        Ok(subject)
    }

    /// The lists above are true: each case on them says why it cannot be run. One that can be belongs off the list.
    fn says_what_is_not_run(&self) -> Result<(), Failed> {
        let listed: Vec<_> = cases::all().into_iter().filter(|case| !self.runs(case)).collect();
        let report = runtime()?.block_on(async {
            Ok::<_, Failed>(polybus_kit::run(&self.subject().await?, &listed, &RunOptions::default()).await)
        })?;
        let dishonest = |case: &&CaseReport| case.verdict != Verdict::NotRun || case.why.is_empty();
        match report.cases.iter().find(dishonest) {
            Some(case) => Err(format!("it is on the list of what is not run: {case}").into()),
            None if report.cases.len() == NOT_RUN.len() + self.not_run.len() => Ok(()),
            None => Err("the list of what is not run names cases that do not exist".into()),
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failed> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

fn judge(case: &Case, under: Under) -> Result<(), Failed> {
    let report = runtime()?.block_on(async {
        Ok::<_, Failed>(run_case(&under.subject().await?, case, &RunOptions::default()).await)
    })?;
    match report.verdict {
        Verdict::Pass | Verdict::Refused => Ok(()),
        Verdict::Fail | Verdict::NotRun => Err(report.to_string().into()),
    }
}

/// Whether it measures this process, so that nothing else may run in it.
fn is_alone(case: &Case) -> bool {
    case.group() == "R" || case.id == "B6"
}

fn main() -> ExitCode {
    if let Some(how) = std::env::var_os(serve::HOW) {
        return serve::serve(&how);
    }
    let mut arguments = Arguments::from_args();
    let trials = |alone: bool| {
        let cases = move |under: Under| {
            cases::all().into_iter().filter(move |case| is_alone(case) == alone).map(move |case| {
                let name = format!("{}::{}_{}", under.name, case.id.to_lowercase(), case.name);
                let runs = under.runs(&case);
                Trial::test(name, move || judge(&case, under)).with_ignored_flag(!runs)
            })
        };
        SUBJECTS.into_iter().flat_map(cases)
    };
    let honest = SUBJECTS.into_iter().map(|under| {
        Trial::test(format!("{}::says_what_is_not_run", under.name), move || under.says_what_is_not_run())
    });
    let killed = Trial::test("journal::killed_twenty_times", || kills::twenty(SUBJECTS[1]));
    let clock = clock::trial(|case| judge(case, CLOCK));
    let first = trials(false).chain(honest).chain([killed]).chain(clock).collect::<Vec<_>>();
    let second = trials(true).collect::<Vec<_>>();
    if arguments.list {
        return libtest_mimic::run(&arguments, first.into_iter().chain(second).collect()).exit_code();
    }
    println!("NOT RUN, open: J9 on a turned clock: a request expires by the wall clock of whoever holds it");
    // Most of them wait.
    arguments.test_threads.get_or_insert(8);
    let first = libtest_mimic::run(&arguments, first);
    arguments.test_threads = Some(1);
    let second = libtest_mimic::run(&arguments, second);
    if first.has_failed() || second.has_failed() { ExitCode::from(101) } else { ExitCode::SUCCESS }
}
