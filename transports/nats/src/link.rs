//! One connection, from its making to its loss, and everything that waits for an answer on it.
//!
//! The client library would reconnect by itself, and send then what was handed to it during the outage: long after
//! its sender was told that it failed. So each connection of ours is made anew, and ends at its first loss; what was
//! not sent by then is never sent.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use async_nats::client::traits::Publisher;
use async_nats::header::HeaderMap;
use async_nats::message::OutboundMessage;
use async_nats::{Client, Message, Subscriber};
use bytes::Bytes;
use futures_util::{Sink, StreamExt};
use polybus_contract::{Error, Kind, Operation, Result};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::error::{refuse, unknown};
use crate::request::Call;

/// Status: nobody listens to this subject.
pub(crate) const NO_RESPONDERS: u16 = 503;

/// What waits for a message to our inbox.
enum Slot {
    /// The acknowledgement of a publish, an answer of the server.
    Answer(oneshot::Sender<Message>),
    /// The acknowledgement of a settle: it is counted, whether anybody waits for it or not.
    Settled(oneshot::Sender<Message>),
    /// The replies to a request.
    Call(Arc<Call>),
}

/// Everything of one handle that waits for a message to its inbox. It outlives connections, so that a late reply is
/// known as one.
pub(crate) struct Waiting {
    /// The subject in front of all numbers.
    inbox: String,
    numbers: AtomicU64,
    slots: Mutex<HashMap<u64, Slot>>,
    pub(crate) late: AtomicU64,
    pub(crate) settled: AtomicU64,
    /// Something was answered.
    answered: Notify,
}

impl Waiting {
    pub(crate) fn new(inbox: String) -> Self {
        Self {
            inbox,
            numbers: AtomicU64::new(0),
            slots: Mutex::default(),
            late: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            answered: Notify::new(),
        }
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<u64, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, slot: Slot) -> u64 {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        self.slots().insert(number, slot);
        number
    }

    pub(crate) fn inbox(&self) -> &str {
        &self.inbox
    }

    fn address(&self, number: u64) -> String {
        format!("{}.{number:x}", self.inbox)
    }

    /// A slot for the acknowledgement of a settle, which stays until that comes or the connection ends.
    pub(crate) fn settling(&self) -> (String, oneshot::Receiver<Message>) {
        let (sender, receiver) = oneshot::channel();
        (self.address(self.add(Slot::Settled(sender))), receiver)
    }

    /// A place for the replies to a request, as long as the number lives in the table.
    pub(crate) fn call(&self, call: Arc<Call>) -> (u64, String) {
        let number = self.add(Slot::Call(call));
        (number, self.address(number))
    }

    pub(crate) fn forget(&self, number: u64) {
        self.slots().remove(&number);
    }

    /// Requests that wait for a reply.
    pub(crate) fn calls(&self) -> u64 {
        self.slots().values().filter(|slot| matches!(slot, Slot::Call(_))).count() as u64
    }

    /// Publishes and settles that wait for their acknowledgement.
    pub(crate) fn unanswered(&self) -> u64 {
        self.slots().values().filter(|slot| !matches!(slot, Slot::Call(_))).count() as u64
    }

    /// Waits until every publish and settle is answered.
    pub(crate) async fn all_answered(&self) {
        loop {
            let mut answered = std::pin::pin!(self.answered.notified());
            answered.as_mut().enable();
            if self.unanswered() == 0 {
                return;
            }
            answered.await;
        }
    }

    fn take(&self, message: Message) {
        let number =
            message.subject.rsplit_once('.').and_then(|(_, last)| u64::from_str_radix(last, 16).ok());
        let Some(number) = number else { return };
        let mut slots = self.slots();
        if let Some(Slot::Call(call)) = slots.get(&number) {
            let call = call.clone();
            drop(slots);
            call.arrive(message);
            return;
        }
        let slot = slots.remove(&number);
        drop(slots);
        self.answered.notify_waiters();
        // A waiter that is gone by now was told that the outcome is unknown.
        match slot {
            Some(Slot::Answer(sender)) => drop(sender.send(message)),
            Some(Slot::Settled(sender)) => {
                self.settled.fetch_add(u64::from(!nobody(&message)), Ordering::AcqRel);
                drop(sender.send(message));
            }
            None if message
                .headers
                .as_ref()
                .is_some_and(|headers| headers.get(crate::message::ANSWER).is_some()) =>
            {
                self.late.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    /// The connection is lost: nothing that waits will be answered.
    pub(crate) fn fail_all(&self, why: &str) {
        let slots = std::mem::take(&mut *self.slots());
        self.answered.notify_waiters();
        for slot in slots.into_values() {
            if let Slot::Call(call) = slot {
                call.fail(unknown(Operation::Request, why));
            }
        }
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("inbox", &self.inbox).finish_non_exhaustive()
    }
}

/// A slot in the table, taken out when nobody waits for it any more.
struct Waiter<'a> {
    waiting: &'a Waiting,
    number: u64,
    receiver: oneshot::Receiver<Message>,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.waiting.forget(self.number);
    }
}

/// What goes out.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) subject: String,
    pub(crate) headers: Option<HeaderMap>,
    pub(crate) body: Bytes,
}

impl Outgoing {
    pub(crate) fn new(subject: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { subject: subject.into(), headers: None, body: body.into() }
    }

    pub(crate) fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.headers = Some(headers).filter(|headers| !headers.is_empty());
        self
    }

    fn replying_to(self, reply: Option<String>) -> OutboundMessage {
        OutboundMessage {
            subject: self.subject.into(),
            reply: reply.map(Into::into),
            payload: self.body,
            headers: self.headers,
        }
    }
}

/// One connection.
pub(crate) struct Link {
    pub(crate) client: Client,
    /// The same client, for what must be handed over without waiting.
    sink: Mutex<Client>,
    pub(crate) waiting: Arc<Waiting>,
    /// In front of all subjects of the JetStream API.
    pub(crate) api: String,
    pub(crate) max_payload: u64,
    pub(crate) jetstream: bool,
    /// Major and minor version of the server.
    pub(crate) version: (u32, u32),
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Link {
    pub(crate) fn new(client: Client, waiting: Arc<Waiting>, domain: Option<&str>) -> Self {
        let info = client.server_info();
        let api = domain.map_or_else(|| "$JS.API.".to_owned(), |domain| format!("$JS.{domain}.API."));
        Self {
            sink: Mutex::new(client.clone()),
            waiting,
            api,
            max_payload: info.max_payload as u64,
            jetstream: info.jetstream || domain.is_some(),
            version: version(&info.version),
            client,
        }
    }

    /// Whether the server is older than 2.10.
    pub(crate) const fn is_old(&self) -> bool {
        self.version.0 < 2 || self.version.0 == 2 && self.version.1 < 10
    }

    /// Listens to the inbox. What the server sends there is handed on until the connection is lost.
    pub(crate) async fn listen(&self) -> Result<Subscriber> {
        let all = format!("{}.*", self.waiting.inbox);
        self.client.subscribe(all).await.map_err(|_| unknown(Operation::Connect, LOST))
    }

    /// Hands a message over, waiting for room in the connection's buffer only.
    pub(crate) async fn send(&self, message: Outgoing, reply: Option<String>, until: Instant) -> Result<()> {
        let sent = self.client.publish_message(message.replying_to(reply));
        match timeout_at(until, sent).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(not_sent(&error)),
            // Dropped while it waited: it has not been handed over.
            Err(_) => Err(Error::new(Kind::Disconnected, Operation::Publish)
                .with_detail("the connection takes nothing")),
        }
    }

    /// Hands a message over now, or gives it back if there is no room.
    pub(crate) fn try_send(
        &self,
        message: Outgoing,
        reply: Option<String>,
    ) -> Result<(), Box<(Outgoing, Option<String>)>> {
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(&mut *sink).poll_ready(&mut context) {
            Poll::Ready(Ok(())) => {
                // Refused here is only what is larger than the server takes, which none of these is.
                let _ = Pin::new(&mut *sink).start_send(message.replying_to(reply));
                Ok(())
            }
            _ => Err(Box::new((message, reply))),
        }
    }

    /// Sends, and waits for the one answer.
    ///
    /// # Errors
    /// [`Kind::Disconnected`], with an unknown outcome once the message was handed over.
    pub(crate) async fn ask(
        &self,
        message: Outgoing,
        operation: Operation,
        until: Instant,
    ) -> Result<Message> {
        let (sender, receiver) = oneshot::channel();
        let number = self.waiting.add(Slot::Answer(sender));
        let mut waiter = Waiter { waiting: &self.waiting, number, receiver };
        let reply = Some(self.waiting.address(number));
        self.send(message, reply, until).await.map_err(|error| again_as(&error, operation))?;
        match timeout_at(until, &mut waiter.receiver).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(unknown(operation, LOST)),
            Err(_) => Err(unknown(operation, "the server did not answer in time")),
        }
    }

    /// A round trip: the server has seen everything that was sent before.
    pub(crate) async fn round_trip(&self, operation: Operation, until: Instant) -> Result<()> {
        let (sender, receiver) = oneshot::channel();
        let number = self.waiting.add(Slot::Answer(sender));
        let mut waiter = Waiter { waiting: &self.waiting, number, receiver };
        let to_oneself = Outgoing::new(self.waiting.address(number), Bytes::new());
        self.send(to_oneself, None, until).await.map_err(|error| again_as(&error, operation))?;
        match timeout_at(until, &mut waiter.receiver).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(unknown(operation, "the connection does not answer")),
        }
    }
}

/// Hands on what comes to the inbox, until the connection is lost.
pub(crate) async fn hand_on(mut inbox: Subscriber, waiting: Arc<Waiting>) {
    while let Some(message) = inbox.next().await {
        waiting.take(message);
    }
}

pub(crate) const LOST: &str = "the connection was lost";

fn not_sent(error: &async_nats::client::PublishError) -> Error {
    match error.kind() {
        async_nats::client::PublishErrorKind::Send => {
            Error::new(Kind::Disconnected, Operation::Publish).with_detail(LOST)
        }
        _ => refuse(Kind::InvalidMessage, Operation::Publish, "the message").with_detail(error.to_string()),
    }
}

/// The same error, said of another operation.
pub(crate) fn again_as(error: &Error, operation: Operation) -> Error {
    let mut again = Error::new(error.kind(), operation).with_status(error.status());
    if let Some(detail) = error.detail() {
        again = again.with_detail(detail);
    }
    if let Some(target) = error.target() {
        again = again.with_target(target);
    }
    match error.message_id() {
        Some(id) => again.with_message_id(id.clone()),
        None => again,
    }
}

/// Whether the server said that nobody listens.
pub(crate) fn nobody(message: &Message) -> bool {
    message.status.is_some_and(|status| status.as_u16() == NO_RESPONDERS)
}

pub(crate) fn version(text: &str) -> (u32, u32) {
    let mut numbers = text.trim_start_matches('v').split('.').map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
