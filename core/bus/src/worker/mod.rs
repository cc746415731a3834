//! The worker: takes messages from a queue and lets a handler work on them.

mod handler;
mod job;
mod lease;
mod observer;
mod post;
mod shutdown;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use polybus_contract::{
    Arrival, Delivery, DrainReport, End, Feature, Incoming, Name, Needs, Queue, Result, Transport,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tracing::{info, warn};

pub use handler::{Abandoned, Handler, Job, Verdict};
pub use observer::{Observer, WorkEnd, WorkEvent};
pub use shutdown::{Phase, Shutdown, ShutdownTrigger};

use crate::connect::Bus;
use job::{Bench, Ended};
use observer::Observers;
use post::{LOOK, Post};

/// How long a subscription that has stalled may take to give back what it holds, before it is left.
const LEAVE: Duration = Duration::from_secs(5);

/// Serves one queue with one handler.
///
/// Several jobs at a time, each in a task of its own under a lease that is renewed while it runs; panics contained;
/// attempts counted; the reply confirmed before the ack where the bus can; a subscription that has stalled opened again;
/// a drain with a report.
///
/// ```no_run
/// use polybus::{Handler, Job, Message, Name, Shutdown, Verdict, Worker, connect};
///
/// struct Shout;
///
/// #[polybus::async_trait]
/// impl Handler for Shout {
///     async fn handle(&self, job: Job) -> Verdict {
///         match job.message.body().as_bytes() {
///             Some(bytes) => Verdict::Reply(Box::new(Message::new(bytes.to_ascii_uppercase()))),
///             None => Verdict::Done,
///         }
///     }
/// }
///
/// # async fn run() -> polybus::Result<()> {
/// let bus = connect("embedded:").await?;
/// let (_trigger, shutdown) = Shutdown::manual();
/// let report = Worker::new(&bus, Name::new("shout")?, Shout).with_concurrency(4).run(shutdown).await?;
/// println!("{report}");
/// # Ok(()) }
/// ```
pub struct Worker {
    bus: Bus,
    queue: Queue,
    handler: Arc<dyn Handler>,
    needs: Needs,
    concurrency: u32,
    time_limit: Option<Duration>,
    drain: Duration,
    responder: Option<String>,
    observers: Observers,
}

impl Worker {
    /// A worker for `queue` with the defaults of each setting. Nothing happens before [`Worker::run`].
    #[must_use]
    pub fn new(bus: &Bus, queue: Name, handler: impl Handler) -> Self {
        Self {
            bus: bus.clone(),
            queue: Queue::new(queue),
            handler: Arc::new(handler),
            needs: Needs::of([Feature::Queue, Feature::Settle]),
            concurrency: 1,
            time_limit: None,
            drain: Duration::from_secs(30),
            responder: None,
            observers: Observers::default(),
        }
    }

    /// How many jobs run at the same time; at least 1. Default 1.
    #[must_use]
    pub fn with_concurrency(mut self, jobs: u32) -> Self {
        self.concurrency = jobs.max(1);
        self
    }

    /// What the queue is like if it has to be made: bounds, lease, attempts. Its name stays.
    #[must_use]
    pub fn with_queue(mut self, queue: Queue) -> Self {
        let name = self.queue.name.clone();
        self.queue = queue;
        self.queue.name = name;
        self
    }

    /// How many hand-outs a message gets. Default 5.
    #[must_use]
    pub fn with_max_attempts(mut self, attempts: u32) -> Self {
        self.queue.max_attempts = attempts.max(1);
        self
    }

    /// What the worker needs of its bus besides a queue that can be settled; it refuses to start with less.
    #[must_use]
    pub fn with_needs(mut self, needs: Needs) -> Self {
        self.needs = needs.and(Feature::Queue).and(Feature::Settle);
        self
    }

    /// How long one job may run. Default `None`: as long as its sender's deadline allows.
    #[must_use]
    pub const fn with_time_limit(mut self, limit: Option<Duration>) -> Self {
        self.time_limit = limit;
        self
    }

    /// How long a drain waits for the jobs in hand. Default 30 s.
    #[must_use]
    pub const fn with_drain(mut self, within: Duration) -> Self {
        self.drain = within;
        self
    }

    /// The name that replies carry. Default none.
    #[must_use]
    pub fn with_responder(mut self, name: impl Into<String>) -> Self {
        self.responder = Some(name.into());
        self
    }

    /// One more that sees what this worker does. Default nobody.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observers.0.push(observer);
        self
    }

    /// Declares the queue and serves it until `shutdown` drains it, or the intake ends for good. It may be started
    /// before the bus is there: it waits for it. When the bus says that the subscription has stalled
    /// ([`Stalled`](crate::SubscriptionState::Stalled)), it is said in the log and opened again; jobs in hand go on.
    ///
    /// The report says what became of the jobs that were in hand. The bus itself stays open: it may be shared.
    /// Dropping the future gives up the jobs in hand; they are delivered again.
    ///
    /// # Errors
    /// [`Unsupported`](crate::Kind::Unsupported) naming each unmet need, those of `declare` and `consume`, and the
    /// reason for which the intake ended, if it failed.
    pub async fn run(self, shutdown: Shutdown) -> Result<DrainReport> {
        self.bus.require(&self.needs)?;
        let transport = self.bus.transport().clone();
        let post = Post::new(&transport, self.queue.clone(), self.concurrency, self.responder.as_deref());
        match post.taken(&shutdown).await? {
            Some(incoming) => self.serve(transport, post, incoming, shutdown).await,
            None => Ok(DrainReport::default()),
        }
    }

    async fn serve(
        self,
        transport: Arc<dyn Transport>,
        post: Post,
        incoming: Incoming<Delivery>,
        shutdown: Shutdown,
    ) -> Result<DrainReport> {
        let bench = Arc::new(Bench {
            transport,
            handler: self.handler,
            max_attempts: self.queue.max_attempts,
            time_limit: self.time_limit,
            responder: self.responder,
            observers: self.observers,
            shutdown: shutdown.clone(),
        });
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let report = DrainReport::default();
        let mut shift = Shift { bench, post, incoming, look, jobs: JoinSet::new(), report };
        let taken = shift.take_until(&shutdown).await;
        let report = shift.finish(&shutdown, self.drain).await;
        info!(queue = %self.queue.name, "stopped: {report}");
        taken?;
        match shift.incoming.end() {
            Some(End::Failed(error)) => Err(error.clone()),
            _ => Ok(report),
        }
    }
}

/// A queue with one hand-out more than its worker grants: with that one the worker tells the sender that there will be
/// no other, which the bus could not.
pub(crate) fn with_spare_attempt(queue: Queue) -> Queue {
    let attempts = queue.max_attempts.saturating_add(1);
    queue.with_max_attempts(attempts)
}

/// A worker at work.
struct Shift {
    bench: Arc<Bench>,
    post: Post,
    incoming: Incoming<Delivery>,
    /// When the subscription is looked at next.
    look: Interval,
    jobs: JoinSet<Ended>,
    report: DrainReport,
}

impl Shift {
    /// Takes jobs until the shutdown, or the end of the intake.
    async fn take_until(&mut self, shutdown: &Shutdown) -> Result<()> {
        loop {
            tokio::select! {
                biased;
                () = shutdown.draining() => return Ok(()),
                _ = self.look.tick() => {
                    if let Some(still) = self.post.stalled() && !self.restart(still, shutdown).await? {
                        return Ok(());
                    }
                }
                Some(_) = self.jobs.join_next(), if !self.jobs.is_empty() => {}
                arrival = self.incoming.next() => match arrival {
                    Some(Arrival::Item(delivery)) => {
                        self.post.flows();
                        self.jobs.spawn(self.bench.clone().work(delivery));
                    }
                    Some(Arrival::Gap(gap)) => warn!(missed = ?gap.missed, cause = ?gap.cause, "messages were missed"),
                    None => return Ok(()),
                },
            }
        }
    }

    /// Leaves a subscription that has stalled, and takes another one; false if the shutdown came first.
    async fn restart(&mut self, still: Duration, shutdown: &Shutdown) -> Result<bool> {
        let queue = &self.post.queue.name;
        let seconds = still.as_secs();
        warn!(%queue, "the subscription has stalled: messages wait, and none came for {seconds} s; it is opened again");
        self.incoming.stop();
        if tokio::time::timeout(LEAVE, self.hand_back()).await.is_err() {
            warn!(queue = %self.post.queue.name, "the subscription that stalled did not end in time; it is left");
        }
        let Some(incoming) = self.post.taken(shutdown).await? else { return Ok(false) };
        self.incoming = incoming;
        self.post.restarted();
        self.bench.observers.saw(&self.post.queue.name, &WorkEvent::Restarted { stalled: still });
        Ok(true)
    }

    /// Intake first, then the jobs in hand, then the report (R-36, R-37).
    async fn finish(&mut self, shutdown: &Shutdown, within: Duration) -> DrainReport {
        let ends = Instant::now() + within;
        self.incoming.stop();
        let deadline = tokio::time::timeout_at(ends, self.hand_back());
        if deadline.await.is_err() {
            warn!("the intake did not end in time");
        }
        tokio::select! {
            biased;
            () = shutdown.aborting() => {}
            () = tokio::time::sleep_until(ends) => {}
            () = count(&mut self.jobs, &mut self.report) => {}
        }
        self.report.abandoned += self.jobs.len() as u64;
        self.jobs.shutdown().await;
        self.report
    }

    async fn hand_back(&mut self) {
        while let Some(arrival) = self.incoming.next().await {
            if let Arrival::Item(delivery) = arrival {
                match delivery.release().await {
                    Ok(()) => self.report.returned += 1,
                    Err(error) => {
                        warn!(%error, "a delivery could not be given back");
                        self.report.unflushed += 1;
                    }
                }
            }
        }
    }
}

async fn count(jobs: &mut JoinSet<Ended>, report: &mut DrainReport) {
    while let Some(ended) = jobs.join_next().await {
        match ended {
            Ok(Ended::Settled) => report.finished += 1,
            Ok(Ended::Abandoned) | Err(_) => report.abandoned += 1,
            Ok(Ended::Unknown) => report.unflushed += 1,
        }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("bus", &self.bus)
            .field("queue", &self.queue)
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}
