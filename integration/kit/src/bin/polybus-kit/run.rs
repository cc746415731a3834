//! `polybus-kit run`.

use std::path::PathBuf;
use std::time::Duration;

use polybus_kit::process::Process;
use polybus_kit::{Report, RunOptions, Selection, Subject, Times, Verdict, cases, parity, run_case};

use crate::{BROKEN, GOOD, INCOMPLETE, Outcome, UNUSABLE, say};

/// What to run, on what.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The bus to judge, by its URL. A bus in this process needs a name: embedded:kit
    #[arg(long, value_name = "URL", required_unless_present = "process", conflicts_with = "process")]
    bus: Option<String>,
    /// The process to judge: a command with its arguments, split at blanks, that speaks the line protocol
    #[arg(long, value_name = "COMMAND")]
    process: Option<String>,
    /// Another tenant of the same bus, by its URL, for the cases about isolation
    #[arg(long, value_name = "URL", requires = "bus")]
    neighbour: Option<String>,
    /// Another bus, by its URL: run the cases of groups A to I on it too, and compare (case R3)
    #[arg(long, value_name = "URL", conflicts_with = "against_process")]
    against: Option<String>,
    /// Another process: as --against
    #[arg(long, value_name = "COMMAND")]
    against_process: Option<String>,
    /// Run the cases of this group (repeatable)
    #[arg(long, value_name = "LETTER")]
    group: Vec<String>,
    /// Run this case, by id or name (repeatable)
    #[arg(long, value_name = "ID")]
    case: Vec<String>,
    /// The seed of all chance [default: a new one, which is printed]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// A time that the bus declares: lease=300ms, redelivery=200ms, patience=20s, liveness=10s, outage=5s (repeatable)
    #[arg(long, value_name = "NAME=TIME")]
    time: Vec<String>,
    /// The longest that one case may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    case_bound: u64,
    /// Write report.json, report.html and the bundles of failing cases into this folder
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Print the report as JSON instead of lines
    #[arg(long)]
    json: bool,
    /// A case that was not run is a fault: exit with 3
    #[arg(long)]
    require_all: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    crate::runtime()?.block_on(judge(arguments))
}

/// The bus of a URL, or of a process that is killed and started again as a fault.
fn bus_of(url: Option<&str>, command: Option<&str>, times: Times) -> Result<Option<Subject>, String> {
    let subject = match (url, command) {
        (Some(url), _) => Subject::from_url(url).map_err(|error| error.to_string())?,
        (None, Some(command)) => {
            let process = Process::new(command.split_whitespace());
            let faults = process.clone();
            Subject::new(command, move || process.handle()).with_faults(faults)
        }
        (None, None) => return Ok(None),
    };
    Ok(Some(subject.with_times(times)))
}

/// What is judged, and what it is compared with.
fn subjects(arguments: &Arguments) -> Result<(Subject, Option<Subject>), String> {
    let mut times = Times::default();
    for text in &arguments.time {
        times = crate::times::set(times, text)?;
    }
    let subject = bus_of(arguments.bus.as_deref(), arguments.process.as_deref(), times)?
        .ok_or("neither a bus nor a process was given")?;
    let against = bus_of(arguments.against.as_deref(), arguments.against_process.as_deref(), times)?;
    let subject = match &arguments.neighbour {
        Some(url) => subject.with_neighbour_url(url).map_err(|error| error.to_string())?,
        None => subject,
    };
    Ok((subject, against))
}

async fn judge(arguments: &Arguments) -> Outcome {
    let (subject, against) = subjects(arguments)?;
    let mut selection = Selection::groups(arguments.group.iter()).and_cases(arguments.case.iter());
    if against.is_some() && selection != Selection::all() {
        selection = selection.and_cases([parity::CASE]);
    }
    let all = cases::all();
    let unknown = selection.unknown(&all);
    if !unknown.is_empty() {
        return Err(format!("no such case or group: {}", unknown.join(", ")));
    }
    let mut options = RunOptions::default()
        .with_selection(selection)
        .with_bundles(arguments.report.clone())
        .with_case_bound(Duration::from_secs(arguments.case_bound));
    if let Some(seed) = arguments.seed {
        options = options.with_seed(seed);
    }
    // Held while it runs: a bus in this process lives as long as somebody holds it.
    let anchor = connect(&subject).await?;
    // A bus that is not there is told before anything runs.
    let other_anchor = match &against {
        Some(other) => Some(connect(other).await?),
        None => None,
    };
    let mut report = Report::new(&subject, options.seed);
    report.describe(&anchor.profile());
    let line = |text: &str| {
        if !arguments.json {
            say(text);
        }
    };
    line(&format!("{}: seed {}", subject.name(), options.seed));
    for case in all.iter().filter(|case| options.selection.has(case)) {
        let done = run_case(&subject, case, &options).await;
        if against.is_none() || case.id != parity::CASE {
            line(&done.to_string());
        }
        report.add(done);
    }
    if let Some(other) = &against {
        line(&format!("the same on {}, to compare", other.name()));
        parity::run(&mut report, other, &all, &options).await;
        report.cases.iter().filter(|case| case.id == parity::CASE).for_each(|case| line(&case.to_string()));
    }
    drop(other_anchor);
    tell(arguments, &report)
}

/// Connects once before the cases, and makes sure that two handles are on the same bus.
async fn connect(subject: &Subject) -> Result<std::sync::Arc<dyn polybus_contract::Transport>, String> {
    let (one, two) = (subject.open(), subject.open());
    for handle in [&one, &two] {
        handle
            .connect(subject.times().patience)
            .await
            .map_err(|error| format!("{}: {error}", subject.name()))?;
    }
    if one.profile().instance == two.profile().instance {
        return Ok(one);
    }
    let instances = format!("{} and {}", one.profile().instance, two.profile().instance);
    Err(format!(
        "{}: each handle is on a bus of its own ({instances}); name the bus, as embedded:kit",
        subject.name()
    ))
}

fn tell(arguments: &Arguments, report: &Report) -> Outcome {
    if arguments.json {
        say(report.json().map_err(|error| error.to_string())?.trim_end());
    } else {
        say(&report.summary());
    }
    if let Some(folder) = &arguments.report {
        let files = report.write(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        if !arguments.json {
            for file in &files {
                say(&file.display().to_string());
            }
        }
    }
    let nothing_ran = report.count(Verdict::Pass) + report.count(Verdict::Refused) == 0;
    Ok(match report.count(Verdict::Fail) {
        0 if arguments.require_all && report.count(Verdict::NotRun) > 0 => INCOMPLETE,
        0 if nothing_ran => UNUSABLE,
        0 => GOOD,
        _ => BROKEN,
    })
}
