//! Topology.

use std::time::Duration;

use polybus_contract::{Bounds, Declared, Difference, Group, Overflow, Queue, Topic, TopicGrade, Topology};
use serde::{Deserialize, Serialize};

use crate::place::name;
use crate::words::{durability_of, durability_word, millis};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct BoundsLine {
    messages: u64,
    bytes: u64,
    drop_oldest: bool,
}

impl From<Bounds> for BoundsLine {
    fn from(bounds: Bounds) -> Self {
        let drop_oldest = bounds.overflow == Overflow::DropOldest;
        Self { messages: bounds.messages, bytes: bounds.bytes, drop_oldest }
    }
}

impl From<&BoundsLine> for Bounds {
    fn from(line: &BoundsLine) -> Self {
        let overflow = if line.drop_oldest { Overflow::DropOldest } else { Overflow::Refuse };
        Self { messages: line.messages, bytes: line.bytes, overflow }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct QueueLine {
    name: String,
    #[serde(default)]
    durability: Option<String>,
    #[serde(default)]
    bounds: Option<BoundsLine>,
    #[serde(default)]
    dead_bounds: Option<BoundsLine>,
    #[serde(default)]
    lease_ms: Option<u64>,
    #[serde(default)]
    max_attempts: Option<u32>,
    #[serde(default)]
    priorities: bool,
    #[serde(default)]
    keep_expired: bool,
}

impl From<&Queue> for QueueLine {
    fn from(queue: &Queue) -> Self {
        Self {
            name: queue.name.to_string(),
            durability: queue.durability.map(|durability| durability_word(durability).to_owned()),
            bounds: Some(queue.bounds.into()),
            dead_bounds: Some(queue.dead_bounds.into()),
            lease_ms: Some(millis(queue.lease)),
            max_attempts: Some(queue.max_attempts),
            priorities: queue.priorities,
            keep_expired: queue.keep_expired,
        }
    }
}

impl QueueLine {
    fn queue(&self) -> Result<Queue, String> {
        let durability = self.durability.as_deref();
        let durability = durability
            .map(|word| durability_of(word).ok_or_else(|| format!("unknown durability {word:?}")))
            .transpose()?;
        let queue = Queue::new(name(&self.name)?);
        let (bounds, dead_bounds) = (queue.bounds, queue.dead_bounds);
        let (lease, max_attempts) = (queue.lease, queue.max_attempts);
        Ok(queue
            .with_durability(durability)
            .with_bounds(self.bounds.as_ref().map_or(bounds, Bounds::from))
            .with_dead_bounds(self.dead_bounds.as_ref().map_or(dead_bounds, Bounds::from))
            .with_lease(self.lease_ms.map_or(lease, Duration::from_millis))
            .with_max_attempts(self.max_attempts.unwrap_or(max_attempts))
            .with_priorities(self.priorities)
            .with_keep_expired(self.keep_expired))
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct TopicLine {
    name: String,
    #[serde(default)]
    durable: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct GroupLine {
    topic: String,
    name: String,
    queue: QueueLine,
    unused_ms: Option<u64>,
}

/// What is to be declared: `queues`, `topics` and `groups`, each of which may be left out.
///
/// A queue has `name` and may have `durability`, `bounds` and `dead_bounds` (`messages`, `bytes`, `drop_oldest`), `lease_ms`,
/// `max_attempts`, `priorities` and `keep_expired`; what is left out is as the contract has it. A topic has `name` and may be
/// `durable`; a group has `topic`, `name` and `queue`, and may have `unused_ms`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TopologyLine {
    queues: Vec<QueueLine>,
    topics: Vec<TopicLine>,
    groups: Vec<GroupLine>,
}

impl From<&Topology> for TopologyLine {
    fn from(topology: &Topology) -> Self {
        let topic = |topic: &Topic| TopicLine {
            name: topic.name.to_string(),
            durable: topic.grade == TopicGrade::Durable,
        };
        let group = |group: &Group| GroupLine {
            topic: group.topic.to_string(),
            name: group.name.to_string(),
            queue: (&group.queue).into(),
            unused_ms: group.unused.map(millis),
        };
        Self {
            queues: topology.queues.iter().map(QueueLine::from).collect(),
            topics: topology.topics.iter().map(topic).collect(),
            groups: topology.groups.iter().map(group).collect(),
        }
    }
}

impl TopologyLine {
    /// The topology.
    ///
    /// # Errors
    /// Which name is none, or which durability is unknown.
    pub fn topology(&self) -> Result<Topology, String> {
        let mut topology = Topology::new();
        for queue in &self.queues {
            topology = topology.queue(queue.queue()?);
        }
        for topic in &self.topics {
            let known = name(&topic.name)?;
            topology = topology.topic(if topic.durable { Topic::durable(known) } else { Topic::new(known) });
        }
        for line in &self.groups {
            let group = Group::new(name(&line.topic)?, name(&line.name)?).with_queue(line.queue.queue()?);
            topology = topology.group(group.with_unused(line.unused_ms.map(Duration::from_millis)));
        }
        Ok(topology)
    }
}

/// What became of a declaration: what was `created`, and the `differences` to what was there, as lists of object, setting,
/// what was wanted, what was found. A setting that this version does not know is read as `another setting`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DeclaredLine {
    created: Vec<String>,
    /// Object, setting, what was wanted, what was found.
    differences: Vec<[String; 4]>,
}

impl From<Declared> for DeclaredLine {
    fn from(declared: Declared) -> Self {
        let line = |difference: Difference| {
            [difference.object, difference.setting.to_owned(), difference.wanted, difference.found]
        };
        Self { created: declared.created, differences: declared.differences.into_iter().map(line).collect() }
    }
}

impl From<DeclaredLine> for Declared {
    fn from(line: DeclaredLine) -> Self {
        let difference = |[object, setting, wanted, found]: [String; 4]| Difference {
            object,
            setting: setting_word(&setting),
            wanted,
            found,
        };
        Self { created: line.created, differences: line.differences.into_iter().map(difference).collect() }
    }
}

/// The settings of a queue and a topic by their words; the contract keeps them as words of its own.
fn setting_word(word: &str) -> &'static str {
    const KNOWN: [&str; 10] = [
        "lease",
        "max_attempts",
        "bounds",
        "overflow",
        "dead_bounds",
        "priorities",
        "keep_expired",
        "grade",
        "durability",
        "unused",
    ];
    KNOWN.into_iter().find(|known| *known == word).unwrap_or("another setting")
}
