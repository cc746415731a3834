//! The embedded bus: the queue engine in this process.
//!
//! It is a product and not a mock (R-51): the same words, bounds, leases, dead letters and desk as on a broker, with
//! a broker's failures left out because there is none. For programs on one machine, for tests, and for trying
//! things out.
//!
//! `embedded:` is a fresh bus of its own; `embedded:NAME` is one bus for all who use that name in this process;
//! `embedded:///DIR` is one bus that keeps a journal in that directory, for one process at a time, and outlives it:
//! what was confirmed is there after a crash or a loss of power, attempts are never counted too low.
//!
//! What it can do: work queues with timed leases, counted attempts, delays, priorities, expiry and dead letters;
//! topics with ephemeral subscriptions and durable groups; requests with one reply, a stream of replies, or the
//! replies of all subscribers; large bodies, in files; the whole desk. What it cannot: reach another process, prove who
//! sent a message. See [`capability()`].
//!
//! It needs a Tokio runtime with time enabled, for one timer per bus.
//!
//! ```
//! use polybus_contract::{Arrival, ConsumeOptions, Intake, Message, Name, Queue, Topology, Transport, TransportExt};
//! use polybus_embedded::Embedded;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> polybus_contract::Result<()> {
//! let bus = Embedded::from_url("embedded:")?;
//! let jobs = Name::new("jobs")?;
//! bus.declare(&Topology::new().queue(Queue::new(jobs.clone()))).await?;
//! bus.send(&jobs, Message::new("one")).await?;
//!
//! let mut deliveries = bus.consume(&Intake::Queue(jobs), ConsumeOptions::default()).await?;
//! if let Some(Arrival::Item(delivery)) = deliveries.next().await {
//!     assert_eq!(delivery.attempt(), 1);
//!     delivery.ack().await?;
//! }
//! # Ok(())
//! # }
//! ```

mod admin;
mod bus;
mod capability;
mod codec;
mod config;
mod connection;
mod consume;
mod error;
mod examine;
mod journal;
mod parts;
mod progress;
mod publish;
mod request;
mod subscribe;
mod topology;

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use polybus_contract::{
    Admin, ConsumeOptions, Declared, Delivery, DrainReport, Finding, Health, Incoming, Intake, Message, Name,
    Operation, PartStore, Plan, Profile, PublishOptions, Receipt, Reply, ReplyOptions, ReplyTo,
    RequestOptions, Result, SubscribeOptions, Target, Topology, Transport,
};

pub use capability::capability;
pub use config::{Config, SCHEME, Sync};
pub use examine::DIAGNOSES;
pub use polybus_queue::journal::{Cut, Damage, Damaged, Recovered};

use connection::Handle;
use publish::{Publishing, with_id};

/// A handle on an embedded bus.
///
/// Streams and deliveries belong to the handle they came from: draining it ends them, and leaves other handles on
/// the same bus as they are. Messages stay in the bus as long as any handle or stream on it lives.
#[derive(Debug)]
pub struct Embedded {
    handle: Arc<Handle>,
}

impl Embedded {
    /// A bus as `config` says; without I/O.
    ///
    /// # Errors
    /// [`Conflict`](polybus_contract::Kind::Conflict) if a bus of that name is in use with other options.
    pub fn new(config: Config) -> Result<Self> {
        Ok(Self { handle: connection::open(config)? })
    }

    /// What the opening of its journal found; `None`: it keeps none, or has not opened it.
    #[must_use]
    pub fn recovered(&self) -> Option<Recovered> {
        self.handle.bus.store.as_ref()?.recovered()
    }

    async fn ready(&self, operation: Operation) -> Result<()> {
        if self.handle.bus.store.is_none() {
            return Ok(());
        }
        self.handle.open(operation)?;
        self.handle.bus.ready(journal::WITHIN, operation).await
    }

    /// Waits until everything done so far is in the journal.
    async fn safe(&self, operation: Operation) -> Result<()> {
        if self.handle.bus.store.is_none() {
            return Ok(());
        }
        let position = self.handle.bus.look(bus::State::position);
        self.handle.bus.safe(position, operation).await
    }

    /// A bus by its URL; see [`Config`].
    ///
    /// # Errors
    /// As [`Config::from_url`] and [`Embedded::new`].
    pub fn from_url(url: &str) -> Result<Self> {
        Self::new(Config::from_url(url)?)
    }
}

#[async_trait]
impl Transport for Embedded {
    fn profile(&self) -> Profile {
        self.handle.bus.profile.clone()
    }

    fn lend_profile(&self) -> Cow<'_, Profile> {
        Cow::Borrowed(&self.handle.bus.profile)
    }

    /// Opens the journal, if there is one: there is nothing else to connect to. Without this call the first thing
    /// that needs it opens it.
    async fn connect(&self, within: Duration) -> Result<()> {
        self.handle.open(Operation::Connect)?;
        self.handle.bus.ready(within, Operation::Connect).await
    }

    async fn declare(&self, topology: &Topology) -> Result<Declared> {
        self.ready(Operation::Declare).await?;
        let declared = self.handle.declare(topology)?;
        self.safe(Operation::Declare).await?;
        Ok(declared)
    }

    // Written as `async_trait` would write it, for a future that is small enough to be made for each message.
    fn publish<'bus, 'to, 'call>(
        &'bus self,
        to: &'to Target,
        message: Message,
        options: PublishOptions,
    ) -> Pin<Box<dyn Future<Output = Result<Receipt>> + Send + 'call>>
    where
        'bus: 'call,
        'to: 'call,
    {
        Box::pin(Publishing::new(&self.handle, to, with_id(message), options))
    }

    async fn consume(&self, from: &Intake, options: ConsumeOptions) -> Result<Incoming<Delivery>> {
        self.ready(Operation::Consume).await?;
        self.handle.consume(from, options)
    }

    async fn subscribe(&self, topic: &Name, options: SubscribeOptions) -> Result<Incoming<Message>> {
        self.ready(Operation::Subscribe).await?;
        self.handle.subscribe(topic, options)
    }

    async fn request(
        &self,
        to: &Target,
        message: Message,
        options: RequestOptions,
    ) -> Result<Incoming<Reply>> {
        self.ready(Operation::Request).await?;
        if self.handle.bus.store.is_some() && !codec::can_keep(&message) {
            return Err(publish::not_kept(Operation::Request, to));
        }
        self.handle.request(to, message, &options)
    }

    async fn reply(&self, to: &ReplyTo, message: Message, options: ReplyOptions) -> Result<Receipt> {
        self.handle.reply(to, message, options).await
    }

    fn health(&self) -> Health {
        self.handle.health()
    }

    async fn drain(&self, within: Duration) -> DrainReport {
        self.handle.drain(within).await
    }

    fn admin(&self) -> Option<&dyn Admin> {
        Some(self)
    }

    /// Looks over the directory of the journal as it is on the disk, without opening the bus.
    async fn examine(&self, _plan: &Plan) -> Vec<Finding> {
        let bus = self.handle.bus.clone();
        // A look that panics has found nothing.
        tokio::task::spawn_blocking(move || bus.examine()).await.unwrap_or_default()
    }

    fn parts(&self) -> Option<Arc<dyn PartStore>> {
        Some(Arc::new(parts::Store(self.handle.bus.parts.clone())))
    }

    async fn health_changed(&self) {
        self.handle.health_changed().await;
    }
}
