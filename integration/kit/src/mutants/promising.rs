//! Transports that do what they do not declare, or refuse it only afterwards.

use std::sync::Arc;

use async_trait::async_trait;
use polybus_contract::{
    Checked, ConsumeOptions, Declared, Delivery, Incoming, Intake, Kind, Message, Name, Profile,
    PublishOptions, Receipt, Reply, RequestOptions, Result, SubscribeOptions, Target, Topology, Transport,
};

use super::broken::Broken;
use super::flaw::{Flaw, Inside};

/// Less than the bus inside can do.
fn modest(mut profile: Profile) -> Profile {
    let capability = &mut profile.capability;
    capability.send_delay = false;
    capability.priority = false;
    capability.max_priority = 0;
    capability.topic = false;
    capability.topic_group = false;
    capability.topic_confirm = false;
    capability.live_subscribe = false;
    capability.gap_count = false;
    capability.no_responder = false;
    capability.reply_stream = false;
    capability.scatter = false;
    profile
}

/// Does what it does not declare.
#[derive(Debug)]
pub(super) struct DoesUndeclared;

impl Flaw for DoesUndeclared {
    fn profile(&self, honest: Profile) -> Profile {
        modest(honest)
    }
}

/// Refuses what it does not declare, after it has done it.
#[derive(Debug)]
pub(super) struct RefusesLate;

/// The same bus as it would answer if it refused in time.
fn in_time(inside: &Inside) -> Checked {
    Checked::new(Arc::new(Broken::new(inside.clone(), Arc::new(DoesUndeclared))))
}

fn is_unsupported<T>(answer: &Result<T>) -> bool {
    matches!(answer, Err(error) if matches!(error.kind(), Kind::Unsupported(_)))
}

#[async_trait]
impl Flaw for RefusesLate {
    fn profile(&self, honest: Profile) -> Profile {
        modest(honest)
    }

    async fn declare(&self, inside: &Inside, topology: &Topology) -> Result<Declared> {
        let answer = in_time(inside).declare(topology).await;
        if is_unsupported(&answer) {
            inside.declare(topology).await?;
        }
        answer
    }

    async fn publish(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        let answer = in_time(inside).publish(to, message.clone(), options.clone()).await;
        if is_unsupported(&answer) {
            inside.publish(to, message, options.with_delay(None)).await?;
        }
        answer
    }

    async fn consume(
        &self,
        inside: &Inside,
        from: &Intake,
        options: ConsumeOptions,
    ) -> Result<Incoming<Delivery>> {
        in_time(inside).consume(from, options).await
    }

    async fn subscribe(
        &self,
        inside: &Inside,
        topic: &Name,
        options: SubscribeOptions,
    ) -> Result<Incoming<Message>> {
        in_time(inside).subscribe(topic, options).await
    }

    async fn request(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: RequestOptions,
    ) -> Result<Incoming<Reply>> {
        let answer = in_time(inside).request(to, message.clone(), options).await;
        if is_unsupported(&answer) {
            drop(inside.request(to, message, RequestOptions::default()).await?);
        }
        answer
    }
}
