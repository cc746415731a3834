//! What a connection shows: alarms, limits of the connection, and the largest message.

use std::time::Duration;

use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ExchangeDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, ExchangeKind};
use polybus_contract::{Operation, Plan};

use super::Findings;
use super::words::{ALARM, CHANNEL_LIMIT, FRAME_LIMIT, MESSAGE_LIMIT};
use crate::header::known;
use crate::session::{Asked, Session};
use crate::topology::DIFFERS;

/// How long the broker is given to say that it takes no publishes.
const BLOCKS_WITHIN: Duration = Duration::from_millis(700);

/// Channels that a server and its retries, replies and dead letters may open on one connection.
const CHANNELS: u16 = 16;

/// The frame that everything of ours was tested with.
const FRAME: u32 = 131_072;

/// A size that is sent for trial at most: the default limit of recent brokers.
const TRIAL: u64 = 16 << 20;

/// The channels and the frame that were agreed on.
pub(super) fn limits(session: &Session, found: &mut Findings) {
    let agreed = session.consuming.configuration();
    let (channels, frame) = (agreed.channel_max(), agreed.frame_max());
    // Zero is without a limit.
    let few = (1..CHANNELS).contains(&channels);
    let told = format!("{channels} channels");
    found.push(if few {
        CHANNEL_LIMIT.found("connection", told)
    } else {
        CHANNEL_LIMIT.fine("connection", told)
    });
    let told = format!("frames of {frame} bytes");
    let small = (1..FRAME).contains(&frame);
    found.push(if small {
        FRAME_LIMIT.found("connection", told)
    } else {
        FRAME_LIMIT.fine("connection", told)
    });
}

/// A broker tells of an alarm only to those who publish, so a message is published that has nowhere to go.
pub(super) async fn alarm(session: &Session, found: &mut Findings) -> bool {
    let sent = match session.plain().await {
        Ok(channel) => channel
            .basic_publish(
                known(""),
                known(&nowhere()),
                BasicPublishOptions::default(),
                &[],
                BasicProperties::default(),
            )
            .await
            .is_ok(),
        Err(_) => false,
    };
    let until = tokio::time::Instant::now() + BLOCKS_WITHIN;
    let blocked = sent && session.blocks(until).await;
    found.push(match (sent, blocked) {
        (true, true) => ALARM.found("broker", "the broker holds publishers back"),
        (true, false) => ALARM.fine("broker", "publishes are taken"),
        (false, _) => ALARM.unknown("broker", "nothing could be published"),
    });
    blocked
}

/// The name of a queue that nobody has.
pub(super) fn nowhere() -> String {
    format!("polybus-doctor-{}", uuid::Uuid::new_v4().simple())
}

/// The limit cannot be read, so a message of the wanted size is sent to nowhere: a larger one than the broker takes closes
/// the channel, and the text says the limit.
pub(super) async fn message_size(session: &Session, plan: &Plan, assumed: u64, found: &mut Findings) {
    let wanted = plan.services.iter().filter_map(|served| served.message_size).max();
    let size = wanted.unwrap_or(assumed).min(assumed).min(TRIAL);
    let body = vec![0; usize::try_from(size).unwrap_or(0)];
    let answer = session.ask(Operation::Inspect, |channel| async move { trial(channel, &body).await }).await;
    found.push(match answer {
        Ok(()) => MESSAGE_LIMIT.fine("broker", format!("a message of {size} bytes was taken on trial")),
        Err(refused) if refused.code() == Some(DIFFERS) => {
            MESSAGE_LIMIT.found("broker", limit_in(&refused.text(), size))
        }
        Err(refused) => MESSAGE_LIMIT.unknown("broker", format!("a trial failed: {}", refused.text())),
    });
}

/// Publishes to nowhere, and waits until the broker has seen it.
pub(super) async fn trial(channel: Channel, body: &[u8]) -> lapin::Result<()> {
    let options = BasicPublishOptions::default();
    channel.basic_publish(known(""), known(&nowhere()), options, body, BasicProperties::default()).await?;
    let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(known("amq.direct"), ExchangeKind::Direct, passive, FieldTable::default()).await
}

/// Reads `message size SIZE is larger than configured max size LIMIT`.
fn limit_in(said: &str, size: u64) -> String {
    let limit = said.rsplit(' ').find_map(|word| word.parse::<u64>().ok());
    match limit.filter(|limit| *limit < size) {
        Some(limit) => format!("the largest message is {limit} bytes, and {size} are wanted"),
        None => format!("a message of {size} bytes is refused: {said}"),
    }
}

/// What an attempt says about a permission.
pub(super) fn is_refused<T>(asked: &Asked<T>) -> Option<String> {
    const ACCESS_REFUSED: u16 = 403;
    match asked {
        Err(refused) if refused.code() == Some(ACCESS_REFUSED) => Some(refused.text()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_stands_in_the_refusal() {
        let said = "PRECONDITION_FAILED - message size 1048576 is larger than configured max size 65536";
        assert_eq!(limit_in(said, 1 << 20), "the largest message is 65536 bytes, and 1048576 are wanted");
        assert!(limit_in("PRECONDITION_FAILED - no", 5).contains("refused"));
    }
}
