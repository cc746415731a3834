//! `polybus dead purge`: dead letters thrown away.

use clap::Parser;
use polybus::{Intake, Place};
use serde_json::json;

use crate::console::{Failure, Notices, Outcome, print};
use crate::options::DeskOptions;
use crate::program::Called;
use crate::session::desk::{Desk, intake, refused};

/// Throw away the dead letters of a queue. They are gone for good, so this asks for --yes.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The queue, or TOPIC@GROUP.
    #[arg(value_name = "QUEUE", value_parser = intake)]
    queue: Intake,
    /// Really. Without it nothing is done but counting.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    desk: DeskOptions,
}

const EXAMPLES: &str = "\
Examples:
  {program} --bus URL anon_0.5.5            how many there are
  {program} --bus URL anon_0.5.5 --yes      throw them away
";

impl Options {
    pub(super) fn desk(&self) -> &DeskOptions {
        &self.desk
    }
}

pub(super) fn run(called: &Called, options: &Options, notices: &Notices) -> Outcome {
    let (queue, yes) = (options.queue.clone(), options.yes);
    let count = Desk::visit(called, &options.desk, notices, |desk| async move {
        let admin = desk.admin()?;
        if yes {
            return admin
                .purge(&queue, Place::Dead)
                .await
                .map(|purged| purged.messages)
                .map_err(|e| refused(&e));
        }
        let figures = admin.inspect(&queue).await.map_err(|error| refused(&error))?;
        Ok(figures.dead.unwrap_or_default())
    })?;
    if !yes {
        return Err(Failure::refused(
            "not-confirmed",
            format!("{count} dead letters would be gone: repeat with --yes"),
        ));
    }
    print(&if options.desk.json {
        format!("{}\n", json!({ "purged": count }))
    } else {
        format!("purged={count}\n")
    })
}
