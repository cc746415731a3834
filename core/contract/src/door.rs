//! Doors: how programs that know nothing of Polybus, but speak the bus's own request protocol, reach a queue.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::error::Result;
use crate::name::Name;

/// A service behind a door, as the bus's own discovery shows it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DoorService {
    /// Its name: letters, digits, `_` and `-`.
    pub name: String,
    /// Its version, as semantic versioning has it.
    pub version: String,
    /// What it is, in one line.
    pub description: String,
    /// The queue that requests go to.
    pub queue: Name,
    /// How long a request that names no deadline is worth serving.
    pub within: Duration,
    /// What else is told, by name.
    pub metadata: Vec<(String, String)>,
    /// The work of this process, for figures.
    pub tally: Arc<DoorTally>,
}

impl DoorService {
    /// A service on `queue`, whose requests are worth serving for 30 s.
    #[must_use]
    pub fn new(name: &str, version: &str, queue: Name) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            description: String::new(),
            queue,
            within: Duration::from_secs(30),
            metadata: Vec::new(),
            tally: Arc::default(),
        }
    }

    /// Sets [`DoorService::description`].
    #[must_use]
    pub fn with_description(mut self, description: &str) -> Self {
        description.clone_into(&mut self.description);
        self
    }

    /// Sets [`DoorService::within`].
    #[must_use]
    pub const fn with_within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// One more entry of [`DoorService::metadata`].
    #[must_use]
    pub fn with_metadata(mut self, name: &str, value: &str) -> Self {
        self.metadata.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// Counts the work of one service in this process. All counts only grow.
#[derive(Debug, Default)]
pub struct DoorTally {
    requests: AtomicU64,
    errors: AtomicU64,
    nanos: AtomicU64,
    last_error: Mutex<Option<String>>,
}

/// What a [`DoorTally`] has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DoorFigures {
    /// Requests that were worked on.
    pub requests: u64,
    /// Those of them that failed.
    pub errors: u64,
    /// The time all of them took.
    pub busy: Duration,
    /// How the last one that failed did.
    pub last_error: Option<String>,
}

impl DoorTally {
    /// Counts one request.
    pub fn count(&self, took: Duration, error: Option<&str>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        if let Some(error) = error {
            self.errors.fetch_add(1, Ordering::Relaxed);
            *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_owned());
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn figures(&self) -> DoorFigures {
        DoorFigures {
            requests: self.requests.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            busy: Duration::from_nanos(self.nanos.load(Ordering::Relaxed)),
            last_error: self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// The door of a bus that has a request protocol of its own.
#[async_trait]
pub trait Door: Send + Sync + fmt::Debug {
    /// Where such programs send their requests for a queue.
    fn address(&self, queue: &Name) -> String;

    /// Passes such requests on to the queue, answers discovery, and does so again after each loss of the connection, until
    /// the bus is closed. Whoever asks is answered by the worker, or told with an error of the bus's own kind that the
    /// queue did not take the request.
    ///
    /// # Errors
    /// [`InvalidOption`](crate::Kind::InvalidOption) for a name or version that discovery cannot show,
    /// [`Closed`](crate::Kind::Closed). Dropping the future closes the door; requests that were passed on are served.
    async fn keep(&self, service: &DoorService) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_adds_up() {
        let tally = DoorTally::default();
        tally.count(Duration::from_millis(2), None);
        tally.count(Duration::from_millis(3), Some("dead"));
        let figures = tally.figures();
        assert_eq!((figures.requests, figures.errors), (2, 1));
        assert_eq!((figures.busy, figures.last_error.as_deref()), (Duration::from_millis(5), Some("dead")));
    }
}
