//! Where messages go to and come from.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Kind, Operation, Result};
use crate::name::Name;

/// Where a message is sent. A bridge chooses at run time, hence a value and not two methods.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A work queue.
    Queue(Name),
    /// A topic.
    Topic(Name),
}

impl Target {
    /// The name in it.
    #[must_use]
    pub const fn name(&self) -> &Name {
        match self {
            Self::Queue(name) | Self::Topic(name) => name,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue(name) => write!(f, "queue {name}"),
            Self::Topic(name) => write!(f, "topic {name}"),
        }
    }
}

/// Where deliveries are consumed from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Intake {
    /// A work queue, or the dead letters of one.
    Queue(Name),
    /// A durable group of a topic.
    Group {
        /// The topic it belongs to.
        topic: Name,
        /// The group.
        group: Name,
    },
}

impl fmt::Display for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue(name) => write!(f, "queue {name}"),
            Self::Group { topic, group } => write!(f, "group {topic}@{group}"),
        }
    }
}

/// A reply address: opaque, and valid only on the bus instance it came from.
///
/// A bridge asks anew on the far side and pipes the answers back; it never copies an address.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ReplyTo {
    instance: Arc<str>,
    address: Arc<str>,
}

impl ReplyTo {
    /// For transports: an address on the bus `instance` (a digest of address, tenant and prefix; never a secret).
    #[must_use]
    pub fn new(instance: impl Into<Arc<str>>, address: impl Into<Arc<str>>) -> Self {
        Self { instance: instance.into(), address: address.into() }
    }

    /// The bus instance it belongs to.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// What the transport wrote in it.
    ///
    /// # Errors
    /// [`Kind::InvalidMessage`] on any other bus than `instance`.
    pub fn address_on(&self, instance: &str) -> Result<&str> {
        if *self.instance == *instance {
            return Ok(&self.address);
        }
        Err(Error::new(Kind::InvalidMessage, Operation::Reply)
            .with_detail("the reply address belongs to another bus"))
    }
}

impl fmt::Debug for ReplyTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplyTo({})", self.address)
    }
}

impl fmt::Display for ReplyTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}
