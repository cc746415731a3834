//! Declaring queues, topics and groups.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use polybus_contract::{
    Bounds, Declared, Difference, Durability, Error, Group, Kind, Operation, Overflow, Queue, Result, Topic,
    TopicGrade, Topology,
};
use polybus_queue::{Bound, DedupWindow, OnExpiry, QueueOptions, WhenFull};

use crate::bus::State;
use crate::config::Config;
use crate::connection::Handle;
use crate::error::{refuse, refused};

impl Handle {
    /// Makes what is missing; topics before their groups.
    pub(crate) fn declare(&self, topology: &Topology) -> Result<Declared> {
        self.open(Operation::Declare)?;
        self.bus.with(|state, now, _| {
            let mut declared = Declared::default();
            topology.topics.iter().try_for_each(|topic| state.declare_topic(topic, &mut declared))?;
            for queue in &topology.queues {
                let options = options(queue, &self.bus.config)?;
                let found = state.engine.declare(queue.name.as_str(), options);
                let found = found.map_err(|error| refused(error, Operation::Declare, &queue.name))?;
                note(&mut declared, &format!("queue {}", queue.name), &found, &options);
            }
            for group in &topology.groups {
                let options = options(&group.queue, &self.bus.config)?;
                let object = format!("group {}@{}", group.topic, group.name);
                state.topic_of(group)?;
                let (topic, name) = (group.topic.as_str(), group.name.as_str());
                let found = state.engine.declare_group(topic, name, options, group.unused, now);
                let found = found.map_err(|error| refused(error, Operation::Declare, &object))?;
                note(&mut declared, &object, &found, &options);
            }
            Ok(declared)
        })
    }
}

impl State {
    fn declare_topic(&mut self, topic: &Topic, declared: &mut Declared) -> Result<()> {
        let object = format!("topic {}", topic.name);
        let side = self.topics.entry(topic.name.clone()).or_default();
        match side.grade {
            None => {
                side.grade = Some(topic.grade);
                declared.created.push(object);
            }
            Some(TopicGrade::Plain) if topic.grade == TopicGrade::Durable => {
                return Err(refuse(Kind::Conflict, Operation::Declare, object)
                    .with_detail("it exists as a plain topic, a durable one is needed"));
            }
            Some(found) => declared.differences.extend(differs(&object, "grade", &topic.grade, &found)),
        }
        if side.grade == Some(TopicGrade::Durable) {
            self.engine.declare_topic(topic.name.as_str());
        }
        Ok(())
    }

    fn topic_of(&self, group: &Group) -> Result<()> {
        match self.topics.get(&group.topic).and_then(|side| side.grade) {
            Some(TopicGrade::Durable) => Ok(()),
            Some(TopicGrade::Plain) => Err(refuse(Kind::Conflict, Operation::Declare, &group.topic)
                .with_detail("groups need a durable topic, this one is plain")),
            None => Err(refuse(Kind::NotFound, Operation::Declare, &group.topic)
                .with_detail("a group needs its topic declared first")),
        }
    }
}

fn options(queue: &Queue, config: &Config) -> Result<QueueOptions> {
    let feature = queue.durability.and_then(Durability::feature);
    let capability = crate::capability::of(config);
    if let Some(feature) = feature.filter(|feature| !capability.has(*feature)) {
        return Err(Error::unsupported(feature, Operation::Declare, crate::config::SCHEME));
    }
    let max_attempts = NonZeroU32::new(queue.max_attempts);
    if max_attempts.is_none() || queue.lease.is_zero() {
        return Err(refuse(Kind::InvalidOption, Operation::Declare, &queue.name)
            .with_detail("max_attempts and lease must not be zero"));
    }
    Ok(QueueOptions {
        lease: Some(queue.lease),
        max_attempts,
        bound: bound(queue.bounds),
        when_full: when_full(queue.bounds.overflow),
        priorities: queue.priorities,
        on_expiry: Some(if queue.keep_expired { OnExpiry::DeadLetter } else { OnExpiry::Drop }),
        dedup: config.dedup_window.map(|window| DedupWindow { window, keys: config.dedup_keys }),
        dead_bound: bound(queue.dead_bounds),
    })
}

const fn bound(bounds: Bounds) -> Bound {
    Bound::new(bounds.messages, bounds.bytes)
}

const fn when_full(overflow: Overflow) -> WhenFull {
    match overflow {
        Overflow::Refuse => WhenFull::Refuse,
        Overflow::DropOldest => WhenFull::DropOldest,
    }
}

/// Reports what was made, or where what was found differs.
fn note(declared: &mut Declared, object: &str, found: &polybus_queue::Declared, wanted: &QueueOptions) {
    if found.created {
        declared.created.push(object.to_owned());
        return;
    }
    let found = &found.options;
    let lease = |options: &QueueOptions| options.lease.unwrap_or(Duration::MAX);
    let attempts = |options: &QueueOptions| options.max_attempts.map_or(0, NonZeroU32::get);
    declared.differences.extend(
        [
            differs(object, "lease", &lease(wanted), &lease(found)),
            differs(object, "max_attempts", &attempts(wanted), &attempts(found)),
            differs(object, "bounds", &wanted.bound, &found.bound),
            differs(object, "overflow", &wanted.when_full, &found.when_full),
            differs(object, "dead_bounds", &wanted.dead_bound, &found.dead_bound),
            differs(object, "priorities", &wanted.priorities, &found.priorities),
            differs(object, "keep_expired", &keeps(wanted), &keeps(found)),
        ]
        .into_iter()
        .flatten(),
    );
}

fn keeps(options: &QueueOptions) -> bool {
    options.on_expiry == Some(OnExpiry::DeadLetter)
}

fn differs<T: PartialEq + fmt::Debug>(
    object: &str,
    setting: &'static str,
    wanted: &T,
    found: &T,
) -> Option<Difference> {
    (wanted != found).then(|| Difference {
        object: object.to_owned(),
        setting,
        wanted: format!("{wanted:?}"),
        found: format!("{found:?}"),
    })
}
