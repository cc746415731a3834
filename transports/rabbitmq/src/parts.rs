//! The parts of large bodies: a queue for each body, read without being taken, gone when nobody has used it for its time.
//!
//! A reader gets the parts one after the other and never acknowledges them; when its channel closes they are in the queue
//! again, in their order. So one reads at a time, and whoever comes meanwhile waits. A sender that lost its connection
//! sends again from the first part that was not confirmed: parts may be there twice, and a reader passes over what it has.
//! See `docs/src/wire-parts.md`.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use lapin::message::BasicGetMessage;
use lapin::options::{BasicGetOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};
use polybus_contract::{
    Error, Kind, Manifest, Name, Operation, Part, PartSink, PartSource, PartStore, PartsId, Result, Status,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::connection::Core;
use crate::error::{down, of_broker, refuse};
use crate::header::{int, known, string, text};
use crate::message::Raw;
use crate::outlet::{Route, Verdict};
use crate::publish::{full, judged, place};
use crate::session::{ANSWER, Way};
use crate::topology::{ask_queue, dead_of, is_there};

/// The size of a part; less where the largest message is smaller.
const PART: u64 = 1 << 20;

/// The room for one body.
const BOUND: i64 = 16 << 30;

/// Parts on their way to the broker at the same time, and those that came too early.
const WINDOW: usize = 16;

/// How long a body makes no progress before that is an error: without a connection, or while somebody else reads it.
const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(100);

/// The headers of a part.
const INDEX: &str = "x-polybus-part";
const DIGEST: &str = "x-polybus-part-sha256";

/// The place beside the queues of one handle.
#[derive(Clone, Debug)]
pub(crate) struct Store(pub(crate) Arc<Core>);

impl Store {
    fn wire(&self, id: PartsId) -> String {
        self.0.wire(&format!("polybus.parts.{id}"))
    }

    async fn declare(&self, id: PartsId, live: Duration) -> Result<()> {
        let session = self.0.session(Instant::now() + PATIENCE, Operation::Publish).await?;
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let made = ask_queue(&session, &self.wire(id), options, arguments(live)).await;
        made.map(drop).map_err(|refused| refused.of(Operation::Publish, id))
    }
}

/// The queue of a body. Classic: its messages go back to where they were, and are not counted while they do.
fn arguments(live: Duration) -> FieldTable {
    let live = i64::try_from(live.as_millis()).unwrap_or(i64::MAX).clamp(1000, i64::from(u32::MAX));
    let mut arguments = FieldTable::default();
    arguments.insert(known("x-queue-type"), text("classic"));
    arguments.insert(known("x-queue-mode"), text("lazy"));
    arguments.insert(known("x-expires"), AMQPValue::LongLongInt(live));
    arguments.insert(known("x-max-length-bytes"), AMQPValue::LongLongInt(BOUND));
    arguments.insert(known("x-overflow"), text("reject-publish"));
    arguments
}

#[async_trait]
impl PartStore for Store {
    fn part_size(&self) -> u32 {
        u32::try_from(self.0.config.max_message.clamp(1, PART)).unwrap_or(1)
    }

    async fn create(&self, id: PartsId, live: Duration) -> Result<Box<dyn PartSink>> {
        self.declare(id, live).await?;
        let (store, route) = (self.clone(), Route::queue(&self.wire(id)));
        Ok(Box::new(Sink {
            store,
            route,
            id,
            live,
            under_way: VecDeque::with_capacity(WINDOW),
            failing: None,
        }))
    }

    async fn open(&self, manifest: &Manifest, from: u32) -> Result<Box<dyn PartSource>> {
        Ok(Box::new(Reading {
            core: self.0.clone(),
            wire: self.wire(manifest.id),
            id: manifest.id,
            next: from,
            end: manifest.parts,
            channel: None,
            early: BTreeMap::new(),
        }))
    }

    async fn remove(&self, id: PartsId) -> Result<()> {
        let session = self.0.session(Instant::now() + ANSWER, Operation::Remove).await?;
        let name = known(&self.wire(id));
        let gone = session.ask(Operation::Remove, |channel| async move {
            channel.queue_delete(name, QueueDeleteOptions::default()).await
        });
        gone.await.map(drop).map_err(|refused| refused.of(Operation::Remove, id))
    }

    /// Our workers make a queue for dead letters beside the one they serve; old programs know nothing of such.
    async fn reaches(&self, queue: &Name) -> Result<bool> {
        let session = self.0.session(Instant::now() + ANSWER, Operation::Inspect).await?;
        Ok(is_there(&session, &dead_of(&self.0.wire(queue.as_str()))).await?.is_some())
    }
}

struct Sink {
    store: Store,
    route: Route,
    id: PartsId,
    live: Duration,
    under_way: VecDeque<(Part, oneshot::Receiver<Verdict>)>,
    /// Since when nothing was confirmed.
    failing: Option<Instant>,
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Sink {
    async fn send(&mut self, part: Part) -> Result<()> {
        let until = self.failing.unwrap_or_else(Instant::now) + PATIENCE;
        loop {
            let session = self.store.0.session(until, Operation::Publish).await?;
            session.unblocked(until, Operation::Publish).await?;
            match place(&session, Way::Queues, until).await {
                Ok((outlet, permit)) => {
                    let verdict = outlet.publish(permit, self.route.clone(), self.raw(&part));
                    self.under_way.push_back((part, verdict));
                    return Ok(());
                }
                Err(error) if error.kind() != Kind::Disconnected || Instant::now() >= until => {
                    return Err(error);
                }
                // The supervisor learns of the loss from the same socket, a moment later.
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    fn raw(&self, part: &Part) -> Raw {
        let mut headers = FieldTable::default();
        headers.insert(known(INDEX), AMQPValue::LongLongInt(part.index.into()));
        headers.insert(known(DIGEST), text(&HEXLOWER.encode(&part.sha256)));
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type(known("application/octet-stream"))
            .with_message_id(known(&format!("{}.{}", self.id, part.index)))
            .with_headers(headers);
        Raw { properties, body: part.bytes.clone() }
    }

    /// Waits for the oldest confirm; after a loss all that were not confirmed are sent again, in their order.
    async fn confirm(&mut self) -> Result<()> {
        let Some((_, verdict)) = self.under_way.front_mut() else { return Ok(()) };
        match judged_by_reference(verdict, Instant::now() + ANSWER).await {
            Ok(Verdict::Taken) => {
                self.under_way.pop_front();
                self.failing = None;
                Ok(())
            }
            Ok(Verdict::Refused) => Err(full("the room for a large body is used up").with_target(self.id)),
            // A broker that has just started may not know its queues yet.
            Ok(Verdict::Returned) => {
                self.begin_again().await?;
                let gone = refuse(Kind::NotFound, Operation::Publish, self.id);
                self.again(gone.with_detail("its parts have expired")).await
            }
            Ok(_) => self.again(down(Operation::Publish, "the connection to the broker is lost")).await,
            Err(error) if error.status() == Status::Permanent => Err(error),
            Err(error) => self.again(error).await,
        }
    }

    /// The queue is made anew as long as all parts are here: a broker that is killed forgets a queue that it said it had
    /// made a moment before, and one that has just started may take the second part after it returned the first, so that
    /// nobody would find the beginning.
    async fn begin_again(&mut self) -> Result<()> {
        if self.under_way.front().is_none_or(|(part, _)| part.index > 0) {
            return Ok(());
        }
        let until = *self.failing.get_or_insert_with(Instant::now) + PATIENCE;
        // What is still on its way would come into the new queue, before the first part.
        for (_, verdict) in &mut self.under_way {
            match judged_by_reference(verdict, until).await {
                Err(error) if error.kind() == Kind::DeadlineExceeded => {
                    return Err(error.with_target(self.id));
                }
                _ => {}
            }
        }
        // Not sent before that is done: the old queue may begin with a later part.
        loop {
            match self.make_anew().await {
                Err(error) if error.status() != Status::Permanent && Instant::now() < until => {
                    sleep(PAUSE).await;
                }
                made => return made,
            }
        }
    }

    async fn make_anew(&self) -> Result<()> {
        self.store.remove(self.id).await?;
        self.store.declare(self.id, self.live).await
    }

    async fn again(&mut self, failure: Error) -> Result<()> {
        let since = *self.failing.get_or_insert_with(Instant::now);
        if since.elapsed() >= PATIENCE {
            return Err(failure.with_target(self.id));
        }
        sleep(PAUSE).await;
        let parts: Vec<Part> = self.under_way.drain(..).map(|(part, _)| part).collect();
        for part in parts {
            self.send(part).await?;
        }
        Ok(())
    }
}

/// The verdict of a publish; asked again after its bound it is lost.
async fn judged_by_reference(verdict: &mut oneshot::Receiver<Verdict>, until: Instant) -> Result<Verdict> {
    let (_closed, gone) = oneshot::channel();
    judged(std::mem::replace(verdict, gone), until).await
}

#[async_trait]
impl PartSink for Sink {
    async fn put(&mut self, part: Part) -> Result<()> {
        while self.under_way.len() >= WINDOW {
            self.confirm().await?;
        }
        self.send(part).await
    }

    async fn finish(&mut self) -> Result<()> {
        while !self.under_way.is_empty() {
            self.confirm().await?;
        }
        Ok(())
    }
}

struct Reading {
    core: Arc<Core>,
    wire: String,
    id: PartsId,
    next: u32,
    end: u32,
    channel: Option<Getting>,
    /// Parts that came before their turn.
    early: BTreeMap<u32, Part>,
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("id", &self.id).field("next", &self.next).finish_non_exhaustive()
    }
}

/// A channel that has parts in hand, and gets the next one.
struct Getting {
    channel: Channel,
    ahead: Option<JoinHandle<lapin::Result<Option<BasicGetMessage>>>>,
    got: u32,
}

impl Getting {
    fn get_ahead(&mut self, wire: &str) {
        let (channel, name) = (self.channel.clone(), known(wire));
        let get = async move { channel.basic_get(name, BasicGetOptions::default()).await };
        self.ahead = Some(tokio::spawn(get));
    }

    /// Gives back what it has in hand, and returns when the broker has it, or does not answer.
    async fn close(mut self) {
        if let Some(ahead) = self.ahead.take() {
            ahead.abort();
        }
        let _ = timeout(ANSWER, self.channel.close(200, "OK".into())).await;
    }
}

/// What a look for the next part found.
enum Found {
    Part(Part),
    /// The queue is empty, or another reader has its beginning.
    Nothing,
}

impl Reading {
    async fn get(&mut self, until: Instant) -> Result<Found> {
        let getting = if let Some(getting) = &mut self.channel {
            getting
        } else {
            let session = self.core.session(until, Operation::Consume).await?;
            let channel = session.consumer_channel().await?;
            self.channel.insert(Getting { channel, ahead: None, got: 0 })
        };
        if getting.ahead.is_none() {
            getting.get_ahead(&self.wire);
        }
        let Some(ahead) = &mut getting.ahead else { return Ok(Found::Nothing) };
        let answer = timeout(ANSWER, ahead).await;
        getting.ahead = None;
        let message = match answer {
            Ok(Ok(message)) => message.map_err(|error| of_broker(&error, Operation::Consume))?,
            Ok(Err(_)) => return Err(Error::new(Kind::Closed, Operation::Consume)),
            Err(_) => return Err(down(Operation::Consume, "the broker did not answer in time")),
        };
        let Some(message) = message else { return Ok(Found::Nothing) };
        getting.get_ahead(&self.wire);
        getting.got += 1;
        let part = part_of(message)?;
        // The first one is not the first one: somebody else is reading.
        if getting.got == 1 && part.index > 0 {
            return Ok(Found::Nothing);
        }
        Ok(Found::Part(part))
    }

    async fn give_back(&mut self) {
        self.early.clear();
        if let Some(getting) = self.channel.take() {
            getting.close().await;
        }
    }

    /// Notes a part that came; gives it if it is its turn.
    fn take(&mut self, part: Part) -> Option<Part> {
        match part.index.cmp(&self.next) {
            std::cmp::Ordering::Less => None,
            std::cmp::Ordering::Equal => Some(part),
            std::cmp::Ordering::Greater => {
                self.early.insert(part.index, part);
                None
            }
        }
    }

    async fn is_gone(&self, until: Instant) -> Result<bool> {
        let session = self.core.session(until, Operation::Consume).await?;
        Ok(is_there(&session, &self.wire).await?.is_none())
    }

    async fn found(&mut self, part: Part) -> Part {
        self.next += 1;
        if self.next >= self.end {
            self.give_back().await;
        }
        part
    }
}

#[async_trait]
impl PartSource for Reading {
    async fn next(&mut self) -> Result<Part> {
        if let Some(part) = self.early.remove(&self.next) {
            return Ok(self.found(part).await);
        }
        let until = Instant::now() + PATIENCE;
        loop {
            let failure = match self.get(until).await {
                Ok(Found::Part(part)) => match self.take(part) {
                    Some(part) => return Ok(self.found(part).await),
                    None if self.early.len() <= WINDOW => continue,
                    None => gap(self.id),
                },
                Ok(Found::Nothing) => gap(self.id),
                Err(error) if error.kind() != Kind::Disconnected && error.status() == Status::Permanent => {
                    return Err(error.with_target(self.id));
                }
                Err(error) => error,
            };
            self.give_back().await;
            if Instant::now() + PAUSE >= until {
                return Err(failure);
            }
            // While there is no connection nobody knows; the next round waits for one.
            if self.is_gone(until).await.unwrap_or(false) {
                return Err(refuse(Kind::NotFound, Operation::Consume, self.id));
            }
            sleep(PAUSE).await;
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        // Without a runtime the channel ends with its connection.
        if let (Some(getting), Ok(runtime)) = (self.channel.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(getting.close());
        }
    }
}

fn gap(id: PartsId) -> Error {
    refuse(Kind::NotFound, Operation::Consume, id)
        .with_status(Status::Temporary)
        .with_detail("not all of its parts are there: lost, or in the hands of another reader")
}

fn part_of(message: BasicGetMessage) -> Result<Part> {
    let delivery = message.delivery;
    let headers = delivery.properties.headers().as_ref();
    let header = |name: &str| headers.and_then(|headers| headers.inner().get(name));
    let index = header(INDEX).and_then(int).and_then(|index| u32::try_from(index).ok());
    let digest = header(DIGEST).and_then(string).and_then(|text| HEXLOWER.decode(text.as_bytes()).ok());
    match (index, digest.and_then(|digest| digest.try_into().ok())) {
        (Some(index), Some(sha256)) => Ok(Part::found(index, Bytes::from(delivery.data), sha256)),
        _ => Err(Error::new(Kind::Protocol, Operation::Consume).with_detail("a message is no part")),
    }
}
