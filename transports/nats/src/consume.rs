//! Consuming from queues, dead letters and groups.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use polybus_contract::{
    Arrival, ConsumeOptions, Delivery, End, Incoming, Intake, Kind, LeaseTerms, Message, Name, Operation,
    Result, Source, Start, SubscriptionHealth, SubscriptionState,
};
use tokio::sync::{Notify, watch};
use tokio::task::coop;
use tokio::time::{Instant, timeout};

use crate::connection::Handle;
use crate::error::{closed, refuse};
use crate::link::Link;
use crate::names::Source as Named;
use crate::pull;
use crate::settle::{Held, nak, word};
use crate::stall::Watch;
use crate::topology::Settings;

/// One consumer, seen from the bus, from its stream and from its deliveries.
pub(crate) struct Reader {
    pub(crate) handle: Arc<Handle>,
    pub(crate) intake: Intake,
    /// What its deliveries say: the queue, or the topic of the group.
    pub(crate) queue: Name,
    pub(crate) label: String,
    pub(crate) named: Named,
    /// In front of the numbers of pull requests.
    pub(crate) inbox: String,
    /// The lease that was asked for.
    pub(crate) wanted: Option<Duration>,
    pub(crate) settings: OnceLock<Settings>,
    pub(crate) inner: Mutex<Inner>,
    pub(crate) state: watch::Sender<State>,
    pub(crate) stopped: watch::Sender<bool>,
    /// A request could not be handed over at once.
    pub(crate) kick: Notify,
    /// Its stream was dropped.
    gone: AtomicBool,
    /// Letters on their way to the dead ones.
    pub(crate) burying: AtomicU32,
    /// A connection was lost while messages were on their way: it may have been lost over one of them.
    pub(crate) suspicious: AtomicBool,
    arrived: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Down,
    Live,
    /// Nothing more is asked for.
    Ended,
    /// And what nobody has seen was given back.
    Left,
}

pub(crate) struct Inner {
    /// Handed out by the server, not yet seen by anyone.
    pub(crate) buffer: VecDeque<Ready>,
    pub(crate) credit: u32,
    /// In the hands of the program.
    pub(crate) in_hand: u32,
    /// Asked for and not here yet.
    pub(crate) asked: u32,
    /// The number of the last request.
    pub(crate) pull: u64,
    pub(crate) link: Option<Arc<Link>>,
    pub(crate) waker: Option<Waker>,
    pub(crate) end: Option<End>,
    /// When the server last gave a sign of life.
    pub(crate) seen: Instant,
    /// Nothing is asked for until then: the server refused to be asked.
    pub(crate) refused_until: Option<Instant>,
    pub(crate) watch: Watch,
    /// Deliveries that may be out: their leases may not be those of the server, and a drain may give up on them.
    pub(crate) watched: Vec<Weak<Held>>,
}

/// A message nobody has seen yet.
pub(crate) struct Ready {
    pub(crate) message: Message,
    pub(crate) held: Arc<Held>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("intake", &self.intake)
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

impl Handle {
    pub(crate) async fn consume(
        self: &Arc<Self>,
        from: &Intake,
        options: ConsumeOptions,
    ) -> Result<Incoming<Delivery>> {
        self.takes_in(Operation::Consume)?;
        if options.credit == 0 || options.lease.is_some_and(|lease| lease.is_zero()) {
            return Err(refuse(Kind::InvalidOption, Operation::Consume, from)
                .with_detail("credit and lease must not be zero"));
        }
        let start = options.start;
        let deliveries = Deliveries { reader: self.attach(from, options) };
        if let Start::Live(within) = start {
            let mut state = deliveries.reader.state.subscribe();
            if timeout(within, state.wait_for(|state| *state != State::Down)).await.is_err() {
                self.takes_in(Operation::Consume)?;
                return Err(self.why_down(Operation::Consume).with_target(from));
            }
            if let Some(End::Failed(error)) = &deliveries.reader.inner().end {
                return Err(error.clone());
            }
        }
        Ok(Incoming::new(deliveries))
    }

    fn attach(self: &Arc<Self>, from: &Intake, options: ConsumeOptions) -> Arc<Reader> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let queue = match from {
            Intake::Queue(name) => name.clone(),
            Intake::Group { topic, .. } => topic.clone(),
        };
        let reader = Arc::new(Reader {
            handle: self.clone(),
            intake: from.clone(),
            queue,
            label: options.label,
            named: self.names.source(from),
            // Two words behind the inbox: not among what is answered there.
            inbox: format!("{}.c{number}", self.waiting.inbox()),
            wanted: options.lease,
            settings: OnceLock::new(),
            inner: Mutex::new(Inner {
                buffer: VecDeque::new(),
                credit: options.credit,
                in_hand: 0,
                asked: 0,
                pull: 0,
                link: None,
                waker: None,
                end: None,
                seen: Instant::now(),
                refused_until: None,
                watch: Watch::new(),
                watched: Vec::new(),
            }),
            state: watch::Sender::new(State::Down),
            stopped: watch::Sender::new(false),
            kick: Notify::new(),
            gone: AtomicBool::new(false),
            burying: AtomicU32::new(0),
            suspicious: AtomicBool::new(false),
            arrived: AtomicU64::new(0),
        });
        self.start();
        self.add_reader(&reader);
        tokio::spawn(pull::work(reader.clone()));
        reader
    }
}

/// The stream of a consumer. All state is in the reader, so a dropped `next` loses nothing.
struct Deliveries {
    reader: Arc<Reader>,
}

impl fmt::Debug for Deliveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reader.fmt(f)
    }
}

impl Source<Delivery> for Deliveries {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Arrival<Delivery>, End>> {
        let progress = ready!(coop::poll_proceed(context));
        let next = self.reader.next(context);
        if next.is_ready() {
            progress.made_progress();
        }
        next
    }

    fn set_credit(&mut self, credit: u32) -> Result<()> {
        self.reader.set_credit(credit)
    }

    fn stop(&mut self) {
        self.reader.leave(End::Stopped);
    }
}

impl Drop for Deliveries {
    fn drop(&mut self) {
        self.reader.leave(End::Stopped);
        self.reader.gone.store(true, Ordering::Release);
        self.reader.handle.remove_reader();
    }
}

impl Reader {
    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(self: &Arc<Self>, context: &Context<'_>) -> Poll<Result<Arrival<Delivery>, End>> {
        let mut lost = Vec::new();
        let mut inner = self.inner();
        // What lay here longer than its lease is someone else's by now. What a message drops may come back for a
        // lock, so it is dropped when none is held; an empty list costs nothing.
        while inner.buffer.front().is_some_and(|ready| ready.held.is_lost()) {
            lost.extend(inner.buffer.pop_front());
        }
        if let Some(ready) = inner.buffer.pop_front() {
            inner.in_hand += 1;
            drop(inner);
            self.ask();
            self.arrived.fetch_add(1, Ordering::Relaxed);
            return Poll::Ready(Ok(Arrival::Item(self.delivery(ready))));
        }
        if let Some(end) = &inner.end {
            return Poll::Ready(Err(end.clone()));
        }
        if !inner.waker.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
            inner.waker = Some(context.waker().clone());
        }
        drop(inner);
        self.ask();
        Poll::Pending
    }

    fn delivery(&self, ready: Ready) -> Delivery {
        let attempt = ready.held.attempt();
        ready.held.take_in_hand();
        Delivery::new(ready.message, self.queue.clone(), attempt, LeaseTerms::Timed(self.lease()), ready.held)
    }

    fn set_credit(&self, credit: u32) -> Result<()> {
        if credit == 0 {
            return Err(refuse(Kind::InvalidOption, Operation::Credit, &self.intake)
                .with_detail("credit must be at least 1"));
        }
        let mut inner = self.inner();
        if inner.end.is_some() {
            return Err(closed(Operation::Credit));
        }
        inner.credit = credit;
        let keep = (credit as usize).saturating_sub(inner.in_hand as usize).min(inner.buffer.len());
        let back = inner.buffer.split_off(keep);
        drop(inner);
        self.return_all(&back);
        self.refill();
        Ok(())
    }

    /// Gives back what nobody has seen.
    pub(crate) async fn give_back(&self) {
        let unseen = std::mem::take(&mut self.inner().buffer);
        if let Some(link) = self.handle.link_now().filter(|_| !unseen.is_empty()) {
            self.tidy(&link).await;
        }
        self.return_all(&unseen);
    }

    /// A server before 2.10 that has only dead requests forgets the message it just took back for one of them, and
    /// hands out the one behind it twice. A look at the consumer makes it drop dead requests.
    pub(crate) async fn tidy(&self, link: &Link) {
        if link.is_old() {
            // What the look finds is not needed, and without it all is as it would have been.
            let _ = link.consumer(&self.named.stream, &self.named.consumer, Operation::Settle).await;
        }
    }

    fn return_all(&self, unseen: &VecDeque<Ready>) {
        if let Some(link) = self.handle.link_now() {
            let after = if self.is_leaving() { self.burst(&link) } else { Duration::ZERO };
            for ready in unseen {
                word(&link, ready.held.ack(), nak(after));
            }
        }
    }

    /// Whether it asks for nothing any more.
    pub(crate) fn is_leaving(&self) -> bool {
        self.inner().end.is_some()
    }

    /// Consumers often go in company, and the look above does not see the requests of those that go a moment later. So what
    /// is given back by one that goes waits until an old server has found all of those requests dead by itself.
    pub(crate) fn burst(&self, link: &Link) -> Duration {
        if link.is_old() { self.heartbeat(link) * 5 / 4 + Duration::from_millis(20) } else { Duration::ZERO }
    }

    /// Waits until everything unseen is on its way back.
    pub(crate) async fn left(&self) {
        let _ = self.state.subscribe().wait_for(|state| *state == State::Left).await;
    }

    /// A delivery is out of the program's hands.
    pub(crate) fn out_of_hand(&self) {
        let mut inner = self.inner();
        inner.in_hand = inner.in_hand.saturating_sub(1);
        drop(inner);
        self.refill();
        self.handle.given_back();
    }

    /// Ends the stream: what nobody has seen goes back, and the rest may be settled. Answers how much goes back.
    pub(crate) fn leave(&self, end: End) -> u64 {
        let mut inner = self.inner();
        let first = inner.end.is_none();
        inner.end.get_or_insert(end);
        let unseen = if first { inner.buffer.len() as u64 } else { 0 };
        let waker = inner.waker.take();
        drop(inner);
        self.state.send_if_modified(|state| {
            let begins = !matches!(state, State::Ended | State::Left);
            if begins {
                *state = State::Ended;
            }
            begins
        });
        self.stopped.send_replace(true);
        if let Some(waker) = waker {
            waker.wake();
        }
        if first {
            self.handle.health.notify_waiters();
        }
        unseen
    }

    /// Gives up on what is in hand: it goes to others at once. Answers how much that was.
    pub(crate) fn abandon(&self) -> u64 {
        let held = self.holds();
        let watched = std::mem::take(&mut self.inner().watched);
        if let Some(link) = self.handle.link_now() {
            watched.iter().filter_map(Weak::upgrade).for_each(|held| held.abandon(&link));
        }
        held
    }

    /// Deliveries in hand, and letters on their way to the dead ones.
    pub(crate) fn holds(&self) -> u64 {
        u64::from(self.inner().in_hand) + u64::from(self.burying.load(Ordering::Acquire))
    }

    /// Whether its stream is gone, nothing unseen has to go back, and none of its deliveries is out.
    pub(crate) fn is_over(&self) -> bool {
        self.gone.load(Ordering::Acquire) && *self.state.borrow() == State::Left && self.holds() == 0
    }

    pub(crate) fn health(&self) -> Option<SubscriptionHealth> {
        let live = *self.state.borrow();
        let inner = self.inner();
        let silent = inner.seen.elapsed();
        let state = match live {
            State::Ended | State::Left => return None,
            State::Down => SubscriptionState::Down(self.handle.down_for().unwrap_or_default()),
            State::Live if inner.asked > 0 && silent > pull::SILENCE => SubscriptionState::Stalled(silent),
            State::Live => Self::stalled(&inner).map_or(SubscriptionState::Live, SubscriptionState::Stalled),
        };
        Some(SubscriptionHealth {
            intake: self.intake.to_string(),
            label: self.label.clone(),
            state,
            in_hand: inner.in_hand,
            arrived: self.arrived.load(Ordering::Relaxed),
        })
    }
}

impl Handle {
    fn remove_reader(&self) {
        crate::connection::locked(&self.readers).retain(|other| !other.is_over());
        self.health.notify_waiters();
    }
}
