//! Transports that do not open or close as they say.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use polybus_contract::{
    ConsumeOptions, Delivery, DrainReport, Error, Hold, Incoming, Intake, Kind, Message, Operation, Outcome,
    PublishOptions, Receipt, Result, Settling, Target,
};

use super::broken::rehold;
use super::flaw::{Flaw, Inside, claimed};

/// Starts its tasks when it is built, and so needs a runtime there.
#[derive(Debug)]
pub(super) struct RunsWhenBuilt;

impl Flaw for RunsWhenBuilt {
    fn built(&self, _inside: &Inside) {
        tokio::spawn(std::future::ready(()));
    }
}

/// Never comes back from a close while a delivery is in hand.
#[derive(Debug, Default)]
pub(super) struct HangsOnClose {
    out: Arc<AtomicU32>,
}

#[async_trait]
impl Flaw for HangsOnClose {
    fn delivery(&self, delivery: Delivery) -> Option<Delivery> {
        self.out.fetch_add(1, Ordering::AcqRel);
        Some(delivery)
    }

    fn settle(&self, hold: Arc<dyn Hold>, outcome: Outcome) -> Settling {
        self.out.fetch_sub(1, Ordering::AcqRel);
        hold.settle(outcome)
    }

    async fn drain(&self, inside: &Inside, within: Duration) -> DrainReport {
        let open = self.out.load(Ordering::Acquire);
        let report = inside.drain(within).await;
        if open > 0 && report.abandoned > 0 {
            std::future::pending::<()>().await;
        }
        report
    }
}

/// Reports a clean close whatever was left behind.
#[derive(Debug)]
pub(super) struct ClaimsCleanClose;

#[async_trait]
impl Flaw for ClaimsCleanClose {
    async fn drain(&self, inside: &Inside, within: Duration) -> DrainReport {
        let DrainReport { finished, returned, abandoned, .. } = inside.drain(within).await;
        DrainReport { finished: finished + abandoned, returned, abandoned: 0, unflushed: 0 }
    }
}

/// Closes at once: what is in hand is not waited for.
#[derive(Debug)]
pub(super) struct ClosesAtOnce;

#[async_trait]
impl Flaw for ClosesAtOnce {
    async fn drain(&self, inside: &Inside, _within: Duration) -> DrainReport {
        inside.drain(Duration::ZERO).await
    }
}

/// What is abandoned at a close is settled as if it were done.
#[derive(Debug, Default)]
pub(super) struct AcksAbandoned {
    out: Mutex<Vec<Arc<dyn Hold>>>,
}

#[async_trait]
impl Flaw for AcksAbandoned {
    fn delivery(&self, delivery: Delivery) -> Option<Delivery> {
        Some(rehold(delivery, |hold| {
            self.out.lock().unwrap_or_else(PoisonError::into_inner).push(hold.clone());
            hold
        }))
    }

    fn settle(&self, hold: Arc<dyn Hold>, outcome: Outcome) -> Settling {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.retain(|other| !Arc::ptr_eq(other, &hold));
        drop(out);
        hold.settle(outcome)
    }

    async fn drain(&self, inside: &Inside, within: Duration) -> DrainReport {
        if !within.is_zero() {
            tokio::time::sleep(within).await;
        }
        let out = std::mem::take(&mut *self.out.lock().unwrap_or_else(PoisonError::into_inner));
        let abandoned = out.len() as u64;
        for hold in out {
            drop(hold.settle(Outcome::Ack));
        }
        DrainReport { abandoned, ..inside.drain(Duration::ZERO).await }
    }
}

/// A second close reports something else than the first.
#[derive(Debug, Default)]
pub(super) struct ForgetsItsReport {
    closed: AtomicBool,
}

#[async_trait]
impl Flaw for ForgetsItsReport {
    async fn drain(&self, inside: &Inside, within: Duration) -> DrainReport {
        let again = self.closed.swap(true, Ordering::AcqRel);
        let report = inside.drain(within).await;
        if again { DrainReport::default() } else { report }
    }
}

/// A second close waits for ever for an answer that went to the first.
#[derive(Debug, Default)]
pub(super) struct HangsOnSecondClose {
    closing: Mutex<Vec<usize>>,
}

#[async_trait]
impl Flaw for HangsOnSecondClose {
    async fn drain(&self, inside: &Inside, within: Duration) -> DrainReport {
        let handle = Arc::as_ptr(inside).addr();
        let again = {
            let mut closing = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
            let again = closing.contains(&handle);
            closing.push(handle);
            again
        };
        if again {
            std::future::pending::<()>().await;
        }
        inside.drain(within).await
    }
}

/// Says Ok to a publish after its close, and sends nothing.
#[derive(Debug)]
pub(super) struct WorksAfterClose;

#[async_trait]
impl Flaw for WorksAfterClose {
    async fn publish(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        let claim = claimed(&message);
        match inside.publish(to, message, options).await {
            Err(error) if error.kind() == Kind::Closed => Ok(claim),
            answer => answer,
        }
    }
}

/// After its close every call hangs.
#[derive(Debug)]
pub(super) struct HangsAfterClose;

#[async_trait]
impl Flaw for HangsAfterClose {
    async fn consume(
        &self,
        inside: &Inside,
        from: &Intake,
        options: ConsumeOptions,
    ) -> Result<Incoming<Delivery>> {
        match inside.consume(from, options).await {
            Err(error) if error.kind() == Kind::Closed => std::future::pending().await,
            answer => answer,
        }
    }
}

/// Leaves behind a second consumer for each one that it was asked for, with credit and nobody to read it.
#[derive(Debug, Default)]
pub(super) struct LeavesConsumers {
    left: Mutex<Vec<Incoming<Delivery>>>,
}

#[async_trait]
impl Flaw for LeavesConsumers {
    async fn consume(
        &self,
        inside: &Inside,
        from: &Intake,
        options: ConsumeOptions,
    ) -> Result<Incoming<Delivery>> {
        let second = inside.consume(from, options.clone()).await?;
        self.left.lock().unwrap_or_else(PoisonError::into_inner).push(second);
        inside.consume(from, options).await
    }
}

/// Tries a wrong password again and again, and ends as if the bus were away.
#[derive(Debug)]
pub(super) struct StormsOnRefusal;

#[async_trait]
impl Flaw for StormsOnRefusal {
    async fn connect(&self, inside: &Inside, within: Duration) -> Result<()> {
        for _ in 0..100 {
            match inside.connect(within).await {
                Err(error) if error.kind() == Kind::Unauthorized => {}
                answer => return answer,
            }
        }
        Err(Error::new(Kind::Disconnected, Operation::Connect))
    }
}
