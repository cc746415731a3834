//! The desk.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::Subscriber;
use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use polybus_contract::{
    Admin, Browse, Browsed, Error, Intake, Kind, Message, Name, Object, Operation, Page, Place, Purged,
    QueueInfo, Redrive, Redriven, Result, UnixMillis,
};
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::Nats;
use crate::api::{ConsumerInfo, PubAck, Stored, StreamInfo};
use crate::connection::Handle;
use crate::error::{refuse, unknown};
use crate::link::{LOST, Link, Outgoing, nobody};
use crate::message::{self, REPLY, Raw};
use crate::settle::{Place as Handed, word};

/// Messages on one page, unless asked for fewer, and at most.
const PAGE: u32 = 1000;

/// How long the desk waits for a connection, and for one answer.
const WITHIN: Duration = Duration::from_secs(10);

/// What the desk looks at: a stream, the one subject of it, and the consumer of it.
struct Shelf {
    link: Arc<Link>,
    stream: StreamInfo,
    subject: String,
    consumer: ConsumerInfo,
}

/// What one request of a purge brought.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    gone: u64,
    /// There is no more.
    last: bool,
}

fn silent(intake: &Intake) -> Error {
    unknown(Operation::Purge, "the server does not answer").with_target(intake)
}

impl Handle {
    async fn at_desk(self: &Arc<Self>, operation: Operation) -> Result<Arc<Link>> {
        self.open(operation)?;
        self.link(operation, Instant::now() + WITHIN).await
    }

    async fn shelf(self: &Arc<Self>, operation: Operation, intake: &Intake, place: Place) -> Result<Shelf> {
        let link = self.at_desk(operation).await?;
        let missing = || refuse(Kind::NotFound, operation, intake);
        let named = self.names.source(intake);
        let (stream, name, subject) = match place {
            Place::Dead => {
                let none = || {
                    refuse(Kind::InvalidName, operation, intake).with_detail("it holds dead letters itself")
                };
                let stream = self.names.dead_stream(intake).ok_or_else(none)?;
                let subject = self.names.dead_subject(intake).ok_or_else(none)?;
                (stream, crate::names::WORKERS.to_owned(), subject)
            }
            Place::Ready => (named.stream, named.consumer, self.names.subject(intake)),
        };
        let consumer = link.consumer(&stream, &name, operation).await?.ok_or_else(missing)?;
        let stream = link.stream(&stream, operation).await?.ok_or_else(missing)?;
        Ok(Shelf { link, stream, subject, consumer })
    }

    fn browsed(&self, desk: &Shelf, stored: &Stored) -> Browsed {
        let message = self.read(desk, stored);
        let attempts = message.death().map_or(0, |death| death.attempts);
        Browsed::new(message, attempts)
    }

    fn read(&self, desk: &Shelf, stored: &Stored) -> Message {
        let (headers, body) = stored.content().unwrap_or_default();
        let made_up = format!("{}:{}", desk.stream.config.name, stored.seq);
        let raw = Raw { headers: Some(headers), body: body.clone(), made_up: Some(made_up.clone()) };
        let read = message::decode(&raw, &self.instance);
        read.unwrap_or_else(|_| Message::new(body).with_derived_id(made_up.as_str()))
    }

    /// One dead letter back. Confirmed there before it is deleted here; its key is made of its place among the dead,
    /// so that a redrive that was cut off can be run again without a second copy.
    async fn redrive_one(
        &self,
        desk: &Shelf,
        intake: &Intake,
        stored: &Stored,
        message: Message,
    ) -> Result<()> {
        let died = message.death().map_or(0, |death| death.at.0);
        let reply = message.reply_to().map(ToString::to_string);
        let message = message.without_death();
        let mut headers = message::encode(&message, Some(&format!("r{died}-{}", stored.seq)))?;
        if let Some(reply) = reply {
            headers.insert(REPLY, reply);
        }
        let body = message.body().as_bytes().cloned().unwrap_or_default();
        let letter = Outgoing::new(self.names.redrive_subject(intake), body).with_headers(headers);
        let answer = desk.link.ask(letter, Operation::Redrive, Instant::now() + WITHIN).await?;
        if nobody(&answer) {
            return Err(refuse(Kind::NotFound, Operation::Redrive, intake));
        }
        let ack: PubAck = serde_json::from_slice(&answer.payload)
            .map_err(|_| unknown(Operation::Redrive, "the server's acknowledgement cannot be read"))?;
        if let Some(error) = ack.error {
            return Err(error.into_error(Operation::Redrive, intake));
        }
        desk.link.delete_message(&desk.stream.config.name, stored.seq, Operation::Redrive).await?;
        Ok(())
    }

    async fn redrive(self: &Arc<Self>, intake: &Intake, redrive: &Redrive) -> Result<Redriven> {
        let desk = self.shelf(Operation::Redrive, intake, Place::Dead).await?;
        let name = &desk.stream.config.name;
        let (mut moved, mut refused, mut at) = (0, 0, 1);
        // What dies again while this runs lies behind this position.
        let last = desk.stream.state.last_seq;
        while redrive.limit.is_none_or(|limit| moved < limit) && at <= last {
            let Some(stored) = desk.link.message_from(name, at, &desk.subject, Operation::Redrive).await?
            else {
                break;
            };
            at = stored.seq + 1;
            if stored.seq > last {
                break;
            }
            let message = self.read(&desk, &stored);
            let named = |id| redrive.ids.is_empty() || redrive.ids.contains(id);
            if !message.id().is_some_and(named) {
                continue;
            }
            if message.death().is_none_or(|death| !death.whole) {
                refused += 1;
                continue;
            }
            self.redrive_one(&desk, intake, &stored, message).await?;
            moved += 1;
        }
        let left = desk.link.stream(name, Operation::Redrive).await?.map_or(0, |left| left.state.messages);
        Ok(Redriven::new(moved, refused, left))
    }

    async fn purge(self: &Arc<Self>, intake: &Intake, place: Place) -> Result<u64> {
        let desk = self.shelf(Operation::Purge, intake, place).await?;
        let (link, name) = (&desk.link, &desk.stream.config.name);
        let last = desk.stream.state.last_seq;
        let alone = matches!((place, intake), (Place::Dead, _) | (_, Intake::Queue(_)));
        if alone && desk.consumer.num_ack_pending == 0 {
            return link.purge_before(name, last + 1, Operation::Purge).await;
        }
        if !alone {
            return self.purge_group(&desk, intake).await;
        }
        // Some are in hand, and those stay: the others go one by one.
        let mut at = desk.consumer.delivered.stream_seq + 1;
        let mut gone = 0;
        while at <= last {
            let Some(stored) = link.message_from(name, at, &desk.subject, Operation::Purge).await? else {
                break;
            };
            if stored.seq > last {
                break;
            }
            at = stored.seq + 1;
            gone += u64::from(link.delete_message(name, stored.seq, Operation::Purge).await?);
        }
        Ok(gone)
    }

    /// A group shares its messages with the other groups of its topic: what it alone no longer needs is what it acknowledges.
    /// So everything that waits is asked for as by any consumer, and acknowledged unseen; a message that came since goes
    /// back.
    async fn purge_group(&self, desk: &Shelf, intake: &Intake) -> Result<u64> {
        let (link, last) = (&desk.link, desk.stream.state.last_seq);
        let inbox = format!("{}.p{}", self.waiting.inbox(), self.numbers.fetch_add(1, Ordering::Relaxed));
        let cut_off = |_| unknown(Operation::Purge, LOST).with_target(intake);
        let mut messages = link.client.subscribe(format!("{inbox}.*")).await.map_err(cut_off)?;
        let (mut gone, mut page) = (0, 0);
        loop {
            let waits =
                link.consumer(&desk.stream.config.name, &desk.consumer.name, Operation::Purge).await?;
            // What was given back counts as in hand.
            let waits = waits.map_or(0, |consumer| consumer.num_pending + consumer.num_ack_pending);
            page += 1;
            let asked = waits.clamp(1, u64::from(PAGE));
            let subject =
                format!("{}CONSUMER.MSG.NEXT.{}.{}", link.api, desk.stream.config.name, desk.consumer.name);
            let request = Outgoing::new(subject, json!({ "batch": asked, "no_wait": true }).to_string());
            link.send(request, Some(format!("{inbox}.{page}")), Instant::now() + WITHIN).await?;
            let taken = self.take_page(desk, intake, &mut messages, asked, last).await?;
            gone += taken.gone;
            if taken.last {
                return Ok(gone);
            }
        }
    }

    async fn take_page(
        &self,
        desk: &Shelf,
        intake: &Intake,
        messages: &mut Subscriber,
        asked: u64,
        last: u64,
    ) -> Result<Taken> {
        let mut taken = Taken::default();
        let mut settled = Vec::new();
        for _ in 0..asked {
            let message = timeout(WITHIN, messages.next()).await;
            let message = message.map_err(|_| silent(intake))?.ok_or_else(|| silent(intake))?;
            let Some(place) = message.reply.as_ref().and_then(|reply| Handed::read(reply.as_str())) else {
                // The server says that there is no more.
                taken.last = true;
                break;
            };
            if place.seq > last {
                word(&desk.link, place.ack(), "-NAK");
                taken.last = true;
                continue;
            }
            let ours = [self.names.subject(intake), self.names.redrive_subject(intake)];
            taken.gone += u64::from(ours.iter().any(|subject| *subject == *message.subject));
            settled.push(place);
        }
        let until = Instant::now() + WITHIN;
        let acks = settled
            .iter()
            .map(|place| desk.link.ask(Outgoing::new(place.ack(), "+ACK"), Operation::Purge, until));
        try_join_all(acks).await?;
        Ok(taken)
    }

    async fn remove(self: &Arc<Self>, object: &Object) -> Result<()> {
        let link = self.at_desk(Operation::Remove).await?;
        self.held.forget(object);
        let removed = match object {
            Object::Queue(name) => {
                let removed = link.delete_stream(&self.names.queue_stream(name), Operation::Remove).await?;
                self.remove_dead(&link, &Intake::Queue(name.clone())).await?;
                removed
            }
            Object::Group { topic, group } => {
                let intake = Intake::Group { topic: topic.clone(), group: group.clone() };
                let named = self.names.source(&intake);
                let removed = link.delete_consumer(&named.stream, &named.consumer, Operation::Remove).await?;
                self.remove_dead(&link, &intake).await?;
                removed
            }
            Object::Topic(topic) => self.remove_topic(&link, topic).await?,
        };
        if removed { Ok(()) } else { Err(refuse(Kind::NotFound, Operation::Remove, object)) }
    }

    async fn remove_topic(&self, link: &Link, topic: &Name) -> Result<bool> {
        let stream = self.names.topic_stream(topic);
        for intake in self.groups(link, topic, Operation::Remove).await? {
            self.remove_dead(link, &intake).await?;
        }
        let removed = link.delete_stream(&stream, Operation::Remove).await?;
        self.publisher.forget(topic);
        Ok(removed)
    }

    async fn remove_dead(&self, link: &Link, intake: &Intake) -> Result<()> {
        if let Some(dead) = self.names.dead_stream(intake) {
            link.delete_stream(&dead, Operation::Remove).await?;
        }
        Ok(())
    }

    async fn groups(&self, link: &Link, topic: &Name, operation: Operation) -> Result<Vec<Intake>> {
        let stream = self.names.topic_stream(topic);
        if link.stream(&stream, operation).await?.is_none() {
            return Ok(Vec::new());
        }
        let consumers = link.consumers(&stream, operation).await?;
        let names = consumers.iter().filter_map(|consumer| Name::new(consumer.name.replace('=', ".")).ok());
        Ok(names.map(|group| Intake::Group { topic: topic.clone(), group }).collect())
    }

    async fn list(self: &Arc<Self>) -> Result<Vec<Intake>> {
        let link = self.at_desk(Operation::Inspect).await?;
        let mut intakes = Vec::new();
        for stream in link.streams(Operation::Inspect).await? {
            let Some((kind, name)) = self.names.of_stream(&stream) else { continue };
            let Ok(name) = Name::new(&name) else { continue };
            match kind {
                'q' => intakes.push(Intake::Queue(name)),
                't' => intakes.extend(self.groups(&link, &name, Operation::Inspect).await?),
                _ => {}
            }
        }
        intakes.sort_by_cached_key(|intake| match intake {
            Intake::Queue(name) => name.to_string(),
            Intake::Group { topic, group } => format!("{topic}@{group}"),
        });
        Ok(intakes)
    }

    async fn inspect(self: &Arc<Self>, intake: &Intake) -> Result<QueueInfo> {
        let desk = self.shelf(Operation::Inspect, intake, Place::Ready).await?;
        let link = &desk.link;
        let dead = match self.names.dead_stream(intake) {
            Some(dead) => link.stream(&dead, Operation::Inspect).await?.map_or(0, |dead| dead.state.messages),
            None => 0,
        };
        let ConsumerInfo { num_pending, num_ack_pending, delivered, .. } = &desk.consumer;
        let oldest = if *num_pending == 0 {
            None
        } else {
            let (name, seq) = (&desk.stream.config.name, delivered.stream_seq + 1);
            link.message_from(name, seq, &desk.subject, Operation::Inspect).await?
        };
        // The server counts what waits for its time among what is in hand.
        let none_out = *num_ack_pending == 0;
        // A queue has its stream alone, and what is settled leaves it. A topic's stream is shared by its groups.
        let alone = matches!(intake, Intake::Queue(_));
        let state = &desk.stream.state;
        Ok(QueueInfo {
            ready: Some(*num_pending),
            delayed: none_out.then_some(0),
            leased: Some(*num_ack_pending),
            dead: Some(dead),
            bytes: alone.then_some(state.bytes),
            consumers: None,
            oldest: oldest.and_then(|stored| time_of(&stored.time)),
            sent: alone.then_some(state.last_seq),
            handed_out: Some(delivered.consumer_seq),
            settled: alone.then(|| state.last_seq.saturating_sub(state.messages)),
        })
    }

    async fn browse(self: &Arc<Self>, intake: &Intake, place: Place, browse: Browse) -> Result<Page> {
        let desk = self.shelf(Operation::Browse, intake, place).await?;
        let limit = if browse.limit == 0 { PAGE } else { browse.limit.min(PAGE) } as usize;
        let name = &desk.stream.config.name;
        // What was handed out is in hand, or waits for its time: it stands in front of this position.
        let first = match place {
            Place::Ready if !matches!(intake, Intake::Queue(name) if name.is_dead()) => {
                desk.consumer.ack_floor.stream_seq + 1
            }
            _ => 1,
        };
        let mut at = browse.from.max(first);
        let mut messages = Vec::new();
        while let Some(stored) = desk.link.message_from(name, at, &desk.subject, Operation::Browse).await? {
            if messages.len() == limit {
                return Ok(Page::new(messages, Some(stored.seq)));
            }
            messages.push(self.browsed(&desk, &stored));
            at = stored.seq + 1;
        }
        Ok(Page::new(messages, None))
    }
}

/// A time as the server writes it (RFC 3339).
fn time_of(text: &str) -> Option<UnixMillis> {
    let time = async_nats::datetime::parse_rfc3339(text).ok()?;
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok().map(UnixMillis)
}

#[async_trait]
impl Admin for Nats {
    async fn list(&self) -> Result<Vec<Intake>> {
        self.handle.list().await
    }

    async fn inspect(&self, intake: &Intake) -> Result<QueueInfo> {
        self.handle.inspect(intake).await
    }

    async fn browse(&self, intake: &Intake, place: Place, browse: Browse) -> Result<Page> {
        self.handle.browse(intake, place, browse).await
    }

    async fn purge(&self, intake: &Intake, place: Place) -> Result<Purged> {
        self.handle.purge(intake, place).await.map(|messages| Purged { messages })
    }

    async fn redrive(&self, intake: &Intake, redrive: Redrive) -> Result<Redriven> {
        self.handle.redrive(intake, &redrive).await
    }

    async fn remove(&self, object: &Object) -> Result<()> {
        self.handle.remove(object).await
    }
}
