//! The desk.

use std::sync::Arc;

use async_trait::async_trait;
use polybus_contract::{
    Admin, Browse, Browsed, Intake, Kind, Message, MessageId, Name, Object, Operation, Page, Place, Purged,
    QueueInfo, Redrive, Redriven, Result, UnixMillis,
};
use polybus_queue::{QueueId, Select};

use crate::Embedded;
use crate::bus::State;
use crate::connection::Handle;
use crate::consume::{death_of, engine_name};
use crate::error::{refuse, refused};
use crate::publish::engine_id;

/// Messages on one page, unless asked for fewer, and at most.
const PAGE: u32 = 1000;

impl Handle {
    /// Runs `work` on the queue of an intake, or on its dead letters.
    fn at_desk<T>(
        &self,
        operation: Operation,
        intake: &Intake,
        place: Place,
        work: impl FnOnce(&mut State, QueueId, polybus_queue::Now) -> Result<T, polybus_queue::Error>,
    ) -> Result<T> {
        self.open(operation)?;
        let (name, _) = engine_name(intake);
        self.bus
            .with(|state, now, _| {
                let queue = state.engine.find(&name).ok_or(polybus_queue::Error::NoSuchQueue)?;
                let queue = match place {
                    Place::Ready => queue,
                    Place::Dead => {
                        state.engine.dead_letters(queue).ok_or(polybus_queue::Error::DeadLetters)?
                    }
                };
                work(state, queue, now)
            })
            .map_err(|refusal| refused(refusal, operation, intake))
    }
}

#[async_trait]
impl Admin for Embedded {
    async fn list(&self) -> Result<Vec<Intake>> {
        self.ready(Operation::Inspect).await?;
        self.handle.open(Operation::Inspect)?;
        let names = self.handle.bus.look(|state| {
            let name = |queue| state.engine.name(queue).cloned();
            state.engine.queues().filter_map(name).collect::<Vec<_>>()
        });
        let mut intakes: Vec<_> = names.iter().filter_map(|name| intake_of(name)).collect();
        intakes.sort_by_cached_key(|intake| engine_name(intake).0);
        Ok(intakes)
    }

    async fn inspect(&self, intake: &Intake) -> Result<QueueInfo> {
        self.ready(Operation::Inspect).await?;
        let look = |state: &mut State, queue, _| state.engine.figures(queue);
        let figures = self.handle.at_desk(Operation::Inspect, intake, Place::Ready, look)?;
        Ok(QueueInfo {
            ready: Some(figures.ready),
            delayed: Some(figures.delayed),
            leased: Some(figures.leased.messages),
            dead: Some(figures.dead.messages),
            bytes: Some(figures.waiting.bytes + figures.leased.bytes),
            consumers: Some(figures.consumers.into()),
            oldest: figures.oldest_unix_ms.map(|at| UnixMillis(i64::try_from(at).unwrap_or(i64::MAX))),
            sent: Some(figures.counts.sent + figures.counts.redriven),
            handed_out: Some(figures.counts.handed_out),
            settled: Some(figures.counts.acked + figures.counts.rejected),
        })
    }

    async fn browse(&self, intake: &Intake, place: Place, browse: Browse) -> Result<Page> {
        self.ready(Operation::Browse).await?;
        let limit = if browse.limit == 0 { PAGE } else { browse.limit.min(PAGE) } as usize;
        let (_, name) = engine_name(intake);
        self.handle.at_desk(Operation::Browse, intake, place, |state, queue, _| {
            let seen = state.engine.browse(queue, browse.from, limit + 1)?;
            let more = seen.len() > limit;
            let next = seen.get(limit.saturating_sub(1)).filter(|_| more).map(|last| last.seq);
            let messages = seen.iter().take(limit).map(|seen| browsed(seen, &name)).collect();
            Ok(Page::new(messages, next))
        })
    }

    async fn purge(&self, intake: &Intake, place: Place) -> Result<Purged> {
        self.ready(Operation::Purge).await?;
        let purge = |state: &mut State, queue, now| state.engine.purge(queue, now);
        let messages = self.handle.at_desk(Operation::Purge, intake, place, purge)?;
        self.safe(Operation::Purge).await?;
        Ok(Purged { messages })
    }

    async fn redrive(&self, intake: &Intake, redrive: Redrive) -> Result<Redriven> {
        self.ready(Operation::Redrive).await?;
        let ids: Vec<_> = redrive.ids.iter().map(engine_id).collect();
        let select = Select { ids: &ids, limit: redrive.limit };
        let move_back = |state: &mut State, queue, now| state.engine.redrive(queue, &select, now);
        let moved = self.handle.at_desk(Operation::Redrive, intake, Place::Ready, move_back)?;
        self.safe(Operation::Redrive).await?;
        Ok(Redriven::new(moved.moved, moved.refused, moved.left))
    }

    async fn remove(&self, object: &Object) -> Result<()> {
        self.ready(Operation::Remove).await?;
        self.handle.open(Operation::Remove)?;
        let removed = self.handle.bus.with(|state, _, _| {
            let removed = match object {
                Object::Queue(name) => state.remove_queue(name.as_str()),
                Object::Group { topic, group } => state.remove_queue(&format!("{topic}@{group}")),
                Object::Topic(topic) => return state.remove_topic(topic),
            };
            removed.map_err(|refusal| refused(refusal, Operation::Remove, object))
        });
        removed?;
        self.safe(Operation::Remove).await
    }
}

impl State {
    fn remove_queue(&mut self, name: &str) -> Result<(), polybus_queue::Error> {
        let queue = self.engine.find(name).ok_or(polybus_queue::Error::NoSuchQueue)?;
        self.engine.remove(queue)?;
        self.forget_routes();
        Ok(())
    }

    /// Who subscribes to it stays subscribed: a topic need not exist to be listened to.
    fn remove_topic(&mut self, topic: &Name) -> Result<()> {
        let side = self.topics.get_mut(topic).filter(|side| side.grade.is_some());
        let Some(side) = side else { return Err(refuse(Kind::NotFound, Operation::Remove, topic)) };
        side.grade = None;
        if side.subscriptions.is_empty() {
            self.topics.remove(topic);
        }
        // Only durable topics are in the engine.
        let _ = self.engine.remove_topic(topic.as_str());
        Ok(())
    }
}

/// The intake that the engine knows by this name.
fn intake_of(name: &str) -> Option<Intake> {
    match name.split_once('@') {
        Some((topic, group)) => {
            Some(Intake::Group { topic: Name::new(topic).ok()?, group: Name::new(group).ok()? })
        }
        None => Some(Intake::Queue(Name::new(name).ok()?)),
    }
}

fn browsed(seen: &polybus_queue::Seen<'_, Arc<Message>>, intake: &Name) -> Browsed {
    let mut message = Message::clone(seen.payload);
    let attempts = seen.death.map_or(seen.attempts, |death| death.attempts);
    if let Some(death) = seen.death {
        message = message.with_death(death_of(death, intake));
    }
    debug_assert!(message.id().is_some_and(|id: &MessageId| engine_id(id) == *seen.id));
    Browsed::new(message, attempts)
}
