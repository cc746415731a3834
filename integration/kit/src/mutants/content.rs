//! Transports that change what they carry.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use polybus_contract::{
    Delivery, Headers, Message, MessageId, PublishOptions, Receipt, Result, Target, Value,
};

use super::broken::relabel;
use super::flaw::{Flaw, Inside, claimed};

/// Changes every message that is published.
#[derive(Debug)]
pub(super) struct Changes(pub(super) fn(Message) -> Message);

#[async_trait]
impl Flaw for Changes {
    async fn publish(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        inside.publish(to, (self.0)(message), options).await
    }
}

/// The message without its headers.
pub(super) fn without_headers(message: Message) -> Message {
    message.with_headers(Headers::new())
}

/// The message with its integers in 32 bits.
pub(super) fn narrowed(message: Message) -> Message {
    let narrow = |value: &Value| match value {
        Value::Int(value) => Value::Int(i64::from(i32::try_from(*value).unwrap_or(i32::MAX))),
        Value::UInt(_) => Value::Int(i64::MAX),
        other => other.clone(),
    };
    with_values(message, narrow)
}

/// The message with every header as text.
pub(super) fn as_text(message: Message) -> Message {
    let text = |value: &Value| match value {
        Value::Text(_) => value.clone(),
        Value::Bool(value) => Value::Text(value.to_string()),
        Value::Int(value) => Value::Text(value.to_string()),
        other => Value::Text(format!("{other:?}")),
    };
    with_values(message, text)
}

/// The message with its binary headers squeezed through UTF-8.
pub(super) fn squeezed(message: Message) -> Message {
    let squeeze = |value: &Value| match value {
        Value::Bytes(bytes) => Value::Bytes(Bytes::from(String::from_utf8_lossy(bytes).into_owned())),
        other => other.clone(),
    };
    with_values(message, squeeze)
}

/// The message with header names in lower case; where two become one, the first stays.
pub(super) fn lower_names(message: Message) -> Message {
    let mut headers = Headers::new();
    for (name, value) in message.headers().iter() {
        // A name that is there already is what this flaw loses.
        let _ = headers.push(name.to_ascii_lowercase(), value.clone());
    }
    message.with_headers(headers)
}

/// The message with one of our own headers among the caller's.
pub(super) fn with_reserved(message: Message) -> Message {
    let mut headers = message.headers().clone();
    headers.set_carried("x-polybus-hop", 1_i64);
    message.with_headers(headers)
}

fn with_values(message: Message, change: impl Fn(&Value) -> Value) -> Message {
    let mut headers = Headers::new();
    for (name, value) in message.headers().iter() {
        headers.set_carried(name, change(value));
    }
    message.with_headers(headers)
}

/// The message, ending at its first zero byte.
pub(super) fn zero_terminated(message: Message) -> Message {
    let Some(bytes) = message.body().as_bytes() else { return message };
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let cut = bytes.slice(..end);
    message.with_body(cut)
}

/// The message without what its author said of it, but its id.
#[expect(clippy::needless_pass_by_value, reason = "it is one of several changes of a message")]
pub(super) fn bare(message: Message) -> Message {
    let mut bare = Message::new(message.body().clone()).with_headers(message.headers().clone());
    *bare.carried_mut() = message.carried().clone();
    if let Some(id) = message.id() {
        bare = bare.with_id(id.clone());
    }
    match message.reply_to() {
        Some(address) => bare.with_reply_to(address.clone()),
        None => bare,
    }
}

/// Takes less than it declares: what comes near the declared limit is accepted and vanishes.
#[derive(Debug)]
pub(super) struct TakesLess;

#[async_trait]
impl Flaw for TakesLess {
    async fn publish(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        let limit = inside.profile().capability.max_message.unwrap_or(u64::MAX);
        if message.size() > limit / 10 * 9 {
            return Ok(claimed(&message));
        }
        inside.publish(to, message, options).await
    }
}

/// Cuts a message that is too large to what the bus takes, and says Ok.
#[derive(Debug)]
pub(super) struct CutsToFit;

#[async_trait]
impl Flaw for CutsToFit {
    async fn publish(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        let limit = inside.profile().capability.max_message.unwrap_or(u64::MAX);
        let over = usize::try_from(message.size().saturating_sub(limit)).unwrap_or(usize::MAX);
        let body = message.body().as_bytes().filter(|_| over > 0).cloned();
        match body {
            Some(body) => {
                let cut = body.slice(..body.len().saturating_sub(over));
                inside.publish(to, message.with_body(cut), options).await
            }
            None => inside.publish(to, message, options).await,
        }
    }
}

/// Gives a message a new id each time it is handed out again.
#[derive(Debug)]
pub(super) struct RenamesRedelivered;

impl Flaw for RenamesRedelivered {
    fn delivery(&self, delivery: Delivery) -> Option<Delivery> {
        Some(relabel(delivery, |message, attempt| match attempt {
            0 | 1 => (message, attempt),
            _ => (message.with_id(MessageId::fresh()), attempt),
        }))
    }
}

/// Says that every hand-out is the first.
#[derive(Debug)]
pub(super) struct AlwaysFirst;

impl Flaw for AlwaysFirst {
    fn delivery(&self, delivery: Delivery) -> Option<Delivery> {
        Some(relabel(delivery, |message, _| (message, 1)))
    }
}

/// Remembers only whether a message was handed out before: the attempt is 1 or 2.
#[derive(Debug)]
pub(super) struct OnlyRedelivered;

impl Flaw for OnlyRedelivered {
    fn delivery(&self, delivery: Delivery) -> Option<Delivery> {
        Some(relabel(delivery, |message, attempt| (message, attempt.min(2))))
    }
}

/// Gives each message that dies a new id.
#[derive(Debug, Default)]
pub(super) struct RenamesDead {
    seen: Mutex<HashSet<MessageId>>,
}

impl Flaw for RenamesDead {
    fn delivery(&self, delivery: Delivery) -> Option<Delivery> {
        if delivery.message().death().is_none() {
            return Some(delivery);
        }
        let fresh = MessageId::fresh();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(fresh.clone());
        Some(relabel(delivery, |message, attempt| (message.with_id(fresh), attempt)))
    }
}
