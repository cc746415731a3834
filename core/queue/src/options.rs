//! What a queue or a group is declared with.

use std::num::NonZeroU32;
use std::time::Duration;

/// How much may wait: messages and bytes, whichever is reached first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Messages that wait (ready or delayed; not those in a consumer's hand).
    pub messages: u64,
    /// Bytes that wait, by the sizes given when the messages were sent.
    pub bytes: u64,
}

impl Bound {
    /// A bound on both.
    #[must_use]
    pub const fn new(messages: u64, bytes: u64) -> Self {
        Self { messages, bytes }
    }
}

/// What happens to a message that does not fit the bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WhenFull {
    /// The sender is told ([`crate::Error::Full`]); nothing is stored.
    #[default]
    Refuse,
    /// The oldest message of the lowest priority that was never handed out makes room, and is counted.
    DropOldest,
}

/// Where a message goes whose expiry has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnExpiry {
    /// To the dead letters, with [`crate::Reason::Expired`].
    DeadLetter,
    /// Nowhere; it is counted.
    Drop,
}

/// The de-duplication window: how long, and how many keys at most, are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DedupWindow {
    /// How long a key is remembered after its message was accepted.
    pub window: Duration,
    /// Keys kept at most; the oldest is forgotten first.
    pub keys: usize,
}

/// The options of one queue. They belong to the queue, never to a message or a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueOptions {
    /// How long a consumer may hold a message without renewing; `None`: as long as the consumer is there.
    pub lease: Option<Duration>,
    /// Hand-outs after which a message goes to the dead letters instead; `None`: no limit.
    pub max_attempts: Option<NonZeroU32>,
    /// The bound on what waits.
    pub bound: Bound,
    /// What happens at the bound.
    pub when_full: WhenFull,
    /// Whether priorities are obeyed: higher numbers first, first in first out among equals.
    pub priorities: bool,
    /// Whether expiry is obeyed, and what becomes of expired messages; `None`: carried, not obeyed.
    pub on_expiry: Option<OnExpiry>,
    /// The de-duplication window; `None`: every send is a new message.
    pub dedup: Option<DedupWindow>,
    /// The bound on the dead letters; the oldest fall out, and are counted.
    pub dead_bound: Bound,
}

impl Default for QueueOptions {
    /// A lease of 30 s, five attempts, 100,000 messages or 256 MiB waiting, senders refused at the bound,
    /// neither priorities nor expiry nor de-duplication, 10,000 dead letters or 64 MiB.
    fn default() -> Self {
        Self {
            lease: Some(Duration::from_secs(30)),
            max_attempts: NonZeroU32::new(5),
            bound: Bound::new(100_000, 256 << 20),
            when_full: WhenFull::Refuse,
            priorities: false,
            on_expiry: None,
            dedup: None,
            dead_bound: Bound::new(10_000, 64 << 20),
        }
    }
}

impl QueueOptions {
    /// The options of the dead-letter queue beside a queue with these options: same lease, no attempt limit,
    /// no expiry, the oldest fall out.
    pub(crate) fn of_dead_letters(&self) -> Self {
        Self {
            lease: self.lease,
            max_attempts: None,
            bound: self.dead_bound,
            when_full: WhenFull::DropOldest,
            priorities: false,
            on_expiry: None,
            dedup: None,
            dead_bound: Bound::new(0, 0),
        }
    }
}
