//! `polybus dead show`: one dead letter.

use std::io::Write;

use clap::Parser;
use polybus::{Browsed, Intake, Message};
use serde_json::Value;

use super::list::each;
use crate::console::{Failure, Notices, Outcome, write_result};
use crate::options::DeskOptions;
use crate::program::Called;
use crate::session::desk::{Desk, intake, properties, refused};

/// The largest body that is shown, in bytes.
const MAX_BODY: u64 = 1 << 30;

/// Show one dead letter: its properties, headers and death as JSON, or its body as it is.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The queue, or TOPIC@GROUP.
    #[arg(value_name = "QUEUE", value_parser = intake)]
    queue: Intake,
    /// The message's id, as the list shows it.
    #[arg(value_name = "ID")]
    id: String,
    /// Write its body, and nothing else. Bodies may be sensitive.
    #[arg(long)]
    body: bool,
    #[command(flatten)]
    desk: DeskOptions,
}

const EXAMPLES: &str = "\
Examples:
  {program} --bus URL anon_0.5.5 ID             everything but the body
  {program} --bus URL anon_0.5.5 ID --body      the body
";

impl Options {
    pub(super) fn desk(&self) -> &DeskOptions {
        &self.desk
    }
}

pub(super) fn run(called: &Called, options: &Options, notices: &Notices) -> Outcome {
    let (queue, id) = (options.queue.clone(), options.id.clone());
    let body_too = options.body;
    let (message, body) = Desk::visit(called, &options.desk, notices, |desk| async move {
        let message = find(&desk, &queue, &id).await?;
        let body = if body_too { Some(body(&message).await?) } else { None };
        Ok((message, body))
    })?;
    if let Some(body) = body {
        return write_result(|out| out.write_all(&body));
    }
    let shown = Value::Object(properties(&message));
    let text = if options.desk.json { format!("{shown}\n") } else { format!("{shown:#}\n") };
    write_result(|out| out.write_all(text.as_bytes()))
}

async fn body(message: &Message) -> Outcome<Vec<u8>> {
    message.body().read(MAX_BODY).await.map(|body| body.to_vec()).map_err(|error| refused(&error))
}

async fn find(desk: &Desk, queue: &Intake, id: &str) -> Outcome<Message> {
    let mut found = None;
    let is_it = |browsed: &Browsed| browsed.message.id().is_some_and(|known| known.to_string() == id);
    each(desk, queue, u64::MAX, |browsed| {
        if found.is_none() && is_it(browsed) {
            found = Some(browsed.message.clone());
        }
        Ok(())
    })
    .await?;
    found.ok_or_else(|| Failure::refused("not-found", format!("no dead letter {id} there")))
}
