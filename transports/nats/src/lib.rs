//! NATS and JetStream.
//!
//! Queues are work-queue streams with one durable pull consumer, topics are core subjects that every NATS program
//! sees as they are, durable topics have a stream over the subject. It works with servers from 2.9 on.
//!
//! `nats://HOST:PORT` names a server, several separated by commas a cluster; see [`Config`] for the options.
//!
//! What it can do: work queues with timed leases, delayed retries and dead letters; topics with ephemeral
//! subscriptions and durable groups; requests with one reply, a stream of replies, or the replies of all subscribers;
//! large bodies in a stream beside the queues; the whole desk; a door for plain requests of any NATS program, with the
//! discovery of NATS services. What it cannot: priorities, delayed sends, releases that do not count, confirmed settles and
//! replies, prove who sent a message, survive a loss of power without loss. See [`capability()`].
//!
//! The names on the server are listed in the book, so that other programs can send to a queue or read a topic.
//!
//! It needs a Tokio runtime with time and I/O enabled.
//!
//! ```no_run
//! use polybus_contract::{Arrival, ConsumeOptions, Intake, Message, Name, Queue, Topology, Transport, TransportExt};
//! use polybus_nats::Nats;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> polybus_contract::Result<()> {
//! let bus = Nats::from_url("nats://nats.example.org:4222")?;
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
mod api;
mod capability;
mod config;
mod connection;
mod consume;
mod door;
mod drain;
mod error;
mod examine;
mod link;
mod message;
mod names;
mod parts;
mod publish;
mod pull;
mod request;
mod room;
mod settle;
mod stall;
mod subscribe;
mod tls;
mod topology;
mod value;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use polybus_contract::{
    Admin, ConsumeOptions, Declared, Delivery, Door, DoorService, DrainReport, Finding, Health, Incoming,
    Intake, Message, Name, PartStore, Plan, Profile, PublishOptions, Receipt, Reply, ReplyOptions, ReplyTo,
    RequestOptions, Result, SubscribeOptions, Target, Topology, Transport,
};

pub use capability::capability;
pub use config::{Config, PORT, SCHEME, Secret, Storage, TLS_SCHEME};
pub use examine::DIAGNOSES;

use connection::Handle;

/// A handle on a NATS bus: one connection, which comes back by itself.
///
/// Dropping it closes the connection without a word: what is in hand comes back when its lease ends. See
/// [`Transport::drain`] for an end in order.
#[derive(Debug)]
pub struct Nats {
    handle: Arc<Handle>,
    parts: Arc<parts::Store>,
}

impl Nats {
    /// A bus as `config` says; without I/O.
    ///
    /// # Errors
    /// [`Configuration`](polybus_contract::Kind::Configuration) for what does not go together.
    pub fn new(config: Config) -> Result<Self> {
        let handle = connection::open(config)?;
        Ok(Self { parts: Arc::new(parts::Store::new(handle.clone())), handle })
    }

    /// A bus by its URL; see [`Config`].
    ///
    /// # Errors
    /// As [`Config::from_url`] and [`Nats::new`].
    pub fn from_url(url: &str) -> Result<Self> {
        Self::new(Config::from_url(url)?)
    }
}

#[async_trait]
impl Transport for Nats {
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
        self.handle.publish(to, message, &options).await
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
        self.handle.request(to, message, &options).await
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

    fn door(&self) -> Option<&dyn Door> {
        Some(self)
    }

    async fn examine(&self, plan: &Plan) -> Vec<Finding> {
        self.handle.examine(plan).await
    }

    fn parts(&self) -> Option<Arc<dyn PartStore>> {
        Some(self.parts.clone())
    }

    async fn health_changed(&self) {
        self.handle.health_changed().await;
    }
}

#[async_trait]
impl Door for Nats {
    fn address(&self, queue: &Name) -> String {
        self.handle.door_subject(queue)
    }

    async fn keep(&self, service: &DoorService) -> Result<()> {
        self.handle.keep_door(service).await
    }
}
