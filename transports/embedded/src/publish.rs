//! Sending to queues and publishing to topics.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use polybus_contract::{
    Confirm, Confirmed, Error, Feature, Kind, Message, MessageId, Name, Operation, PublishOptions, Receipt,
    Result, Target, TopicGrade, WhenFull,
};
use polybus_queue::{Accepted, Envelope, Error as Refusal, Key, Now, QueueId};
use tokio::time::{Instant, timeout_at};

use crate::bus::{Bus, State, Wakes};
use crate::codec::can_keep;
use crate::connection::Handle;
use crate::error::{refuse, refused};
use crate::subscribe::Subscription;

/// A publish on its way. What it usually needs is a word; what waiting needs is large, and boxed when it is needed.
pub(crate) struct Publishing<'call> {
    handle: &'call Handle,
    to: &'call Target,
    options: PublishOptions,
    stage: Stage<'call>,
}

enum Stage<'call> {
    /// Nothing has happened yet.
    New(Arc<Message>),
    /// It waits for room, or for the journal.
    Waiting(Pin<Box<dyn Future<Output = Result<Receipt>> + Send + 'call>>),
    Over,
}

impl<'call> Publishing<'call> {
    pub(crate) fn new(
        handle: &'call Handle,
        to: &'call Target,
        message: Arc<Message>,
        options: PublishOptions,
    ) -> Self {
        Self { handle, to, options, stage: Stage::New(message) }
    }

    fn begin(&mut self, message: Arc<Message>) -> Poll<Result<Receipt>> {
        let (handle, to) = (self.handle, self.to);
        if handle.bus.store.is_some() {
            let options = self.options.clone();
            let publish = async move { handle.publish_journaled(to, message, &options).await };
            self.stage = Stage::Waiting(Box::pin(publish));
            return Poll::Pending;
        }
        match handle.try_publish(to, message, &self.options) {
            Tried::Done(done) => Poll::Ready(done),
            Tried::Recorded(receipt, _) => Poll::Ready(Ok(receipt)),
            Tried::MustWait(later) => {
                let options = self.options.clone();
                let finish = async move { handle.finish(to, later, &options).await };
                self.stage = Stage::Waiting(Box::pin(finish));
                Poll::Pending
            }
        }
    }
}

impl Future for Publishing<'_> {
    type Output = Result<Receipt>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Stage::New(_) = self.stage
            && let Stage::New(message) = std::mem::replace(&mut self.stage, Stage::Over)
            && let Poll::Ready(done) = self.begin(message)
        {
            return Poll::Ready(done);
        }
        match &mut self.stage {
            Stage::Waiting(rest) => rest.as_mut().poll(context),
            _ => Poll::Pending,
        }
    }
}

/// What came of a first try.
pub(crate) enum Tried {
    /// It is over.
    Done(Result<Receipt>),
    /// It is taken, and safe once the journal has got so far.
    Recorded(Receipt, u64),
    /// There was no room and the caller wants to wait for it.
    MustWait(Box<Later>),
}

/// What is left to do when there is room.
pub(crate) struct Later {
    envelope: Envelope<Arc<Message>>,
    id: MessageId,
    /// The queue, or the groups of the topic, that had no room.
    full: Vec<QueueId>,
}

impl Handle {
    /// Publishes what [`with_id`] made, if that needs no waiting.
    pub(crate) fn try_publish(&self, to: &Target, message: Arc<Message>, options: &PublishOptions) -> Tried {
        if let Err(closed) = self.open(Operation::Publish) {
            return Tried::Done(Err(closed));
        }
        let id = message.id().cloned().unwrap_or_else(MessageId::fresh);
        let envelope = envelope(message, &id, options.send_number);
        let tried = match to {
            Target::Queue(queue) => self.try_send(queue, envelope, id, options),
            Target::Topic(topic) => self.try_announce(topic, envelope, id, options),
        };
        tried.unwrap_or_else(|(error, id)| Tried::Done(Err(error.with_message_id(id))))
    }

    fn try_send(
        &self,
        queue: &Name,
        envelope: Envelope<Arc<Message>>,
        id: MessageId,
        options: &PublishOptions,
    ) -> Result<Tried, (Error, MessageId)> {
        let mut envelope = Some(envelope);
        let delay = options.delay.unwrap_or(Duration::ZERO);
        let mut found = None;
        let add = |state: &mut State, now: Now, _: &mut Wakes| {
            found = state.route(queue);
            let found = found.ok_or(Refusal::NoSuchQueue)?;
            let accepted = state.engine.try_send(found, &mut envelope, delay, now)?;
            Ok((accepted, state.position()))
        };
        let timed = !delay.is_zero() || self.bus.config.dedup_window.is_some();
        let sent = if timed { self.bus.with(add) } else { self.bus.with_sender(add) };
        match (sent, found, envelope) {
            (Ok((accepted, position)), ..) => {
                Ok(self.tried(self.confirmed(id, accepted == Some(Accepted::Duplicate)), position))
            }
            (Err(Refusal::Full { .. } | Refusal::NoSpace), Some(found), Some(envelope))
                if options.when_full == WhenFull::Wait =>
            {
                Ok(Tried::MustWait(Box::new(Later { envelope, id, full: vec![found] })))
            }
            (Err(refusal), ..) => Err((refused(refusal, Operation::Publish, queue), id)),
        }
    }

    fn try_announce(
        &self,
        topic: &Name,
        envelope: Envelope<Arc<Message>>,
        id: MessageId,
        options: &PublishOptions,
    ) -> Result<Tried, (Error, MessageId)> {
        if options.delay.is_some_and(|delay| !delay.is_zero()) {
            let error = refuse(Kind::InvalidOption, Operation::Publish, topic).with_detail(
                "a delay is for queues; those who subscribe to a topic now could not get it later",
            );
            return Err((error, id));
        }
        let announced =
            match self.bus.with(|state, now, _| announce_now(state, topic, &envelope, options, now)) {
                Ok(announced) => announced,
                Err(error) => return Err((error, id)),
            };
        for subscription in &*announced.subscriptions {
            subscription.push(&envelope.payload);
        }
        let can_wait = |refusal: &Refusal| matches!(refusal, Refusal::Full { .. } | Refusal::NoSpace);
        let hopeless = announced
            .refused
            .iter()
            .find(|(_, refusal)| options.when_full == WhenFull::Fail || !can_wait(refusal));
        if let Some((group, refusal)) = hopeless {
            return Err((self.refused_by_group(topic, *group, *refusal), id));
        }
        if !announced.refused.is_empty() {
            let full = announced.refused.into_iter().map(|(group, _)| group).collect();
            return Ok(Tried::MustWait(Box::new(Later { envelope, id, full })));
        }
        if announced.durable {
            return Ok(self.tried(self.confirmed(id, false), announced.position));
        }
        Ok(Tried::Done(Ok(Receipt::Handed(id))))
    }

    fn tried(&self, receipt: Receipt, position: u64) -> Tried {
        if self.bus.store.is_some() { Tried::Recorded(receipt, position) } else { Tried::Done(Ok(receipt)) }
    }

    /// In this process the bus has the message the moment it is in the engine, whatever was asked for.
    fn confirmed(&self, id: MessageId, duplicate: bool) -> Receipt {
        let confirmed = Confirmed::new(id, self.bus.profile.capability.durability());
        Receipt::Confirmed(if duplicate { confirmed.as_duplicate() } else { confirmed })
    }

    /// Publishes on a bus with a journal: confirmed is what is safe.
    pub(crate) async fn publish_journaled(
        &self,
        to: &Target,
        message: Arc<Message>,
        options: &PublishOptions,
    ) -> Result<Receipt> {
        let until = Instant::now() + options.within;
        self.bus.ready(options.within, Operation::Publish).await?;
        if !can_keep(&message) {
            return Err(not_kept(Operation::Publish, to));
        }
        let (receipt, position) = match self.try_publish(to, message, options) {
            Tried::Done(done) => return done,
            Tried::Recorded(receipt, position) => (receipt, position),
            Tried::MustWait(later) => {
                (self.finish(to, later, options).await?, self.bus.look(State::position))
            }
        };
        let (Some(store), Receipt::Confirmed(confirmed)) = (&self.bus.store, &receipt) else {
            return Ok(receipt);
        };
        if options.confirm == Confirm::No {
            return Ok(Receipt::Handed(confirmed.id.clone()));
        }
        let left = until.saturating_duration_since(Instant::now());
        let safe = store.safe(position, left, Operation::Publish).await;
        safe.map_err(|error| error.with_target(to).with_message_id(confirmed.id.clone()))?;
        Ok(receipt)
    }

    fn refused_by_group(&self, topic: &Name, group: QueueId, refusal: Refusal) -> Error {
        let name = self.bus.look(|state| state.engine.name(group).cloned()).unwrap_or_default();
        let detail = format!("group {name} refused ({refusal}); other groups have the message");
        refused(refusal, Operation::Publish, topic).with_detail(detail)
    }

    /// Waits for room, within the caller's bound, in everything that had none.
    pub(crate) async fn finish(
        &self,
        to: &Target,
        later: Box<Later>,
        options: &PublishOptions,
    ) -> Result<Receipt> {
        let Later { envelope, id, full } = *later;
        let until = Instant::now() + options.within;
        let delay = options.delay.unwrap_or(Duration::ZERO);
        let mut duplicate = false;
        for queue in full {
            let sent = self.send_when_there_is_room(queue, &envelope, delay, until).await;
            duplicate = match (sent, to) {
                (Ok(duplicate), _) => duplicate,
                // A group that is gone by now misses nothing.
                (Err(Stop::Refused(Refusal::NoSuchQueue)), Target::Topic(_)) => false,
                (Err(Stop::Closed(error)), _) => return Err(error.with_message_id(id)),
                (Err(Stop::Refused(refusal)), Target::Queue(name)) => {
                    return Err(refused(refusal, Operation::Publish, name).with_message_id(id));
                }
                (Err(Stop::Refused(refusal)), Target::Topic(topic)) => {
                    return Err(self.refused_by_group(topic, queue, refusal).with_message_id(id));
                }
            };
        }
        Ok(self.confirmed(id, duplicate))
    }

    /// Answers whether the queue had it already.
    async fn send_when_there_is_room(
        &self,
        queue: QueueId,
        envelope: &Envelope<Arc<Message>>,
        delay: Duration,
        until: Instant,
    ) -> Result<bool, Stop> {
        let _counted = Waiting::on(&self.bus);
        loop {
            let mut room = std::pin::pin!(self.bus.room.notified());
            // Room that is made between the look and the wait must not be missed.
            room.as_mut().enable();
            self.open(Operation::Publish).map_err(Stop::Closed)?;
            let mut once = Some(envelope.clone());
            let sent = self.bus.with(|state, now, _| state.engine.try_send(queue, &mut once, delay, now));
            let refusal = match sent {
                Ok(accepted) => return Ok(accepted == Some(Accepted::Duplicate)),
                Err(refusal @ (Refusal::Full { .. } | Refusal::NoSpace)) => refusal,
                Err(refusal) => return Err(Stop::Refused(refusal)),
            };
            if timeout_at(until, room).await.is_err() {
                return Err(Stop::Refused(refusal));
            }
        }
    }
}

/// The refusal of a message that a journal cannot keep.
pub(crate) fn not_kept(operation: Operation, to: &Target) -> Error {
    refuse(Kind::InvalidMessage, operation, to)
        .with_detail("a journal keeps bodies in memory and headers nested at most 64 deep")
}

/// Why a send did not happen.
enum Stop {
    Refused(Refusal),
    Closed(Error),
}

/// A sender that waits for room, counted while it does.
struct Waiting<'a>(&'a Bus);

impl<'a> Waiting<'a> {
    fn on(bus: &'a Bus) -> Self {
        bus.senders_waiting.fetch_add(1, Ordering::AcqRel);
        Self(bus)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.senders_waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

struct Announced {
    subscriptions: Arc<Vec<Arc<Subscription>>>,
    durable: bool,
    refused: Vec<(QueueId, Refusal)>,
    position: u64,
}

fn announce_now(
    state: &mut State,
    topic: &Name,
    envelope: &Envelope<Arc<Message>>,
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
    Ok(Announced { subscriptions, durable, refused, position: state.position() })
}

/// The message as it is kept and handed out: with an id, and shared from here on.
pub(crate) fn with_id(mut message: Message) -> Arc<Message> {
    message.ensure_id();
    Arc::new(message)
}

/// The message with what the engine must know of it.
fn envelope(message: Arc<Message>, id: &MessageId, send: u32) -> Envelope<Arc<Message>> {
    let size = message.size();
    let priority = message.priority().unwrap_or(0);
    // A request is worth nothing once its caller has stopped waiting.
    let deadline = message.deadline().filter(|_| message.reply_to().is_some());
    let expires = message.expires().into_iter().chain(deadline).min();
    let expires_unix_ms = expires.map(|at| u64::try_from(at.0).unwrap_or(0));
    Envelope { payload: message, key: Key { id: engine_id(id), send }, size, priority, expires_unix_ms }
}

pub(crate) fn engine_id(id: &MessageId) -> polybus_queue::MessageId {
    match id {
        MessageId::Uuid(uuid) => polybus_queue::MessageId::Uuid(uuid.into_bytes()),
        MessageId::Text(text) => polybus_queue::MessageId::Text(text.clone()),
    }
}
