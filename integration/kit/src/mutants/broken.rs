//! A transport with one flaw around a correct one.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use polybus_contract::{
    Admin, Arrival, Browse, ConsumeOptions, Declared, Delivery, DrainReport, End, Gap, Health, Hold,
    Incoming, Intake, LeaseTerms, Message, Name, Object, Outcome, Page, PartStore, Place, Profile,
    PublishOptions, Purged, QueueInfo, Receipt, Redrive, Redriven, Reply, ReplyOptions, ReplyTo,
    RequestOptions, Result, Settling, Source, SubscribeOptions, Target, Topology, Transport,
};

use super::flaw::{Flaw, Inside, desk};

/// A broken handle.
#[derive(Debug)]
pub(super) struct Broken {
    inside: Inside,
    flaw: Arc<dyn Flaw>,
}

impl Broken {
    pub(super) fn new(inside: Inside, flaw: Arc<dyn Flaw>) -> Self {
        flaw.built(&inside);
        Self { inside, flaw }
    }
}

#[async_trait]
impl Transport for Broken {
    fn profile(&self) -> Profile {
        self.flaw.profile(self.inside.profile())
    }

    async fn connect(&self, within: Duration) -> Result<()> {
        self.flaw.connect(&self.inside, within).await
    }

    async fn declare(&self, topology: &Topology) -> Result<Declared> {
        self.flaw.declare(&self.inside, topology).await
    }

    async fn publish(&self, to: &Target, message: Message, options: PublishOptions) -> Result<Receipt> {
        self.flaw.publish(&self.inside, to, message, options).await
    }

    async fn consume(&self, from: &Intake, options: ConsumeOptions) -> Result<Incoming<Delivery>> {
        let incoming = self.flaw.consume(&self.inside, from, options).await?;
        let (flaw, gaps) = (self.flaw.clone(), self.flaw.clone());
        let item = move |delivery| flaw.delivery(delivery).map(|delivery| held(delivery, &flaw));
        Ok(tap(incoming, item, move |gap| gaps.gap(gap)))
    }

    async fn subscribe(&self, topic: &Name, options: SubscribeOptions) -> Result<Incoming<Message>> {
        let incoming = self.flaw.subscribe(&self.inside, topic, options).await?;
        let (flaw, gaps) = (self.flaw.clone(), self.flaw.clone());
        Ok(tap(incoming, move |message| flaw.message(message), move |gap| gaps.gap(gap)))
    }

    async fn request(
        &self,
        to: &Target,
        message: Message,
        options: RequestOptions,
    ) -> Result<Incoming<Reply>> {
        self.flaw.request(&self.inside, to, message, options).await
    }

    async fn reply(&self, to: &ReplyTo, message: Message, options: ReplyOptions) -> Result<Receipt> {
        self.flaw.reply(&self.inside, to, message, options).await
    }

    fn health(&self) -> Health {
        self.flaw.health(self.inside.health())
    }

    async fn drain(&self, within: Duration) -> DrainReport {
        self.flaw.drain(&self.inside, within).await
    }

    fn admin(&self) -> Option<&dyn Admin> {
        self.inside.admin().map(|_| self as &dyn Admin)
    }

    fn parts(&self) -> Option<Arc<dyn PartStore>> {
        self.flaw.parts(&self.inside)
    }

    async fn health_changed(&self) {
        self.inside.health_changed().await;
    }
}

#[async_trait]
impl Admin for Broken {
    async fn list(&self) -> Result<Vec<Intake>> {
        desk(&self.inside)?.list().await
    }

    async fn inspect(&self, intake: &Intake) -> Result<QueueInfo> {
        desk(&self.inside)?.inspect(intake).await
    }

    async fn browse(&self, intake: &Intake, place: Place, browse: Browse) -> Result<Page> {
        self.flaw.browse(&self.inside, intake, place, browse).await
    }

    async fn purge(&self, intake: &Intake, place: Place) -> Result<Purged> {
        desk(&self.inside)?.purge(intake, place).await
    }

    async fn redrive(&self, intake: &Intake, redrive: Redrive) -> Result<Redriven> {
        self.flaw.redrive(&self.inside, intake, redrive).await
    }

    async fn remove(&self, object: &Object) -> Result<()> {
        desk(&self.inside)?.remove(object).await
    }
}

/// The delivery with the flaw between it and its bus.
fn held(delivery: Delivery, flaw: &Arc<dyn Flaw>) -> Delivery {
    let flaw = flaw.clone();
    rehold(delivery, |hold| Arc::new(Held { hold, flaw }))
}

/// The delivery, settled through another hold.
pub(super) fn rehold(delivery: Delivery, wrap: impl FnOnce(Arc<dyn Hold>) -> Arc<dyn Hold>) -> Delivery {
    let (message, queue, attempt, terms, hold) = delivery.into_parts();
    let hold = hold.unwrap_or_else(|| Arc::new(Nobody));
    Delivery::new(message, queue, attempt, terms, wrap(hold))
}

/// The delivery with another message and attempt.
pub(super) fn relabel(delivery: Delivery, change: impl FnOnce(Message, u32) -> (Message, u32)) -> Delivery {
    let (message, queue, attempt, terms, hold) = delivery.into_parts();
    let (message, attempt) = change(message, attempt);
    Delivery::new(message, queue, attempt, terms, hold.unwrap_or_else(|| Arc::new(Nobody)))
}

/// A copy of the delivery that settles nothing.
pub(super) fn ghost(delivery: &Delivery) -> Delivery {
    let (message, queue) = (delivery.message().clone(), delivery.queue().clone());
    Delivery::new(message, queue, delivery.attempt(), LeaseTerms::Connection, Arc::new(Nobody))
}

#[derive(Debug)]
struct Held {
    hold: Arc<dyn Hold>,
    flaw: Arc<dyn Flaw>,
}

#[async_trait]
impl Hold for Held {
    fn settle(self: Arc<Self>, outcome: Outcome) -> Settling {
        self.flaw.settle(self.hold.clone(), outcome)
    }

    async fn renew(&self) -> Result<Option<Duration>> {
        self.flaw.renew(&self.hold).await
    }
}

/// Nothing is behind it, and it says Ok.
#[derive(Debug)]
struct Nobody;

#[async_trait]
impl Hold for Nobody {
    fn settle(self: Arc<Self>, _outcome: Outcome) -> Settling {
        Settling::done(Ok(()))
    }

    async fn renew(&self) -> Result<Option<Duration>> {
        Ok(None)
    }
}

type Change<T> = Box<dyn FnMut(T) -> Option<T> + Send>;

/// Arrivals that pass through a change.
struct Tap<T> {
    source: Box<dyn Source<T>>,
    end: Option<End>,
    item: Change<T>,
    gap: Change<Gap>,
}

pub(super) fn tap<T: Send + 'static>(
    incoming: Incoming<T>,
    item: impl FnMut(T) -> Option<T> + Send + 'static,
    gap: impl FnMut(Gap) -> Option<Gap> + Send + 'static,
) -> Incoming<T> {
    let (source, end) = incoming.into_source();
    Incoming::new(Tap { source, end, item: Box::new(item), gap: Box::new(gap) })
}

impl<T> fmt::Debug for Tap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl<T: Send> Source<T> for Tap<T> {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Arrival<T>, End>> {
        loop {
            if let Some(end) = self.end.take() {
                return Poll::Ready(Err(end));
            }
            let passed = match ready!(self.source.poll_next(context))? {
                Arrival::Item(item) => (self.item)(item).map(Arrival::Item),
                Arrival::Gap(gap) => (self.gap)(gap).map(Arrival::Gap),
            };
            if let Some(passed) = passed {
                return Poll::Ready(Ok(passed));
            }
        }
    }

    fn set_credit(&mut self, credit: u32) -> Result<()> {
        self.source.set_credit(credit)
    }

    fn stop(&mut self) {
        self.source.stop();
    }
}

/// What a rule makes of one arrival: several, in the order of the queue.
type Rule<T> = Box<dyn FnMut(T, &mut dyn FnMut() -> Option<T>, &mut VecDeque<T>) + Send>;

/// Arrivals that a rule repeats, swaps or holds back. It may take further items that are ready now.
struct Shuffle<T> {
    source: Box<dyn Source<T>>,
    end: Option<End>,
    ready: VecDeque<T>,
    rule: Rule<T>,
}

pub(super) fn shuffle<T: Send + 'static>(
    incoming: Incoming<T>,
    rule: impl FnMut(T, &mut dyn FnMut() -> Option<T>, &mut VecDeque<T>) + Send + 'static,
) -> Incoming<T> {
    let (source, end) = incoming.into_source();
    Incoming::new(Shuffle { source, end, ready: VecDeque::new(), rule: Box::new(rule) })
}

impl<T> fmt::Debug for Shuffle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl<T: Send> Source<T> for Shuffle<T> {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Arrival<T>, End>> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Poll::Ready(Ok(Arrival::Item(item)));
            }
            if let Some(end) = self.end.take() {
                return Poll::Ready(Err(end));
            }
            let item = match ready!(self.source.poll_next(context))? {
                Arrival::Item(item) => item,
                gap @ Arrival::Gap(_) => return Poll::Ready(Ok(gap)),
            };
            let (source, end) = (&mut self.source, &mut self.end);
            let mut more = || match source.poll_next(context) {
                Poll::Ready(Ok(Arrival::Item(item))) => Some(item),
                Poll::Ready(Err(ended)) => {
                    *end = Some(ended);
                    None
                }
                _ => None,
            };
            (self.rule)(item, &mut more, &mut self.ready);
        }
    }

    fn set_credit(&mut self, credit: u32) -> Result<()> {
        self.source.set_credit(credit)
    }

    fn stop(&mut self) {
        self.source.stop();
    }
}
