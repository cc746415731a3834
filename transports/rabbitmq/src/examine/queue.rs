//! What the settings of a queue mean for the service on it.

use std::time::Duration;

use polybus_contract::{Bounds, Durability, Finding, Grade, Served};

use super::Findings;
use super::traits::{Look, Traits};
use super::words::{
    CONSUMER_TIMEOUT, DEAD_LETTERS_ELSEWHERE, DEAD_LETTERS_WAITING, DELIVERY_LIMIT, MEMBERS_MISSING,
    MESSAGES_EXPIRE, OVERFLOW_DROPS, QUEUE_AUTO_DELETE, QUEUE_BOUND, QUEUE_DOWN, QUEUE_EXPIRES, QUEUE_KIND,
    QUEUE_LOCKED, QUEUE_NOT_DURABLE, QUEUE_UNBOUNDED, QUEUE_UNSERVED, SINGLE_ACTIVE,
};
use crate::rules::NO_DELIVERY_LIMIT;
use crate::session::Session;
use crate::topology::is_there;

/// What a broker that tells nothing takes away after: the default of all versions so far.
const ASSUMED_TIMEOUT: Duration = Duration::from_mins(30);

/// From this version on a quorum queue without a limit of its own has one all the same.
const LIMITED: (u32, u32) = (4, 0);
const DEFAULT_LIMIT: i64 = 20;

/// Judges a queue by what is served on it.
pub(super) fn judge(
    look: &Look,
    served: &Served,
    version: Option<(u32, u32)>,
    object: &str,
    found: &mut Findings,
) {
    let traits = match look {
        Look::There(traits) => traits,
        Look::Missing => {
            found.push(
                QUEUE_NOT_DURABLE.fine(object, "there is none yet; polybus serve makes it as it should be"),
            );
            found.push(timeout(None, served, object));
            return;
        }
        Look::Locked => {
            return found.push(QUEUE_LOCKED.found(object, "another connection has it for itself"));
        }
        Look::Hidden(why) => {
            return found
                .push(QUEUE_NOT_DURABLE.unknown(object, format!("the broker does not show it: {why}")));
        }
    };
    let judged =
        Judged { traits, served, object, volatile: served.queue.durability == Some(Durability::Volatile) };
    found.extend(judged.lives());
    found.extend(judged.keeps());
    found.extend(judged.bounds());
    found.extend(judged.hands_out(version));
    found.extend(judged.stands());
}

struct Judged<'a> {
    traits: &'a Traits,
    served: &'a Served,
    object: &'a str,
    /// Whether nobody asked that anything survives.
    volatile: bool,
}

impl Judged<'_> {
    /// Whether the queue stays.
    fn lives(&self) -> Vec<Finding> {
        let Self { traits, object, .. } = *self;
        let told = format!("durable is {}", traits.durable);
        let mut found = vec![if traits.durable || self.volatile {
            QUEUE_NOT_DURABLE.fine(object, told)
        } else {
            QUEUE_NOT_DURABLE.found(object, told)
        }];
        if traits.auto_delete {
            found.push(QUEUE_AUTO_DELETE.found(object, "auto_delete is true"));
        }
        if let Some(unused) = traits.number("expires") {
            found.push(
                QUEUE_EXPIRES.found(object, format!("it expires after {} s without use", seconds(unused))),
            );
        }
        if traits.durable && traits.kind() != "quorum" && !self.volatile && !self.served.queue.priorities {
            found.push(QUEUE_KIND.found(object, format!("it is {}", traits.kind())));
        }
        found
    }

    /// Whether messages stay in it.
    fn keeps(&self) -> Vec<Finding> {
        let Self { traits, object, .. } = *self;
        let mut found = Vec::new();
        if let Some(ttl) = traits.number("message-ttl") {
            found.push(MESSAGES_EXPIRE.found(object, format!("messages expire after {} s", seconds(ttl))));
        }
        if let Some(exchange) = traits.word("dead-letter-exchange") {
            let told = format!("its dead-letter-exchange is \"{exchange}\"");
            found.push(DEAD_LETTERS_ELSEWHERE.found(object, told));
        }
        found
    }

    fn bounds(&self) -> Vec<Finding> {
        let Self { traits, object, .. } = *self;
        let (messages, bytes) = (traits.number("max-length"), traits.number("max-length-bytes"));
        // What is not declared drops the oldest.
        let overflow = traits.word("overflow").unwrap_or("drop-head");
        let wanted = self.served.queue.bounds;
        let told = told_bounds(messages, bytes, overflow);
        if messages.is_none() && bytes.is_none() {
            // The old programs have it so, and find it so.
            let as_wanted = self.volatile && wanted == Bounds::default();
            return if as_wanted { Vec::new() } else { vec![QUEUE_UNBOUNDED.found(object, told)] };
        }
        if overflow == "drop-head" {
            return vec![OVERFLOW_DROPS.found(object, told)];
        }
        let less = |found: Option<i64>, wanted: u64| {
            found.is_some_and(|found| u64::try_from(found).is_ok_and(|found| found < wanted))
        };
        let small = less(messages, wanted.messages) || less(bytes, wanted.bytes);
        let second = if small { QUEUE_BOUND.found(object, told) } else { QUEUE_BOUND.fine(object, told) };
        vec![OVERFLOW_DROPS.fine(object, format!("overflow is {overflow}")), second]
    }

    /// What becomes of a message that is handed out.
    fn hands_out(&self, version: Option<(u32, u32)>) -> Vec<Finding> {
        let Self { traits, served, object, .. } = *self;
        let mut found = vec![timeout(traits.number("consumer-timeout"), served, object)];
        if traits.kind() == "quorum" {
            found.push(self.delivery_limit(version));
        }
        if traits.word("single-active-consumer") == Some("true") {
            found.push(
                SINGLE_ACTIVE.found(object, format!("single-active-consumer is true, {} jobs", served.jobs)),
            );
        }
        found
    }

    fn delivery_limit(&self, version: Option<(u32, u32)>) -> Finding {
        let default = version.is_some_and(|version| version >= LIMITED).then_some(DEFAULT_LIMIT);
        let own = self.traits.number("delivery-limit");
        let attempts = self.served.queue.max_attempts;
        match own.or(default) {
            Some(limit) if limit >= NO_DELIVERY_LIMIT || limit < 0 && version >= Some(LIMITED) => {
                DELIVERY_LIMIT.fine(self.object, "the broker's own limit is out of the way")
            }
            None => DELIVERY_LIMIT.fine(self.object, "it has no limit"),
            Some(limit) => {
                let whose = if own.is_some() { "" } else { " by default" };
                let told = format!(
                    "its delivery-limit is {limit}{whose}, and the service allows {attempts} attempts"
                );
                // Each attempt is a hand-out, and so is what is given back at a shutdown.
                let near = limit <= i64::from(attempts) + 1;
                DELIVERY_LIMIT.found(self.object, told).with_grade(if near {
                    Grade::Fault
                } else {
                    Grade::Warning
                })
            }
        }
    }

    /// Whether it works now.
    fn stands(&self) -> Vec<Finding> {
        let Self { traits, object, .. } = *self;
        let mut found = Vec::new();
        let told = format!("{} wait, {} consumers", traits.ready, traits.consumers);
        if traits.ready > 0 && traits.consumers == 0 {
            found.push(QUEUE_UNSERVED.found(object, told));
        } else {
            found.push(QUEUE_UNSERVED.fine(object, told));
        }
        // An idle queue may be "idle", "live" or "running", as versions have it.
        if ["down", "minority", "stopped", "crashed"].contains(&traits.state.as_str()) {
            found.push(QUEUE_DOWN.found(object, format!("its state is {}", traits.state)));
        }
        if let Some((members, online)) = traits.members.filter(|(members, online)| online < members) {
            found.push(MEMBERS_MISSING.found(object, format!("{online} of {members} members are there")));
        }
        found
    }
}

fn told_bounds(messages: Option<i64>, bytes: Option<i64>, overflow: &str) -> String {
    let told = |value: Option<i64>| value.map_or_else(|| "none".to_owned(), |value| value.to_string());
    format!("max-length {}, max-length-bytes {}, overflow {overflow}", told(messages), told(bytes))
}

fn seconds(milliseconds: i64) -> String {
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0)).as_secs_f64().to_string()
}

/// The time that a job may take, of a queue or of the whole broker. The latter is not told.
fn timeout(of_queue: Option<i64>, served: &Served, object: &str) -> Finding {
    let job = served.job_limit.map_or_else(
        || "a job has no limit".to_owned(),
        |limit| format!("a job may take {} s", limit.as_secs_f64()),
    );
    let longer = |than: Duration| served.job_limit.is_none_or(|limit| limit >= than);
    match of_queue.and_then(|timeout| u64::try_from(timeout).ok()).map(Duration::from_millis) {
        Some(timeout) => {
            let told = format!("its consumer timeout is {} s, {job}", timeout.as_secs_f64());
            if longer(timeout) {
                CONSUMER_TIMEOUT.found(object, told)
            } else {
                CONSUMER_TIMEOUT.fine(object, told)
            }
        }
        None if longer(ASSUMED_TIMEOUT) => {
            let told =
                format!("{job}; the broker does not tell its consumer_timeout, 30 min unless it was set");
            CONSUMER_TIMEOUT.found(object, told).with_grade(Grade::Warning)
        }
        None => {
            let told = format!(
                "{job}; the broker does not tell its consumer_timeout, 30 min unless it was set: ask \
                 rabbitmqctl eval 'application:get_env(rabbit, consumer_timeout).'"
            );
            CONSUMER_TIMEOUT.unknown(object, told)
        }
    }
}

/// What waits among the dead letters.
pub(super) async fn dead_letters(session: &Session, wire: &str, object: &str, found: &mut Findings) {
    let object = format!("dead letters of {object}");
    match is_there(session, wire).await {
        Ok(Some((0, _)) | None) => found.push(DEAD_LETTERS_WAITING.fine(object, "none")),
        Ok(Some((dead, _))) => found.push(DEAD_LETTERS_WAITING.found(object, format!("{dead} messages"))),
        Err(error) => found.push(DEAD_LETTERS_WAITING.unknown(object, error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use polybus_contract::{Name, Queue};

    use super::*;

    fn codes(traits: Traits, version: (u32, u32)) -> Vec<(&'static str, Grade)> {
        let served = Served::new("anon", Queue::new(Name::new("anon_0.5.5").unwrap()))
            .with_job_limit(Some(Duration::from_mins(25)));
        let mut found = Vec::new();
        judge(&Look::There(traits), &served, Some(version), "queue", &mut found);
        let bad = found.into_iter().filter(|finding| finding.grade > Grade::Unknown);
        bad.map(|finding| (finding.diagnosis.code, finding.grade)).collect()
    }

    fn as_declared() -> Traits {
        let arguments = [
            ("queue-type", "quorum"),
            ("delivery-limit", "1000000010"),
            ("max-length", "1000000"),
            ("max-length-bytes", "1073741824"),
            ("overflow", "reject-publish"),
        ];
        let arguments = arguments.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Traits { durable: true, arguments: arguments.into(), ..Traits::default() }
    }

    fn with(name: &str, value: &str) -> Traits {
        let mut traits = as_declared();
        traits.arguments.insert(name.to_owned(), value.to_owned());
        traits
    }

    #[test]
    fn what_serve_declares_is_fine() {
        assert_eq!(codes(as_declared(), (3, 10)), []);
        assert_eq!(codes(as_declared(), (4, 0)), []);
    }

    #[test]
    fn each_setting_is_found() {
        for (name, value, code) in [
            ("delivery-limit", "3", "delivery-limit"),
            ("message-ttl", "1000", "messages-expire"),
            ("expires", "60000", "queue-expires"),
            ("overflow", "drop-head", "overflow-drops"),
            ("max-length", "10", "queue-bound"),
            ("consumer-timeout", "60000", "consumer-timeout"),
            ("single-active-consumer", "true", "single-active-consumer"),
            ("dead-letter-exchange", "old", "dead-letters-elsewhere"),
            ("queue-type", "classic", "queue-kind"),
        ] {
            let found = codes(with(name, value), (4, 0));
            assert_eq!(found.iter().map(|found| found.0).collect::<Vec<_>>(), [code], "{name}");
            let mut by_policy = as_declared();
            by_policy.policy.insert(name.to_owned(), value.to_owned());
            let in_policy = ["queue-type", "overflow"].contains(&name) || codes(by_policy, (4, 0)) == found;
            assert!(in_policy, "{name}");
        }
        let missing = Traits { members: Some((3, 2)), state: "minority".to_owned(), ..as_declared() };
        assert_eq!(
            codes(missing, (4, 0)),
            [("queue-down", Grade::Fault), ("members-missing", Grade::Warning)]
        );
    }

    #[test]
    fn newer_brokers_have_a_limit_of_deliveries_by_default() {
        let mut traits = as_declared();
        traits.arguments.remove("delivery-limit");
        assert_eq!(codes(traits.clone(), (3, 10)), []);
        assert_eq!(codes(traits, (4, 0)), [("delivery-limit", Grade::Warning)]);
    }
}
