//! Messages as NATS carries them: a body, and headers that are text.
//!
//! What text can say plainly stands in a header of its own, for other programs to read: the id (`Nats-Msg-Id`), the
//! content type, and the caller's headers that are plain text. Everything else (typed values, bytes, blanks at the
//! ends, names that are no header names) stands as JSON in one reserved header, so that it arrives as it left.

use async_nats::header::{HeaderMap, HeaderName, HeaderValue, NATS_MESSAGE_ID};
use bytes::Bytes;
use polybus_contract::{
    Body, Death, Error, Headers, Kind, Message, MessageId, Name, Operation, Reason, ReplyTo, Result,
    UnixMillis, Value,
};
use serde::{Deserialize, Serialize};

use crate::value::{from_json, to_json};

const CONTENT_TYPE: HeaderName = HeaderName::from_static("Content-Type");
const CONTENT_ENCODING: HeaderName = HeaderName::from_static("Content-Encoding");
/// What has no header of its own, as JSON.
const PROPERTIES: HeaderName = HeaderName::from_static("Polybus-Properties");
/// Where replies go. In a header, because the reply subject of a message for a stream is where the stream
/// acknowledges it.
pub(crate) const REPLY: HeaderName = HeaderName::from_static("Polybus-Reply");
/// When the sender stops waiting, in milliseconds since 1970.
const DEADLINE: HeaderName = HeaderName::from_static("Polybus-Deadline");
/// Why a dead letter died, as JSON.
const DEATH: HeaderName = HeaderName::from_static("Polybus-Death");
/// Numbers what one publisher sends to one topic.
pub(crate) const NUMBER: HeaderName = HeaderName::from_static("Polybus-Number");
/// What a reply is, as JSON.
pub(crate) const ANSWER: HeaderName = HeaderName::from_static("Polybus-Answer");

/// Stands between an id and what makes a de-duplication key of it.
const KEY: char = '~';

/// What the wire takes for headers beside names and values: the version line and the empty line.
const FRAME: usize = "NATS/1.0\r\n\r\n".len();

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Properties {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// The id was made up for a foreign message.
    #[serde(skip_serializing_if = "is_false")]
    derived: bool,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, serde_json::Value)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    carried: Vec<(String, serde_json::Value)>,
    #[serde(skip)]
    needed: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Sets a property that has no header of its own.
macro_rules! set {
    ($properties:ident.$field:ident = $value:expr) => {
        if let Some(value) = $value {
            $properties.$field = Some(value);
            $properties.needed = true;
        }
    };
}

/// The headers of a message; its reply address left to its sender.
///
/// # Errors
/// [`Kind::InvalidMessage`] for header values nested too deep to be carried.
pub(crate) fn encode(message: &Message, key: Option<&str>) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let mut properties = Properties::default();
    if let Some(id) = message.id() {
        write_id(&mut headers, &mut properties, id, key);
        properties.derived = message.id_is_derived();
        properties.needed |= properties.derived;
    }
    set!(properties.content_type = beside(&mut headers, CONTENT_TYPE, message.content_type()));
    let encoding = message.content_encoding().map(String::as_str);
    set!(properties.encoding = beside(&mut headers, CONTENT_ENCODING, encoding));
    set!(properties.correlation = message.correlation_id().cloned());
    set!(properties.created = message.created().map(|at| at.0));
    set!(properties.expires = message.expires().map(|at| at.0));
    set!(properties.priority = message.priority());
    if let Some(deadline) = message.deadline() {
        headers.insert(DEADLINE, HeaderValue::from(deadline.0));
    }
    for (name, value) in message.headers().iter() {
        match value.as_text() {
            Some(text) if is_plain_name(name) && is_plain(text) => headers.insert(name, text),
            _ => properties.headers.push((name.to_owned(), json(name, value)?)),
        }
    }
    for (name, value) in message.carried().iter() {
        properties.carried.push((name.to_owned(), json(name, value)?));
    }
    if properties.needed || !properties.headers.is_empty() || !properties.carried.is_empty() {
        headers.insert(PROPERTIES, as_json(&properties)?);
    }
    Ok(headers)
}

/// An id of ours is its own key; any other id may hold what a header cannot.
fn write_id(headers: &mut HeaderMap, properties: &mut Properties, id: &MessageId, key: Option<&str>) {
    let text = id.to_string();
    if let MessageId::Text(_) = id {
        properties.id = Some(text.clone());
        properties.needed = true;
    }
    let text = if is_plain(&text) { text } else { escaped(&text) };
    let text = key.map_or_else(|| text.clone(), |key| format!("{text}{KEY}{key}"));
    headers.insert(NATS_MESSAGE_ID, text);
}

fn escaped(text: &str) -> String {
    text.escape_default().map(|c| if c == ' ' { '_' } else { c }).collect()
}

/// Writes a text into its header, or gives it back if a header cannot hold it.
fn beside(headers: &mut HeaderMap, name: HeaderName, text: Option<&str>) -> Option<String> {
    let text = text?;
    if !is_plain(text) {
        return Some(text.to_owned());
    }
    headers.insert(name, text);
    None
}

fn json(name: &str, value: &Value) -> Result<serde_json::Value> {
    to_json(value, 0).ok_or_else(|| {
        Error::new(Kind::InvalidMessage, Operation::Publish)
            .with_detail(format!("header \"{}\": it is nested too deep", name.escape_default()))
    })
}

/// Whether a header comes out as it went in: readers take blanks off both ends.
fn is_plain(text: &str) -> bool {
    let trimmed = text.trim_ascii();
    !text.is_empty() && trimmed.len() == text.len() && text.bytes().all(|b| (0x20..0x7f).contains(&b))
}

/// Whether a caller's header may stand under its own name: what the server or we give a meaning to may not.
fn is_plain_name(name: &str) -> bool {
    let starts =
        |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    name.bytes().all(|b| b.is_ascii_graphic() && b != b':')
        && !["nats-", "content-type", "content-encoding", "polybus-", "x-polybus-"].into_iter().any(starts)
}

/// JSON for a header: serde escapes line breaks.
pub(crate) fn as_json<T: Serialize>(value: &T) -> Result<HeaderValue> {
    serde_json::to_string(value).ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
        Error::new(Kind::InvalidMessage, Operation::Publish).with_detail("a header cannot carry this")
    })
}

/// What these headers take on the wire.
pub(crate) fn wire_size(headers: &HeaderMap) -> usize {
    let size = |(name, values): (&HeaderName, &Vec<HeaderValue>)| {
        let name: &str = name.as_ref();
        values.iter().map(|value| name.len() + value.as_str().len() + 4).sum::<usize>()
    };
    FRAME + headers.iter().map(size).sum::<usize>()
}

/// What arrived, before anybody read it.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) headers: Option<HeaderMap>,
    pub(crate) body: Bytes,
    /// An id for a message that brings none: the same at each delivery.
    pub(crate) made_up: Option<String>,
}

/// Reads a message.
///
/// # Errors
/// One line for the dead letters: a reserved header that cannot be read.
pub(crate) fn decode(raw: &Raw, instance: &std::sync::Arc<str>) -> Result<Message, String> {
    let mut message = Message::new(Body::new(raw.body.clone()));
    let mut properties = Properties::default();
    let mut key = None;
    let mut callers = Headers::new();
    for (name, values) in raw.headers.iter().flat_map(HeaderMap::iter) {
        let Some(first) = values.first().map(HeaderValue::as_str) else { continue };
        let name: &str = name.as_ref();
        match name {
            "Nats-Msg-Id" => key = Some(first),
            "Content-Type" => message = message.with_content_type(first),
            "Content-Encoding" => message = message.with_content_encoding(first),
            "Polybus-Properties" => properties = read(name, first)?,
            "Polybus-Reply" => message = message.with_reply_to(ReplyTo::new(instance.clone(), first)),
            "Polybus-Deadline" => message = message.with_deadline(UnixMillis(number(name, first)?)),
            "Polybus-Death" => message = message.with_death(read::<DeathNote>(name, first)?.death()?),
            "Polybus-Number" | "Polybus-Answer" => {}
            _ => foreign(&mut message, &mut callers, name, values),
        }
    }
    let message = with_id(message, &properties, key, raw.made_up.as_deref());
    with_properties(message.with_headers(callers), properties)
}

/// A header of no meaning to us: the caller's, unless its name is reserved or belongs to the server.
fn foreign(message: &mut Message, callers: &mut Headers, name: &str, values: &[HeaderValue]) {
    let text = |value: &HeaderValue| Value::Text(value.as_str().to_owned());
    let value = match values {
        [one] => text(one),
        several => Value::List(several.iter().map(text).collect()),
    };
    let servers = name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("nats-"));
    if servers || callers.push(name, value.clone()).is_err() {
        message.carried_mut().set_carried(name, value);
    }
}

fn with_id(message: Message, properties: &Properties, key: Option<&str>, made_up: Option<&str>) -> Message {
    let id = properties.id.as_deref().or_else(|| key.map(without_key));
    match (id, made_up) {
        (Some(id), _) if properties.derived => message.with_derived_id(id),
        (Some(id), _) => message.with_id(id),
        (None, Some(id)) => message.with_derived_id(id),
        (None, None) => message.with_derived_id(MessageId::fresh()),
    }
}

/// The id in a key of ours; a foreign id comes out as it went in.
fn without_key(key: &str) -> &str {
    match key.split_once(KEY) {
        Some((id, _)) if matches!(MessageId::from(id), MessageId::Uuid(_)) => id,
        _ => key,
    }
}

fn with_properties(mut message: Message, properties: Properties) -> Result<Message, String> {
    macro_rules! take {
        ($($field:ident, $with:ident, $make:expr);* $(;)?) => {
            $(if let Some(value) = properties.$field { message = message.$with($make(value)); })*
        };
    }
    take! {
        content_type, with_content_type, std::convert::identity;
        encoding, with_content_encoding, std::convert::identity;
        correlation, with_correlation_id, std::convert::identity;
        created, with_created, UnixMillis;
        expires, with_expires, UnixMillis;
        priority, with_priority, std::convert::identity;
    }
    if !properties.headers.is_empty() {
        let mut headers = message.headers().clone();
        for (name, value) in properties.headers {
            let value = from_json(value).ok_or_else(|| unreadable(&name))?;
            headers.push(&name, value).map_err(|_| unreadable(&name))?;
        }
        message = message.with_headers(headers);
    }
    for (name, value) in properties.carried {
        let value = from_json(value).ok_or_else(|| unreadable(&name))?;
        message.carried_mut().set_carried(&name, value);
    }
    Ok(message)
}

fn read<'a, T: Deserialize<'a>>(name: &str, text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|_| unreadable(name))
}

fn number(name: &str, text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| unreadable(name))
}

fn unreadable(name: &str) -> String {
    format!("the header {} cannot be read", name.escape_default())
}

/// A death as it travels.
#[derive(Serialize, Deserialize)]
pub(crate) struct DeathNote {
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    attempts: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first: Option<i64>,
    at: i64,
    queue: String,
    whole: bool,
}

impl DeathNote {
    fn death(self) -> Result<Death, String> {
        Ok(Death {
            reason: Reason::from(&*self.reason),
            error: self.error,
            attempts: self.attempts,
            first: self.first.map(UnixMillis),
            at: UnixMillis(self.at),
            queue: Name::new(&self.queue).map_err(|_| unreadable("Polybus-Death"))?,
            whole: self.whole,
        })
    }
}

/// The longest error text that is kept of a death: it must fit beside the largest message.
const MAX_ERROR: usize = 512;

/// The headers of a dead letter: those of the message, its death, and a key of its own, so that the letter is stored
/// once however often it is sent.
///
/// # Errors
/// As [`encode`].
pub(crate) fn buried(message: &Message, death: &Death, key: &str) -> Result<HeaderMap> {
    let mut headers = encode(message, Some(key))?;
    if let Some(reply) = message.reply_to().and_then(|reply| reply.to_string().parse::<HeaderValue>().ok()) {
        headers.insert(REPLY, reply);
    }
    let note = DeathNote {
        reason: death.reason.as_str().to_owned(),
        error: death.error.as_deref().map(|error| shortened(error, MAX_ERROR)),
        attempts: death.attempts,
        first: death.first.map(|at| at.0),
        at: death.at.0,
        queue: death.queue.to_string(),
        whole: death.whole,
    };
    headers.insert(DEATH, as_json(&note)?);
    Ok(headers)
}

pub(crate) fn shortened(text: &str, most: usize) -> String {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(message: &Message) -> Message {
        let headers = encode(message, Some("1")).unwrap();
        let body = message.body().as_bytes().unwrap().clone();
        decode(&Raw { headers: Some(headers), body, made_up: None }, &"nats:x".into()).unwrap()
    }

    #[test]
    fn a4_a5_a9_everything_comes_out_as_it_went_in() {
        let mut message = Message::new("body")
            .with_id("two words \r\n")
            .with_content_type(" text/plain")
            .with_content_encoding("zlib")
            .with_correlation_id("a\nb")
            .with_created(UnixMillis(-5))
            .with_expires(UnixMillis(7))
            .with_deadline(UnixMillis(8))
            .with_priority(9);
        let values: [(&str, Value); 12] = [
            ("plain", "text".into()),
            ("Plain", "other".into()),
            ("empty", "".into()),
            ("blank", " x ".into()),
            ("ü", "ä\r\nb".into()),
            ("Nats-Rollup", "all".into()),
            ("content-type", "mine".into()),
            ("bytes", Bytes::from_static(b"\xff\x00").into()),
            ("null", Value::Null),
            ("u", Value::UInt(5)),
            ("nan", Value::Float(-0.0)),
            (
                "list",
                Value::List(vec![Value::Int(i64::MIN), Value::Map(vec![("t".into(), UnixMillis(1).into())])]),
            ),
        ];
        for (name, value) in values {
            message = message.with_header(name, value).unwrap();
        }
        message.carried_mut().set_carried(polybus_contract::AT_MOST_ONCE, true);
        let back = round_trip(&message);
        assert_eq!(back.headers(), message.headers());
        assert_eq!(back.carried(), message.carried());
        assert_eq!((back.id(), back.id_is_derived()), (message.id(), false));
        assert_eq!(back.content_type(), message.content_type());
        assert_eq!(back.content_encoding(), message.content_encoding());
        assert_eq!(back.correlation_id(), message.correlation_id());
        assert_eq!((back.created(), back.priority()), (message.created(), message.priority()));
        assert_eq!((back.expires(), back.deadline()), (message.expires(), message.deadline()));
    }

    #[test]
    fn an_ordinary_message_has_one_header() {
        let mut message = Message::new("x");
        let id = message.ensure_id().clone();
        assert_eq!(encode(&message, None).unwrap().len(), 1);
        assert_eq!(round_trip(&message).id(), Some(&id));
    }

    #[test]
    fn foreign_messages_are_messages() {
        let raw = Raw { headers: None, body: Bytes::from_static(b"\xff"), made_up: Some("s:1".into()) };
        let message = decode(&raw, &"nats:x".into()).unwrap();
        assert!(message.id_is_derived() && message.body().len() == 1);
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", "order~7");
        headers.append("X-Two", "1");
        headers.append("X-Two", "2");
        headers.insert("Nats-Stream", "S");
        let raw = Raw { headers: Some(headers), body: Bytes::new(), made_up: Some("s:2".into()) };
        let message = decode(&raw, &"nats:x".into()).unwrap();
        assert_eq!(message.id().unwrap().to_string(), "order~7");
        assert!(!message.id_is_derived());
        assert_eq!(message.headers().get("X-Two"), Some(&Value::List(vec!["1".into(), "2".into()])));
        assert!(message.carried().get("Nats-Stream").is_some());
    }

    #[test]
    fn a10_what_cannot_be_read_is_said() {
        for (name, value) in [
            ("Polybus-Properties", "garbage"),
            ("Polybus-Properties", r#"{"headers":[["polybus-x","y"]]}"#),
            ("Polybus-Deadline", "soon"),
            ("Polybus-Death", "{}"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value);
            let raw = Raw { headers: Some(headers), body: Bytes::new(), made_up: None };
            assert!(decode(&raw, &"nats:x".into()).is_err(), "{name}: {value}");
        }
    }

    #[test]
    fn e1_a_death_travels() {
        let death = Death {
            reason: Reason::Rejected,
            error: Some("ä".repeat(1000)),
            attempts: 3,
            first: Some(UnixMillis(1)),
            at: UnixMillis(2),
            queue: Name::new("jobs").unwrap(),
            whole: true,
        };
        let message =
            Message::new("").with_derived_id("s:1").with_reply_to(ReplyTo::new("nats:x", "_INBOX.a.1"));
        let headers = buried(&message, &death, "k").unwrap();
        let raw = Raw { headers: Some(headers), body: Bytes::new(), made_up: None };
        let back = decode(&raw, &"nats:x".into()).unwrap();
        assert_eq!((back.id(), back.id_is_derived()), (message.id(), true));
        assert_eq!(back.reply_to(), message.reply_to());
        let found = back.death().unwrap();
        assert_eq!((found.attempts, found.error.as_ref().map(String::len)), (3, Some(MAX_ERROR)));
        assert_eq!(found.queue, death.queue);
    }
}
