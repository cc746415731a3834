//! A look at the request queue before anything is sent (PRISEM services specification, 5.1).

use polybus_contract::{Error, Intake, Kind, Name, Operation, Result};

use super::{Call, CallError, Client};
use crate::frame::KNOWN_VERSIONS;

/// What a look at a request queue found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Somebody serves it.
    Served,
    /// It is there, and nobody serves it now.
    Unserved,
    /// This bus cannot tell, or is away.
    Unknown,
}

impl Client {
    /// Looks at the queue of `base` without touching it.
    ///
    /// # Errors
    /// [`Kind::Unroutable`] if it does not exist, with the queues of the same base that other protocol versions have;
    /// [`Kind::InvalidName`].
    pub async fn look(&self, base: &str) -> Result<Seen, CallError> {
        let queue = self.queue(base)?;
        match self.consumers(&queue).await {
            Ok(Some(0)) => Ok(Seen::Unserved),
            Ok(Some(_)) => Ok(Seen::Served),
            Err(error) if error.kind() == Kind::NotFound => Err(self.missing(&queue, base).await.into()),
            _ => Ok(Seen::Unknown),
        }
    }

    /// How many consumers a queue has, as far as the bus can tell.
    async fn consumers(&self, queue: &Name) -> Result<Option<u64>> {
        match self.bus.transport().admin() {
            Some(desk) => Ok(desk.inspect(&Intake::Queue(queue.clone())).await?.consumers),
            None => Ok(None),
        }
    }

    /// The failure of a call; if its queue is missing, with those that are there.
    pub(super) async fn named_missing(&self, call: &Call, failure: Error) -> CallError {
        if failure.kind() != Kind::Unroutable {
            return failure.into();
        }
        match self.queue(&call.queue_base) {
            Ok(queue) => self.missing(&queue, &call.queue_base).await.into(),
            Err(error) => error,
        }
    }

    async fn missing(&self, queue: &Name, base: &str) -> Error {
        let found = self.others(queue, base).await;
        let known = if found.is_empty() {
            format!("nor is there a queue of {base} for another protocol version")
        } else {
            format!("there is {}", found.join(", "))
        };
        Error::new(Kind::Unroutable, Operation::Request).with_target(queue).with_detail(known)
    }

    /// The queues of `base` that other known protocol versions have.
    async fn others(&self, queue: &Name, base: &str) -> Vec<String> {
        let mut found = Vec::new();
        let Some(desk) = self.bus.transport().admin() else { return found };
        for version in KNOWN_VERSIONS {
            let Ok(other) = Name::new(format!("{base}_{version}")) else { continue };
            if other != *queue && desk.inspect(&Intake::Queue(other.clone())).await.is_ok() {
                found.push(format!("{other} (--protocol-version {version})"));
            }
        }
        found
    }
}
