//! The kit on the embedded bus: one test for each case.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use libtest_mimic::{Arguments, Failed, Trial};
use polybus_kit::{Case, RunOptions, Subject, Verdict, cases, run_case};

/// Each test has a bus of its own, since each has a runtime of its own.
static BUSES: AtomicU64 = AtomicU64::new(0);

fn in_memory() -> Result<Subject, Failed> {
    let number = BUSES.fetch_add(1, Ordering::Relaxed);
    let subject = Subject::from_url(&format!("embedded:kit-{number}?max_message=1048576"))?;
    let neighbour = format!("embedded:kit-{number}-neighbour?max_message=1048576");
    let other = polybus::Bus::open(&neighbour)?.transport().clone();
    Ok(subject.with_neighbour(move || {
        polybus::Bus::open(&neighbour).map_or(other.clone(), |bus| bus.transport().clone())
    }))
}

fn judge(case: &Case, subject: Result<Subject, Failed>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let report = runtime.block_on(run_case(&subject?, case, &RunOptions::default()));
    match report.verdict {
        Verdict::Pass | Verdict::Refused => Ok(()),
        Verdict::Fail | Verdict::NotRun => Err(report.to_string().into()),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = cases::all().into_iter().map(|case| {
        Trial::test(format!("memory::{}_{}", case.id.to_lowercase(), case.name), move || {
            judge(&case, in_memory())
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
