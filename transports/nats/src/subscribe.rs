//! Ephemeral subscriptions of topics.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use async_nats::Subscriber;
use futures_util::StreamExt;
use polybus_contract::{
    Arrival, End, Gap, GapCause, Incoming, Kind, Message, Name, Operation, ReplyTo, Result, Source, Start,
    SubscribeOptions, SubscriptionHealth, SubscriptionState,
};
use tokio::sync::watch;
use tokio::task::coop;
use tokio::time::{Instant, timeout};

use crate::connection::{Handle, locked};
use crate::error::{refuse, unknown};
use crate::link::{LOST, Link, Outgoing};
use crate::message::{self, NUMBER, Raw};

/// Publishers whose numbers one subscription follows at most.
const PUBLISHERS: usize = 1024;

/// How long making one subscription may take before it is tried on the next connection.
const WITHIN: std::time::Duration = std::time::Duration::from_secs(5);

/// One subscription: a bounded buffer that loses its oldest and knows how many.
pub(crate) struct Subscription {
    handle: Arc<Handle>,
    topic: Name,
    label: String,
    limit: usize,
    inner: Mutex<Inner>,
    /// Whether it receives; nobody waits for it any more once it was live.
    live: watch::Sender<bool>,
    stopped: watch::Sender<bool>,
    arrived: AtomicU64,
}

#[derive(Default)]
struct Inner {
    buffer: VecDeque<Arrival<Message>>,
    /// Dropped here since the last gap that was shown.
    dropped: u64,
    /// What comes next of each publisher.
    numbers: HashMap<String, u64>,
    waker: Option<Waker>,
    end: Option<End>,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("topic", &self.topic)
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

impl Handle {
    pub(crate) async fn subscribe(
        self: &Arc<Self>,
        topic: &Name,
        options: SubscribeOptions,
    ) -> Result<Incoming<Message>> {
        self.takes_in(Operation::Subscribe)?;
        if options.buffer == 0 {
            return Err(refuse(Kind::InvalidOption, Operation::Subscribe, topic)
                .with_detail("buffer must be at least 1"));
        }
        let subscription = Arc::new(Subscription {
            handle: self.clone(),
            topic: topic.clone(),
            label: options.label,
            limit: options.buffer as usize,
            inner: Mutex::default(),
            live: watch::Sender::new(false),
            stopped: watch::Sender::new(false),
            arrived: AtomicU64::new(0),
        });
        self.start();
        self.add_subscription(&subscription);
        tokio::spawn(receive(subscription.clone()));
        let messages = Messages { subscription };
        if let Start::Live(within) = options.start {
            let mut live = messages.subscription.live.subscribe();
            if timeout(within, live.wait_for(|live| *live)).await.is_err() {
                self.takes_in(Operation::Subscribe)?;
                return Err(self.why_down(Operation::Subscribe).with_target(topic));
            }
        }
        Ok(Incoming::new(messages))
    }

    fn add_subscription(&self, subscription: &Arc<Subscription>) {
        locked(&self.subscriptions).push(subscription.clone());
        self.health.notify_waiters();
        if self.takes_in(Operation::Subscribe).is_err() {
            subscription.leave(End::Drained);
        }
    }

    fn remove_subscription(&self, subscription: &Arc<Subscription>) {
        locked(&self.subscriptions).retain(|other| !Arc::ptr_eq(other, subscription));
        self.health.notify_waiters();
    }
}

/// Subscribes on each connection, and takes what comes out of the library's buffer into ours.
async fn receive(subscription: Arc<Subscription>) {
    let mut stopped = subscription.stopped.subscribe();
    let mut links = subscription.handle.link.subscribe();
    let mut before = false;
    loop {
        let link = tokio::select! {
            found = links.wait_for(Option::is_some) => found.ok().and_then(|link| link.clone()),
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        let Some(link) = link else { return };
        if std::mem::replace(&mut before, true) {
            subscription.outage();
        }
        let run = run(&subscription, &link);
        tokio::select! {
            ran = run => {
                if let Err(error) = ran {
                    tracing::debug!(%error, topic = %subscription.topic, "a subscription was lost");
                }
            }
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
        subscription.live.send_replace(false);
        subscription.handle.health.notify_waiters();
        // This connection is over, or does not subscribe: the next one will.
        let over = async {
            links.wait_for(|now| !now.as_ref().is_some_and(|now| Arc::ptr_eq(now, &link))).await.is_ok()
        };
        if timeout(WITHIN, over).await.is_ok_and(|ok| !ok) {
            return;
        }
    }
}

/// Receives on one connection until it is lost.
async fn run(subscription: &Arc<Subscription>, link: &Arc<Link>) -> Result<()> {
    let names = &subscription.handle.names;
    let lost = |_| unknown(Operation::Subscribe, LOST);
    let client = &link.client;
    let mut here = client.subscribe(names.listen_subject(&subscription.topic)).await.map_err(lost)?;
    let mut messages = client.subscribe(names.topic_subject(&subscription.topic)).await.map_err(lost)?;
    link.round_trip(Operation::Subscribe, Instant::now() + WITHIN).await?;
    subscription.live.send_replace(true);
    subscription.handle.health.notify_waiters();
    loop {
        tokio::select! {
            message = messages.next() => match message {
                Some(message) => subscription.arrive(message),
                None => return Ok(()),
            },
            asked = here.next() => match asked {
                Some(asked) => say_here(link, asked).await,
                None => return Ok(()),
            },
        }
    }
}

/// Answers whoever asks whether anybody is here.
pub(crate) async fn say_here(link: &Link, asked: async_nats::Message) {
    let Some(reply) = asked.reply else { return };
    let answer = Outgoing::new(reply.to_string(), "");
    // If that fails the asker has its bound.
    let _ = link.send(answer, None, Instant::now() + WITHIN).await;
}

/// The next question on a subscription; never, without one.
pub(crate) async fn next_of(subscriber: &mut Option<Subscriber>) -> Option<async_nats::Message> {
    match subscriber {
        Some(subscriber) => subscriber.next().await,
        None => std::future::pending().await,
    }
}

impl Subscription {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was published while there was no connection is gone, and nobody counted it.
    fn outage(&self) {
        let mut inner = self.inner();
        inner.numbers.clear();
        self.push(&mut inner, Arrival::Gap(Gap { missed: None, cause: GapCause::Outage }));
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn arrive(&self, message: async_nats::Message) {
        let number = message.headers.as_ref().and_then(|headers| headers.get(NUMBER));
        let number = number.and_then(|number| {
            let (publisher, number) = number.as_str().split_once('.')?;
            Some((publisher.to_owned(), number.parse::<u64>().ok()?))
        });
        let read = read(message, &self.handle.instance);
        let mut inner = self.inner();
        if inner.end.is_some() {
            return;
        }
        let skipped = number.map_or(0, |(publisher, number)| inner.skipped(publisher, number));
        if skipped > 0 {
            self.missed(skipped);
            self.push(&mut inner, Arrival::Gap(Gap { missed: Some(skipped), cause: GapCause::Network }));
        }
        match read {
            Ok(message) => self.push(&mut inner, Arrival::Item(message)),
            // There is nobody to give it back to: it is counted, and shows.
            Err(why) => {
                tracing::debug!(topic = %self.topic, why, "a message could not be read");
                self.missed(1);
                self.push(&mut inner, Arrival::Gap(Gap { missed: Some(1), cause: GapCause::Network }));
            }
        }
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn missed(&self, count: u64) {
        self.handle.missed.fetch_add(count, Ordering::Relaxed);
    }

    /// At the bound the oldest goes: this reader sees a gap, nobody else notices.
    fn push(&self, inner: &mut Inner, arrival: Arrival<Message>) {
        if inner.buffer.len() >= self.limit {
            match inner.buffer.pop_front() {
                Some(Arrival::Item(_)) => {
                    inner.dropped += 1;
                    self.missed(1);
                }
                Some(Arrival::Gap(gap)) => inner.dropped += gap.missed.unwrap_or(0),
                None => {}
            }
        }
        inner.buffer.push_back(arrival);
    }

    /// Ends the stream after what is in its buffer.
    pub(crate) fn leave(&self, end: End) {
        self.stopped.send_replace(true);
        let mut inner = self.inner();
        inner.end.get_or_insert(end);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn next(&self, context: &Context<'_>) -> Poll<Result<Arrival<Message>, End>> {
        let mut inner = self.inner();
        if inner.dropped > 0 {
            let missed = Some(std::mem::take(&mut inner.dropped));
            return Poll::Ready(Ok(Arrival::Gap(Gap { missed, cause: GapCause::SlowReader })));
        }
        if let Some(arrival) = inner.buffer.pop_front() {
            if matches!(arrival, Arrival::Item(_)) {
                self.arrived.fetch_add(1, Ordering::Relaxed);
            }
            return Poll::Ready(Ok(arrival));
        }
        if let Some(end) = &inner.end {
            return Poll::Ready(Err(end.clone()));
        }
        inner.waker = Some(context.waker().clone());
        Poll::Pending
    }

    pub(crate) fn health(&self) -> SubscriptionHealth {
        let live = *self.live.borrow();
        let state = if live {
            SubscriptionState::Live
        } else {
            SubscriptionState::Down(self.handle.down_for().unwrap_or_default())
        };
        SubscriptionHealth {
            intake: format!("topic {}", self.topic),
            label: self.label.clone(),
            state,
            in_hand: 0,
            arrived: self.arrived.load(Ordering::Relaxed),
        }
    }
}

impl Inner {
    /// How many of a publisher's messages are missing in front of this one.
    fn skipped(&mut self, publisher: String, number: u64) -> u64 {
        if self.numbers.len() >= PUBLISHERS && !self.numbers.contains_key(&publisher) {
            // Who publishes on is followed again from its next message.
            self.numbers.clear();
        }
        let next = self.numbers.insert(publisher, number.saturating_add(1));
        next.map_or(0, |next| number.saturating_sub(next))
    }
}

fn read(message: async_nats::Message, instance: &Arc<str>) -> Result<Message, String> {
    let ours = message.headers.is_some();
    let raw = Raw { headers: message.headers, body: message.payload, made_up: None };
    let read = message::decode(&raw, instance)?;
    match message.reply {
        // A plain request of a program that knows nothing of Polybus. With headers of ours the reply subject is where
        // the stream acknowledges.
        Some(reply) if !ours && read.reply_to().is_none() => {
            Ok(read.with_reply_to(ReplyTo::new(instance.clone(), reply.as_str())))
        }
        _ => Ok(read),
    }
}

/// The stream of a subscription.
#[derive(Debug)]
struct Messages {
    subscription: Arc<Subscription>,
}

impl Source<Message> for Messages {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Arrival<Message>, End>> {
        let progress = ready!(coop::poll_proceed(context));
        let next = self.subscription.next(context);
        if next.is_ready() {
            progress.made_progress();
        }
        next
    }

    fn stop(&mut self) {
        self.subscription.leave(End::Stopped);
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.subscription.leave(End::Stopped);
        self.subscription.handle.remove_subscription(&self.subscription);
    }
}
