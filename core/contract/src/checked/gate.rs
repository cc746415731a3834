//! The checks themselves: pure functions of a profile and what is asked for.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::capability::{Feature, LeaseGrade};
use crate::error::{Error, Kind, Operation, Result};
use crate::fidelity::Fidelity;
use crate::fidelity::Property;
use crate::message::Message;
use crate::name::Name;
use crate::options::{
    Confirm, ConsumeOptions, Nobody, PublishOptions, ReplyOptions, RequestOptions, SubscribeOptions,
};
use crate::target::{Intake, ReplyTo, Target};
use crate::topology::{Durability, Queue, TopicGrade, Topology};
use crate::transport::Profile;

/// Room for the manifest of a large body.
const MANIFEST: u64 = 256;

/// One operation about to happen on a bus of this profile.
#[derive(Clone, Debug)]
pub(super) struct Gate<'bus> {
    profile: Cow<'bus, Profile>,
    operation: Operation,
}

impl<'bus> Gate<'bus> {
    pub(super) const fn new(profile: Cow<'bus, Profile>, operation: Operation) -> Self {
        Self { profile, operation }
    }

    pub(super) fn profile(&self) -> &Profile {
        &self.profile
    }

    pub(super) fn need(&self, feature: Feature) -> Result<()> {
        if self.profile.capability.has(feature) {
            return Ok(());
        }
        Err(Error::unsupported(feature, self.operation, self.profile.bus))
    }

    fn need_if(&self, wanted: bool, feature: Feature) -> Result<()> {
        if wanted { self.need(feature) } else { Ok(()) }
    }

    fn refuse(&self, kind: Kind, target: impl fmt::Display, detail: impl Into<String>) -> Error {
        Error::new(kind, self.operation).with_target(target).with_detail(detail)
    }

    pub(super) fn topology(&self, topology: &Topology) -> Result<()> {
        self.need_if(!topology.queues.is_empty(), Feature::Queue)?;
        self.need_if(!topology.topics.is_empty(), Feature::Topic)?;
        self.need_if(!topology.groups.is_empty(), Feature::TopicGroup)?;
        let durable = topology.topics.iter().any(|topic| topic.grade == TopicGrade::Durable);
        self.need_if(durable, Feature::TopicConfirm)?;
        for queue in &topology.queues {
            self.living(&queue.name)?;
            self.queue(queue)?;
        }
        topology.groups.iter().try_for_each(|group| self.queue(&group.queue))
    }

    fn queue(&self, queue: &Queue) -> Result<()> {
        self.need_if(queue.priorities, Feature::Priority)?;
        self.need_if(queue.keep_expired, Feature::DeadLetters)?;
        self.durability(queue.durability)?;
        queue.name.dead()?;
        let zero = [
            ("max_attempts", queue.max_attempts == 0),
            ("bounds", queue.bounds.messages == 0 || queue.bounds.bytes == 0),
            ("lease", queue.lease == Duration::ZERO),
        ];
        match zero.into_iter().find(|(_, zero)| *zero) {
            Some((option, _)) => {
                Err(self.refuse(Kind::InvalidOption, &queue.name, format!("{option} must not be zero")))
            }
            None => Ok(()),
        }
    }

    fn durability(&self, wanted: Option<Durability>) -> Result<()> {
        wanted.and_then(Durability::feature).map_or(Ok(()), |feature| self.need(feature))
    }

    /// Dead letters are consumed, never declared or sent to.
    fn living(&self, name: &Name) -> Result<()> {
        if name.is_dead() {
            return Err(self.refuse(Kind::InvalidName, name, "names ending in .dead may only be consumed"));
        }
        Ok(())
    }

    pub(super) fn publish(&self, to: &Target, message: &Message, options: &PublishOptions) -> Result<()> {
        self.target(to)?;
        if options.confirm == Confirm::Required {
            self.need(match to {
                Target::Queue(_) => Feature::Confirm,
                Target::Topic(_) => Feature::TopicConfirm,
            })?;
        }
        self.need_if(options.delay.is_some_and(|delay| !delay.is_zero()), Feature::SendDelay)?;
        self.not_to_a_topic(to, message)?;
        self.message(to, message, options.accept_loss)
    }

    fn target(&self, to: &Target) -> Result<()> {
        self.living(to.name())?;
        self.need(match to {
            Target::Queue(_) => Feature::Queue,
            Target::Topic(_) => Feature::Topic,
        })
    }

    fn message(&self, target: impl fmt::Display, message: &Message, accept: Fidelity) -> Result<()> {
        let lost = message.properties().beyond(self.profile.fidelity, accept);
        if !lost.is_empty() {
            let detail =
                format!("{} does not carry: {lost}; agree to the loss or leave it out", self.profile.bus);
            return Err(self.refuse(Kind::InvalidMessage, target, detail));
        }
        if let Some(address) = message.reply_to() {
            address.address_on(&self.profile.instance)?;
        }
        self.need_if(message.body().as_parts().is_some(), Feature::LargeBody)?;
        self.size(target, message)
    }

    /// The copies of a topic's message would share one body, and nobody would know when the last one is done with it.
    fn not_to_a_topic(&self, to: &Target, message: &Message) -> Result<()> {
        if matches!(to, Target::Topic(_)) && message.body().as_parts().is_some() {
            return Err(self.refuse(
                Kind::InvalidMessage,
                to,
                "large bodies go to queues and callers, not to topics",
            ));
        }
        Ok(())
    }

    fn size(&self, target: impl fmt::Display, message: &Message) -> Result<()> {
        let manifest = if message.body().as_parts().is_some() { MANIFEST } else { 0 };
        let size = message.size() + manifest;
        match self.profile.capability.max_message {
            Some(limit) if size > limit => {
                let kind = Kind::TooLarge { limit, size };
                Err(Error::new(kind, self.operation).with_target(target))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn consume(&self, from: &Intake, options: &ConsumeOptions) -> Result<()> {
        match from {
            Intake::Queue(name) if name.is_dead() => self.need(Feature::DeadLetters)?,
            Intake::Queue(_) => self.need(Feature::Queue)?,
            Intake::Group { .. } => self.need(Feature::TopicGroup)?,
        }
        if options.credit == 0 {
            return Err(self.refuse(Kind::InvalidOption, from, "credit must be at least 1"));
        }
        let Some(lease) = options.lease else { return Ok(()) };
        self.need(Feature::TimedLease)?;
        match self.profile.capability.lease_limit {
            Some(limit) if lease > limit => {
                Err(self.refuse(Kind::InvalidOption, from, format!("the longest lease is {limit:?}")))
            }
            _ if lease.is_zero() => Err(self.refuse(Kind::InvalidOption, from, "the lease must not be zero")),
            _ => Ok(()),
        }
    }

    pub(super) fn subscribe(&self, topic: &Name, options: &SubscribeOptions) -> Result<()> {
        self.living(topic)?;
        self.need(Feature::Topic)?;
        if options.buffer == 0 {
            return Err(self.refuse(Kind::InvalidOption, topic, "buffer must be at least 1"));
        }
        Ok(())
    }

    pub(super) fn request(&self, to: &Target, message: &Message, options: &RequestOptions) -> Result<()> {
        self.need(Feature::Request)?;
        self.target(to)?;
        self.need_if(matches!(to, Target::Topic(_)), Feature::Scatter)?;
        self.need_if(options.nobody == Nobody::Fail, Feature::NoResponder)?;
        if message.reply_to().is_some() {
            return Err(self.refuse(
                Kind::InvalidMessage,
                to,
                "a request's reply address is made by the bus",
            ));
        }
        self.not_to_a_topic(to, message)?;
        self.message(to, message, options.accept_loss.with(Property::Deadline))
    }

    pub(super) fn reply(&self, to: &ReplyTo, message: &Message, options: &ReplyOptions) -> Result<()> {
        self.need(Feature::Request)?;
        to.address_on(&self.profile.instance)?;
        self.need_if(!options.last || options.index > 0, Feature::ReplyStream)?;
        self.message("the caller", message, Fidelity::none())
    }

    pub(super) fn has_lease(&self) -> bool {
        self.profile.capability.lease != LeaseGrade::None
    }
}
