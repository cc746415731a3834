//! ZeroMQ: the transport of a client, and the broker that it speaks to.
//!
//! Plain ZeroMQ sockets know no queues, leases or confirms. Here a small broker with a ROUTER socket has them, and clients
//! speak to it with DEALER sockets, in a protocol that any language with a ZeroMQ library can speak in a few lines; the
//! book describes it byte for byte.
//!
//! `zmq://HOST:PORT` and `zmq+ipc:///PATH` name a broker; see [`Config`] for the options. [`Broker`] is the broker: any
//! bus of this family, made available to other processes.
//!
//! What it can do: everything that the bus behind the broker can, with an embedded one: work queues with timed leases,
//! counted attempts, delays, priorities, expiry and dead letters; topics with ephemeral subscriptions and durable groups;
//! requests with one reply, a stream of replies, or the replies of all subscribers; large bodies; the whole desk; proof of
//! who sent a message, where the broker has identities. What it cannot: encrypt. See [`capability()`].
//!
//! It needs a Tokio runtime with time and I/O enabled, on a Unix system.
//!
//! ```no_run
//! use polybus_contract::{Arrival, ConsumeOptions, Intake, Message, Name, Queue, Topology, Transport, TransportExt};
//! use polybus_zeromq::ZeroMq;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> polybus_contract::Result<()> {
//! let bus = ZeroMq::from_url("zmq://127.0.0.1:5570")?;
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
mod broker;
mod capability;
mod config;
mod connection;
mod consume;
mod drain;
mod error;
mod examine;
mod link;
mod parts;
mod pipe;
mod publish;
mod request;
mod settle;
mod socket;
mod subscribe;
mod topology;
pub mod wire;
pub mod zmtp;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use polybus_contract::{
    Admin, ConsumeOptions, Declared, Delivery, DrainReport, Finding, Health, Incoming, Intake, Message, Name,
    PartStore, Plan, Profile, PublishOptions, Receipt, Reply, ReplyOptions, ReplyTo, RequestOptions, Result,
    SubscribeOptions, Target, Topology, Transport,
};

pub use broker::{Broker, BrokerConfig, BrokerCounts, Identities};
pub use capability::capability;
pub use config::{Config, Secret};
pub use examine::DIAGNOSES;
pub use socket::{IPC_SCHEME, PORT, Place, SCHEME};

use connection::Handle;

/// A handle on the bus of a broker: one connection, which comes back by itself.
///
/// What was in hand when a connection was lost can still be settled when it is back, as long as leases last. See
/// [`Transport::drain`] for an end in order; dropping it gives back what is in hand.
#[derive(Debug)]
pub struct ZeroMq {
    handle: Arc<Handle>,
}

impl ZeroMq {
    /// A client as `config` says; without I/O.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { handle: connection::open(config) }
    }

    /// A client by its URL; see [`Config`].
    ///
    /// # Errors
    /// As [`Config::from_url`].
    pub fn from_url(url: &str) -> Result<Self> {
        Config::from_url(url).map(Self::new)
    }
}

#[async_trait]
impl Transport for ZeroMq {
    fn profile(&self) -> Profile {
        self.handle.profile().clone()
    }

    fn lend_profile(&self) -> Cow<'_, Profile> {
        Cow::Borrowed(self.handle.profile())
    }

    async fn connect(&self, within: Duration) -> Result<()> {
        self.handle.connect(within).await
    }

    async fn declare(&self, topology: &Topology) -> Result<Declared> {
        self.handle.declare(topology).await
    }

    async fn publish(&self, to: &Target, message: Message, options: PublishOptions) -> Result<Receipt> {
        self.handle.publish(to, message, options).await
    }

    async fn consume(&self, from: &Intake, options: ConsumeOptions) -> Result<Incoming<Delivery>> {
        self.handle.consume(from, options).await
    }

    async fn subscribe(&self, topic: &Name, options: SubscribeOptions) -> Result<Incoming<Message>> {
        self.handle.subscribe(topic, options).await
    }

    async fn request(
        &self,
        to: &Target,
        message: Message,
        options: RequestOptions,
    ) -> Result<Incoming<Reply>> {
        self.handle.request(to, message, options).await
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

    async fn examine(&self, plan: &Plan) -> Vec<Finding> {
        examine::examine(&self.handle, plan).await
    }

    fn parts(&self) -> Option<Arc<dyn PartStore>> {
        Some(Arc::new(parts::Store(self.handle.clone())))
    }

    async fn health_changed(&self) {
        self.handle.health_changed().await;
    }
}
