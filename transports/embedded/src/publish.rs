//! Sending to queues and publishing to topics.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use polybus_contract::{
    Confirm, Confirmed, Durability, Error, Feature, Kind, Message, MessageId, Name, Operation,
    PublishOptions, Receipt, Result, Target, TopicGrade, WhenFull,
};
use polybus_queue::{Accepted, Envelope, Key, Now, QueueId};
use tokio::time::{Instant, timeout_at};

use crate::bus::{Bus, State};
use crate::connection::Handle;
use crate::error::{refuse, refused};
use crate::subscribe::Subscription;

impl Handle {
    pub(crate) async fn publish(
        &self,
        to: &Target,
        mut message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        self.open(Operation::Publish)?;
        let id = message.ensure_id().clone();
        let sent = match to {
            Target::Queue(queue) => self.send(queue, message, &id, &options).await,
            Target::Topic(topic) => self.announce(topic, message, &id, &options).await,
        };
        sent.map_err(|error| error.with_message_id(id))
    }

    async fn send(
        &self,
        queue: &Name,
        message: Message,
        id: &MessageId,
        options: &PublishOptions,
    ) -> Result<Receipt> {
        let mut envelope = Some(envelope(message, id, options.send_number));
        let delay = options.delay.unwrap_or(Duration::ZERO);
        let attempt = |state: &mut State, now: Now| {
            let found = state.engine.find(queue.as_str()).ok_or(polybus_queue::Error::NoSuchQueue)?;
            if let Some(waits) = &envelope {
                state.engine.room(found, waits.size)?;
            }
            // Taken only now that it will not be refused for want of room, so that it can be tried again.
            let Some(envelope) = envelope.take() else { return Ok(Accepted::Duplicate) };
            state.engine.send_after(found, envelope, delay, now)
        };
        let accepted = self.when_there_is_room(queue, options, attempt).await?;
        Ok(confirmed(id, accepted == Accepted::Duplicate))
    }

    /// Tries until it is not refused for want of room, if the caller wants to wait for that.
    async fn when_there_is_room<T>(
        &self,
        target: &Name,
        options: &PublishOptions,
        mut attempt: impl FnMut(&mut State, Now) -> Result<T, polybus_queue::Error>,
    ) -> Result<T> {
        let mut waiting: Option<Waiting<'_>> = None;
        loop {
            let mut room = std::pin::pin!(self.bus.room.notified());
            if waiting.is_some() {
                room.as_mut().enable();
            }
            self.open(Operation::Publish)?;
            let refusal = match self.bus.with(|state, now, _| attempt(state, now)) {
                Ok(done) => return Ok(done),
                Err(refusal) => refusal,
            };
            let waits =
                matches!(refusal, polybus_queue::Error::Full { .. }) && options.when_full == WhenFull::Wait;
            if !waits {
                return Err(refused(refusal, Operation::Publish, target));
            }
            // The first refusal only starts the clock: room made before we listened must not be missed.
            let Some(waiting) = &waiting else {
                waiting = Some(Waiting::until(Instant::now() + options.within, &self.bus));
                continue;
            };
            if timeout_at(waiting.until, room).await.is_err() {
                return Err(refused(refusal, Operation::Publish, target));
            }
        }
    }

    async fn announce(
        &self,
        topic: &Name,
        message: Message,
        id: &MessageId,
        options: &PublishOptions,
    ) -> Result<Receipt> {
        if options.delay.is_some_and(|delay| !delay.is_zero()) {
            return Err(refuse(Kind::InvalidOption, Operation::Publish, topic).with_detail(
                "a delay is for queues; those who subscribe to a topic now could not get it later",
            ));
        }
        let envelope = envelope(message, id, options.send_number);
        let announced = self.bus.with(|state, now, _| announce_now(state, topic, &envelope, options, now))?;
        for subscription in &*announced.subscriptions {
            subscription.push(&envelope.payload);
        }
        for (group, refusal) in announced.refused {
            self.send_to_group(topic, group, refusal, &envelope, options).await?;
        }
        if announced.durable { Ok(confirmed(id, false)) } else { Ok(Receipt::Handed(id.clone())) }
    }

    /// A group was at its bound: waits for room there if the caller wants that. Other groups have the message.
    async fn send_to_group(
        &self,
        topic: &Name,
        group: QueueId,
        refusal: polybus_queue::Error,
        envelope: &Envelope<Message>,
        options: &PublishOptions,
    ) -> Result<()> {
        let name = self.bus.look(|state| state.engine.name(group).cloned());
        let Some(name) = name else { return Ok(()) };
        let detail = format!("group {name} refused ({refusal}); other groups have the message");
        let attempt = |state: &mut State, now: Now| match refusal {
            polybus_queue::Error::Full { .. } => state.engine.send(group, envelope.clone(), now),
            other => Err(other),
        };
        match self.when_there_is_room(topic, options, attempt).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == Kind::Unroutable => Ok(()),
            Err(error) => Err(error.with_detail(detail)),
        }
    }
}

/// A sender that waits for room, counted while it does.
struct Waiting<'a> {
    until: Instant,
    bus: &'a Bus,
}

impl<'a> Waiting<'a> {
    fn until(until: Instant, bus: &'a Bus) -> Self {
        bus.senders_waiting.fetch_add(1, Ordering::AcqRel);
        Self { until, bus }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.bus.senders_waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

struct Announced {
    subscriptions: Arc<Vec<Arc<Subscription>>>,
    durable: bool,
    refused: Vec<(QueueId, polybus_queue::Error)>,
}

fn announce_now(
    state: &mut State,
    topic: &Name,
    envelope: &Envelope<Message>,
    options: &PublishOptions,
    now: Now,
) -> Result<Announced> {
    let side = state.topics.get(topic);
    let durable = side.is_some_and(|side| side.grade == Some(TopicGrade::Durable));
    if !durable && options.confirm == Confirm::Required {
        return Err(Error::unsupported(
            Feature::TopicConfirm,
            Operation::Publish,
            "a topic not declared durable",
        )
        .with_target(topic));
    }
    let subscriptions = side.map(|side| side.subscriptions.clone()).unwrap_or_default();
    let mut refused = Vec::new();
    if durable {
        let published = state.engine.publish(topic.as_str(), envelope, now);
        refused = published.map_err(|error| self::refused(error, Operation::Publish, topic))?.refused;
    }
    Ok(Announced { subscriptions, durable, refused })
}

/// In this process the bus has the message the moment it is in the engine, whatever was asked for.
fn confirmed(id: &MessageId, duplicate: bool) -> Receipt {
    let confirmed = Confirmed::new(id.clone(), Durability::Volatile);
    Receipt::Confirmed(if duplicate { confirmed.as_duplicate() } else { confirmed })
}

/// The message with what the engine must know of it.
pub(crate) fn envelope(message: Message, id: &MessageId, send: u32) -> Envelope<Message> {
    let size = message.size();
    let priority = message.priority().unwrap_or(0);
    let expires_unix_ms = message.expires().map(|at| u64::try_from(at.0).unwrap_or(0));
    Envelope { payload: message, key: Key { id: engine_id(id), send }, size, priority, expires_unix_ms }
}

pub(crate) fn engine_id(id: &MessageId) -> polybus_queue::MessageId {
    match id {
        MessageId::Uuid(uuid) => polybus_queue::MessageId::Uuid(uuid.into_bytes()),
        MessageId::Text(text) => polybus_queue::MessageId::Text(text.clone()),
    }
}
