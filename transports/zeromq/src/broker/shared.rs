//! What all connections of a broker share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use polybus_contract::{Link, Profile, ReplyTo, Result, Transport};
use rustc_hash::FxHashMap;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::config::BrokerConfig;
use super::state::State;
use crate::wire::verbs::InfoHeader;

/// How often what clients are told of the broker is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// How long a connection may take to hand over to the one that its client has made instead.
const HAND_OVER: Duration = Duration::from_secs(2);

/// Room for the name of a sender.
const SENDER: u64 = 128;

type Open = Box<dyn Fn() -> Result<Arc<dyn Transport>> + Send + Sync>;

/// Where somebody who comes back finds what is his.
pub(super) type Takeover = mpsc::Sender<oneshot::Sender<Box<State>>>;

/// A client, with whom it proved to be.
pub(super) type Client = (Option<Arc<str>>, Arc<str>);

enum Slot {
    Attached(u64, Takeover),
    Detached(u64, Box<State>),
}

pub(super) struct Shared {
    pub(super) config: BrokerConfig,
    pub(super) bus: Arc<dyn Transport>,
    open: Open,
    /// What clients are told that the bus is.
    pub(super) profile: Profile,
    /// The instance of the bus inside, for addresses of replies.
    inner: Arc<str>,
    /// In front of each reply address: those of an earlier run of the broker are nobody's.
    epoch: String,
    clients: Mutex<FxHashMap<Client, Slot>>,
    sessions: AtomicU64,
    pub(super) closing: watch::Sender<bool>,
    pub(super) left: Notify,
    pub(super) info: watch::Sender<InfoHeader>,
    pub(super) connections: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) cut: AtomicU64,
    pub(super) malformed: AtomicU64,
    pub(super) unauthorized: AtomicU64,
}

impl Shared {
    pub(super) fn new(config: BrokerConfig, bus: Arc<dyn Transport>, open: Open) -> Arc<Self> {
        let inner = bus.profile();
        let instance = format!("zmq:{}", config.name);
        let mut capability = inner.capability;
        if config.identities.is_some() {
            // The broker adds the name of the sender.
            capability.max_message = capability.max_message.map(|most| most.saturating_sub(SENDER));
        }
        let profile = Profile::new(crate::wire::BUS, instance, capability, inner.fidelity);
        let shared = Arc::new(Self {
            config,
            bus,
            open,
            profile,
            inner: inner.instance,
            epoch: uuid::Uuid::new_v4().simple().to_string()[..16].to_owned(),
            clients: Mutex::default(),
            sessions: AtomicU64::new(0),
            closing: watch::Sender::new(false),
            left: Notify::new(),
            info: watch::Sender::default(),
            connections: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            cut: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
            unauthorized: AtomicU64::new(0),
        });
        shared.look();
        shared
    }

    pub(super) fn handle(&self) -> Result<Arc<dyn Transport>> {
        (self.open)()
    }

    fn clients(&self) -> MutexGuard<'_, FxHashMap<Client, Slot>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The largest body of a packet: a message, or a part of a large body.
    pub(super) fn largest(&self) -> u64 {
        let message = self.profile.capability.max_message.unwrap_or(64 << 20);
        message.max(u64::from(self.part_size()))
    }

    pub(super) fn part_size(&self) -> u32 {
        self.bus.parts().map_or(0, |store| store.part_size())
    }

    /// A reply address as clients see it.
    pub(super) fn address(&self, to: &ReplyTo) -> String {
        format!("{}.{to}", self.epoch)
    }

    /// The address that a client means; one of an earlier run, or of nothing, is nobody's.
    pub(super) fn reply_to(&self, address: &str) -> ReplyTo {
        let own = address.strip_prefix(self.epoch.as_str()).and_then(|rest| rest.strip_prefix('.'));
        ReplyTo::new(self.inner.clone(), own.unwrap_or("0"))
    }

    /// Takes the place of a client, and what is kept for it.
    pub(super) async fn attach(&self, client: &Client, takeover: Takeover) -> (u64, Option<Box<State>>) {
        let session = self.sessions.fetch_add(1, Ordering::Relaxed);
        let before = self.clients().insert(client.clone(), Slot::Attached(session, takeover));
        let state = match before {
            None => None,
            Some(Slot::Detached(_, state)) => Some(state),
            Some(Slot::Attached(_, old)) => {
                let (give, get) = oneshot::channel();
                // An old connection that does not answer has ended by itself, or will.
                let _ = old.send(give).await;
                timeout(HAND_OVER, get).await.ok().and_then(std::result::Result::ok)
            }
        };
        (session, state)
    }

    /// Keeps what a client has in hand, for it to come back.
    pub(super) fn detach(self: &Arc<Self>, client: Client, session: u64, state: Box<State>) {
        let mut clients = self.clients();
        let is_own = matches!(clients.get(&client), Some(Slot::Attached(of, _)) if *of == session);
        if !is_own || *self.closing.borrow() {
            drop(clients);
            return;
        }
        clients.insert(client.clone(), Slot::Detached(session, state));
        drop(clients);
        let (shared, keep) = (Arc::downgrade(self), self.config.resume);
        tokio::spawn(async move {
            sleep(keep).await;
            if let Some(shared) = shared.upgrade() {
                shared.forget(&client, session);
            }
        });
    }

    /// The client is gone, and what it had in hand goes back.
    pub(super) fn forget(&self, client: &Client, session: u64) {
        let mut clients = self.clients();
        let is_own = |slot: &Slot| match slot {
            Slot::Attached(of, _) | Slot::Detached(of, _) => *of == session,
        };
        let gone = if clients.get(client).is_some_and(is_own) { clients.remove(client) } else { None };
        drop(clients);
        // What it held is given back without the lock.
        drop(gone);
    }

    pub(super) fn forget_all(&self) {
        let all = std::mem::take(&mut *self.clients());
        drop(all);
    }

    fn look(&self) {
        let health = self.bus.health();
        let counters = health.counters;
        let info = InfoHeader {
            blocked: health.link == Link::Blocked,
            failed: match health.link {
                Link::Down { reason, .. } => Some(reason),
                _ => None,
            },
            late_replies: counters.late_replies,
            missed: counters.missed,
            dead_dropped: counters.dead_dropped,
            overflowed: counters.overflowed,
            expired: counters.expired,
            notes: health.notes,
        };
        self.info.send_if_modified(|before| {
            let changed = *before != info;
            *before = info;
            changed
        });
    }

    /// Keeps what clients are told up to date.
    pub(super) async fn watch(self: Arc<Self>) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look();
        }
    }
}
