//! Messages.

use polybus_contract::{Body, Death, Message, MessageId, ReplyTo, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::header::{HeaderLine, Names, header_lines, headers_of};
use crate::place::name;

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

/// All that a message says of itself but its body: `id`, `id_derived`, `content_type`, `content_encoding`, `headers`,
/// `carried`, `correlation_id`, `reply_to`, `created`, `expires`, `deadline`, `priority`, `sender`, and `death` in dead
/// letters. What is not set is left out; `A` is what a reply address looks like.
///
/// A header has `name`, `type` and `value`: `null` (no value), `bool`, `int`, `uint`, `float` (these three as text),
/// `decimal` (`digits` as text, `scale`), `text`, `bytes` (base64), `time`, `list`, `map`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MessageLine<A = String> {
    /// The id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Whether the id was made up for a foreign message that had none.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub id_derived: bool,
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
    reply_to: Option<A>,
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

impl<A> MessageLine<A> {
    /// All of a message but its body. Of a reply address `address` makes what is said.
    pub fn of(message: &Message, address: impl FnOnce(&ReplyTo) -> A) -> Self {
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
        queue: name(&line.queue)?,
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

impl<A> MessageLine<A> {
    /// The message with this body. `names` says how the names of its headers are read, `reply_to` what an address means
    /// here. Those of carried headers are never checked.
    ///
    /// # Errors
    /// Which part cannot be read: a header's name or value, one nested deeper than [`DEPTH`](crate::DEPTH), or the queue
    /// where it died.
    pub fn message(
        &self,
        body: impl Into<Body>,
        names: Names,
        reply_to: impl FnOnce(&A) -> ReplyTo,
    ) -> Result<Message, String> {
        let mut message = Message::new(body).with_headers(headers_of(&self.headers, names)?);
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
            self.reply_to.as_ref().map(reply_to) => with_reply_to,
            self.created.map(UnixMillis) => with_created,
            self.expires.map(UnixMillis) => with_expires,
            self.deadline.map(UnixMillis) => with_deadline,
            self.priority => with_priority,
            self.sender.as_deref() => with_sender,
            self.death.as_ref().map(death_of).transpose()? => with_death,
        );
        if !self.carried.is_empty() {
            *message.carried_mut() = headers_of(&self.carried, Names::Carried)?;
        }
        Ok(message)
    }
}
