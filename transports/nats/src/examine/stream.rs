//! What the settings of a queue's stream mean for the service on it.

use std::time::Duration;

use polybus_contract::{Durability, Finding, Served};
use serde_json::Value;

use super::Findings;
use super::words::{
    DEDUP_WINDOW, MESSAGE_LIMIT, MESSAGES_EXPIRE, NO_LEADER, OVERFLOW_DROPS, QUEUE_BOUND, QUEUE_NOT_DURABLE,
    QUEUE_RETENTION, QUEUE_UNBOUNDED, REPLICAS_FEWER, STREAM_NO_ACK, STREAM_SEALED,
};
use crate::config::{Config, Storage};

/// Judges the answer of `STREAM.INFO`.
pub(super) fn judge(info: &Value, served: &Served, config: &Config, object: &str, found: &mut Findings) {
    let judged = Judged { config: &info["config"], served, bus: config, object };
    found.extend(judged.survives());
    found.extend(judged.keeps());
    found.extend(judged.bounds());
    found.extend(judged.takes());
    if info["cluster"].is_object() && info["cluster"]["leader"].as_str().is_none_or(str::is_empty) {
        found.push(NO_LEADER.found(object, "its cluster names no leader"));
    }
}

struct Judged<'a> {
    config: &'a Value,
    served: &'a Served,
    bus: &'a Config,
    object: &'a str,
}

impl Judged<'_> {
    fn word(&self, name: &str) -> &str {
        self.config[name].as_str().unwrap_or_default()
    }

    fn number(&self, name: &str) -> i64 {
        self.config[name].as_i64().unwrap_or(0)
    }

    fn is_set(&self, name: &str) -> bool {
        self.config[name] == Value::Bool(true)
    }

    fn survives(&self) -> Vec<Finding> {
        let object = self.object;
        let told = format!("storage is {}", self.word("storage"));
        let volatile =
            self.served.queue.durability == Some(Durability::Volatile) || self.bus.storage == Storage::Memory;
        let replicas = self.number("num_replicas");
        let lost = self.word("storage") == "memory" && replicas < 2 && !volatile;
        let mut found = vec![if lost {
            QUEUE_NOT_DURABLE.found(object, told)
        } else {
            QUEUE_NOT_DURABLE.fine(object, told)
        }];
        if replicas < i64::from(self.bus.replicas) {
            found.push(
                REPLICAS_FEWER
                    .found(object, format!("{replicas} replicas, {} are asked for", self.bus.replicas)),
            );
        }
        found
    }

    /// Whether messages stay until they are served, and no longer.
    fn keeps(&self) -> Vec<Finding> {
        let object = self.object;
        let told = format!("retention is {}", self.word("retention"));
        let is_queue = self.word("retention") == "workqueue";
        let mut found = vec![if is_queue {
            QUEUE_RETENTION.fine(object, told)
        } else {
            QUEUE_RETENTION.found(object, told)
        }];
        let age = self.number("max_age");
        found.push(if age > 0 {
            MESSAGES_EXPIRE.found(object, format!("max_age is {} s", seconds(age)))
        } else {
            MESSAGES_EXPIRE.fine(object, "max_age is not set")
        });
        found
    }

    fn bounds(&self) -> Vec<Finding> {
        let object = self.object;
        let (messages, bytes) = (self.number("max_msgs"), self.number("max_bytes"));
        let of_subject = self.number("max_msgs_per_subject");
        let discard = self.word("discard");
        let told = format!("max_msgs {messages}, max_bytes {bytes}, discard {discard}");
        if of_subject > 0 {
            let drops = if discard == "old" { &OVERFLOW_DROPS } else { &QUEUE_BOUND };
            return vec![
                drops.found(object, format!("max_msgs_per_subject {of_subject}, discard {discard}")),
            ];
        }
        if messages <= 0 && bytes <= 0 {
            return vec![QUEUE_UNBOUNDED.found(object, told)];
        }
        if discard == "old" {
            return vec![OVERFLOW_DROPS.found(object, told)];
        }
        let wanted = self.served.queue.bounds;
        let less =
            |found: i64, wanted: u64| u64::try_from(found).is_ok_and(|found| found > 0 && found < wanted);
        let small = less(messages, wanted.messages) || less(bytes, wanted.bytes);
        let second = if small { QUEUE_BOUND.found(object, told) } else { QUEUE_BOUND.fine(object, told) };
        vec![OVERFLOW_DROPS.fine(object, format!("discard is {discard}")), second]
    }

    /// Whether it takes what is sent.
    fn takes(&self) -> Vec<Finding> {
        let object = self.object;
        let mut found = Vec::new();
        for name in ["sealed", "deny_delete", "deny_purge"].into_iter().filter(|name| self.is_set(name)) {
            found.push(STREAM_SEALED.found(object, format!("{name} is true")));
        }
        if self.is_set("no_ack") {
            found.push(STREAM_NO_ACK.found(object, "no_ack is true"));
        }
        let size = self.number("max_msg_size");
        let wanted = self.served.message_size.unwrap_or(u64::MAX);
        if u64::try_from(size).is_ok_and(|size| size > 0 && size < wanted) {
            found.push(MESSAGE_LIMIT.found(object, format!("max_msg_size of its stream is {size}")));
        }
        let window = Duration::from_nanos(u64::try_from(self.number("duplicate_window")).unwrap_or(0));
        if window < self.bus.dedup_window {
            let told = format!(
                "duplicate_window is {} s, {} s are asked for",
                window.as_secs_f64(),
                self.bus.dedup_window.as_secs()
            );
            found.push(DEDUP_WINDOW.found(object, told));
        }
        found
    }
}

pub(super) fn seconds(nanos: i64) -> f64 {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use polybus_contract::{Grade, Name, Queue};
    use serde_json::json;

    use super::*;

    fn bad(change: &[(&str, Value)]) -> Vec<&'static str> {
        let mut config = json!({
            "retention": "workqueue", "storage": "file", "num_replicas": 1, "max_msgs": 1_000_000, "max_bytes": 1 << 30,
            "discard": "new", "max_age": 0, "max_msg_size": -1, "duplicate_window": 120_000_000_000_i64,
        });
        for (name, value) in change {
            config[*name] = value.clone();
        }
        let served = Served::new("anon", Queue::new(Name::new("anon").unwrap()));
        let mut found = Vec::new();
        judge(&json!({ "config": config }), &served, &Config::default(), "queue", &mut found);
        found.retain(|finding| finding.grade > Grade::Unknown);
        found.into_iter().map(|finding| finding.diagnosis.code).collect()
    }

    #[test]
    fn what_serve_makes_is_fine_and_each_setting_is_found() {
        assert_eq!(bad(&[]), [""; 0]);
        for (name, value, code) in [
            ("retention", json!("limits"), "queue-retention"),
            ("storage", json!("memory"), "queue-not-durable"),
            ("discard", json!("old"), "overflow-drops"),
            ("max_age", json!(1_000_000_000), "messages-expire"),
            ("max_msgs", json!(5), "queue-bound"),
            ("max_msgs_per_subject", json!(1), "queue-bound"),
            ("sealed", json!(true), "stream-sealed"),
            ("deny_purge", json!(true), "stream-sealed"),
            ("no_ack", json!(true), "stream-no-ack"),
            ("max_msg_size", json!(100), "message-limit"),
            ("duplicate_window", json!(1_000_000_000), "dedup-window"),
            ("num_replicas", json!(0), "replicas-fewer"),
        ] {
            assert_eq!(bad(&[(name, value)]), [code], "{name}");
        }
        assert_eq!(bad(&[("max_msgs", json!(-1)), ("max_bytes", json!(-1))]), ["queue-unbounded"]);
    }

    #[test]
    fn a_stream_of_a_cluster_needs_a_leader() {
        let served = Served::new("anon", Queue::new(Name::new("anon").unwrap()));
        let leads = |cluster: Value| {
            let mut found = Vec::new();
            judge(
                &json!({ "config": {}, "cluster": cluster }),
                &served,
                &Config::default(),
                "queue",
                &mut found,
            );
            found.iter().all(|finding| finding.diagnosis.code != "no-leader")
        };
        assert!(leads(json!({"leader": "n1"})) && leads(Value::Null));
        assert!(!leads(json!({"name": "lab"})));
    }
}
