//! The desk, as far as AMQP has one: figures of what waits and consumes, emptying, redriving, removing. A broker does not
//! list its queues over AMQP, so a list has what this handle declared.

use async_trait::async_trait;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicNackOptions, ExchangeDeleteOptions, QueueDeleteOptions,
    QueuePurgeOptions,
};
use polybus_contract::{
    Admin, Browse, Error, Feature, Intake, Kind, Object, Operation, Page, Place, Purged, QueueInfo, Redrive,
    Redriven, Result,
};
use tokio::time::{Instant, timeout};

use crate::RabbitMq;
use crate::connection::Core;
use crate::error::{down, refuse};
use crate::header::{self, known};
use crate::message::{Raw, Table, decode};
use crate::outlet::{Route, Verdict};
use crate::session::{ANSWER, Session, Way};
use crate::settle::copied;
use crate::topology::{dead_of, dropped_of, is_there};
use std::sync::Arc;

impl Core {
    pub(crate) async fn at_desk(self: &Arc<Self>, operation: Operation) -> Result<Arc<Session>> {
        self.session(Instant::now() + ANSWER, operation).await
    }

    /// The queue behind an intake, or its dead letters.
    pub(crate) fn wire_at(&self, intake: &Intake, place: Place) -> String {
        let (wire, ..) = self.place_of(intake);
        match place {
            Place::Ready => wire,
            Place::Dead => dead_of(&wire),
        }
    }

    pub(crate) async fn there(
        &self,
        session: &Session,
        wire: &str,
        intake: &Intake,
        operation: Operation,
    ) -> Result<(u32, u32)> {
        is_there(session, wire).await?.ok_or_else(|| refuse(Kind::NotFound, operation, intake))
    }
}

#[async_trait]
impl Admin for RabbitMq {
    async fn list(&self) -> Result<Vec<Intake>> {
        let session = self.core.at_desk(Operation::Inspect).await?;
        let mut found = Vec::new();
        for spec in self.core.specs() {
            if is_there(&session, &spec.wire).await?.is_some() {
                found.push(spec.intake);
            }
        }
        Ok(found)
    }

    async fn inspect(&self, intake: &Intake) -> Result<QueueInfo> {
        let session = self.core.at_desk(Operation::Inspect).await?;
        let wire = self.core.wire_at(intake, Place::Ready);
        let (ready, consumers) = self.core.there(&session, &wire, intake, Operation::Inspect).await?;
        let dead = is_there(&session, &dead_of(&wire)).await?.map(|(dead, _)| dead.into());
        Ok(QueueInfo {
            ready: Some(ready.into()),
            consumers: Some(consumers.into()),
            dead: dead.or(Some(0)),
            ..QueueInfo::default()
        })
    }

    /// Whoever takes a waiting message counts an attempt, and there is no look that takes nothing.
    async fn browse(&self, intake: &Intake, place: Place, browse: Browse) -> Result<Page> {
        match place {
            Place::Ready => Err(Error::unsupported(Feature::BrowseReady, Operation::Browse, "rabbitmq")),
            Place::Dead => {
                self.core.browse_dead(intake, browse).await.map_err(|error| error.with_target(intake))
            }
        }
    }

    async fn purge(&self, intake: &Intake, place: Place) -> Result<Purged> {
        let session = self.core.at_desk(Operation::Purge).await?;
        let wire = self.core.wire_at(intake, place);
        let name = known(&wire);
        let purge = async move |channel: lapin::Channel| {
            channel.queue_purge(name, QueuePurgeOptions::default()).await
        };
        let purged = session.ask(Operation::Purge, purge).await;
        let messages = purged.map_err(|refused| refused.of(Operation::Purge, intake))?;
        Ok(Purged { messages: messages.into() })
    }

    async fn redrive(&self, intake: &Intake, redrive: Redrive) -> Result<Redriven> {
        let session = self.core.at_desk(Operation::Redrive).await?;
        let (wire, ..) = self.core.place_of(intake);
        self.core.there(&session, &wire, intake, Operation::Redrive).await?;
        let dead = dead_of(&wire);
        let Some((count, _)) = is_there(&session, &dead).await? else { return Ok(Redriven::default()) };
        let channel = session.consumer_channel().await?;
        let mut work = Work { core: &self.core, channel, wire, dead, redrive, done: Redriven::default() };
        let done = work.run(count).await;
        // What was fetched and not moved goes back with the channel.
        let _ = timeout(ANSWER, work.channel.close(200, known("OK"))).await;
        done.map_err(|error| error.with_target(intake))?;
        let left = is_there(&session, &work.dead).await?.map_or(0, |(left, _)| left);
        work.done.left = left.into();
        Ok(work.done)
    }

    async fn remove(&self, object: &Object) -> Result<()> {
        let session = self.core.at_desk(Operation::Remove).await?;
        match object {
            Object::Queue(name) => self.remove_queue(&session, &self.core.wire(name.as_str()), object).await,
            Object::Group { topic, group } => {
                self.remove_queue(&session, &self.core.wire(&format!("{topic}@{group}")), object).await
            }
            Object::Topic(topic) => {
                let wire = self.core.wire(topic.as_str());
                let start = format!("{wire}@");
                for spec in self.core.specs().into_iter().filter(|spec| spec.wire.starts_with(&start)) {
                    self.remove_queue(&session, &spec.wire, object).await?;
                }
                self.core.forget_topic(topic);
                let name = known(&wire);
                let delete = async move |channel: lapin::Channel| {
                    channel.exchange_delete(name, ExchangeDeleteOptions::default()).await
                };
                let deleted = session.ask(Operation::Remove, delete).await;
                deleted.map_err(|refused| refused.of(Operation::Remove, object))
            }
        }
    }
}

impl RabbitMq {
    async fn remove_queue(&self, session: &Session, wire: &str, object: &Object) -> Result<()> {
        if is_there(session, wire).await?.is_none() {
            return Err(refuse(Kind::NotFound, Operation::Remove, object));
        }
        self.core.forget_queue(wire);
        for name in [wire.to_owned(), dead_of(wire), dropped_of(wire)] {
            self.core.forget_queue(&name);
            let name = known(&name);
            let delete = async move |channel: lapin::Channel| {
                channel.queue_delete(name, QueueDeleteOptions::default()).await
            };
            session
                .ask(Operation::Remove, delete)
                .await
                .map_err(|refused| refused.of(Operation::Remove, object))?;
        }
        Ok(())
    }
}

/// One redrive. Each letter is confirmed in its queue before it is taken off the dead ones: an interruption may leave it
/// in both places, under one id, and never in none.
struct Work<'a> {
    core: &'a Arc<Core>,
    channel: lapin::Channel,
    wire: String,
    dead: String,
    redrive: Redrive,
    done: Redriven,
}

impl Work<'_> {
    /// Looks at each letter once at most; those that stay are given back at the end.
    async fn run(&mut self, count: u32) -> Result<()> {
        let mut kept = Vec::new();
        for _ in 0..count {
            if self.redrive.limit.is_some_and(|limit| self.done.moved >= limit) {
                break;
            }
            let get = self.channel.basic_get(known(&self.dead), BasicGetOptions { no_ack: false });
            let found = timeout(ANSWER, get).await.map_err(|_| silent())?.map_err(|error| broken(&error))?;
            let Some(found) = found else { break };
            let lapin::message::Delivery { delivery_tag, properties, data, .. } = found.delivery;
            let raw = Raw { properties, body: data.into() };
            if self.move_one(raw).await? {
                self.sent(self.channel.basic_ack(delivery_tag, BasicAckOptions::default())).await?;
                self.done.moved += 1;
            } else {
                kept.push(delivery_tag);
            }
        }
        for tag in kept {
            let options = BasicNackOptions { multiple: false, requeue: true };
            self.sent(self.channel.basic_nack(tag, options)).await?;
        }
        Ok(())
    }

    async fn sent(&self, sending: impl Future<Output = lapin::Result<()>>) -> Result<()> {
        timeout(ANSWER, sending).await.map_err(|_| silent())?.map_err(|error| broken(&error))
    }

    /// Whether the letter is in its queue again.
    async fn move_one(&mut self, raw: Raw) -> Result<bool> {
        let decoded = decode(&raw.properties, &raw.body, &self.core.instance);
        let wanted = |id| self.redrive.ids.is_empty() || self.redrive.ids.contains(id);
        if !decoded.message.id().is_some_and(wanted) {
            return Ok(false);
        }
        if raw.properties.headers().as_ref().is_some_and(|table| table.contains_key(header::REPLACED)) {
            self.done.refused += 1;
            return Ok(false);
        }
        let table = Table::of(&raw.properties).without(&OF_THE_DEAD);
        let raw = Raw { properties: copied(&raw.properties, table), body: raw.body };
        let until = Instant::now() + ANSWER;
        match self.core.confirmed(Way::Queues, &Route::queue(&self.wire), &raw, until).await? {
            Verdict::Taken => Ok(true),
            Verdict::Returned => Err(Error::new(Kind::NotFound, Operation::Redrive)),
            _ => Err(Error::new(Kind::Full, Operation::Redrive).with_detail("the queue is at its bound")),
        }
    }
}

/// What a letter leaves behind when it comes back to life.
const OF_THE_DEAD: [&str; 9] = [
    header::REASON,
    header::TEXT,
    header::QUEUE,
    header::TIME,
    header::ATTEMPTS,
    header::ATTEMPT,
    header::ERROR,
    header::FIRST,
    header::DUE,
];

fn silent() -> Error {
    down(Operation::Redrive, "the broker did not answer in time")
}

fn broken(error: &lapin::Error) -> Error {
    crate::error::of_broker(error, Operation::Redrive)
}
