//! `polybus check`: what a bus can do, and whether that is enough.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Parser;
use polybus::{BUSES, Bus, Capability, Feature, Needs, Unmet, exit};
use serde_json::{Value, json};

use crate::console::{Failure, Notices, Outcome, print};
use crate::options::Calling;
use crate::program::Called;
use crate::session::{BUILT_IN, BuiltIn, Patience, Place, begin, until_signal};

/// Connect to the bus, show what it can do, and whether the services could be served on it.
///
/// Each unmet need is named with the buses of this build that would meet it. Ends with 0 if the bus is there and
/// every need is met, otherwise with 78.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Services whose needs are looked at. Default: all of this program.
    #[arg(value_name = "NAME")]
    services: Vec<String>,
    /// Needs beside those of the services, by their names in the table.
    #[arg(long, value_name = "FEATURE[,FEATURE]", value_delimiter = ',')]
    require: Vec<Feature>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    calling: Calling,
}

const EXAMPLES: &str = "\
Examples:
  {program}                                   the bus of the settings, all services
  {program} --bus embedded: anon              one service on a bus inside this process
  {program} --require durability_disk,redrive with needs of your own
";

/// What is needed for something, and what of it the bus lacks.
struct Verdict {
    name: String,
    about: &'static str,
    unmet: Vec<Unmet>,
}

pub(crate) fn run(called: &Called, words: Vec<OsString>) -> ExitCode {
    begin::<Options, _>(called, words, |options| &options.calling, check)
}

fn check(called: &Called, options: &Options, notices: &Notices) -> Outcome {
    let services = match options.services.as_slice() {
        [] => BUILT_IN.iter().collect(),
        names => names.iter().map(|name| BuiltIn::named(name)).collect::<Outcome<Vec<_>>>()?,
    };
    let place = Place::find(called, &options.calling, notices).map_err(as_configuration)?;
    let bus = until_signal(place.connect(Patience::Once, notices)).map_err(as_configuration)?.bus;
    let capability = bus.transport().profile().capability;
    // A bus may take less than the default limit of frames: that is no need unless somebody stated it.
    let size = place.limited.then_some(place.settings.max_bytes);
    let verdicts = verdicts(&services, options, size, &capability);
    print(&if options.json {
        format!("{}\n", as_json(&bus, &capability, &verdicts))
    } else {
        as_text(&bus, &capability, &verdicts)
    })?;
    let unmet: usize = verdicts.iter().map(|verdict| verdict.unmet.len()).sum();
    if unmet == 0 {
        Ok(())
    } else {
        Err(Failure::configuration(format!("{unmet} needs are not met by {bus}")))
    }
}

/// Whatever keeps the bus away, the check has found that things are not set up; usage and signals stay what they are.
fn as_configuration(failure: Failure) -> Failure {
    match failure {
        Failure::Told { exit, code, text } if exit != exit::USAGE => {
            Failure::Told { exit: exit::CONFIGURATION, code, text }
        }
        other => other,
    }
}

fn verdicts(
    services: &[&BuiltIn],
    options: &Options,
    size: Option<u64>,
    capability: &Capability,
) -> Vec<Verdict> {
    let of = |name: &str, about, needs: Needs| Verdict {
        name: name.to_owned(),
        about,
        unmet: needs.unmet(capability),
    };
    let served = services
        .iter()
        .map(|service| of(service.name, service.about, BuiltIn::needs().with_message_size(size)));
    let own = Needs::of(options.require.iter().copied());
    let own = (!own.features.is_empty()).then(|| of("--require", "asked for", own));
    served.chain(own).collect()
}

fn able(unmet: &Unmet) -> Vec<&'static str> {
    BUSES.iter().filter(|kind| unmet.met_by(&(kind.capability)())).map(|kind| kind.scheme).collect()
}

fn as_text(bus: &Bus, capability: &Capability, verdicts: &[Verdict]) -> String {
    let place = if bus.is_local() { "inside this process" } else { "shared" };
    let mut text = format!("bus {bus}, {place}: connected\n\n");
    let width = Feature::ALL.iter().map(|feature| feature.name().len()).max().unwrap_or(0);
    for feature in Feature::ALL {
        let word = if capability.has(*feature) { "yes" } else { "no" };
        add(&mut text, format_args!("{:width$}  {word:3}  {}\n", feature.name(), feature.text()));
    }
    for (name, value, about) in limits(capability) {
        add(&mut text, format_args!("{name:width$}  {value}  {about}\n"));
    }
    text.push('\n');
    for verdict in verdicts {
        let word = if verdict.unmet.is_empty() { "can be served" } else { "cannot be served" };
        let word = if verdict.about == "asked for" && verdict.unmet.is_empty() { "met" } else { word };
        add(&mut text, format_args!("{}: {word}\n", verdict.name));
        for unmet in &verdict.unmet {
            let able = able(unmet);
            let able = if able.is_empty() { "no bus of this build".to_owned() } else { able.join(", ") };
            add(&mut text, format_args!("  {unmet}; met by {able}\n"));
        }
    }
    text
}

fn limits(capability: &Capability) -> [(&'static str, String, &'static str); 3] {
    let unknown = || "unknown".to_owned();
    [
        ("durability", capability.durability().to_string(), "what queues survive at best"),
        ("max_message", capability.max_message.map_or_else(unknown, |bytes| bytes.to_string()), "bytes"),
        (
            "lease_limit",
            capability.lease_limit.map_or_else(|| "none".to_owned(), |limit| limit.as_secs().to_string()),
            "seconds that a delivery may be kept",
        ),
    ]
}

fn as_json(bus: &Bus, capability: &Capability, verdicts: &[Verdict]) -> Value {
    let features =
        Feature::ALL.iter().map(|feature| (feature.name().to_owned(), json!(capability.has(*feature))));
    let services = verdicts.iter().map(|verdict| {
        let unmet =
            verdict.unmet.iter().map(|unmet| json!({"why": unmet.to_string(), "met_by": able(unmet)}));
        json!({"name": verdict.name, "met": verdict.unmet.is_empty(), "unmet": unmet.collect::<Vec<_>>()})
    });
    json!({
        "bus": bus.url(),
        "local": bus.is_local(),
        "features": features.collect::<serde_json::Map<_, _>>(),
        "durability": capability.durability().name(),
        "max_message": capability.max_message,
        "lease_limit_seconds": capability.lease_limit.map(|limit| limit.as_secs()),
        "services": services.collect::<Vec<_>>(),
    })
}

/// Writing to a text cannot fail.
fn add(text: &mut String, more: std::fmt::Arguments<'_>) {
    let _written = text.write_fmt(more);
}
