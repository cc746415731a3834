//! What exists on a bus: a value we hold, so that all of it can be declared again after a reconnect.

use std::fmt;
use std::time::Duration;

use crate::capability::Feature;
use crate::name::Name;
use crate::setters::setters;

/// What a queue's messages survive.
///
/// On most buses a grade includes those before it. Where it does not, as where replicas confirm what is on no disk yet, the
/// flags of [`Capability`](crate::Capability) say so, and a grade that is not given is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Durability {
    /// Nothing: gone with the bus.
    #[default]
    Volatile,
    /// A kill of the bus.
    Process,
    /// The loss of power, of all machines at once.
    Disk,
    /// The loss of a machine.
    Replicated,
}

impl Durability {
    /// The word for it in settings and tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Volatile => "volatile",
            Self::Process => "process",
            Self::Disk => "disk",
            Self::Replicated => "replicated",
        }
    }

    /// What a bus must have to give it; nothing for [`Durability::Volatile`].
    #[must_use]
    pub const fn feature(self) -> Option<Feature> {
        match self {
            Self::Volatile => None,
            Self::Process => Some(Feature::SurvivesProcess),
            Self::Disk => Some(Feature::SurvivesPower),
            Self::Replicated => Some(Feature::Replicated),
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What happens at a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Overflow {
    /// The sender is told [`Full`](crate::Kind::Full).
    #[default]
    Refuse,
    /// The oldest falls out, counted; a group's reader sees a gap.
    DropOldest,
}

/// Bounds on what waits. Retries and returns are never lost to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// At most this many messages.
    pub messages: u64,
    /// At most this many bytes.
    pub bytes: u64,
    /// What happens there.
    pub overflow: Overflow,
}

impl Bounds {
    /// Bounds of this many messages and bytes that refuse at the bound.
    #[must_use]
    pub const fn new(messages: u64, bytes: u64) -> Self {
        Self { messages, bytes, overflow: Overflow::Refuse }
    }
}

impl Default for Bounds {
    /// A million messages, 1 GiB.
    fn default() -> Self {
        Self::new(1_000_000, 1 << 30)
    }
}

/// A work queue. What it is belongs to the queue, not to a message or a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Queue {
    /// Its name.
    pub name: Name,
    /// The least its messages must survive. `None`: the best the bus has.
    pub durability: Option<Durability>,
    /// Bounds on what waits.
    pub bounds: Bounds,
    /// Bounds on its dead letters, where the oldest always falls out, counted. Default 1,000 messages, 64 MiB.
    pub dead_bounds: Bounds,
    /// The lease of a delivery, on a bus with timed leases. Default 30 s.
    pub lease: Duration,
    /// How many hand-outs a message gets; the next one makes it a dead letter. At least 1. Default 5.
    pub max_attempts: u32,
    /// Whether higher priorities come first. Needs [`Priority`](crate::Feature::Priority). Default false.
    pub priorities: bool,
    /// Whether expired messages become dead letters; otherwise they are dropped, counted. Default false.
    pub keep_expired: bool,
}

impl Queue {
    /// A queue with the defaults of each field.
    #[must_use]
    pub fn new(name: Name) -> Self {
        Self {
            name,
            durability: None,
            bounds: Bounds::default(),
            dead_bounds: Bounds { messages: 1000, bytes: 64 << 20, overflow: Overflow::DropOldest },
            lease: Duration::from_secs(30),
            max_attempts: 5,
            priorities: false,
            keep_expired: false,
        }
    }
}

setters!(Queue {
    /// Sets [`Queue::durability`].
    with_durability => durability: Option<Durability>,
    /// Sets [`Queue::bounds`].
    with_bounds => bounds: Bounds,
    /// Sets [`Queue::dead_bounds`].
    with_dead_bounds => dead_bounds: Bounds,
    /// Sets [`Queue::lease`].
    with_lease => lease: Duration,
    /// Sets [`Queue::max_attempts`].
    with_max_attempts => max_attempts: u32,
    /// Sets [`Queue::priorities`].
    with_priorities => priorities: bool,
    /// Sets [`Queue::keep_expired`].
    with_keep_expired => keep_expired: bool,
});

/// What a publish to a topic is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TopicGrade {
    /// Unconfirmed: for those who listen now.
    #[default]
    Plain,
    /// Confirmed for all its groups.
    Durable,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Topic {
    /// Its name.
    pub name: Name,
    /// What a publish is worth. Default [`TopicGrade::Plain`].
    pub grade: TopicGrade,
}

impl Topic {
    /// A plain topic.
    #[must_use]
    pub const fn new(name: Name) -> Self {
        Self { name, grade: TopicGrade::Plain }
    }

    /// A durable topic, which may have groups.
    #[must_use]
    pub const fn durable(name: Name) -> Self {
        Self { name, grade: TopicGrade::Durable }
    }
}

/// A durable subscription of a topic. Members of one group compete; each group gets everything.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Group {
    /// The topic; it must be durable.
    pub topic: Name,
    /// The group's name, of its own within the topic.
    pub name: Name,
    /// Bounds on what waits, attempts, lease and dead letters, as those of a queue.
    pub queue: Queue,
    /// It ends after being unused for this long. Default `None`: only when removed.
    pub unused: Option<Duration>,
}

impl Group {
    /// A group with the defaults of each field.
    #[must_use]
    pub fn new(topic: Name, name: Name) -> Self {
        let queue = Queue::new(name.clone());
        Self { topic, name, queue, unused: None }
    }
}

setters!(Group {
    /// Sets [`Group::queue`]; its name is not used.
    with_queue => queue: Queue,
    /// Sets [`Group::unused`].
    with_unused => unused: Option<Duration>,
});

/// A set of objects to declare together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Topology {
    /// Work queues.
    pub queues: Vec<Queue>,
    /// Topics.
    pub topics: Vec<Topic>,
    /// Durable groups.
    pub groups: Vec<Group>,
}

impl Topology {
    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { queues: Vec::new(), topics: Vec::new(), groups: Vec::new() }
    }

    /// And this queue.
    #[must_use]
    pub fn queue(mut self, queue: Queue) -> Self {
        self.queues.push(queue);
        self
    }

    /// And this topic.
    #[must_use]
    pub fn topic(mut self, topic: Topic) -> Self {
        self.topics.push(topic);
        self
    }

    /// And this group.
    #[must_use]
    pub fn group(mut self, group: Group) -> Self {
        self.groups.push(group);
        self
    }
}

/// A setting of an existing object that is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which object.
    pub object: String,
    /// Which setting.
    pub setting: &'static str,
    /// What was asked for.
    pub wanted: String,
    /// What it has.
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} is {}, not {}", self.object, self.setting, self.found, self.wanted)
    }
}

/// What a declare did. Existing objects are used as they are found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// What was made.
    pub created: Vec<String>,
    /// Where existing objects differ.
    pub differences: Vec<Difference>,
}
