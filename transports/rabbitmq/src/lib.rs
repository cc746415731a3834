//! Polybus over `RabbitMQ`, by AMQP 0-9-1.
//!
//! What it can do: work queues (quorum queues, confirmed and routed or refused), retries with delays, counted attempts,
//! dead letters, priorities, expiry; topics as fanout exchanges with ephemeral subscriptions and durable groups; requests
//! with one reply, a stream of replies, or the replies of all subscribers; figures, a look at dead letters, emptying,
//! redriving and removing at the desk. Programs that know nothing of Polybus can be at the other end: queues, exchanges,
//! `reply_to` and `correlation_id` are used as AMQP means them.
//!
//! What it cannot: see [`capability()`]. A delivery is kept as long as its connection lives; after a loss its settle is
//! [`Stale`](polybus_contract::Kind::Stale), and the message goes to somebody else.
//!
//! Each handle has one connection for publishing and one for consuming, made by a supervisor that comes back after a loss
//! with pauses that grow and vary, declares again what was declared, and restores consumers, subscriptions and the reply
//! path. It needs a Tokio runtime with time and I/O enabled.
//!
//! ```no_run
//! use polybus_contract::{Message, Name, Queue, Topology, Transport, TransportExt};
//! use polybus_rabbitmq::RabbitMq;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> polybus_contract::Result<()> {
//! let bus = RabbitMq::from_url("amqp://mq.example.org/")?;
//! let jobs = Name::new("jobs")?;
//! bus.declare(&Topology::new().queue(Queue::new(jobs.clone()))).await?;
//! bus.send(&jobs, Message::new("one")).await?;
//! # Ok(())
//! # }
//! ```

mod admin;
mod browse;
mod capability;
mod config;
mod connection;
mod consume;
mod dial;
mod dropped;
mod error;
mod examine;
mod exchange;
mod header;
mod message;
mod outlet;
mod parts;
mod publish;
mod reply;
mod request;
mod rules;
mod session;
mod settle;
mod subscribe;
mod topology;
mod watch;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use polybus_contract::{
    Admin, ConsumeOptions, Declared, Delivery, DrainReport, Finding, Health, Incoming, Intake, Message, Name,
    PartStore, Plan, Profile, PublishOptions, Receipt, Reply, ReplyOptions, ReplyTo, RequestOptions, Result,
    SubscribeOptions, Target, Topology, Transport,
};

pub use capability::capability;
pub use config::{Config, ReplyVia, SCHEMES};
pub use examine::DIAGNOSES;

use connection::Core;

/// A handle on a `RabbitMQ` broker, with connections of its own.
#[derive(Debug)]
pub struct RabbitMq {
    core: Arc<Core>,
}

impl RabbitMq {
    /// A handle as `config` says; without I/O.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { core: Core::new(config) }
    }

    /// A handle by its URL; see [`Config`].
    ///
    /// # Errors
    /// As [`Config::from_url`].
    pub fn from_url(url: &str) -> Result<Self> {
        Config::from_url(url).map(Self::new)
    }
}

#[async_trait]
impl Transport for RabbitMq {
    fn profile(&self) -> Profile {
        self.core.profile.clone()
    }

    fn lend_profile(&self) -> Cow<'_, Profile> {
        Cow::Borrowed(&self.core.profile)
    }

    async fn connect(&self, within: Duration) -> Result<()> {
        self.core.connect(within).await
    }

    async fn declare(&self, topology: &Topology) -> Result<Declared> {
        self.core.declare(topology).await
    }

    async fn publish(&self, to: &Target, message: Message, options: PublishOptions) -> Result<Receipt> {
        self.core.publish(to, message, options).await
    }

    async fn consume(&self, from: &Intake, options: ConsumeOptions) -> Result<Incoming<Delivery>> {
        self.core.consume(from, options).await
    }

    async fn subscribe(&self, topic: &Name, options: SubscribeOptions) -> Result<Incoming<Message>> {
        self.core.subscribe(topic, options).await
    }

    async fn request(
        &self,
        to: &Target,
        message: Message,
        options: RequestOptions,
    ) -> Result<Incoming<Reply>> {
        self.core.request(to, message, options).await
    }

    async fn reply(&self, to: &ReplyTo, message: Message, options: ReplyOptions) -> Result<Receipt> {
        self.core.reply(to, message, options).await
    }

    fn health(&self) -> Health {
        self.core.health()
    }

    async fn drain(&self, within: Duration) -> DrainReport {
        self.core.drain(within).await
    }

    fn admin(&self) -> Option<&dyn Admin> {
        Some(self)
    }

    async fn examine(&self, plan: &Plan) -> Vec<Finding> {
        self.core.examine(plan).await
    }

    fn parts(&self) -> Option<Arc<dyn PartStore>> {
        Some(Arc::new(parts::Store(self.core.clone())))
    }

    async fn health_changed(&self) {
        self.core.health_changed().await;
    }
}
