//! What a message bus is to Polybus.
//!
//! This crate holds the words every bus must mean the same: names, messages, deliveries and their settlement,
//! topology, capabilities, needs, errors, health, and the object-safe [`Transport`] trait. It does no I/O, keeps
//! no clock and starts no task; it depends on no runtime.
//!
//! * Callers use [`Transport`] through [`TransportExt`] (`send`, `announce`, `call`...).
//! * Transport authors implement [`Transport`], [`Source`] (anything that arrives) and [`Hold`] (the bus's side of
//!   one delivery), and wrap themselves in [`Checked`], which refuses what they do not declare before any I/O.
//!
//! What it refuses: wildcards in names, transactions, settling twice, and success that nobody saw.
//!
//! ```
//! use polybus_contract::{Message, Name, Target};
//! let target = Target::Queue(Name::new("anon_0.5.5")?);
//! let message = Message::new("one log line").with_content_type("text/plain");
//! assert_eq!(message.body().len(), 12);
//! # let _ = target;
//! # Ok::<(), polybus_contract::Error>(())
//! ```

mod setters;

mod admin;
mod body;
mod capability;
mod checked;
mod delivery;
mod door;
mod drain;
mod error;
mod examine;
mod ext;
mod fidelity;
mod header;
mod health;
mod id;
mod incoming;
mod message;
mod name;
mod needs;
mod options;
mod parts;
mod receipt;
mod reply;
mod settle;
mod target;
mod time;
mod topology;
mod transport;

pub use admin::{Admin, Browse, Browsed, Object, Page, Place, Purged, QueueInfo, Redrive, Redriven};
pub use body::{Body, BodyParts};
pub use capability::{AttemptGrade, Capability, Feature, LeaseGrade, SettleGrade};
pub use checked::Checked;
pub use delivery::{Delivery, Lease, LeaseTerms};
pub use door::{Door, DoorFigures, DoorService, DoorTally};
pub use drain::{DrainReport, SharedDrain};
pub use error::{Error, Kind, Operation, Result, Status};
pub use examine::{Diagnosis, Finding, Grade, Plan, Served};
pub use ext::TransportExt;
pub use fidelity::{Fidelity, Property};
pub use header::{Headers, RESERVED_PREFIXES, Value};
pub use health::{Counters, Health, Link, SubscriptionHealth, SubscriptionState};
pub use id::MessageId;
pub use incoming::{Arrival, End, Gap, GapCause, Incoming, Source};
pub use message::{AT_MOST_ONCE, Death, Message, Reason};
pub use name::{DEAD_SUFFIX, MAX_NAME, Name};
pub use needs::{Needs, Unmet};
pub use options::{
    Confirm, ConsumeOptions, Deadline, Nobody, PublishOptions, Replies, ReplyOptions, RequestOptions, Start,
    SubscribeOptions, WhenFull,
};
pub use parts::{
    Manifest, PARTS, PARTS_LIVE, Part, PartSink, PartSource, PartStore, PartsId, StoredParts, TAKES_PARTS,
    Upload,
};
pub use receipt::{Confirmed, Receipt};
pub use reply::{Awaited, RemoteError, Reply};
pub use settle::{Hold, Keep, Outcome, Settling};
pub use target::{Intake, ReplyTo, Target};
pub use time::UnixMillis;
pub use topology::{
    Bounds, Declared, Difference, Durability, Group, Overflow, Queue, Topic, TopicGrade, Topology,
};
pub use transport::{Profile, Transport};
