//! Dead letters: what a message died of.

use std::borrow::Cow;
use std::sync::Arc;

use crate::entry::{Entry, History};

/// Why a message is among the dead letters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It was handed out as often as its queue allows.
    Spent,
    /// Its expiry passed.
    Expired,
    /// A consumer rejected it, with a word of its own.
    Rejected(Cow<'static, str>),
}

impl Reason {
    /// The reason as one word: `max-attempts`, `expired`, or the consumer's own.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Spent => "max-attempts",
            Self::Expired => "expired",
            Self::Rejected(word) => word,
        }
    }
}

/// What is known about the death of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// Why.
    pub reason: Reason,
    /// How often it was handed out.
    pub attempts: u32,
    /// The queue it died in.
    pub origin: Arc<str>,
    /// The first error a handler gave with it.
    pub first_error: Option<Arc<str>>,
    /// The last error a handler gave with it.
    pub last_error: Option<Arc<str>>,
    /// When its queue accepted it, in Unix milliseconds.
    pub accepted_unix_ms: u64,
    /// When it was first handed out, in Unix milliseconds; `None`: never.
    pub first_unix_ms: Option<u64>,
    /// When it died, in Unix milliseconds.
    pub died_unix_ms: u64,
    /// False if its payload was replaced: such a letter cannot be redriven.
    pub whole: bool,
}

/// A message on its way to the dead letters.
#[derive(Debug)]
pub(crate) struct Fallen<P> {
    pub(crate) entry: Entry<P>,
    pub(crate) reason: Reason,
    pub(crate) substitute: Option<(P, u64)>,
}

impl<P> Fallen<P> {
    /// The message as a dead letter, with its death written on it.
    pub(crate) fn into_letter(self, origin: &Arc<str>, seq: u64, unix_ms: u64) -> Entry<P> {
        let Self { entry, reason, substitute } = self;
        let History { first_error, last_error, .. } = entry.history.map_or_else(History::default, |h| *h);
        let death = Death {
            reason,
            attempts: entry.attempts,
            origin: origin.clone(),
            first_error,
            last_error,
            accepted_unix_ms: entry.accepted_unix_ms,
            first_unix_ms: entry.first_unix_ms,
            died_unix_ms: unix_ms,
            whole: substitute.is_none(),
        };
        let mut envelope = entry.envelope;
        if let Some((payload, size)) = substitute {
            envelope.payload = payload;
            envelope.size = size;
        }
        let mut letter = Entry::new(envelope, seq, unix_ms);
        letter.history = Some(Box::new(History { death: Some(death), ..History::default() }));
        letter
    }
}
