//! Topics with durable groups: each group is a queue of its own that gets every message.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::{Accepted, Declared, Engine, accept};
use crate::entry::Envelope;
use crate::error::{Error, Result};
use crate::options::{QueueOptions, WhenFull};
use crate::queue::QueueId;
use crate::record::{Journal, Record};
use crate::time::{Now, ticks};

/// Which group of which topic a queue is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOf {
    /// The topic.
    pub topic: Arc<str>,
    /// The group's name within the topic.
    pub group: Arc<str>,
    /// How long it may be without consumers before it is removed; `None`: for ever.
    pub unused_for: Option<Duration>,
}

#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) of: GroupOf,
    pub(crate) unused_since: u64,
}

impl Group {
    /// The tick at which it has been unused long enough, if nobody attaches.
    pub(crate) fn ends_at(&self) -> Option<u64> {
        self.of.unused_for.map(|time| self.unused_since.saturating_add(ticks(time)))
    }
}

/// What became of a message that was published to the groups of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Groups that have the message now (those that had it before, by its key, included).
    pub stored: u32,
    /// Groups at their bound that drop rather than refuse and had nothing older to drop: they miss this message
    /// and will be told of a gap.
    pub missed: u32,
    /// Groups that refused, and why. The others have the message: publishing it again with the same key
    /// reaches these only, within their de-duplication windows.
    pub refused: Vec<(QueueId, Error)>,
}

impl<P, J: Journal<P>> Engine<P, J> {
    /// Makes a topic, unless it is there.
    pub fn declare_topic(&mut self, topic: &str) {
        if !self.topics.contains_key(topic) {
            self.journal.record(Record::TopicCreated { topic: Cow::Borrowed(topic) });
            self.topics.insert(topic.into(), Vec::new());
        }
    }

    /// Makes a group of a topic (the queue `topic@group`), or finds it as it is. From its creation on it gets
    /// everything that is published; it ends when removed, or when no consumer was attached for `unused_for`.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchTopic`]; [`Error::DeadLetters`] for a group name that ends in `.dead`.
    pub fn declare_group(
        &mut self,
        topic: &str,
        group: &str,
        options: QueueOptions,
        unused_for: Option<Duration>,
        now: Now,
    ) -> Result<Declared> {
        let (topic, _) = self.topics.get_key_value(topic).ok_or(Error::NoSuchTopic)?;
        let name = format!("{topic}@{group}");
        if let Some(queue) = self.names.get(&*name) {
            return self.found(*queue);
        }
        if group.ends_with(crate::engine::DEAD) {
            return Err(Error::DeadLetters);
        }
        let of = GroupOf { topic: topic.clone(), group: group.into(), unused_for };
        let numbers = (self.number(), self.number());
        let queue = self.create_group(&name, options, of, numbers, now);
        Ok(Declared { queue, created: true, options })
    }

    pub(crate) fn create_group(
        &mut self,
        name: &str,
        options: QueueOptions,
        of: GroupOf,
        numbers: (u64, u64),
        now: Now,
    ) -> QueueId {
        let topic = of.topic.clone();
        let group = Group { of, unused_since: now.tick() };
        let queue = self.create(name, options, Some(group), numbers);
        self.queues[queue.slot].sooner = true;
        self.topics.entry(topic).or_default().push(queue);
        self.tidy(queue, now);
        queue
    }

    /// The groups of a topic, in the order in which they were made; `None`: no such topic.
    #[must_use]
    pub fn groups(&self, topic: &str) -> Option<&[QueueId]> {
        self.topics.get(topic).map(Vec::as_slice)
    }

    /// Every topic.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<str>> {
        self.topics.keys()
    }

    /// Removes a topic and its groups with everything in them; answers how many groups there were.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchTopic`].
    pub fn remove_topic(&mut self, topic: &str) -> Result<usize> {
        let groups = self.topics.get(topic).ok_or(Error::NoSuchTopic)?.clone();
        for group in &groups {
            self.remove(*group)?;
        }
        self.topics.remove(topic);
        self.journal.record(Record::TopicRemoved { topic: Cow::Borrowed(topic) });
        Ok(groups.len())
    }

    /// Gives a message to every group of a topic.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchTopic`]. A group that refuses is no error of the call: see [`Published::refused`].
    pub fn publish(&mut self, topic: &str, message: &Envelope<P>, now: Now) -> Result<Published>
    where
        P: Clone,
    {
        let count = self.topics.get(topic).ok_or(Error::NoSuchTopic)?.len();
        let mut published = Published::default();
        for index in 0..count {
            let Some(group) = self.topics.get(topic).and_then(|groups| groups.get(index).copied()) else {
                break;
            };
            match self.offer(group, message, now) {
                Ok(true) => published.stored += 1,
                Ok(false) => published.missed += 1,
                Err(error) => published.refused.push((group, error)),
            }
        }
        Ok(published)
    }

    /// Gives a message to one group; false: it misses it.
    fn offer(&mut self, group: QueueId, message: &Envelope<P>, now: Now) -> Result<bool>
    where
        P: Clone,
    {
        let (state, journal) = self.parts(group)?;
        let stored = match accept(state, journal, message.clone(), Duration::ZERO, now) {
            Ok(Accepted::Stored | Accepted::Duplicate) => true,
            Err(Error::Full { .. }) if state.options.when_full == WhenFull::DropOldest => {
                state.gap_grew(1, journal);
                false
            }
            Err(error) => return Err(error),
        };
        self.tidy(group, now);
        Ok(stored)
    }

    /// What a group missed since it was last told; 0: nothing. The caller tells one of its consumers.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchQueue`].
    pub fn take_gap(&mut self, group: QueueId) -> Result<u64> {
        let (state, journal) = self.parts(group)?;
        if state.gap > 0 {
            journal.record(Record::GapTold { queue: group.number });
        }
        Ok(std::mem::take(&mut state.gap))
    }
}
