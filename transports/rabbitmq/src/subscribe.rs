//! Ephemeral subscriptions of topics: an exclusive queue bound to the exchange, and a bounded buffer here that loses its
//! oldest and knows how many.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer};
use polybus_contract::{
    Arrival, End, Gap, GapCause, Incoming, Message, Name, Operation, Result, Source, Start, SubscribeOptions,
    SubscriptionHealth, SubscriptionState,
};
use tokio::sync::Notify;
use tokio::task::coop;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::connection::{Core, State, count};
use crate::error::{down, kind_of, refuse, text_of};
use crate::header::{known, text};
use crate::message::decode;
use crate::session::{ANSWER, Asked, Session};

/// Messages that are on their way into one buffer at most.
const WINDOW: u16 = 512;

/// The least bound of the queue on the broker: the buffer here is emptied into at once, so it holds peaks only.
const PEAK: u32 = 10_000;

/// Publishers whose numbers are remembered for one subscription.
const PUBLISHERS: usize = 1024;

/// How long to wait before a subscription that the broker ended is begun again.
const AGAIN: Duration = Duration::from_millis(250);

/// One subscription: it lives through reconnects, each time with a queue of its own.
pub(crate) struct Subscription {
    core: Arc<Core>,
    topic: Name,
    label: String,
    limit: usize,
    inner: Mutex<Inner>,
    over: Notify,
    arrived: AtomicU64,
}

struct Inner {
    buffer: VecDeque<Arrival<Message>>,
    missed: u64,
    waker: Option<Waker>,
    end: Option<End>,
    down: Option<Instant>,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("topic", &self.topic)
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

impl Core {
    pub(crate) async fn subscribe(
        self: &Arc<Self>,
        topic: &Name,
        options: SubscribeOptions,
    ) -> Result<Incoming<Message>> {
        self.takes_in(Operation::Subscribe)?;
        let subscription = Arc::new(Subscription {
            core: self.clone(),
            topic: topic.clone(),
            label: options.label,
            limit: options.buffer as usize,
            inner: Mutex::new(Inner {
                buffer: VecDeque::new(),
                missed: 0,
                waker: None,
                end: None,
                down: Some(Instant::now()),
            }),
            over: Notify::new(),
            arrived: AtomicU64::new(0),
        });
        let first = match options.start {
            Start::Live(within) => {
                Some(subscription.begin_within(within).await.map_err(|error| error.with_target(topic))?)
            }
            Start::Eventually => {
                self.supervise();
                None
            }
        };
        self.add_subscription(&subscription);
        tokio::spawn(keep(Arc::downgrade(&subscription), first, self.watch_state()));
        if self.is_draining() {
            subscription.leave(End::Drained);
        }
        Ok(Incoming::new(Messages { subscription }))
    }
}

/// One queue and its consumer.
struct Line {
    session: Arc<Session>,
    channel: Channel,
    consumer: Consumer,
}

impl Subscription {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn begin_within(&self, within: Duration) -> Result<Line> {
        let until = Instant::now() + within;
        loop {
            let session = self.core.session(until, Operation::Subscribe).await?;
            let begun = timeout_at(until, self.begin(&session)).await;
            match begun.map_err(|_| down(Operation::Subscribe, "the broker did not answer in time"))? {
                Err(error)
                    if error.kind() == polybus_contract::Kind::Disconnected && Instant::now() < until =>
                {
                    sleep(Duration::from_millis(20)).await;
                }
                other => return other,
            }
        }
    }

    /// Live when this returns: bound and consumed.
    async fn begin(&self, session: &Arc<Session>) -> Result<Line> {
        self.core.see_to_topic(session, &self.topic).await?;
        let bound = u32::try_from(self.limit).unwrap_or(u32::MAX).max(PEAK);
        let queue =
            private_queue(session, Some(bound)).await.map_err(|error| error.with_target(&self.topic))?;
        let wire = self.core.wire(self.topic.as_str());
        if let Err(refused) = bind_private(session, &queue, &wire).await {
            self.core.forget_topic(&self.topic);
            return Err(refused.of(Operation::Subscribe, &self.topic));
        }
        let channel = listening_channel(session).await?;
        let consume = channel.basic_consume(
            known(&queue),
            known(""),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let consumer = timeout(ANSWER, consume)
            .await
            .map_err(|_| down(Operation::Subscribe, "the broker did not answer in time"))?
            .map_err(|error| {
                refuse(kind_of(&error), Operation::Subscribe, &self.topic).with_detail(text_of(&error))
            })?;
        self.inner().down = None;
        self.core.changed.notify_waiters();
        Ok(Line { session: session.clone(), channel, consumer })
    }

    fn push(&self, arrival: Arrival<Message>) {
        let mut inner = self.inner();
        if inner.end.is_some() {
            return;
        }
        if inner.buffer.len() >= self.limit {
            match inner.buffer.pop_front() {
                Some(Arrival::Item(_)) => {
                    inner.missed += 1;
                    count(&self.core.counts.missed, 1);
                }
                Some(Arrival::Gap(gap)) => inner.missed += gap.missed.unwrap_or(0),
                None => {}
            }
        }
        inner.buffer.push_back(arrival);
        let waker = inner.waker.take();
        drop(inner);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Ends the stream after what is in its buffer.
    pub(crate) fn leave(&self, end: End) {
        let mut inner = self.inner();
        inner.end.get_or_insert(end);
        let waker = inner.waker.take();
        drop(inner);
        waker.into_iter().for_each(Waker::wake);
        self.over.notify_one();
        self.core.changed.notify_waiters();
    }

    fn next(&self, context: &Context<'_>) -> Poll<Result<Arrival<Message>, End>> {
        let mut inner = self.inner();
        if inner.missed > 0 {
            let missed = Some(std::mem::take(&mut inner.missed));
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

    pub(crate) fn health(&self) -> Option<SubscriptionHealth> {
        let inner = self.inner();
        if inner.end.is_some() {
            return None;
        }
        let state =
            inner.down.map_or(SubscriptionState::Live, |since| SubscriptionState::Down(since.elapsed()));
        Some(SubscriptionHealth {
            intake: format!("topic {}", self.topic),
            label: self.label.clone(),
            state,
            in_hand: 0,
            arrived: self.arrived.load(Ordering::Relaxed),
        })
    }

    fn is_over(&self) -> bool {
        self.inner().end.is_some()
    }

    /// One message from the wire, and what its number says of those before it.
    fn took(&self, delivery: lapin::message::Delivery, numbers: &mut Numbers) {
        let decoded = decode(&delivery.properties, &Bytes::from(delivery.data), &self.core.instance);
        if let Some((publisher, number)) = decoded.way.numbered {
            let missed = numbers.missed(&publisher, number);
            if missed > 0 {
                count(&self.core.counts.missed, missed);
                self.push(Arrival::Gap(Gap { missed: Some(missed), cause: GapCause::Network }));
            }
        }
        self.push(Arrival::Item(decoded.message));
    }
}

/// The last number of each publisher that was seen.
#[derive(Debug, Default)]
struct Numbers(HashMap<String, u64>);

impl Numbers {
    /// How many messages of this publisher are missing before this one. The first one that is seen tells nothing.
    fn missed(&mut self, publisher: &str, number: u64) -> u64 {
        if let Some(last) = self.0.get_mut(publisher) {
            let missed = number.saturating_sub(*last + 1);
            *last = number.max(*last);
            return missed;
        }
        if self.0.len() >= PUBLISHERS {
            // Forgetting costs no more than a gap that is not seen.
            self.0.clear();
        }
        self.0.insert(publisher.to_owned(), number);
        0
    }
}

async fn bind_private(session: &Session, queue: &str, exchange: &str) -> Asked<()> {
    let (queue, exchange) = (known(queue), known(exchange));
    let bind = async move |channel: Channel| {
        channel
            .queue_bind(queue, exchange, known(""), QueueBindOptions::default(), FieldTable::default())
            .await
    };
    session.ask_private(Operation::Subscribe, bind).await
}

/// A queue that ends with its connection, named by the broker.
pub(crate) async fn private_queue(session: &Session, bound: Option<u32>) -> Result<String> {
    let options =
        QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    let mut arguments = FieldTable::default();
    if let Some(bound) = bound {
        arguments.insert(known("x-max-length"), AMQPValue::LongLongInt(bound.into()));
        arguments.insert(known("x-overflow"), text("drop-head"));
    }
    let made = session
        .ask_private(Operation::Declare, async move |channel| {
            channel.queue_declare(known(""), options, arguments).await
        })
        .await;
    made.map(|queue| queue.name().to_string())
        .map_err(|refused| refused.of(Operation::Declare, "a private queue"))
}

/// The subscriptions of a session share one channel: the broker allows about two thousand.
async fn listening_channel(session: &Session) -> Result<Channel> {
    let mut listening = session.listening.lock().await;
    if let Some(channel) = listening.as_ref().filter(|channel| channel.status().connected()) {
        return Ok(channel.clone());
    }
    let channel = session.consumer_channel().await?;
    timeout(ANSWER, channel.basic_qos(WINDOW, BasicQosOptions::default()))
        .await
        .map_err(|_| down(Operation::Subscribe, "the broker did not answer in time"))?
        .map_err(|error| crate::error::of_broker(&error, Operation::Subscribe))?;
    *listening = Some(channel.clone());
    Ok(channel)
}

/// Keeps the subscription live until it is over.
async fn keep(
    subscription: Weak<Subscription>,
    mut line: Option<Line>,
    mut state: tokio::sync::watch::Receiver<State>,
) {
    let mut was_live = line.is_some();
    loop {
        let Some(strong) = subscription.upgrade().filter(|subscription| !subscription.is_over()) else {
            return;
        };
        if let Some(line) = line.take() {
            listen(&strong, line).await;
            if strong.is_over() {
                return;
            }
            strong.inner().down = Some(Instant::now());
            strong.core.changed.notify_waiters();
        }
        let session = match &*state.borrow_and_update() {
            State::Up(session) if session.lost().is_none() => Some(session.clone()),
            State::Closed => return,
            _ => None,
        };
        let Some(session) = session else {
            drop(strong);
            let _ = timeout(AGAIN, state.changed()).await;
            continue;
        };
        match strong.begin(&session).await {
            Ok(begun) => {
                line = Some(begun);
                if std::mem::replace(&mut was_live, true) {
                    strong.push(Arrival::Gap(Gap { missed: None, cause: GapCause::Outage }));
                }
            }
            Err(error) => {
                tracing::warn!(topic = %strong.topic, %error, "cannot subscribe; trying again");
                drop(strong);
                sleep(AGAIN).await;
            }
        }
    }
}

/// Fills the buffer until the line ends or the subscription is over. Acks bound what is on its way; one by one, since
/// the channel is shared and an ack of many would take in those of others.
async fn listen(subscription: &Subscription, mut line: Line) {
    let mut numbers = Numbers::default();
    loop {
        let next = tokio::select! {
            next = line.consumer.next() => next,
            () = subscription.over.notified() => return cancel(&line).await,
            _ = line.session.when_lost() => return,
        };
        let Some(Ok(delivery)) = next else { return };
        let acked = line.channel.basic_ack(delivery.delivery_tag, BasicAckOptions::default()).now_or_never();
        subscription.took(delivery, &mut numbers);
        if acked.is_some_and(|acked| acked.is_err()) {
            return;
        }
    }
}

/// The queue goes with its consumer.
async fn cancel(line: &Line) {
    let _ =
        timeout(ANSWER, line.channel.basic_cancel(line.consumer.tag(), BasicCancelOptions::default())).await;
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f5_numbers_show_what_is_missing_and_nothing_else() {
        let mut numbers = Numbers::default();
        let missed: Vec<_> =
            [7, 8, 11, 9, 10, 12].into_iter().map(|number| numbers.missed("a", number)).collect();
        assert_eq!(missed, [0, 0, 2, 0, 0, 0]);
        assert_eq!(numbers.missed("b", 40), 0);
        assert_eq!(numbers.missed("b", u64::MAX), u64::MAX - 41);
    }
}
