//! The always-on checks: what is not declared is refused before any I/O.

mod desk;
mod gate;
mod hold;
mod large;

use std::borrow::Cow;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::admin::Admin;
use crate::delivery::Delivery;
use crate::door::Door;
use crate::drain::DrainReport;
use crate::error::{Error, Operation, Result};
use crate::examine::{Finding, Plan};
use crate::health::Health;
use crate::incoming::Incoming;
use crate::message::Message;
use crate::name::Name;
use crate::options::{
    ConsumeOptions, Deadline, PublishOptions, ReplyOptions, RequestOptions, SubscribeOptions,
};
use crate::parts::{PartStore, TAKES_PARTS};
use crate::receipt::Receipt;
use crate::reply::Reply;
use crate::target::{Intake, ReplyTo, Target};
use crate::time::UnixMillis;
use crate::topology::{Declared, Topology};
use crate::transport::{Profile, Transport};

use gate::Gate;

/// What a verb of [`Transport`] answers.
type Verb<'call, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'call>>;

/// A transport that refuses what its capability does not declare: typed, and before any I/O (K1).
///
/// It checks names derived from names, sizes, properties the bus would lose, foreign reply addresses, options and
/// settlement outcomes. It is itself a [`Transport`], with the desk of the one inside.
///
/// Where the bus has a place for the parts of large bodies, it puts them there and gets them from there, so that a
/// transport sees messages of bounded size only.
#[derive(Clone, Debug)]
pub struct Checked {
    inner: Arc<dyn Transport>,
}

impl Checked {
    /// Wraps `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Transport>) -> Self {
        Self { inner }
    }

    /// The transport inside.
    #[must_use]
    pub fn get_ref(&self) -> &Arc<dyn Transport> {
        &self.inner
    }

    fn gate(&self, operation: Operation) -> Gate<'_> {
        Gate::new(self.inner.lend_profile(), operation)
    }
}

#[async_trait]
impl Transport for Checked {
    fn profile(&self) -> Profile {
        self.inner.profile()
    }

    fn lend_profile(&self) -> Cow<'_, Profile> {
        self.inner.lend_profile()
    }

    async fn connect(&self, within: Duration) -> Result<()> {
        self.inner.connect(within).await
    }

    async fn declare(&self, topology: &Topology) -> Result<Declared> {
        self.gate(Operation::Declare).topology(topology)?;
        self.inner.declare(topology).await
    }

    // The verbs a program uses for each message are written as `async_trait` would write them, for one reason: what is
    // allowed is the future of the transport inside, and needs none of its own around it.

    fn publish<'bus, 'to, 'call>(
        &'bus self,
        to: &'to Target,
        mut message: Message,
        options: PublishOptions,
    ) -> Verb<'call, Receipt>
    where
        'bus: 'call,
        'to: 'call,
    {
        if let Err(refusal) = self.gate(Operation::Publish).publish(to, &message, &options) {
            return refused(refusal);
        }
        message.ensure_id();
        if large::concerns(&message) {
            return Box::pin(self.publish_large(to, message, options));
        }
        self.inner.publish(to, message, options)
    }

    async fn consume(&self, from: &Intake, options: ConsumeOptions) -> Result<Incoming<Delivery>> {
        let gate = self.gate(Operation::Consume);
        gate.consume(from, &options)?;
        let incoming = self.inner.consume(from, options).await?;
        let checked = hold::checked_deliveries(incoming, gate.profile());
        Ok(match self.beside() {
            Some(beside) => beside.wrap(checked),
            None => checked,
        })
    }

    async fn subscribe(&self, topic: &Name, options: SubscribeOptions) -> Result<Incoming<Message>> {
        self.gate(Operation::Subscribe).subscribe(topic, &options)?;
        self.inner.subscribe(topic, options).await
    }

    fn request<'bus, 'to, 'call>(
        &'bus self,
        to: &'to Target,
        mut message: Message,
        options: RequestOptions,
    ) -> Verb<'call, Incoming<Reply>>
    where
        'bus: 'call,
        'to: 'call,
    {
        if let Err(refusal) = self.gate(Operation::Request).request(to, &message, &options) {
            return refused(refusal);
        }
        message.ensure_id();
        let mut message = marked(message, &options);
        let Some(beside) = self.beside() else { return self.inner.request(to, message, options) };
        message.carried_mut().set_carried(TAKES_PARTS, true);
        // Two futures: the one with the parts is many times as large.
        if large::concerns(&message) {
            Box::pin(self.request_large(to, message, options, beside))
        } else {
            Box::pin(async move { Ok(beside.wrap(self.inner.request(to, message, options).await?)) })
        }
    }

    fn reply<'bus, 'to, 'call>(
        &'bus self,
        to: &'to ReplyTo,
        mut message: Message,
        options: ReplyOptions,
    ) -> Verb<'call, Receipt>
    where
        'bus: 'call,
        'to: 'call,
    {
        if let Err(refusal) = self.gate(Operation::Reply).reply(to, &message, &options) {
            return refused(refusal);
        }
        message.ensure_id();
        if large::concerns(&message) {
            return Box::pin(self.reply_large(to, message, options));
        }
        self.inner.reply(to, message, options)
    }

    fn health(&self) -> Health {
        self.inner.health()
    }

    async fn drain(&self, within: Duration) -> DrainReport {
        self.inner.drain(within).await
    }

    fn admin(&self) -> Option<&dyn Admin> {
        self.inner.admin().map(|_| self as &dyn Admin)
    }

    fn door(&self) -> Option<&dyn Door> {
        self.inner.door()
    }

    async fn examine(&self, plan: &Plan) -> Vec<Finding> {
        self.inner.examine(plan).await
    }

    fn parts(&self) -> Option<Arc<dyn PartStore>> {
        self.inner.parts()
    }

    async fn health_changed(&self) {
        self.inner.health_changed().await;
    }
}

fn refused<'call, T: Send + 'call>(refusal: Error) -> Verb<'call, T> {
    Box::pin(ready(Err(refusal)))
}

/// What every bus must carry of a request's options: the deadline, absolute, and the wish not to run it twice.
fn marked(mut message: Message, options: &RequestOptions) -> Message {
    if let (Deadline::Within(within), None) = (options.deadline, message.deadline()) {
        message = message.with_deadline(UnixMillis::now().after(within));
    }
    if options.at_most_once {
        message.carried_mut().set_carried(crate::AT_MOST_ONCE, true);
    }
    message
}
