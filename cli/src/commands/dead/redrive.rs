//! `polybus dead redrive`: dead letters back to work.

use clap::Parser;
use polybus::{Intake, MessageId, Redrive, Redriven};
use serde_json::json;

use crate::console::{Notices, Outcome, print};
use crate::options::DeskOptions;
use crate::program::Called;
use crate::session::desk::{Desk, intake, refused};

/// Messages that go back at a time: an interrupted redrive has moved whole steps, and goes on where it was.
const STEP: u64 = 500;

/// Send dead letters back to their queue, under the same ids, their attempts counted anew.
///
/// It can be interrupted and run again: what went back is not sent twice. Entries of which only the terse form was
/// kept cannot go back; they stay and are counted.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The queue, or TOPIC@GROUP.
    #[arg(value_name = "QUEUE", value_parser = intake)]
    queue: Intake,
    /// Only these messages, by their ids.
    #[arg(long = "id", value_name = "ID")]
    ids: Vec<String>,
    /// At most this many.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max: Option<u64>,
    #[command(flatten)]
    desk: DeskOptions,
}

const EXAMPLES: &str = "\
Examples:
  {program} --bus URL anon_0.5.5               all
  {program} --bus URL anon_0.5.5 --max 10      the ten oldest
  {program} --bus URL anon_0.5.5 --id ID       one
";

impl Options {
    pub(super) fn desk(&self) -> &DeskOptions {
        &self.desk
    }
}

pub(super) fn run(called: &Called, options: &Options, notices: &Notices) -> Outcome {
    let queue = options.queue.clone();
    let ids: Vec<_> = options.ids.iter().map(|id| MessageId::from(id.as_str())).collect();
    let most = options.max.unwrap_or(u64::MAX);
    let told = notices.clone();
    let done = Desk::visit(called, &options.desk, notices, |desk| async move {
        redrive(&desk, &queue, ids, most, &told).await
    })?;
    let Redriven { moved, refused, left, .. } = done;
    print(&if options.desk.json {
        format!("{}\n", json!({ "moved": moved, "refused": refused, "left": left }))
    } else {
        format!("moved={moved} refused={refused} left={left}\n")
    })
}

async fn redrive(
    desk: &Desk,
    queue: &Intake,
    ids: Vec<MessageId>,
    most: u64,
    notices: &Notices,
) -> Outcome<Redriven> {
    let admin = desk.admin()?;
    let mut moved = 0;
    loop {
        let step = Redrive::default().with_ids(ids.clone()).with_limit((most - moved).min(STEP));
        let done = admin.redrive(queue, step).await.map_err(|error| refused(&error))?;
        moved += done.moved;
        notices.progress(|| format!("{moved} went back, {} are left", done.left));
        if done.moved == 0 || moved >= most {
            return Ok(Redriven::new(moved, done.refused, done.left));
        }
    }
}
