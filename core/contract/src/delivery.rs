//! Deliveries and their leases.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::message::{Message, Reason};
use crate::name::Name;
use crate::settle::{Hold, Keep, Outcome, Settling};

/// How long a delivery may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseTerms {
    /// This long from the hand-out (prefetch included), renewed by [`Lease::renew`].
    Timed(Duration),
    /// As long as the connection lives.
    Connection,
}

/// A message under a lease.
///
/// Settling consumes it, so settling twice does not compile:
///
/// ```compile_fail,E0382
/// async fn twice(delivery: polybus_contract::Delivery) {
///     let _ = delivery.ack().await;
///     let _ = delivery.ack().await;
/// }
/// ```
///
/// ```
/// async fn once(delivery: polybus_contract::Delivery) -> polybus_contract::Result<()> {
///     delivery.ack().await
/// }
/// ```
///
/// Dropped without a word it comes back, and that counts as an attempt (D6).
pub struct Delivery {
    /// Shared with the bus where that keeps the message until it is settled.
    message: Arc<Message>,
    queue: Name,
    attempt: u32,
    terms: LeaseTerms,
    /// Taken by the first settle; `Drop` finds what is left.
    hold: Option<Arc<dyn Hold>>,
}

impl Delivery {
    /// For transports: a message handed out for the `attempt`-th time.
    #[must_use]
    pub fn new(
        message: impl Into<Arc<Message>>,
        queue: Name,
        attempt: u32,
        terms: LeaseTerms,
        hold: Arc<dyn Hold>,
    ) -> Self {
        Self { message: message.into(), queue, attempt, terms, hold: Some(hold) }
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// The queue it came from; for a group its topic.
    #[must_use]
    pub const fn queue(&self) -> &Name {
        &self.queue
    }

    /// Which hand-out this is, from 1. Where attempts are counted, never too low.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// How long it may be kept.
    #[must_use]
    pub const fn terms(&self) -> LeaseTerms {
        self.terms
    }

    /// A handle that renews the lease, for the task that watches the clock while a handler owns the delivery.
    #[must_use]
    pub fn lease(&self) -> Lease {
        Lease { terms: self.terms, hold: self.hold.clone() }
    }

    /// Done. See [`Delivery::settle`].
    pub fn ack(self) -> Settling {
        self.settle(Outcome::Ack)
    }

    /// Once more, not before `after`. Needs [`RetryDelay`](crate::Feature::RetryDelay) unless `after` is zero.
    pub fn retry(self, after: Duration) -> Settling {
        self.settle(Outcome::Retry { after, error: None })
    }

    /// To the dead letters, body and all. Needs [`DeadLetters`](crate::Feature::DeadLetters).
    pub fn reject(self, reason: Reason, error: impl Into<String>) -> Settling {
        self.settle(Outcome::Reject { reason, error: Some(error.into()), keep: Keep::Body })
    }

    /// Back to the queue, unseen and uncounted where the bus can.
    pub fn release(self) -> Settling {
        self.settle(Outcome::Release)
    }

    /// Settles. The outcome is on its way when this returns; await the result to know how it went.
    ///
    /// # Errors (of the returned future)
    /// [`Stale`](crate::Kind::Stale) if the lease may have ended by our clock: someone else may have the message.
    /// [`Disconnected`](crate::Kind::Disconnected) with an unknown outcome. `Ok` means consumed where
    /// [`SettleConfirmed`](crate::Feature::SettleConfirmed) is declared, else sent: what gets lost comes back.
    pub fn settle(mut self, outcome: Outcome) -> Settling {
        match self.hold.take() {
            Some(hold) => hold.settle(outcome),
            None => Settling::done(Ok(())),
        }
    }

    /// For wrappers: takes the delivery apart without settling it. Whoever gets the hold must settle.
    #[must_use]
    pub fn into_parts(mut self) -> (Message, Name, u32, LeaseTerms, Option<Arc<dyn Hold>>) {
        let (message, queue) = (self.message.clone(), self.queue.clone());
        let (attempt, terms, hold) = (self.attempt, self.terms, self.hold.take());
        drop(self);
        (Arc::unwrap_or_clone(message), queue, attempt, terms, hold)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.take() {
            drop(hold.settle(Outcome::Dropped));
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("queue", &self.queue)
            .field("attempt", &self.attempt)
            .field("terms", &self.terms)
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}

/// Renews the lease of one delivery. It does not keep the delivery alive and does not settle it.
#[derive(Clone)]
pub struct Lease {
    terms: LeaseTerms,
    hold: Option<Arc<dyn Hold>>,
}

impl Lease {
    /// How long the lease lasts without renewal.
    #[must_use]
    pub const fn terms(&self) -> LeaseTerms {
        self.terms
    }

    /// Keeps the lease. Needs [`TimedLease`](crate::Feature::TimedLease) to have an effect; on a connection lease it
    /// looks whether the connection still is the same, so a worker learns on every bus that its job is lost.
    ///
    /// # Errors
    /// [`Stale`](crate::Kind::Stale): stop the work. Cancel safe.
    pub async fn renew(&self) -> Result<Option<Duration>> {
        match &self.hold {
            Some(hold) => hold.renew().await,
            None => Ok(None),
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("terms", &self.terms).finish_non_exhaustive()
    }
}
