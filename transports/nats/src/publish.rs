//! Sending to queues and publishing to topics.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::header::HeaderMap;
use polybus_contract::{
    Confirm, Confirmed, Error, Feature, Kind, Message, MessageId, Name, Operation, PublishOptions, Receipt,
    Result, Status, Target, WhenFull,
};
use tokio::time::{Instant, sleep_until};

use crate::api::PubAck;
use crate::capability::HEADROOM;
use crate::connection::{Handle, locked};
use crate::error::{down, refuse, unknown};
use crate::link::{LOST, Link, Outgoing, again_as, nobody};
use crate::message::{self, NUMBER, REPLY, wire_size};

/// The pauses between two looks whether there is room again.
const LOOK: Duration = Duration::from_millis(5);
const LONGEST_LOOK: Duration = Duration::from_millis(250);

/// How long it is remembered that a topic is not durable: another program may declare it.
const PLAIN_FOR: Duration = Duration::from_secs(2);

/// Topics whose numbers and grades are remembered at most.
const TOPICS: usize = 10_000;

/// What a publisher knows of the topics it sends to.
#[derive(Debug)]
pub(crate) struct Publisher {
    /// Who numbers: no other publisher is called so.
    own: String,
    topics: Mutex<HashMap<Name, Arc<Sent>>>,
    /// Handed over without a confirmation since the last round trip.
    pub(crate) handed: AtomicU64,
}

#[derive(Debug, Default)]
struct Sent {
    /// The number of the last message.
    number: AtomicU64,
    grade: Mutex<Option<Grade>>,
}

#[derive(Clone, Copy, Debug)]
struct Grade {
    durable: bool,
    known: Instant,
}

impl Publisher {
    pub(crate) fn new(own: String) -> Self {
        Self { own, topics: Mutex::default(), handed: AtomicU64::new(0) }
    }

    fn topic(&self, topic: &Name) -> Arc<Sent> {
        let mut topics = locked(&self.topics);
        if let Some(sent) = topics.get(topic) {
            return sent.clone();
        }
        if topics.len() >= TOPICS {
            // Readers see a publisher that begins anew, not a gap: its name says so.
            topics.clear();
        }
        topics.entry(topic.clone()).or_default().clone()
    }

    /// Forgets what it knows of a topic's grade.
    pub(crate) fn forget(&self, topic: &Name) {
        *locked(&self.topic(topic).grade) = None;
    }
}

/// A message ready to leave.
struct Letter<'a> {
    to: &'a Target,
    id: MessageId,
    message: Message,
    send_number: u32,
    reply: Option<String>,
    subject: String,
    /// Made again for each further attempt, which is seldom.
    headers: Option<HeaderMap>,
    body: bytes::Bytes,
    /// Numbers it, for a topic.
    numbers: Option<Arc<Sent>>,
}

impl Letter<'_> {
    fn take_headers(&mut self) -> Result<HeaderMap> {
        match self.headers.take() {
            Some(headers) => Ok(headers),
            None => headers(&self.message, self.send_number, self.reply.as_deref()),
        }
    }
}

fn headers(message: &Message, send_number: u32, reply: Option<&str>) -> Result<HeaderMap> {
    let key = (send_number > 0).then(|| send_number.to_string());
    let mut headers = message::encode(message, key.as_deref())?;
    if let Some(reply) = reply {
        headers.insert(REPLY, reply);
    }
    Ok(headers)
}

impl Handle {
    pub(crate) async fn publish(
        self: &Arc<Self>,
        to: &Target,
        message: Message,
        options: &PublishOptions,
    ) -> Result<Receipt> {
        self.open(Operation::Publish)?;
        let until = Instant::now() + options.within;
        let letter = self.letter(to, message, options.send_number, None)?;
        let sent = self.post(letter, options, until).await;
        sent.map_err(|error| if error.target().is_none() { error.with_target(to) } else { error })
    }

    /// A request on its way to its queue or topic; answered to `reply`.
    pub(crate) async fn post_request(
        self: &Arc<Self>,
        to: &Target,
        message: Message,
        reply: String,
        send_number: u32,
        until: Instant,
    ) -> Result<Receipt> {
        let letter = self.letter(to, message, send_number, Some(reply))?;
        let options = PublishOptions::default().with_confirm(Confirm::WhereAble);
        let sent = self.post(letter, &options, until).await;
        sent.map_err(|error| again_as(&error, Operation::Request).with_target(to))
    }

    fn letter<'a>(
        &self,
        to: &'a Target,
        mut message: Message,
        send_number: u32,
        reply: Option<String>,
    ) -> Result<Letter<'a>> {
        let id = message.ensure_id().clone();
        let reply = reply.or_else(|| message.reply_to().map(ToString::to_string));
        let headers = Some(headers(&message, send_number, reply.as_deref())?);
        let body = message.body().as_bytes().cloned().unwrap_or_default();
        let (subject, numbers) = match to {
            Target::Queue(queue) => (self.names.queue_subject(queue), None),
            Target::Topic(topic) => (self.names.topic_subject(topic), Some(self.publisher.topic(topic))),
        };
        Ok(Letter { to, id, message, send_number, reply, subject, headers, body, numbers })
    }

    async fn post(
        self: &Arc<Self>,
        mut letter: Letter<'_>,
        options: &PublishOptions,
        until: Instant,
    ) -> Result<Receipt> {
        let link = self.link(Operation::Publish, until).await?;
        let headers = letter.take_headers()?;
        fits(&link, letter.to, &headers, letter.body.len())?;
        letter.headers = Some(headers);
        let confirmed = match letter.to {
            _ if options.confirm == Confirm::No => false,
            Target::Queue(_) => link.jetstream,
            Target::Topic(topic) => Box::pin(self.is_durable(&link, topic, letter.numbers.as_ref())).await?,
        };
        if !confirmed && options.confirm == Confirm::Required {
            return Err(Error::unsupported(
                Feature::TopicConfirm,
                Operation::Publish,
                "a topic not declared durable",
            )
            .with_target(letter.to));
        }
        if confirmed {
            return self.post_confirmed(link, letter, options, until).await;
        }
        link.send(self.outgoing(&mut letter)?, None, until).await?;
        self.publisher.handed.fetch_add(1, Ordering::Relaxed);
        Ok(Receipt::Handed(letter.id))
    }

    /// The number is given in the poll that hands the message over, so that numbers leave in order.
    fn outgoing(&self, letter: &mut Letter<'_>) -> Result<Outgoing> {
        let mut headers = letter.take_headers()?;
        if let Some(sent) = &letter.numbers {
            let number = sent.number.fetch_add(1, Ordering::Relaxed);
            headers.insert(NUMBER, format!("{}.{number}", self.publisher.own));
        }
        Ok(Outgoing::new(letter.subject.clone(), letter.body.clone()).with_headers(headers))
    }

    async fn post_confirmed(
        self: &Arc<Self>,
        mut link: Arc<Link>,
        mut letter: Letter<'_>,
        options: &PublishOptions,
        until: Instant,
    ) -> Result<Receipt> {
        let waits = |kind| match kind {
            Kind::Full => options.when_full == WhenFull::Wait,
            kind => kind == Kind::Disconnected,
        };
        let mut pause = LOOK;
        loop {
            match self.post_once(&link, &mut letter, until).await {
                Err(error)
                    if error.status() == Status::Temporary
                        && waits(error.kind())
                        && Instant::now() + pause < until => {}
                sent => return sent.map_err(|error| error.with_message_id(letter.id)),
            }
            sleep_until(Instant::now() + pause).await;
            pause = (pause * 2).min(LONGEST_LOOK);
            link = self.link(Operation::Publish, until).await?;
        }
    }

    async fn post_once(
        self: &Arc<Self>,
        link: &Link,
        letter: &mut Letter<'_>,
        until: Instant,
    ) -> Result<Receipt> {
        let to = letter.to;
        let outgoing = self.outgoing(letter)?;
        let size = (outgoing.body.len() + outgoing.headers.as_ref().map_or(0, wire_size)) as u64;
        let answer = link.ask(outgoing, Operation::Publish, until).await?;
        if nobody(&answer) {
            return Err(Box::pin(self.no_stream(link, to)).await);
        }
        let ack: PubAck = serde_json::from_slice(&answer.payload)
            .map_err(|_| unknown(Operation::Publish, "the server's acknowledgement cannot be read"))?;
        if let Some(error) = ack.error {
            self.refused(&error, size);
            return Err(error.into_error(Operation::Publish, to));
        }
        self.taken();
        if !self.names.owns(&ack.stream) {
            return Err(refuse(Kind::Conflict, Operation::Publish, to)
                .with_status(Status::Unknown)
                .with_detail(format!("the stream {} took it, which is none of ours", ack.stream)));
        }
        let confirmed = Confirmed::new(letter.id.clone(), self.profile().capability.durability());
        Ok(Receipt::Confirmed(if ack.duplicate { confirmed.as_duplicate() } else { confirmed }))
    }

    /// Nobody took it. In a cluster that need not mean that there is no stream: until the members have agreed on a new
    /// leader nobody listens for it. Nothing has happened, so it may be sent again.
    async fn no_stream(&self, link: &Link, to: &Target) -> Error {
        let stream = match to {
            Target::Topic(topic) => {
                self.publisher.forget(topic);
                self.names.topic_stream(topic)
            }
            Target::Queue(queue) => self.names.queue_stream(queue),
        };
        match link.stream(&stream, Operation::Publish).await {
            Ok(None) => refuse(Kind::Unroutable, Operation::Publish, to),
            Ok(Some(_)) => down(Operation::Publish, "its stream had no leader").with_target(to),
            Err(error) => down(Operation::Publish, error.detail().unwrap_or(LOST)).with_target(to),
        }
    }

    /// Whether a stream keeps what is published to the topic.
    async fn is_durable(&self, link: &Link, topic: &Name, sent: Option<&Arc<Sent>>) -> Result<bool> {
        let Some(sent) = sent.filter(|_| link.jetstream) else { return Ok(false) };
        let known = *locked(&sent.grade);
        if let Some(grade) = known.filter(|grade| grade.durable || grade.known.elapsed() < PLAIN_FOR) {
            return Ok(grade.durable);
        }
        let found = link.stream(&self.names.topic_stream(topic), Operation::Publish).await;
        // The question has left, the message has not.
        let found = found.map_err(|error| error.with_status(Status::Temporary))?;
        let grade = Grade { durable: found.is_some(), known: Instant::now() };
        *locked(&sent.grade) = Some(grade);
        Ok(grade.durable)
    }
}

/// Refuses what the server would end the connection for.
pub(crate) fn fits(link: &Link, to: impl std::fmt::Display, headers: &HeaderMap, body: usize) -> Result<()> {
    let size = (body + wire_size(headers)) as u64;
    if size <= link.max_payload {
        return Ok(());
    }
    let limit = link.max_payload.saturating_sub(HEADROOM);
    Err(refuse(Kind::TooLarge { limit, size }, Operation::Publish, to)
        .with_detail("with its headers as they travel"))
}
