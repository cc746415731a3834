//! `polybus queues`: what waits where.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use polybus::{Intake, QueueInfo};
use serde_json::{Value, json};

use crate::console::{Notices, Outcome, print};
use crate::options::DeskOptions;
use crate::program::Called;
use crate::session::begin;
use crate::session::desk::{Desk, figure, intake, moment, refused, written};

/// Show the queues of a bus and the durable groups of its topics: what waits, what is in hand, what is dead.
///
/// A figure that the bus does not know is shown as `-`.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Queues, or TOPIC@GROUP. Default: all.
    #[arg(value_name = "QUEUE", value_parser = intake)]
    queues: Vec<Intake>,
    #[command(flatten)]
    desk: DeskOptions,
}

const EXAMPLES: &str = "\
Examples:
  {program} --bus embedded:///var/lib/polybus    all queues of a bus directory
  {program} --bus URL anon_0.5.5 --json          one queue, for a program
";

pub(crate) fn run(called: &Called, words: Vec<OsString>) -> ExitCode {
    begin::<Options, _>(called, words, |options| &options.desk, show)
}

fn show(called: &Called, options: &Options, notices: &Notices) -> Outcome {
    let wanted = options.queues.clone();
    let found =
        Desk::visit(called, &options.desk, notices, |desk| async move { figures(&desk, wanted).await })?;
    if found.is_empty() {
        notices.warning(
            "no queue is listed; some buses show only those that are named, as in polybus queues NAME",
        );
    }
    print(&if options.desk.json { as_json(&found) } else { as_text(&found) })
}

async fn figures(desk: &Desk, wanted: Vec<Intake>) -> Outcome<Vec<(String, QueueInfo)>> {
    let admin = desk.admin()?;
    let intakes =
        if wanted.is_empty() { admin.list().await.map_err(|error| refused(&error))? } else { wanted };
    let mut found = Vec::new();
    for intake in &intakes {
        let figures = admin.inspect(intake).await.map_err(|error| refused(&error))?;
        found.push((written(intake), figures));
    }
    Ok(found)
}

fn as_json(found: &[(String, QueueInfo)]) -> String {
    let queue = |(name, figures): &(String, QueueInfo)| {
        json!({
            "queue": name,
            "ready": figures.ready,
            "delayed": figures.delayed,
            "leased": figures.leased,
            "dead": figures.dead,
            "bytes": figures.bytes,
            "consumers": figures.consumers,
            "oldest": figures.oldest.map(moment),
        })
    };
    format!("{}\n", Value::Array(found.iter().map(queue).collect()))
}

fn as_text(found: &[(String, QueueInfo)]) -> String {
    let width = found.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max("QUEUE".len());
    let title = format!(
        "{:width$} {:>9} {:>9} {:>9} {:>9} {:>12} {:>9}  OLDEST\n",
        "QUEUE", "READY", "DELAYED", "LEASED", "DEAD", "BYTES", "CONSUMERS"
    );
    let row = |(name, figures): &(String, QueueInfo)| {
        format!(
            "{name:width$} {:>9} {:>9} {:>9} {:>9} {:>12} {:>9}  {}\n",
            figure(figures.ready),
            figure(figures.delayed),
            figure(figures.leased),
            figure(figures.dead),
            figure(figures.bytes),
            figure(figures.consumers),
            figures.oldest.map_or_else(|| "-".to_owned(), moment)
        )
    };
    std::iter::once(title).chain(found.iter().map(row)).collect()
}
