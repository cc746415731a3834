//! What all handles of one bus share: the engine behind a lock, who waits for it, and one timer.
//!
//! Everything happens under the lock and is short; nobody is woken and no delivery is dropped under it, because
//! both may come back for the lock.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use polybus_contract::{Message, Name, Profile, UnixMillis};
use polybus_queue::journal::Log;
use polybus_queue::{Engine, Now, QueueId};
use rustc_hash::FxHashMap;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::codec::Messages;
use crate::config::Config;
use crate::consume::Reader;
use crate::journal::{BusLog, Store};
use crate::parts::Parts;
use crate::request::Call;
use crate::subscribe::TopicSide;

/// A reader that was woken and does something else first must not keep a message from its idle neighbours: after
/// this long all of them are woken.
const SECOND_CALL: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(crate) struct Bus {
    pub(crate) config: Config,
    pub(crate) profile: Profile,
    /// Where it keeps its journal; `None`: it keeps none.
    pub(crate) store: Option<Store>,
    /// The parts of large bodies.
    pub(crate) parts: Arc<Parts>,
    start: Instant,
    coarse_start: u64,
    state: Mutex<State>,
    alarm: Arc<Notify>,
    /// Senders wait here for room in any queue, and are counted so that nobody is told in vain.
    pub(crate) room: Notify,
    pub(crate) senders_waiting: AtomicUsize,
    pub(crate) missed: AtomicU64,
    pub(crate) late_replies: AtomicU64,
    /// The newest reading of the clock, in nanoseconds since the start.
    last_reading: AtomicU64,
}

/// Nanoseconds, capped after 584 years.
pub(crate) const fn nanos(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(time.subsec_nanos() as u64)
}

/// The wall clock in Unix milliseconds.
fn unix_ms() -> u64 {
    u64::try_from(UnixMillis::now().0).unwrap_or(0)
}

/// Clocks as of the last tick of the system's timer, 10 ms old at most: a fifth of the cost of a reading.
#[cfg(target_os = "linux")]
mod coarse {
    use rustix::time::{ClockId, clock_gettime};

    fn nanos(clock: ClockId) -> u64 {
        let at = clock_gettime(clock);
        let seconds = u64::try_from(at.tv_sec).unwrap_or(0);
        seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(at.tv_nsec).unwrap_or(0))
    }

    pub(super) fn unix_ms() -> u64 {
        nanos(ClockId::RealtimeCoarse) / 1_000_000
    }

    /// Since some time in the past.
    pub(super) fn steady() -> u64 {
        nanos(ClockId::MonotonicCoarse)
    }
}

#[cfg(not(target_os = "linux"))]
mod coarse {
    pub(super) use super::unix_ms;

    pub(super) fn steady() -> u64 {
        static START: std::sync::LazyLock<std::time::Instant> =
            std::sync::LazyLock::new(std::time::Instant::now);
        super::nanos(START.elapsed())
    }
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) engine: Engine<Arc<Message>, BusLog>,
    /// Queues by name as they were last found; an entry that is out of date is found anew.
    routes: FxHashMap<Name, QueueId>,
    /// Readers with credit that found nothing ready.
    waiting: FxHashMap<QueueId, VecDeque<Arc<Reader>>>,
    /// Readers parked for want of credit. A settle wakes them itself; a lease that ends does not know its reader.
    starved: Vec<Arc<Reader>>,
    /// Readers that may hold acks the engine has not heard of yet.
    deferring: Vec<Arc<Reader>>,
    pub(crate) topics: FxHashMap<Name, TopicSide>,
    pub(crate) calls: FxHashMap<u64, Arc<Call>>,
    pub(crate) calls_made: u64,
    timer: Option<JoinHandle<()>>,
    timer_at: Option<Duration>,
    second_call_at: Option<Duration>,
    /// Some readers were woken and others still wait.
    crowded: bool,
}

/// Who is to be woken once the lock is released. One is the usual number, so one costs no allocation.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    first: Option<Waker>,
    more: Vec<Waker>,
    room: bool,
}

impl Wakes {
    pub(crate) fn push(&mut self, waker: Option<Waker>) {
        let Some(waker) = waker else { return };
        if self.first.is_none() {
            self.first = Some(waker);
        } else {
            self.more.push(waker);
        }
    }

    /// Room was made for senders that wait.
    pub(crate) fn room(&mut self) {
        self.room = true;
    }

    #[inline]
    fn wake(self, bus: &Bus) {
        if self.room && bus.senders_waiting.load(Ordering::Acquire) > 0 {
            bus.room.notify_waiters();
        }
        if let Some(waker) = self.first {
            waker.wake();
            self.more.into_iter().for_each(Waker::wake);
        }
    }
}

impl Bus {
    pub(crate) fn new(config: Config, instance: &str) -> Arc<Self> {
        Arc::new(Self {
            profile: crate::capability::profile(&config, instance),
            store: config.directory.as_deref().map(Store::new),
            parts: Parts::new(&config),
            config,
            start: Instant::now(),
            coarse_start: coarse::steady(),
            state: Mutex::default(),
            alarm: Arc::default(),
            room: Notify::new(),
            senders_waiting: AtomicUsize::new(0),
            missed: AtomicU64::new(0),
            late_replies: AtomicU64::new(0),
            last_reading: AtomicU64::new(0),
        })
    }

    #[inline]
    pub(crate) fn since_start(&self) -> Duration {
        let now = Instant::now().saturating_duration_since(self.start);
        self.last_reading.store(nanos(now), Ordering::Relaxed);
        now
    }

    /// The time since the start as the system's timer has it, and no less than the clock last said to anybody.
    #[inline]
    pub(crate) fn about_now(&self) -> u64 {
        coarse::steady().saturating_sub(self.coarse_start).max(self.last_reading())
    }

    /// What the clock last said to anybody, in nanoseconds since the start: never ahead, and no older than the last
    /// thing done on this bus.
    pub(crate) fn last_reading(&self) -> u64 {
        self.last_reading.load(Ordering::Relaxed)
    }

    /// Both clocks, now.
    pub(crate) fn now(&self) -> Now {
        Now::new(self.since_start(), unix_ms())
    }

    /// The engine's side of the journal, when nobody else has the bus any more.
    pub(crate) fn log_mut(&mut self) -> Option<&mut Log<Messages>> {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        state.engine.journal_mut().as_mut()
    }

    /// How far the journal has got.
    #[inline]
    pub(crate) fn reached(&self) -> u64 {
        self.store.as_ref().map_or(0, |store| store.progress.reached())
    }

    /// Looks at the state without changing it.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        let mut state = self.lock();
        state.hear_acks();
        look(&state)
    }

    /// Does `work` under the lock, then wakes whom it concerns.
    pub(crate) fn with<T>(self: &Arc<Self>, work: impl FnOnce(&mut State, Now, &mut Wakes) -> T) -> T {
        self.work(self.now(), |state, now, wakes| {
            state.hear_acks();
            work(state, now, wakes)
        })
    }

    /// As [`Self::with`], for one reader that takes: acks of others that the engine has not heard of may wait, unless
    /// a lease may have ended meanwhile.
    pub(crate) fn with_taker<T>(
        self: &Arc<Self>,
        reader: &Reader,
        work: impl FnOnce(&mut State, Now, &mut Wakes) -> T,
    ) -> T {
        self.work(self.now(), |state, now, wakes| {
            if state.engine.next_event_at().is_some_and(|at| at <= now.since_start) {
                state.hear_acks();
            } else {
                reader.tell_acks(state);
            }
            work(state, now, wakes)
        })
    }

    /// As [`Self::with`], for what only adds messages and for which the monotonic clock does not matter: no lease ends
    /// in it, and no exact clock is read.
    pub(crate) fn with_sender<T>(self: &Arc<Self>, work: impl FnOnce(&mut State, Now, &mut Wakes) -> T) -> T {
        self.work(Now::new(Duration::from_nanos(self.last_reading()), coarse::unix_ms()), work)
    }

    #[inline]
    fn work<T>(self: &Arc<Self>, now: Now, work: impl FnOnce(&mut State, Now, &mut Wakes) -> T) -> T {
        let mut wakes = Wakes::default();
        let done = {
            let mut state = self.lock();
            let done = work(&mut state, now, &mut wakes);
            state.after(self, now, &mut wakes);
            done
        };
        wakes.wake(self);
        done
    }

    /// Does `work` that makes nothing ready and nothing due sooner, and that needs no wall clock: an ack.
    pub(crate) fn briefly<T>(&self, work: impl FnOnce(&mut State, Now) -> T) -> T {
        let now = Now::new(self.since_start(), 0);
        work(&mut self.lock(), now)
    }

    /// A panic under the lock is a fault of ours, not of the next caller; the engine's own calls are whole.
    #[inline]
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the timer does: everything that is due; then it learns when to come again.
    fn tick(self: &Arc<Self>) -> Option<Instant> {
        self.with(|state, now, wakes| {
            state.engine.advance(now);
            state.second_call(now.since_start, wakes);
            state.feed(wakes);
        });
        let mut state = self.lock();
        state.timer_at = state.next_event();
        state.timer_at.map(|at| self.start + at)
    }

    pub(crate) fn count_missed(&self, missed: u64) {
        self.missed.fetch_add(missed, Ordering::Relaxed);
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.alarm.notify_one();
        self.end_journal();
    }
}

async fn run_timer(bus: Weak<Bus>, alarm: Arc<Notify>) {
    loop {
        let Some(next) = bus.upgrade().map(|bus| bus.tick()) else { return };
        match next {
            Some(at) => tokio::select! {
                () = sleep_until(at) => {}
                () = alarm.notified() => {}
            },
            None => alarm.notified().await,
        }
    }
}

impl State {
    /// What was done until now is safe when the journal has got this far; 0: there is none.
    #[inline]
    pub(crate) fn position(&self) -> u64 {
        crate::journal::position(self.engine.journal())
    }

    /// Whether the journal takes no messages for want of room.
    pub(crate) fn is_held_back(&self) -> bool {
        self.engine.journal().as_ref().is_some_and(Log::is_full)
    }

    /// The queue of this name, without a walk through the engine for each message.
    pub(crate) fn route(&mut self, name: &Name) -> Option<QueueId> {
        if let Some(queue) = self.routes.get(name).filter(|queue| self.engine.ready(**queue).is_some()) {
            return Some(*queue);
        }
        let found = self.engine.find(name.as_str());
        match found {
            Some(queue) => drop(self.routes.insert(name.clone(), queue)),
            None => drop(self.routes.remove(name)),
        }
        found
    }

    /// Forgets the way to queues that are gone.
    pub(crate) fn forget_routes(&mut self) {
        self.routes.retain(|_, queue| self.engine.ready(*queue).is_some());
    }

    /// Lists a reader that found nothing, to be woken when something is there.
    pub(crate) fn wait(&mut self, queue: QueueId, reader: Arc<Reader>) {
        self.waiting.entry(queue).or_default().push_back(reader);
    }

    /// Lists a reader whose acks may come later than they are made.
    pub(crate) fn defer(&mut self, reader: Arc<Reader>) {
        self.deferring.push(reader);
    }

    /// From now on this reader's acks come at once.
    pub(crate) fn stop_deferring(&mut self, reader: &Arc<Reader>) {
        reader.end_deferring(self);
        self.deferring.retain(|other| !Arc::ptr_eq(other, reader));
    }

    /// Before anything that could end a lease, or show one: all acks made so far reach the engine, and later ones wait
    /// for the lock.
    #[inline]
    fn hear_acks(&mut self) {
        while let Some(reader) = self.deferring.pop() {
            reader.end_deferring(self);
        }
    }

    /// Lists a reader that has no credit, in case a lease of its ends.
    pub(crate) fn starve(&mut self, reader: Arc<Reader>) {
        self.starved.push(reader);
    }

    /// Wakes readers whose credit came back with the end of a lease, and forgets those that were fed otherwise.
    fn feed(&mut self, wakes: &mut Wakes) {
        let engine = &self.engine;
        self.starved.retain(|reader| !reader.is_fed(engine.has_credit(reader.consumer), wakes));
    }

    /// Takes a reader off the lists; if it had been woken in vain, the next one is.
    pub(crate) fn unwait(&mut self, queue: QueueId, reader: &Arc<Reader>, wakes: &mut Wakes) {
        self.starved.retain(|other| !Arc::ptr_eq(other, reader));
        if let Some(waiting) = self.waiting.get_mut(&queue) {
            waiting.retain(|other| !Arc::ptr_eq(other, reader));
        }
        self.rouse(queue, wakes);
    }

    /// Ends every piece of work: who has something to do now, and when does the timer ring next?
    #[inline]
    fn after(&mut self, bus: &Arc<Bus>, now: Now, wakes: &mut Wakes) {
        while let Some(queue) = self.engine.take_stirred() {
            wakes.room();
            if !self.waiting.is_empty() {
                self.rouse(queue, wakes);
            }
        }
        if self.crowded {
            self.crowded = false;
            self.second_call_at.get_or_insert(now.since_start + SECOND_CALL);
        }
        self.arm(bus, now);
    }

    /// Wakes as many waiting readers of a queue as there are messages; all of them if the queue is gone.
    fn rouse(&mut self, queue: QueueId, wakes: &mut Wakes) {
        let Some(waiting) = self.waiting.get_mut(&queue) else { return };
        let ready = self.engine.ready(queue);
        let most = ready.map_or(usize::MAX, |ready| usize::try_from(ready).unwrap_or(usize::MAX));
        let count = waiting.len().min(most);
        waiting.drain(..count).for_each(|reader| wakes.push(reader.unlist()));
        self.crowded |= count > 0 && !waiting.is_empty();
        if waiting.is_empty() {
            self.waiting.remove(&queue);
        }
    }

    fn second_call(&mut self, now: Duration, wakes: &mut Wakes) {
        if self.second_call_at.is_none_or(|at| at > now) {
            return;
        }
        self.second_call_at = None;
        for (queue, waiting) in &mut self.waiting {
            if self.engine.ready(*queue).is_none_or(|ready| ready > 0) {
                waiting.drain(..).for_each(|reader| wakes.push(reader.unlist()));
            }
        }
        self.waiting.retain(|_, waiting| !waiting.is_empty());
    }

    fn next_event(&self) -> Option<Duration> {
        match (self.engine.next_event_at(), self.second_call_at) {
            (Some(event), Some(call)) => Some(event.min(call)),
            (event, call) => event.or(call),
        }
    }

    /// Sees to it that the timer rings in time. The runtime it ran in may have ended, so an overdue timer is
    /// looked after.
    #[inline]
    fn arm(&mut self, bus: &Arc<Bus>, now: Now) {
        let Some(next) = self.next_event() else { return };
        let in_time = self.timer_at.is_some_and(|at| at <= next && at >= now.since_start);
        if !in_time {
            self.set_timer(bus, next);
        }
    }

    fn set_timer(&mut self, bus: &Arc<Bus>, next: Duration) {
        if self.timer.as_ref().is_some_and(|timer| !timer.is_finished()) {
            self.timer_at = Some(next);
            bus.alarm.notify_one();
        } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.timer_at = Some(next);
            self.timer = Some(runtime.spawn(run_timer(Arc::downgrade(bus), bus.alarm.clone())));
        }
    }
}
