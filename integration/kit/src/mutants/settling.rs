//! Transports that settle otherwise than they say.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use polybus_contract::{
    Delivery, DrainReport, Hold, Keep, Kind, Message, Outcome, PublishOptions, Reason, Result, Settling,
    Target,
};

use super::broken::rehold;
use super::flaw::{Flaw, Inside};

/// Settles otherwise: the outcome passes through this.
#[derive(Debug)]
pub(super) struct Settles(pub(super) fn(Outcome) -> Outcome);

impl Flaw for Settles {
    fn settle(&self, hold: Arc<dyn Hold>, outcome: Outcome) -> Settling {
        hold.settle((self.0)(outcome))
    }
}

/// A retry comes back at once.
pub(super) fn without_delay(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Retry { error, .. } => Outcome::Retry { after: Duration::ZERO, error },
        other => other,
    }
}

/// A retry is a release: at once and uncounted, for ever.
pub(super) fn uncounted(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Retry { .. } | Outcome::Dropped => Outcome::Release,
        other => other,
    }
}

/// A release counts as an attempt.
pub(super) fn counted(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Release => Outcome::Dropped,
        other => other,
    }
}

/// A retry is the end of the message.
pub(super) fn retry_consumes(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Retry { .. } => Outcome::Ack,
        other => other,
    }
}

/// A delivery that is dropped is the end of the message.
pub(super) fn drop_consumes(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Dropped => Outcome::Ack,
        other => other,
    }
}

/// A reject leaves no dead letter.
pub(super) fn keeps_nothing(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Reject { reason, error, .. } => Outcome::Reject { reason, error, keep: Keep::Nothing },
        other => other,
    }
}

/// Reject and retry lose what the handler said.
pub(super) fn forgets_errors(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Reject { reason, keep, .. } => Outcome::Reject { reason, error: None, keep },
        Outcome::Retry { after, .. } => Outcome::Retry { after, error: None },
        other => other,
    }
}

/// Every reject has the same reason.
pub(super) fn one_reason(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Reject { error, keep, .. } => {
            Outcome::Reject { reason: Reason::Other("unknown".into()), error, keep }
        }
        other => other,
    }
}

/// Settles a delivery when it hands it out.
#[derive(Debug)]
pub(super) struct AcksEarly;

impl Flaw for AcksEarly {
    fn delivery(&self, delivery: Delivery) -> Option<Delivery> {
        Some(rehold(delivery, |hold| {
            drop(hold.settle(Outcome::Ack));
            Arc::new(Done)
        }))
    }
}

/// Settled already.
#[derive(Debug)]
struct Done;

#[async_trait]
impl Hold for Done {
    fn settle(self: Arc<Self>, _outcome: Outcome) -> Settling {
        Settling::done(Ok(()))
    }

    async fn renew(&self) -> Result<Option<Duration>> {
        Ok(None)
    }
}

/// Answers Ok to an ack, and sends it with a few others later: what is still kept when its client dies is lost.
#[derive(Debug, Default)]
pub(super) struct AcksLate {
    kept: Mutex<Vec<Arc<dyn Hold>>>,
}

impl AcksLate {
    /// So many acks are sent together.
    const BATCH: usize = 8;

    fn take(&self, least: usize) -> Vec<Arc<dyn Hold>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= least { std::mem::take(&mut *kept) } else { Vec::new() }
    }
}

#[async_trait]
impl Flaw for AcksLate {
    fn settle(&self, hold: Arc<dyn Hold>, outcome: Outcome) -> Settling {
        if !matches!(outcome, Outcome::Ack) {
            return hold.settle(outcome);
        }
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(hold);
        self.take(Self::BATCH).into_iter().for_each(|hold| drop(hold.settle(Outcome::Ack)));
        Settling::done(Ok(()))
    }

    async fn drain(&self, inside: &Inside, within: Duration) -> DrainReport {
        self.take(0);
        inside.drain(within).await
    }
}

/// An ack settles everything that was handed out before it.
#[derive(Debug, Default)]
pub(super) struct AcksAllBefore {
    out: Mutex<Vec<Arc<dyn Hold>>>,
}

impl Flaw for AcksAllBefore {
    fn delivery(&self, delivery: Delivery) -> Option<Delivery> {
        Some(rehold(delivery, |hold| {
            self.out.lock().unwrap_or_else(PoisonError::into_inner).push(hold.clone());
            hold
        }))
    }

    fn settle(&self, hold: Arc<dyn Hold>, outcome: Outcome) -> Settling {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let here = out.iter().position(|other| Arc::ptr_eq(other, &hold)).unwrap_or(0);
        let from = if matches!(outcome, Outcome::Ack) { 0 } else { here };
        let before: Vec<_> = out.drain(from..here).collect();
        out.retain(|other| !Arc::ptr_eq(other, &hold));
        drop(out);
        for older in before {
            drop(older.settle(Outcome::Ack));
        }
        hold.settle(outcome)
    }
}

/// Answers Ok to a settle that came too late.
#[derive(Debug)]
pub(super) struct StaleIsOk;

impl Flaw for StaleIsOk {
    fn settle(&self, hold: Arc<dyn Hold>, outcome: Outcome) -> Settling {
        let settling = hold.settle(outcome);
        Settling::waiting(async move {
            match settling.await {
                Err(error) if error.kind() == Kind::Stale => Ok(()),
                answer => answer,
            }
        })
    }
}

/// Says Ok to a renewal and does not renew.
#[derive(Debug)]
pub(super) struct NeverRenews;

#[async_trait]
impl Flaw for NeverRenews {
    async fn renew(&self, _hold: &Arc<dyn Hold>) -> Result<Option<Duration>> {
        Ok(Some(Duration::from_secs(30)))
    }
}

/// Renews the leases of deliveries for as long as the process lives, whoever holds them.
#[derive(Debug, Default)]
pub(super) struct NeverEndsLeases {
    settled: Arc<Mutex<Vec<Arc<dyn Hold>>>>,
}

impl NeverEndsLeases {
    /// How often it renews: more often than any lease the kit declares ends.
    const EVERY: Duration = Duration::from_millis(20);
}

impl Flaw for NeverEndsLeases {
    fn delivery(&self, delivery: Delivery) -> Option<Delivery> {
        let settled = self.settled.clone();
        Some(rehold(delivery, |hold| {
            let kept = hold.clone();
            tokio::spawn(async move {
                let is_settled = || {
                    let settled = settled.lock().unwrap_or_else(PoisonError::into_inner);
                    settled.iter().any(|other| Arc::ptr_eq(other, &kept))
                };
                while !is_settled() && kept.renew().await.is_ok() {
                    tokio::time::sleep(Self::EVERY).await;
                }
            });
            hold
        }))
    }

    fn settle(&self, hold: Arc<dyn Hold>, outcome: Outcome) -> Settling {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).push(hold.clone());
        hold.settle(outcome)
    }
}

/// A delivery that is dropped comes back twice.
#[derive(Debug, Default)]
pub(super) struct DropsReturnTwice {
    inside: Mutex<Option<Inside>>,
}

#[derive(Debug)]
struct Copied {
    hold: Arc<dyn Hold>,
    inside: Inside,
    target: Target,
    message: Message,
}

#[async_trait]
impl Hold for Copied {
    fn settle(self: Arc<Self>, outcome: Outcome) -> Settling {
        if matches!(outcome, Outcome::Dropped) {
            let copied = self.clone();
            tokio::spawn(async move {
                let options = PublishOptions::default();
                // Where there is no room for the copy there is none.
                let _ = copied.inside.publish(&copied.target, copied.message.clone(), options).await;
            });
        }
        self.hold.clone().settle(outcome)
    }

    async fn renew(&self) -> Result<Option<Duration>> {
        self.hold.renew().await
    }
}

impl Flaw for DropsReturnTwice {
    fn built(&self, inside: &Inside) {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner).replace(inside.clone());
    }

    fn delivery(&self, delivery: Delivery) -> Option<Delivery> {
        let inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(inside) = inside else { return Some(delivery) };
        let target = Target::Queue(delivery.queue().clone());
        let message = delivery.message().clone();
        Some(rehold(delivery, |hold| Arc::new(Copied { hold, inside, target, message })))
    }
}

/// Answers Ok to a reject whose dead letter found no room, and lets the message go.
#[derive(Debug)]
pub(super) struct LosesRefusedDead;

impl Flaw for LosesRefusedDead {
    fn settle(&self, hold: Arc<dyn Hold>, outcome: Outcome) -> Settling {
        let settling = hold.settle(outcome);
        Settling::waiting(async move {
            match settling.await {
                Err(error) if error.kind() == Kind::Full => Ok(()),
                answer => answer,
            }
        })
    }
}
