//! The broker: any bus behind a ROUTER, for clients in other processes and languages.
//!
//! Each connection is one task with one handle on the bus. What a client says is translated into calls of the contract,
//! what the bus answers and hands out goes back. A client costs bounded memory: what it sends waits in the socket while
//! its calls wait, what it does not read holds up nobody but itself, and in the end it is cut.

mod accept;
mod address;
mod clients;
mod config;
mod desk;
mod feed;
mod hand;
mod hello;
mod identity;
mod large;
mod session;
mod shared;
mod state;
mod undelivered;
mod uploads;
mod verbs;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use polybus_contract::{DrainReport, Error, Kind, Operation, Result, Transport};
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use config::BrokerConfig;
pub use identity::Identities;

use crate::socket::{Listener, Place};
use shared::Shared;

/// What sessions may still take to finish what they have begun.
const FINISH: Duration = Duration::from_secs(5);

/// What happened at a broker since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BrokerCounts {
    /// Connections now, those that have not said who they are among them.
    pub connections: u64,
    /// Connections that were refused because there were too many.
    pub refused: u64,
    /// Connections that were cut: not ZMTP, too large, too slow, silent, or not reading.
    pub cut: u64,
    /// Packets that could not be understood and were answered with an error.
    pub malformed: u64,
    /// Hellos with a user or proof that is wrong.
    pub unauthorized: u64,
    /// Publishes and replies without an answer (number 0) that failed because a queue was full.
    pub undelivered_full: u64,
    /// The same, because nobody takes what is sent there.
    pub undelivered_unroutable: u64,
    /// The same, because the user may not do that.
    pub undelivered_unauthorized: u64,
    /// The same, for any other reason.
    pub undelivered_other: u64,
    /// Large bodies that were begun and ended because no part came for too long.
    pub abandoned: u64,
    /// Clients that were away and forgotten before their time, because too many were.
    pub forgotten: u64,
}

impl BrokerCounts {
    /// Publishes and replies without an answer that failed, for whatever reason. Each client is told its own.
    #[must_use]
    pub const fn undelivered(&self) -> u64 {
        let refused = self.undelivered_full + self.undelivered_unroutable + self.undelivered_unauthorized;
        refused + self.undelivered_other
    }
}

/// A broker that runs. Dropped, it ends at once; see [`Broker::drain`] for an end in order.
pub struct Broker {
    shared: Arc<Shared>,
    places: Vec<Place>,
    tasks: JoinSet<()>,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("places", &self.places).finish_non_exhaustive()
    }
}

impl Broker {
    /// Opens the bus and listens. `open` makes a handle on the same bus each time; it does no I/O.
    ///
    /// # Errors
    /// [`Kind::Configuration`] for a place beyond this machine without identities, or one where nothing can be listened
    /// to; whatever opening the bus says.
    pub async fn start(
        config: BrokerConfig,
        open: impl Fn() -> Result<Arc<dyn Transport>> + Send + Sync + 'static,
    ) -> Result<Self> {
        config.check()?;
        let bus = open()?;
        bus.connect(config.open_within).await?;
        let mut listeners = Vec::new();
        for place in &config.listen {
            let listener = Listener::bind(place).await.map_err(|error| {
                Error::new(Kind::Configuration, Operation::Connect)
                    .with_target(place)
                    .with_detail(format!("cannot listen: {error}"))
            })?;
            listeners.push(listener);
        }
        let place = |listener: &Listener| {
            let place = listener.place();
            place.map_err(|error| {
                Error::new(Kind::Internal, Operation::Connect).with_detail(error.to_string())
            })
        };
        let places = listeners.iter().map(place).collect::<Result<_>>()?;
        let shared = Shared::new(config, bus, Box::new(open));
        let mut tasks = JoinSet::new();
        tasks.spawn(shared.clone().watch());
        for listener in listeners {
            tasks.spawn(accept::accept(shared.clone(), listener));
        }
        Ok(Self { shared, places, tasks })
    }

    /// Where it listens; port 0 has become a port.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> BrokerCounts {
        let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        let shared = &self.shared;
        let undelivered = &shared.undelivered;
        BrokerCounts {
            connections: of(&shared.connections),
            refused: of(&shared.refused),
            cut: of(&shared.cut),
            malformed: of(&shared.malformed),
            unauthorized: of(&shared.unauthorized),
            undelivered_full: of(&undelivered.full),
            undelivered_unroutable: of(&undelivered.unroutable),
            undelivered_unauthorized: of(&undelivered.unauthorized),
            undelivered_other: of(&undelivered.other),
            abandoned: of(&shared.abandoned),
            forgotten: of(&shared.forgotten),
        }
    }

    /// The bus behind it.
    #[must_use]
    pub fn bus(&self) -> &Arc<dyn Transport> {
        &self.shared.bus
    }

    /// Ends in order: listens no longer, answers what it has taken, closes the connections, and then the bus. What clients
    /// have in hand stays theirs as far as the bus keeps it.
    pub async fn drain(mut self, within: Duration) -> DrainReport {
        self.shared.closing.send_replace(true);
        let shared = self.shared.clone();
        let gone = async {
            while shared.connections.load(Ordering::Acquire) > 0 {
                shared.left.notified().await;
            }
        };
        // Who does not end in time is cut.
        let _ = timeout(within.min(FINISH), gone).await;
        self.tasks.shutdown().await;
        self.shared.forget_all();
        self.shared.bus.drain(within).await
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.shared.closing.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use polybus_embedded::Embedded;

    use super::*;
    use crate::ZeroMq;

    #[tokio::test(flavor = "multi_thread")]
    async fn who_gets_no_handle_leaves_nothing() {
        let opened = AtomicUsize::new(0);
        let open = move || {
            if opened.fetch_add(1, Ordering::Relaxed) > 0 {
                return Err(Error::new(Kind::Full, Operation::Connect));
            }
            Ok(Arc::new(Embedded::from_url("embedded:no-handle")?) as Arc<dyn Transport>)
        };
        let place = Place::from_url("zmq://127.0.0.1:0").unwrap();
        let broker = Broker::start(BrokerConfig::new(vec![place]), open).await.unwrap();
        let client = ZeroMq::from_url(&broker.places()[0].to_string()).unwrap();
        let refused = client.connect(Duration::from_millis(500)).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Full);
        client.drain(Duration::ZERO).await;
        while broker.counts().connections > 0 {
            broker.shared.left.notified().await;
        }
        assert_eq!(broker.shared.clients().len(), (0, 0));
    }
}
