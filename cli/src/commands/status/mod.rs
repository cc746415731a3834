//! `polybus status`: what waits, how fast it goes, how long it will take.

pub(crate) mod cells;
mod json;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::console::{Notices, Outcome, print};
use crate::options::{Looking, seconds};
use crate::program::Called;
use crate::session::begin;
use crate::session::desk::Desk;
use crate::session::lookout::{Lookout, Sight};

/// Show the queues and services of a bus: what waits, what is in hand, what is dead, who consumes, how fast it goes, and how
/// long what waits will take.
///
/// Rates are taken from two looks. Nothing on the bus is changed. A figure that the bus does not tell is shown as `-`, a
/// time that cannot be estimated as unknown; --json says why.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Time between the two looks.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "2")]
    interval: Duration,
    /// Look once: no rates, and no waiting.
    #[arg(long, conflicts_with = "interval")]
    once: bool,
    /// Print one JSON object, with the reason for each figure that is not known.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    looking: Looking,
}

const EXAMPLES: &str = "\
Examples:
  {program} --bus nats://nats.example.org          all queues of a bus, and the services of this program
  {program} anon_0.5.5 --services anon --bus URL   one queue and one service
  {program} --interval 10 --json --bus URL         rates over ten seconds, for a program
";

pub(crate) fn run(called: &Called, words: Vec<OsString>) -> ExitCode {
    begin::<Options, _>(called, words, |options| &options.looking, show)
}

fn show(called: &Called, options: &Options, notices: &Notices) -> Outcome {
    let apart = (!options.once).then_some(options.interval);
    let named = options.looking.queues.clone();
    let seen = Desk::visit(called, &options.looking, notices, |desk| async move {
        let mut lookout = Lookout::new(desk, &named)?;
        let first = lookout.look().await?;
        let Some(apart) = apart else { return Ok(first) };
        tokio::time::sleep(apart).await;
        lookout.look().await
    })?;
    print(&if options.json { format!("{}\n", json::of(&seen)) } else { as_text(&seen) })
}

fn as_text(seen: &Sight) -> String {
    let overview = &seen.overview;
    let looks = if overview.apart.is_zero() {
        "looked at once".to_owned()
    } else {
        format!("looked at twice within {:.1} s", overview.apart.as_secs_f64())
    };
    let queues: Vec<_> = overview.queues.iter().map(|queue| cells::of_queue(queue, seen.at)).collect();
    let services: Vec<_> =
        overview.services.iter().map(|service| cells::of_service(service, seen.max_attempts)).collect();
    let mut text = format!("bus {}, {looks}\n\n", seen.url);
    text.push_str(&cells::table(&cells::QUEUE, 1, &queues));
    if !services.is_empty() {
        text.push('\n');
        text.push_str(&cells::table(&cells::SERVICE, 3, &services));
    }
    text
}
