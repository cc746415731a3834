//! Transports that lose, rename or miscount the dead, and that do not obey expiry, delay and priority.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use polybus_contract::{
    Browse, Declared, Delivery, Health, Intake, Message, MessageId, Place, PublishOptions, Reason, Receipt,
    Redrive, Redriven, Result, Target, Topology, UnixMillis,
};

use super::broken::relabel;
use super::flaw::{Flaw, Inside, desk};

/// Hands messages out again for ever: the cap on attempts is not kept.
#[derive(Debug)]
pub(super) struct IgnoresCap;

#[async_trait]
impl Flaw for IgnoresCap {
    async fn declare(&self, inside: &Inside, topology: &Topology) -> Result<Declared> {
        let mut endless = topology.clone();
        endless.queues.iter_mut().for_each(|queue| queue.max_attempts = u32::MAX);
        inside.declare(&endless).await
    }
}

/// A spent message leaves no dead letter.
#[derive(Debug)]
pub(super) struct DropsSpent;

impl Flaw for DropsSpent {
    fn delivery(&self, delivery: Delivery) -> Option<Delivery> {
        let spent = delivery.message().death().is_some_and(|death| death.reason == Reason::Attempts);
        if spent {
            drop(delivery.ack());
            return None;
        }
        Some(delivery)
    }
}

/// Dead letters do not say how often they were handed out, nor from where they come.
#[derive(Debug)]
pub(super) struct ForgetsDeaths;

impl Flaw for ForgetsDeaths {
    fn delivery(&self, delivery: Delivery) -> Option<Delivery> {
        Some(relabel(delivery, |message, attempt| (message.without_death(), attempt)))
    }
}

/// Dead letters that fall out of their bound are not counted.
#[derive(Debug)]
pub(super) struct DropsDeadUncounted;

impl Flaw for DropsDeadUncounted {
    fn health(&self, mut honest: Health) -> Health {
        honest.counters.dead_dropped = 0;
        honest
    }
}

/// Expired messages are dropped without a count.
#[derive(Debug)]
pub(super) struct DropsExpiredUncounted;

impl Flaw for DropsExpiredUncounted {
    fn health(&self, mut honest: Health) -> Health {
        honest.counters.expired = 0;
        honest
    }
}

/// Where expired dead letters should be kept, they are dropped.
#[derive(Debug)]
pub(super) struct DropsExpired;

#[async_trait]
impl Flaw for DropsExpired {
    async fn declare(&self, inside: &Inside, topology: &Topology) -> Result<Declared> {
        let mut dropping = topology.clone();
        dropping.queues.iter_mut().for_each(|queue| queue.keep_expired = false);
        inside.declare(&dropping).await
    }
}

/// A redrive empties the dead letters and says that it moved them.
#[derive(Debug)]
pub(super) struct RedriveLoses;

#[async_trait]
impl Flaw for RedriveLoses {
    async fn redrive(&self, inside: &Inside, intake: &Intake, redrive: Redrive) -> Result<Redriven> {
        let desk = desk(inside)?;
        if !redrive.ids.is_empty() || redrive.limit.is_some() {
            return desk.redrive(intake, redrive).await;
        }
        let purged = desk.purge(intake, Place::Dead).await?;
        Ok(Redriven::new(purged.messages, 0, 0))
    }
}

/// A redrive copies the dead letters and leaves them where they are.
#[derive(Debug)]
pub(super) struct RedriveCopies;

#[async_trait]
impl Flaw for RedriveCopies {
    async fn redrive(&self, inside: &Inside, intake: &Intake, _redrive: Redrive) -> Result<Redriven> {
        let page = desk(inside)?.browse(intake, Place::Dead, Browse::default()).await?;
        let Intake::Queue(name) = intake else { return Ok(Redriven::default()) };
        let target = Target::Queue(name.clone());
        let moved = page.messages.len() as u64;
        for browsed in page.messages {
            let message = browsed.message.without_death();
            inside.publish(&target, message, PublishOptions::default()).await?;
        }
        Ok(Redriven::new(moved, 0, 0))
    }
}

/// A redrive sends the dead letters anew, under new ids.
#[derive(Debug)]
pub(super) struct RedriveRenames;

#[async_trait]
impl Flaw for RedriveRenames {
    async fn redrive(&self, inside: &Inside, intake: &Intake, _redrive: Redrive) -> Result<Redriven> {
        let desk = desk(inside)?;
        let page = desk.browse(intake, Place::Dead, Browse::default()).await?;
        let Intake::Queue(name) = intake else { return Ok(Redriven::default()) };
        let target = Target::Queue(name.clone());
        let moved = page.messages.len() as u64;
        for browsed in page.messages {
            let message = browsed.message.without_death().with_id(MessageId::fresh());
            inside.publish(&target, message, PublishOptions::default()).await?;
        }
        desk.purge(intake, Place::Dead).await?;
        Ok(Redriven::new(moved, 0, 0))
    }
}

/// A redriven message goes on counting where it died.
#[derive(Debug, Default)]
pub(super) struct RedriveKeepsCount {
    redriven: Mutex<Vec<(MessageId, u32)>>,
}

#[async_trait]
impl Flaw for RedriveKeepsCount {
    async fn redrive(&self, inside: &Inside, intake: &Intake, redrive: Redrive) -> Result<Redriven> {
        let desk = desk(inside)?;
        let page = desk.browse(intake, Place::Dead, Browse::default()).await?;
        let counts = page
            .messages
            .iter()
            .filter_map(|browsed| browsed.message.id().map(|id| (id.clone(), browsed.attempts)));
        self.redriven.lock().unwrap_or_else(PoisonError::into_inner).extend(counts);
        desk.redrive(intake, redrive).await
    }

    fn delivery(&self, delivery: Delivery) -> Option<Delivery> {
        let redriven = self.redriven.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let before =
            redriven.iter().find(|(id, _)| Some(id) == delivery.message().id()).map_or(0, |(_, n)| *n);
        Some(relabel(delivery, |message, attempt| (message, attempt + before)))
    }
}

/// Declares expiry and delivers what has expired.
#[derive(Debug)]
pub(super) struct IgnoresExpiry;

#[async_trait]
impl Flaw for IgnoresExpiry {
    async fn publish(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        let message = match message.expires() {
            Some(_) => message.with_expires(UnixMillis(i64::MAX)),
            None => message,
        };
        inside.publish(to, message, options).await
    }
}

/// Declares delayed sends and sends at once.
#[derive(Debug)]
pub(super) struct IgnoresDelay;

#[async_trait]
impl Flaw for IgnoresDelay {
    async fn publish(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        inside.publish(to, message, options.with_delay(None)).await
    }
}

/// Declares priorities, and obeys another one than was given.
#[derive(Debug)]
pub(super) struct ChangesPriority(pub(super) fn(u8) -> u8);

#[async_trait]
impl Flaw for ChangesPriority {
    async fn publish(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        let priority = message.priority();
        let message = match priority {
            Some(priority) => message.with_priority((self.0)(priority)),
            None => message,
        };
        inside.publish(to, message, options).await
    }
}
