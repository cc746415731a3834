//! The desk: figures, browsing, purging, redriving, removing.

use std::fmt;

use async_trait::async_trait;

use crate::error::Result;
use crate::id::MessageId;
use crate::message::Message;
use crate::name::Name;
use crate::setters::setters;
use crate::target::Intake;
use crate::time::UnixMillis;

/// Which part of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// What waits to be handed out, delayed ones included.
    Ready,
    /// Its dead letters.
    Dead,
}

/// Figures of a queue or group. `None` is unknown, not zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueInfo {
    /// Messages that wait now.
    pub ready: Option<u64>,
    /// Messages that wait for their time.
    pub delayed: Option<u64>,
    /// Messages in the hands of consumers.
    pub leased: Option<u64>,
    /// Dead letters.
    pub dead: Option<u64>,
    /// Bytes of all but the dead.
    pub bytes: Option<u64>,
    /// Consumers now.
    pub consumers: Option<u64>,
    /// When the oldest waiting message was sent.
    pub oldest: Option<UnixMillis>,
    /// How many messages came in. This and the next two count from a beginning that the bus chooses, such as its start:
    /// only the difference of two looks means something, and none if a later figure is smaller.
    pub sent: Option<u64>,
    /// How often one was handed to a consumer, first and later attempts alike.
    pub handed_out: Option<u64>,
    /// How many a consumer settled for good: acknowledged or rejected. A bus that cannot tell counts those that an operator
    /// purged, too.
    pub settled: Option<u64>,
}

/// One browsed message.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Browsed {
    /// The message; of a dead letter with its [`Death`](crate::Death).
    pub message: Message,
    /// How often it was handed out.
    pub attempts: u32,
    /// Its size in bytes for the purposes of limits.
    pub size: u64,
}

impl Browsed {
    /// For transports.
    #[must_use]
    pub fn new(message: Message, attempts: u32) -> Self {
        let size = message.size();
        Self { message, attempts, size }
    }
}

/// Which page to browse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Browse {
    /// Where to go on: [`Page::next`] of the page before. Default the beginning.
    pub from: u64,
    /// At most this many. Default 0: as many as the bus likes, at most 1,000.
    pub limit: u32,
}

setters!(Browse {
    /// Sets [`Browse::from`].
    with_from => from: u64,
    /// Sets [`Browse::limit`].
    with_limit => limit: u32,
});

/// One page of messages. Nothing is taken, and no attempt counts.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Page {
    /// The messages, oldest first.
    pub messages: Vec<Browsed>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<u64>,
}

impl Page {
    /// For transports.
    #[must_use]
    pub const fn new(messages: Vec<Browsed>, next: Option<u64>) -> Self {
        Self { messages, next }
    }
}

/// What a purge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// How many messages are gone.
    pub messages: u64,
}

/// Which dead letters go back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Redrive {
    /// Only these; empty means all.
    pub ids: Vec<MessageId>,
    /// At most this many. Default `None`: all.
    pub limit: Option<u64>,
}

setters!(Redrive {
    /// Sets [`Redrive::ids`].
    with_ids => ids: Vec<MessageId>,
    /// Sets [`Redrive::limit`].
    with_limit => limit: Option<u64>,
});

/// What a redrive did. It can be run again: what moved is not moved twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Redriven {
    /// Back in their queue, same ids, attempts counted anew.
    pub moved: u64,
    /// Not whole, so they cannot be redriven.
    pub refused: u64,
    /// Still in the dead letters.
    pub left: u64,
}

impl Redriven {
    /// For transports.
    #[must_use]
    pub const fn new(moved: u64, refused: u64, left: u64) -> Self {
        Self { moved, refused, left }
    }
}

/// An object that can be removed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Object {
    /// A queue with its dead letters.
    Queue(Name),
    /// A topic with its groups.
    Topic(Name),
    /// A durable group.
    Group {
        /// Its topic.
        topic: Name,
        /// The group.
        group: Name,
    },
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue(name) => write!(f, "queue {name}"),
            Self::Topic(name) => write!(f, "topic {name}"),
            Self::Group { topic, group } => write!(f, "group {topic}@{group}"),
        }
    }
}

/// The desk of a bus that has one. Dropping any of these futures may leave the action done or not done; all can be
/// repeated. Errors: [`NotFound`](crate::Kind::NotFound), [`Unsupported`](crate::Kind::Unsupported),
/// [`Disconnected`](crate::Kind::Disconnected), [`Closed`](crate::Kind::Closed).
#[async_trait]
pub trait Admin: Send + Sync {
    /// The intakes that exist: queues and groups, in order of name. Needs [`Inspect`](crate::Feature::Inspect).
    async fn list(&self) -> Result<Vec<Intake>>;

    /// Figures of one. Needs [`Inspect`](crate::Feature::Inspect).
    async fn inspect(&self, intake: &Intake) -> Result<QueueInfo>;

    /// A look without taking. Needs [`BrowseReady`](crate::Feature::BrowseReady) or
    /// [`BrowseDead`](crate::Feature::BrowseDead).
    async fn browse(&self, intake: &Intake, place: Place, browse: Browse) -> Result<Page>;

    /// Empties one place. What consumers have in hand stays. Needs [`Purge`](crate::Feature::Purge).
    async fn purge(&self, intake: &Intake, place: Place) -> Result<Purged>;

    /// Dead letters back to their queue: same ids, new de-duplication keys (E3). Needs
    /// [`Redrive`](crate::Feature::Redrive).
    async fn redrive(&self, intake: &Intake, redrive: Redrive) -> Result<Redriven>;

    /// Removes an object; its consumers end. Needs [`Remove`](crate::Feature::Remove).
    async fn remove(&self, object: &Object) -> Result<()>;
}
