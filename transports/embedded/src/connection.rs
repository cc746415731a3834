//! A handle on a bus: opening, sharing by name, health, draining.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use polybus_contract::{
    Counters, DrainReport, End, Error, Health, Kind, Link, Operation, Result, SharedDrain,
    SubscriptionHealth, SubscriptionState,
};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use crate::bus::{Bus, State};
use crate::config::Config;
use crate::consume::Reader;
use crate::error::closed;
use crate::journal::Store;
use crate::request::Caller;
use crate::subscribe::Subscription;

/// Nothing has moved for this long although messages and credit are there: the consumer counts as stalled.
const STALLED: Duration = Duration::from_secs(5);

/// The shared buses of this process. A bus lives as long as somebody holds a handle or a stream of it.
static SHARED: LazyLock<Mutex<HashMap<String, Weak<Bus>>>> = LazyLock::new(Mutex::default);

/// Numbers the private buses, so that their reply addresses do not mix.
static PRIVATE: AtomicU64 = AtomicU64::new(0);

/// What one user of a bus holds: its streams, its deliveries and its end are its own.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) bus: Arc<Bus>,
    /// Nothing new is taken in; what is in hand may still be finished, answered and logged.
    draining: AtomicBool,
    closed: AtomicBool,
    readers: Mutex<Vec<Arc<Reader>>>,
    subscriptions: Mutex<Vec<Arc<Subscription>>>,
    callers: Mutex<Vec<Weak<Caller>>>,
    /// Deliveries settled with success.
    settled: AtomicU64,
    /// A delivery came back while somebody drains.
    idle: Notify,
    health: Notify,
    drain: SharedDrain<Instant>,
}

/// The bus of this configuration: a fresh one, or the one that is shared under its name.
pub(crate) fn open(config: Config) -> Result<Arc<Handle>> {
    config.check()?;
    let key = match (&config.directory, &config.name) {
        (Some(directory), _) => Some(format!("//{}", directory.display())),
        (None, name) => name.as_ref().map(ToString::to_string),
    };
    let bus = match key {
        None => {
            let number = PRIVATE.fetch_add(1, Ordering::Relaxed);
            Bus::new(config, &format!("embedded#{number}"))
        }
        Some(name) => {
            let mut shared = locked(&SHARED);
            shared.retain(|_, bus| bus.strong_count() > 0);
            match shared.get(&name).and_then(Weak::upgrade) {
                Some(bus) if bus.config == config => bus,
                Some(_) => return Err(differs(&name)),
                None => {
                    let bus = Bus::new(config, &format!("embedded:{name}"));
                    shared.insert(name, Arc::downgrade(&bus));
                    bus
                }
            }
        }
    };
    Ok(Arc::new(Handle::new(bus)))
}

fn differs(name: &str) -> Error {
    Error::new(Kind::Conflict, Operation::Configure).with_target(format!("embedded:{name}")).with_detail(
        format!("this process (process {}) shares that bus with other options", std::process::id()),
    )
}

/// A panic elsewhere leaves these lists whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Handle {
    fn new(bus: Arc<Bus>) -> Self {
        Self {
            bus,
            draining: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            readers: Mutex::default(),
            subscriptions: Mutex::default(),
            callers: Mutex::default(),
            settled: AtomicU64::new(0),
            idle: Notify::new(),
            health: Notify::new(),
            drain: SharedDrain::default(),
        }
    }

    /// Refuses once the handle is closed (I7).
    pub(crate) fn open(&self, operation: Operation) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(closed(operation)) } else { Ok(()) }
    }

    /// Refuses new intake once a drain has begun.
    pub(crate) fn takes_in(&self, operation: Operation) -> Result<()> {
        if self.draining.load(Ordering::Acquire) { Err(closed(operation)) } else { Ok(()) }
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

    /// The stream of a reader is gone. While its deliveries are out it stays known, for a drain to take them back.
    pub(crate) fn remove_reader(&self) {
        locked(&self.readers).retain(|other| !other.is_over());
        self.health.notify_waiters();
    }

    pub(crate) fn add_subscription(&self, subscription: &Arc<Subscription>) {
        locked(&self.subscriptions).push(subscription.clone());
        self.health.notify_waiters();
        if self.takes_in(Operation::Subscribe).is_err() {
            subscription.leave(End::Drained);
        }
    }

    pub(crate) fn remove_subscription(&self, subscription: &Arc<Subscription>) {
        locked(&self.subscriptions).retain(|other| !Arc::ptr_eq(other, subscription));
        self.health.notify_waiters();
    }

    pub(crate) fn add_caller(&self, caller: &Arc<Caller>) {
        let mut callers = locked(&self.callers);
        if callers.len() == callers.capacity() {
            callers.retain(|caller| caller.strong_count() > 0);
        }
        callers.push(Arc::downgrade(caller));
        drop(callers);
        if self.open(Operation::Request).is_err() {
            caller.leave(End::Drained);
        }
    }

    /// A delivery was settled with success.
    pub(crate) fn count_settled(&self) {
        self.settled.fetch_add(1, Ordering::Release);
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

    pub(crate) fn health(&self) -> Health {
        let link = self.link();
        let mut health = Health { link, counters: self.counters(), ..Health::default() };
        health.notes.extend(self.bus.store.as_ref().and_then(Store::note));
        let readers = locked(&self.readers).clone();
        let now = self.bus.since_start();
        self.bus.look(|state| {
            for reader in &readers {
                let Some(in_hand) = reader.seen(state) else { continue };
                let stalled = reader.stalled(state, now).filter(|time| *time >= STALLED);
                health.subscriptions.push(SubscriptionHealth {
                    intake: reader.intake.clone(),
                    label: reader.label.clone(),
                    state: stalled.map_or(SubscriptionState::Live, SubscriptionState::Stalled),
                    in_hand,
                    arrived: reader.arrived.load(Ordering::Relaxed),
                });
            }
        });
        let subscriptions = locked(&self.subscriptions).clone();
        health.subscriptions.extend(subscriptions.iter().map(|subscription| SubscriptionHealth {
            intake: format!("topic {}", subscription.topic),
            label: subscription.label.clone(),
            state: SubscriptionState::Live,
            in_hand: 0,
            arrived: subscription.arrived.load(Ordering::Relaxed),
        }));
        health
    }

    fn link(&self) -> Link {
        if self.open(Operation::Connect).is_err() {
            return Link::Closed;
        }
        let failed = self.bus.store.as_ref().and_then(|store| store.progress.failed());
        match failed {
            Some(why) => Link::Down { since: Duration::ZERO, reason: why.to_string() },
            None if self.bus.look(State::is_held_back) => Link::Blocked,
            None => Link::Up,
        }
    }

    fn counters(&self) -> Counters {
        let (totals, pending) = self.bus.look(|state| (state.engine.totals(), state.calls.len()));
        Counters {
            late_replies: self.bus.late_replies.load(Ordering::Relaxed),
            missed: self.bus.missed.load(Ordering::Relaxed),
            dead_dropped: totals.dead_dropped,
            overflowed: totals.dropped_at_bound,
            expired: totals.expired,
            pending_requests: pending as u64,
        }
    }

    /// Starts the drain, or joins the one that runs; a nearer deadline counts for all.
    pub(crate) async fn drain(self: &Arc<Self>, within: Duration) -> DrainReport {
        let begin = |deadline| self.clone().drain_until(deadline);
        let report = self.drain.join(Instant::now() + within, begin, |drain| drop(tokio::spawn(drain))).await;
        // The task outlives its callers; if its runtime ended, everything that was open is abandoned.
        report.unwrap_or_else(|| self.finish_drain(self.settled.load(Ordering::Acquire), 0))
    }

    async fn drain_until(self: Arc<Self>, mut deadline: watch::Receiver<Instant>) -> DrainReport {
        let settled = self.settled.load(Ordering::Acquire);
        self.draining.store(true, Ordering::Release);
        self.health.notify_waiters();
        let returned = self.stop_intake();
        let readers = locked(&self.readers).clone();
        loop {
            let mut idle = std::pin::pin!(self.idle.notified());
            idle.as_mut().enable();
            if !readers.iter().any(|reader| reader.holds()) {
                break;
            }
            let until = *deadline.borrow_and_update();
            tokio::select! {
                () = &mut idle => {}
                Ok(()) = deadline.changed() => {}
                () = sleep_until(until) => break,
            }
        }
        let mut report = self.finish_drain(settled, returned);
        let until = *deadline.borrow();
        report.unflushed = self.bus.flush(until).await;
        report
    }

    /// Ends what arrives and gives back what nobody has seen.
    fn stop_intake(&self) -> u64 {
        let readers = locked(&self.readers).clone();
        let returned = readers.iter().map(|reader| reader.leave(End::Drained)).sum();
        let subscriptions = locked(&self.subscriptions).clone();
        for subscription in &subscriptions {
            subscription.leave(End::Drained);
        }
        returned
    }

    /// Closes. What is still in hand is taken back; its late settle answers `Stale`.
    fn finish_drain(&self, settled: u64, returned: u64) -> DrainReport {
        self.draining.store(true, Ordering::Release);
        self.closed.store(true, Ordering::Release);
        self.bus.room.notify_waiters();
        let callers = std::mem::take(&mut *locked(&self.callers));
        callers.iter().filter_map(Weak::upgrade).for_each(|caller| caller.leave(End::Drained));
        let readers = std::mem::take(&mut *locked(&self.readers));
        let abandoned = readers.iter().map(|reader| reader.abandon()).sum();
        let finished = self.settled.load(Ordering::Acquire) - settled;
        self.health.notify_waiters();
        DrainReport { finished, returned, abandoned, unflushed: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i1_building_does_nothing_and_needs_no_runtime() {
        let first = open(Config::from_url("embedded:i1").unwrap()).unwrap();
        let second = open(Config::from_url("embedded:i1").unwrap()).unwrap();
        assert!(Arc::ptr_eq(&first.bus, &second.bus));
        let alone = open(Config::default()).unwrap();
        assert!(!Arc::ptr_eq(&alone.bus, &open(Config::default()).unwrap().bus));
        let other = open(Config::from_url("embedded:i1?max_message=5").unwrap());
        assert_eq!(other.err().unwrap().kind(), Kind::Conflict);
    }
}
