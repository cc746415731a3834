//! A server: a service on its queue.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use polybus_contract::{DrainReport, Durability, Feature, Name, Needs, Queue, Result, Served, Topology};

use super::{FrameHandler, Service};
use crate::connect::Bus;
use crate::frame::{DEFAULT_MAX_BYTES, Identity, ProtocolVersion};
use crate::log::{LogSink, NoLog};
use crate::worker::{Observer, Shutdown, Worker, with_spare_attempt};

/// What the dead letters keep of a request nobody could read. Bodies may be sensitive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeadLetterPolicy {
    /// The terse form: sizes and digests. It cannot be redriven.
    #[default]
    Terse,
    /// The whole message.
    Full,
    /// Nothing.
    Off,
}

impl FromStr for DeadLetterPolicy {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "terse" => Ok(Self::Terse),
            "full" => Ok(Self::Full),
            "off" => Ok(Self::Off),
            _ => Err(format!("\"{word}\" is none of terse, full, off")),
        }
    }
}

impl fmt::Display for DeadLetterPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terse => "terse",
            Self::Full => "full",
            Self::Off => "off",
        })
    }
}

/// Serves one [`Service`] on the queue `<base>_<protocol version>`.
pub struct Server {
    bus: Bus,
    service: Arc<dyn Service>,
    identity: Identity,
    queue_base: String,
    protocol: ProtocolVersion,
    durability: Option<Durability>,
    jobs: u32,
    max_attempts: u32,
    max_bytes: u64,
    time_limit: Duration,
    drain: Duration,
    generation0: bool,
    dead_letters: DeadLetterPolicy,
    log: Arc<dyn LogSink>,
    observers: Vec<Arc<dyn Observer>>,
}

macro_rules! with {
    ($($(#[$doc:meta])* $name:ident($field:ident: $type:ty)),* $(,)?) => {
        $($(#[$doc])* #[must_use] pub fn $name(mut self, value: $type) -> Self {
            self.$field = value;
            self
        })*
    };
}

impl Server {
    /// A server with the defaults of each setting; the queue base is the service's name.
    #[must_use]
    pub fn new(bus: &Bus, identity: Identity, service: impl Service) -> Self {
        Self {
            bus: bus.clone(),
            queue_base: service.name().to_owned(),
            service: Arc::new(service),
            identity,
            protocol: ProtocolVersion::default(),
            durability: None,
            jobs: 1,
            max_attempts: 5,
            max_bytes: DEFAULT_MAX_BYTES,
            time_limit: Duration::from_mins(25),
            drain: Duration::from_secs(30),
            generation0: false,
            dead_letters: DeadLetterPolicy::default(),
            log: Arc::new(NoLog),
            observers: Vec::new(),
        }
    }

    with! {
        /// The first part of the queue's name. Default: the service's name.
        with_queue_base(queue_base: String),
        /// The second part of it, and the version of the replies. Default `0.5.5`.
        with_protocol(protocol: ProtocolVersion),
        /// The least that its queue must survive if it has to be made. Default `None`: the best the bus has. The old
        /// programs made queues that survive nothing, [`Durability::Volatile`].
        with_durability(durability: Option<Durability>),
        /// How many requests are served at the same time. Default 1.
        with_jobs(jobs: u32),
        /// How many attempts a request gets. Default 5.
        with_max_attempts(max_attempts: u32),
        /// The largest frame accepted or sent, in bytes. Default 64 MiB.
        with_max_bytes(max_bytes: u64),
        /// How long one request may take. Default 25 minutes.
        with_time_limit(time_limit: Duration),
        /// How long a drain waits for the requests in hand. Default 30 s.
        with_drain(drain: Duration),
        /// Whether frames of generation 0 are served, and answered in their own shape. Default false.
        with_generation0(generation0: bool),
        /// What the dead letters keep of unreadable requests. Default terse.
        with_dead_letters(dead_letters: DeadLetterPolicy),
        /// Where log lines go. Default nowhere.
        with_log(log: Arc<dyn LogSink>),
        /// Who sees what its worker does. Default nobody.
        with_observers(observers: Vec<Arc<dyn Observer>>),
    }

    /// What any server needs of its bus; [`Server::run`] refuses to start with less.
    #[must_use]
    pub fn needs() -> Needs {
        Needs::of([Feature::Queue, Feature::Settle, Feature::Request])
    }

    /// The queue it serves.
    ///
    /// # Errors
    /// [`InvalidName`](crate::Kind::InvalidName).
    pub fn queue(&self) -> Result<Name> {
        Name::new(self.protocol.queue(&self.queue_base))
    }

    /// Declares its queue, so that requests can be sent before it serves.
    ///
    /// # Errors
    /// [`InvalidName`](crate::Kind::InvalidName), and as [`Transport::declare`](crate::Transport::declare).
    pub async fn declare(&self) -> Result<()> {
        let topology = Topology::new().queue(with_spare_attempt(self.queue_options()?));
        self.bus.transport().declare(&topology).await.map(drop)
    }

    /// What it means to do on its bus, for an [`examination`](crate::examine::examine).
    ///
    /// # Errors
    /// [`InvalidName`](crate::Kind::InvalidName) for the queue.
    pub fn served(&self) -> Result<Served> {
        let queue = with_spare_attempt(self.queue_options()?);
        Ok(Served::new(self.service.name(), queue)
            .with_jobs(self.jobs)
            .with_job_limit(Some(self.time_limit))
            .with_message_size(Some(self.max_bytes))
            .with_needs(Self::needs()))
    }

    fn queue_options(&self) -> Result<Queue> {
        let queue = Queue::new(self.queue()?).with_durability(self.durability);
        Ok(queue.with_max_attempts(self.max_attempts.max(1)))
    }

    /// Serves until `shutdown`; see [`Worker::run`].
    ///
    /// # Errors
    /// As [`Worker::run`], and [`InvalidName`](crate::Kind::InvalidName) for the queue.
    pub async fn run(self, shutdown: Shutdown) -> Result<DrainReport> {
        let queue = self.queue_options()?;
        let responder = self.identity.hostname.clone();
        let handler = FrameHandler {
            bus: self.bus.transport().clone(),
            service: self.service,
            identity: self.identity,
            protocol: self.protocol,
            max_bytes: self.max_bytes,
            generation0: self.generation0,
            dead_letters: self.dead_letters,
            log: self.log,
        };
        let worker = Worker::new(&self.bus, queue.name.clone(), handler)
            .with_queue(queue)
            .with_needs(Self::needs())
            .with_concurrency(self.jobs)
            .with_time_limit(Some(self.time_limit))
            .with_drain(self.drain)
            .with_responder(responder);
        let watched = self.observers.into_iter().fold(worker, Worker::with_observer);
        watched.run(shutdown).await
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("service", &self.service.name())
            .field("queue_base", &self.queue_base)
            .field("bus", &self.bus)
            .finish_non_exhaustive()
    }
}
