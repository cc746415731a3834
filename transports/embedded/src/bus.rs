//! What all handles of one bus share: the engine behind a lock, who waits for it, and one timer.
//!
//! Everything happens under the lock and is short; nobody is woken and no delivery is dropped under it, because
//! both may come back for the lock.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use polybus_contract::{Message, Name, UnixMillis};
use polybus_queue::{Engine, Now, QueueId};
use rustc_hash::FxHashMap;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::config::Config;
use crate::consume::Reader;
use crate::request::Call;
use crate::subscribe::TopicSide;

/// A reader that was woken and does something else first must not keep a message from its idle neighbours: after
/// this long all of them are woken.
const SECOND_CALL: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(crate) struct Bus {
    pub(crate) config: Config,
    pub(crate) instance: Arc<str>,
    start: Instant,
    state: Mutex<State>,
    alarm: Arc<Notify>,
    /// Senders wait here for room in any queue, and are counted so that nobody is told in vain.
    pub(crate) room: Notify,
    pub(crate) senders_waiting: AtomicUsize,
    pub(crate) missed: AtomicU64,
    pub(crate) late_replies: AtomicU64,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) engine: Engine<Message>,
    /// Readers with credit that found nothing ready.
    waiting: FxHashMap<QueueId, VecDeque<Arc<Reader>>>,
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

    fn wake(self, bus: &Bus) {
        if self.room && bus.senders_waiting.load(Ordering::Acquire) > 0 {
            bus.room.notify_waiters();
        }
        self.first.into_iter().chain(self.more).for_each(Waker::wake);
    }
}

impl Bus {
    pub(crate) fn new(config: Config, instance: Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            config,
            instance,
            start: Instant::now(),
            state: Mutex::default(),
            alarm: Arc::default(),
            room: Notify::new(),
            senders_waiting: AtomicUsize::new(0),
            missed: AtomicU64::new(0),
            late_replies: AtomicU64::new(0),
        })
    }

    /// Both clocks. Only expiry looks at the wall.
    pub(crate) fn now(&self) -> Now {
        Now::new(self.since_start(), u64::try_from(UnixMillis::now().0).unwrap_or(0))
    }

    pub(crate) fn since_start(&self) -> Duration {
        Instant::now().saturating_duration_since(self.start)
    }

    /// Looks at the state without changing it.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    /// Does `work` under the lock, then wakes whom it concerns.
    pub(crate) fn with<T>(self: &Arc<Self>, work: impl FnOnce(&mut State, Now, &mut Wakes) -> T) -> T {
        let now = self.now();
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

    /// A panic under the lock is a fault of ours, not of the next caller; the engine's own calls are whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the timer does: everything that is due; then it learns when to come again.
    fn tick(self: &Arc<Self>) -> Option<Instant> {
        self.with(|state, now, wakes| {
            state.engine.advance(now);
            state.second_call(now.since_start, wakes);
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
    /// Lists a reader that found nothing, to be woken when something is there.
    pub(crate) fn wait(&mut self, queue: QueueId, reader: Arc<Reader>) {
        self.waiting.entry(queue).or_default().push_back(reader);
    }

    /// Takes a reader off the list; if it had been woken in vain, the next one is.
    pub(crate) fn unwait(&mut self, queue: QueueId, reader: &Arc<Reader>, wakes: &mut Wakes) {
        if let Some(waiting) = self.waiting.get_mut(&queue) {
            waiting.retain(|other| !Arc::ptr_eq(other, reader));
        }
        self.rouse(queue, wakes);
    }

    /// Ends every piece of work: who has something to do now, and when does the timer ring next?
    fn after(&mut self, bus: &Arc<Bus>, now: Now, wakes: &mut Wakes) {
        while let Some(queue) = self.engine.take_stirred() {
            self.rouse(queue, wakes);
            wakes.room();
        }
        if std::mem::take(&mut self.crowded) {
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
        if ready.is_none() {
            self.waiting.remove(&queue);
        } else {
            self.crowded |= count > 0 && !waiting.is_empty();
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
    }

    fn next_event(&self) -> Option<Duration> {
        self.engine.next_event_at().into_iter().chain(self.second_call_at).min()
    }

    /// Sees to it that the timer rings in time. The runtime it ran in may have ended, so an overdue timer is
    /// looked after.
    fn arm(&mut self, bus: &Arc<Bus>, now: Now) {
        let Some(next) = self.next_event() else { return };
        let in_time = self.timer_at.is_some_and(|at| at <= next && at >= now.since_start);
        if in_time {
            return;
        }
        if self.timer.as_ref().is_some_and(|timer| !timer.is_finished()) {
            self.timer_at = Some(next);
            bus.alarm.notify_one();
        } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.timer_at = Some(next);
            self.timer = Some(runtime.spawn(run_timer(Arc::downgrade(bus), bus.alarm.clone())));
        }
    }
}
