//! Why the engine refused.

/// A refusal. Nothing was changed, except where a variant says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The queue was never declared, or has been removed.
    #[error("no such queue")]
    NoSuchQueue,
    /// The topic was never declared, or has been removed.
    #[error("no such topic")]
    NoSuchTopic,
    /// The consumer was never attached, or has been detached.
    #[error("no such consumer")]
    NoSuchConsumer,
    /// The queue is at its bound.
    #[error("the queue is full: {messages} messages and {bytes} bytes wait")]
    Full {
        /// Messages that wait.
        messages: u64,
        /// Bytes that wait.
        bytes: u64,
    },
    /// The journal has no room for a message: its disk is full, or slower than the senders.
    #[error("the journal has no room: its disk is full, or slower than the senders")]
    NoSpace,
    /// The message alone is larger than the queue may ever hold.
    #[error("the message has {size} bytes, the queue holds at most {limit}")]
    TooLarge {
        /// Size of the message in bytes.
        size: u64,
        /// The queue's bound in bytes.
        limit: u64,
    },
    /// The lease has ended: the message is, or will be, someone else's.
    #[error("the lease has ended")]
    Stale,
    /// Senders may not put messages among the dead letters, nor may those be redriven or removed by themselves.
    #[error("this is a dead-letter queue")]
    DeadLetters,
    /// A journal could not be read back: the record names something that is not there.
    #[error("record {record} does not fit the state before it")]
    Corrupt {
        /// Position of the record, counted from 0.
        record: u64,
    },
}

/// The engine's result.
pub type Result<T> = std::result::Result<T, Error>;
