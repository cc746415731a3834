//! What a queue or an exchange is like, read from the broker's refusals.

use std::collections::BTreeMap;

use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use polybus_contract::Finding;

use super::words::{TOPIC_KIND, TOPIC_NOT_DURABLE};
use crate::exchange::{ask_exchange, is_exchange};
use crate::header::{known, text};
use crate::rules::differs;
use crate::session::Session;
use crate::topology::{DIFFERS, LOCKED, NOT_FOUND, ask_queue};

/// How often a queue is asked what it is like.
const QUESTIONS: usize = 32;

/// What a queue is like. Values are as texts: `5000`, `drop-head`, `true`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Traits {
    pub(super) durable: bool,
    pub(super) auto_delete: bool,
    /// Its arguments, without `x-`.
    pub(super) arguments: BTreeMap<String, String>,
    /// What a policy says beside them, where that is known.
    pub(super) policy: BTreeMap<String, String>,
    pub(super) ready: u64,
    pub(super) consumers: u64,
    /// What the management interface says of it; empty: it was not asked.
    pub(super) state: String,
    /// Members of a quorum queue, and how many of them are there.
    pub(super) members: Option<(usize, usize)>,
}

/// What a look at a queue comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Look {
    There(Traits),
    Missing,
    /// Another connection has it for itself.
    Locked,
    /// The broker does not show it, and why.
    Hidden(String),
}

impl Traits {
    /// A word of a setting; what was declared counts before the policy.
    pub(super) fn word(&self, name: &str) -> Option<&str> {
        self.arguments.get(name).or_else(|| self.policy.get(name)).map(String::as_str)
    }

    /// A number of a setting; the smaller one counts.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        let of = |from: &BTreeMap<String, String>| from.get(name).and_then(|text| text.parse::<i64>().ok());
        match (of(&self.arguments), of(&self.policy)) {
            (Some(declared), Some(policy)) => Some(declared.min(policy)),
            (declared, policy) => declared.or(policy),
        }
    }

    pub(super) fn kind(&self) -> &str {
        self.arguments.get("queue-type").map_or("classic", String::as_str)
    }
}

/// Asks until a declare would find nothing different. Such a declare makes nothing, for the queue is there.
pub(super) async fn look(session: &Session, wire: &str) -> Look {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let seen = match ask_queue(session, wire, passive, FieldTable::default()).await {
        Ok(seen) => seen,
        Err(refused) => {
            return match refused.code() {
                Some(NOT_FOUND) => Look::Missing,
                Some(LOCKED) => Look::Locked,
                _ => Look::Hidden(refused.text()),
            };
        }
    };
    let mut traits = Traits {
        durable: true,
        ready: seen.message_count().into(),
        consumers: seen.consumer_count().into(),
        ..Traits::default()
    };
    for _ in 0..QUESTIONS {
        let options = QueueDeclareOptions {
            durable: traits.durable,
            auto_delete: traits.auto_delete,
            ..QueueDeclareOptions::default()
        };
        match ask_queue(session, wire, options, arguments(&traits)).await {
            Ok(_) => return Look::There(traits),
            Err(refused) if refused.code() == Some(LOCKED) => return Look::Locked,
            Err(refused) if refused.code() != Some(DIFFERS) => return Look::Hidden(refused.text()),
            Err(refused) if !learn(&mut traits, &refused.text()) => return Look::Hidden(refused.text()),
            Err(_) => {}
        }
    }
    Look::Hidden("it differs in more than was asked".to_owned())
}

/// Takes in one difference; false: it brings nothing new.
fn learn(traits: &mut Traits, said: &str) -> bool {
    let Some((setting, current)) = differs(said) else { return false };
    let before = traits.clone();
    let is_true = current.as_deref() == Some("true");
    match (setting.as_str(), setting.strip_prefix("x-"), current) {
        ("durable", ..) => traits.durable = is_true,
        ("auto_delete", ..) => traits.auto_delete = is_true,
        (_, Some(name), Some(current)) => drop(traits.arguments.insert(name.to_owned(), current)),
        (_, Some(name), None) => drop(traits.arguments.remove(name)),
        _ => {}
    }
    *traits != before
}

fn arguments(traits: &Traits) -> FieldTable {
    let value = |current: &String| match current.as_str() {
        "true" => AMQPValue::Boolean(true),
        "false" => AMQPValue::Boolean(false),
        number => number.parse().map_or_else(|_| text(number), AMQPValue::LongLongInt),
    };
    let table: BTreeMap<_, _> = traits
        .arguments
        .iter()
        .map(|(name, current)| (known(&format!("x-{name}")), value(current)))
        .collect();
    table.into()
}

/// The exchange of a topic: a fanout, and durable where that is needed. The broker names the kind before the durability.
pub(super) async fn exchange(session: &Session, wire: &str, object: &str, durable: bool) -> Vec<Finding> {
    match is_exchange(session, wire).await {
        Ok(true) => {}
        Ok(false) => return vec![TOPIC_KIND.fine(object, "there is none yet; it is made when it is used")],
        Err(error) => return vec![TOPIC_KIND.unknown(object, error.to_string())],
    }
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let difference = match ask_exchange(session, wire, ExchangeKind::Fanout, options).await {
        Ok(()) => None,
        Err(refused) if refused.code() == Some(DIFFERS) => differs(&refused.text()),
        Err(refused) => return vec![TOPIC_KIND.unknown(object, refused.text())],
    };
    judge_exchange(difference, object, durable)
}

fn judge_exchange(difference: Option<(String, Option<String>)>, object: &str, durable: bool) -> Vec<Finding> {
    let fanout = TOPIC_KIND.fine(object, "it is a fanout");
    match difference {
        Some((setting, found)) if setting == "type" => {
            vec![TOPIC_KIND.found(object, format!("it is {}", found.unwrap_or_default()))]
        }
        Some((setting, _)) if setting == "durable" && durable => {
            vec![fanout, TOPIC_NOT_DURABLE.found(object, "it is not durable, and should be")]
        }
        None if durable => vec![fanout, TOPIC_NOT_DURABLE.fine(object, "it is durable")],
        _ => vec![fanout],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_learned_from_refusals() {
        let mut traits = Traits { durable: true, ..Traits::default() };
        for said in [
            "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': received 'true' but current is 'false'",
            "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received none but current is the value '10' of type 'signedint'",
            "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received none but current is the value 'quorum' of type 'longstr'",
        ] {
            assert!(learn(&mut traits, said), "{said}");
            assert!(!learn(&mut traits, said), "twice: {said}");
        }
        assert!(!learn(&mut traits, "something new"));
        assert!(!traits.durable);
        assert_eq!((traits.number("max-length"), traits.kind()), (Some(10), "quorum"));
        traits.policy.insert("max-length".to_owned(), "5".to_owned());
        assert_eq!(traits.number("max-length"), Some(5));
    }
}
