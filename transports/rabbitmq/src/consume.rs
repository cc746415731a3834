//! Consuming from queues, dead letters and groups.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt};
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use polybus_contract::{
    Arrival, ConsumeOptions, Delivery, End, Error, Feature, Incoming, Intake, Kind, LeaseTerms, Name,
    Operation, Result, Source, Start, SubscriptionHealth, SubscriptionState, UnixMillis,
};
use tokio::sync::Notify;
use tokio::task::coop;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::connection::{Core, State};
use crate::dropped::{Missed, Tally};
use crate::error::{kind_of, refuse, text_of};
use crate::header::known;
use crate::message::{Raw, decode};
use crate::session::{ANSWER, Session};
use crate::settle::{Held, Internal};

/// How long to wait before a consumer that the broker ended is begun again.
const AGAIN: Duration = Duration::from_millis(250);

/// One consumer: it lives through reconnects, each time with a channel of its own.
pub(crate) struct Reader {
    pub(crate) core: Arc<Core>,
    /// The queue's name on the broker.
    pub(crate) wire: String,
    /// What its deliveries say: the queue, or the topic of the group.
    pub(crate) queue: Name,
    pub(crate) intake: String,
    label: String,
    pub(crate) credit: u16,
    /// The dead are looked at and never die again.
    pub(crate) dead: bool,
    of_group: bool,
    inner: Mutex<Inner>,
    broken: Notify,
    /// The session in which it was live last.
    generation: AtomicU64,
    /// Its stream was dropped.
    gone: AtomicBool,
    held: AtomicU32,
    arrived: AtomicU64,
    /// Deliveries that came, those that nobody sees among them.
    pub(crate) came: AtomicU64,
}

/// One channel and the deliveries that came over it.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) channel: Channel,
    pub(crate) session: Weak<Session>,
}

impl Line {
    /// Whether what came over it can still be settled.
    pub(crate) fn is_whole(&self) -> bool {
        self.channel.status().connected()
            && self.session.upgrade().is_some_and(|session| session.lost().is_none())
    }
}

pub(crate) struct Inner {
    line: Option<(Arc<Line>, Consumer)>,
    waker: Option<Waker>,
    stopping: bool,
    end: Option<End>,
    /// Since when it is not live.
    down: Option<Instant>,
    /// Since when nothing comes though it should.
    stalled: Option<Instant>,
    /// Whether somebody waits for the next delivery.
    awaited: bool,
    /// What fell out of the queue.
    missed: Missed,
    tally: Option<Tally>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("intake", &self.intake)
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

impl Core {
    pub(crate) async fn consume(
        self: &Arc<Self>,
        from: &Intake,
        options: ConsumeOptions,
    ) -> Result<Incoming<Delivery>> {
        self.takes_in(Operation::Consume)?;
        let reader = Arc::new(Reader::new(self, from, &options));
        match options.start {
            Start::Live(within) => {
                let until = Instant::now() + within;
                let begun = timeout_at(until, reader.begin_somewhere(until)).await;
                begun
                    .map_err(|_| crate::error::down(Operation::Consume, "the broker did not answer in time"))
                    .flatten()
                    .map_err(|error| error.with_target(from))?;
            }
            Start::Eventually => self.supervise(),
        }
        self.add_reader(&reader);
        tokio::spawn(keep(reader.clone(), self.watch_state()));
        if self.is_draining() {
            reader.leave(End::Drained, Instant::now() + ANSWER).await;
        }
        Ok(Incoming::new(Deliveries { reader }))
    }

    /// The name on the broker, what deliveries say they came from, and whether those are dead letters.
    pub(crate) fn place_of(&self, intake: &Intake) -> (String, Name, bool) {
        match intake {
            Intake::Queue(name) => {
                let living = name.living();
                (self.wire(name.as_str()), living.clone().unwrap_or_else(|| name.clone()), living.is_some())
            }
            Intake::Group { topic, group } => (self.wire(&format!("{topic}@{group}")), topic.clone(), false),
        }
    }
}

impl Reader {
    fn new(core: &Arc<Core>, from: &Intake, options: &ConsumeOptions) -> Self {
        let (wire, queue, dead) = core.place_of(from);
        let queue = match from {
            Intake::Queue(name) => name.clone(),
            Intake::Group { .. } => queue,
        };
        Self {
            core: core.clone(),
            wire,
            queue,
            intake: from.to_string(),
            label: options.label.clone(),
            credit: u16::try_from(options.credit).unwrap_or(u16::MAX),
            dead,
            of_group: matches!(from, Intake::Group { .. }),
            inner: Mutex::new(Inner {
                line: None,
                waker: None,
                stopping: false,
                end: None,
                down: Some(Instant::now()),
                stalled: None,
                awaited: false,
                missed: Missed::default(),
                tally: None,
            }),
            broken: Notify::new(),
            generation: AtomicU64::new(0),
            gone: AtomicBool::new(false),
            held: AtomicU32::new(0),
            arrived: AtomicU64::new(0),
            came: AtomicU64::new(0),
        }
    }

    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins on the session that is there, or comes in time.
    async fn begin_somewhere(self: &Arc<Self>, until: Instant) -> Result<()> {
        loop {
            let session = self.core.session(until, Operation::Consume).await?;
            match self.begin(&session).await {
                Err(error) if error.kind() == Kind::Disconnected && Instant::now() < until => {
                    sleep(Duration::from_millis(20)).await;
                }
                other => return other,
            }
        }
    }

    async fn begin(self: &Arc<Self>, session: &Arc<Session>) -> Result<()> {
        if !self.dead {
            self.core.learn(session, &self.wire).await?;
        }
        let channel = session.consumer_channel().await?;
        let consuming = async {
            channel.basic_qos(self.credit, BasicQosOptions::default()).await?;
            let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
            channel.basic_consume(known(&self.wire), known(""), options, arguments).await
        };
        let consumer = timeout(ANSWER, consuming).await;
        let consumer = consumer
            .map_err(|_| crate::error::down(Operation::Consume, "the broker did not answer in time"))?
            .map_err(|error| {
                refuse(kind_of(&error), Operation::Consume, &self.intake).with_detail(text_of(&error))
            })?;
        let line = Arc::new(Line { channel, session: Arc::downgrade(session) });
        let tally = self.tally(session).await?;
        let mut inner = self.inner();
        if inner.end.is_some() || inner.stopping {
            return Ok(());
        }
        self.generation.store(session.generation, Ordering::Relaxed);
        inner.line = Some((line, consumer));
        inner.tally = tally;
        (inner.down, inner.stalled) = (None, None);
        let waker = inner.waker.take();
        drop(inner);
        waker.into_iter().for_each(Waker::wake);
        self.core.changed.notify_waiters();
        Ok(())
    }

    fn poll_next(self: &Arc<Self>, context: &mut Context<'_>) -> Poll<Result<Arrival<Delivery>, End>> {
        loop {
            let mut inner = self.inner();
            if let Some(gap) = inner.missed.take() {
                return Poll::Ready(Ok(Arrival::Gap(gap)));
            }
            if let (None, Some(end)) = (&inner.line, &inner.end) {
                return Poll::Ready(Err(end.clone()));
            }
            let next = match &mut inner.line {
                Some((_, consumer)) => Pin::new(consumer).poll_next(context),
                None => Poll::Pending,
            };
            match next {
                Poll::Ready(Some(Ok(delivery))) => {
                    let Some((line, _)) = &inner.line else { continue };
                    let line = line.clone();
                    inner.awaited = false;
                    self.flows(inner);
                    if let Some(delivery) = self.take(delivery, line) {
                        return Poll::Ready(Ok(Arrival::Item(delivery)));
                    }
                }
                Poll::Ready(_) => self.ended(&mut inner),
                Poll::Pending => {
                    inner.awaited = true;
                    if !inner.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                        inner.waker = Some(context.waker().clone());
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// The consumer ended: as it was asked to, or it has to be begun again.
    fn ended(&self, inner: &mut Inner) {
        (inner.line, inner.tally) = (None, None);
        if inner.stopping {
            inner.end.get_or_insert(End::Stopped);
            return;
        }
        inner.down.get_or_insert_with(Instant::now);
        self.broken.notify_one();
    }

    /// A delivery for the handler; `None` for one that is dealt with here.
    fn take(self: &Arc<Self>, delivery: lapin::message::Delivery, line: Arc<Line>) -> Option<Delivery> {
        let lapin::message::Delivery { delivery_tag, redelivered, properties, data, .. } = delivery;
        let body = Bytes::from(data);
        let decoded = decode(&properties, &body, &self.core.instance);
        let mut message = decoded.message;
        let way = decoded.way;
        let attempt = way.attempt_now(redelivered);
        if self.dead
            && let Some(living) = self.queue.living()
            && let Some(death) = way.death(&living)
        {
            message = message.with_death(death);
        }
        self.came.fetch_add(1, Ordering::Relaxed);
        let uncounted = redelivered && way.delivery_count.is_none();
        let internal = self.internal(&message, attempt, uncounted, way.due);
        self.held.fetch_add(1, Ordering::AcqRel);
        let first = way.first.unwrap_or_else(UnixMillis::now);
        let raw = Raw { properties, body };
        let hold = Arc::new(Held::new(self.clone(), line, delivery_tag, raw, attempt, first, way.error));
        if let Some(internal) = internal {
            hold.settle_internally(internal);
            return None;
        }
        self.arrived.fetch_add(1, Ordering::Relaxed);
        Some(Delivery::new(message, self.queue.clone(), attempt, LeaseTerms::Connection, hold))
    }

    /// What nobody is to see: spent, expired, too early, or handed out before on a queue that does not count.
    fn internal(
        &self,
        message: &polybus_contract::Message,
        attempt: u32,
        uncounted: bool,
        due: Option<UnixMillis>,
    ) -> Option<Internal> {
        if self.dead {
            return None;
        }
        let rules = self.core.rules(&self.wire);
        let now = UnixMillis::now();
        if let Some(due) = due.filter(|due| *due > now) {
            return Some(Internal::Wait(due.left(now)));
        }
        // A request is worth nothing once its caller has stopped waiting.
        let deadline = message.deadline().filter(|_| message.reply_to().is_some());
        if message.expires().into_iter().chain(deadline).any(|at| *at <= now) {
            return Some(Internal::Expired { keep: rules.keep_expired });
        }
        if attempt > rules.max_attempts {
            return Some(Internal::Spent);
        }
        uncounted.then_some(Internal::Count)
    }

    /// Out of somebody's hands.
    pub(crate) fn given_back(&self) {
        self.held.fetch_sub(1, Ordering::AcqRel);
        if self.core.is_draining() {
            self.core.idle.notify_waiters();
        }
    }

    pub(crate) fn in_hand(&self) -> u64 {
        self.held.load(Ordering::Acquire).into()
    }

    /// Ends the stream: nothing new comes, what nobody has seen goes back. Says how many that were.
    pub(crate) async fn leave(self: &Arc<Self>, end: End, until: Instant) -> u64 {
        let line = {
            let mut inner = self.inner();
            inner.stopping = true;
            inner.end.get_or_insert(end);
            let line = inner.line.take();
            inner.tally = None;
            inner.waker.take().into_iter().for_each(Waker::wake);
            line
        };
        self.broken.notify_one();
        self.core.changed.notify_waiters();
        let Some((line, consumer)) = line else { return 0 };
        give_back(&line.channel, consumer, until).await
    }

    pub(crate) fn health(&self) -> Option<SubscriptionHealth> {
        let inner = self.inner();
        if inner.end.is_some() || self.gone.load(Ordering::Acquire) {
            return None;
        }
        let state = match (inner.down, inner.stalled) {
            (Some(since), _) => SubscriptionState::Down(since.elapsed()),
            (None, Some(since)) => SubscriptionState::Stalled(since.elapsed()),
            (None, None) => SubscriptionState::Live,
        };
        Some(SubscriptionHealth {
            intake: self.intake.clone(),
            label: self.label.clone(),
            state,
            in_hand: self.held.load(Ordering::Acquire),
            arrived: self.arrived.load(Ordering::Relaxed),
        })
    }

    fn fail(&self, error: Error) {
        let mut inner = self.inner();
        inner.end.get_or_insert(End::Failed(error));
        (inner.line, inner.tally) = (None, None);
        inner.waker.take().into_iter().for_each(Waker::wake);
        drop(inner);
        self.core.changed.notify_waiters();
    }

    fn is_over(&self) -> bool {
        let inner = self.inner();
        inner.end.is_some() || inner.stopping
    }

    fn is_live(&self) -> bool {
        self.inner().line.is_some()
    }

    /// Returns when the consumer has ended, or its connection is lost, which may be long before anybody polls.
    async fn until_broken(&self) {
        let line = self.inner().line.as_ref().map(|(line, _)| Arc::downgrade(line));
        let session = line.as_ref().and_then(Weak::upgrade).and_then(|line| line.session.upgrade());
        let (Some(line), Some(session)) = (line, session) else { return self.cut_off() };
        tokio::select! {
            () = self.broken.notified() => {}
            _ = session.when_lost() => self.cut_off(),
            () = self.watch(&session, &line) => self.cut_off(),
        }
    }

    /// Whether more could come: there is credit, and somebody takes it, or nobody has taken anything.
    pub(crate) fn has_room(&self) -> bool {
        let held = self.held.load(Ordering::Acquire);
        held == 0 || (self.inner().awaited && held < self.credit.into())
    }

    /// Something came, or nothing waits.
    pub(crate) fn flows(&self, mut inner: MutexGuard<'_, Inner>) {
        let stalled = inner.stalled.take();
        drop(inner);
        if stalled.is_some() {
            tracing::info!(intake = self.intake, "messages come again");
            self.core.changed.notify_waiters();
        }
    }

    /// What fell out of a group is told to its reader.
    pub(crate) fn misses(&self, missed: Missed) {
        if !self.of_group {
            return;
        }
        let mut inner = self.inner();
        inner.missed.add(missed);
        let waker = inner.waker.take();
        drop(inner);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Nothing comes since then, though it should.
    pub(crate) fn stalls(&self, since: Instant, why: &str) {
        let mut inner = self.inner();
        let first = inner.stalled.is_none();
        inner.stalled.get_or_insert(since);
        drop(inner);
        if first {
            tracing::warn!(intake = self.intake, why, "the consumer is stalled");
            self.core.changed.notify_waiters();
        }
    }

    /// What it had fetched belongs to others by now.
    fn cut_off(&self) {
        let mut inner = self.inner();
        let line = inner.line.take();
        inner.tally = None;
        inner.down.get_or_insert_with(Instant::now);
        inner.stalled = None;
        if inner.stopping {
            inner.end.get_or_insert(End::Stopped);
        }
        inner.waker.take().into_iter().for_each(Waker::wake);
        drop(inner);
        drop(line);
        self.core.changed.notify_waiters();
    }
}

/// Cancels a consumer and gives back what it had fetched and nobody has seen.
async fn give_back(channel: &Channel, mut consumer: Consumer, until: Instant) -> u64 {
    if !channel.status().connected() {
        return 0;
    }
    let bound = until.max(Instant::now() + Duration::from_millis(500));
    let _ = timeout_at(bound, channel.basic_cancel(consumer.tag(), BasicCancelOptions::default())).await;
    let mut returned = 0;
    while let Some(Some(Ok(delivery))) = consumer.next().now_or_never() {
        let options = BasicNackOptions { multiple: false, requeue: true };
        if timeout_at(bound, channel.basic_nack(delivery.delivery_tag, options))
            .await
            .is_ok_and(|sent| sent.is_ok())
        {
            returned += 1;
        }
    }
    returned
}

/// Begins the consumer again whenever it ended, until it is over.
async fn keep(reader: Arc<Reader>, mut state: tokio::sync::watch::Receiver<State>) {
    while !reader.is_over() {
        if reader.is_live() {
            reader.until_broken().await;
            continue;
        }
        let session = match &*state.borrow_and_update() {
            State::Up(session) if session.lost().is_none() => Some(session.clone()),
            State::Closed => return,
            _ => None,
        };
        let Some(session) = session else {
            let _ = timeout(AGAIN, state.changed()).await;
            continue;
        };
        let before = reader.generation.load(Ordering::Relaxed);
        match reader.begin(&session).await {
            Ok(()) => {}
            // It was there a moment ago: somebody removed it.
            Err(error) if error.kind() == Kind::NotFound && before == session.generation => {
                reader.fail(error);
            }
            Err(error) => {
                tracing::warn!(intake = reader.intake, %error, "cannot consume; trying again");
                sleep(AGAIN).await;
            }
        }
    }
}

/// The stream of a consumer. All state is in the reader, so a dropped `next` loses nothing.
#[derive(Debug)]
struct Deliveries {
    reader: Arc<Reader>,
}

impl Source<Delivery> for Deliveries {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Arrival<Delivery>, End>> {
        let progress = ready!(coop::poll_proceed(context));
        let next = self.reader.poll_next(context);
        if next.is_ready() {
            progress.made_progress();
        }
        next
    }

    fn set_credit(&mut self, _credit: u32) -> Result<()> {
        Err(Error::unsupported(Feature::SetCredit, Operation::Credit, "rabbitmq"))
    }

    fn stop(&mut self) {
        let line = {
            let mut inner = self.reader.inner();
            inner.stopping = true;
            if inner.line.is_none() {
                inner.end.get_or_insert(End::Stopped);
            }
            inner.line.as_ref().map(|(line, consumer)| (line.clone(), consumer.tag()))
        };
        self.reader.broken.notify_one();
        if let Some((line, tag)) = line {
            tokio::spawn(async move {
                let _ = timeout(ANSWER, line.channel.basic_cancel(tag, BasicCancelOptions::default())).await;
            });
        }
    }
}

impl Drop for Deliveries {
    fn drop(&mut self) {
        self.reader.gone.store(true, Ordering::Release);
        let reader = self.reader.clone();
        // Outside of a runtime there is nobody left to tell.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { reader.leave(End::Stopped, Instant::now() + ANSWER).await });
        }
    }
}
