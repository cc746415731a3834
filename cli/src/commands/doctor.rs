//! `polybus doctor`: what on a bus will bite, what it means, and what to do about it.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Parser;
use clap::builder::NonEmptyStringValueParser as Text;
use polybus::examine::{Examination, examine};
use polybus::{Finding, Grade};
use serde_json::{Value, json};

use crate::console::{Failure, Notices, Outcome, print};
use crate::options::{Flags, General, Serving, Shared};
use crate::program::Called;
use crate::session::{BUILT_IN, BuiltIn, Place, begin, planned, until_signal};

/// Look over a bus for what will bite the services on it: limits, settings of what exists, permissions, alarms, clocks.
///
/// It takes the words that `polybus serve` takes, and judges by them. Each finding has a word, a consequence and a
/// remedy; what the bus does not tell is unknown and not guessed. Nothing on the bus is changed. Ends with 0 if there is no
/// fault, otherwise with 1.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Services that are, or will be, served there. Default: all of this program.
    #[arg(value_name = "NAME")]
    services: Vec<String>,
    /// The broker's management interface (of RabbitMQ: `http://HOST:15672`), which tells more. Its account is that of the bus;
    /// another one may stand in front of the host, in `POLYBUS_MANAGEMENT` or a configuration file.
    #[arg(long, value_name = "URL", value_parser = Text::new())]
    management: Option<String>,
    /// End with 1 for warnings, too.
    #[arg(long)]
    strict: bool,
    /// Print one JSON object, with what is fine and what is unknown.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    serving: Serving,
}

impl Shared for Options {
    fn general(&self) -> &General {
        self.serving.general()
    }

    fn flags(&self, flags: &mut Flags) {
        self.serving.flags(flags);
        flags.take("--management", "management", self.management.as_ref());
    }
}

const EXAMPLES: &str = "\
Examples:
  {program} --bus URL                                   the bus, and all services of this program
  {program} anon --jobs 4 --job-seconds 3600 --bus URL  one service, as it will be served
  {program} --strict --json --bus URL                   for a program that watches over a bus
";

pub(crate) fn run(called: &Called, words: Vec<OsString>) -> ExitCode {
    begin::<Options, _>(called, words, |options| options, look)
}

fn look(called: &Called, options: &Options, notices: &Notices) -> Outcome {
    let services = match options.services.as_slice() {
        [] => BUILT_IN.iter().collect(),
        names => names.iter().map(|name| BuiltIn::named(name)).collect::<Outcome<Vec<_>>>()?,
    };
    let place = Place::find(called, options, notices)?;
    let management = place.settings.management.as_ref().map(|url| url.expose().to_owned());
    let plan = planned(&place, &services, &options.serving)?.with_management(management);
    notices.progress(|| "looking over the bus".to_owned());
    let found = until_signal(async { Ok(examine(place.url(), &plan).await) })?;
    print(&if options.json { format!("{}\n", as_json(&found)) } else { as_text(&found) })?;
    let bad = if options.strict { Grade::Warning } else { Grade::Fault };
    if found.worst() < bad { Ok(()) } else { Err(Failure::Ended(polybus::exit::FAILED)) }
}

fn as_text(found: &Examination) -> String {
    let mut text = format!("bus {}: {found}\n", found.url);
    for grade in [Grade::Fault, Grade::Warning, Grade::Notice] {
        found
            .findings
            .iter()
            .filter(|finding| finding.grade == grade)
            .for_each(|finding| tell(&mut text, finding));
    }
    for grade in [Grade::Unknown, Grade::Fine] {
        let these: Vec<_> = found.findings.iter().filter(|finding| finding.grade == grade).collect();
        if these.is_empty() {
            continue;
        }
        add(&mut text, format_args!("\n{grade}\n"));
        let width = these.iter().map(|finding| finding.diagnosis.code.len()).max().unwrap_or(0);
        for finding in these {
            let Finding { diagnosis, object, observed, .. } = finding;
            add(&mut text, format_args!("  {:width$}  {object}: {observed}\n", diagnosis.code));
        }
    }
    text
}

fn tell(text: &mut String, finding: &Finding) {
    let Finding { diagnosis, grade, object, observed, services, .. } = finding;
    let of = if services.is_empty() { String::new() } else { format!(" ({})", services.join(", ")) };
    add(text, format_args!("\n{grade}: {}: {object}{of}\n", diagnosis.code));
    for (word, line) in
        [("found", observed.as_str()), ("means", diagnosis.meaning), ("remedy", diagnosis.remedy)]
    {
        add(text, format_args!("  {word:6}  {line}\n"));
    }
}

fn as_json(found: &Examination) -> Value {
    let findings = found.findings.iter().map(|finding| {
        json!({
            "code": finding.diagnosis.code,
            "grade": finding.grade.name(),
            "object": finding.object,
            "observed": finding.observed,
            "services": finding.services,
            "meaning": finding.diagnosis.meaning,
            "remedy": finding.diagnosis.remedy,
        })
    });
    json!({
        "bus": found.url,
        "worst": found.worst().name(),
        "findings": findings.collect::<Vec<_>>(),
    })
}

/// Writing to a text cannot fail.
fn add(text: &mut String, more: std::fmt::Arguments<'_>) {
    let _written = text.write_fmt(more);
}
