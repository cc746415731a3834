//! The kit on the embedded bus, in this process and behind the line protocol: one test for each case.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use libtest_mimic::{Arguments, Failed, Trial};
use polybus_kit::process::{Process, serve_process};
use polybus_kit::{Case, CaseReport, RunOptions, Subject, Verdict, cases, run_case};

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

/// A bus with a journal in a process of its own, which can be killed.
fn journal_in_a_child() -> Result<Subject, Failed> {
    let folder = tempfile::tempdir()?;
    let served = serving(&format!("embedded://{}?max_message=1048576", folder.path().display()))?;
    let neighbour = child()?;
    let subject = Subject::new("embedded with a journal in a child process", {
        let served = served.clone();
        // The folder goes when the subject does.
        move || {
            let _kept = &folder;
            served.handle()
        }
    });
    Ok(subject.with_neighbour(move || neighbour.handle()).with_faults(served))
}

fn child() -> Result<Arc<Process>, Failed> {
    serving(&url())
}

fn serving(url: &str) -> Result<Arc<Process>, Failed> {
    let program = std::fs::canonicalize(env!("CARGO_BIN_EXE_polybus-kit"))?;
    let arguments = ["serve", "--bus", url].map(OsString::from);
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

/// What cannot be run on any of them: they have no link that could be bad, no client that outlives its bus, no password that
/// could be wrong, and so on.
const NOT_RUN: [&str; 13] =
    ["I2", "J3", "J4", "J5", "J6", "J7", "J8", "J9", "K1s", "K2s", "K3s", "K4s", "R3"];

/// One of the subjects.
#[derive(Clone, Copy)]
struct Under {
    name: &'static str,
    make: Make,
    /// What cannot be run on this one besides.
    not_run: &'static [&'static str],
}

const SUBJECTS: [Under; 4] = [
    // Nobody stops or kills a bus in this process; in a child somebody does.
    Under { name: "memory", make: in_memory, not_run: &["G10", "H3", "I5"] },
    Under { name: "journal", make: with_a_journal, not_run: &["G10", "H1", "H3", "I5", "J1", "J2"] },
    Under { name: "protocol", make: behind_the_protocol, not_run: &["G10", "H3", "I5"] },
    Under { name: "process", make: journal_in_a_child, not_run: &[] },
];

impl Under {
    fn runs(&self, case: &Case) -> bool {
        !NOT_RUN.contains(&case.id) && !self.not_run.contains(&case.id)
    }

    /// The lists above are true: each case on them says why it cannot be run. One that can be belongs off the list.
    fn says_what_is_not_run(&self) -> Result<(), Failed> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listed: Vec<_> = cases::all().into_iter().filter(|case| !self.runs(case)).collect();
        let report = runtime.block_on(async {
            Ok::<_, Failed>(polybus_kit::run(&(self.make)()?, &listed, &RunOptions::default()).await)
        })?;
        let dishonest = |case: &&CaseReport| case.verdict != Verdict::NotRun || case.why.is_empty();
        match report.cases.iter().find(dishonest) {
            Some(case) => Err(format!("it is on the list of what is not run: {case}").into()),
            None if report.cases.len() == NOT_RUN.len() + self.not_run.len() => Ok(()),
            None => Err("the list of what is not run names cases that do not exist".into()),
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = SUBJECTS.into_iter().flat_map(|under| {
        cases::all().into_iter().map(move |case| {
            let name = format!("{}::{}_{}", under.name, case.id.to_lowercase(), case.name);
            // Shown as ignored, loudly: what is not run is no pass.
            let runs = under.runs(&case);
            Trial::test(name, move || judge(&case, under.make)).with_ignored_flag(!runs)
        })
    });
    let honest = SUBJECTS.into_iter().map(|under| {
        Trial::test(format!("{}::says_what_is_not_run", under.name), move || under.says_what_is_not_run())
    });
    libtest_mimic::run(&arguments, trials.chain(honest).collect()).exit_code()
}
