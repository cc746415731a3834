//! What a process that serves shows of itself: to probes, to Prometheus, to people.

mod metrics;
mod page;
mod pages;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use polybus_contract::{Health, Intake, Name, QueueInfo};

use crate::connect::Bus;
use crate::figures::look;
use crate::worker::Observer;
use metrics::Metrics;

pub use pages::StatusPages;

/// How old the figures of queues may be: however often somebody asks, the bus is asked no more often than this.
const FRESH: Duration = Duration::from_secs(5);

/// How long the bus may take to tell the figures of one queue.
const FIGURES: Duration = Duration::from_secs(2);

/// The state of a process that serves queues. Cheap to clone; all clones are one.
///
/// [`ServiceStatus::observer`] counts what workers do, [`StatusPages`] shows it.
#[derive(Clone)]
pub struct ServiceStatus {
    inner: Arc<Inner>,
}

struct Inner {
    program: String,
    /// The bus and what is served on it, once it is there.
    served: OnceLock<(Bus, Vec<Name>)>,
    draining: AtomicBool,
    metrics: Arc<Metrics>,
    /// One at a time asks the bus.
    figures: tokio::sync::Mutex<Figures>,
}

/// What the queues held when they were looked at last; `None` for one that could not be.
#[derive(Default)]
struct Figures {
    at: Option<Instant>,
    queues: Vec<(Name, Option<QueueInfo>)>,
}

impl ServiceStatus {
    /// The state of a program that serves nothing yet.
    #[must_use]
    pub fn new(program: &str) -> Self {
        let inner = Inner {
            program: program.to_owned(),
            served: OnceLock::new(),
            draining: AtomicBool::new(false),
            metrics: Arc::new(Metrics::new()),
            figures: tokio::sync::Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// From now on these queues are served on this bus. Only the first call counts.
    pub fn serving(&self, bus: &Bus, queues: impl IntoIterator<Item = Name>) {
        let _first = self.inner.served.set((bus.clone(), queues.into_iter().collect()));
    }

    /// From now on it takes nothing new.
    pub fn draining(&self) {
        self.inner.draining.store(true, Ordering::Release);
    }

    /// What counts the work of a worker; see [`Worker::with_observer`](crate::Worker::with_observer).
    #[must_use]
    pub fn observer(&self) -> Arc<dyn Observer> {
        self.inner.metrics.clone()
    }

    fn is_draining(&self) -> bool {
        self.inner.draining.load(Ordering::Acquire)
    }

    fn served(&self) -> &[Name] {
        self.inner.served.get().map_or(&[], |(_, queues)| queues)
    }

    fn health(&self) -> Option<Health> {
        self.inner.served.get().map(|(bus, _)| bus.transport().health())
    }

    /// Everything in the text form that Prometheus reads.
    async fn metrics(&self) -> String {
        let mut figures = self.inner.figures.lock().await;
        if figures.at.is_none_or(|at| at.elapsed() >= FRESH) {
            *figures = self.look().await;
        }
        let metrics = &self.inner.metrics;
        for (queue, info) in &figures.queues {
            metrics.set_figures(queue, info.as_ref());
        }
        if let Some(health) = self.health() {
            metrics.set_health(self.served(), &health);
        }
        metrics.text(&self.inner.program)
    }

    async fn look(&self) -> Figures {
        let Some((bus, queues)) = self.inner.served.get() else { return Figures::default() };
        let intakes: Vec<_> = queues.iter().cloned().map(Intake::Queue).collect();
        let told = match bus.transport().admin() {
            Some(desk) => look(desk, &intakes, FIGURES).await.queues,
            None => Vec::new(),
        };
        let mut told = told.into_iter().map(|(_, told)| told.ok());
        let found = queues.iter().map(|queue| (queue.clone(), told.next().flatten()));
        Figures { at: Some(Instant::now()), queues: found.collect() }
    }
}

impl fmt::Debug for ServiceStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceStatus").field("program", &self.inner.program).finish_non_exhaustive()
    }
}
