//! The journal seam: every change of durable state as a value.

use std::borrow::Cow;
use std::sync::Arc;

use crate::dead::{Death, Reason};
use crate::entry::{MessageId, Place};
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
    /// From here to [`Record::SnapshotDone`] the whole state is told again, between records of what happens
    /// meanwhile: whoever begins to read here may meet messages that are told only later.
    SnapshotBegun {
        /// The highest number a queue ever had.
        numbers: u64,
    },
    /// What a queue is apart from its options and messages.
    QueueState {
        /// The queue's number, or that of its dead letters.
        queue: u64,
        /// The number its next message gets.
        next_seq: u64,
        /// What its group missed and was not told of.
        gap: u64,
    },
    /// A message as it is now.
    Kept {
        /// The queue's number.
        queue: u64,
        /// The message.
        kept: Kept<'a, B>,
    },
    /// A key in the de-duplication window of a queue.
    Remembered {
        /// The queue's number.
        queue: u64,
        /// The identity of the message it came with.
        id: Cow<'a, MessageId>,
        /// Its send number.
        send: u32,
        /// For how many nanoseconds more it is remembered.
        left: u64,
        /// Wall time at which this was so.
        at_unix_ms: u64,
    },
    /// The whole state has been told: everything before [`Record::SnapshotBegun`] is needed no more.
    SnapshotDone,
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

/// A message with its whole history, as a snapshot tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept<'a, B> {
    /// What was sent; its `due_unix_ms` is that of its present delay.
    pub sent: Sent<'a, B>,
    /// Hand-outs so far.
    pub attempts: u32,
    /// When it was first handed out.
    pub first_unix_ms: Option<u64>,
    /// Went straight to the ready ones and was never handed out.
    pub fresh: bool,
    /// Where it is.
    pub place: Place,
    /// The first and the last error that a handler gave with it.
    pub errors: [Option<Cow<'a, str>>; 2],
    /// What it died of, where it is a dead letter.
    pub death: Option<Cow<'a, Death>>,
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

    /// Whether it keeps what it is told. Where nothing is kept, the most frequent records are not even made.
    #[inline]
    fn keeps(&self) -> bool {
        true
    }

    /// Whether it can take a message of `size` bytes. Only sends ask: everything else is recorded in any case.
    #[inline]
    fn has_room(&self, _size: u64) -> bool {
        true
    }

    /// Whether a message that moves to another queue is to be told whole as well: a snapshot that is being written
    /// may have passed its new place and not have reached the old one.
    #[inline]
    fn tells_whole(&self) -> bool {
        false
    }
}

/// A journal, or none: decided when the engine is made, not when it is compiled.
impl<P, J: Journal<P>> Journal<P> for Option<J> {
    #[inline]
    fn record(&mut self, record: Record<'_, &P>) {
        if let Some(journal) = self {
            journal.record(record);
        }
    }

    #[inline]
    fn keeps(&self) -> bool {
        self.as_ref().is_some_and(Journal::keeps)
    }

    #[inline]
    fn has_room(&self, size: u64) -> bool {
        self.as_ref().is_none_or(|journal| journal.has_room(size))
    }

    #[inline]
    fn tells_whole(&self) -> bool {
        self.as_ref().is_some_and(Journal::tells_whole)
    }
}

/// No journal: the state lives and dies with the engine, at no cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoJournal;

impl<P> Journal<P> for NoJournal {
    #[inline]
    fn record(&mut self, _record: Record<'_, &P>) {}

    #[inline]
    fn keeps(&self) -> bool {
        false
    }
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
            Self::SnapshotBegun { numbers } => Record::SnapshotBegun { numbers },
            Self::QueueState { queue, next_seq, gap } => Record::QueueState { queue, next_seq, gap },
            Self::Kept { queue, kept } => Record::Kept { queue, kept: kept.into_owned() },
            Self::Remembered { queue, id, send, left, at_unix_ms } => {
                Record::Remembered { queue, id: Cow::Owned(id.into_owned()), send, left, at_unix_ms }
            }
            Self::SnapshotDone => Record::SnapshotDone,
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

impl<P: Clone> Kept<'_, &P> {
    fn into_owned(self) -> Kept<'static, P> {
        Kept {
            sent: self.sent.into_owned(),
            attempts: self.attempts,
            first_unix_ms: self.first_unix_ms,
            fresh: self.fresh,
            place: self.place,
            errors: self.errors.map(|error| error.map(own)),
            death: self.death.map(|death| Cow::Owned(death.into_owned())),
        }
    }
}

fn own(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

pub(crate) fn text(error: Option<&Arc<str>>) -> Option<Cow<'_, str>> {
    error.map(|text| Cow::Borrowed(&**text))
}
