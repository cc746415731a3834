//! Transports that do wrong when their bus, its link or its clock fails.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use polybus_contract::{
    Arrival, Confirm, ConsumeOptions, Delivery, End, Error, Health, Hold, Incoming, Intake, Kind, Link,
    Message, Name, Operation, Outcome, PublishOptions, Receipt, Result, Settling, Source, Start, Status,
    SubscribeOptions, SubscriptionState, Target,
};
use tokio::time::{sleep, timeout};

use super::flaw::{Flaw, Inside, claimed};
use super::gate::gate;
use crate::faults::Fault;

/// Confirms before it stores: what was confirmed last is lost with the bus.
#[derive(Debug, Default)]
pub(super) struct ConfirmsEarly {
    ends: Arc<AtomicU64>,
}

#[async_trait]
impl Flaw for ConfirmsEarly {
    fn struck(&self, fault: Fault) {
        self.ends.fetch_add(u64::from(matches!(fault, Fault::Kill | Fault::Stop)), Ordering::Relaxed);
    }

    async fn publish(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        let early = claimed(&message);
        let (inside, to, ends) = (inside.clone(), to.clone(), self.ends.clone());
        let lives = ends.load(Ordering::Relaxed);
        tokio::spawn(async move {
            sleep(Duration::from_millis(5)).await;
            if ends.load(Ordering::Relaxed) == lives {
                let _ = inside.publish(&to, message, options).await;
            }
        });
        Ok(early)
    }
}

/// After a restart what was handed out last comes again, acked or not.
#[derive(Debug, Default)]
pub(super) struct RepeatsAfterRestart {
    inside: Mutex<Option<Inside>>,
    last: Mutex<Option<(Name, Message)>>,
}

#[async_trait]
impl Flaw for RepeatsAfterRestart {
    fn built(&self, inside: &Inside) {
        *self.inside.lock().unwrap_or_else(PoisonError::into_inner) = Some(inside.clone());
    }

    fn delivery(&self, delivery: Delivery) -> Option<Delivery> {
        let copy = (delivery.queue().clone(), delivery.message().clone());
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(copy);
        Some(delivery)
    }

    fn struck(&self, fault: Fault) {
        let inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let (Fault::Start, Some(inside), Some((queue, message))) = (fault, inside, last) {
            tokio::spawn(async move {
                let again = PublishOptions::default().with_confirm(Confirm::WhereAble);
                let _ = inside.publish(&Target::Queue(queue), message, again).await;
            });
        }
    }
}

/// Says that all is well, whatever it is.
#[derive(Debug)]
pub(super) struct SaysAllIsWell(pub(super) fn(Health) -> Health);

#[async_trait]
impl Flaw for SaysAllIsWell {
    fn health(&self, honest: Health) -> Health {
        (self.0)(honest)
    }
}

/// A link that is down is up.
pub(super) fn without_outage(mut health: Health) -> Health {
    if matches!(health.link, Link::Down { .. }) {
        health.link = Link::Up;
    }
    health
}

/// An alarm is no state.
pub(super) fn without_alarm(mut health: Health) -> Health {
    if health.link == Link::Blocked {
        health.link = Link::Up;
    }
    health
}

/// Every consumer is live.
pub(super) fn without_stall(mut health: Health) -> Health {
    for subscription in &mut health.subscriptions {
        subscription.state = SubscriptionState::Live;
    }
    health
}

/// Gives up on what takes longer than a quick answer.
#[derive(Debug)]
pub(super) struct TakesSlowForDead;

#[async_trait]
impl Flaw for TakesSlowForDead {
    async fn publish(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        let quick = timeout(Duration::from_millis(100), inside.publish(to, message, options)).await;
        quick.unwrap_or_else(|_| {
            Err(Error::new(Kind::Disconnected, Operation::Publish).with_status(Status::Unknown))
        })
    }
}

/// After a restart, what was open before it gets nothing.
#[derive(Debug, Default)]
pub(super) struct ForgetsAtRestart {
    restarts: Arc<AtomicU64>,
    consumers: bool,
}

impl ForgetsAtRestart {
    pub(super) fn consumers() -> Self {
        Self { consumers: true, ..Self::default() }
    }

    fn forgotten<T: Send + 'static>(&self, incoming: Incoming<T>) -> Incoming<T> {
        let (restarts, at) = (self.restarts.clone(), self.restarts.load(Ordering::Relaxed));
        gate(incoming, move || {
            if restarts.load(Ordering::Relaxed) == at {
                Box::pin(std::future::ready(()))
            } else {
                Box::pin(std::future::pending())
            }
        })
    }
}

#[async_trait]
impl Flaw for ForgetsAtRestart {
    fn struck(&self, fault: Fault) {
        self.restarts.fetch_add(u64::from(fault == Fault::Start), Ordering::Relaxed);
    }

    async fn consume(
        &self,
        inside: &Inside,
        from: &Intake,
        options: ConsumeOptions,
    ) -> Result<Incoming<Delivery>> {
        let incoming = inside.consume(from, options).await?;
        Ok(if self.consumers { self.forgotten(incoming) } else { incoming })
    }

    async fn subscribe(
        &self,
        inside: &Inside,
        topic: &Name,
        options: SubscribeOptions,
    ) -> Result<Incoming<Message>> {
        let incoming = inside.subscribe(topic, options).await?;
        Ok(if self.consumers { incoming } else { self.forgotten(incoming) })
    }
}

/// After a restart a consumer gets more than its credit.
#[derive(Debug, Default)]
pub(super) struct ForgetsCredit {
    restarted: Arc<AtomicBool>,
}

#[async_trait]
impl Flaw for ForgetsCredit {
    fn struck(&self, fault: Fault) {
        self.restarted.fetch_or(fault == Fault::Start, Ordering::Relaxed);
    }

    async fn consume(
        &self,
        inside: &Inside,
        from: &Intake,
        options: ConsumeOptions,
    ) -> Result<Incoming<Delivery>> {
        let credit = options.credit;
        let (source, end) = inside.consume(from, options).await?.into_source();
        Ok(Incoming::new(Regrown { source, end, credit, restarted: self.restarted.clone() }))
    }
}

#[derive(Debug)]
struct Regrown {
    source: Box<dyn Source<Delivery>>,
    end: Option<End>,
    credit: u32,
    restarted: Arc<AtomicBool>,
}

impl Source<Delivery> for Regrown {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Arrival<Delivery>, End>> {
        if let Some(end) = self.end.take() {
            return Poll::Ready(Err(end));
        }
        if self.restarted.load(Ordering::Relaxed) {
            let _ = self.source.set_credit(self.credit.saturating_mul(2));
        }
        self.source.poll_next(context)
    }

    fn set_credit(&mut self, credit: u32) -> Result<()> {
        self.credit = credit;
        self.source.set_credit(credit)
    }

    fn stop(&mut self) {
        self.source.stop();
    }
}

/// Begins to consume only where the bus is there.
#[derive(Debug)]
pub(super) struct NeedsBusToBegin;

#[async_trait]
impl Flaw for NeedsBusToBegin {
    async fn consume(
        &self,
        inside: &Inside,
        from: &Intake,
        options: ConsumeOptions,
    ) -> Result<Incoming<Delivery>> {
        inside.consume(from, options.with_start(Start::default())).await
    }
}

/// Hands nothing out while the bus takes nothing.
#[derive(Debug, Default)]
pub(super) struct BlocksConsumers {
    alarm: tokio::sync::watch::Sender<bool>,
}

#[async_trait]
impl Flaw for BlocksConsumers {
    fn struck(&self, fault: Fault) {
        match fault {
            Fault::Fill => drop(self.alarm.send_replace(true)),
            Fault::Relieve => drop(self.alarm.send_replace(false)),
            _ => {}
        }
    }

    async fn consume(
        &self,
        inside: &Inside,
        from: &Intake,
        options: ConsumeOptions,
    ) -> Result<Incoming<Delivery>> {
        let alarm = self.alarm.clone();
        Ok(gate(inside.consume(from, options).await?, move || {
            let mut alarm = alarm.subscribe();
            Box::pin(async move { drop(alarm.wait_for(|alarm| !alarm).await) })
        }))
    }
}

/// Counts leases by the wall clock.
#[derive(Debug, Default)]
pub(super) struct FollowsTheClock {
    ahead: AtomicBool,
}

#[async_trait]
impl Flaw for FollowsTheClock {
    fn struck(&self, fault: Fault) {
        match fault {
            Fault::Jump => self.ahead.store(true, Ordering::Relaxed),
            Fault::JumpBack => self.ahead.store(false, Ordering::Relaxed),
            _ => {}
        }
    }

    fn settle(&self, hold: Arc<dyn Hold>, outcome: Outcome) -> Settling {
        if self.ahead.load(Ordering::Relaxed) {
            drop(hold.settle(Outcome::Release));
            return Settling::done(Err(Error::new(Kind::Stale, Operation::Settle)));
        }
        hold.settle(outcome)
    }
}
