//! Declaring queues, topics and groups, and what is held to be declared again.
//!
//! What exists is used as it is found: a passive declare comes first. AMQP cannot tell what an object is like, but a
//! declare with other settings is refused with the first of them that differs, and the broker's text names it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use polybus_contract::{
    Bounds, Declared, Difference, Durability, Group, Kind, Name, Operation, Overflow, Queue, Result, Topic,
    TopicGrade, Topology,
};
use tokio::time::Instant;

use crate::capability::MAX_PRIORITY;
use crate::config::Config;
use crate::connection::{Core, locked};
use crate::error::{is_away, refuse};
use crate::exchange::{ask_exchange, declare_exchange, look_at_exchange, see_to_exchange};
use crate::header::{known, text};
use crate::rules::{NO_DELIVERY_LIMIT, Rules, look_at_rules};
use crate::session::{ANSWER, Refused, Session};

pub(crate) const NOT_FOUND: u16 = 404;
pub(crate) const LOCKED: u16 = 405;
pub(crate) const DIFFERS: u16 = 406;

/// What this handle declared or found out.
#[derive(Debug, Default)]
pub(crate) struct Held {
    queues: Mutex<BTreeMap<String, Spec>>,
    topics: Mutex<HashMap<Name, Known>>,
    /// Rules of queues that others declared.
    learned: Mutex<HashMap<String, Rules>>,
    /// Made in this session: dead letters and delays of queues that others declared.
    made: Mutex<(u64, HashSet<String>)>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    durable: bool,
    /// Declared, and not only used.
    declared: bool,
}

/// A queue as this handle wants it on the broker.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// What it is in texts.
    object: String,
    pub(crate) wire: String,
    durable: bool,
    arguments: FieldTable,
    /// Exchange and key it is bound with.
    bound: Option<(String, String)>,
    pub(crate) durability: Durability,
    rules: Rules,
    dead_bounds: Bounds,
    /// The intake, for lists.
    pub(crate) intake: polybus_contract::Intake,
}

impl Spec {
    fn of_queue(queue: &Queue, wire: String, object: String, config: &Config) -> Self {
        let classic = queue.priorities || queue.durability == Some(Durability::Volatile);
        let (durable, durability) = match queue.durability {
            Some(Durability::Volatile) if !config.durable => (false, Durability::Volatile),
            _ if classic => (true, Durability::Disk),
            _ => (true, crate::capability::of(config).durability()),
        };
        let mut arguments = FieldTable::default();
        let rules = Rules { max_attempts: queue.max_attempts, keep_expired: queue.keep_expired };
        if !classic {
            quorum(&mut arguments, config);
            arguments.insert(known("x-delivery-limit"), AMQPValue::LongLongInt(rules.as_limit()));
        }
        if queue.priorities {
            arguments.insert(known("x-max-priority"), AMQPValue::LongLongInt(MAX_PRIORITY.into()));
        }
        // Old programs declare their queues without arguments, and must find ours the same.
        if !classic || queue.priorities || queue.bounds != Bounds::default() {
            bound(&mut arguments, queue.bounds);
        }
        if queue.bounds.overflow == Overflow::DropOldest {
            arguments.insert(known("x-dead-letter-exchange"), text(""));
            arguments.insert(known(FALLS_TO), text(&dropped_of(&wire)));
        }
        let exchange = Some(config.exchange.clone()).filter(|exchange| !exchange.is_empty());
        Self {
            object,
            bound: exchange.map(|exchange| (exchange, wire.clone())),
            wire,
            durable,
            arguments,
            durability,
            rules,
            dead_bounds: queue.dead_bounds,
            intake: polybus_contract::Intake::Queue(queue.name.clone()),
        }
    }

    fn of_group(group: &Group, core: &Core) -> Self {
        let wire = core.wire(&format!("{}@{}", group.topic, group.name));
        let object = format!("group {}@{}", group.topic, group.name);
        let mut spec = Self::of_queue(&group.queue, wire, object, &core.config);
        if let Some(unused) = group.unused {
            let unused = i64::try_from(unused.as_millis()).unwrap_or(i64::MAX).clamp(1, i64::from(u32::MAX));
            spec.arguments.insert(known(UNUSED), AMQPValue::LongLongInt(unused));
        }
        spec.bound = Some((core.wire(group.topic.as_str()), String::new()));
        spec.intake =
            polybus_contract::Intake::Group { topic: group.topic.clone(), group: group.name.clone() };
        spec
    }

    /// The queues beside it.
    fn beside(&self, config: &Config) -> impl Iterator<Item = Self> {
        [Some(self.dead(config)), self.dropped(config)].into_iter().flatten()
    }

    /// Where what falls out of it is counted, if it drops its oldest.
    fn dropped(&self, config: &Config) -> Option<Self> {
        self.arguments.contains_key(FALLS_TO).then(|| {
            let mut arguments = FieldTable::default();
            if self.arguments.contains_key("x-queue-type") {
                quorum(&mut arguments, config);
                arguments.insert(known("x-delivery-limit"), AMQPValue::LongLongInt(NO_DELIVERY_LIMIT));
            }
            bound(&mut arguments, FALLEN);
            if let Some(unused) = self.arguments.inner().get(UNUSED) {
                arguments.insert(known(UNUSED), unused.clone());
            }
            let object = format!("what falls out of {}", self.object);
            Self { object, wire: dropped_of(&self.wire), arguments, bound: None, ..self.clone() }
        })
    }

    /// Its dead letters. Bounded by refusing: room is made by whoever buries, who counts what falls out.
    fn dead(&self, config: &Config) -> Self {
        let mut arguments = FieldTable::default();
        if self.arguments.contains_key("x-queue-type") {
            quorum(&mut arguments, config);
            arguments.insert(known("x-delivery-limit"), AMQPValue::LongLongInt(NO_DELIVERY_LIMIT));
        }
        bound(&mut arguments, Bounds { overflow: Overflow::Refuse, ..self.dead_bounds });
        Self {
            object: format!("dead letters of {}", self.object),
            wire: dead_of(&self.wire),
            durable: true,
            arguments,
            bound: None,
            ..self.clone()
        }
    }
}

/// Where the broker puts what falls out of a queue that drops its oldest; beyond the grammar of names.
pub(crate) fn dropped_of(wire: &str) -> String {
    format!("{wire}~dropped")
}

/// How long nobody uses a queue before it ends.
const UNUSED: &str = "x-expires";

/// The setting that says where.
const FALLS_TO: &str = "x-dead-letter-routing-key";

/// What may lie there until somebody counts it.
pub(crate) const FALLEN: Bounds =
    Bounds { messages: 10_000, bytes: 64 << 20, overflow: Overflow::DropOldest };

pub(crate) fn dead_of(wire: &str) -> String {
    format!("{wire}{}", polybus_contract::DEAD_SUFFIX)
}

pub(crate) fn quorum(arguments: &mut FieldTable, config: &Config) {
    arguments.insert(known("x-queue-type"), text("quorum"));
    if config.replicas > 0 {
        arguments
            .insert(known("x-quorum-initial-group-size"), AMQPValue::LongLongInt(config.replicas.into()));
    }
}

fn bound(arguments: &mut FieldTable, bounds: Bounds) {
    let number = |value: u64| AMQPValue::LongLongInt(i64::try_from(value).unwrap_or(i64::MAX));
    arguments.insert(known("x-max-length"), number(bounds.messages));
    arguments.insert(known("x-max-length-bytes"), number(bounds.bytes));
    let overflow = match bounds.overflow {
        Overflow::Refuse => "reject-publish",
        Overflow::DropOldest => "drop-head",
    };
    arguments.insert(known("x-overflow"), text(overflow));
}

impl Core {
    /// Makes what is missing; topics before their groups.
    pub(crate) async fn declare(self: &Arc<Self>, topology: &Topology) -> Result<Declared> {
        let session = self.session(Instant::now() + ANSWER, Operation::Declare).await?;
        let mut declared = Declared::default();
        for topic in &topology.topics {
            self.declare_topic(&session, topic, &mut declared).await?;
        }
        for queue in &topology.queues {
            let object = format!("queue {}", queue.name);
            let spec = Spec::of_queue(queue, self.wire(queue.name.as_str()), object, &self.config);
            self.declare_spec(&session, spec, queue.durability, &mut declared).await?;
        }
        for group in &topology.groups {
            self.group_may_be(&session, group).await?;
            self.declare_spec(&session, Spec::of_group(group, self), group.queue.durability, &mut declared)
                .await?;
        }
        Ok(declared)
    }

    async fn declare_spec(
        &self,
        session: &Session,
        mut spec: Spec,
        wanted: Option<Durability>,
        declared: &mut Declared,
    ) -> Result<()> {
        let found = declare_queue(session, &spec).await?;
        if let Some(difference) = &found.difference {
            if let Some(rules) = look_at_rules(session, &spec.wire, spec.durable).await? {
                spec.rules = rules;
            }
            let conflict = || {
                refuse(Kind::Conflict, Operation::Declare, &spec.object).with_detail(difference.to_string())
            };
            // What is stated is a must; what is not is reported.
            if difference.setting == "durable" {
                spec.durability = if spec.durable { Durability::Volatile } else { Durability::Disk };
                if wanted.is_some_and(|wanted| wanted > spec.durability) {
                    return Err(conflict());
                }
            }
            if difference.setting == "kind" && wanted == Some(Durability::Replicated) {
                return Err(conflict());
            }
        }
        for beside in spec.beside(&self.config) {
            declare_queue(session, &beside).await?;
        }
        if found.created {
            declared.created.push(spec.object.clone());
        }
        declared.differences.extend(found.difference);
        if let Some((exchange, _)) =
            spec.bound.as_ref().filter(|_| matches!(spec.intake, polybus_contract::Intake::Queue(_)))
        {
            see_to_exchange(session, exchange, ExchangeKind::Direct).await?;
        }
        bind(session, &spec).await?;
        locked(&self.held.queues).insert(spec.wire.clone(), spec);
        Ok(())
    }

    async fn declare_topic(&self, session: &Session, topic: &Topic, declared: &mut Declared) -> Result<()> {
        let wanted = topic.grade == TopicGrade::Durable;
        let object = format!("topic {}", topic.name);
        let found = declare_exchange(session, &self.wire(topic.name.as_str()), wanted).await?;
        if found.created {
            declared.created.push(object);
        } else if found.durable != wanted {
            if wanted {
                return Err(refuse(Kind::Conflict, Operation::Declare, object)
                    .with_detail("it exists as a plain topic, a durable one is needed"));
            }
            declared.differences.push(Difference {
                object,
                setting: "grade",
                wanted: "plain".to_owned(),
                found: "durable".to_owned(),
            });
        }
        let known = Known { durable: found.durable, declared: true };
        locked(&self.held.topics).insert(topic.name.clone(), known);
        Ok(())
    }

    async fn group_may_be(&self, session: &Session, group: &Group) -> Result<()> {
        let known = locked(&self.held.topics).get(&group.topic).copied();
        let durable = match known {
            Some(known) => known.durable,
            None => look_at_exchange(session, &self.wire(group.topic.as_str())).await?.ok_or_else(|| {
                refuse(Kind::NotFound, Operation::Declare, &group.topic)
                    .with_detail("a group needs its topic declared first")
            })?,
        };
        if durable {
            return Ok(());
        }
        Err(refuse(Kind::Conflict, Operation::Declare, &group.topic)
            .with_detail("groups need a durable topic, this one is plain"))
    }

    /// Whether the topic is durable; makes a plain one where there is none: it need not exist to be used.
    pub(crate) async fn see_to_topic(&self, session: &Session, topic: &Name) -> Result<bool> {
        if let Some(known) = locked(&self.held.topics).get(topic) {
            return Ok(known.durable);
        }
        // Where there is none it is made, and another one is used as it is: a passive declare would tell no more.
        let wire = self.wire(topic.as_str());
        let durable =
            match ask_exchange(session, &wire, ExchangeKind::Fanout, ExchangeDeclareOptions::default()).await
            {
                Ok(()) => false,
                Err(refused) if refused.code() == Some(DIFFERS) => {
                    look_at_exchange(session, &wire).await?.unwrap_or(false)
                }
                Err(refused) => return Err(refused.of(Operation::Declare, topic)),
            };
        locked(&self.held.topics).entry(topic.clone()).or_insert(Known { durable, declared: false });
        Ok(durable)
    }

    /// The exchange of a topic was not there: it is looked for again.
    pub(crate) fn forget_topic(&self, topic: &Name) {
        locked(&self.held.topics).remove(topic);
    }

    pub(crate) fn forget_queue(&self, wire: &str) {
        locked(&self.held.queues).remove(wire);
        locked(&self.held.learned).remove(wire);
        locked(&self.held.made).1.remove(wire);
    }

    fn is_declared(&self, wire: &str) -> bool {
        locked(&self.held.queues).contains_key(wire)
    }

    /// Whether a queue drops its oldest; `None`: somebody else declared it.
    pub(crate) fn drops(&self, wire: &str) -> Option<bool> {
        locked(&self.held.queues).get(wire).map(|spec| spec.arguments.contains_key(FALLS_TO))
    }

    /// The rules of a queue by its name on the broker.
    pub(crate) fn rules(&self, wire: &str) -> Rules {
        let declared = locked(&self.held.queues).get(wire).map(|spec| spec.rules);
        declared.or_else(|| locked(&self.held.learned).get(wire).copied()).unwrap_or_default()
    }

    /// Learns the rules of a queue that somebody else declared.
    pub(crate) async fn learn(&self, session: &Session, wire: &str) -> Result<()> {
        if self.is_declared(wire) || locked(&self.held.learned).contains_key(wire) {
            return Ok(());
        }
        if let Some(rules) = look_at_rules(session, wire, true).await? {
            locked(&self.held.learned).insert(wire.to_owned(), rules);
        }
        Ok(())
    }

    pub(crate) fn durability_of(&self, wire: &str) -> Durability {
        locked(&self.held.queues).get(wire).map_or(Durability::Volatile, |spec| spec.durability)
    }

    pub(crate) fn specs(&self) -> Vec<Spec> {
        locked(&self.held.queues).values().cloned().collect()
    }

    /// Makes the dead letters of a queue that somebody else declared.
    pub(crate) async fn see_to_dead(&self, session: &Session, wire: &str) -> Result<()> {
        if self.is_declared(wire) || self.was_made(session, &dead_of(wire)) {
            return Ok(());
        }
        let name = Name::new("unknown")?;
        let unknown =
            Spec::of_queue(&Queue::new(name), wire.to_owned(), format!("queue {wire}"), &self.config);
        declare_queue(session, &unknown.dead(&self.config)).await?;
        self.mark_made(session, dead_of(wire));
        Ok(())
    }

    /// Whether this was made, or found, in this session.
    pub(crate) fn was_made(&self, session: &Session, object: &str) -> bool {
        let made = locked(&self.held.made);
        made.0 == session.generation && made.1.contains(object)
    }

    pub(crate) fn mark_made(&self, session: &Session, object: String) {
        let mut made = locked(&self.held.made);
        if made.0 != session.generation {
            *made = (session.generation, HashSet::new());
        }
        made.1.insert(object);
    }

    /// After a reconnect: whatever got lost is made anew. What cannot be is said, and the rest goes on.
    pub(crate) async fn declare_again(&self, session: &Session) {
        locked(&self.held.learned).clear();
        let topics: Vec<_> =
            locked(&self.held.topics).iter().map(|(name, known)| (name.clone(), *known)).collect();
        for (name, known) in topics {
            if !known.declared {
                self.forget_topic(&name);
            } else if let Err(error) =
                declare_exchange(session, &self.wire(name.as_str()), known.durable).await
            {
                tracing::warn!(topic = %name, %error, "cannot declare it again");
            }
        }
        for spec in self.specs() {
            if let Err(error) = self.make_again(session, &spec).await {
                tracing::warn!(object = spec.object, %error, "cannot declare it again");
            }
        }
    }

    async fn make_again(&self, session: &Session, spec: &Spec) -> Result<()> {
        if is_there(session, &spec.wire).await?.is_none() {
            declare_queue(session, spec).await?;
        }
        if let Some((exchange, _)) =
            spec.bound.as_ref().filter(|_| matches!(spec.intake, polybus_contract::Intake::Queue(_)))
        {
            see_to_exchange(session, exchange, ExchangeKind::Direct).await?;
        }
        bind(session, spec).await?;
        for beside in spec.beside(&self.config) {
            if is_there(session, &beside.wire).await?.is_none() {
                declare_queue(session, &beside).await?;
            }
        }
        Ok(())
    }
}

/// What a declare found.
struct Found {
    created: bool,
    difference: Option<Difference>,
}

/// A look at a queue: messages that wait, and consumers; `None`: there is no such queue.
pub(crate) async fn is_there(session: &Session, wire: &str) -> Result<Option<(u32, u32)>> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    match ask_queue(session, wire, options, FieldTable::default()).await {
        Ok(queue) => Ok(Some((queue.message_count(), queue.consumer_count()))),
        Err(refused) if refused.code() == Some(NOT_FOUND) && !is_away(&refused.text()) => Ok(None),
        Err(refused) if refused.code() == Some(LOCKED) => {
            Err(refuse(Kind::Conflict, Operation::Declare, wire)
                .with_detail("another connection has it for itself"))
        }
        Err(refused) => Err(refused.of(Operation::Declare, wire)),
    }
}

pub(crate) async fn ask_queue(
    session: &Session,
    wire: &str,
    options: QueueDeclareOptions,
    arguments: FieldTable,
) -> std::result::Result<lapin::Queue, Refused> {
    let name = known(wire);
    session
        .ask(
            Operation::Declare,
            |channel| async move { channel.queue_declare(name, options, arguments).await },
        )
        .await
}

async fn declare_queue(session: &Session, spec: &Spec) -> Result<Found> {
    let there = is_there(session, &spec.wire).await?.is_some();
    let options = QueueDeclareOptions { durable: spec.durable, ..QueueDeclareOptions::default() };
    match ask_queue(session, &spec.wire, options, spec.arguments.clone()).await {
        Ok(_) => Ok(Found { created: !there, difference: None }),
        Err(refused) if refused.code() == Some(DIFFERS) => {
            Ok(Found { created: false, difference: Some(difference(&spec.object, &refused.text())) })
        }
        Err(refused) if !there && !spec.durable && refused.code().is_some() => {
            tracing::warn!(
                queue = spec.wire,
                reason = refused.text(),
                "the broker refuses a transient queue; it is made durable"
            );
            let options = QueueDeclareOptions { durable: true, ..options };
            let made = ask_queue(session, &spec.wire, options, spec.arguments.clone()).await;
            made.map_err(|refused| refused.of(Operation::Declare, &spec.object))?;
            Ok(Found { created: true, difference: None })
        }
        Err(refused) => Err(refused.of(Operation::Declare, &spec.object)),
    }
}

/// Reads `inequivalent arg 'NAME' for queue 'Q' in vhost 'V': received WANTED but current is FOUND`.
fn difference(object: &str, said: &str) -> Difference {
    let part = |from: &str, to: &str| {
        let (_, rest) = said.split_once(from)?;
        let found = if to.is_empty() { rest } else { rest.split_once(to)?.0 };
        Some(found.trim().to_owned())
    };
    let setting = match part("inequivalent arg '", "'").unwrap_or_default().as_str() {
        "durable" => "durable",
        "x-queue-type" => "kind",
        "x-max-length" | "x-max-length-bytes" => "bounds",
        "x-overflow" => "overflow",
        "x-max-priority" => "priorities",
        "x-expires" => "unused",
        "x-delivery-limit" => "rules",
        "auto_delete" => "auto_delete",
        "exclusive" => "exclusive",
        _ => "arguments",
    };
    Difference {
        object: object.to_owned(),
        setting,
        wanted: part("received ", " but current is").unwrap_or_else(|| said.to_owned()),
        found: part(" but current is ", "").unwrap_or_default(),
    }
}

async fn bind(session: &Session, spec: &Spec) -> Result<()> {
    let Some((exchange, key)) = spec.bound.clone() else { return Ok(()) };
    bind_queue(session, &spec.wire, &exchange, &key)
        .await
        .map_err(|refused| refused.of(Operation::Declare, &spec.object))
}

pub(crate) async fn bind_queue(
    session: &Session,
    wire: &str,
    exchange: &str,
    key: &str,
) -> std::result::Result<(), Refused> {
    let (queue, exchange, key) = (known(wire), known(exchange), known(key));
    let bind = async move |channel: lapin::Channel| {
        channel.queue_bind(queue, exchange, key, QueueBindOptions::default(), FieldTable::default()).await
    };
    session.ask(Operation::Declare, bind).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brokers_text_names_the_difference() {
        let said = "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received '10' but current is '20'";
        let found = difference("queue q", said);
        assert_eq!((found.setting, &*found.wanted, &*found.found), ("bounds", "'10'", "'20'"));
        let found = difference("queue q", "something new");
        assert_eq!((found.setting, &*found.wanted), ("arguments", "something new"));
    }

    #[test]
    fn old_programs_find_their_queue_without_arguments() {
        let config = Config::default();
        let queue = Queue::new(Name::new("anon_0.5.5").unwrap()).with_durability(Some(Durability::Volatile));
        let spec = Spec::of_queue(&queue, "anon_0.5.5".to_owned(), "queue".to_owned(), &config);
        assert!(!spec.durable && spec.arguments.inner().is_empty());
        let best = Spec::of_queue(&queue.with_durability(None), "q".to_owned(), "queue".to_owned(), &config);
        assert!(best.durable && best.arguments.contains_key("x-max-length"));
        assert_eq!(best.dead(&config).wire, "q.dead");
    }
}
