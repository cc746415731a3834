//! The desk of a bus: queues and dead letters, from outside of any worker.

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use polybus::{
    Admin, Bus, Error, Feature, Headers, Intake, Kind, Message, Name, Operation, UnixMillis, Value,
};
use serde_json::{Map, Value as Json, json};

use super::{Patience, Place, until_signal, wrong};
use crate::console::{Failure, Notices, Outcome};
use crate::options::Shared;
use crate::program::Called;

/// How long leaving the bus takes at most.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// A bus whose queues are looked into.
pub(crate) struct Desk {
    /// The bus, connected.
    pub(crate) bus: Bus,
    /// What the settings say of it.
    pub(crate) place: Place,
}

impl Desk {
    /// Connects, does `work` at the desk, and leaves.
    ///
    /// # Errors
    /// Exit 78 if no bus is named, since one inside this process would be empty, or if its directory is not there, since to
    /// look is not to make one. As [`Place::connect`], and those of `work`.
    pub(crate) fn visit<T, Working>(
        called: &Called,
        options: &impl Shared,
        notices: &Notices,
        work: impl FnOnce(Self) -> Working,
    ) -> Outcome<T>
    where
        Working: Future<Output = Outcome<T>>,
    {
        let place = Place::find(called, options, notices)?;
        if !place.is_named() {
            let text = "no bus is named, and one inside this process has no queues yet: name one with --bus";
            return Err(Failure::configuration(text));
        }
        if let Some(missing) = place.open()?.directory().filter(|directory| !directory.exists()) {
            let text = format!("there is no bus in {}, which does not exist", missing.display());
            return Err(Failure::configuration(text));
        }
        until_signal(async {
            let bus = place.connect(Patience::Once, notices).await?.bus;
            notices.progress(|| format!("connected to {bus}"));
            let done = work(Self { bus: bus.clone(), place }).await;
            bus.drain(LEAVE_WITHIN).await;
            done
        })
    }

    /// The desk itself.
    ///
    /// # Errors
    /// Exit 78 if this bus has none.
    pub(crate) fn admin(&self) -> Outcome<&dyn Admin> {
        let missing =
            || Error::unsupported(Feature::Inspect, Operation::Inspect, self.bus.transport().profile().bus);
        self.bus.transport().admin().ok_or_else(|| wrong(&missing()))
    }
}

/// `QUEUE`, `QUEUE.dead` for the same, or `TOPIC@GROUP`.
///
/// # Errors
/// A line that says what is wrong with it.
pub(crate) fn intake(text: &str) -> Result<Intake, String> {
    let named = |text: &str| Name::new(text).map_err(|error| error.detail().unwrap_or("bad name").to_owned());
    match text.split_once('@') {
        Some((topic, group)) => Ok(Intake::Group { topic: named(topic)?, group: named(group)? }),
        None => named(text).map(|name| Intake::Queue(name.living().unwrap_or(name))),
    }
}

/// The name of an intake, as [`intake`] reads it.
pub(crate) fn written(intake: &Intake) -> String {
    match intake {
        Intake::Queue(name) => name.to_string(),
        Intake::Group { topic, group } => format!("{topic}@{group}"),
    }
}

/// What the bus says of a queue that is not there names the queue; everything else is as ever.
pub(crate) fn refused(error: &Error) -> Failure {
    match error.kind() {
        Kind::NotFound => Failure::refused("not-found", error.to_string()),
        _ => wrong(error),
    }
}

/// A figure; `-` if the bus does not tell it.
pub(crate) fn figure(value: Option<u64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// A point in time, RFC 3339 in UTC.
pub(crate) fn moment(at: UnixMillis) -> String {
    Timestamp::from_millisecond(at.0).map_or_else(|_| at.0.to_string(), |at| format!("{at:.3}"))
}

/// A message without its body.
pub(crate) fn properties(message: &Message) -> Map<String, Json> {
    let text = |text: Option<&String>| text.map_or(Json::Null, |text| json!(text));
    let time = |at: Option<UnixMillis>| at.map_or(Json::Null, |at| json!(moment(at)));
    let entries = [
        ("id", message.id().map_or(Json::Null, |id| json!(id.to_string()))),
        ("id_derived", if message.id_is_derived() { json!(true) } else { Json::Null }),
        ("bytes", json!(message.body().len())),
        ("content_type", message.content_type().map_or(Json::Null, |kind| json!(kind))),
        ("content_encoding", text(message.content_encoding())),
        ("correlation_id", text(message.correlation_id())),
        ("reply_to", message.reply_to().map_or(Json::Null, |address| json!(address.to_string()))),
        ("sender", text(message.sender())),
        ("created", time(message.created())),
        ("expires", time(message.expires().copied())),
        ("deadline", time(message.deadline().copied())),
        ("priority", message.priority().map_or(Json::Null, |priority| json!(priority))),
        ("headers", headers(message.headers())),
        ("carried", headers(message.carried())),
        ("death", death(message)),
    ];
    entries
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn headers(headers: &Headers) -> Json {
    if headers.is_empty() {
        return Json::Null;
    }
    headers.iter().map(|(name, value)| (name.to_owned(), header(value))).collect::<Map<_, _>>().into()
}

fn header(value: &Value) -> Json {
    match value {
        Value::Bool(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::UInt(value) => json!(value),
        Value::Float(value) => json!(value),
        Value::Text(value) => json!(value),
        Value::Time(at) => json!(moment(*at)),
        Value::List(items) => items.iter().map(header).collect(),
        Value::Map(entries) => {
            entries.iter().map(|(name, value)| (name.clone(), header(value))).collect::<Map<_, _>>().into()
        }
        Value::Bytes(bytes) => json!({ "base64": polybus::frame::base64::encode(bytes) }),
        Value::Decimal { digits, scale } => json!({ "digits": digits, "scale": scale }),
        _ => Json::Null,
    }
}

fn death(message: &Message) -> Json {
    let Some(death) = message.death() else { return Json::Null };
    json!({
        "reason": death.reason.as_str(),
        "error": death.error,
        "attempts": death.attempts,
        "first": death.first.map(moment),
        "at": moment(death.at),
        "queue": death.queue.as_str(),
        "whole": death.whole,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_and_its_dead_letters_are_named_alike() {
        assert_eq!(intake("jobs.dead"), intake("jobs"));
        assert_eq!(written(&intake("news@audit").unwrap()), "news@audit");
        assert!(intake("a b").unwrap_err().contains("byte 1"));
    }

    #[test]
    fn times_are_in_utc() {
        assert_eq!(moment(UnixMillis(1_392_876_660_123)), "2014-02-20T06:11:00.123Z");
    }
}
