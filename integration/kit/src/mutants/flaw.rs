//! What a broken transport does differently.

use std::fmt;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use polybus_contract::{
    Browse, Confirmed, ConsumeOptions, Declared, Delivery, DrainReport, Durability, Error, Feature, Gap,
    Health, Hold, Incoming, Intake, Message, MessageId, Name, Operation, Outcome, Page, PartStore, Place,
    Profile, PublishOptions, Receipt, Redrive, Redriven, Reply, ReplyOptions, ReplyTo, RequestOptions,
    Result, Settling, SubscribeOptions, Target, Topology, Transport,
};

use crate::faults::{Fault, Faults};

/// The correct bus inside.
pub(super) type Inside = Arc<dyn Transport>;

/// One flaw. Every default does what the bus inside does; a flaw overrides as little as shows it.
///
/// All handles of one broken bus share it.
#[async_trait]
pub(super) trait Flaw: Send + Sync + fmt::Debug {
    fn profile(&self, honest: Profile) -> Profile {
        honest
    }

    /// A handle is built.
    fn built(&self, _inside: &Inside) {}

    /// Something was done to the bus from outside.
    fn struck(&self, _fault: Fault) {}

    async fn connect(&self, inside: &Inside, within: Duration) -> Result<()> {
        inside.connect(within).await
    }

    async fn declare(&self, inside: &Inside, topology: &Topology) -> Result<Declared> {
        inside.declare(topology).await
    }

    async fn publish(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        inside.publish(to, message, options).await
    }

    async fn consume(
        &self,
        inside: &Inside,
        from: &Intake,
        options: ConsumeOptions,
    ) -> Result<Incoming<Delivery>> {
        inside.consume(from, options).await
    }

    /// A delivery on its way out; `None` loses it.
    fn delivery(&self, delivery: Delivery) -> Option<Delivery> {
        Some(delivery)
    }

    fn settle(&self, hold: Arc<dyn Hold>, outcome: Outcome) -> Settling {
        hold.settle(outcome)
    }

    async fn renew(&self, hold: &Arc<dyn Hold>) -> Result<Option<Duration>> {
        hold.renew().await
    }

    async fn subscribe(
        &self,
        inside: &Inside,
        topic: &Name,
        options: SubscribeOptions,
    ) -> Result<Incoming<Message>> {
        inside.subscribe(topic, options).await
    }

    /// A message on its way to a subscriber; `None` loses it.
    fn message(&self, message: Message) -> Option<Message> {
        Some(message)
    }

    /// A gap on its way to its reader; `None` hides it.
    fn gap(&self, gap: Gap) -> Option<Gap> {
        Some(gap)
    }

    async fn request(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: RequestOptions,
    ) -> Result<Incoming<Reply>> {
        inside.request(to, message, options).await
    }

    async fn reply(
        &self,
        inside: &Inside,
        to: &ReplyTo,
        message: Message,
        options: ReplyOptions,
    ) -> Result<Receipt> {
        inside.reply(to, message, options).await
    }

    fn parts(&self, inside: &Inside) -> Option<Arc<dyn PartStore>> {
        inside.parts()
    }

    fn health(&self, honest: Health) -> Health {
        honest
    }

    async fn drain(&self, inside: &Inside, within: Duration) -> DrainReport {
        inside.drain(within).await
    }

    async fn browse(&self, inside: &Inside, intake: &Intake, place: Place, browse: Browse) -> Result<Page> {
        desk(inside)?.browse(intake, place, browse).await
    }

    async fn redrive(&self, inside: &Inside, intake: &Intake, redrive: Redrive) -> Result<Redriven> {
        desk(inside)?.redrive(intake, redrive).await
    }
}

/// The desk of the bus inside.
pub(super) fn desk(inside: &Inside) -> Result<&dyn polybus_contract::Admin> {
    let bus = inside.profile().bus;
    inside.admin().ok_or_else(|| Error::unsupported(Feature::Inspect, Operation::Inspect, bus))
}

/// What an honest bus answers to a confirmed publish; here nothing may be behind it.
pub(super) fn claimed(message: &Message) -> Receipt {
    let id = message.id().cloned().unwrap_or_else(MessageId::fresh);
    Receipt::Confirmed(Confirmed::new(id, Durability::Volatile))
}

/// Strikes once in `one_in` times, by its seed.
#[derive(Debug)]
pub(super) struct Rate {
    random: Mutex<fastrand::Rng>,
    one_in: u32,
}

impl Rate {
    pub(super) fn new(seed: u64, one_in: u32) -> Self {
        Self { random: Mutex::new(fastrand::Rng::with_seed(seed)), one_in }
    }

    pub(super) fn strikes(&self) -> bool {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).u32(..self.one_in) == 0
    }
}

/// Tells a flaw what is done to its bus.
pub(super) struct Struck {
    pub(super) faults: Arc<dyn Faults>,
    pub(super) flaw: Arc<dyn Flaw>,
}

#[async_trait]
impl Faults for Struck {
    fn can(&self, fault: Fault) -> bool {
        self.faults.can(fault)
    }

    async fn inject(&self, fault: Fault) -> Result<()> {
        self.faults.inject(fault).await?;
        self.flaw.struck(fault);
        Ok(())
    }

    async fn write_foreign(&self, queue: &Name, bytes: &[u8]) -> Result<()> {
        self.faults.write_foreign(queue, bytes).await
    }

    fn takes_client(&self) -> bool {
        self.faults.takes_client()
    }
}
