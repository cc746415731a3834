//! The kit on the embedded bus, in this process and behind the line protocol: one test for each case.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use libtest_mimic::{Arguments, Failed, Trial};
use polybus_kit::process::{Process, serve_process};
use polybus_kit::{Case, RunOptions, Subject, Verdict, cases, run_case};

/// Each test has a bus of its own, since each has a runtime of its own.
static BUSES: AtomicU64 = AtomicU64::new(0);

/// A bus that nobody else has. Its largest message is small enough to be sent often.
fn url() -> String {
    format!("embedded:kit-{}?max_message=1048576", BUSES.fetch_add(1, Ordering::Relaxed))
}

type Make = fn() -> Result<Subject, Failed>;

fn in_memory() -> Result<Subject, Failed> {
    Ok(Subject::from_url(&url())?.with_neighbour_url(&url())?)
}

/// The same bus behind both ends of the line protocol, in this process.
fn behind_the_protocol() -> Result<Subject, Failed> {
    let (served, neighbour) = (over_pipes()?, over_pipes()?);
    let subject = Subject::new("embedded behind the protocol", move || served.handle());
    Ok(subject.with_neighbour(move || neighbour.handle()))
}

fn over_pipes() -> Result<Arc<Process>, Failed> {
    let bus = Subject::from_url(&url())?;
    let (kit, process) = tokio::io::duplex(1 << 16);
    let (input, output) = tokio::io::split(process);
    tokio::spawn(serve_process(move || bus.open(), input, output));
    let (input, output) = tokio::io::split(kit);
    Ok(Process::over(input, output))
}

/// The same bus in a process of its own.
fn in_a_child() -> Result<Subject, Failed> {
    let (served, neighbour) = (child()?, child()?);
    let subject = Subject::new("embedded in a child process", move || served.handle());
    Ok(subject.with_neighbour(move || neighbour.handle()))
}

fn child() -> Result<Arc<Process>, Failed> {
    let program = std::fs::canonicalize(env!("CARGO_BIN_EXE_polybus-kit"))?;
    let arguments = ["serve", "--bus", &url()].map(OsString::from);
    Ok(Process::new([program.into_os_string()].into_iter().chain(arguments)))
}

fn judge(case: &Case, subject: Make) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let report = runtime
        .block_on(async { Ok::<_, Failed>(run_case(&subject()?, case, &RunOptions::default()).await) })?;
    match report.verdict {
        Verdict::Pass | Verdict::Refused => Ok(()),
        Verdict::Fail | Verdict::NotRun => Err(report.to_string().into()),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let subjects: [(&str, Make); 3] =
        [("memory", in_memory), ("protocol", behind_the_protocol), ("process", in_a_child)];
    let trials = subjects.into_iter().flat_map(|(name, subject)| {
        cases::all().into_iter().map(move |case| {
            let name = format!("{name}::{}_{}", case.id.to_lowercase(), case.name);
            Trial::test(name, move || judge(&case, subject))
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
