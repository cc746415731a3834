//! `polybus dead list`: what died, and why.

use std::io::Write;

use clap::Parser;
use polybus::{Browse, Browsed, Intake, Place};
use serde_json::Value;

use crate::console::{Notices, Outcome, write_result};
use crate::options::DeskOptions;
use crate::program::Called;
use crate::session::desk::{Desk, intake, moment, properties, refused};

/// Messages that are asked for at a time.
const PAGE: u32 = 500;

/// List the dead letters of a queue, oldest first: when, why, after how many attempts. Nothing is taken.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The queue, or TOPIC@GROUP.
    #[arg(value_name = "QUEUE", value_parser = intake)]
    queue: Intake,
    /// Stop after this many.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max: Option<u64>,
    #[command(flatten)]
    desk: DeskOptions,
}

const EXAMPLES: &str = "\
Examples:
  {program} --bus URL anon_0.5.5             a table
  {program} --bus URL anon_0.5.5 --json      one object a line, bodies left out
";

impl Options {
    pub(super) fn desk(&self) -> &DeskOptions {
        &self.desk
    }
}

pub(super) fn run(called: &Called, options: &Options, notices: &Notices) -> Outcome {
    let (queue, json) = (options.queue.clone(), options.desk.json);
    let most = options.max.unwrap_or(u64::MAX);
    Desk::visit(called, &options.desk, notices, |desk| async move {
        if !json {
            write_result(|out| out.write_all(title().as_bytes()))?;
        }
        each(&desk, &queue, most, |browsed| show(browsed, json)).await
    })
}

/// Gives the dead letters of a queue one after the other, a page at a time.
///
/// # Errors
/// Those of the bus and of `give`.
pub(super) async fn each(
    desk: &Desk,
    queue: &Intake,
    most: u64,
    mut give: impl FnMut(&Browsed) -> Outcome,
) -> Outcome {
    let (mut left, mut from) = (most, 0);
    while left > 0 {
        let limit = u32::try_from(left).unwrap_or(u32::MAX).min(PAGE);
        let browse = Browse::default().with_from(from).with_limit(limit);
        let page = desk.admin()?.browse(queue, Place::Dead, browse).await.map_err(|error| refused(&error))?;
        page.messages.iter().try_for_each(&mut give)?;
        left = left.saturating_sub(page.messages.len() as u64);
        match page.next {
            Some(next) => from = next,
            None => break,
        }
    }
    Ok(())
}

fn title() -> String {
    format!("{:24}  {:36}  {:10} {:>8} {:>10}  ERROR\n", "DIED", "ID", "REASON", "ATTEMPTS", "BYTES")
}

fn show(browsed: &Browsed, json: bool) -> Outcome {
    write_result(|out| {
        if json {
            return writeln!(out, "{}", Value::Object(properties(&browsed.message)));
        }
        writeln!(out, "{}", row(browsed).trim_end())
    })
}

fn row(browsed: &Browsed) -> String {
    let message = &browsed.message;
    let id = message.id().map_or_else(|| "-".to_owned(), |id| id.to_string().escape_debug().to_string());
    let death = message.death();
    let at = death.map_or_else(|| "-".to_owned(), |death| moment(death.at));
    let reason = death.map_or("-", |death| death.reason.as_str());
    let kept = if death.is_some_and(|death| !death.whole) { "(terse) " } else { "" };
    let error = death.and_then(|death| death.error.as_deref()).unwrap_or_default().escape_debug().to_string();
    format!(
        "{at:24}  {id:36}  {reason:10} {:>8} {:>10}  {kept}{error}",
        browsed.attempts,
        message.body().len()
    )
}
