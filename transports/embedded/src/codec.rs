//! Messages as the journal keeps them: every property, byte for byte.

use std::sync::Arc;

use bytes::Bytes;
use polybus_contract::{Death, Headers, Message, MessageId, Name, Reason, ReplyTo, UnixMillis, Value};
use polybus_queue::journal::{Codec, Decoder, Encoder};

/// How deep lists and tables in headers may be nested: reading them back must not exhaust the stack.
const DEPTH: usize = 64;

/// The encoding of messages, version 1; see the book on the journal's format.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Messages;

/// Whether a message can be kept: its body is in memory and its headers are not nested beyond measure.
pub(crate) fn can_keep(message: &Message) -> bool {
    let fine = |headers: &Headers| headers.iter().all(|(_, value)| is_flat_enough(value, DEPTH));
    message.body().as_bytes().is_some() && fine(message.headers()) && fine(message.carried())
}

fn is_flat_enough(value: &Value, left: usize) -> bool {
    let Some(left) = left.checked_sub(1) else { return false };
    match value {
        Value::List(items) => items.iter().all(|item| is_flat_enough(item, left)),
        Value::Map(entries) => entries.iter().all(|(_, value)| is_flat_enough(value, left)),
        _ => true,
    }
}

impl Codec<Arc<Message>> for Messages {
    fn encode(&self, message: &Arc<Message>, to: &mut Encoder<'_>) {
        to.maybe(message.id(), |to, id| put_id(id, to));
        to.flag(message.id_is_derived());
        to.maybe(message.priority(), Encoder::byte);
        to.maybe(message.created(), put_time);
        to.maybe(message.content_type(), Encoder::text);
        to.maybe(message.content_encoding().map(String::as_str), Encoder::text);
        to.maybe(message.correlation_id().map(String::as_str), Encoder::text);
        to.maybe(message.reply_to(), put_reply_to);
        to.maybe(message.expires().copied(), put_time);
        to.maybe(message.deadline().copied(), put_time);
        to.maybe(message.sender().map(String::as_str), Encoder::text);
        to.maybe(message.death(), put_death);
        put_headers(message.headers(), to);
        put_headers(message.carried(), to);
        to.raw(message.body().as_bytes().map_or(&[], |bytes| bytes));
    }

    fn decode(&self, from: &mut Decoder<'_>) -> Option<Arc<Message>> {
        let mut message = Message::new(Bytes::new());
        let id = from.maybe(take_id)?;
        message = match (id, from.flag()?) {
            (Some(id), false) => message.with_id(id),
            (Some(id), true) => message.with_derived_id(id),
            (None, _) => message,
        };
        message = set(message, from.maybe(Decoder::byte)?, Message::with_priority);
        message = set(message, from.maybe(take_time)?, Message::with_created);
        message = set(message, from.maybe(Decoder::text)?, Message::with_content_type);
        message = set(message, from.maybe(Decoder::text)?, Message::with_content_encoding);
        message = set(message, from.maybe(Decoder::text)?, Message::with_correlation_id);
        message = set(message, from.maybe(take_reply_to)?, Message::with_reply_to);
        message = set(message, from.maybe(take_time)?, Message::with_expires);
        message = set(message, from.maybe(take_time)?, Message::with_deadline);
        message = set(message, from.maybe(Decoder::text)?, Message::with_sender);
        message = set(message, from.maybe(take_death)?, Message::with_death);
        message = message.with_headers(take_headers(from)?);
        let carried = take_headers(from)?;
        // The body first: another body takes the manifest of a large one away.
        message = message.with_body(Bytes::copy_from_slice(from.rest()));
        if !carried.is_empty() {
            *message.carried_mut() = carried;
        }
        Some(Arc::new(message))
    }
}

fn set<T>(message: Message, value: Option<T>, with: impl FnOnce(Message, T) -> Message) -> Message {
    match value {
        Some(value) => with(message, value),
        None => message,
    }
}

fn put_id(id: &MessageId, to: &mut Encoder<'_>) {
    match id {
        MessageId::Uuid(uuid) => {
            to.byte(0);
            to.raw(uuid.as_bytes());
        }
        MessageId::Text(text) => {
            to.byte(1);
            to.text(text);
        }
    }
}

/// A text stays a text, also one that looks like a UUID.
fn take_id(from: &mut Decoder<'_>) -> Option<MessageId> {
    match from.byte()? {
        0 => Some(MessageId::Uuid(uuid::Uuid::from_bytes(from.raw(16)?.try_into().ok()?))),
        1 => Some(MessageId::Text(from.text()?.into())),
        _ => None,
    }
}

fn put_time(to: &mut Encoder<'_>, at: UnixMillis) {
    to.signed(at.0);
}

fn take_time(from: &mut Decoder<'_>) -> Option<UnixMillis> {
    from.signed().map(UnixMillis)
}

fn put_reply_to(to: &mut Encoder<'_>, reply_to: &ReplyTo) {
    to.text(reply_to.instance());
    to.text(reply_to.address_on(reply_to.instance()).unwrap_or_default());
}

fn take_reply_to(from: &mut Decoder<'_>) -> Option<ReplyTo> {
    Some(ReplyTo::new(from.text()?, from.text()?))
}

fn put_death(to: &mut Encoder<'_>, death: &Death) {
    to.text(death.reason.as_str());
    to.maybe(death.error.as_deref(), Encoder::text);
    to.number(death.attempts.into());
    to.maybe(death.first, put_time);
    put_time(to, death.at);
    to.text(death.queue.as_str());
    to.flag(death.whole);
}

fn take_death(from: &mut Decoder<'_>) -> Option<Death> {
    Some(Death {
        reason: Reason::from(from.text()?),
        error: from.maybe(Decoder::text)?.map(str::to_owned),
        attempts: from.small()?,
        first: from.maybe(take_time)?,
        at: take_time(from)?,
        queue: Name::new(from.text()?).ok()?,
        whole: from.flag()?,
    })
}

fn put_headers(headers: &Headers, to: &mut Encoder<'_>) {
    to.number(headers.len() as u64);
    for (name, value) in headers.iter() {
        to.text(name);
        put_value(value, to);
    }
}

fn take_headers(from: &mut Decoder<'_>) -> Option<Headers> {
    let mut headers = Headers::new();
    for _ in 0..from.number()? {
        // They were checked when they were made; what is reserved may be among the carried ones.
        headers.push_carried(from.text()?, take_value(from, DEPTH)?).ok()?;
    }
    Some(headers)
}

fn put_value(value: &Value, to: &mut Encoder<'_>) {
    match value {
        Value::Bool(value) => {
            to.byte(1);
            to.flag(*value);
        }
        Value::Int(value) => {
            to.byte(2);
            to.signed(*value);
        }
        Value::UInt(value) => {
            to.byte(3);
            to.number(*value);
        }
        Value::Float(value) => {
            to.byte(4);
            to.raw(&value.to_bits().to_le_bytes());
        }
        Value::Decimal { digits, scale } => {
            to.byte(5);
            to.signed(*digits);
            to.byte(*scale);
        }
        Value::Text(value) => {
            to.byte(6);
            to.text(value);
        }
        Value::Bytes(value) => {
            to.byte(7);
            to.bytes(value);
        }
        Value::Time(value) => {
            to.byte(8);
            put_time(to, *value);
        }
        Value::List(items) => {
            to.byte(9);
            to.number(items.len() as u64);
            for item in items {
                put_value(item, to);
            }
        }
        Value::Map(entries) => {
            to.byte(10);
            to.number(entries.len() as u64);
            for (name, value) in entries {
                to.text(name);
                put_value(value, to);
            }
        }
        // Null, and what there may be one day.
        _ => to.byte(0),
    }
}

fn take_value(from: &mut Decoder<'_>, left: usize) -> Option<Value> {
    let left = left.checked_sub(1)?;
    Some(match from.byte()? {
        0 => Value::Null,
        1 => Value::Bool(from.flag()?),
        2 => Value::Int(from.signed()?),
        3 => Value::UInt(from.number()?),
        4 => Value::Float(f64::from_bits(u64::from_le_bytes(from.raw(8)?.try_into().ok()?))),
        5 => Value::Decimal { digits: from.signed()?, scale: from.byte()? },
        6 => Value::Text(from.text()?.to_owned()),
        7 => Value::Bytes(Bytes::copy_from_slice(from.bytes()?)),
        8 => Value::Time(take_time(from)?),
        9 => Value::List((0..from.number()?).map(|_| take_value(from, left)).collect::<Option<_>>()?),
        10 => {
            let count = from.number()?;
            let entry = |_| Some((from.text()?.to_owned(), take_value(from, left)?));
            Value::Map((0..count).map(entry).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use polybus_queue::journal::{Codec, Decoder, Encoder};
    use proptest::prelude::*;

    use super::*;

    fn round(message: &Message) -> Option<Arc<Message>> {
        let mut bytes = Vec::new();
        Messages.encode(&Arc::new(message.clone()), &mut Encoder::new(&mut bytes));
        let mut from = Decoder::new(&bytes);
        Messages.decode(&mut from).filter(|_| from.is_empty())
    }

    /// Everything of a message: `Debug` shows all but the body's bytes.
    fn whole(message: &Message) -> (String, Option<Bytes>) {
        (format!("{message:?}"), message.body().as_bytes().cloned())
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<u64>().prop_map(Value::UInt),
            any::<f64>().prop_map(Value::Float),
            (any::<i64>(), any::<u8>()).prop_map(|(digits, scale)| Value::Decimal { digits, scale }),
            ".{0,9}".prop_map(Value::Text),
            any::<Vec<u8>>().prop_map(|bytes| Value::Bytes(bytes.into())),
            any::<i64>().prop_map(|at| Value::Time(UnixMillis(at))),
        ];
        leaf.prop_recursive(4, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
                prop::collection::vec((".{0,5}", inner), 0..4).prop_map(Value::Map),
            ]
        })
    }

    fn headers(prefix: &'static str) -> impl Strategy<Value = Headers> {
        prop::collection::btree_map("[a-z]{1,5}", value(), 0..4).prop_map(move |entries| {
            let mut headers = Headers::new();
            for (name, value) in entries {
                headers.push_carried(format!("{prefix}{name}"), value).unwrap();
            }
            headers
        })
    }

    prop_compose! {
        fn death()(
            reason in "[a-z]{1,9}", error in any::<Option<String>>(), attempts in any::<u32>(),
            first in any::<Option<i64>>(), at in any::<i64>(), whole in any::<bool>(),
        ) -> Death {
            let queue = Name::new("jobs").unwrap();
            let first = first.map(UnixMillis);
            Death { reason: Reason::from(&*reason), error, attempts, first, at: UnixMillis(at), queue, whole }
        }
    }

    prop_compose! {
        fn message()(
            (body, id, derived) in (any::<Vec<u8>>(), any::<Option<String>>(), any::<bool>()),
            (priority, created, content_type) in (any::<Option<u8>>(), any::<Option<i64>>(), any::<Option<String>>()),
            (encoding, correlation, sender) in (any::<Option<String>>(), any::<Option<String>>(), any::<Option<String>>()),
            (expires, deadline, reply_to) in (any::<Option<i64>>(), any::<Option<i64>>(), any::<Option<(String, String)>>()),
            (death, headers, carried) in (prop::option::of(death()), headers(""), headers("x-polybus-")),
        ) -> Message {
            let mut message = Message::new(body).with_headers(headers);
            message = match (id, derived) {
                (Some(id), true) => message.with_derived_id(&*id),
                (Some(id), false) => message.with_id(&*id),
                (None, _) => message.with_id(MessageId::fresh()),
            };
            message = set(message, priority, Message::with_priority);
            message = set(message, created.map(UnixMillis), Message::with_created);
            message = set(message, content_type, Message::with_content_type);
            message = set(message, encoding, Message::with_content_encoding);
            message = set(message, correlation, Message::with_correlation_id);
            message = set(message, sender, Message::with_sender);
            message = set(message, expires.map(UnixMillis), Message::with_expires);
            message = set(message, deadline.map(UnixMillis), Message::with_deadline);
            let reply_to = reply_to.map(|(instance, address)| ReplyTo::new(instance, address));
            message = set(message, reply_to, Message::with_reply_to);
            message = set(message, death, Message::with_death);
            if !carried.is_empty() {
                *message.carried_mut() = carried;
            }
            message
        }
    }

    proptest! {
        #[test]
        fn a9_every_property_comes_back(message in message()) {
            prop_assert!(can_keep(&message));
            let back = round(&message).unwrap();
            prop_assert_eq!(whole(&back), whole(&message));
            prop_assert_eq!(back.id_is_derived(), message.id_is_derived());
        }

        #[test]
        fn any_bytes_are_a_message_or_none(bytes in any::<Vec<u8>>()) {
            let _ = Messages.decode(&mut Decoder::new(&bytes));
        }

        #[test]
        fn cut_messages_are_no_panic(message in message(), cut in any::<prop::sample::Index>()) {
            let mut bytes = Vec::new();
            Messages.encode(&Arc::new(message), &mut Encoder::new(&mut bytes));
            let _ = Messages.decode(&mut Decoder::new(&bytes[..cut.index(bytes.len())]));
        }
    }

    #[test]
    fn what_is_nested_too_deep_is_not_taken() {
        let mut value = Value::Null;
        for _ in 1..DEPTH {
            value = Value::List(vec![value]);
        }
        let fits = Message::new("x").with_id("1").with_header("h", value.clone()).unwrap();
        assert!(can_keep(&fits) && round(&fits).is_some());
        let deep = Message::new("x").with_header("h", Value::List(vec![value])).unwrap();
        assert!(!can_keep(&deep));
    }
}
