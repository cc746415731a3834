//! A worker's place at its queue: taking it up, and again when it has stalled.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use polybus_contract::{
    ConsumeOptions, Delivery, Incoming, Intake, Queue, Result, Start, SubscriptionState, Topology, Transport,
};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::shutdown::Shutdown;
use super::with_spare_attempt;
use crate::outage::{is_away, pause};

/// How often the subscription is looked at. The bus itself says after which time it calls it stalled.
pub(super) const LOOK: Duration = Duration::from_secs(5);

/// The longest pause between two restarts: what does not help is not done often.
const LONGEST: Duration = Duration::from_mins(5);

/// Tells the workers of one process apart.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Where a worker stands.
pub(super) struct Post {
    transport: Arc<dyn Transport>,
    pub(super) queue: Queue,
    intake: Intake,
    concurrency: u32,
    label: String,
    /// Restarts since something arrived.
    restarts: u32,
    /// No restart before.
    not_before: Option<Instant>,
}

impl Post {
    pub(super) fn new(
        transport: &Arc<dyn Transport>,
        queue: Queue,
        concurrency: u32,
        responder: Option<&str>,
    ) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self {
            transport: transport.clone(),
            intake: Intake::Queue(queue.name.clone()),
            queue,
            concurrency,
            label: format!("{}#{number}", responder.unwrap_or("worker")),
            restarts: 0,
            not_before: None,
        }
    }

    /// The intake, as soon as the bus is there; none if the shutdown comes first.
    pub(super) async fn taken(&self, shutdown: &Shutdown) -> Result<Option<Incoming<Delivery>>> {
        for attempt in 1.. {
            let away = match self.take().await {
                Err(error) if is_away(&error) => error,
                opened => return opened.map(Some),
            };
            // The first line says what is wrong; later ones would say the same.
            if attempt == 1 {
                warn!(queue = %self.queue.name, "waiting for the bus: {away}");
            }
            tokio::select! {
                biased;
                () = shutdown.draining() => break,
                () = tokio::time::sleep(pause(attempt)) => {}
            }
        }
        Ok(None)
    }

    async fn take(&self) -> Result<Incoming<Delivery>> {
        let topology = Topology::new().queue(with_spare_attempt(self.queue.clone()));
        let declared = self.transport.declare(&topology).await?;
        for difference in &declared.differences {
            warn!("an existing queue is used as it is: {difference}");
        }
        let options = ConsumeOptions::default()
            .with_credit(self.concurrency)
            .with_label(self.label.clone())
            .with_start(Start::Eventually);
        let incoming = self.transport.consume(&self.intake, options).await?;
        debug!(queue = %self.queue.name, jobs = self.concurrency, "serving");
        Ok(incoming)
    }

    /// How long this subscription has been still, if it has stalled and a restart is due.
    pub(super) fn stalled(&self) -> Option<Duration> {
        if self.not_before.is_some_and(|due| Instant::now() < due) {
            return None;
        }
        let name = self.intake.to_string();
        let subscriptions = self.transport.health().subscriptions;
        let own = subscriptions.into_iter().find(|one| one.intake == name && one.label == self.label)?;
        match own.state {
            SubscriptionState::Stalled(still) => Some(still),
            _ => None,
        }
    }

    /// Something arrived: whatever was wrong is over.
    pub(super) const fn flows(&mut self) {
        self.restarts = 0;
        self.not_before = None;
    }

    /// A restart: the next one waits longer.
    pub(super) fn restarted(&mut self) {
        let wait = LOOK.saturating_mul(1 << self.restarts.min(16)).min(LONGEST);
        self.restarts = self.restarts.saturating_add(1);
        self.not_before = Some(Instant::now() + wait);
    }
}
