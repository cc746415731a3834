//! What a worker tells whoever counts: metrics, pages for probes, discovery.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use polybus_contract::{DoorTally, Name, Outcome, Reason};
use tokio::time::Instant;

use super::handler::Job;
use super::job::Ended;

/// What happened at a worker.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum WorkEvent {
    /// A job was handed out, and its handler begins.
    Began {
        /// Which hand-out it is, from 1.
        attempt: u32,
        /// How long ago its sender created it, if that is known; by the clocks of two machines.
        waited: Option<Duration>,
    },
    /// A job that began is out of the worker's hands. Comes exactly once for each one that began.
    Ended {
        /// How.
        how: WorkEnd,
        /// How long it was in hand.
        took: Duration,
    },
    /// The subscription had stalled and was opened again.
    Restarted {
        /// How long it had been still, as the bus told.
        stalled: Duration,
    },
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkEnd {
    /// Done, and answered if an answer was wanted.
    Done,
    /// Done, and answered with an error.
    Failed,
    /// It comes back after a while: the handler failed and attempts are left.
    Retried,
    /// It went to the dead letters.
    Dead(Reason),
    /// It was given up or given back: it comes back.
    GivenUp,
    /// Settled, but nobody confirmed it: it may come back.
    Unsettled,
}

impl WorkEnd {
    /// The word for it in metrics.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Retried => "retried",
            Self::Dead(_) => "dead",
            Self::GivenUp => "given_up",
            Self::Unsettled => "unsettled",
        }
    }

    /// What a verdict would come to.
    pub(super) fn of(outcome: &Outcome, failed: bool) -> Self {
        match outcome {
            Outcome::Ack if failed => Self::Failed,
            Outcome::Ack => Self::Done,
            Outcome::Retry { .. } => Self::Retried,
            Outcome::Reject { reason, .. } => Self::Dead(reason.clone()),
            _ => Self::GivenUp,
        }
    }

    /// What it did come to.
    pub(super) fn after(self, ended: Ended) -> Self {
        match ended {
            Ended::Settled => self,
            Ended::Abandoned => Self::GivenUp,
            Ended::Unknown => Self::Unsettled,
        }
    }
}

/// Sees what workers do. It is called between jobs, on their tasks: it must not block.
pub trait Observer: Send + Sync + fmt::Debug + 'static {
    /// Something happened at a worker of `queue`.
    fn saw(&self, queue: &Name, event: &WorkEvent);
}

/// Counts for a door's figures.
impl Observer for DoorTally {
    fn saw(&self, _queue: &Name, event: &WorkEvent) {
        if let WorkEvent::Ended { how, took } = event {
            let error = (*how != WorkEnd::Done).then(|| how.word());
            self.count(*took, error);
        }
    }
}

/// All that want to see.
#[derive(Clone, Debug, Default)]
pub(super) struct Observers(pub(super) Vec<Arc<dyn Observer>>);

impl Observers {
    pub(super) fn saw(&self, queue: &Name, event: &WorkEvent) {
        self.0.iter().for_each(|observer| observer.saw(queue, event));
    }

    /// A job begins. Its end is told however its task ends.
    pub(super) fn began<'work>(&'work self, job: &'work Job) -> Watched<'work> {
        let waited = job.message.created().map(|created| {
            let since = polybus_contract::UnixMillis::now().0.saturating_sub(created.0);
            Duration::from_millis(u64::try_from(since).unwrap_or(0))
        });
        self.saw(&job.queue, &WorkEvent::Began { attempt: job.attempt, waited });
        Watched { observers: self, queue: &job.queue, began: Instant::now(), how: WorkEnd::GivenUp }
    }
}

/// A job that somebody watches; given up unless it is told otherwise.
pub(super) struct Watched<'work> {
    observers: &'work Observers,
    queue: &'work Name,
    began: Instant,
    pub(super) how: WorkEnd,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        let how = std::mem::replace(&mut self.how, WorkEnd::GivenUp);
        self.observers.saw(self.queue, &WorkEvent::Ended { how, took: self.began.elapsed() });
    }
}
