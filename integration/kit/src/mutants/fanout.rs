//! Transports whose topics do not reach everybody, or reach them wrongly.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use polybus_contract::{
    Arrival, End, Error, Gap, GapCause, Health, Incoming, Kind, Message, Name, Operation, PublishOptions,
    Receipt, Result, Source, SubscribeOptions, Target,
};

use super::broken::{shuffle, tap};
use super::flaw::{Flaw, Inside, Rate};

/// Subscribers miss one in so many messages.
#[derive(Debug)]
pub(super) struct SkipsSubscribers(pub(super) Rate);

impl Flaw for SkipsSubscribers {
    fn message(&self, message: Message) -> Option<Message> {
        (!self.0.strikes()).then_some(message)
    }
}

/// Subscribers get one in so many messages twice.
#[derive(Debug)]
pub(super) struct RepeatsToSubscribers(pub(super) Arc<Rate>);

#[async_trait]
impl Flaw for RepeatsToSubscribers {
    async fn subscribe(
        &self,
        inside: &Inside,
        topic: &Name,
        options: SubscribeOptions,
    ) -> Result<Incoming<Message>> {
        let rate = self.0.clone();
        Ok(shuffle(inside.subscribe(topic, options).await?, move |message, _, ready| {
            if rate.strikes() {
                ready.push_back(message.clone());
            }
            ready.push_back(message);
        }))
    }
}

/// Subscribers get some messages before the one that was published before them.
#[derive(Debug)]
pub(super) struct ReordersTopics(pub(super) Arc<Rate>);

#[async_trait]
impl Flaw for ReordersTopics {
    async fn subscribe(
        &self,
        inside: &Inside,
        topic: &Name,
        options: SubscribeOptions,
    ) -> Result<Incoming<Message>> {
        let rate = self.0.clone();
        Ok(shuffle(inside.subscribe(topic, options).await?, move |message, more, ready| {
            if rate.strikes() {
                ready.extend(more());
            }
            ready.push_back(message);
        }))
    }
}

/// A new subscriber first gets the last message that was published before it came.
#[derive(Debug, Default)]
pub(super) struct RetainsLast {
    last: Mutex<HashMap<Name, Message>>,
}

#[async_trait]
impl Flaw for RetainsLast {
    async fn publish(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        if let Target::Topic(topic) = to {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            last.insert(topic.clone(), message.clone());
        }
        inside.publish(to, message, options).await
    }

    async fn subscribe(
        &self,
        inside: &Inside,
        topic: &Name,
        options: SubscribeOptions,
    ) -> Result<Incoming<Message>> {
        let incoming = inside.subscribe(topic, options).await?;
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).get(topic).cloned();
        let (source, end) = incoming.into_source();
        Ok(Incoming::new(Retained { last, source, end }))
    }
}

#[derive(Debug)]
struct Retained {
    last: Option<Message>,
    source: Box<dyn Source<Message>>,
    end: Option<End>,
}

impl Source<Message> for Retained {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Arrival<Message>, End>> {
        if let Some(last) = self.last.take() {
            return Poll::Ready(Ok(Arrival::Item(last)));
        }
        match self.end.take() {
            Some(end) => Poll::Ready(Err(end)),
            None => self.source.poll_next(context),
        }
    }

    fn set_credit(&mut self, credit: u32) -> Result<()> {
        self.source.set_credit(credit)
    }

    fn stop(&mut self) {
        self.source.stop();
    }
}

/// Subscribes in the background: `subscribe` returns before the subscription is live.
#[derive(Debug)]
pub(super) struct SlowJoiner;

#[async_trait]
impl Flaw for SlowJoiner {
    async fn subscribe(
        &self,
        inside: &Inside,
        topic: &Name,
        options: SubscribeOptions,
    ) -> Result<Incoming<Message>> {
        let (inside, topic) = (inside.clone(), topic.clone());
        let joining = async move { inside.subscribe(&topic, options).await }.boxed();
        Ok(Incoming::new(Joining { joining: Some(joining), joined: None }))
    }
}

/// Becomes a subscription when it is first read.
struct Joining {
    joining: Option<BoxFuture<'static, Result<Incoming<Message>>>>,
    joined: Option<Box<dyn Source<Message>>>,
}

impl fmt::Debug for Joining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Joining").field("joined", &self.joined).finish_non_exhaustive()
    }
}

impl Source<Message> for Joining {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Arrival<Message>, End>> {
        if let Some(joining) = &mut self.joining {
            match joining.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(incoming)) => self.joined = Some(incoming.into_source().0),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(End::Failed(error))),
            }
            self.joining = None;
        }
        match &mut self.joined {
            Some(source) => source.poll_next(context),
            None => Poll::Ready(Err(End::Stopped)),
        }
    }

    fn set_credit(&mut self, credit: u32) -> Result<()> {
        self.joined.as_mut().map_or(Ok(()), |source| source.set_credit(credit))
    }

    fn stop(&mut self) {
        self.joining = None;
        self.joined.iter_mut().for_each(|source| source.stop());
    }
}

/// Who publishes waits until the slowest subscriber has read.
#[derive(Debug, Default)]
pub(super) struct BlocksOnSlow {
    published: AtomicU64,
    read: Arc<Mutex<Vec<Arc<AtomicU64>>>>,
}

impl BlocksOnSlow {
    /// So many messages may be unread.
    const UNREAD: u64 = 16;

    fn slowest(&self) -> Option<u64> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.iter().map(|read| read.load(Ordering::Acquire)).min()
    }
}

#[async_trait]
impl Flaw for BlocksOnSlow {
    async fn publish(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        if matches!(to, Target::Topic(_)) {
            let published = self.published.fetch_add(1, Ordering::AcqRel);
            if self.slowest().is_some_and(|read| published.saturating_sub(read) > Self::UNREAD) {
                tokio::time::sleep(options.within).await;
                return Err(Error::new(Kind::DeadlineExceeded, Operation::Publish).with_target(to));
            }
        }
        inside.publish(to, message, options).await
    }

    async fn subscribe(
        &self,
        inside: &Inside,
        topic: &Name,
        options: SubscribeOptions,
    ) -> Result<Incoming<Message>> {
        let read = Arc::new(AtomicU64::new(self.published.load(Ordering::Acquire)));
        self.read.lock().unwrap_or_else(PoisonError::into_inner).push(read.clone());
        let count = move |message| {
            read.fetch_add(1, Ordering::AcqRel);
            Some(message)
        };
        Ok(tap(inside.subscribe(topic, options).await?, count, Some))
    }
}

/// What a slow subscriber missed is not shown to it.
#[derive(Debug)]
pub(super) struct HidesGaps;

impl Flaw for HidesGaps {
    fn gap(&self, _gap: Gap) -> Option<Gap> {
        None
    }
}

/// A gap says another number than was missed.
#[derive(Debug)]
pub(super) struct MiscountsGaps;

impl Flaw for MiscountsGaps {
    fn gap(&self, gap: Gap) -> Option<Gap> {
        Some(Gap { missed: gap.missed.map(|missed| missed + 1), ..gap })
    }
}

/// A gap names another cause.
#[derive(Debug)]
pub(super) struct BlamesTheNetwork;

impl Flaw for BlamesTheNetwork {
    fn gap(&self, gap: Gap) -> Option<Gap> {
        Some(Gap { cause: GapCause::Network, ..gap })
    }
}

/// What subscribers miss is not counted.
#[derive(Debug)]
pub(super) struct MissesUncounted;

impl Flaw for MissesUncounted {
    fn health(&self, mut honest: Health) -> Health {
        honest.counters.missed = 0;
        honest
    }
}

/// What is published to one topic also reaches the subscribers of another.
#[derive(Debug, Default)]
pub(super) struct LeaksTopics {
    topics: Mutex<Vec<Name>>,
    turn: AtomicU64,
}

#[async_trait]
impl Flaw for LeaksTopics {
    async fn publish(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        let leaks = self.turn.fetch_add(1, Ordering::AcqRel) % 10 == 9;
        let other = {
            let topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
            topics.iter().find(|topic| *topic != to.name()).cloned()
        };
        if let (Target::Topic(_), Some(other), true) = (to, other, leaks) {
            let unconfirmed = options.clone().with_confirm(polybus_contract::Confirm::No);
            inside.publish(&Target::Topic(other), message.clone(), unconfirmed).await?;
        }
        inside.publish(to, message, options).await
    }

    async fn subscribe(
        &self,
        inside: &Inside,
        topic: &Name,
        options: SubscribeOptions,
    ) -> Result<Incoming<Message>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner).push(topic.clone());
        inside.subscribe(topic, options).await
    }
}

/// Serves the first thousand subscriptions; the others are told that they are live, and hear nothing.
#[derive(Debug, Default)]
pub(super) struct ServesFewTopics {
    subscriptions: AtomicU64,
}

impl ServesFewTopics {
    const SERVED: u64 = 1000;
}

#[async_trait]
impl Flaw for ServesFewTopics {
    async fn subscribe(
        &self,
        inside: &Inside,
        topic: &Name,
        options: SubscribeOptions,
    ) -> Result<Incoming<Message>> {
        let deaf = self.subscriptions.fetch_add(1, Ordering::AcqRel) >= Self::SERVED;
        Ok(tap(inside.subscribe(topic, options).await?, move |message| (!deaf).then_some(message), Some))
    }
}
