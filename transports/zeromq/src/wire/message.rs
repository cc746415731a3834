//! Messages on the wire.

use bytes::Bytes;
use data_encoding::BASE64;
use polybus_contract::{
    Death, Headers, Message, MessageId, Name, RemoteError, Reply, ReplyTo, UnixMillis, Value,
};
use serde::{Deserialize, Serialize};

/// A header on the wire. Numbers are text: not every language keeps 64 bits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HeaderLine {
    name: String,
    #[serde(flatten)]
    value: ValueLine,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "snake_case")]
enum ValueLine {
    Null,
    Bool(bool),
    Int(String),
    Uint(String),
    Float(String),
    Decimal { digits: String, scale: u8 },
    Text(String),
    Bytes(String),
    Time(i64),
    List(Vec<ValueLine>),
    Map(Vec<HeaderLine>),
}

impl From<&Value> for ValueLine {
    fn from(value: &Value) -> Self {
        match value {
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) => Self::Int(value.to_string()),
            Value::UInt(value) => Self::Uint(value.to_string()),
            Value::Float(value) => Self::Float(format!("{value:?}")),
            Value::Decimal { digits, scale } => Self::Decimal { digits: digits.to_string(), scale: *scale },
            Value::Text(text) => Self::Text(text.clone()),
            Value::Bytes(bytes) => Self::Bytes(BASE64.encode(bytes)),
            Value::Time(at) => Self::Time(at.0),
            Value::List(items) => Self::List(items.iter().map(Self::from).collect()),
            Value::Map(entries) => {
                Self::Map(entries.iter().map(|(name, value)| header(name, value)).collect())
            }
            _ => Self::Null,
        }
    }
}

impl ValueLine {
    fn value(&self, left: usize) -> Result<Value, String> {
        let left = left.checked_sub(1).ok_or("headers are nested too deep")?;
        Ok(match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(text) => Value::Int(number(text)?),
            Self::Uint(text) => Value::UInt(number(text)?),
            Self::Float(text) => Value::Float(number(text)?),
            Self::Decimal { digits, scale } => Value::Decimal { digits: number(digits)?, scale: *scale },
            Self::Text(text) => Value::Text(text.clone()),
            Self::Bytes(text) => Value::Bytes(bytes(text)?),
            Self::Time(at) => Value::Time(UnixMillis(*at)),
            Self::List(items) => {
                Value::List(items.iter().map(|item| item.value(left)).collect::<Result<_, _>>()?)
            }
            Self::Map(entries) => {
                let entry = |entry: &HeaderLine| Ok((entry.name.clone(), entry.value.value(left)?));
                Value::Map(entries.iter().map(entry).collect::<Result<_, String>>()?)
            }
        })
    }
}

/// How deep lists and tables in headers may be nested.
const DEPTH: usize = 64;

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} is no number of its type"))
}

fn bytes(text: &str) -> Result<Bytes, String> {
    BASE64.decode(text.as_bytes()).map(Bytes::from).map_err(|error| format!("base64: {error}"))
}

fn header(name: &str, value: &Value) -> HeaderLine {
    HeaderLine { name: name.to_owned(), value: value.into() }
}

fn header_lines(headers: &Headers) -> Vec<HeaderLine> {
    headers.iter().map(|(name, value)| header(name, value)).collect()
}

fn headers_of(lines: &[HeaderLine]) -> Result<Headers, String> {
    let mut headers = Headers::new();
    for line in lines {
        headers.push(&line.name, line.value.value(DEPTH)?).map_err(|error| error.to_string())?;
    }
    Ok(headers)
}

fn carried_of(lines: &[HeaderLine]) -> Result<Headers, String> {
    let mut headers = Headers::new();
    for line in lines {
        headers.push_carried(&line.name, line.value.value(DEPTH)?).map_err(|error| error.to_string())?;
    }
    Ok(headers)
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct DeathLine {
    reason: String,
    error: Option<String>,
    attempts: u32,
    first: Option<i64>,
    at: i64,
    queue: String,
    whole: bool,
}

/// A message on the wire.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct MessageLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    id_derived: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<HeaderLine>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    carried: Vec<HeaderLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    death: Option<DeathLine>,
}

impl MessageLine {
    /// All of a message but its body. Of a reply address `address` makes what is said.
    pub(crate) fn of(message: &Message, address: impl FnOnce(&ReplyTo) -> String) -> Self {
        Self {
            id: message.id().map(MessageId::to_string),
            id_derived: message.id_is_derived(),
            content_type: message.content_type().map(str::to_owned),
            content_encoding: message.content_encoding().cloned(),
            headers: header_lines(message.headers()),
            carried: header_lines(message.carried()),
            correlation_id: message.correlation_id().cloned(),
            reply_to: message.reply_to().map(address),
            created: message.created().map(|at| at.0),
            expires: message.expires().map(|at| at.0),
            deadline: message.deadline().map(|at| at.0),
            priority: message.priority(),
            sender: message.sender().cloned(),
            death: message.death().map(death_line),
        }
    }
}

fn death_line(death: &Death) -> DeathLine {
    DeathLine {
        reason: death.reason.to_string(),
        error: death.error.clone(),
        attempts: death.attempts,
        first: death.first.map(|at| at.0),
        at: death.at.0,
        queue: death.queue.to_string(),
        whole: death.whole,
    }
}

fn death_of(line: &DeathLine) -> Result<Death, String> {
    Ok(Death {
        reason: line.reason.as_str().into(),
        error: line.error.clone(),
        attempts: line.attempts,
        first: line.first.map(UnixMillis),
        at: UnixMillis(line.at),
        queue: Name::new(&line.queue).map_err(|error| error.to_string())?,
        whole: line.whole,
    })
}

/// Sets what is there.
macro_rules! set {
    ($message:ident, $($value:expr => $with:ident),* $(,)?) => {
        $(if let Some(value) = $value {
            $message = $message.$with(value);
        })*
    };
}

impl MessageLine {
    /// The message with this body, or which part of it cannot be read. What an address means here `reply_to` says.
    pub(crate) fn message(
        &self,
        body: Bytes,
        reply_to: impl FnOnce(&str) -> ReplyTo,
    ) -> Result<Message, String> {
        let mut message = Message::new(body).with_headers(headers_of(&self.headers)?);
        let id = self.id.as_deref().map(MessageId::from);
        if self.id_derived {
            set!(message, id => with_derived_id);
        } else {
            set!(message, id => with_id);
        }
        set!(message,
            self.content_type.as_deref() => with_content_type,
            self.content_encoding.as_deref() => with_content_encoding,
            self.correlation_id.as_deref() => with_correlation_id,
            self.reply_to.as_deref().map(reply_to) => with_reply_to,
            self.created.map(UnixMillis) => with_created,
            self.expires.map(UnixMillis) => with_expires,
            self.deadline.map(UnixMillis) => with_deadline,
            self.priority => with_priority,
            self.sender.as_deref() => with_sender,
            self.death.as_ref().map(death_of).transpose()? => with_death,
        );
        if !self.carried.is_empty() {
            *message.carried_mut() = carried_of(&self.carried)?;
        }
        Ok(message)
    }
}

/// A failure that a responder reports, on the wire.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RemoteErrorLine {
    code: String,
    text: String,
}

impl From<&RemoteError> for RemoteErrorLine {
    fn from(error: &RemoteError) -> Self {
        Self { code: error.code.clone(), text: error.text.clone() }
    }
}

impl From<RemoteErrorLine> for RemoteError {
    fn from(line: RemoteErrorLine) -> Self {
        Self { code: line.code, text: line.text }
    }
}

/// A reply; its message has the body of the packet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ReplyLine {
    #[serde(default)]
    message: MessageLine,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    responder: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(default)]
    index: u32,
    #[serde(default = "yes")]
    last: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<RemoteErrorLine>,
}

const fn yes() -> bool {
    true
}

impl ReplyLine {
    pub(crate) fn of(reply: &Reply, address: impl FnOnce(&ReplyTo) -> String) -> Self {
        Self {
            message: MessageLine::of(&reply.message, address),
            responder: reply.responder.clone(),
            attempt: reply.attempt,
            index: reply.index,
            last: reply.last,
            error: reply.error.as_ref().map(RemoteErrorLine::from),
        }
    }

    pub(crate) fn reply(self, body: Bytes, reply_to: impl FnOnce(&str) -> ReplyTo) -> Result<Reply, String> {
        let mut reply = Reply::new(self.message.message(body, reply_to)?);
        reply.responder = self.responder;
        reply.attempt = self.attempt;
        reply.index = self.index;
        reply.last = self.last;
        reply.error = self.error.map(RemoteError::from);
        Ok(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polybus_contract::Reason;

    #[test]
    fn messages_are_the_same_on_both_sides() {
        let values = [
            Value::Null,
            Value::Bool(true),
            Value::Int(i64::MIN),
            Value::UInt(u64::MAX),
            Value::Float(-0.1),
            Value::Decimal { digits: -5, scale: 3 },
            Value::Bytes(Bytes::from_static(b"\xff\x00")),
            Value::Time(UnixMillis(-7)),
            Value::Map(vec![("k".into(), Value::List(vec![Value::Text("\u{e9}\n".into())]))]),
        ];
        let mut message = Message::new(Bytes::from_static(b"\x00\xffbody"))
            .with_id("a foreign id")
            .with_content_type("a/b")
            .with_content_encoding("zlib")
            .with_correlation_id("c")
            .with_reply_to(ReplyTo::new("here", "7"))
            .with_created(UnixMillis(1))
            .with_expires(UnixMillis(2))
            .with_deadline(UnixMillis(3))
            .with_priority(4)
            .with_sender("s");
        for (number, value) in values.into_iter().enumerate() {
            message = message.with_header(format!("h{number}"), value).unwrap();
        }
        message.carried_mut().set_carried("x-polybus-at-most-once", true);
        let death = Death {
            reason: Reason::Decode,
            error: Some("e".into()),
            attempts: 3,
            first: None,
            at: UnixMillis(9),
            queue: Name::new("q").unwrap(),
            whole: true,
        };
        message = message.with_death(death);
        let address = |to: &ReplyTo| to.to_string();
        let line = serde_json::to_string(&MessageLine::of(&message, address)).unwrap();
        let again: MessageLine = serde_json::from_str(&line).unwrap();
        let body = message.body().as_bytes().unwrap().clone();
        let again = again.message(body, |address| ReplyTo::new("here", address)).unwrap();
        assert_eq!(format!("{again:?}"), format!("{message:?}"));
        assert_eq!(again.headers(), message.headers());
        assert_eq!(again.carried(), message.carried());
        assert_eq!(again.properties(), message.properties());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (line, part) in [
            (r#"{"headers":[{"name":"h","type":"int","value":"1.5"}]}"#, "1.5"),
            (r#"{"headers":[{"name":"h","type":"bytes","value":"?"}]}"#, "base64"),
            (r#"{"headers":[{"name":"x-polybus-h","type":"null"}]}"#, "reserved"),
        ] {
            let line: MessageLine = serde_json::from_str(line).unwrap();
            let fault = line.message(Bytes::new(), |_| ReplyTo::new("", "")).unwrap_err();
            assert!(fault.contains(part), "{fault}");
        }
    }
}
