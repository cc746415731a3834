//! The trait every bus implements.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::admin::Admin;
use crate::capability::Capability;
use crate::delivery::Delivery;
use crate::door::Door;
use crate::drain::DrainReport;
use crate::error::Result;
use crate::examine::{Finding, Plan};
use crate::fidelity::Fidelity;
use crate::health::Health;
use crate::incoming::Incoming;
use crate::message::Message;
use crate::name::Name;
use crate::options::{ConsumeOptions, PublishOptions, ReplyOptions, RequestOptions, SubscribeOptions};
use crate::parts::PartStore;
use crate::receipt::Receipt;
use crate::reply::Reply;
use crate::target::{Intake, ReplyTo, Target};
use crate::topology::{Declared, Topology};

/// Who a bus is and what it can do. After connecting it may offer less than before, never more.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Profile {
    /// The kind of bus, for example `embedded`.
    pub bus: &'static str,
    /// Which instance: a digest of address, tenant and prefix; scopes reply addresses. No secret.
    pub instance: Arc<str>,
    /// What it can do.
    pub capability: Capability,
    /// Which properties it carries.
    pub fidelity: Fidelity,
}

impl Profile {
    /// A profile.
    #[must_use]
    pub fn new(
        bus: &'static str,
        instance: impl Into<Arc<str>>,
        capability: Capability,
        fidelity: Fidelity,
    ) -> Self {
        Self { bus, instance: instance.into(), capability, fidelity }
    }
}

/// A message bus.
///
/// # For callers
/// Use it through `Arc<dyn Transport>` from the bus's `connect`, which wraps it in [`Checked`](crate::Checked), and
/// through the verbs of [`TransportExt`](crate::TransportExt).
///
/// # For implementers
/// Building one does no I/O and cannot fail on a dead broker (I1). Losing the connection is normal: reconnect with
/// jittered back-off and restore everything that was declared, consumed and subscribed before consumption goes on.
/// Every await ends within its bound. Once bytes may have left, a failure has status
/// [`Unknown`](crate::Status::Unknown) and names the message id. Reserved headers and sizes are checked by
/// [`Checked`](crate::Checked) already.
///
/// After [`Transport::drain`] every method answers [`Closed`](crate::Kind::Closed).
#[async_trait]
pub trait Transport: Send + Sync + fmt::Debug {
    /// Who this is and what it can do. Cheap; no I/O.
    fn profile(&self) -> Profile;

    /// The profile for a glance, which needs no copy where the transport keeps one: the checks ask before each message.
    fn lend_profile(&self) -> Cow<'_, Profile> {
        Cow::Owned(self.profile())
    }

    /// Connects, or waits for a connection being made, within this bound. Calling it again is harmless.
    ///
    /// Capability: none. Errors: [`Unauthorized`](crate::Kind::Unauthorized) (permanent, no retry storm),
    /// [`Disconnected`](crate::Kind::Disconnected), [`Closed`](crate::Kind::Closed). Cancel safe: the attempt goes on.
    async fn connect(&self, within: Duration) -> Result<()>;

    /// Makes what is missing and keeps it declared across reconnects. What exists is used as found; differences are
    /// reported.
    ///
    /// Capability: [`Queue`](crate::Feature::Queue), [`Topic`](crate::Feature::Topic),
    /// [`TopicGroup`](crate::Feature::TopicGroup), [`Priority`](crate::Feature::Priority) and durability, for what is
    /// in the topology. Errors: [`Conflict`](crate::Kind::Conflict) when an existing object does not meet a stated
    /// durability or grade, [`InvalidOption`](crate::Kind::InvalidOption), [`Disconnected`](crate::Kind::Disconnected).
    /// Dropped: done or not done; repeating is harmless.
    async fn declare(&self, topology: &Topology) -> Result<Declared>;

    /// Publishes. With [`Confirm::Required`](crate::Confirm::Required), `Ok` means the bus has taken responsibility.
    /// Order between futures is the order of their first poll.
    ///
    /// Capability: [`Queue`](crate::Feature::Queue) or [`Topic`](crate::Feature::Topic);
    /// [`Confirm`](crate::Feature::Confirm) or [`TopicConfirm`](crate::Feature::TopicConfirm) where required;
    /// [`SendDelay`](crate::Feature::SendDelay) with a delay. Errors: [`Unroutable`](crate::Kind::Unroutable) (no such
    /// queue), [`Full`](crate::Kind::Full), [`TooLarge`](crate::Kind::TooLarge),
    /// [`DeadlineExceeded`](crate::Kind::DeadlineExceeded), [`Disconnected`](crate::Kind::Disconnected); status tells
    /// whether it may have happened. Dropped after the first poll: an unknown outcome.
    async fn publish(&self, to: &Target, message: Message, options: PublishOptions) -> Result<Receipt>;

    /// Takes deliveries from a queue, the dead letters of one, or a group, within a credit that is never exceeded.
    ///
    /// Capability: [`Queue`](crate::Feature::Queue) or [`TopicGroup`](crate::Feature::TopicGroup);
    /// [`TimedLease`](crate::Feature::TimedLease) with a lease time. Errors: [`NotFound`](crate::Kind::NotFound),
    /// [`InvalidOption`](crate::Kind::InvalidOption), [`Disconnected`](crate::Kind::Disconnected). Dropped: no consumer
    /// is left behind.
    async fn consume(&self, from: &Intake, options: ConsumeOptions) -> Result<Incoming<Delivery>>;

    /// Receives a copy of what is published from now on; at most once, with gaps shown. The topic need not exist.
    ///
    /// Capability: [`Topic`](crate::Feature::Topic). With [`LiveSubscribe`](crate::Feature::LiveSubscribe) a publish
    /// that starts after the return is received. Errors: [`InvalidOption`](crate::Kind::InvalidOption),
    /// [`Disconnected`](crate::Kind::Disconnected). Dropped: no subscription is left behind.
    async fn subscribe(&self, topic: &Name, options: SubscribeOptions) -> Result<Incoming<Message>>;

    /// Sends a request and returns its replies, which end [`Complete`](crate::End::Complete) or
    /// [`Failed`](crate::End::Failed) with [`NoResponder`](crate::Kind::NoResponder),
    /// [`DeadlineExceeded`](crate::Kind::DeadlineExceeded) or [`Disconnected`](crate::Kind::Disconnected). The reply
    /// address is made here and hidden. A late reply is counted and discarded, never given to another call (G2).
    ///
    /// Capability: [`Request`](crate::Feature::Request); [`NoResponder`](crate::Feature::NoResponder) to be told;
    /// [`Scatter`](crate::Feature::Scatter) for a topic. Errors: those of `publish`, and
    /// [`NoResponder`](crate::Kind::NoResponder). Dropping the returned stream frees everything it held (G11).
    async fn request(
        &self,
        to: &Target,
        message: Message,
        options: RequestOptions,
    ) -> Result<Incoming<Reply>>;

    /// Answers. A method of the bus and not of a delivery: subscribers have nothing to settle, and a job may be
    /// answered by another process.
    ///
    /// Capability: [`Request`](crate::Feature::Request); [`ReplyStream`](crate::Feature::ReplyStream) for parts. A
    /// caller that is gone is [`Receipt::Unclaimed`], no error. Errors: [`InvalidMessage`](crate::Kind::InvalidMessage)
    /// for an address of another bus, [`TooLarge`](crate::Kind::TooLarge),
    /// [`Disconnected`](crate::Kind::Disconnected). Dropped: an unknown outcome.
    async fn reply(&self, to: &ReplyTo, message: Message, options: ReplyOptions) -> Result<Receipt>;

    /// How it is, per subscription. Cheap; no I/O.
    fn health(&self) -> Health;

    /// Stops intake, gives back what was handed out unseen, waits for what is in hand, flushes, and closes; at most
    /// `within`. Called again, or at the same time, it gives the same report (I6).
    ///
    /// Capability: none. Never fails: the report says what was not seen to succeed. Dropped: it goes on.
    async fn drain(&self, within: Duration) -> DrainReport;

    /// The desk, if this bus has one.
    fn admin(&self) -> Option<&dyn Admin> {
        None
    }

    /// The door for programs that speak the bus's own request protocol, if this bus has one.
    fn door(&self) -> Option<&dyn Door> {
        None
    }

    /// Looks over the bus for what bites those who do what the plan says: limits, settings of what exists, permissions,
    /// alarms. It changes nothing and needs no [`Transport::connect`] before it; where the bus does not tell something
    /// to this client, that is a finding too. Never fails: what cannot be looked at is found unknown.
    ///
    /// Capability: none; a bus without anything to look at finds nothing. Cancel safe.
    async fn examine(&self, _plan: &Plan) -> Vec<Finding> {
        Vec::new()
    }

    /// Where the parts of large bodies lie, if this bus has such a place ([`LargeBody`](crate::Feature::LargeBody)).
    /// What a transport is asked to send never has a body in parts: [`Checked`](crate::Checked) puts them there and sends
    /// their manifest.
    fn parts(&self) -> Option<Arc<dyn PartStore>> {
        None
    }

    /// Returns when the health may have changed since the call; for a bus that cannot tell, never. Cancel safe.
    async fn health_changed(&self) {
        std::future::pending::<()>().await;
    }
}
