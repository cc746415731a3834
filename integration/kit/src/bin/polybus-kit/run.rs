//! `polybus-kit run`.

use std::path::PathBuf;
use std::time::Duration;

use polybus_kit::process::Process;
use polybus_kit::{Report, RunOptions, Selection, Subject, Times, Verdict, cases, run_case};

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
    /// Run the cases of this group (repeatable)
    #[arg(long, value_name = "LETTER")]
    group: Vec<String>,
    /// Run this case, by id or name (repeatable)
    #[arg(long, value_name = "ID")]
    case: Vec<String>,
    /// The seed of all chance [default: a new one, which is printed]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// A time that the bus declares: lease=300ms, redelivery=200ms, patience=20s (repeatable)
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

fn subject(arguments: &Arguments) -> Result<Subject, String> {
    let mut times = Times::default();
    for text in &arguments.time {
        times = crate::times::set(times, text)?;
    }
    let subject = match (&arguments.bus, &arguments.process) {
        (Some(url), _) => Subject::from_url(url).map_err(|error| error.to_string())?,
        (None, Some(command)) => {
            let process = Process::new(command.split_whitespace());
            Subject::new(command.as_str(), move || process.handle())
        }
        (None, None) => return Err("neither a bus nor a process was given".to_owned()),
    };
    let subject = subject.with_times(times);
    match &arguments.neighbour {
        Some(url) => subject.with_neighbour_url(url).map_err(|error| error.to_string()),
        None => Ok(subject),
    }
}

async fn judge(arguments: &Arguments) -> Outcome {
    let subject = subject(arguments)?;
    let selection = Selection::groups(arguments.group.iter()).and_cases(arguments.case.iter());
    let all = cases::all();
    let unknown = selection.unknown(&all);
    if !unknown.is_empty() {
        return Err(format!("no such case or group: {}", unknown.join(", ")));
    }
    let mut options = RunOptions::default()
        .with_bundles(arguments.report.clone())
        .with_case_bound(Duration::from_secs(arguments.case_bound));
    if let Some(seed) = arguments.seed {
        options = options.with_seed(seed);
    }
    // Held while it runs: a bus in this process lives as long as somebody holds it.
    let anchor = connect(&subject).await?;
    let mut report = Report::new(&subject, options.seed);
    report.describe(&anchor.profile());
    if !arguments.json {
        say(&format!("{}: seed {}", subject.name(), options.seed));
    }
    for case in all.iter().filter(|case| selection.has(case)) {
        let done = run_case(&subject, case, &options).await;
        if !arguments.json {
            say(&done.to_string());
        }
        report.add(done);
    }
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
