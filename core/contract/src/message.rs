//! Messages and the records of their deaths.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::body::Body;
use crate::fidelity::{Fidelity, Property};
use crate::header::{Headers, Value};
use crate::id::MessageId;
use crate::name::Name;
use crate::parts::{PARTS, TAKES_PARTS};
use crate::target::ReplyTo;
use crate::time::UnixMillis;

/// The carried header that asks workers not to begin a second attempt: boolean, set by
/// [`RequestOptions::at_most_once`](crate::RequestOptions::at_most_once).
pub const AT_MOST_ONCE: &str = "x-polybus-at-most-once";

/// Why a message is in the dead letters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Too many hand-outs without an ack.
    Attempts,
    /// The handler rejected it.
    Rejected,
    /// Nobody could read it.
    Decode,
    /// Its signature is missing, wrong, or outside the time window.
    Signature,
    /// It expired, and the queue keeps what expires.
    Expired,
    /// A bridge could not map it.
    Unmappable,
    /// A word of an application or of another bus.
    Other(Box<str>),
}

impl Reason {
    /// The word for it on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Attempts => "attempts",
            Self::Rejected => "rejected",
            Self::Decode => "decode",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::Unmappable => "unmappable",
            Self::Other(word) => word,
        }
    }
}

impl From<&str> for Reason {
    fn from(word: &str) -> Self {
        let known =
            [Self::Attempts, Self::Rejected, Self::Decode, Self::Signature, Self::Expired, Self::Unmappable];
        known.into_iter().find(|reason| reason.as_str() == word).unwrap_or_else(|| Self::Other(word.into()))
    }
}

impl FromStr for Reason {
    type Err = std::convert::Infallible;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Ok(Self::from(word))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is known about a message in the dead letters (E1).
#[derive(Clone, Debug, PartialEq)]
pub struct Death {
    /// Why.
    pub reason: Reason,
    /// The last error text, if one is known. No payloads, no secrets.
    pub error: Option<String>,
    /// How often it was handed out.
    pub attempts: u32,
    /// When it was first handed out, if it was and that is known.
    pub first: Option<UnixMillis>,
    /// When it died.
    pub at: UnixMillis,
    /// The queue it died in.
    pub queue: Name,
    /// False if the body was replaced or left out: such an entry cannot be redriven.
    pub whole: bool,
}

/// Rarely set properties, boxed together: a message is moved several times per hop.
#[derive(Clone, Debug, Default, PartialEq)]
struct Rare {
    created: Option<UnixMillis>,
    content_type: Option<Arc<str>>,
    content_encoding: Option<String>,
    correlation_id: Option<String>,
    reply_to: Option<ReplyTo>,
    expires: Option<UnixMillis>,
    deadline: Option<UnixMillis>,
    sender: Option<String>,
    carried: Headers,
    death: Option<Death>,
}

impl Rare {
    /// `set`, and those of these properties that are set.
    fn properties(&self, set: Fidelity) -> Fidelity {
        set.with_if(self.content_type.is_some(), Property::ContentType)
            .with_if(self.created.is_some(), Property::Created)
            .with_if(self.content_encoding.is_some(), Property::ContentEncoding)
            .with_if(self.correlation_id.is_some(), Property::CorrelationId)
            .with_if(self.reply_to.is_some(), Property::ReplyTo)
            .with_if(self.expires.is_some(), Property::Expires)
            .with_if(self.sender.is_some(), Property::Sender)
            .with_if(self.deadline.is_some(), Property::Deadline)
    }

    fn size(&self) -> usize {
        let texts = [&self.content_encoding, &self.correlation_id, &self.sender];
        let content_type = self.content_type.as_ref().map_or(0, |text| text.len());
        self.carried.size() + content_type + texts.into_iter().flatten().map(String::len).sum::<usize>()
    }
}

/// A message: an id, a body, and properties.
///
/// Fields a transport cannot carry natively travel in reserved headers; what it cannot carry at all is listed by
/// its [`Fidelity`]. Carried is not obeyed: expiry and priority have an effect only where the capability says so.
#[derive(Clone, Debug)]
pub struct Message {
    id: Option<MessageId>,
    id_derived: bool,
    priority: Option<u8>,
    body: Body,
    headers: Headers,
    rare: Option<Box<Rare>>,
}

macro_rules! rare {
    ($($(#[$doc:meta])* $get:ident, $with:ident: $kind:ty),* $(,)?) => {
        $($(#[$doc])* #[must_use] pub fn $get(&self) -> Option<&$kind> {
            self.rare.as_ref().and_then(|rare| rare.$get.as_ref())
        }
        #[doc = concat!("The same message with [`Message::", stringify!($get), "`] set.")]
        #[must_use] pub fn $with(mut self, value: impl Into<$kind>) -> Self {
            self.rare_mut().$get = Some(value.into());
            self
        })*
    };
}

impl Message {
    /// A message with this body and no id yet: it gets one when it is sent, unless [`Message::with_id`] gave one.
    #[must_use]
    pub fn new(body: impl Into<Body>) -> Self {
        Self {
            id: None,
            id_derived: false,
            priority: None,
            body: body.into(),
            headers: Headers::new(),
            rare: None,
        }
    }

    fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// The id; `None` only before it was sent.
    #[must_use]
    pub fn id(&self) -> Option<&MessageId> {
        self.id.as_ref()
    }

    /// The id, made now if there is none.
    pub fn ensure_id(&mut self) -> &MessageId {
        self.id.get_or_insert_with(MessageId::fresh)
    }

    /// The same message under this id.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<MessageId>) -> Self {
        self.id = Some(id.into());
        self.id_derived = false;
        self
    }

    /// The same message under an id that was made up for it: a foreign message had none. It is derived from what
    /// stays the same at each delivery, so that [`Message::id`] is stable all the same.
    #[must_use]
    pub fn with_derived_id(mut self, id: impl Into<MessageId>) -> Self {
        self.id = Some(id.into());
        self.id_derived = true;
        self
    }

    /// Whether the id was made up for a foreign message without one.
    #[must_use]
    pub const fn id_is_derived(&self) -> bool {
        self.id_derived
    }

    /// The body.
    #[must_use]
    pub const fn body(&self) -> &Body {
        &self.body
    }

    /// The same message with another body. The parts of the old one are not those of the new one.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        if let Some(rare) = &mut self.rare {
            rare.carried.remove_carried(PARTS);
        }
        self
    }

    /// The media type of the body.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.rare.as_ref().and_then(|rare| rare.content_type.as_deref())
    }

    /// The same message with this media type.
    #[must_use]
    pub fn with_content_type(mut self, value: impl Into<Arc<str>>) -> Self {
        self.rare_mut().content_type = Some(value.into());
        self
    }

    /// The caller's headers.
    #[must_use]
    pub const fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The same message with one more header.
    ///
    /// # Errors
    /// As [`Headers::push`].
    pub fn with_header(mut self, name: impl AsRef<str>, value: impl Into<Value>) -> crate::Result<Self> {
        self.headers.push(name, value)?;
        Ok(self)
    }

    /// The same message with these headers instead of its own.
    #[must_use]
    pub fn with_headers(mut self, headers: Headers) -> Self {
        self.headers = headers;
        self
    }

    /// When it was created, if its sender said so.
    #[must_use]
    pub fn created(&self) -> Option<UnixMillis> {
        self.rare.as_ref().and_then(|rare| rare.created)
    }

    /// The same message, created at this time.
    #[must_use]
    pub fn with_created(mut self, at: UnixMillis) -> Self {
        self.rare_mut().created = Some(at);
        self
    }

    /// The priority; higher is more urgent on every bus.
    #[must_use]
    pub const fn priority(&self) -> Option<u8> {
        self.priority
    }

    /// The same message with this priority.
    #[must_use]
    pub const fn with_priority(mut self, priority: u8) -> Self {
        self.priority = Some(priority);
        self
    }

    rare! {
        /// How the body is encoded, for example `zlib`.
        content_encoding, with_content_encoding: String,
        /// What a reply must repeat.
        correlation_id, with_correlation_id: String,
        /// Where replies go. Opaque, and valid on the bus it came from only.
        reply_to, with_reply_to: ReplyTo,
        /// When it is no longer worth delivering (absolute, so that retry, dead letter and bridge shorten it truthfully).
        expires, with_expires: UnixMillis,
        /// When its sender stops waiting.
        deadline, with_deadline: UnixMillis,
        /// Who sent it, where the bus proves it.
        sender, with_sender: String,
        /// Why and when it died, for messages read from dead letters.
        death, with_death: Death,
    }

    /// The same message without a reply address.
    #[must_use]
    pub fn without_reply_to(mut self) -> Self {
        if let Some(rare) = &mut self.rare {
            rare.reply_to = None;
        }
        self
    }

    /// The same message without a death: what a redrive sends.
    #[must_use]
    pub fn without_death(mut self) -> Self {
        if let Some(rare) = &mut self.rare {
            rare.death = None;
        }
        self
    }

    /// Our own headers, and foreign properties without a field here, as other hops wrote them. They ride along apart
    /// from [`Message::headers`], so that a received message can be sent on without tripping over them.
    #[must_use]
    pub fn carried(&self) -> &Headers {
        static NONE: Headers = Headers::new();
        self.rare.as_ref().map_or(&NONE, |rare| &rare.carried)
    }

    /// Our own headers, to be changed. For transports, workers and bridges.
    pub fn carried_mut(&mut self) -> &mut Headers {
        &mut self.rare_mut().carried
    }

    /// Its size in bytes for the purposes of limits: body, headers and texts. Of a large body what travels in the message.
    #[must_use]
    #[inline]
    pub fn size(&self) -> u64 {
        let rest = self.headers.size() + self.rare.as_ref().map_or(0, |rare| rare.size());
        (self.body.head().len() + rest) as u64
    }

    /// Whether whoever waits for the reply to this request reads replies in parts ([`TAKES_PARTS`]).
    #[must_use]
    pub fn takes_parts(&self) -> bool {
        self.carried().get(TAKES_PARTS).is_some()
    }

    /// The properties that are set. The id counts only if it was given on purpose.
    #[must_use]
    #[inline]
    pub fn properties(&self) -> Fidelity {
        let mut set = Fidelity::none()
            .with_if(self.id.is_some() && !self.id_derived, Property::Id)
            .with_if(self.priority.is_some(), Property::Priority);
        if !self.headers.is_empty() {
            let typed = self.headers.iter().any(|(_, value)| value.as_text().is_none());
            set = set.with(Property::Headers).with_if(typed, Property::HeaderTypes);
        }
        self.rare.as_deref().map_or(set, |rare| rare.properties(set))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_enough_to_move() {
        assert!(size_of::<Message>() <= 96, "{}", size_of::<Message>());
    }

    #[test]
    fn a9_properties_are_those_that_are_set() {
        let message = Message::new("x");
        assert!(message.properties().is_empty());
        let message = message.with_priority(3).with_correlation_id("7").with_header("n", 1_i64).unwrap();
        assert_eq!(message.properties().to_string(), "headers, header_types, correlation_id, priority");
        assert!(!message.clone().with_derived_id("d").properties().has(Property::Id));
        assert!(message.with_id("d").properties().has(Property::Id));
    }

    #[test]
    fn reasons_round_trip() {
        for word in ["attempts", "rejected", "decode", "signature", "expired", "unmappable", "poison"] {
            assert_eq!(Reason::from(word).as_str(), word);
        }
    }
}
