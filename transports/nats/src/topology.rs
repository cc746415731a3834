//! Declaring queues, topics and groups, and what is held to be declared again.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use polybus_contract::{
    Bounds, Capability, Declared, Difference, Durability, Error, Group, Intake, Kind, Name, Object,
    Operation, Overflow, Queue, Result, Status, Topic, TopicGrade, Topology,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::api::{ConsumerInfo, StreamConfig, StreamInfo};
use crate::capability::surviving;
use crate::connection::{Handle, locked};
use crate::error::refuse;
use crate::link::Link;
use crate::names::{WORKERS, flat};

/// How long a declare waits for a connection.
const WITHIN: Duration = Duration::from_secs(10);

/// How long a cluster may take to know all its members, which it does some seconds after it answers, or what another member
/// has just made, and the pause between two tries.
const EARLY: (Duration, Duration) = (Duration::from_secs(10), Duration::from_millis(200));

/// Bounds of a topic's stream until its first group says better.
const TOPIC: Bounds = Bounds::new(1_000_000, 1 << 30);

/// A stream with a bound below this would be of no use.
const LEAST_BYTES: i64 = 1 << 20;

/// What the server has no setting for, kept in descriptions: every server since 2.9 has those.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) max_attempts: u32,
    #[serde(default)]
    pub(crate) keep_expired: bool,
    #[serde(default = "dead_messages")]
    pub(crate) dead_messages: u64,
    #[serde(default = "dead_bytes")]
    pub(crate) dead_bytes: u64,
    /// The server's own setting.
    #[serde(skip)]
    pub(crate) lease: Duration,
    /// How many messages one request may ask for, if somebody else has set that.
    #[serde(skip)]
    pub(crate) max_batch: Option<u32>,
    /// And how long it may live.
    #[serde(skip)]
    pub(crate) max_expires: Option<Duration>,
}

/// The cluster has too few members for a stream, or does not know yet that it has more.
fn lacks_members(error: &Error) -> bool {
    error.kind() == Kind::Conflict && error.status() == Status::Temporary
}

/// The same of a stream that was seen a moment ago.
fn is_early(error: &Error) -> bool {
    lacks_members(error) || error.kind() == Kind::NotFound
}

const fn dead_messages() -> u64 {
    1000
}

const fn dead_bytes() -> u64 {
    64 << 20
}

impl Settings {
    fn of(queue: &Queue) -> Self {
        Self {
            max_attempts: queue.max_attempts,
            keep_expired: queue.keep_expired,
            dead_messages: queue.dead_bounds.messages,
            dead_bytes: queue.dead_bounds.bytes,
            lease: queue.lease,
            max_batch: None,
            max_expires: None,
        }
    }

    /// Dead letters may be read as often as somebody likes.
    fn of_dead_letters(lease: Duration) -> Self {
        Self {
            max_attempts: u32::MAX,
            keep_expired: false,
            dead_messages: dead_messages(),
            dead_bytes: dead_bytes(),
            lease,
            max_batch: None,
            max_expires: None,
        }
    }

    /// What is found; a consumer that somebody else made has no limit of attempts.
    pub(crate) fn of_consumer(found: &ConsumerInfo) -> Self {
        let lease = Duration::from_nanos(found.config.ack_wait);
        let read = serde_json::from_str::<Self>(&found.config.description).ok();
        let max_batch = Some(found.config.max_batch).filter(|batch| *batch > 0);
        let max_expires = Some(Duration::from_nanos(found.config.max_expires)).filter(|time| !time.is_zero());
        Self { lease, max_batch, max_expires, ..read.unwrap_or_else(|| Self::of_dead_letters(lease)) }
    }

    fn description(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    const fn dead_bounds(&self) -> Bounds {
        Bounds { messages: self.dead_messages, bytes: self.dead_bytes, overflow: Overflow::DropOldest }
    }
}

/// What this handle declared, to be declared again on each connection.
#[derive(Debug, Default)]
pub(crate) struct Held(Mutex<Topology>);

impl Held {
    fn add(&self, topology: &Topology) {
        let mut held = locked(&self.0);
        for queue in &topology.queues {
            held.queues.retain(|other| other.name != queue.name);
            held.queues.push(queue.clone());
        }
        for topic in &topology.topics {
            held.topics.retain(|other| other.name != topic.name);
            held.topics.push(topic.clone());
        }
        for group in &topology.groups {
            held.groups.retain(|other| (&other.topic, &other.name) != (&group.topic, &group.name));
            held.groups.push(group.clone());
        }
    }

    pub(crate) fn forget(&self, object: &Object) {
        let mut held = locked(&self.0);
        match object {
            Object::Queue(name) => held.queues.retain(|queue| queue.name != *name),
            Object::Topic(name) => {
                held.topics.retain(|topic| topic.name != *name);
                held.groups.retain(|group| group.topic != *name);
            }
            Object::Group { topic, group } => {
                held.groups.retain(|held| held.topic != *topic || held.name != *group);
            }
        }
    }

    fn grade(&self, topic: &Name) -> Option<TopicGrade> {
        locked(&self.0).topics.iter().find(|held| held.name == *topic).map(|held| held.grade)
    }

    pub(crate) fn has_topic(&self, topic: &Name) -> bool {
        self.grade(topic).is_some()
    }

    fn all(&self) -> Topology {
        locked(&self.0).clone()
    }
}

impl Handle {
    /// Makes what is missing; topics before their groups.
    pub(crate) async fn declare(self: &Arc<Self>, topology: &Topology) -> Result<Declared> {
        self.open(Operation::Declare)?;
        let link = self.link(Operation::Declare, Instant::now() + WITHIN).await?;
        let declared = self.declare_on(&link, topology).await?;
        self.held.add(topology);
        Ok(declared)
    }

    /// On a new connection, before anything goes on. A server that lost its streams has them again; one that does not
    /// answer is no connection.
    pub(crate) async fn declare_again(self: &Arc<Self>, link: &Link) -> Result<()> {
        let held = self.held.all();
        match self.declare_on(link, &held).await {
            Err(error) if error.status() != Status::Permanent => Err(error),
            Err(error) => {
                // Others changed what we declared: what still can go on shall.
                tracing::warn!(%error, "what was declared cannot be declared again");
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    async fn declare_on(&self, link: &Link, topology: &Topology) -> Result<Declared> {
        let mut declared = Declared::default();
        for topic in &topology.topics {
            self.declare_topic(link, topic, &mut declared).await?;
        }
        for queue in &topology.queues {
            self.declare_queue(link, queue, &mut declared).await?;
        }
        for group in &topology.groups {
            self.declare_group(link, group, &mut declared).await?;
        }
        Ok(declared)
    }

    async fn declare_topic(&self, link: &Link, topic: &Topic, declared: &mut Declared) -> Result<()> {
        let object = format!("topic {}", topic.name);
        let stream = self.names.topic_stream(&topic.name);
        let found = if link.jetstream { link.stream(&stream, Operation::Declare).await? } else { None };
        match (topic.grade, found) {
            (TopicGrade::Plain, None) => {
                // There is nothing to make: a subject exists when somebody uses it.
                if !self.held.has_topic(&topic.name) {
                    declared.created.push(object);
                }
            }
            (TopicGrade::Plain, Some(_)) => {
                declared.differences.extend(differs(
                    &object,
                    "grade",
                    &TopicGrade::Plain,
                    &TopicGrade::Durable,
                ));
            }
            (TopicGrade::Durable, Some(_)) => {}
            (TopicGrade::Durable, None) => {
                let subjects =
                    vec![self.names.topic_subject(&topic.name), self.names.redrive_subjects(&topic.name)];
                let config = self.stream_config(&stream, &subjects, "interest", TOPIC);
                self.make_stream(link, &config, &object).await?;
                declared.created.push(object);
            }
        }
        self.publisher.forget(&topic.name);
        Ok(())
    }

    async fn declare_queue(&self, link: &Link, queue: &Queue, declared: &mut Declared) -> Result<()> {
        let object = format!("queue {}", queue.name);
        let intake = Intake::Queue(queue.name.clone());
        let stream = self.names.queue_stream(&queue.name);
        self.can_be(queue)?;
        let found = link.stream(&stream, Operation::Declare).await?;
        let created = found.is_none();
        let info = if let Some(found) = found {
            found
        } else {
            let subjects = vec![self.names.queue_subject(&queue.name)];
            let config = self.stream_config(&stream, &subjects, "workqueue", queue.bounds);
            self.make_stream(link, &config, &object).await?
        };
        self.survives(&info.config, queue.durability, &object)?;
        let settings = Settings::of(queue);
        let found = match link.consumer(&stream, WORKERS, Operation::Declare).await? {
            Some(found) => found,
            None => make_consumer(link, &stream, WORKERS, &settings, "all", None).await?,
        };
        self.make_dead_letters(link, &intake, Some(&Settings::of_consumer(&found))).await?;
        note(declared, &object, queue.bounds, &info.config);
        if created {
            declared.created.push(object);
        } else {
            note_settings(declared, &object, &settings, &Settings::of_consumer(&found));
        }
        Ok(())
    }

    async fn declare_group(&self, link: &Link, group: &Group, declared: &mut Declared) -> Result<()> {
        let object = format!("group {}@{}", group.topic, group.name);
        let intake = Intake::Group { topic: group.topic.clone(), group: group.name.clone() };
        let stream = self.names.topic_stream(&group.topic);
        self.can_be(&group.queue)?;
        let Some(info) = link.stream(&stream, Operation::Declare).await? else {
            return Err(self.no_topic(&group.topic));
        };
        self.survives(&info.config, group.queue.durability, &object)?;
        let settings = Settings::of(&group.queue);
        let name = flat(&group.name);
        if let Some(found) = link.consumer(&stream, &name, Operation::Declare).await? {
            note(declared, &object, group.queue.bounds, &info.config);
            note_settings(declared, &object, &settings, &Settings::of_consumer(&found));
            return self.make_dead_letters(link, &intake, Some(&Settings::of_consumer(&found))).await;
        }
        let bounded = self.bound_topic(link, group, &info).await?;
        note(declared, &object, group.queue.bounds, &bounded);
        make_consumer(link, &stream, &name, &settings, "new", group.unused).await?;
        self.make_dead_letters(link, &intake, Some(&settings)).await?;
        declared.created.push(object);
        Ok(())
    }

    fn no_topic(&self, topic: &Name) -> Error {
        match self.held.grade(topic) {
            Some(TopicGrade::Plain) => refuse(Kind::Conflict, Operation::Declare, topic)
                .with_detail("groups need a durable topic, this one is plain"),
            _ => refuse(Kind::NotFound, Operation::Declare, topic)
                .with_detail("a group needs its topic declared first"),
        }
    }

    /// The groups of a topic share one stream: its bounds are those of the group with the largest.
    async fn bound_topic(&self, link: &Link, group: &Group, found: &StreamInfo) -> Result<StreamConfig> {
        let others = link.consumers(&found.config.name, Operation::Declare).await?;
        let wanted = group.queue.bounds;
        let (messages, bytes) = (signed(wanted.messages), signed(wanted.bytes));
        let bounds = if others.is_empty() {
            wanted
        } else {
            let larger = |one: i64, other: i64| u64::try_from(one.max(other)).unwrap_or(0);
            // One group that refuses makes the topic refuse: nothing of it may fall out.
            let drops = found.config.discard == "old" && wanted.overflow == Overflow::DropOldest;
            Bounds {
                messages: larger(found.config.max_msgs, messages),
                bytes: larger(found.config.max_bytes, bytes),
                overflow: if drops { Overflow::DropOldest } else { Overflow::Refuse },
            }
        };
        let subjects = [self.names.topic_subject(&group.topic), self.names.redrive_subjects(&group.topic)];
        let mut config = self.stream_config(&found.config.name, &subjects, "interest", bounds);
        config["storage"] = json!(found.config.storage);
        config["num_replicas"] = json!(found.config.num_replicas);
        match link.update_stream(&config, Operation::Declare).await {
            Err(error) if error.kind() == Kind::Full => Ok(found.config.clone()),
            updated => updated.map(|info| info.config),
        }
    }

    /// What the bus cannot give at all.
    fn can_be(&self, queue: &Queue) -> Result<()> {
        let feature = queue.durability.and_then(Durability::feature);
        let capability = &self.profile().capability;
        if let Some(feature) = feature.filter(|feature| !capability.has(*feature)) {
            return Err(Error::unsupported(feature, Operation::Declare, crate::config::SCHEME));
        }
        if queue.max_attempts == 0 || queue.lease.is_zero() {
            return Err(refuse(Kind::InvalidOption, Operation::Declare, &queue.name)
                .with_detail("max_attempts and lease must not be zero"));
        }
        Ok(())
    }

    /// Refuses a stream that survives less than was asked for.
    fn survives(&self, found: &StreamConfig, wanted: Option<Durability>, object: &str) -> Result<()> {
        let in_file = found.storage == "file";
        let can = surviving(Capability::default(), found.num_replicas, in_file, self.config.synced);
        match wanted.and_then(|wanted| Some((wanted, wanted.feature()?))) {
            Some((wanted, feature)) if !can.has(feature) => {
                Err(refuse(Kind::Conflict, Operation::Declare, object).with_detail(format!(
                    "it exists with storage {} and {} replicas, {wanted} is needed",
                    found.storage, found.num_replicas
                )))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn stream_config(
        &self,
        name: &str,
        subjects: &[String],
        retention: &str,
        bounds: Bounds,
    ) -> Value {
        let window = u64::try_from(self.config.dedup_window.as_nanos()).unwrap_or(u64::MAX);
        json!({
            "name": name,
            "subjects": subjects,
            "retention": retention,
            "storage": self.config.storage.word(),
            "num_replicas": self.config.replicas,
            "max_msgs": signed(bounds.messages),
            "max_bytes": signed(bounds.bytes),
            "max_consumers": -1,
            "max_age": 0,
            "discard": match bounds.overflow { Overflow::Refuse => "new", Overflow::DropOldest => "old" },
            "duplicate_window": window,
        })
    }

    /// Makes a stream. Who comes second finds the first one's. A server reserves the bytes of a stream when it is made:
    /// one that has less to give makes a smaller one, which is reported.
    pub(crate) async fn make_stream(&self, link: &Link, config: &Value, object: &str) -> Result<StreamInfo> {
        let name = config["name"].as_str().unwrap_or_default();
        let mut config = config.clone();
        let until = Instant::now() + EARLY.0;
        loop {
            match link.create_stream(&config, Operation::Declare).await {
                Ok(made) => return Ok(made),
                Err(error) if lacks_members(&error) && Instant::now() < until => sleep(EARLY.1).await,
                Err(error) if error.kind() == Kind::Full && make_smaller(&mut config) => {}
                Err(error) => {
                    return match link.stream(name, Operation::Declare).await {
                        Ok(Some(found)) => Ok(found),
                        _ => Err(error.with_target(object)),
                    };
                }
            }
        }
    }

    /// Makes the stream of an intake's dead letters, where it is missing.
    pub(crate) async fn make_dead_letters(
        &self,
        link: &Link,
        intake: &Intake,
        settings: Option<&Settings>,
    ) -> Result<()> {
        let names = &self.names;
        let (Some(stream), Some(subject), Some(settings)) =
            (names.dead_stream(intake), names.dead_subject(intake), settings)
        else {
            return Ok(());
        };
        if link.stream(&stream, Operation::Declare).await?.is_none() {
            let config = self.stream_config(&stream, &[subject], "workqueue", settings.dead_bounds());
            self.make_stream(link, &config, &format!("dead letters of {intake}")).await?;
        }
        if link.consumer(&stream, WORKERS, Operation::Declare).await?.is_none() {
            let settings = Settings::of_dead_letters(settings.lease);
            make_consumer(link, &stream, WORKERS, &settings, "all", None).await?;
        }
        Ok(())
    }

    /// Whether one more dead letter makes the oldest fall out. Dead letters are rare enough to be counted so.
    pub(crate) async fn dead_letters_full(&self, link: &Link, intake: &Intake) -> bool {
        let Some(stream) = self.names.dead_stream(intake) else { return false };
        match link.stream(&stream, Operation::Settle).await {
            Ok(Some(info)) => {
                let at =
                    |bound: i64, now: u64| u64::try_from(bound).is_ok_and(|bound| bound > 0 && now >= bound);
                at(info.config.max_msgs, info.state.messages) || at(info.config.max_bytes, info.state.bytes)
            }
            _ => false,
        }
    }
}

/// Asks for a quarter of the bytes; false: it is as small as it may be.
fn make_smaller(config: &mut Value) -> bool {
    let bytes = config["max_bytes"].as_i64().unwrap_or(0);
    config["max_bytes"] = json!((bytes / 4).max(LEAST_BYTES));
    bytes > LEAST_BYTES
}

/// Makes a durable pull consumer. Its own limit of attempts is disarmed: who is spent becomes a dead letter, here.
async fn make_consumer(
    link: &Link,
    stream: &str,
    name: &str,
    settings: &Settings,
    deliver: &str,
    unused: Option<Duration>,
) -> Result<ConsumerInfo> {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let mut config = json!({
        "durable_name": name,
        "description": settings.description(),
        "deliver_policy": deliver,
        "ack_policy": "explicit",
        "ack_wait": nanos(settings.lease),
        "max_deliver": -1,
        "max_ack_pending": -1,
        "replay_policy": "instant",
    });
    if let Some(unused) = unused {
        config["inactive_threshold"] = json!(nanos(unused));
    }
    let until = Instant::now() + EARLY.0;
    loop {
        match link.create_consumer(stream, name, &config, Operation::Declare).await {
            Ok(made) => return Ok(made),
            // Somebody else has just made the stream, and the member that was asked has not heard of it.
            Err(error) if is_early(&error) && Instant::now() < until => sleep(EARLY.1).await,
            Err(error) => {
                let found = link.consumer(stream, name, Operation::Declare).await;
                return found.ok().flatten().ok_or(error);
            }
        }
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Reports where a stream that was found differs.
fn note(declared: &mut Declared, object: &str, wanted: Bounds, found: &StreamConfig) {
    let overflow = if found.discard == "old" { Overflow::DropOldest } else { Overflow::Refuse };
    let bounds = (signed(wanted.messages), signed(wanted.bytes));
    let differences = [
        differs(object, "bounds", &bounds, &(found.max_msgs, found.max_bytes)),
        differs(object, "overflow", &wanted.overflow, &overflow),
    ];
    declared.differences.extend(differences.into_iter().flatten());
}

fn note_settings(declared: &mut Declared, object: &str, wanted: &Settings, found: &Settings) {
    let differences = [
        differs(object, "lease", &wanted.lease, &found.lease),
        differs(object, "max_attempts", &wanted.max_attempts, &found.max_attempts),
        differs(object, "dead_bounds", &wanted.dead_bounds(), &found.dead_bounds()),
        differs(object, "keep_expired", &wanted.keep_expired, &found.keep_expired),
    ];
    declared.differences.extend(differences.into_iter().flatten());
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
