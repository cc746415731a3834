//! The journal seam: every change of durable state as a value.

use std::borrow::Cow;
use std::sync::Arc;

use crate::dead::Reason;
use crate::entry::MessageId;
use crate::options::QueueOptions;
use crate::topic::GroupOf;

/// One change of durable state, in the order in which it happened.
///
/// `B` is how a payload is held: `&P` when the engine writes, `P` when a journal is read back. Queues are
/// named by a number that is never used twice, messages by queue and a number that is never used twice there.
///
/// Leases are not durable: a message that was handed out and not settled is ready again after
/// [`crate::Engine::replay`], its attempt counted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record<'a, B> {
    /// A queue came to be, together with the queue of its dead letters.
    QueueCreated {
        /// The queue's number.
        queue: u64,
        /// The number of its dead-letter queue.
        dead: u64,
        /// The queue's name.
        name: Cow<'a, str>,
        /// Its options.
        options: QueueOptions,
        /// The topic it belongs to, where it is a group.
        group: Option<GroupOf>,
    },
    /// A queue, its dead letters and everything in them went.
    QueueRemoved {
        /// The queue's number.
        queue: u64,
    },
    /// A topic came to be.
    TopicCreated {
        /// Its name.
        topic: Cow<'a, str>,
    },
    /// A topic went. Its groups went before it, each with a record of its own.
    TopicRemoved {
        /// Its name.
        topic: Cow<'a, str>,
    },
    /// A queue took responsibility for a message.
    Sent {
        /// The queue's number.
        queue: u64,
        /// The message.
        sent: Sent<'a, B>,
    },
    /// A message was handed out: its attempt counts from here.
    HandedOut {
        /// The queue's number.
        queue: u64,
        /// The message's number.
        seq: u64,
        /// Wall time of the hand-out.
        at_unix_ms: u64,
    },
    /// A message was consumed and is gone.
    Acked {
        /// The queue's number.
        queue: u64,
        /// The message's number.
        seq: u64,
    },
    /// A message goes back for another attempt.
    Retried {
        /// The queue's number.
        queue: u64,
        /// The message's number.
        seq: u64,
        /// Wall time before which it is not handed out; 0: at once.
        due_unix_ms: u64,
        /// What the handler said.
        error: Option<Cow<'a, str>>,
    },
    /// A message came back unsettled: dropped, or its lease ended.
    Returned {
        /// The queue's number.
        queue: u64,
        /// The message's number.
        seq: u64,
    },
    /// A message was given back unseen: the hand-out does not count.
    Released {
        /// The queue's number.
        queue: u64,
        /// The message's number.
        seq: u64,
    },
    /// A message moved to the dead letters of its queue.
    DeadLettered {
        /// The queue's number.
        queue: u64,
        /// The message's number there.
        seq: u64,
        /// Its number among the dead letters.
        dead_seq: u64,
        /// Wall time of death.
        at_unix_ms: u64,
        /// Why.
        reason: Reason,
        /// What the handler said.
        error: Option<Cow<'a, str>>,
        /// What is kept instead of the payload, and its size in bytes.
        substitute: Option<(B, u64)>,
    },
    /// A message went without being consumed; it is counted.
    Discarded {
        /// The queue's number.
        queue: u64,
        /// The message's number.
        seq: u64,
        /// Why.
        cause: Discard,
    },
    /// A dead letter moved back to its queue: same identity, counters reset, send number one higher.
    Redriven {
        /// The number of the queue (not of its dead letters).
        queue: u64,
        /// The message's number among the dead letters.
        dead_seq: u64,
        /// Its new number in the queue.
        seq: u64,
        /// Wall time of the move.
        at_unix_ms: u64,
    },
    /// Everything that waited in a queue was deleted; what is in consumers' hands was not.
    Purged {
        /// The queue's number.
        queue: u64,
    },
    /// A group missed messages and has not been told yet.
    GapGrew {
        /// The group's queue.
        queue: u64,
        /// How many more.
        missed: u64,
    },
    /// The group was told what it missed.
    GapTold {
        /// The group's queue.
        queue: u64,
    },
}

/// The part of [`Record::Sent`] that describes the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent<'a, B> {
    /// The message's number in its queue.
    pub seq: u64,
    /// Its identity.
    pub id: Cow<'a, MessageId>,
    /// Its send number.
    pub send: u32,
    /// Its payload.
    pub payload: B,
    /// Bytes it counts for.
    pub size: u64,
    /// Its priority.
    pub priority: u8,
    /// Its expiry.
    pub expires_unix_ms: Option<u64>,
    /// When it was accepted.
    pub at_unix_ms: u64,
    /// Wall time before which it is not handed out; 0: at once.
    pub due_unix_ms: u64,
}

/// Why a message went without being consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Discard {
    /// Its expiry passed and the queue drops what has expired.
    Expired,
    /// It was the oldest where the bound drops the oldest.
    Bound,
    /// It was rejected, and nothing of it was to be kept.
    Rejected,
}

/// Where records go. The engine calls it once per change, before the call that made the change returns.
///
/// The journal answers nothing: it collects, and its owner makes what was collected durable before telling
/// anyone (a group commit), or stops the engine when it cannot.
pub trait Journal<P> {
    /// Takes one record.
    fn record(&mut self, record: Record<'_, &P>);
}

/// No journal: the state lives and dies with the engine, at no cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoJournal;

impl<P> Journal<P> for NoJournal {
    #[inline]
    fn record(&mut self, _record: Record<'_, &P>) {}
}

/// Keeps every record, for tests and for journals that write in batches.
impl<P: Clone> Journal<P> for Vec<Record<'static, P>> {
    fn record(&mut self, record: Record<'_, &P>) {
        self.push(record.into_owned());
    }
}

impl<P: Clone> Record<'_, &P> {
    /// The same record, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> Record<'static, P> {
        match self {
            Self::QueueCreated { queue, dead, name, options, group } => {
                Record::QueueCreated { queue, dead, name: own(name), options, group }
            }
            Self::QueueRemoved { queue } => Record::QueueRemoved { queue },
            Self::TopicCreated { topic } => Record::TopicCreated { topic: own(topic) },
            Self::TopicRemoved { topic } => Record::TopicRemoved { topic: own(topic) },
            Self::Sent { queue, sent } => Record::Sent { queue, sent: sent.into_owned() },
            Self::HandedOut { queue, seq, at_unix_ms } => Record::HandedOut { queue, seq, at_unix_ms },
            Self::Acked { queue, seq } => Record::Acked { queue, seq },
            Self::Retried { queue, seq, due_unix_ms, error } => {
                Record::Retried { queue, seq, due_unix_ms, error: error.map(own) }
            }
            Self::Returned { queue, seq } => Record::Returned { queue, seq },
            Self::Released { queue, seq } => Record::Released { queue, seq },
            Self::DeadLettered { queue, seq, dead_seq, at_unix_ms, reason, error, substitute } => {
                let substitute = substitute.map(|(payload, size)| (payload.clone(), size));
                let error = error.map(own);
                Record::DeadLettered { queue, seq, dead_seq, at_unix_ms, reason, error, substitute }
            }
            Self::Discarded { queue, seq, cause } => Record::Discarded { queue, seq, cause },
            Self::Redriven { queue, dead_seq, seq, at_unix_ms } => {
                Record::Redriven { queue, dead_seq, seq, at_unix_ms }
            }
            Self::Purged { queue } => Record::Purged { queue },
            Self::GapGrew { queue, missed } => Record::GapGrew { queue, missed },
            Self::GapTold { queue } => Record::GapTold { queue },
        }
    }
}

impl<P: Clone> Sent<'_, &P> {
    fn into_owned(self) -> Sent<'static, P> {
        Sent {
            seq: self.seq,
            id: Cow::Owned(self.id.into_owned()),
            send: self.send,
            payload: self.payload.clone(),
            size: self.size,
            priority: self.priority,
            expires_unix_ms: self.expires_unix_ms,
            at_unix_ms: self.at_unix_ms,
            due_unix_ms: self.due_unix_ms,
        }
    }
}

fn own(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

pub(crate) fn text(error: Option<&Arc<str>>) -> Option<Cow<'_, str>> {
    error.map(|text| Cow::Borrowed(&**text))
}
