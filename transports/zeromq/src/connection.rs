//! A handle on the bus: connecting, supervising, reconnecting, health.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use polybus_contract::{
    Counters, End, Error, Health, Kind, Link as LinkHealth, Operation, Profile, Result, SharedDrain,
};
use polybus_lines::ErrorLine;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::capability;
use crate::config::Config;
use crate::consume::Reader;
use crate::error::{LOST, again_as, closed, down, unreadable};
use crate::link::{Link, Switch, run};
use crate::pipe::{Broken, EARLY, Inlet, Pipe, Said, limits, shake};
use crate::request::Caller;
use crate::subscribe::Subscription;
use crate::topology::Held;
use crate::wire::frame::{HEAD, Packet, VERSION, kind};
use crate::wire::hello::{Challenge, GreetingLine, HelloLine, Side, WelcomeLine, nonce};
use crate::wire::verbs::ByeHeader;
use crate::zmtp::{self, Socket};

/// How long one attempt to connect may take.
const ATTEMPT: Duration = Duration::from_secs(5);

/// How long what was consumed and subscribed may take to be there again.
const RESTORE: Duration = Duration::from_secs(20);

/// The first pause between attempts; each further one is twice as long, up to the longest.
const PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The pause after the broker refused our secret: nothing gets better by asking often.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);

/// What one user of the bus holds: its connection, its streams, its deliveries.
pub(crate) struct Handle {
    pub(crate) config: Config,
    /// Who this is for the broker, as long as it lives.
    client: String,
    pub(crate) switch: Arc<Switch>,
    pub(crate) held: Held,
    /// Before and after the broker is known.
    before: Profile,
    after: OnceLock<Profile>,
    pub(crate) link: watch::Sender<Option<Arc<Link>>>,
    state: watch::Sender<State>,
    started: AtomicBool,
    /// Nothing new is taken in; what is in hand may still be finished, answered and logged.
    pub(crate) draining: AtomicBool,
    closed: watch::Sender<bool>,
    pub(crate) readers: Mutex<Vec<Arc<Reader>>>,
    pub(crate) subscriptions: Mutex<Vec<Arc<Subscription>>>,
    pub(crate) callers: Mutex<Vec<Weak<Caller>>>,
    /// Missed by subscribers here; what the broker counted comes on top.
    pub(crate) missed: AtomicU64,
    /// A delivery is out of somebody's hands.
    pub(crate) idle: Notify,
    pub(crate) health: Notify,
    pub(crate) drain: SharedDrain<Instant>,
    /// Publishes that nobody answers, since the last round trip.
    pub(crate) handed: AtomicU64,
}

/// Where the connection stands.
#[derive(Clone, Debug, Default)]
struct State {
    /// Attempts that failed since it was last up.
    failures: u64,
    /// Why the last one failed.
    reason: Option<Error>,
    down_since: Option<Instant>,
    up: bool,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("place", &self.config.place).finish_non_exhaustive()
    }
}

/// A panic elsewhere leaves these lists whole.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A handle; without I/O.
pub(crate) fn open(config: Config) -> Arc<Handle> {
    Arc::new(Handle {
        client: uuid::Uuid::new_v4().simple().to_string(),
        switch: Arc::default(),
        held: Held::default(),
        before: capability::before(&config.instance()),
        after: OnceLock::new(),
        link: watch::Sender::new(None),
        state: watch::Sender::default(),
        started: AtomicBool::new(false),
        draining: AtomicBool::new(false),
        closed: watch::Sender::new(false),
        readers: Mutex::default(),
        subscriptions: Mutex::default(),
        callers: Mutex::default(),
        missed: AtomicU64::new(0),
        idle: Notify::new(),
        health: Notify::new(),
        drain: SharedDrain::default(),
        handed: AtomicU64::new(0),
        config,
    })
}

impl Handle {
    pub(crate) fn profile(&self) -> &Profile {
        self.after.get().unwrap_or(&self.before)
    }

    /// Refuses once it is closed.
    pub(crate) fn open(&self, operation: Operation) -> Result<()> {
        if self.is_closed() { Err(closed(operation)) } else { Ok(()) }
    }

    /// Refuses what is new once a drain has begun.
    pub(crate) fn takes_in(&self, operation: Operation) -> Result<()> {
        if self.draining.load(Ordering::Acquire) { Err(closed(operation)) } else { self.open(operation) }
    }

    pub(crate) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Begins to connect, once; goes on until the handle is closed or gone.
    pub(crate) fn start(self: &Arc<Self>) {
        if !self.started.swap(true, Ordering::AcqRel) {
            tokio::spawn(supervise(Arc::downgrade(self), self.closed.subscribe()));
        }
    }

    /// Connects, or waits for the connection being made.
    pub(crate) async fn connect(self: &Arc<Self>, within: Duration) -> Result<()> {
        self.open(Operation::Connect)?;
        let mut state = self.state.subscribe();
        let before = state.borrow_and_update().failures;
        self.start();
        let settled = state.wait_for(|state| {
            state.up || self.is_closed() || (state.failures > before && is_permanent(state.reason.as_ref()))
        });
        let _ = timeout(within, settled).await;
        self.open(Operation::Connect)?;
        if self.link.borrow().is_some() {
            return Ok(());
        }
        Err(self.why_down(Operation::Connect))
    }

    /// Why there is no connection. Nothing has left, so nothing has happened.
    pub(crate) fn why_down(&self, operation: Operation) -> Error {
        match &self.state.borrow().reason {
            Some(reason) => again_as(reason, operation),
            None => down(operation, "there is no connection yet"),
        }
    }

    /// The connection, waiting for one until then.
    pub(crate) async fn link(self: &Arc<Self>, operation: Operation, until: Instant) -> Result<Arc<Link>> {
        if let Some(link) = &*self.link.borrow() {
            return Ok(link.clone());
        }
        self.open(operation)?;
        self.start();
        let mut links = self.link.subscribe();
        let mut closing = self.closed.subscribe();
        let found = tokio::select! {
            found = timeout_at(until, links.wait_for(Option::is_some)) => {
                found.ok().and_then(std::result::Result::ok).and_then(|link| link.clone())
            }
            _ = closing.wait_for(|closed| *closed) => return Err(closed(operation)),
        };
        found.ok_or_else(|| self.why_down(operation))
    }

    /// Asks the broker: waits for the connection, sends, waits for the answer, all until then.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        packet: impl FnOnce(u64) -> Packet,
        operation: Operation,
        until: Instant,
    ) -> Result<Packet> {
        self.open(operation)?;
        let link = self.link(operation, until).await?;
        link.ask(packet(self.switch.number()), operation, until).await
    }

    /// The connection, if there is one now.
    pub(crate) fn link_now(&self) -> Option<Arc<Link>> {
        self.link.borrow().clone()
    }

    fn failed(&self, reason: Error) {
        self.state.send_modify(|state| {
            state.failures += 1;
            state.up = false;
            state.down_since.get_or_insert_with(Instant::now);
            state.reason = Some(reason);
        });
        self.health.notify_waiters();
    }

    /// The connection is there, and everything that was declared and consumed as well.
    fn set_up(&self, link: &Arc<Link>) {
        let _ = self.after.set(link.profile.clone());
        self.link.send_replace(Some(link.clone()));
        self.state.send_replace(State { up: true, ..State::default() });
        self.health.notify_waiters();
    }

    fn set_lost(&self, why: &Broken) {
        self.link.send_replace(None);
        self.detach();
        self.failed(down(Operation::Connect, why.to_string()));
    }

    /// Nothing is consumed or subscribed over a connection that is gone.
    fn detach(&self) {
        for reader in locked(&self.readers).iter() {
            reader.lost();
        }
        for subscription in locked(&self.subscriptions).iter() {
            subscription.lost();
        }
    }

    /// Closes: whatever waits learns it.
    pub(crate) fn close(&self) {
        self.draining.store(true, Ordering::Release);
        self.closed.send_replace(true);
        self.link.send_replace(None);
        self.health.notify_waiters();
    }

    pub(crate) fn health(&self) -> Health {
        let mut health = Health { link: self.link_health(), counters: self.counters(), ..Health::default() };
        health.notes.clone_from(&locked(&self.switch.info).notes);
        let readers = locked(&self.readers).clone();
        health.subscriptions.extend(readers.iter().filter_map(|reader| reader.health()));
        let subscriptions = locked(&self.subscriptions).clone();
        health.subscriptions.extend(subscriptions.iter().map(|subscription| subscription.health()));
        health
    }

    fn link_health(&self) -> LinkHealth {
        if self.is_closed() {
            return LinkHealth::Closed;
        }
        let state = self.state.borrow();
        let info = locked(&self.switch.info);
        match (state.down_since, &info.failed) {
            (Some(since), _) => LinkHealth::Down {
                since: since.elapsed(),
                reason: state.reason.as_ref().map(ToString::to_string).unwrap_or_default(),
            },
            (None, Some(why)) if state.up => {
                LinkHealth::Down { since: Duration::ZERO, reason: format!("the broker: {why}") }
            }
            (None, _) if state.up && info.blocked => LinkHealth::Blocked,
            (None, _) if state.up => LinkHealth::Up,
            _ => LinkHealth::Idle,
        }
    }

    /// How long there was no connection; `None`: there is one.
    pub(crate) fn down_for(&self) -> Option<Duration> {
        let state = self.state.borrow();
        if state.up { None } else { Some(state.down_since.map(|since| since.elapsed()).unwrap_or_default()) }
    }

    fn counters(&self) -> Counters {
        let info = locked(&self.switch.info);
        Counters {
            late_replies: info.late_replies,
            missed: info.missed + self.missed.load(Ordering::Relaxed),
            dead_dropped: info.dead_dropped,
            overflowed: info.overflowed,
            expired: info.expired,
            pending_requests: self.switch.count_calls(),
        }
    }

    pub(crate) fn add_reader(&self, reader: &Arc<Reader>) {
        let mut readers = locked(&self.readers);
        readers.retain(|other| !other.is_over());
        readers.push(reader.clone());
        drop(readers);
        self.health.notify_waiters();
        if self.takes_in(Operation::Consume).is_err() {
            reader.leave(End::Drained);
        }
    }

    pub(crate) fn forget_readers(&self) {
        locked(&self.readers).retain(|other| !other.is_over());
        self.health.notify_waiters();
    }

    /// A delivery is out of somebody's hands: a drain may be waiting for that.
    pub(crate) fn given_back(&self) {
        if self.draining.load(Ordering::Acquire) {
            self.idle.notify_waiters();
        }
    }

    pub(crate) async fn health_changed(&self) {
        tokio::select! {
            () = self.health.notified() => {}
            () = self.switch.info_changed.notified() => {}
        }
    }

    /// Everything that was declared, consumed and subscribed, on this connection as well.
    async fn restore(self: &Arc<Self>, link: &Arc<Link>, resumed: bool) -> Result<()> {
        let until = Instant::now() + RESTORE;
        if !resumed {
            self.declare_again(link, until).await?;
        }
        let readers = locked(&self.readers).clone();
        let readers = join_all(readers.iter().map(|reader| reader.attach(link, until))).await;
        let subscriptions = locked(&self.subscriptions).clone();
        let subscriptions =
            join_all(subscriptions.iter().map(|subscription| subscription.attach(link, until))).await;
        // What the broker refuses has ended by itself; here only a connection that is lost again matters.
        let lost =
            |done: &Result<()>| done.as_ref().err().is_some_and(|error| error.kind() == Kind::Disconnected);
        match readers.into_iter().chain(subscriptions).find(lost) {
            Some(lost) => lost,
            None => Ok(()),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(link) = self.switch.link() {
            link.tell(&Packet::new(kind::BYE, 0, &ByeHeader { holding: self.holding() }));
        }
        self.closed.send_replace(true);
    }
}

fn is_permanent(reason: Option<&Error>) -> bool {
    reason.is_some_and(|reason| matches!(reason.kind(), Kind::Unauthorized | Kind::Configuration))
}

/// Keeps one connection: makes it, watches over it, makes the next one. It does not keep the handle.
async fn supervise(handle: Weak<Handle>, mut closing: watch::Receiver<bool>) {
    let mut attempts = 0;
    loop {
        let Some(open) = handle.upgrade().filter(|handle| !handle.is_closed()) else { return };
        let made = tokio::select! {
            made = connect_once(&open) => made,
            _ = closing.wait_for(|closed| *closed) => return,
        };
        match made {
            Ok((link, mut task)) => {
                attempts = 0;
                open.set_up(&link);
                drop((open, link));
                // It ends by itself when the handle is closed.
                let broken = (&mut task).await.unwrap_or(Broken::Closed);
                let Some(open) = handle.upgrade() else { return };
                if open.is_closed() {
                    return;
                }
                tracing::debug!(%broken, "the connection to the broker was lost");
                open.set_lost(&broken);
            }
            Err(error) => {
                attempts += 1;
                tracing::debug!(%error, attempts, "no connection");
                let pause = pause(attempts, &error);
                open.failed(error);
                drop(open);
                tokio::select! {
                    () = sleep(pause) => {}
                    _ = closing.wait_for(|closed| *closed) => return,
                }
            }
        }
    }
}

/// Grows, and varies, so that many clients of one broker do not come back at the same moment.
fn pause(attempts: u32, error: &Error) -> Duration {
    if is_permanent(Some(error)) {
        return REFUSED_PAUSE;
    }
    let full = PAUSE.saturating_mul(1 << attempts.min(10)).min(LONGEST_PAUSE);
    full.mul_f64(fastrand::f64().mul_add(0.5, 0.5))
}

/// One attempt. On success everything that was there before is there again.
async fn connect_once(handle: &Arc<Handle>) -> Result<(Arc<Link>, JoinHandle<Broken>)> {
    let place = &handle.config.place;
    let lost = |why: String| down(Operation::Connect, why).with_target(place);
    let stream = place.dial(ATTEMPT).await.map_err(|error| lost(error.to_string()))?;
    let (pipe, mut inlet) =
        shake(stream, Socket::Dealer, ATTEMPT).await.map_err(|broken| lost(broken.to_string()))?;
    let said = timeout(ATTEMPT, hello(handle, &pipe, &mut inlet)).await;
    let welcome = said.map_err(|_| lost("the broker does not answer".to_owned()))??;
    let profile =
        welcome.profile.profile(crate::wire::BUS).map_err(|fault| unreadable(Operation::Connect, fault))?;
    let largest = profile.capability.max_message.unwrap_or(64 << 20).max(u64::from(welcome.part));
    inlet.set_limits(limits(largest));
    let link = Arc::new(Link::new(pipe, handle.switch.clone(), profile, welcome.part));
    go_on(handle, &link, &welcome);
    let theirs = Duration::from_millis(welcome.heartbeat_ms);
    let heartbeat = handle.config.heartbeat.max(theirs).max(Duration::from_millis(100));
    let mut task = tokio::spawn(run(link.clone(), inlet, heartbeat, handle.closed.subscribe()));
    let restored = tokio::select! {
        restored = handle.restore(&link, welcome.resumed) => restored,
        _ = &mut task => Err(lost(LOST.to_owned())),
    };
    if let Err(error) = restored {
        task.abort();
        link.end();
        // Some of it may have been restored.
        handle.detach();
        return Err(error);
    }
    Ok((link, task))
}

/// Says hello to the greeting and waits for the welcome.
async fn hello(handle: &Handle, pipe: &Pipe, inlet: &mut Inlet) -> Result<WelcomeLine> {
    let greeting: GreetingLine = expect(pipe, inlet, kind::GREETING).await?;
    if !greeting.versions.contains(&VERSION) {
        let detail =
            format!("the broker speaks versions {:?} of the protocol, this is {VERSION}", greeting.versions);
        return Err(Error::new(Kind::Configuration, Operation::Connect).with_detail(detail));
    }
    if greeting.proof_needed && handle.config.login.is_none() {
        let detail = "the broker wants to know who this is: zmq://USER:SECRET@HOST";
        return Err(Error::new(Kind::Unauthorized, Operation::Connect).with_detail(detail));
    }
    if !greeting.proof_needed && handle.config.login.is_some() {
        // Whoever stands in for the broker would need no secret.
        let detail = "what answers there does not want to know who this is, so it cannot show that it is the broker; for a broker \
                      without identities leave user and secret out of the URL";
        return Err(Error::new(Kind::Unauthorized, Operation::Connect).with_detail(detail));
    }
    let own = nonce();
    let login = handle.config.login.as_ref().filter(|_| greeting.proof_needed);
    let user = login.map(|(user, _)| user.as_str()).unwrap_or_default();
    let challenge =
        Challenge { user, client: &handle.client, client_nonce: &own, broker_nonce: &greeting.nonce };
    let line = HelloLine {
        client: handle.client.clone(),
        user: login.map(|(user, _)| user.clone()),
        nonce: own.clone(),
        proof: login.map(|(_, secret)| challenge.prove(Side::Client, secret.expose().as_bytes())),
        keep: true,
        resume: handle.after.get().is_some(),
        holding: handle.holding(),
        asking: handle.switch.calls().iter().map(|(number, _)| *number).collect(),
    };
    pipe.put(&said(line));
    pipe.finish(ATTEMPT).await.map_err(|broken| down(Operation::Connect, broken.to_string()))?;
    let welcome: WelcomeLine = expect(pipe, inlet, kind::WELCOME).await?;
    if let Some((_, secret)) = login {
        let proof = welcome.proof.as_deref().unwrap_or_default();
        if !challenge.is_proven(Side::Broker, secret.expose().as_bytes(), proof) {
            let detail = "what answers there does not know the secret: it is not the broker";
            return Err(Error::new(Kind::Unauthorized, Operation::Connect).with_detail(detail));
        }
    }
    Ok(welcome)
}

/// The hello, which has to fit into what a broker takes before it knows who says it. One with too much in hand for that begins
/// anew: its settles are stale, its calls unknown, and what it has in hand goes to others.
fn said(line: HelloLine) -> Packet {
    let packet = Packet::new(kind::HELLO, 0, &line);
    if (packet.header.len() + HEAD) as u64 <= EARLY {
        return packet;
    }
    tracing::warn!(
        in_hand = line.holding.len(),
        asking = line.asking.len(),
        "too much is in hand to be resumed"
    );
    let line = HelloLine { resume: false, holding: Vec::new(), asking: Vec::new(), ..line };
    Packet::new(kind::HELLO, 0, &line)
}

/// The next packet, which must be of this kind.
async fn expect<T: serde::de::DeserializeOwned>(pipe: &Pipe, inlet: &mut Inlet, wanted: u8) -> Result<T> {
    let lost = |broken: Broken| down(Operation::Connect, broken.to_string());
    loop {
        match inlet.next().map_err(lost)? {
            None => inlet.fill(pipe).await.map_err(lost)?,
            Some(Said::Ping(context)) => {
                pipe.raw(&zmtp::pong(&context));
                pipe.finish(ATTEMPT).await.map_err(lost)?;
            }
            Some(Said::Message(frames)) => {
                let fault = |fault| unreadable(Operation::Connect, fault);
                let packet = Packet::from_frames(frames).map_err(fault)?;
                if packet.kind == kind::ERROR {
                    let line: ErrorLine =
                        packet.read().map_err(|fault| unreadable(Operation::Connect, fault))?;
                    return Err(line.error(Operation::Connect));
                }
                if packet.kind != wanted {
                    return Err(unreadable(Operation::Connect, "something else was said than hello"));
                }
                return packet.read().map_err(|fault| unreadable(Operation::Connect, fault));
            }
        }
    }
}

/// What becomes of what was under way before.
fn go_on(handle: &Handle, link: &Arc<Link>, welcome: &WelcomeLine) {
    for (number, call) in handle.switch.calls() {
        if !welcome.asking.contains(&number) {
            call.lost();
        }
    }
    if welcome.resumed {
        handle.switch.resumed(link);
    } else {
        handle.switch.begun_anew(link);
        for reader in locked(&handle.readers).iter() {
            reader.begun_anew();
        }
    }
}

impl Handle {
    /// The deliveries that are in somebody's hands here, or were settled without the broker having heard of it.
    pub(crate) fn holding(&self) -> Vec<u64> {
        // In this order: what is settled meanwhile is in one of the two.
        let mut holding = Vec::new();
        for reader in locked(&self.readers).iter() {
            reader.list_held(&mut holding);
        }
        holding.extend(self.switch.parked());
        holding
    }
}
