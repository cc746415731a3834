//! Transports that hand out messages wrongly.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use polybus_contract::{
    Arrival, ConsumeOptions, Declared, Delivery, DrainReport, End, Hold, Incoming, Intake, Keep, Message,
    Name, Object, Outcome, Place, PublishOptions, Reason, Receipt, Result, Settling, Source, Target,
    Topology,
};

use super::broken::{ghost, rehold, shuffle};
use super::flaw::{Flaw, Inside, Rate, desk};

/// Hands out one in so many deliveries twice.
#[derive(Debug)]
pub(super) struct DuplicatesDeliveries(pub(super) Arc<Rate>);

#[async_trait]
impl Flaw for DuplicatesDeliveries {
    async fn consume(
        &self,
        inside: &Inside,
        from: &Intake,
        options: ConsumeOptions,
    ) -> Result<Incoming<Delivery>> {
        let rate = self.0.clone();
        let incoming = inside.consume(from, options).await?;
        Ok(shuffle(incoming, move |delivery, _, ready| {
            if rate.strikes() {
                ready.push_back(ghost(&delivery));
            }
            ready.push_back(delivery);
        }))
    }
}

/// Gives a consumer more credit than it asked for.
#[derive(Debug)]
pub(super) struct IgnoresCredit;

#[async_trait]
impl Flaw for IgnoresCredit {
    async fn consume(
        &self,
        inside: &Inside,
        from: &Intake,
        options: ConsumeOptions,
    ) -> Result<Incoming<Delivery>> {
        let credit = options.credit.saturating_mul(2);
        inside.consume(from, options.with_credit(credit)).await
    }
}

/// Says Ok to a change of credit and keeps the old one.
#[derive(Debug)]
pub(super) struct KeepsCredit;

#[async_trait]
impl Flaw for KeepsCredit {
    async fn consume(
        &self,
        inside: &Inside,
        from: &Intake,
        options: ConsumeOptions,
    ) -> Result<Incoming<Delivery>> {
        let (source, end) = inside.consume(from, options).await?.into_source();
        Ok(Incoming::new(FixedCredit { source, end }))
    }
}

#[derive(Debug)]
struct FixedCredit {
    source: Box<dyn Source<Delivery>>,
    end: Option<End>,
}

impl Source<Delivery> for FixedCredit {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Arrival<Delivery>, End>> {
        match self.end.take() {
            Some(end) => Poll::Ready(Err(end)),
            None => self.source.poll_next(context),
        }
    }

    fn set_credit(&mut self, _credit: u32) -> Result<()> {
        Ok(())
    }

    fn stop(&mut self) {
        self.source.stop();
    }
}

/// A consumer takes the whole backlog into a buffer of its own, within its credit or not.
#[derive(Debug)]
pub(super) struct HoardsBacklog;

#[async_trait]
impl Flaw for HoardsBacklog {
    async fn consume(
        &self,
        inside: &Inside,
        from: &Intake,
        options: ConsumeOptions,
    ) -> Result<Incoming<Delivery>> {
        let credit = options.credit;
        let (source, end) = inside.consume(from, options.with_credit(100_000_u32)).await?.into_source();
        let out = Arc::default();
        Ok(Incoming::new(Hoard { source, end, credit, out, taken: VecDeque::new() }))
    }
}

#[derive(Debug)]
struct Hoard {
    source: Box<dyn Source<Delivery>>,
    end: Option<End>,
    credit: u32,
    out: Arc<Out>,
    taken: VecDeque<Delivery>,
}

/// What was given out of a hoard, and who waits for some of it to be settled.
#[derive(Debug, Default)]
struct Out {
    count: AtomicU32,
    waker: Mutex<Option<Waker>>,
}

impl Source<Delivery> for Hoard {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Arrival<Delivery>, End>> {
        while let Poll::Ready(next) = self.source.poll_next(context) {
            match next {
                Ok(Arrival::Item(delivery)) => self.taken.push_back(delivery),
                Ok(gap @ Arrival::Gap(_)) => return Poll::Ready(Ok(gap)),
                Err(end) => {
                    self.taken.clear();
                    return Poll::Ready(Err(self.end.take().unwrap_or(end)));
                }
            }
        }
        self.out.waker.lock().unwrap_or_else(PoisonError::into_inner).replace(context.waker().clone());
        if self.out.count.load(Ordering::Acquire) >= self.credit {
            return Poll::Pending;
        }
        let Some(delivery) = self.taken.pop_front() else { return Poll::Pending };
        self.out.count.fetch_add(1, Ordering::AcqRel);
        let out = self.out.clone();
        let counted = rehold(delivery, |hold| Arc::new(Counted { hold, out }));
        Poll::Ready(Ok(Arrival::Item(counted)))
    }

    fn set_credit(&mut self, credit: u32) -> Result<()> {
        self.credit = credit;
        Ok(())
    }

    fn stop(&mut self) {
        self.source.stop();
    }
}

#[derive(Debug)]
struct Counted {
    hold: Arc<dyn Hold>,
    out: Arc<Out>,
}

#[async_trait]
impl Hold for Counted {
    fn settle(self: Arc<Self>, outcome: Outcome) -> Settling {
        self.out.count.fetch_sub(1, Ordering::AcqRel);
        let waker = self.out.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        waker.into_iter().for_each(Waker::wake);
        self.hold.clone().settle(outcome)
    }

    async fn renew(&self) -> Result<Option<Duration>> {
        self.hold.renew().await
    }
}

/// A failing message takes along what its consumer has in hand.
#[derive(Debug, Default)]
pub(super) struct PoisonsNeighbours {
    in_hand: Mutex<Vec<Arc<dyn Hold>>>,
}

impl Flaw for PoisonsNeighbours {
    fn delivery(&self, delivery: Delivery) -> Option<Delivery> {
        Some(rehold(delivery, |hold| {
            self.in_hand.lock().unwrap_or_else(PoisonError::into_inner).push(hold.clone());
            hold
        }))
    }

    fn settle(&self, hold: Arc<dyn Hold>, outcome: Outcome) -> Settling {
        let failed = !matches!(outcome, Outcome::Ack | Outcome::Release);
        let mut in_hand = self.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        in_hand.retain(|other| !Arc::ptr_eq(other, &hold));
        let neighbours = if failed { std::mem::take(&mut *in_hand) } else { Vec::new() };
        drop(in_hand);
        let settling = hold.settle(outcome);
        for neighbour in neighbours {
            let error = Some("the channel was closed".to_owned());
            drop(neighbour.settle(Outcome::Reject { reason: Reason::Rejected, error, keep: Keep::Body }));
        }
        settling
    }
}

/// Forgets what waited in a queue before its first consumer came.
#[derive(Debug, Default)]
pub(super) struct ForgetsBacklog {
    known: Mutex<Vec<Intake>>,
}

#[async_trait]
impl Flaw for ForgetsBacklog {
    async fn consume(
        &self,
        inside: &Inside,
        from: &Intake,
        options: ConsumeOptions,
    ) -> Result<Incoming<Delivery>> {
        let first = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let first = !known.contains(from);
            known.push(from.clone());
            first
        };
        let dead = matches!(from, Intake::Queue(name) if name.is_dead());
        if first && !dead {
            // A queue that is not there has no backlog either.
            let _ = desk(inside)?.purge(from, Place::Ready).await;
        }
        inside.consume(from, options).await
    }
}

/// Says Ok to a declare and does nothing.
#[derive(Debug)]
pub(super) struct ForgetsTopology;

#[async_trait]
impl Flaw for ForgetsTopology {
    async fn declare(&self, _inside: &Inside, _topology: &Topology) -> Result<Declared> {
        Ok(Declared::default())
    }
}

/// Removes the queues that a handle declared when it closes.
#[derive(Debug, Default)]
pub(super) struct AutoDeletes {
    declared: Mutex<Vec<Name>>,
}

#[async_trait]
impl Flaw for AutoDeletes {
    async fn declare(&self, inside: &Inside, topology: &Topology) -> Result<Declared> {
        let names = topology.queues.iter().map(|queue| queue.name.clone());
        self.declared.lock().unwrap_or_else(PoisonError::into_inner).extend(names);
        inside.declare(topology).await
    }

    async fn drain(&self, inside: &Inside, within: Duration) -> DrainReport {
        let names = std::mem::take(&mut *self.declared.lock().unwrap_or_else(PoisonError::into_inner));
        for name in names {
            if let Ok(desk) = desk(inside) {
                // It may be gone already.
                let _ = desk.remove(&Object::Queue(name)).await;
            }
        }
        inside.drain(within).await
    }
}

/// Serves ten messages to every consumer of a queue but the first, and then no more.
#[derive(Debug, Default)]
pub(super) struct FavoursFirst {
    known: Mutex<Vec<Intake>>,
}

#[async_trait]
impl Flaw for FavoursFirst {
    async fn consume(
        &self,
        inside: &Inside,
        from: &Intake,
        options: ConsumeOptions,
    ) -> Result<Incoming<Delivery>> {
        let first = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let first = !known.contains(from);
            known.push(from.clone());
            first
        };
        let incoming = inside.consume(from, options).await?;
        if first {
            return Ok(incoming);
        }
        Ok(Incoming::new(Starved { source: incoming.into_source().0, left: Self::SHARE }))
    }
}

impl FavoursFirst {
    /// What the others get.
    const SHARE: u32 = 10;
}

/// A consumer that is served for a while and then no more.
#[derive(Debug)]
struct Starved {
    source: Box<dyn Source<Delivery>>,
    left: u32,
}

impl Source<Delivery> for Starved {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Arrival<Delivery>, End>> {
        if self.left == 0 {
            return Poll::Pending;
        }
        let next = self.source.poll_next(context);
        if matches!(next, Poll::Ready(Ok(Arrival::Item(_)))) {
            self.left -= 1;
        }
        if self.left == 0 {
            // What it had in its buffer goes back, for the first one.
            self.source.stop();
        }
        next
    }

    fn set_credit(&mut self, credit: u32) -> Result<()> {
        self.source.set_credit(credit)
    }

    fn stop(&mut self) {
        self.left = u32::MAX;
        self.source.stop();
    }
}

/// All groups of a topic are one: they compete instead of each getting everything.
#[derive(Debug, Default)]
pub(super) struct SharesGroups {
    first: Mutex<Vec<(Name, Name)>>,
}

#[async_trait]
impl Flaw for SharesGroups {
    async fn consume(
        &self,
        inside: &Inside,
        from: &Intake,
        options: ConsumeOptions,
    ) -> Result<Incoming<Delivery>> {
        let Intake::Group { topic, group } = from else { return inside.consume(from, options).await };
        let group = {
            let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
            let known = first.iter().find(|(of, _)| of == topic).map(|(_, group)| group.clone());
            known.unwrap_or_else(|| {
                first.push((topic.clone(), group.clone()));
                group.clone()
            })
        };
        inside.consume(&Intake::Group { topic: topic.clone(), group }, options).await
    }
}

/// What one tenant sends also reaches the queues of that name of the others.
#[derive(Debug, Default)]
pub(super) struct MixesTenants {
    tenants: Mutex<Vec<Inside>>,
}

#[async_trait]
impl Flaw for MixesTenants {
    fn built(&self, inside: &Inside) {
        let instance = |bus: &Inside| bus.profile().instance;
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if !tenants.iter().any(|other| instance(other) == instance(inside)) {
            tenants.push(inside.clone());
        }
    }

    async fn publish(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        let tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let own = inside.profile().instance;
        for other in tenants.iter().filter(|other| other.profile().instance != own) {
            // Where the other tenant has no such queue, nothing leaks.
            let _ = other.publish(to, message.clone(), options.clone()).await;
        }
        inside.publish(to, message, options).await
    }
}
