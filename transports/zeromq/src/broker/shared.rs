//! What all connections of a broker share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use polybus_contract::{Link, Profile, ReplyTo, Result, Transport};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::address::Addresses;
use super::clients::{Client, Clients, Slot, Takeover};
use super::config::BrokerConfig;
use super::state::State;
use super::undelivered::Undelivered;
use crate::wire::verbs::InfoHeader;

/// How often what clients are told of the broker is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// How long a connection may take to hand over to the one that its client has made instead.
pub(super) const HAND_OVER: Duration = Duration::from_secs(2);

/// Room for the name of a sender.
const SENDER: u64 = 128;

type Open = Box<dyn Fn() -> Result<Arc<dyn Transport>> + Send + Sync>;

pub(super) struct Shared {
    pub(super) config: BrokerConfig,
    pub(super) bus: Arc<dyn Transport>,
    open: Open,
    /// What clients are told that the bus is.
    pub(super) profile: Profile,
    /// The instance of the bus inside, for addresses of replies.
    inner: Arc<str>,
    addresses: Addresses,
    clients: Mutex<Clients>,
    sessions: AtomicU64,
    pub(super) closing: watch::Sender<bool>,
    pub(super) left: Notify,
    pub(super) info: watch::Sender<InfoHeader>,
    pub(super) connections: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) cut: AtomicU64,
    pub(super) malformed: AtomicU64,
    pub(super) unauthorized: AtomicU64,
    pub(super) undelivered: Undelivered,
    pub(super) abandoned: Arc<AtomicU64>,
    pub(super) forgotten: AtomicU64,
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
            addresses: Addresses::new(),
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
            undelivered: Undelivered::default(),
            abandoned: Arc::default(),
            forgotten: AtomicU64::new(0),
        });
        shared.look();
        shared
    }

    pub(super) fn handle(&self) -> Result<Arc<dyn Transport>> {
        (self.open)()
    }

    pub(super) fn clients(&self) -> MutexGuard<'_, Clients> {
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
        self.addresses.outside(&to.to_string())
    }

    /// The address that a client means; one of an earlier run, or that was never given out, is nobody's.
    pub(super) fn reply_to(&self, address: &str) -> ReplyTo {
        ReplyTo::new(self.inner.clone(), self.addresses.inside(address).unwrap_or("0"))
    }

    /// Takes the place of a client, and what is kept for it.
    pub(super) async fn attach(&self, client: &Client, takeover: Takeover) -> (u64, Option<Box<State>>) {
        let session = self.sessions.fetch_add(1, Ordering::Relaxed);
        let before = self.clients().attach(client, session, takeover);
        let state = match before {
            None => None,
            Some(Slot::Detached(_, _, state)) => Some(state),
            Some(Slot::Attached(_, old)) => {
                let (give, get) = oneshot::channel();
                // An old connection that does not answer has ended by itself, or will.
                let _ = old.send(give).await;
                timeout(HAND_OVER, get).await.ok().and_then(std::result::Result::ok)
            }
        };
        (session, state)
    }

    /// Keeps what a client has in hand, for it to come back. No more are kept than may be connected: beyond that who is away
    /// for longest is counted and forgotten, as if its time had passed. Hands it back if the client is here again.
    pub(super) fn detach(&self, client: Client, session: u64, state: Box<State>) -> Option<Box<State>> {
        if *self.closing.borrow() {
            return None;
        }
        let gone = self.clients().detach(client, session, state, self.config.max_clients);
        // What somebody held is given back without the lock, here and below.
        if matches!(gone, Ok(Some(_))) {
            self.forgotten.fetch_add(1, Ordering::Relaxed);
        }
        gone.err()
    }

    /// The client is gone, and what it had in hand goes back.
    pub(super) fn forget(&self, client: &Client, session: u64) {
        let gone = self.clients().remove(client, session);
        drop(gone);
    }

    fn forget_late(&self) {
        let late = self.clients().remove_late(self.config.resume);
        drop(late);
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

    /// Keeps what clients are told up to date, and forgets those who do not come back.
    pub(super) async fn watch(self: Arc<Self>) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look();
            self.forget_late();
        }
    }
}
