//! Settings of a queue that the broker has no place for, kept where every consumer can learn them.

use std::collections::BTreeMap;

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, ShortString};
use polybus_contract::Result;

use crate::header::{known, text};
use crate::session::Session;
use crate::topology::{DIFFERS, ask_queue, is_there};

/// The broker's own count of deliveries must never drop a message: dead letters are ours. Unset means 20 on newer
/// brokers, and -1 means none there and zero on older ones, so the limit is one that nothing reaches. What stands above
/// it are our own settings: they belong to the queue, and the broker keeps them for whoever consumes.
pub(crate) const NO_DELIVERY_LIMIT: i64 = 1_000_000_000;

/// How often a queue is asked what it is like before it is taken as unknown.
const QUESTIONS: usize = 12;

/// What becomes of messages of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) max_attempts: u32,
    pub(crate) keep_expired: bool,
}

impl Default for Rules {
    /// As the contract has it for queues of which nothing is known.
    fn default() -> Self {
        Self { max_attempts: 5, keep_expired: false }
    }
}

impl Rules {
    pub(crate) fn as_limit(self) -> i64 {
        NO_DELIVERY_LIMIT + i64::from(self.max_attempts) * 2 + i64::from(self.keep_expired)
    }

    fn of_limit(limit: i64) -> Option<Self> {
        let ours = limit.checked_sub(NO_DELIVERY_LIMIT).filter(|ours| *ours > 1)?;
        Some(Self { max_attempts: u32::try_from(ours / 2).ok()?, keep_expired: ours % 2 == 1 })
    }
}

/// The rules that a queue of ours was declared with; `None`: it is no quorum queue of ours, or not there.
pub(crate) async fn look_at_rules(session: &Session, wire: &str, durable: bool) -> Result<Option<Rules>> {
    if is_there(session, wire).await?.is_none() {
        return Ok(None);
    }
    Ok(look_at_limit(session, wire, durable).await?.and_then(|Limit(limit)| Rules::of_limit(limit?)))
}

/// How often a quorum queue lets a message be handed out before it drops it; `None`: the broker's own setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) Option<i64>);

/// The limit of a queue; `None`: it is no quorum queue, or nothing can be said.
///
/// A broker names the first setting in which a declare differs from what is there, so each answer makes the next declare
/// more alike, until the limit is the one that differs.
pub(crate) async fn look_at_limit(session: &Session, wire: &str, durable: bool) -> Result<Option<Limit>> {
    let options = QueueDeclareOptions { durable, ..QueueDeclareOptions::default() };
    let mut alike: BTreeMap<ShortString, AMQPValue> = BTreeMap::new();
    alike.insert(known("x-queue-type"), text("quorum"));
    alike.insert(known("x-delivery-limit"), AMQPValue::LongLongInt(1));
    for _ in 0..QUESTIONS {
        let asked = ask_queue(session, wire, options, alike.clone().into()).await;
        let Err(refused) = asked else { return Ok(None) };
        if refused.code() != Some(DIFFERS) {
            return Ok(None);
        }
        let found = differs(&refused.text()).filter(|(argument, _)| argument.starts_with("x-"));
        let Some((argument, found)) = found else { return Ok(None) };
        if argument == "x-delivery-limit" {
            let counts = alike.get("x-queue-type") == Some(&text("quorum"));
            return Ok(counts.then(|| Limit(found.and_then(|limit| limit.parse().ok()))));
        }
        let name = known(&argument);
        match found {
            Some(found) => {
                let value = found.parse().map_or_else(|_| text(&found), AMQPValue::LongLongInt);
                if alike.insert(name, value.clone()) == Some(value) {
                    return Ok(None);
                }
            }
            None if alike.remove(&name).is_none() => return Ok(None),
            None => {}
        }
    }
    Ok(None)
}

/// The setting in which an object differs, and what it has there.
pub(crate) fn differs(said: &str) -> Option<(String, Option<String>)> {
    let (_, rest) = said.split_once("inequivalent arg '")?;
    let (argument, rest) = rest.split_once('\'')?;
    let (_, found) = rest.split_once(" but current is ")?;
    let found = found
        .split_once('\'')
        .and_then(|(_, found)| found.split_once('\''))
        .map(|(found, _)| found.to_owned());
    Some((argument.to_owned(), found))
}
