//! A handle: connecting, supervising, reconnecting, health, draining.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use polybus_contract::{
    Counters, DrainReport, End, Error, Health, Kind, Link, Operation, Profile, Result, SharedDrain,
};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::config::Config;
use crate::consume::Reader;
use crate::error::{closed, down};
use crate::reply::Direct;
use crate::request::Calls;
use crate::session::Session;
use crate::subscribe::Subscription;
use crate::topology::Held;

/// How long one attempt to connect may take.
const ATTEMPT: Duration = Duration::from_secs(10);

/// The pauses between attempts: doubled from the first to the last, each between half and the whole.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// With wrong credentials there is no hurry: a broker may lock out who insists.
const REFUSED_PAUSE: Duration = Duration::from_mins(1);

/// Where the link stands.
#[derive(Clone, Debug)]
pub(crate) enum State {
    Idle,
    Up(Arc<Session>),
    Down { since: Instant, reason: Arc<str>, refused: Option<Error> },
    Closed,
}

/// What one user of a broker holds.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) profile: Profile,
    pub(crate) instance: Arc<str>,
    state: watch::Sender<State>,
    supervisor: Mutex<Option<JoinHandle<()>>>,
    /// Ends the pause between two attempts.
    hurry: Arc<Notify>,
    draining: AtomicBool,
    closed: AtomicBool,
    pub(crate) held: Held,
    readers: Mutex<Vec<Weak<Reader>>>,
    subscriptions: Mutex<Vec<Weak<Subscription>>>,
    pub(crate) calls: Calls,
    pub(crate) direct: Direct,
    pub(crate) numbers: Mutex<HashMap<String, u64>>,
    pub(crate) publisher: String,
    /// A delivery was settled, or a publish ended, while somebody drains.
    pub(crate) idle: Notify,
    pub(crate) changed: Arc<Notify>,
    pub(crate) counts: Counts,
    drain: SharedDrain<Instant>,
}

/// What is counted since the handle was made.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) late_replies: AtomicU64,
    pub(crate) missed: AtomicU64,
    pub(crate) dead_dropped: AtomicU64,
    pub(crate) overflowed: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) settled: AtomicU64,
    pub(crate) lost_in_hand: AtomicU64,
    /// Copies under way: a retry or a dead letter whose original is not settled yet.
    pub(crate) copying: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// A panic elsewhere leaves these lists whole.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    pub(crate) fn new(config: Config) -> Arc<Self> {
        let profile = crate::capability::profile(&config);
        Arc::new(Self {
            instance: profile.instance.clone(),
            profile,
            config,
            state: watch::Sender::new(State::Idle),
            supervisor: Mutex::default(),
            hurry: Arc::default(),
            draining: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            held: Held::default(),
            readers: Mutex::default(),
            subscriptions: Mutex::default(),
            calls: Calls::default(),
            direct: Direct::default(),
            numbers: Mutex::default(),
            publisher: uuid::Uuid::new_v4().simple().to_string().split_off(16),
            idle: Notify::new(),
            changed: Arc::default(),
            counts: Counts::default(),
            drain: SharedDrain::default(),
        })
    }

    /// The name on the broker.
    pub(crate) fn wire(&self, name: &str) -> String {
        format!("{}{name}", self.config.prefix)
    }

    /// Refuses once the handle is closed (I7).
    pub(crate) fn open(&self, operation: Operation) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(closed(operation)) } else { Ok(()) }
    }

    /// Refuses new intake once a drain has begun.
    pub(crate) fn takes_in(&self, operation: Operation) -> Result<()> {
        if self.draining.load(Ordering::Acquire) { Err(closed(operation)) } else { Ok(()) }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(crate) fn watch_state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// The session, if the link is up. Looks only.
    pub(crate) fn current(&self) -> Option<Arc<Session>> {
        match &*self.state.borrow() {
            State::Up(session) => Some(session.clone()),
            _ => None,
        }
    }

    /// The session, waited for until `until`.
    pub(crate) async fn session(
        self: &Arc<Self>,
        until: Instant,
        operation: Operation,
    ) -> Result<Arc<Session>> {
        self.open(operation)?;
        if let Some(session) = self.current() {
            return Ok(session);
        }
        self.supervise();
        let mut state = self.watch_state();
        let wait = state.wait_for(|state| match state {
            State::Up(_) | State::Closed => true,
            State::Down { refused, .. } => refused.is_some(),
            State::Idle => false,
        });
        let found =
            timeout_at(until, wait).await.ok().and_then(std::result::Result::ok).map(|state| state.clone());
        match found {
            Some(State::Up(session)) => Ok(session),
            Some(State::Closed) => Err(closed(operation)),
            Some(State::Down { refused: Some(error), .. }) => Err(error),
            _ => Err(down(operation, &self.why_down())),
        }
    }

    fn why_down(&self) -> String {
        match &*self.state.borrow() {
            State::Down { reason, .. } => format!("no connection to the broker: {reason}"),
            _ => "no connection to the broker yet".to_owned(),
        }
    }

    /// Connects, or waits for a connection being made.
    pub(crate) async fn connect(self: &Arc<Self>, within: Duration) -> Result<()> {
        self.open(Operation::Connect)?;
        // Whoever asks again after a refusal has perhaps changed something.
        self.state.send_if_modified(|state| match state {
            State::Down { refused: refused @ Some(_), .. } => {
                *refused = None;
                true
            }
            _ => false,
        });
        self.hurry.notify_waiters();
        self.session(Instant::now() + within, Operation::Connect).await.map(drop)
    }

    /// Sees to it that somebody connects.
    pub(crate) fn supervise(self: &Arc<Self>) {
        let mut supervisor = locked(&self.supervisor);
        if supervisor.as_ref().is_none_or(JoinHandle::is_finished) && self.open(Operation::Connect).is_ok() {
            *supervisor = Some(tokio::spawn(supervise(Arc::downgrade(self))));
        }
    }

    /// One attempt: connects, and declares again what is held.
    async fn attempt(self: &Arc<Self>, turn: usize) -> Result<Arc<Session>> {
        let until = Instant::now() + ATTEMPT;
        let session = Session::open(&self.config, turn, until, self.changed.clone()).await?;
        self.declare_again(&session).await;
        Ok(session)
    }

    fn went_down(&self, error: Option<Error>, reason: &str) {
        self.state.send_if_modified(|state| {
            let since = match state {
                State::Down { since, .. } => *since,
                State::Closed => return false,
                _ => Instant::now(),
            };
            *state = State::Down { since, reason: reason.into(), refused: error };
            true
        });
        self.changed.notify_waiters();
    }

    fn went_up(&self, session: &Arc<Session>) -> bool {
        let taken = self.state.send_if_modified(|state| {
            let open = !matches!(state, State::Closed);
            if open {
                *state = State::Up(session.clone());
            }
            open
        });
        self.changed.notify_waiters();
        taken
    }

    pub(crate) fn add_reader(&self, reader: &Arc<Reader>) {
        let mut readers = locked(&self.readers);
        readers.retain(|other| other.strong_count() > 0);
        readers.push(Arc::downgrade(reader));
        self.changed.notify_waiters();
    }

    pub(crate) fn readers(&self) -> Vec<Arc<Reader>> {
        locked(&self.readers).iter().filter_map(Weak::upgrade).collect()
    }

    pub(crate) fn add_subscription(&self, subscription: &Arc<Subscription>) {
        let mut subscriptions = locked(&self.subscriptions);
        if subscriptions.len() == subscriptions.capacity() {
            subscriptions.retain(|other| other.strong_count() > 0);
        }
        subscriptions.push(Arc::downgrade(subscription));
        self.changed.notify_waiters();
    }

    fn subscriptions(&self) -> Vec<Arc<Subscription>> {
        locked(&self.subscriptions).iter().filter_map(Weak::upgrade).collect()
    }

    pub(crate) async fn health_changed(&self) {
        self.changed.notified().await;
    }

    pub(crate) fn health(&self) -> Health {
        let mut health = Health::default();
        health.link = self.link();
        health.counters = self.counters();
        health.subscriptions = self.readers().iter().filter_map(|reader| reader.health()).collect();
        health
            .subscriptions
            .extend(self.subscriptions().iter().filter_map(|subscription| subscription.health()));
        health
    }

    fn link(&self) -> Link {
        match &*self.state.borrow() {
            State::Idle => Link::Idle,
            State::Up(session) if session.is_blocked() => Link::Blocked,
            State::Up(_) => Link::Up,
            State::Down { since, reason, .. } => {
                Link::Down { since: since.elapsed(), reason: reason.to_string() }
            }
            State::Closed => Link::Closed,
        }
    }

    fn counters(&self) -> Counters {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            late_replies: get(&self.counts.late_replies),
            missed: get(&self.counts.missed),
            dead_dropped: get(&self.counts.dead_dropped),
            expired: get(&self.counts.expired),
            overflowed: get(&self.counts.overflowed),
            pending_requests: self.calls.pending(),
        }
    }

    /// Starts the drain, or joins the one that runs; a nearer deadline counts for all.
    pub(crate) async fn drain(self: &Arc<Self>, within: Duration) -> DrainReport {
        let begin = |deadline| self.clone().drain_until(deadline);
        let report = self.drain.join(Instant::now() + within, begin, |drain| drop(tokio::spawn(drain))).await;
        // The task outlives its callers; if its runtime ended, everything that was open is abandoned.
        report.unwrap_or_else(|| DrainReport { abandoned: self.in_hand(), ..DrainReport::default() })
    }

    async fn drain_until(self: Arc<Self>, mut deadline: watch::Receiver<Instant>) -> DrainReport {
        let settled = self.counts.settled.load(Ordering::Acquire);
        let lost = self.counts.lost_in_hand.load(Ordering::Acquire);
        self.draining.store(true, Ordering::Release);
        self.changed.notify_waiters();
        let first = *deadline.borrow();
        let mut returned = 0;
        for reader in self.readers() {
            returned += reader.leave(End::Drained, first).await;
        }
        for subscription in self.subscriptions() {
            subscription.leave(End::Drained);
        }
        self.wait_for_idle(&mut deadline).await;
        let until = *deadline.borrow();
        self.finish(until, settled, lost, returned).await
    }

    async fn wait_for_idle(&self, deadline: &mut watch::Receiver<Instant>) {
        loop {
            let mut idle = std::pin::pin!(self.idle.notified());
            idle.as_mut().enable();
            if self.in_hand() == 0 && self.under_way() == 0 {
                return;
            }
            let until = *deadline.borrow_and_update();
            tokio::select! {
                () = &mut idle => {}
                Ok(()) = deadline.changed() => {}
                // Publishes do not tell when they end.
                () = sleep(Duration::from_millis(20)), if Instant::now() < until => {}
                () = sleep_until(until) => return,
            }
        }
    }

    fn in_hand(&self) -> u64 {
        self.readers().iter().map(|reader| reader.in_hand()).sum()
    }

    /// Publishes and copies whose end is not known yet.
    fn under_way(&self) -> u64 {
        self.counts.copying.load(Ordering::Acquire)
            + self.current().map_or(0, |session| session.unconfirmed())
    }

    /// Closes. What is still in hand comes back to the queue with the connection's end; its late settle is stale.
    async fn finish(&self, until: Instant, settled: u64, lost: u64, returned: u64) -> DrainReport {
        let unflushed = self.under_way();
        let abandoned = self.in_hand() + self.counts.lost_in_hand.load(Ordering::Acquire) - lost;
        self.closed.store(true, Ordering::Release);
        let session = self.current();
        self.state.send_replace(State::Closed);
        self.hurry.notify_waiters();
        self.calls.end(&End::Drained);
        if let Some(session) = session {
            session.close(until).await;
        }
        self.close_direct(until.max(Instant::now() + Duration::from_millis(200))).await;
        self.changed.notify_waiters();
        let finished = self.counts.settled.load(Ordering::Acquire) - settled;
        DrainReport { finished, returned, abandoned, unflushed }
    }
}

impl Drop for Core {
    /// Connections close themselves with the last of their users; a broker that answers nothing must not keep them.
    fn drop(&mut self) {
        if let Some(supervisor) = locked(&self.supervisor).take() {
            supervisor.abort();
        }
    }
}

/// Keeps the link up as long as anybody has the handle.
async fn supervise(core: Weak<Core>) {
    let mut failures = 0_u32;
    let mut was_up = false;
    // Which of several brokers is tried first: after a loss the one behind it.
    let mut turn = 0_usize;
    loop {
        let Some(strong) = core.upgrade() else { return };
        let pause = match strong.attempt(turn).await {
            Ok(session) => {
                if !strong.went_up(&session) {
                    session.lose("closed");
                    return;
                }
                (failures, was_up, turn) = (0, true, session.place + 1);
                drop(strong);
                let reason = session.when_lost().await;
                let Some(strong) = core.upgrade() else { return };
                if session.closing.load(Ordering::Acquire) {
                    return;
                }
                tracing::warn!(reason = &*reason, "lost the connection to the broker");
                strong.went_down(None, &reason);
                strong.calls.lose();
                jittered(FIRST_PAUSE)
            }
            Err(error) => {
                let pause = failed(&strong, &error, &mut failures, was_up);
                turn = turn.wrapping_add(1);
                drop(strong);
                pause
            }
        };
        let Some(hurry) = core.upgrade().filter(|core| core.open(Operation::Connect).is_ok()) else { return };
        let hurry = hurry.hurry.clone();
        tokio::select! {
            () = sleep(pause) => {}
            () = hurry.notified() => {}
        }
    }
}

/// Says that an attempt failed, and how long to wait for the next.
fn failed(core: &Core, error: &Error, failures: &mut u32, was_up: bool) -> Duration {
    let detail = error.detail().unwrap_or("it cannot be reached");
    *failures = failures.saturating_add(1);
    let hopeless = matches!(error.kind(), Kind::Unauthorized | Kind::NotFound | Kind::Configuration);
    if hopeless {
        tracing::error!(reason = detail, "the broker refuses this client");
        core.went_down(Some(error.clone()).filter(|_| !was_up), detail);
        return REFUSED_PAUSE;
    }
    core.went_down(None, detail);
    let pause = FIRST_PAUSE.saturating_mul(1 << (*failures - 1).min(10)).min(LAST_PAUSE);
    tracing::debug!(reason = detail, ?pause, "no connection to the broker");
    jittered(pause)
}

fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64() / 2.0)
}
