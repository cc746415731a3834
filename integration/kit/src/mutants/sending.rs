//! Transports that say Ok to a publish and do something else.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use polybus_contract::{
    Confirm, ConsumeOptions, Declared, Delivery, DrainReport, Error, Incoming, Intake, Kind, Message,
    MessageId, Name, Operation, PublishOptions, Receipt, Result, SubscribeOptions, Target, Topology,
    WhenFull,
};

use super::flaw::{Flaw, Inside, Rate, claimed};

/// Loses one in so many confirmed sends.
#[derive(Debug)]
pub(super) struct LosesSends(pub(super) Rate);

#[async_trait]
impl Flaw for LosesSends {
    async fn publish(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        if matches!(to, Target::Queue(_)) && self.0.strikes() {
            return Ok(claimed(&message));
        }
        inside.publish(to, message, options).await
    }
}

/// Publishes one in so many messages twice.
#[derive(Debug)]
pub(super) struct DuplicatesSends(pub(super) Rate);

#[async_trait]
impl Flaw for DuplicatesSends {
    async fn publish(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        if self.0.strikes() {
            inside.publish(to, message.clone(), options.clone()).await?;
        }
        inside.publish(to, message, options).await
    }
}

/// Confirms one in so many sends at once and stores it a moment later, behind those that were sent after it.
#[derive(Debug)]
pub(super) struct Overtakes(pub(super) Rate);

#[async_trait]
impl Flaw for Overtakes {
    async fn publish(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        if matches!(to, Target::Topic(_)) || !self.0.strikes() {
            return inside.publish(to, message, options).await;
        }
        let claim = claimed(&message);
        let (inside, to) = (inside.clone(), to.clone());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(2)).await;
            // Nobody is left to hear of it.
            let _ = inside.publish(&to, message, options).await;
        });
        Ok(claim)
    }
}

/// Answers Ok where the bus refused for one reason.
#[derive(Debug)]
pub(super) struct SwallowsRefusals(pub(super) Kind);

#[async_trait]
impl Flaw for SwallowsRefusals {
    async fn publish(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        let claim = claimed(&message);
        match inside.publish(to, message, options).await {
            Err(error) if error.kind() == self.0 => Ok(claim),
            answer => answer,
        }
    }
}

/// Reports every refusal as an internal error.
#[derive(Debug)]
pub(super) struct BlursRefusals;

#[async_trait]
impl Flaw for BlursRefusals {
    async fn publish(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        let blur = |_| Error::new(Kind::Internal, Operation::Publish).with_target(to);
        inside.publish(to, message, options).await.map_err(blur)
    }
}

/// A refused publish breaks the channel for the ones behind it.
#[derive(Debug, Default)]
pub(super) struct BreaksAfterRefusal {
    broken: Mutex<u32>,
}

impl BreaksAfterRefusal {
    /// How many more publishes fall into the broken channel.
    const WAKE: u32 = 3;

    fn set(&self, broken: u32) {
        *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = broken;
    }

    fn is_broken(&self) -> bool {
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        let was = *broken > 0;
        *broken = broken.saturating_sub(1);
        was
    }
}

#[async_trait]
impl Flaw for BreaksAfterRefusal {
    async fn publish(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        if self.is_broken() {
            return Err(Error::new(Kind::Disconnected, Operation::Publish).with_target(to));
        }
        let answer = inside.publish(to, message, options).await;
        if answer.is_err() {
            self.set(Self::WAKE);
        }
        answer
    }
}

/// Keeps unconfirmed publishes in a buffer that a close throws away, and reports a clean close.
#[derive(Debug, Default)]
pub(super) struct ForgetsUnflushed {
    buffer: Mutex<Vec<(Target, Message, PublishOptions)>>,
}

impl ForgetsUnflushed {
    /// The buffer is written when it holds this many.
    const BATCH: usize = 64;

    fn take(&self, least: usize) -> Vec<(Target, Message, PublishOptions)> {
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.len() >= least { std::mem::take(&mut *buffer) } else { Vec::new() }
    }
}

#[async_trait]
impl Flaw for ForgetsUnflushed {
    async fn publish(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        if options.confirm != Confirm::No {
            return inside.publish(to, message, options).await;
        }
        let id = message.id().cloned().unwrap_or_else(MessageId::fresh);
        let line = (to.clone(), message, options);
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        for (to, message, options) in self.take(Self::BATCH) {
            inside.publish(&to, message, options).await?;
        }
        Ok(Receipt::Handed(id))
    }

    async fn drain(&self, inside: &Inside, within: Duration) -> DrainReport {
        self.take(0);
        inside.drain(within).await
    }
}

/// Waits for ever where the bus refuses for one reason, whatever bound the caller gave.
#[derive(Debug)]
pub(super) struct WaitsForEver(pub(super) Kind);

#[async_trait]
impl Flaw for WaitsForEver {
    async fn publish(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        let fails = options.when_full == WhenFull::Fail && self.0 == Kind::Full;
        match inside.publish(to, message, options).await {
            Err(error) if !fails && error.kind() == self.0 => std::future::pending().await,
            answer => answer,
        }
    }
}

/// Takes names that differ in case for the same.
#[derive(Debug)]
pub(super) struct FoldsCase;

impl FoldsCase {
    fn folded(name: &Name) -> Name {
        Name::new(name.as_str().to_ascii_lowercase()).unwrap_or_else(|_| name.clone())
    }
}

#[async_trait]
impl Flaw for FoldsCase {
    async fn declare(&self, inside: &Inside, topology: &Topology) -> Result<Declared> {
        let mut folded = topology.clone();
        folded.queues.iter_mut().for_each(|queue| queue.name = Self::folded(&queue.name));
        folded.topics.iter_mut().for_each(|topic| topic.name = Self::folded(&topic.name));
        folded.groups.iter_mut().for_each(|group| group.topic = Self::folded(&group.topic));
        inside.declare(&folded).await
    }

    async fn publish(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        let to = match to {
            Target::Queue(name) => Target::Queue(Self::folded(name)),
            Target::Topic(name) => Target::Topic(Self::folded(name)),
        };
        inside.publish(&to, message, options).await
    }

    async fn consume(
        &self,
        inside: &Inside,
        from: &Intake,
        options: ConsumeOptions,
    ) -> Result<Incoming<Delivery>> {
        let from = match from {
            Intake::Queue(name) => Intake::Queue(Self::folded(name)),
            group @ Intake::Group { .. } => group.clone(),
        };
        inside.consume(&from, options).await
    }

    async fn subscribe(
        &self,
        inside: &Inside,
        topic: &Name,
        options: SubscribeOptions,
    ) -> Result<Incoming<Message>> {
        inside.subscribe(&Self::folded(topic), options).await
    }
}
