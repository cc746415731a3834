//! A handle on the bus of a process.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use polybus_contract::{
    Admin, ConsumeOptions, Declared, Delivery, DrainReport, Health, Incoming, Intake, Link as LinkState,
    Message, Name, Operation, Profile, PublishOptions, Receipt, Reply, ReplyOptions, ReplyTo, RequestOptions,
    Result, Start, SubscribeOptions, Target, Topology, Transport,
};
use polybus_lines::{DeclaredLine, ProfileLine, millis};
use serde_json::Value;
use tokio::sync::Mutex as AsyncMutex;

use super::PROTOCOL;
use super::child::Process;
use super::figures::DrainLine;
use super::link::{GRACE, Link, locked, unreadable};
use super::options::ReceiptLine;
use super::profile::{most, profile_of};
use super::stream::{Remote, read_delivery, read_message, read_reply};
use super::wire::Op;

/// A handle on the bus of a [`Process`].
#[derive(Debug)]
pub struct ProcessTransport {
    process: Arc<Process>,
    pub(super) number: u64,
    /// One at a time opens the handle.
    opening: AsyncMutex<()>,
    opened: Mutex<Option<Arc<Link>>>,
    profile: Mutex<Profile>,
}

impl ProcessTransport {
    pub(super) fn new(process: Arc<Process>, number: u64) -> Self {
        let (opening, opened) = (AsyncMutex::default(), Mutex::default());
        Self { process, number, opening, opened, profile: Mutex::new(most()) }
    }

    /// The link as it is, if the handle was ever opened.
    fn known(&self) -> Option<Arc<Link>> {
        locked(&self.opened).clone()
    }

    /// The link, with this handle open on it. When the process has died, the handle is opened on its successor; what it
    /// had declared, consumed and subscribed is gone with the old one.
    pub(super) async fn open(&self, operation: Operation) -> Result<Arc<Link>> {
        let _alone = self.opening.lock().await;
        if let Some(link) = self.known().filter(|link| !link.is_gone()) {
            return Ok(link);
        }
        let link = self.process.link()?;
        let open = Op::Open { protocol: PROTOCOL };
        let said: ProfileLine = link.ask(self.number, open, operation, Duration::ZERO).await?;
        self.learn(&said, operation)?;
        *locked(&self.opened) = Some(link.clone());
        Ok(link)
    }

    fn learn(&self, said: &ProfileLine, operation: Operation) -> Result<()> {
        let profile = profile_of(said).map_err(|fault| unreadable(operation, fault))?;
        *locked(&self.profile) = profile;
        Ok(())
    }

    async fn receipt(&self, op: Op, operation: Operation, within: Duration) -> Result<Receipt> {
        let said: ReceiptLine = self.open(operation).await?.ask(self.number, op, operation, within).await?;
        said.receipt().map_err(|fault| unreadable(operation, fault))
    }
}

const fn start_bound(start: Start) -> Duration {
    match start {
        Start::Live(within) => within,
        Start::Eventually => Duration::ZERO,
    }
}

#[async_trait]
impl Transport for ProcessTransport {
    fn profile(&self) -> Profile {
        locked(&self.profile).clone()
    }

    async fn connect(&self, within: Duration) -> Result<()> {
        let link = self.open(Operation::Connect).await?;
        let connect = Op::Connect { within_ms: millis(within) };
        let said: ProfileLine = link.ask(self.number, connect, Operation::Connect, within).await?;
        self.learn(&said, Operation::Connect)
    }

    async fn declare(&self, topology: &Topology) -> Result<Declared> {
        let link = self.open(Operation::Declare).await?;
        let declare = Op::Declare(topology.into());
        let said: DeclaredLine = link.ask(self.number, declare, Operation::Declare, GRACE).await?;
        Ok(said.into())
    }

    async fn publish(&self, to: &Target, message: Message, options: PublishOptions) -> Result<Receipt> {
        let within = options.within;
        let id = message.id().cloned();
        let publish = Op::Publish { to: to.into(), message: (&message).into(), options: (&options).into() };
        let receipt = self.receipt(publish, Operation::Publish, within).await;
        receipt.map_err(|error| match (error.message_id(), id) {
            (None, Some(id)) => error.with_message_id(id),
            _ => error,
        })
    }

    async fn consume(&self, from: &Intake, options: ConsumeOptions) -> Result<Incoming<Delivery>> {
        let link = self.open(Operation::Consume).await?;
        let within = start_bound(options.start);
        let inbox = link.open_stream();
        let consume = Op::Consume { stream: inbox.0, from: from.into(), options: options.into() };
        // Made first: dropped, it closes the stream on the other side too.
        let remote = Remote::new(link.clone(), self.number, inbox, read_delivery, Operation::Consume);
        link.ask::<Value>(self.number, consume, Operation::Consume, within).await?;
        Ok(Incoming::new(remote))
    }

    async fn subscribe(&self, topic: &Name, options: SubscribeOptions) -> Result<Incoming<Message>> {
        let link = self.open(Operation::Subscribe).await?;
        let within = start_bound(options.start);
        let inbox = link.open_stream();
        let subscribe = Op::Subscribe { stream: inbox.0, topic: topic.to_string(), options: options.into() };
        let remote = Remote::new(link.clone(), self.number, inbox, read_message, Operation::Subscribe);
        link.ask::<Value>(self.number, subscribe, Operation::Subscribe, within).await?;
        Ok(Incoming::new(remote))
    }

    async fn request(
        &self,
        to: &Target,
        message: Message,
        options: RequestOptions,
    ) -> Result<Incoming<Reply>> {
        let link = self.open(Operation::Request).await?;
        let inbox = link.open_stream();
        let request = Op::Request {
            stream: inbox.0,
            to: to.into(),
            message: (&message).into(),
            options: (&options).into(),
        };
        let remote = Remote::new(link.clone(), self.number, inbox, read_reply, Operation::Request);
        link.ask::<Value>(self.number, request, Operation::Request, GRACE).await?;
        Ok(Incoming::new(remote))
    }

    async fn reply(&self, to: &ReplyTo, message: Message, options: ReplyOptions) -> Result<Receipt> {
        let within = options.within;
        let reply = Op::Reply { to: to.into(), message: (&message).into(), options: (&options).into() };
        self.receipt(reply, Operation::Reply, within).await
    }

    fn health(&self) -> Health {
        let Some(link) = self.known() else { return Health::default() };
        let health = link.health(self.number).unwrap_or_default();
        if link.is_gone() {
            let down = LinkState::Down { since: Duration::ZERO, reason: "the process is gone".to_owned() };
            return Health { link: down, ..health };
        }
        health
    }

    async fn drain(&self, within: Duration) -> DrainReport {
        let drain = async {
            let link = self.open(Operation::Drain).await?;
            let drain = Op::Drain { within_ms: millis(within) };
            link.ask::<DrainLine>(self.number, drain, Operation::Drain, within).await
        };
        // Nobody saw it end well.
        drain.await.map_or(DrainReport { unflushed: 1, ..DrainReport::default() }, DrainReport::from)
    }

    fn admin(&self) -> Option<&dyn Admin> {
        Some(self)
    }

    async fn health_changed(&self) {
        match self.known() {
            Some(link) => link.health_changed.notified().await,
            None => std::future::pending().await,
        }
    }
}

impl Drop for ProcessTransport {
    fn drop(&mut self) {
        if let Some(link) = self.known() {
            link.tell(self.number, Op::Leave);
            link.forget_health(self.number);
        }
    }
}
