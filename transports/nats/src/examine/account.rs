//! What the server and the account allow.

use polybus_contract::{Finding, Grade, Plan};
use serde_json::Value;

use super::Findings;
use super::client::Client;
use super::words::{
    CONSUMER_LIMIT, JETSTREAM_OFF, MESSAGE_LIMIT, PENDING_LIMIT, SERVER_OLD, STORAGE_FULL, STORAGE_LIMIT,
    STREAM_LIMIT,
};
use crate::capability::HEADROOM;
use crate::config::{Config, Storage};
use crate::link::version;

/// A server that is as good as any.
const GOOD: (u32, u32) = (2, 10);

/// What a server takes unless it was told otherwise.
const USUAL_PAYLOAD: u64 = 1 << 20;

/// What the server says of itself.
pub(super) fn server(client: &Client, plan: &Plan, found: &mut Findings) {
    let info = client.info();
    let told = format!("nats-server {}", info.version);
    let old = version(&info.version) < GOOD;
    found.push(if old { SERVER_OLD.found("server", told) } else { SERVER_OLD.fine("server", told) });
    let told = if info.jetstream { "JetStream runs" } else { "the server says nothing of JetStream" };
    found.push(if info.jetstream {
        JETSTREAM_OFF.fine("server", told)
    } else {
        JETSTREAM_OFF.unknown("server", told)
    });
    found.push(message_limit(info.max_payload as u64, plan));
}

fn message_limit(payload: u64, plan: &Plan) -> Finding {
    let limit = payload.saturating_sub(HEADROOM);
    let larger = plan.services.iter().filter(|served| served.message_size.is_some_and(|size| size > limit));
    let larger: Vec<_> = larger.collect();
    let wanted = larger.iter().filter_map(|served| served.message_size).max();
    let told = format!("max_payload is {payload} bytes, which leaves {limit} for a message");
    let Some(wanted) = wanted else { return MESSAGE_LIMIT.fine("server", told) };
    let grade = match larger.iter().any(|served| served.size_stated) {
        true => Grade::Fault,
        false if payload < USUAL_PAYLOAD => Grade::Warning,
        false => Grade::Notice,
    };
    let services: Vec<_> = larger.iter().map(|served| served.name.clone()).collect();
    MESSAGE_LIMIT
        .found("server", format!("{told}; max_bytes is {wanted}"))
        .with_grade(grade)
        .with_services(services)
}

/// What the account may have, and has.
pub(super) fn limits(info: &Value, config: &Config, plan: &Plan, found: &mut Findings) {
    // Of a queue and of its dead letters.
    let wanted = 2 * plan.services.len() as u64;
    found.push(count(info, "streams", "max_streams", wanted, &STREAM_LIMIT));
    found.push(count(info, "consumers", "max_consumers", wanted, &CONSUMER_LIMIT));
    found.push(storage(info, config, plan));
    let pending = limit(&info["limits"]["max_ack_pending"]);
    let jobs: u64 = plan.services.iter().map(|served| u64::from(served.jobs)).max().unwrap_or(1);
    if let Some(pending) = pending {
        let told = format!("max_ack_pending of the account is {pending}");
        found.push(if pending < jobs.max(100) {
            PENDING_LIMIT.found("account", told)
        } else {
            PENDING_LIMIT.fine("account", told)
        });
    }
}

/// Less than one is no limit.
fn limit(value: &Value) -> Option<u64> {
    value.as_i64().filter(|limit| *limit > 0).and_then(|limit| u64::try_from(limit).ok())
}

fn count(
    info: &Value,
    name: &str,
    bound: &str,
    wanted: u64,
    diagnosis: &'static polybus_contract::Diagnosis,
) -> Finding {
    let now = info[name].as_u64().unwrap_or(0);
    match limit(&info["limits"][bound]) {
        None => diagnosis.fine("account", format!("{now} {name}, without a limit")),
        Some(limit) => {
            let told = format!("{now} of {limit} {name}; what is planned needs {wanted}");
            // What is planned may be there already: with none left nothing can be made, with too few in all neither.
            let short = now >= limit || limit < wanted;
            if short { diagnosis.found("account", told) } else { diagnosis.fine("account", told) }
        }
    }
}

fn storage(info: &Value, config: &Config, plan: &Plan) -> Finding {
    let (used, bound, reserved) = match config.storage {
        Storage::File => ("storage", "max_storage", "reserved_storage"),
        Storage::Memory => ("memory", "max_memory", "reserved_memory"),
    };
    // Here zero is a limit, and -1 is none.
    let limit = info["limits"][bound].as_i64().and_then(|limit| u64::try_from(limit).ok());
    let Some(limit) = limit else {
        return STORAGE_LIMIT.fine("account", format!("{bound} has no limit"));
    };
    let used = info[used].as_u64().unwrap_or(0);
    let taken = used.max(info[reserved].as_u64().unwrap_or(0));
    let told = format!("{used} bytes used, {taken} taken, of {limit} ({bound})");
    let wanted: u64 =
        plan.services.iter().map(|served| served.queue.bounds.bytes + served.queue.dead_bounds.bytes).sum();
    match limit {
        _ if used >= limit => STORAGE_FULL.found("account", told),
        _ if limit < wanted => {
            STORAGE_LIMIT.found("account", format!("{told}; what is planned reserves {wanted}"))
        }
        _ => STORAGE_LIMIT.fine("account", told),
    }
}

#[cfg(test)]
mod tests {
    use polybus_contract::{Name, Queue, Served};
    use serde_json::json;

    use super::*;

    fn plan(size: u64, stated: bool) -> Plan {
        let served = Served::new("anon", Queue::new(Name::new("anon").unwrap()));
        Plan::default().with_services([served.with_message_size(Some(size)).with_size_stated(stated)])
    }

    #[test]
    fn a_stated_size_is_a_need() {
        let grade = |payload, size, stated| message_limit(payload, &plan(size, stated)).grade;
        assert_eq!(grade(1 << 20, 1000, true), Grade::Fine);
        assert_eq!(grade(1 << 20, 64 << 20, false), Grade::Notice);
        assert_eq!(grade(64 << 10, 64 << 20, false), Grade::Warning);
        assert_eq!(grade(1 << 20, 64 << 20, true), Grade::Fault);
    }

    #[test]
    fn limits_of_an_account() {
        let bad = |info: Value| {
            let mut found = Vec::new();
            limits(&info, &Config::default(), &plan(1, false), &mut found);
            found.retain(|finding| finding.grade > Grade::Unknown);
            found.into_iter().map(|finding| finding.diagnosis.code).collect::<Vec<_>>()
        };
        let none =
            json!({"limits": {"max_memory": -1, "max_storage": -1, "max_streams": -1, "max_consumers": -1}});
        assert_eq!(bad(none), [""; 0]);
        let few = json!({"streams": 1, "consumers": 1, "limits": {"max_storage": 1 << 20, "max_streams": 1, "max_consumers": 1, "max_ack_pending": 5}});
        assert_eq!(bad(few), ["stream-limit", "consumer-limit", "storage-limit", "pending-limit"]);
        let full =
            json!({"storage": 5, "limits": {"max_storage": 0, "max_streams": -1, "max_consumers": -1}});
        assert_eq!(bad(full), ["storage-full"]);
    }
}
