//! Sending to queues, publishing to topics, delays, copies and dead letters.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use lapin::ExchangeKind;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use polybus_contract::{
    Confirm, Confirmed, Durability, Error, Feature, Kind, Message, MessageId, Name, Operation,
    PublishOptions, Receipt, Result, Target, UnixMillis, WhenFull,
};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout_at};

use crate::connection::{Core, count, locked};
use crate::error::{down, kind_of, text_of, unknown};
use crate::header::{self, known, text};
use crate::message::{Raw, Table, encode};
use crate::outlet::{Outlet, Route, Verdict};
use crate::session::{ANSWER, Session, Way};
use crate::topology::{bind_queue, dead_of, is_there, quorum};

/// The delays there are, in milliseconds: a delay waits in the queue of the next longer step, and one that is longer
/// than the last takes several turns.
const STEPS: [u64; 25] = [
    10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000,
    600_000, 1_200_000, 1_800_000, 3_600_000, 7_200_000, 14_400_000, 28_800_000, 43_200_000, 64_800_000,
    86_400_000,
];

/// Messages that wait in one step at most.
const DELAYED: i64 = 1_000_000;

/// The first and the longest pause of a sender that waits for room.
const ROOM: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));

/// How often room is made for one dead letter before it is given up.
const BURIALS: usize = 20;

impl Core {
    pub(crate) async fn publish(
        self: &Arc<Self>,
        to: &Target,
        mut message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        let id = message.ensure_id().clone();
        let until = Instant::now() + options.within;
        let published = match to {
            Target::Queue(name) => self.send(name, message, &id, &options, until).await,
            Target::Topic(name) => Box::pin(self.announce(name, message, &id, &options, until)).await,
        };
        published.map_err(|error| error.with_target(to).with_message_id(id))
    }

    async fn send(
        self: &Arc<Self>,
        queue: &Name,
        message: Message,
        id: &MessageId,
        options: &PublishOptions,
        until: Instant,
    ) -> Result<Receipt> {
        let wire = self.wire(queue.as_str());
        let raw = encode(&message, &self.instance, Table::default())?;
        if let Some(delay) = options.delay.filter(|delay| !delay.is_zero()) {
            return Box::pin(self.send_later(&wire, raw, delay, id, until)).await;
        }
        let route = self.route(&wire);
        if options.confirm == Confirm::No {
            Box::pin(self.hand_over(route, raw, until)).await?;
            return Ok(Receipt::Handed(id.clone()));
        }
        let mut pause = ROOM.0;
        loop {
            match self.confirmed(Way::Queues, &route, &raw, until).await? {
                Verdict::Returned => return Err(Error::new(Kind::Unroutable, Operation::Publish)),
                Verdict::Refused if options.when_full == WhenFull::Wait && Instant::now() + pause < until => {
                    sleep(pause).await;
                    pause = (pause * 2).min(ROOM.1);
                }
                Verdict::Refused => return Err(full("the queue is at its bound")),
                _ => return Ok(Receipt::Confirmed(Confirmed::new(id.clone(), self.durability_of(&wire)))),
            }
        }
    }

    /// To a queue: by the exchange that was named, or the default one.
    pub(crate) fn route(&self, wire: &str) -> Route {
        Route { exchange: known(&self.config.exchange), ..Route::queue(wire) }
    }

    async fn send_later(
        self: &Arc<Self>,
        wire: &str,
        mut raw: Raw,
        delay: Duration,
        id: &MessageId,
        until: Instant,
    ) -> Result<Receipt> {
        let session = self.session(until, Operation::Publish).await?;
        if is_there(&session, wire).await?.is_none() {
            return Err(Error::new(Kind::Unroutable, Operation::Publish));
        }
        let route = self.delayed(&session, wire, &mut raw, delay).await?;
        match self.confirmed(Way::Queues, &route, &raw, until).await? {
            Verdict::Taken => Ok(Receipt::Confirmed(Confirmed::new(id.clone(), self.durability_of(wire)))),
            _ => Err(full("too many messages wait for their time")),
        }
    }

    async fn announce(
        self: &Arc<Self>,
        topic: &Name,
        message: Message,
        id: &MessageId,
        options: &PublishOptions,
        until: Instant,
    ) -> Result<Receipt> {
        if options.delay.is_some_and(|delay| !delay.is_zero()) {
            return Err(Error::new(Kind::InvalidOption, Operation::Publish).with_detail(
                "a delay is for queues; those who subscribe to a topic now could not get it later",
            ));
        }
        let session = self.session(until, Operation::Publish).await?;
        let durable = self.see_to_topic(&session, topic).await?;
        if !durable && options.confirm == Confirm::Required {
            return Err(Error::unsupported(
                Feature::TopicConfirm,
                Operation::Publish,
                "a topic not declared durable",
            ));
        }
        let mut pause = ROOM.0;
        loop {
            let confirmed = durable && options.confirm != Confirm::No;
            let verdict = self.to_topic(&session, topic, &message, confirmed, until).await;
            match verdict.inspect_err(|_| self.forget_topic(topic))? {
                Verdict::Unsent => return Ok(Receipt::Handed(id.clone())),
                Verdict::Refused if options.when_full == WhenFull::Wait && Instant::now() + pause < until => {
                    sleep(pause).await;
                    pause = (pause * 2).min(ROOM.1);
                }
                Verdict::Refused => {
                    return Err(full("a group of the topic is at its bound; others have the message"));
                }
                _ => return Ok(Receipt::Confirmed(Confirmed::new(id.clone(), Durability::Disk))),
            }
        }
    }

    /// One publish to an exchange; [`Verdict::Unsent`] for one that nobody confirms.
    async fn to_topic(
        self: &Arc<Self>,
        session: &Arc<Session>,
        topic: &Name,
        message: &Message,
        confirmed: bool,
        until: Instant,
    ) -> Result<Verdict> {
        let route = Route {
            exchange: known(&self.wire(topic.as_str())),
            key: ShortString::default(),
            mandatory: false,
        };
        session.unblocked(until, Operation::Publish).await?;
        if !confirmed {
            let channel = session.plain().await?;
            let handing = {
                // Numbered and handed over in one step, or gaps would be seen where there are none.
                let mut numbers = locked(&self.numbers);
                let mut raw = encode(message, &self.instance, self.number(&mut numbers, topic))?;
                raw.properties = raw.properties.with_delivery_mode(TRANSIENT);
                hand(channel, route, raw)
            };
            return bounded(handing, until).await.map(|()| Verdict::Unsent);
        }
        self.confirmed_numbered(session, topic, message, route, until).await
    }

    /// One confirmed publish to the exchange of a topic. Numbered and handed over in one step.
    pub(crate) async fn confirmed_numbered(
        &self,
        session: &Session,
        topic: &Name,
        message: &Message,
        route: Route,
        until: Instant,
    ) -> Result<Verdict> {
        let (outlet, permit) = place(session, Way::Topics, until).await?;
        let verdict = {
            let mut numbers = locked(&self.numbers);
            let raw = encode(message, &self.instance, self.number(&mut numbers, topic))?;
            outlet.publish(permit, route, raw)
        };
        judged(verdict, until).await
    }

    fn number(&self, numbers: &mut std::collections::HashMap<String, u64>, topic: &Name) -> Table {
        let mut table = Table::default();
        let number = match numbers.get_mut(topic.as_str()) {
            Some(number) => number,
            None => numbers.entry(topic.to_string()).or_insert(0),
        };
        *number += 1;
        table.text(header::PUBLISHER, &self.publisher);
        table.int(header::NUMBER, i64::try_from(*number).unwrap_or(i64::MAX));
        table
    }

    /// Hands over without waiting for the confirm. There is one all the same: a drain waits for it, since a broker drops
    /// what it has not passed on to a quorum queue when the connection ends.
    async fn hand_over(self: &Arc<Self>, route: Route, raw: Raw, until: Instant) -> Result<()> {
        let session = self.session(until, Operation::Publish).await?;
        session.unblocked(until, Operation::Publish).await?;
        let (outlet, permit) = place(&session, Way::Unconfirmed, until).await?;
        let mut verdict = outlet.publish(permit, Route { mandatory: false, ..route }, raw);
        match verdict.try_recv() {
            Ok(Verdict::Unsent) => Err(down(Operation::Publish, "the connection to the broker is lost")),
            _ => Ok(()),
        }
    }

    /// Publishes with a confirm. As long as nothing has left, a lost connection is waited for.
    pub(crate) async fn confirmed(
        self: &Arc<Self>,
        way: Way,
        route: &Route,
        raw: &Raw,
        until: Instant,
    ) -> Result<Verdict> {
        loop {
            let session = self.session(until, Operation::Publish).await?;
            let tried = confirmed_once(&session, way, route, raw, until).await;
            match tried {
                Ok(Verdict::Unsent) => {}
                Err(error)
                    if error.kind() == Kind::Disconnected
                        && error.status() == polybus_contract::Status::Temporary => {}
                other => return other,
            }
            if Instant::now() >= until {
                return Err(down(Operation::Publish, "the connection to the broker is lost"));
            }
            // The supervisor learns of the loss from the same socket, a moment later.
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// The way of a copy that is to be visible after `delay`.
    pub(crate) async fn delayed(
        &self,
        session: &Session,
        wire: &str,
        raw: &mut Raw,
        delay: Duration,
    ) -> Result<Route> {
        let wanted = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX).max(1);
        // Part of a millisecond is a millisecond: never too early.
        let wanted = wanted.saturating_add(u64::from(!delay.subsec_nanos().is_multiple_of(1_000_000)));
        let longest = STEPS[STEPS.len() - 1];
        let step = STEPS.into_iter().find(|step| *step >= wanted).unwrap_or(longest);
        if wanted > longest {
            let mut table = Table::of(&raw.properties).without(&[header::DUE]);
            table.int(header::DUE, UnixMillis::now().after(delay).0);
            raw.properties = raw.properties.clone().with_headers(table.into_headers());
        }
        let name = self.wire(&format!("polybus.delay.{step}"));
        self.see_to_step(session, &name, step).await?;
        Ok(Route { exchange: known(&name), key: known(wire), mandatory: true })
    }

    /// A fanout exchange keeps the name of the target as the routing key, and one queue serves all targets.
    async fn see_to_step(&self, session: &Session, name: &str, step: u64) -> Result<()> {
        if self.was_made(session, name) {
            return Ok(());
        }
        let (exchange, queue) = (known(name), known(name));
        let mut arguments = FieldTable::default();
        quorum(&mut arguments, &self.config);
        let number = AMQPValue::LongLongInt;
        arguments.insert(known("x-message-ttl"), number(i64::try_from(step).unwrap_or(i64::MAX)));
        arguments.insert(known("x-dead-letter-exchange"), text(""));
        // What finds its queue full is kept and tried again, not dropped.
        arguments.insert(known("x-dead-letter-strategy"), text("at-least-once"));
        arguments.insert(known("x-overflow"), text("reject-publish"));
        arguments.insert(known("x-max-length"), number(DELAYED));
        let made = session
            .ask(Operation::Declare, async move |channel| {
                let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
                channel
                    .exchange_declare(exchange, ExchangeKind::Fanout, durable, FieldTable::default())
                    .await?;
                let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
                channel.queue_declare(queue, durable, arguments).await
            })
            .await;
        made.map_err(|refused| refused.of(Operation::Declare, name))?;
        bind_queue(session, name, name, "").await.map_err(|refused| refused.of(Operation::Declare, name))?;
        self.mark_made(session, name.to_owned());
        Ok(())
    }

    /// Into the dead letters of a queue, confirmed. At their bound the oldest falls out, counted.
    pub(crate) async fn bury(self: &Arc<Self>, session: &Arc<Session>, wire: &str, raw: Raw) -> Result<()> {
        self.see_to_dead(session, wire).await?;
        let dead = dead_of(wire);
        let route = Route::queue(&dead);
        for _ in 0..BURIALS {
            let until = Instant::now() + ANSWER;
            match self.confirmed(Way::Queues, &route, &raw, until).await? {
                Verdict::Taken => return Ok(()),
                Verdict::Refused => self.make_room(session, &dead).await?,
                _ => {
                    // Somebody removed it.
                    self.forget_queue(&dead);
                    return Err(Error::new(Kind::NotFound, Operation::Settle).with_target(&dead));
                }
            }
        }
        Err(full("the dead letters are at their bound").with_target(dead))
    }

    async fn make_room(&self, session: &Session, dead: &str) -> Result<()> {
        let name = known(dead);
        let oldest = async move |channel: lapin::Channel| {
            let found = channel.basic_get(name, BasicGetOptions { no_ack: false }).await?;
            if let Some(message) = &found {
                channel.basic_ack(message.delivery_tag, BasicAckOptions::default()).await?;
            }
            Ok(found.is_some())
        };
        let dropped = session.ask(Operation::Settle, oldest).await;
        if dropped.map_err(|refused| refused.of(Operation::Settle, dead))? {
            count(&self.counts.dead_dropped, 1);
        } else {
            // All of them are in somebody's hands.
            sleep(ROOM.1).await;
        }
        Ok(())
    }
}

/// Lives in memory only: who is not there misses it anyway.
const TRANSIENT: u8 = 1;

pub(crate) fn full(why: &str) -> Error {
    Error::new(Kind::Full, Operation::Publish).with_detail(why)
}

type Handing = std::pin::Pin<Box<dyn Future<Output = lapin::Result<lapin::PublisherConfirm>> + Send>>;

/// Hands the frames over before it returns; the future tells when they are on the wire.
fn hand(channel: lapin::Channel, route: Route, raw: Raw) -> Handed {
    let mut handing: Handing = Box::pin(async move {
        let options = BasicPublishOptions { mandatory: route.mandatory, immediate: false };
        channel.basic_publish(route.exchange, route.key, options, &raw.body, raw.properties).await
    });
    let first = handing.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    match first {
        std::task::Poll::Ready(done) => Handed::Done(done.map(drop)),
        std::task::Poll::Pending => Handed::Going(handing),
    }
}

enum Handed {
    Done(lapin::Result<()>),
    Going(Handing),
}

async fn bounded(handed: Handed, until: Instant) -> Result<()> {
    let done = match handed {
        // Without a channel nothing has left.
        Handed::Done(done) => return done.map_err(|error| down(Operation::Publish, &text_of(&error))),
        Handed::Going(going) => timeout_at(until, going).await,
    };
    match done {
        Ok(done) => done.map(drop).map_err(|error| lost(&error)),
        Err(_) => Err(late()),
    }
}

/// A place among the publishes under way; until then nothing has been sent.
pub(crate) async fn place(
    session: &Session,
    way: Way,
    until: Instant,
) -> Result<(Arc<Outlet>, OwnedSemaphorePermit)> {
    let outlet = match session.known_outlet(way) {
        Some(outlet) => outlet,
        None => timeout_at(until, Box::pin(session.outlet(way)))
            .await
            .map_err(|_| down(Operation::Publish, "the broker did not answer in time"))??,
    };
    // Usually there is room, and no clock is needed.
    if let Some(permit) = outlet.place_now() {
        return Ok((outlet, permit));
    }
    match timeout_at(until, outlet.place()).await {
        Ok(Some(permit)) => Ok((outlet, permit)),
        Ok(None) => Err(down(Operation::Publish, "the channel is closed")),
        Err(_) => Err(full("too many publishes are under way")),
    }
}

async fn confirmed_once(
    session: &Session,
    way: Way,
    route: &Route,
    raw: &Raw,
    until: Instant,
) -> Result<Verdict> {
    session.unblocked(until, Operation::Publish).await?;
    let (outlet, permit) = place(session, way, until).await?;
    judged(outlet.publish(permit, route.clone(), raw.clone()), until).await
}

/// What the broker says, within the bound; after that, and after a loss, the outcome is unknown.
pub(crate) async fn judged(
    verdict: tokio::sync::oneshot::Receiver<Verdict>,
    until: Instant,
) -> Result<Verdict> {
    match timeout_at(until, verdict).await {
        Ok(Ok(Verdict::Lost(error))) => Err(lost(&error)),
        Ok(Ok(verdict)) => Ok(verdict),
        Ok(Err(_)) => Err(unknown(Kind::Disconnected, Operation::Publish, None)),
        Err(_) => Err(late()),
    }
}

fn late() -> Error {
    unknown(Kind::DeadlineExceeded, Operation::Publish, None)
        .with_detail("the broker did not confirm it in time")
}

fn lost(error: &lapin::Error) -> Error {
    unknown(kind_of(error), Operation::Publish, None).with_detail(text_of(error))
}
