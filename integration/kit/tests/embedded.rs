//! The kit on the embedded bus, in this process and behind the line protocol: one test for each case.

use std::ffi::OsString;
use std::path::Path;
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

/// The bus that keeps a journal, in a folder of its own.
fn with_a_journal() -> Result<Subject, Failed> {
    let (folder, neighbour) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let url = |folder: &Path| format!("embedded://{}?max_message=1048576", folder.display());
    let other = Subject::from_url(&url(neighbour.path()))?;
    let subject = Subject::from_url(&url(folder.path()))?;
    // The folders go when the subject does.
    Ok(subject.with_neighbour(move || {
        let _kept = (&folder, &neighbour);
        other.open()
    }))
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

/// What cannot be run here, because nobody stops a bus in this process, or gives it a wrong password, and so on.
const NOT_RUN: [&str; 9] = ["G10", "H3", "I2", "I5", "K1s", "K2s", "K3s", "K4s", "R3"];

/// The list above is true: each of them says why it cannot be run. A case that can be belongs off the list.
fn not_run_is_said() -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listed: Vec<_> = cases::all().into_iter().filter(|case| NOT_RUN.contains(&case.id)).collect();
    let report = runtime.block_on(async {
        Ok::<_, Failed>(polybus_kit::run(&in_memory()?, &listed, &RunOptions::default()).await)
    })?;
    let honest = |case: &polybus_kit::CaseReport| case.verdict == Verdict::NotRun && !case.why.is_empty();
    match report.cases.iter().find(|case| !honest(case)) {
        Some(case) => Err(format!("it is on the list of what is not run: {case}").into()),
        None if report.cases.len() == NOT_RUN.len() => Ok(()),
        None => Err("the list of what is not run names cases that do not exist".into()),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let subjects: [(&str, Make); 4] = [
        ("memory", in_memory),
        ("journal", with_a_journal),
        ("protocol", behind_the_protocol),
        ("process", in_a_child),
    ];
    let trials = subjects.into_iter().flat_map(|(subject_name, subject)| {
        cases::all().into_iter().map(move |case| {
            let name = format!("{subject_name}::{}_{}", case.id.to_lowercase(), case.name);
            // Shown as ignored, loudly: what is not run is no pass.
            // A journal survives a kill, but nobody kills a bus in this process: the kill runs do that.
            let unkillable = subject_name == "journal" && case.id == "H1";
            let runs = !NOT_RUN.contains(&case.id) && !unkillable;
            Trial::test(name, move || judge(&case, subject)).with_ignored_flag(!runs)
        })
    });
    let trials = trials.chain([Trial::test("what_is_not_run_says_why", not_run_is_said)]);
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
