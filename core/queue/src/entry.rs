//! One message as the engine sees it.

use std::fmt;
use std::sync::Arc;

use crate::dead::Death;
use crate::record::Sent;

/// The identity of a message: stable through retries, dead letters and redrives.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
// A tag of eight bytes: the UUID lies aligned behind it and is copied in whole words.
#[repr(u64)]
pub enum MessageId {
    /// The sixteen bytes of a UUID.
    Uuid([u8; 16]),
    /// Any other text, as foreign programs choose them.
    Text(Arc<str>),
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(bytes) => write!(f, "{:032x}", u128::from_be_bytes(*bytes)),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// The de-duplication key: identity and send number, so that a deliberate second send is a new message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The message's identity.
    pub id: MessageId,
    /// 0 for the first send; a redrive adds one.
    pub send: u32,
}

/// A message on its way in: the payload, and what the engine must know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope<P> {
    /// What is delivered; the engine never looks inside.
    pub payload: P,
    /// Identity and send number.
    pub key: Key,
    /// Bytes this message counts for.
    pub size: u64,
    /// Higher goes first, where the queue has priorities.
    pub priority: u8,
    /// Wall time in Unix milliseconds after which it is not handed out any more, where the queue obeys expiry.
    pub expires_unix_ms: Option<u64>,
}

impl<P> Envelope<P> {
    /// A message of `size` bytes with neither priority nor expiry, sent for the first time.
    pub const fn new(id: MessageId, payload: P, size: u64) -> Self {
        Self { payload, key: Key { id, send: 0 }, size, priority: 0, expires_unix_ms: None }
    }

    /// The same message with this priority.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// The same message with this expiry, in Unix milliseconds.
    #[must_use]
    pub fn expires(mut self, unix_ms: u64) -> Self {
        self.expires_unix_ms = Some(unix_ms);
        self
    }
}

/// Where a message is. Each is in exactly one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Waits for a consumer.
    Ready,
    /// Waits for a consumer and for its delay to be over.
    Delayed,
    /// Is in a consumer's hand.
    Leased,
}

/// Errors and death of a message: rare, so kept apart from the fields every message has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    pub(crate) first_error: Option<Arc<str>>,
    pub(crate) last_error: Option<Arc<str>>,
    pub(crate) death: Option<Death>,
}

#[derive(Debug)]
pub(crate) struct Entry<P> {
    pub(crate) envelope: Envelope<P>,
    pub(crate) seq: u64,
    pub(crate) accepted_unix_ms: u64,
    /// When it was first handed out; `None`: never.
    pub(crate) first_unix_ms: Option<u64>,
    pub(crate) attempts: u32,
    /// Went straight to the ready ones and was never handed out: what a bound with "drop oldest" may take.
    pub(crate) fresh: bool,
    pub(crate) place: Place,
    pub(crate) consumer: u32,
    /// Number of the hand-out that holds it: what a token must show.
    pub(crate) lease: u64,
    /// Tick at which the lease or the delay ends, by `place`.
    pub(crate) until: u64,
    pub(crate) due_unix_ms: u64,
    pub(crate) history: Option<Box<History>>,
}

impl<P> Entry<P> {
    #[inline]
    pub(crate) fn new(envelope: Envelope<P>, seq: u64, accepted_unix_ms: u64) -> Self {
        Self {
            envelope,
            seq,
            accepted_unix_ms,
            first_unix_ms: None,
            attempts: 0,
            fresh: true,
            place: Place::Ready,
            consumer: 0,
            lease: 0,
            until: 0,
            due_unix_ms: 0,
            history: None,
        }
    }

    #[inline]
    pub(crate) fn expired(&self, unix_ms: u64) -> bool {
        self.envelope.expires_unix_ms.is_some_and(|at| at <= unix_ms)
    }

    pub(crate) fn death(&self) -> Option<&Death> {
        self.history.as_ref()?.death.as_ref()
    }

    pub(crate) fn note_error(&mut self, error: Option<&str>) {
        let Some(error) = error else { return };
        let error: Arc<str> = clip(error).into();
        let history = self.history.get_or_insert_default();
        history.first_error.get_or_insert_with(|| error.clone());
        history.last_error = Some(error);
    }

    #[inline]
    pub(crate) fn sent(&self) -> Sent<'_, &P> {
        Sent {
            seq: self.seq,
            id: std::borrow::Cow::Borrowed(&self.envelope.key.id),
            send: self.envelope.key.send,
            payload: &self.envelope.payload,
            size: self.envelope.size,
            priority: self.envelope.priority,
            expires_unix_ms: self.envelope.expires_unix_ms,
            at_unix_ms: self.accepted_unix_ms,
            due_unix_ms: self.due_unix_ms,
        }
    }
}

/// Error texts are kept with each message: 1 KiB is enough to recognise one, and a bound.
const ERROR_BYTES: usize = 1024;

fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(ERROR_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_errors_are_clipped_at_a_character() {
        let text = "é".repeat(ERROR_BYTES);
        assert_eq!(clip(&text).len(), ERROR_BYTES);
        assert_eq!(clip(&text[..ERROR_BYTES + 2]).chars().last(), Some('é'));
        assert_eq!(clip("short"), "short");
    }

    #[test]
    fn the_first_error_stays() {
        let mut entry = Entry::new(Envelope::new(MessageId::Text("a".into()), (), 0), 1, 0);
        entry.note_error(Some("one"));
        entry.note_error(None);
        entry.note_error(Some("two"));
        let history = entry.history.unwrap();
        assert_eq!(history.first_error.as_deref(), Some("one"));
        assert_eq!(history.last_error.as_deref(), Some("two"));
    }
}
