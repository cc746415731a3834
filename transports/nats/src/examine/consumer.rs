//! What the settings of a queue's consumer mean for the service on it.

use std::time::Duration;

use polybus_contract::{Finding, Served};
use serde_json::Value;

use super::Findings;
use super::stream::seconds;
use super::words::{
    CONSUMER_ACKS, CONSUMER_EXPIRES, CONSUMER_FOREIGN, CONSUMER_PARTIAL, CONSUMER_PAUSED, DELIVERY_LIMIT,
    LEASE_LONG, LEASE_SHORT, PENDING_LIMIT,
};
use crate::names::WORKERS;

/// A renewal comes after a third of a lease and may be late on a busy machine: less than this is asking for trouble.
const SHORT: f64 = 5.0;

/// More than this is a long time for a job to be in dead hands.
const LONG: f64 = 300.0;

/// Judges the answers of `CONSUMER.INFO` and `CONSUMER.NAMES`.
pub(super) fn judge(
    info: Option<&Value>,
    names: Option<&Value>,
    served: &Served,
    object: &str,
    found: &mut Findings,
) {
    let others = names.and_then(|names| names["consumers"].as_array()).into_iter().flatten();
    let others: Vec<_> = others.filter_map(Value::as_str).filter(|name| *name != WORKERS).collect();
    let told = format!("its consumers beside {WORKERS}: {}", others.join(", "));
    let Some(info) = info else {
        found.push(if others.is_empty() {
            CONSUMER_FOREIGN.fine(object, "it has no consumer yet; polybus serve makes it")
        } else {
            CONSUMER_FOREIGN.found(object, told)
        });
        return;
    };
    let config = &info["config"];
    found.push(delivery_limit(config, object));
    found.push(lease(config, served, object));
    found.push(pending(config, served, object));
    found.extend(hands_out(config, object));
    let paused = info["paused"] == Value::Bool(true);
    if paused {
        let until = config["pause_until"].as_str().unwrap_or("it is resumed");
        found.push(CONSUMER_PAUSED.found(object, format!("{WORKERS} is paused until {until}")));
    }
}

fn delivery_limit(config: &Value, object: &str) -> Finding {
    match config["max_deliver"].as_i64().filter(|limit| *limit > 0) {
        Some(limit) => DELIVERY_LIMIT.found(object, format!("max_deliver is {limit}")),
        None => DELIVERY_LIMIT.fine(object, "max_deliver is not set"),
    }
}

fn lease(config: &Value, served: &Served, object: &str) -> Finding {
    // Where there is a back-off, its first step is the time that counts.
    let nanos = config["backoff"][0].as_i64().or_else(|| config["ack_wait"].as_i64()).unwrap_or(0);
    let wait = seconds(nanos);
    let told = format!("ack_wait is {wait} s");
    let wanted = served.queue.lease.as_secs_f64();
    match wait {
        _ if wait < SHORT.min(wanted) => LEASE_SHORT.found(object, told),
        _ if wait > LONG.max(wanted) => LEASE_LONG.found(object, told),
        _ => LEASE_SHORT.fine(object, told),
    }
}

fn pending(config: &Value, served: &Served, object: &str) -> Finding {
    match config["max_ack_pending"].as_i64().filter(|limit| *limit > 0) {
        // One server alone needs as many as it does jobs.
        Some(limit) if limit < 2 * i64::from(served.jobs).max(50) => PENDING_LIMIT.found(
            object,
            format!("max_ack_pending is {limit}, one server does {} jobs at a time", served.jobs),
        ),
        Some(limit) => PENDING_LIMIT.fine(object, format!("max_ack_pending is {limit}")),
        None => PENDING_LIMIT.fine(object, "max_ack_pending is not set"),
    }
}

/// What is handed out, and what that means.
fn hands_out(config: &Value, object: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let acks = config["ack_policy"].as_str().unwrap_or_default();
    if acks != "explicit" {
        found.push(CONSUMER_ACKS.found(object, format!("ack_policy is {acks}")));
    }
    if config["headers_only"] == Value::Bool(true) {
        found.push(CONSUMER_PARTIAL.found(object, "headers_only is true"));
    }
    if let Some(subject) = config["filter_subject"].as_str().filter(|subject| !subject.is_empty()) {
        // A filter for all there is hides nothing; whether it is that, only the stream knows.
        if !subject.ends_with(object.trim_start_matches("queue ")) && subject != ">" {
            found.push(CONSUMER_PARTIAL.found(object, format!("filter_subject is {subject}")));
        }
    }
    if let Some(unused) = config["inactive_threshold"].as_i64().filter(|unused| *unused > 0) {
        let unused = Duration::from_nanos(u64::try_from(unused).unwrap_or(0)).as_secs_f64();
        found.push(CONSUMER_EXPIRES.found(object, format!("inactive_threshold is {unused} s")));
    }
    found
}

#[cfg(test)]
mod tests {
    use polybus_contract::{Grade, Name, Queue};
    use serde_json::json;

    use super::*;

    fn bad(info: Option<&Value>, names: &Value) -> Vec<&'static str> {
        let served = Served::new("anon", Queue::new(Name::new("anon").unwrap()));
        let mut found = Vec::new();
        judge(info, Some(names), &served, "queue anon", &mut found);
        found.retain(|finding| finding.grade > Grade::Unknown);
        found.into_iter().map(|finding| finding.diagnosis.code).collect()
    }

    fn with(name: &str, value: Value) -> Value {
        let mut config = json!({
            "ack_policy": "explicit", "ack_wait": 30_000_000_000_i64, "max_deliver": -1, "max_ack_pending": -1,
        });
        config[name] = value;
        json!({ "config": config })
    }

    #[test]
    fn what_serve_makes_is_fine_and_each_setting_is_found() {
        let names = json!({"consumers": ["workers"]});
        assert_eq!(bad(Some(&with("max_deliver", json!(-1))), &names), [""; 0]);
        for (name, value, code) in [
            ("max_deliver", json!(3), "delivery-limit"),
            ("ack_wait", json!(1_000_000_000), "lease-short"),
            ("ack_wait", json!(3_600_000_000_000_i64), "lease-long"),
            ("backoff", json!([1_000_000_000]), "lease-short"),
            ("max_ack_pending", json!(1), "pending-limit"),
            ("ack_policy", json!("none"), "consumer-acks"),
            ("headers_only", json!(true), "consumer-partial"),
            ("filter_subject", json!("polybus.q.other"), "consumer-partial"),
            ("inactive_threshold", json!(1_000_000_000), "consumer-expires"),
        ] {
            assert_eq!(bad(Some(&with(name, value)), &names), [code], "{name}");
        }
        let mut paused = with("pause_until", json!("2030-01-01T00:00:00Z"));
        paused["paused"] = json!(true);
        assert_eq!(bad(Some(&paused), &names), ["consumer-paused"]);
        assert_eq!(bad(None, &json!({"consumers": ["mine"]})), ["consumer-foreign"]);
        assert_eq!(bad(None, &json!({"consumers": null})), [""; 0]);
    }
}
