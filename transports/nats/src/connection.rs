//! A handle on the bus: connecting, supervising, reconnecting, health.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, ReconnectToServer, ServerAddr};
use polybus_contract::{
    Counters, End, Error, Health, Kind, Link as LinkHealth, Operation, Profile, Result, SharedDrain,
};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::capability;
use crate::config::Config;
use crate::consume::Reader;
use crate::error::{closed, down, unknown};
use crate::link::{LOST, Link, Waiting, again_as, hand_on};
use crate::names::Names;
use crate::publish::Publisher;
use crate::request::Caller;
use crate::room::Room;
use crate::subscribe::Subscription;
use crate::tls;
use crate::topology::Held;

/// How long one attempt to connect to one server may take.
const ATTEMPT: Duration = Duration::from_secs(5);

/// The first pause between attempts; each further one is twice as long, up to the longest.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The pause after the server refused our credentials: nothing gets better by asking often.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);

/// Messages that wait in one subscription until its task takes them, and commands that wait for the connection.
const SUBSCRIPTION_ROOM: usize = 65_536;
const COMMAND_ROOM: usize = 4096;

/// Where the client library is sent instead of reconnecting: nobody can listen on port 0, so it gives up at once.
const NOWHERE: &str = "nats://127.0.0.1:0";

/// What one user of the bus holds: its connection, its streams, its deliveries.
pub(crate) struct Handle {
    pub(crate) config: Config,
    pub(crate) names: Names,
    pub(crate) instance: Arc<str>,
    pub(crate) waiting: Arc<Waiting>,
    pub(crate) publisher: Publisher,
    pub(crate) held: Held,
    /// Before and after the server is known.
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
    pub(crate) numbers: AtomicU64,
    pub(crate) missed: AtomicU64,
    pub(crate) dead_dropped: AtomicU64,
    pub(crate) expired: AtomicU64,
    /// Whether the server has room for what is published.
    pub(crate) room: Room,
    /// A delivery is out of somebody's hands.
    pub(crate) idle: Notify,
    pub(crate) health: Notify,
    pub(crate) drain: SharedDrain<Instant>,
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
        f.debug_struct("Handle").field("instance", &self.instance).finish_non_exhaustive()
    }
}

/// A panic elsewhere leaves these lists whole.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A handle; without I/O.
pub(crate) fn open(config: Config) -> Result<Arc<Handle>> {
    config.check()?;
    let instance: Arc<str> = config.instance().into();
    let own = uuid::Uuid::new_v4().simple().to_string();
    let inbox = format!("{}.{own}", config.inbox);
    Ok(Arc::new(Handle {
        names: Names::new(config.prefix.as_ref()),
        waiting: Arc::new(Waiting::new(inbox)),
        publisher: Publisher::new(own),
        held: Held::default(),
        before: capability::profile(&instance, capability::of(&config)),
        after: OnceLock::new(),
        link: watch::Sender::new(None),
        state: watch::Sender::default(),
        started: AtomicBool::new(false),
        draining: AtomicBool::new(false),
        closed: watch::Sender::new(false),
        readers: Mutex::default(),
        subscriptions: Mutex::default(),
        callers: Mutex::default(),
        numbers: AtomicU64::new(0),
        missed: AtomicU64::new(0),
        dead_dropped: AtomicU64::new(0),
        expired: AtomicU64::new(0),
        room: Room::default(),
        idle: Notify::new(),
        health: Notify::new(),
        drain: SharedDrain::default(),
        instance,
        config,
    }))
}

impl Handle {
    pub(crate) fn profile(&self) -> &Profile {
        self.after.get().unwrap_or(&self.before)
    }

    /// Refuses once it is closed.
    pub(crate) fn open(&self, operation: Operation) -> Result<()> {
        if *self.closed.borrow() { Err(closed(operation)) } else { Ok(()) }
    }

    /// Refuses what is new once a drain has begun.
    pub(crate) fn takes_in(&self, operation: Operation) -> Result<()> {
        if self.draining.load(Ordering::Acquire) { Err(closed(operation)) } else { self.open(operation) }
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
            state.up
                || *self.closed.borrow()
                || (state.failures > before && is_permanent(state.reason.as_ref()))
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
                found.ok().and_then(Result::ok).and_then(|link| link.clone())
            }
            _ = closing.wait_for(|closed| *closed) => return Err(closed(operation)),
        };
        found.ok_or_else(|| self.why_down(operation))
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

    /// The connection is there and everything that was declared as well: consumers go on.
    fn set_up(&self, link: &Arc<Link>) {
        let capability = capability::on(&self.config, link.max_payload, link.jetstream);
        let _ = self.after.set(capability::profile(&self.instance, capability));
        self.link.send_replace(Some(link.clone()));
        self.state.send_replace(State { up: true, ..State::default() });
        self.health.notify_waiters();
    }

    fn set_lost(&self) {
        self.link.send_replace(None);
        self.waiting.fail_all(LOST);
        self.failed(unknown(Operation::Connect, LOST).with_status(polybus_contract::Status::Temporary));
    }

    /// Closes: whatever waits learns it.
    pub(crate) fn close(&self) {
        self.draining.store(true, Ordering::Release);
        self.closed.send_replace(true);
        self.link.send_replace(None);
        self.health.notify_waiters();
    }

    /// Whether it is closed: for what must decide without an error.
    pub(crate) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    pub(crate) fn health(&self) -> Health {
        let mut health = Health { link: self.link_health(), counters: self.counters(), ..Health::default() };
        let readers = locked(&self.readers).clone();
        health.subscriptions.extend(readers.iter().filter_map(|reader| reader.health()));
        let subscriptions = locked(&self.subscriptions).clone();
        health.subscriptions.extend(subscriptions.iter().map(|subscription| subscription.health()));
        health
    }

    fn link_health(&self) -> LinkHealth {
        if self.open(Operation::Connect).is_err() {
            return LinkHealth::Closed;
        }
        let state = self.state.borrow();
        match state.down_since {
            Some(since) => LinkHealth::Down {
                since: since.elapsed(),
                reason: state.reason.as_ref().map(ToString::to_string).unwrap_or_default(),
            },
            None if state.up && self.room.is_out() => LinkHealth::Blocked,
            None if state.up => LinkHealth::Up,
            None => LinkHealth::Idle,
        }
    }

    /// How long there was no connection; `None`: there is one.
    pub(crate) fn down_for(&self) -> Option<Duration> {
        let state = self.state.borrow();
        if state.up { None } else { Some(state.down_since.map(|since| since.elapsed()).unwrap_or_default()) }
    }

    fn counters(&self) -> Counters {
        Counters {
            late_replies: self.waiting.late.load(Ordering::Relaxed),
            missed: self.missed.load(Ordering::Relaxed),
            dead_dropped: self.dead_dropped.load(Ordering::Relaxed),
            overflowed: 0,
            expired: self.expired.load(Ordering::Relaxed),
            pending_requests: self.waiting.calls(),
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

    /// A delivery is out of somebody's hands: a drain may be waiting for that.
    pub(crate) fn given_back(&self) {
        if self.draining.load(Ordering::Acquire) {
            self.idle.notify_waiters();
        }
    }

    pub(crate) async fn health_changed(&self) {
        self.health.notified().await;
    }
}

fn is_permanent(reason: Option<&Error>) -> bool {
    reason.is_some_and(|reason| matches!(reason.kind(), Kind::Unauthorized | Kind::Configuration))
}

/// The task that hands on what comes to the inbox. It holds the connection: it ends with whoever holds this.
struct Inbox(JoinHandle<()>);

impl Drop for Inbox {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Keeps one connection: makes it, watches over it, makes the next one. It does not keep the handle.
async fn supervise(handle: Weak<Handle>, mut closing: watch::Receiver<bool>) {
    let (mut attempts, mut turn) = (0, 0_usize);
    loop {
        let Some(open) = handle.upgrade().filter(|handle| !handle.is_closed()) else { return };
        let attempt = connect_once(&open, turn);
        let made = tokio::select! {
            made = attempt => made,
            _ = closing.wait_for(|closed| *closed) => return,
        };
        // A server that was lost, or could not be reached, has its next turn after the others.
        turn = turn.wrapping_add(1);
        match made {
            Ok((link, mut inbox)) => {
                attempts = 0;
                open.set_up(&link);
                drop(open);
                tokio::select! {
                    _ = &mut inbox.0 => {}
                    _ = closing.wait_for(|closed| *closed) => return,
                }
                let Some(open) = handle.upgrade() else { return };
                open.set_lost();
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

/// Grows, and varies, so that many clients of one server do not come back at the same moment.
fn pause(attempts: u32, error: &Error) -> Duration {
    if is_permanent(Some(error)) {
        return REFUSED_PAUSE;
    }
    let full = PAUSE.saturating_mul(1 << attempts.min(10)).min(LONGEST_PAUSE);
    full.mul_f64(fastrand::f64().mul_add(0.5, 0.5))
}

/// One attempt with one of the servers. On success the inbox is live and what was declared is there again. The task
/// ends when the connection is lost.
async fn connect_once(handle: &Arc<Handle>, turn: usize) -> Result<(Arc<Link>, Inbox)> {
    let servers = &handle.config.servers;
    let Some((host, port)) = servers.get(turn % servers.len().max(1)) else {
        return Err(Error::new(Kind::Configuration, Operation::Connect).with_detail("no server is named"));
    };
    let client = dial(&handle.config, host, *port).await?;
    let domain = handle.config.domain.as_ref().map(AsRef::as_ref);
    let link = Arc::new(Link::new(client, handle.waiting.clone(), domain));
    let inbox = Inbox(tokio::spawn(hand_on(link.listen().await?, link.waiting.clone())));
    link.round_trip(Operation::Connect, Instant::now() + ATTEMPT).await?;
    handle.declare_again(&link).await?;
    Ok((link, inbox))
}

/// A connection to one server, which ends at its first loss.
async fn dial(config: &Config, host: &str, port: u16) -> Result<Client> {
    let place = format!("{host}:{port}");
    let address: ServerAddr = place.parse().map_err(|_| {
        Error::new(Kind::Configuration, Operation::Connect)
            .with_target(&place)
            .with_detail("no address looks like that")
    })?;
    let options = options(config).await?;
    let client = timeout(ATTEMPT, options.connect(address)).await;
    let client =
        client.map_err(|_| down(Operation::Connect, "the server does not answer").with_target(&place))?;
    let client = client.map_err(|error| refused(&error).with_target(&place))?;
    let nowhere: ServerAddr = NOWHERE.parse().map_err(|_| down(Operation::Connect, LOST))?;
    timeout(ATTEMPT, client.set_server_pool(nowhere))
        .await
        .ok()
        .and_then(Result::ok)
        .ok_or_else(|| down(Operation::Connect, LOST).with_target(&place))?;
    Ok(client)
}

pub(crate) async fn options(config: &Config) -> Result<ConnectOptions> {
    let mut options = ConnectOptions::new()
        .name("polybus")
        .custom_inbox_prefix(&config.inbox)
        .connection_timeout(ATTEMPT)
        .ping_interval(config.ping)
        .subscription_capacity(SUBSCRIPTION_ROOM)
        .client_capacity(COMMAND_ROOM)
        .ignore_discovered_servers()
        .max_reconnects(1)
        // Each attempt is ours: the library shall neither wait nor choose.
        .reconnect_to_server_callback(|servers, _| async move {
            servers
                .first()
                .map(|server| ReconnectToServer { addr: server.addr.clone(), delay: Some(Duration::ZERO) })
        })
        .require_tls(config.tls);
    if let Some((user, password)) = &config.login {
        options = options.user_and_password(user.clone(), password.expose().to_owned());
    }
    if let Some(token) = &config.token {
        options = options.token(token.expose().to_owned());
    }
    if let Some(file) = &config.nkey {
        options = options.nkey(read(file).await?.trim().to_owned());
    }
    if let Some(file) = &config.creds {
        let bad = |_| unreadable(file, "it holds no credentials");
        options = options.credentials(&read(file).await?).map_err(bad)?;
    }
    with_tls(options, config).await
}

async fn with_tls(mut options: ConnectOptions, config: &Config) -> Result<ConnectOptions> {
    // The library would say only that TLS does not work.
    for file in [&config.ca, &config.cert, &config.key].into_iter().flatten() {
        read(file).await?;
    }
    if let Some(name) = config.server_name.clone() {
        let config = config.clone();
        let made = tokio::task::spawn_blocking(move || tls::for_name(&config, &name)).await;
        let made = made.map_err(|_| down(Operation::Connect, "reading certificates was cut off"))?;
        return made.map(|made| options.tls_client_config(made));
    }
    if let Some(file) = &config.ca {
        options = options.add_root_certificates(file.clone());
    }
    if let (Some(cert), Some(key)) = (&config.cert, &config.key) {
        options = options.add_client_certificate(cert.clone(), key.clone());
    }
    Ok(options)
}

/// Read anew for each connection: credentials are replaced while programs run.
async fn read(file: &Path) -> Result<String> {
    let path = file.to_owned();
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
    match read {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(error)) => Err(unreadable(file, &error.to_string())),
        Err(_) => Err(unreadable(file, "reading it was cut off")),
    }
}

fn unreadable(file: &Path, why: &str) -> Error {
    Error::new(Kind::Configuration, Operation::Connect).with_target(file.display()).with_detail(why)
}

/// What the library says about a connection that was not made. Its texts hold no credentials, but the server's may
/// repeat what it was sent: only the kind is told, and what is wrong with TLS.
fn refused(error: &async_nats::ConnectError) -> Error {
    if let Some(tls) = tls_error(error) {
        // An alert is the server's: it does not like what we showed.
        let kind = match tls {
            async_nats::rustls::Error::AlertReceived(_) => Kind::Unauthorized,
            _ => Kind::Disconnected,
        };
        return Error::new(kind, Operation::Connect).with_detail(tls.to_string());
    }
    let kind = match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => Kind::Unauthorized,
        ConnectErrorKind::ServerParse => Kind::Configuration,
        _ => Kind::Disconnected,
    };
    Error::new(kind, Operation::Connect).with_detail(error.kind().to_string())
}

fn tls_error(error: &async_nats::ConnectError) -> Option<&async_nats::rustls::Error> {
    let inner = std::error::Error::source(error)?;
    let inside = inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    inside.and_then(|inside| inside.downcast_ref()).or_else(|| inner.downcast_ref())
}
