//! The queue engine of Polybus: a pure state machine without clock or I/O.
//!
//! [`Engine`] holds queues of messages that are ready, leased, delayed or dead, and topics whose durable groups
//! are queues themselves. It decides who gets which message and what becomes of it; everything around it (sockets,
//! timers, tasks, locks, files) belongs to its owner.
//!
//! - *Time* is an argument: [`Now`]. One timer, set to [`Engine::next_event_at`], is enough.
//! - *Durability* is a seam: [`Journal`] receives every change as a [`Record`], [`Engine::replay`] reads them back.
//! - *Bounds* are exact: what waits is counted in messages and bytes; what falls out is counted too.
//!
//! ```
//! use polybus_queue::{Engine, Envelope, MessageId, Now, QueueOptions};
//! use std::time::Duration;
//!
//! let mut engine = Engine::new();
//! let now = Now::new(Duration::ZERO, 1_700_000_000_000);
//! let queue = engine.declare("jobs", QueueOptions::default())?.queue;
//! engine.send(queue, Envelope::new(MessageId::Uuid([1; 16]), "hello", 5), now)?;
//!
//! let consumer = engine.attach(queue, 1, None)?;
//! let handed = engine.take(consumer, now)?.ok_or(polybus_queue::Error::Stale)?;
//! assert_eq!((*handed.payload, handed.attempt), ("hello", 1));
//! let token = handed.token;
//! engine.ack(token, now)?;
//! # Ok::<(), polybus_queue::Error>(())
//! ```

mod consumer;
mod dead;
mod dedup;
mod dispatch;
mod engine;
mod entry;
mod error;
mod inspect;
pub mod journal;
mod lease;
mod options;
mod queue;
mod ready;
mod record;
mod replay;
mod settle;
mod snapshot;
mod time;
mod timer;
mod topic;

pub use consumer::{ConsumerId, Leaving};
pub use dead::{Death, Reason};
pub use dispatch::{Handed, Token};
pub use engine::{Accepted, Declared, Engine, Removed};
pub use entry::{Envelope, Key, MessageId, Place};
pub use error::{Error, Result};
pub use inspect::{Counts, Figures, Load, Redriven, Seen, Select, Totals};
pub use options::{Bound, DedupWindow, OnExpiry, QueueOptions, WhenFull};
pub use queue::QueueId;
pub use record::{Discard, Journal, Kept, NoJournal, Record, Sent};
pub use settle::{Keep, Outcome};
pub use snapshot::Snapshot;
pub use time::Now;
pub use topic::{GroupOf, Published};
