//! Asking the server for messages within the credit.
//!
//! The server pushes nothing: each message was asked for by a pull request, which names a number and lives for a
//! while. What is in hand, in the buffer and asked for together never exceeds the credit. Requests are lost with the
//! connection and made anew on the next one.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use polybus_contract::{Death, End, Intake, Kind, Message, Operation, Reason, Result, Status, UnixMillis};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::api::{PubAck, Stored};
use crate::consume::{Inner, Reader, Ready, State};
use crate::error::{refuse, unknown};
use crate::link::{LOST, Link, Outgoing};
use crate::message::{self, Raw};
use crate::names::Source as Named;
use crate::settle::{Held, Place, word};
use crate::subscribe::{next_of, say_here};
use crate::topology::Settings;

/// How long a pull request lives on the server.
const PULL: Duration = Duration::from_secs(30);

/// A request that finds nothing is told so often that it is still known.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Without a sign of life for this long, the requests are made anew: whoever knew of them is gone, though the connection
/// stands, as when the member of a cluster that led the consumer was killed.
pub(crate) const SILENCE: Duration = Duration::from_secs(8);

/// How long nothing is asked for when the server refused to be asked.
const REFUSED: Duration = Duration::from_secs(1);

/// Messages in hand that are looked at after a connection was lost.
const LOOKED_AT: usize = 256;

/// How long making one consumer may take before it is tried on the next connection.
const WITHIN: Duration = Duration::from_secs(5);

/// Consumes on each connection until the reader stops.
pub(crate) async fn work(reader: Arc<Reader>) {
    supply(&reader).await;
    // Here no request of ours is known to the server any more: what goes back now does not come to us again.
    reader.give_back().await;
    reader.state.send_replace(State::Left);
}

async fn supply(reader: &Arc<Reader>) {
    let mut stopped = reader.stopped.subscribe();
    let mut links = reader.handle.link.subscribe();
    loop {
        let link = tokio::select! {
            found = links.wait_for(Option::is_some) => found.ok().and_then(|link| link.clone()),
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        let Some(link) = link else { return };
        let ran = tokio::select! {
            ran = run(reader, &link) => ran,
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        if reader.inner().asked > 0 {
            reader.suspicious.store(true, Ordering::Relaxed);
        }
        reader.suspend();
        if let Err(error) = ran {
            tracing::debug!(%error, intake = %reader.intake, "a consumer was interrupted");
            if error.status() == Status::Permanent {
                reader.leave(End::Failed(error));
                return;
            }
            // What went wrong is on the server's side, and the connection stands: not at once again.
            let over = links.wait_for(|now| !now.as_ref().is_some_and(|now| Arc::ptr_eq(now, &link)));
            let _ = timeout(Duration::from_millis(500), over).await;
        } else {
            let over = links.wait_for(|now| !now.as_ref().is_some_and(|now| Arc::ptr_eq(now, &link)));
            let _ = timeout(WITHIN, over).await;
        }
    }
}

/// Consumes on one connection until it is lost.
async fn run(reader: &Arc<Reader>, link: &Arc<Link>) -> Result<()> {
    reader.learn(link).await?;
    if reader.suspicious.swap(false, Ordering::Relaxed) {
        reader.set_aside_unreadable(link).await?;
    }
    let lost = |_| unknown(Operation::Consume, LOST);
    let mut messages = link.client.subscribe(format!("{}.*", reader.inbox)).await.map_err(lost)?;
    let mut asked = match &reader.intake {
        Intake::Queue(name) if !name.is_dead() => {
            Some(link.client.subscribe(reader.handle.names.serve_subject(name)).await.map_err(lost)?)
        }
        _ => None,
    };
    link.round_trip(Operation::Consume, Instant::now() + WITHIN).await?;
    reader.resume(link);
    let mut tick = interval(reader.tick());
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut alive = Instant::now();
    loop {
        tokio::select! {
            message = messages.next() => match message {
                Some(message) => {
                    reader.arrive(link, message, alive)?;
                    reader.refill();
                }
                None => return Ok(()),
            },
            question = next_of(&mut asked) => match question {
                Some(question) => say_here(link, question).await,
                None => return Ok(()),
            },
            () = reader.kick.notified() => reader.ask_slowly(link).await,
            _ = tick.tick() => {
                reader.look_after(link)?;
                reader.watch(link);
            }
        }
        alive = Instant::now();
    }
}

impl Reader {
    /// What the queue is like, read once: what it is belongs to the queue, and an existing one is used as found.
    async fn learn(&self, link: &Link) -> Result<()> {
        let found = link.consumer(&self.named.stream, &self.named.consumer, Operation::Consume).await?;
        let found = found.ok_or_else(|| refuse(Kind::NotFound, Operation::Consume, &self.intake))?;
        let _ = self.settings.set(Settings::of_consumer(&found));
        Ok(())
    }

    /// How long a delivery may be kept.
    pub(crate) fn lease(&self) -> Duration {
        self.wanted.unwrap_or_else(|| self.server_lease())
    }

    /// How long the server waits.
    fn server_lease(&self) -> Duration {
        self.settings.get().map_or(Duration::from_secs(30), |settings| settings.lease)
    }

    /// An old server finds out with it that a request is dead, which must come before the leases of whoever sent it
    /// end: see [`Reader::tidy`].
    pub(crate) fn heartbeat(&self, link: &Link) -> Duration {
        if !link.is_old() {
            return HEARTBEAT;
        }
        (self.server_lease() / 4).clamp(Duration::from_millis(50), HEARTBEAT)
    }

    /// What a consumer that somebody else made allows of one request: how many, and for how long.
    fn request_bounds(&self) -> (u32, Duration) {
        let bounds = self.settings.get().map(|settings| (settings.max_batch, settings.max_expires));
        let (batch, expires) = bounds.unwrap_or_default();
        (batch.unwrap_or(u32::MAX), expires.map_or(PULL, |expires| expires.min(PULL)))
    }

    /// How often leases are looked after, and how long this task may sleep before it no longer trusts its clock.
    fn tick(&self) -> Duration {
        (self.server_lease().min(self.lease()) / 8).clamp(Duration::from_millis(5), Duration::from_secs(1))
    }

    /// The connection is there: ask for messages.
    fn resume(&self, link: &Arc<Link>) {
        let mut inner = self.inner();
        inner.link = Some(link.clone());
        inner.asked = 0;
        inner.seen = Instant::now();
        drop(inner);
        self.refill();
        self.state.send_if_modified(|state| {
            let down = *state == State::Down;
            if down {
                *state = State::Live;
            }
            down
        });
        self.handle.health.notify_waiters();
    }

    /// The connection is gone, and with it what was asked for. What is in hand stays in hand.
    fn suspend(&self) {
        let mut inner = self.inner();
        inner.link = None;
        inner.asked = 0;
        drop(inner);
        self.state.send_if_modified(|state| {
            let live = *state == State::Live;
            if live {
                *state = State::Down;
            }
            live
        });
        self.handle.health.notify_waiters();
    }

    /// If the program waits for a message: asks for as much as there is credit for.
    pub(crate) fn refill(&self) {
        if self.inner().waker.is_some() {
            self.ask();
        }
    }

    /// Asks for as much as there is credit for, though not for each single message while others are on their way. Only
    /// for a program that looks for messages: what it never looks at would be handed out for nothing, and that counts.
    pub(crate) fn ask(&self) {
        let mut inner = self.inner();
        let Some((link, room)) = self.room(&inner) else { return };
        let (request, reply) = self.pull(&link, &mut inner, room);
        if link.try_send(request, Some(reply)).is_err() {
            inner.asked -= room;
            drop(inner);
            self.kick.notify_one();
        }
    }

    async fn ask_slowly(&self, link: &Arc<Link>) {
        let request = {
            let mut inner = self.inner();
            self.room(&inner).map(|(link, room)| self.pull(&link, &mut inner, room))
        };
        if let Some((request, reply)) = request {
            // If the connection takes nothing it is over, and the next one begins anew.
            let _ = link.send(request, Some(reply), Instant::now() + WITHIN).await;
        }
    }

    fn room(&self, inner: &Inner) -> Option<(Arc<Link>, u32)> {
        let refused = inner.refused_until.is_some_and(|until| Instant::now() < until);
        let link = inner.link.clone().filter(|_| inner.end.is_none() && !refused)?;
        let used = inner.in_hand + inner.asked + u32::try_from(inner.buffer.len()).unwrap_or(u32::MAX);
        let room = inner.credit.saturating_sub(used.saturating_add(self.burying.load(Ordering::Acquire)));
        let worth = inner.asked == 0 || room >= (inner.credit / 4).max(1);
        let room = room.min(self.request_bounds().0);
        (room > 0 && worth).then_some((link, room))
    }

    fn pull(&self, link: &Link, inner: &mut Inner, room: u32) -> (Outgoing, String) {
        inner.asked += room;
        inner.pull += 1;
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let expires = self.request_bounds().1;
        // The server wants a request to live longer than two heartbeats.
        let heartbeat = self.heartbeat(link).min(expires / 3);
        let body = json!({ "batch": room, "expires": nanos(expires), "idle_heartbeat": nanos(heartbeat) });
        let subject = format!("{}CONSUMER.MSG.NEXT.{}.{}", link.api, self.named.stream, self.named.consumer);
        (Outgoing::new(subject, body.to_string()), format!("{}.{}", self.inbox, inner.pull))
    }

    /// Something came for a request. `alive` is when this task was last awake: if that is long ago, nobody knows when
    /// the message was handed out.
    fn arrive(
        self: &Arc<Self>,
        link: &Arc<Link>,
        message: async_nats::Message,
        alive: Instant,
    ) -> Result<()> {
        let now = Instant::now();
        let handed_out = if now - alive > self.tick() * 2 { alive } else { now };
        let is_word = message.status.is_some();
        let mut inner = self.inner();
        inner.seen = now;
        let flows_again = !is_word && inner.watch.came();
        drop(inner);
        if flows_again {
            self.handle.health.notify_waiters();
        }
        if is_word {
            return self.told(&message);
        }
        let place = message.reply.as_ref().and_then(|reply| Place::read(reply.as_str()));
        let Some(place) = place else { return Ok(()) };
        let made_up = Some(format!("{}:{}", self.named.stream, place.seq));
        let raw = Raw { headers: message.headers, body: message.payload, made_up };
        let held = Arc::new(Held::new(self.clone(), place, raw, handed_out));
        if let Some(ready) = self.sort(link, held, message.subject.as_str()) {
            self.keep(link, ready);
        } else {
            // After it counts as being buried, if it does: the credit is never exceeded in between.
            let mut inner = self.inner();
            inner.asked = inner.asked.saturating_sub(1);
        }
        Ok(())
    }

    /// For the program, or else to the dead letters or nowhere.
    fn sort(self: &Arc<Self>, link: &Arc<Link>, held: Arc<Held>, subject: &str) -> Option<Ready> {
        if !self.is_for_us(subject) {
            word(link, held.ack(), "+ACK");
            return None;
        }
        let message = match message::decode(&held.raw, &self.handle.instance) {
            Ok(message) => message,
            Err(why) => return held.bury_unseen(Reason::Decode, Some(why)),
        };
        if self.is_expired(&message) {
            if self.settings.get().is_some_and(|settings| settings.keep_expired) {
                return held.bury_unseen(Reason::Expired, None);
            }
            self.handle.expired.fetch_add(1, Ordering::Relaxed);
            word(link, held.ack(), "+ACK");
            return None;
        }
        if held.is_spent() {
            return held.bury_unseen(Reason::Attempts, None);
        }
        Some(Ready { message, held })
    }

    /// What is redriven to another group of the topic comes to all of them.
    fn is_for_us(&self, subject: &str) -> bool {
        match &self.intake {
            Intake::Queue(_) => true,
            Intake::Group { topic, .. } => {
                subject == self.handle.names.topic_subject(topic)
                    || subject == self.handle.names.redrive_subject(&self.intake)
            }
        }
    }

    /// A request is worth nothing once its caller has stopped waiting. Dead letters are for people to read.
    fn is_expired(&self, message: &Message) -> bool {
        if matches!(&self.intake, Intake::Queue(name) if name.is_dead()) {
            return false;
        }
        let deadline = message.deadline().filter(|_| message.reply_to().is_some());
        let ends = message.expires().into_iter().chain(deadline).min();
        ends.is_some_and(|ends| *ends <= UnixMillis::now())
    }

    fn keep(&self, link: &Link, ready: Ready) {
        let mut inner = self.inner();
        inner.asked = inner.asked.saturating_sub(1);
        let full = inner.in_hand as usize + inner.buffer.len() >= inner.credit as usize;
        if full || inner.end.is_some() {
            // The credit was cut, or the stream ended, while it was on its way.
            drop(inner);
            return word(link, ready.held.ack(), "-NAK");
        }
        if inner.watched.len() == inner.watched.capacity() {
            inner.watched.retain(|held| held.upgrade().is_some_and(|held| !held.is_settled()));
        }
        inner.watched.push(Arc::downgrade(&ready.held));
        inner.buffer.push_back(ready);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The server says something about a request.
    fn told(&self, message: &async_nats::Message) -> Result<()> {
        let status = message.status.map_or(0, |status| status.as_u16());
        let text = message.description.as_deref().unwrap_or_default();
        match status {
            100 => return Ok(()),
            409 if text.contains("Consumer Deleted") => {
                return Err(
                    refuse(Kind::NotFound, Operation::Consume, &self.intake).with_detail("it was removed")
                );
            }
            // Nobody takes requests for this consumer: it is gone, or its server is. The next look tells.
            503 => return Err(refuse(Kind::Disconnected, Operation::Consume, &self.intake).with_detail(text)),
            _ => {}
        }
        let left = message.headers.as_ref().and_then(|headers| headers.get("Nats-Pending-Messages"));
        let left = left.and_then(|left| left.as_str().parse().ok());
        let mut inner = self.inner();
        if status == 409 && text.starts_with("Exceeded") {
            inner.refused_until = Some(Instant::now() + REFUSED);
        }
        inner.asked = left.map_or(0, |left| inner.asked.saturating_sub(left));
        Ok(())
    }

    /// Leases that are not the server's, and requests that nobody seems to know.
    fn look_after(&self, link: &Link) -> Result<()> {
        let inner = self.inner();
        let silent = inner.asked > 0 && inner.seen.elapsed() > SILENCE;
        let watched: Vec<_> = match self.wanted {
            Some(wanted) if wanted != self.server_lease() => {
                inner.watched.iter().filter_map(Weak::upgrade).collect()
            }
            _ => Vec::new(),
        };
        drop(inner);
        for held in &watched {
            held.look_after(link);
        }
        if silent {
            return Err(unknown(Operation::Consume, "the server forgot what was asked for")
                .with_status(Status::Temporary));
        }
        self.refill();
        Ok(())
    }

    /// The client library ends the connection over headers that it cannot read, and the message would come again, to
    /// everybody. So those are brought to the dead letters past the library, by way of the API.
    async fn set_aside_unreadable(&self, link: &Link) -> Result<()> {
        let Named { stream, consumer } = &self.named;
        let Some(info) = link.consumer(stream, consumer, Operation::Consume).await? else { return Ok(()) };
        let subject = self.handle.names.subject(&self.intake);
        let mut at = info.ack_floor.stream_seq + 1;
        for _ in 0..LOOKED_AT {
            let Some(stored) = link.message_from(stream, at, &subject, Operation::Consume).await? else {
                break;
            };
            if stored.seq > info.delivered.stream_seq {
                break;
            }
            at = stored.seq + 1;
            if !stored.is_readable() {
                tracing::warn!(intake = %self.intake, seq = stored.seq, "a message with unreadable headers is set aside");
                self.bury_stored(link, &stored).await?;
            }
        }
        Ok(())
    }

    async fn bury_stored(&self, link: &Link, stored: &Stored) -> Result<()> {
        let stream = &self.named.stream;
        if let Some(subject) = self.handle.names.dead_subject(&self.intake) {
            let message = Message::new(stored.body()).with_derived_id(&*format!("{stream}:{}", stored.seq));
            let death = Death {
                reason: Reason::Decode,
                error: Some("its headers cannot be read".to_owned()),
                attempts: 1,
                first: None,
                at: UnixMillis::now(),
                queue: self.queue.clone(),
                whole: true,
            };
            let headers = message::buried(&message, &death, &format!("d{}", stored.seq))?;
            let letter = Outgoing::new(subject, stored.body()).with_headers(headers);
            let answer = link.ask(letter, Operation::Consume, Instant::now() + WITHIN).await?;
            if !PubAck::is_good(&answer) {
                return Err(unknown(Operation::Consume, "the dead letters do not take it"));
            }
        }
        link.delete_message(stream, stored.seq, Operation::Consume).await?;
        Ok(())
    }
}
