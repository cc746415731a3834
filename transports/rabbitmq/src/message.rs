//! Messages as AMQP properties and bodies, and back.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use polybus_contract::{
    Death, Error, Headers, Kind, Message, MessageId, Name, Operation, RESERVED_PREFIXES, Reason, RemoteError,
    Reply, ReplyOptions, ReplyTo, Result, UnixMillis,
};
use uuid::Uuid;

use crate::header::{self, int, known, short, string, text};

/// The largest frame that is agreed on, less what properties and framing may take beside the headers. Longer headers
/// would close the connection.
const MAX_HEADERS: usize = 131_072 - 4096;

/// What survives a restart of the broker.
const PERSISTENT: u8 = 2;

/// A message for the wire.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    pub(crate) properties: BasicProperties,
    pub(crate) body: Bytes,
}

/// Headers under construction.
#[derive(Debug, Default)]
pub(crate) struct Table(FieldTable);

impl Table {
    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.0.insert(known(name), text(value));
    }

    pub(crate) fn int(&mut self, name: &str, value: impl Into<i64>) {
        self.0.insert(known(name), AMQPValue::LongLongInt(value.into()));
    }

    pub(crate) fn yes(&mut self, name: &str) {
        self.0.insert(known(name), AMQPValue::Boolean(true));
    }

    fn no(&mut self, name: &str) {
        self.0.insert(known(name), AMQPValue::Boolean(false));
    }

    /// The headers of a message that came, to be sent on: without what the broker wrote.
    pub(crate) fn of(properties: &BasicProperties) -> Self {
        let Some(table) = properties.headers() else { return Self::default() };
        let kept = table.into_iter().filter(|(name, _)| !is_written_by_broker(name.as_str()));
        let mut found = FieldTable::default();
        for (name, value) in kept {
            found.insert(name.clone(), value.clone());
        }
        Self(found)
    }

    pub(crate) fn without(self, names: &[&str]) -> Self {
        let mut kept = FieldTable::default();
        for (name, value) in self.0.into_iter().filter(|(name, _)| !names.contains(&name.as_str())) {
            kept.insert(name.clone(), value.clone());
        }
        Self(kept)
    }

    fn caller(&mut self, headers: &Headers) -> Result<()> {
        for (name, value) in headers.iter() {
            let escaped = header::is_brokers(name).then(|| format!("{}{name}", header::ESCAPED));
            let key = short(escaped.as_deref().unwrap_or(name));
            let (Some(key), Some(value)) = (key, header::to_amqp(value)) else {
                return Err(Error::new(Kind::InvalidMessage, Operation::Publish).with_detail(format!(
                    "header \"{}\": its name is too long for AMQP, or its value is nested too deep",
                    name.escape_default()
                )));
            };
            self.0.insert(key, value);
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.0.inner().is_empty()
    }

    pub(crate) fn into_headers(self) -> FieldTable {
        self.0
    }
}

fn is_written_by_broker(name: &str) -> bool {
    header::is_brokers(name) && !matches!(name, "CC" | "BCC")
}

/// A property where the text is short enough, else a header.
macro_rules! put {
    ($properties:ident, $table:ident, $with:ident, $name:expr, $value:expr) => {
        if let Some(value) = $value {
            match short(value) {
                Some(value) => $properties = $properties.$with(value),
                None => $table.text($name, value),
            }
        }
    };
}

/// The message for the wire, with the headers in `table` besides its own.
pub(crate) fn encode(message: &Message, instance: &str, mut table: Table) -> Result<Raw> {
    let body = message.body().as_bytes().cloned();
    let body = body
        .ok_or_else(|| Error::new(Kind::InvalidMessage, Operation::Publish).with_detail("a body in parts"))?;
    let mut properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    table.caller(message.headers())?;
    table.caller(message.carried())?;
    properties = put_id(message, properties, &mut table);
    put!(properties, table, with_content_type, header::CONTENT_TYPE, message.content_type());
    let encoding = message.content_encoding().map(String::as_str);
    put!(properties, table, with_content_encoding, header::CONTENT_ENCODING, encoding);
    if let Some(priority) = message.priority() {
        properties = properties.with_priority(priority);
    }
    if let Some(UnixMillis(at)) = message.created() {
        if let Ok(at) = u64::try_from(at.div_euclid(1000)) {
            properties = properties.with_timestamp(at);
        }
        if at < 0 || at % 1000 != 0 {
            table.int(header::CREATED, at);
        }
    }
    if let Some(UnixMillis(at)) = message.expires() {
        table.int(header::EXPIRES, *at);
    }
    if let Some(UnixMillis(at)) = message.deadline() {
        table.int(header::DEADLINE, *at);
    }
    properties = put_reply_to(message, instance, properties, &mut table)?;
    if !table.is_empty() {
        fits(&table.0)?;
        properties = properties.with_headers(table.into_headers());
    }
    Ok(Raw { properties, body })
}

fn put_id(message: &Message, properties: BasicProperties, table: &mut Table) -> BasicProperties {
    let Some(id) = message.id() else { return properties };
    let id = id.to_string();
    if message.id_is_derived() {
        table.text(header::DERIVED_ID, &id);
        return properties;
    }
    let Some(short) = short(id.as_str()) else {
        table.text(header::ID, &id);
        return properties;
    };
    properties.with_message_id(short)
}

fn put_reply_to(
    message: &Message,
    instance: &str,
    mut properties: BasicProperties,
    table: &mut Table,
) -> Result<BasicProperties> {
    let mut own = message.correlation_id().map(String::as_str);
    if let Some(reply_to) = message.reply_to() {
        let (queue, correlation) = split_address(reply_to.address_on(instance)?);
        let queue = short(queue).ok_or_else(|| {
            Error::new(Kind::InvalidMessage, Operation::Publish).with_detail("the reply address is too long")
        })?;
        properties = properties.with_reply_to(queue);
        if let Some(correlation) = correlation.and_then(short) {
            if let Some(own) = own.take().filter(|own| *own != correlation.as_str()) {
                table.text(header::CORRELATION, own);
            }
            return Ok(properties.with_correlation_id(correlation));
        }
    }
    put!(properties, table, with_correlation_id, header::CORRELATION, own);
    Ok(properties)
}

fn fits(table: &FieldTable) -> Result<()> {
    let size = header::table_size(table);
    if size <= MAX_HEADERS {
        return Ok(());
    }
    let kind = Kind::TooLarge { limit: MAX_HEADERS as u64, size: size as u64 };
    Err(Error::new(kind, Operation::Publish).with_detail("the headers do not fit into one frame"))
}

/// What a reply says of itself, where it is not a single, complete one of nobody in particular.
pub(crate) fn reply_table(options: &ReplyOptions) -> Table {
    let mut table = Table::default();
    if options.index > 0 {
        table.int(header::INDEX, options.index);
    }
    if !options.last {
        table.no(header::LAST);
    }
    if let Some(responder) = &options.responder {
        table.text(header::RESPONDER, responder);
    }
    if let Some(attempt) = options.attempt {
        table.int(header::ANSWERS_ATTEMPT, attempt);
    }
    if let Some(error) = &options.error {
        table.text(header::ERROR_CODE, &error.code);
        table.text(header::ERROR_TEXT, &error.text);
    }
    table
}

/// A reply address as the contract carries it: the queue, and what has to be repeated, with `#` between them.
pub(crate) fn address(reply_to: &str, correlation: Option<&str>) -> String {
    match correlation {
        Some(correlation) => [&escaped(reply_to), "#", &escaped(correlation)].concat(),
        None => escaped(reply_to).into_owned(),
    }
}

fn escaped(text: &str) -> Cow<'_, str> {
    if text.contains(['%', '#']) { text.replace('%', "%25").replace('#', "%23").into() } else { text.into() }
}

fn plain(text: &str) -> Cow<'_, str> {
    if text.contains('%') { text.replace("%23", "#").replace("%25", "%").into() } else { text.into() }
}

/// The queue and the correlation id in an address.
pub(crate) fn split_address(address: &str) -> (Cow<'_, str>, Option<Cow<'_, str>>) {
    match address.split_once('#') {
        Some((queue, correlation)) => (plain(queue), Some(plain(correlation))),
        None => (plain(address), None),
    }
}

/// A message that came, and what its headers say of its way.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) message: Message,
    pub(crate) way: Way,
}

/// What a copy knows of the copies before it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Way {
    /// The attempt that this copy's first hand-out is.
    pub(crate) attempt: Option<u32>,
    /// Hand-outs of this copy before this one, where the broker counts them.
    pub(crate) delivery_count: Option<u32>,
    pub(crate) error: Option<String>,
    pub(crate) first: Option<UnixMillis>,
    pub(crate) due: Option<UnixMillis>,
    pub(crate) numbered: Option<(String, u64)>,
    death: DeathNote,
    reply: ReplyNote,
    correlation: Option<String>,
    id: Option<MessageId>,
    derived_id: Option<MessageId>,
}

#[derive(Clone, Debug, Default)]
struct DeathNote {
    reason: Option<String>,
    text: Option<String>,
    queue: Option<String>,
    at: Option<UnixMillis>,
    attempts: Option<u32>,
    replaced: bool,
}

#[derive(Clone, Debug, Default)]
struct ReplyNote {
    index: u32,
    more: bool,
    responder: Option<String>,
    attempt: Option<u32>,
    code: Option<String>,
    text: Option<String>,
}

/// Reads any message: nothing a peer writes is an error here. What is not understood is left out.
pub(crate) fn decode(properties: &BasicProperties, body: &Bytes, instance: &Arc<str>) -> Decoded {
    let mut message = Message::new(body.clone());
    let mut way = Way::default();
    if let Some(table) = properties.headers() {
        message = take_headers(message, table, &mut way);
    }
    message = take_properties(message, properties, &mut way, instance);
    let given = properties.message_id().as_ref().map(|id| MessageId::from(id.as_str())).or(way.id.take());
    message = match (given, way.derived_id.take()) {
        (Some(id), _) => message.with_id(id),
        (None, Some(id)) => message.with_derived_id(id),
        (None, None) => message.with_derived_id(derived_id(properties, body)),
    };
    Decoded { message, way }
}

fn take_properties(
    mut message: Message,
    properties: &BasicProperties,
    way: &mut Way,
    instance: &Arc<str>,
) -> Message {
    let texts = |text: &Option<ShortString>| text.as_ref().map(|text| text.as_str().to_owned());
    if let Some(value) = properties.content_type() {
        message = message.with_content_type(value.as_str());
    }
    if let Some(value) = texts(properties.content_encoding()) {
        message = message.with_content_encoding(value);
    }
    if let Some(value) = properties.priority() {
        message = message.with_priority(*value);
    }
    if let (Some(at), None) = (properties.timestamp(), message.created()) {
        message = message.with_created(header::seconds(*at));
    }
    if let Some(value) = texts(properties.user_id()) {
        message = message.with_sender(value);
    }
    let correlation = texts(properties.correlation_id());
    if let Some(queue) = texts(properties.reply_to()).filter(|queue| !queue.is_empty()) {
        let address = address(&queue, correlation.as_deref());
        message = message.with_reply_to(ReplyTo::new(instance.clone(), address));
    }
    match way.correlation.take().or(correlation) {
        Some(correlation) => message.with_correlation_id(correlation),
        None => message,
    }
}

fn take_headers(mut message: Message, table: &FieldTable, way: &mut Way) -> Message {
    let mut headers = Headers::new();
    for (name, value) in table {
        let name = name.as_str();
        if let Some(escaped) = name.strip_prefix(header::ESCAPED) {
            headers.set_carried(escaped, header::from_amqp(value));
        } else if is_reserved(name) {
            message = take_reserved(message, name, value, way);
        } else if name == "x-delivery-count" {
            way.delivery_count = int(value).and_then(|count| u32::try_from(count).ok());
        } else if !is_written_by_broker(name) {
            // Names in a table are unique already.
            headers.set_carried(name, header::from_amqp(value));
        }
    }
    message.with_headers(headers)
}

fn is_reserved(name: &str) -> bool {
    let start =
        |prefix: &&str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    RESERVED_PREFIXES.iter().any(start)
}

fn take_reserved(message: Message, name: &str, value: &AMQPValue, way: &mut Way) -> Message {
    let words = || string(value).map(str::to_owned);
    let count = || int(value).and_then(|count| u32::try_from(count).ok());
    let at = || int(value).map(UnixMillis);
    match name {
        header::ID => way.id = words().map(|id| MessageId::from(&*id)),
        header::DERIVED_ID => way.derived_id = words().map(|id| MessageId::from(&*id)),
        header::CORRELATION => way.correlation = words(),
        header::ATTEMPT => way.attempt = count(),
        header::ERROR => way.error = words(),
        header::FIRST => way.first = at(),
        header::DUE => way.due = at(),
        header::REASON => way.death.reason = words(),
        header::TEXT => way.death.text = words(),
        header::QUEUE => way.death.queue = words(),
        header::TIME => way.death.at = at(),
        header::ATTEMPTS => way.death.attempts = count(),
        header::REPLACED => way.death.replaced = true,
        header::INDEX => way.reply.index = count().unwrap_or(0),
        header::LAST => way.reply.more = matches!(value, AMQPValue::Boolean(false)),
        header::RESPONDER => way.reply.responder = words(),
        header::ANSWERS_ATTEMPT => way.reply.attempt = count(),
        header::ERROR_CODE => way.reply.code = words(),
        header::ERROR_TEXT => way.reply.text = words(),
        header::PUBLISHER => {
            way.numbered =
                words().map(|publisher| (publisher, way.numbered.take().map_or(0, |(_, number)| number)));
        }
        header::NUMBER => {
            let number = int(value).and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
            way.numbered =
                Some((way.numbered.take().map_or_else(String::new, |(publisher, _)| publisher), number));
        }
        _ => return take_own_property(message, name, value),
    }
    message
}

fn take_own_property(mut message: Message, name: &str, value: &AMQPValue) -> Message {
    match (name, int(value), string(value)) {
        (header::CREATED, Some(at), _) => message.with_created(UnixMillis(at)),
        (header::EXPIRES, Some(at), _) => message.with_expires(UnixMillis(at)),
        (header::DEADLINE, Some(at), _) => message.with_deadline(UnixMillis(at)),
        (header::CONTENT_TYPE, _, Some(text)) => message.with_content_type(text),
        (header::CONTENT_ENCODING, _, Some(text)) => message.with_content_encoding(text),
        _ => {
            message.carried_mut().set_carried(name, header::from_amqp(value));
            message
        }
    }
}

/// An id from what stays the same at each delivery and in each copy.
fn derived_id(properties: &BasicProperties, body: &Bytes) -> MessageId {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        properties.correlation_id().as_ref().map(ShortString::as_str).hash(&mut hasher);
        properties.reply_to().as_ref().map(ShortString::as_str).hash(&mut hasher);
        properties.timestamp().hash(&mut hasher);
        properties.kind().as_ref().map(ShortString::as_str).hash(&mut hasher);
        body.hash(&mut hasher);
        hasher.finish()
    };
    Uuid::from_u64_pair(half(0), half(1)).into()
}

impl Way {
    /// Which hand-out this is, as far as the broker counts; a mark that it was handed out before is the least count.
    pub(crate) fn attempt_now(&self, redelivered: bool) -> u32 {
        let before = self.delivery_count.unwrap_or_else(|| u32::from(redelivered));
        self.attempt.unwrap_or(1).max(1).saturating_add(before)
    }

    /// The death of a dead letter, which lay in the dead letters of `living`.
    pub(crate) fn death(&self, living: &Name) -> Option<Death> {
        let note = &self.death;
        let reason = note.reason.as_deref()?;
        Some(Death {
            reason: Reason::from(reason),
            error: note.text.clone(),
            attempts: note.attempts.unwrap_or(1),
            first: self.first,
            at: note.at.unwrap_or(UnixMillis(0)),
            queue: note
                .queue
                .as_deref()
                .and_then(|queue| Name::new(queue).ok())
                .unwrap_or_else(|| living.clone()),
            whole: !note.replaced,
        })
    }

    /// The message as a reply.
    pub(crate) fn reply(&self, message: Message) -> Reply {
        let note = &self.reply;
        let text = || note.text.clone().unwrap_or_default();
        Reply {
            message,
            responder: note.responder.clone(),
            attempt: note.attempt,
            index: note.index,
            last: !note.more,
            error: note.code.clone().map(|code| RemoteError { code, text: text() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_as_they_were() {
        for (queue, correlation) in [("q", Some("c")), ("a#b%c", Some("%23#")), ("plain", None), ("%", None)]
        {
            let address = address(queue, correlation);
            let (queue_again, correlation_again) = split_address(&address);
            assert_eq!((&*queue_again, correlation_again.as_deref()), (queue, correlation), "{address}");
        }
    }
}
