//! `polybus status --json`.

use std::time::Duration;

use polybus::QueueInfo;
use polybus::figures::{QueueView, ServiceView, Told, Unknown};
use serde_json::{Map, Value, json};

use super::cells::state;
use crate::session::desk::{moment, written};
use crate::session::lookout::Sight;

/// Everything that was seen.
pub(super) fn of(seen: &Sight) -> Value {
    let overview = &seen.overview;
    let queues: Vec<_> = overview.queues.iter().map(of_queue).collect();
    let services: Vec<_> =
        overview.services.iter().map(|service| of_service(service, seen.max_attempts)).collect();
    json!({
        "bus": seen.url,
        "at": moment(seen.at),
        "apart_seconds": overview.apart.as_secs_f64(),
        "queues": queues,
        "services": services,
    })
}

/// Figures, each `null` if it is not known, and why those are not.
#[derive(Default)]
struct Figures {
    figures: Map<String, Value>,
    unknown: Map<String, Value>,
}

impl Figures {
    fn put<T: Into<Value>>(&mut self, name: &str, told: Told<T>) {
        let value = match told {
            Ok(value) => value.into(),
            Err(why) => {
                self.unknown.insert(name.to_owned(), json!(why.to_string()));
                Value::Null
            }
        };
        self.figures.insert(name.to_owned(), value);
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.figures.insert(name.to_owned(), value.into());
        self
    }

    fn whole(mut self) -> Value {
        self.figures.insert("unknown".to_owned(), self.unknown.into());
        self.figures.into()
    }
}

fn of_queue(queue: &QueueView) -> Value {
    let mut all = Figures::default().with("queue", written(&queue.intake));
    let info = queue.info.clone().unwrap_or_default();
    let QueueInfo { ready, delayed, leased, dead, bytes, consumers, oldest, .. } = info;
    let why = queue.info.as_ref().err().copied().unwrap_or(Unknown::Untold);
    let told = |value: Option<u64>| value.ok_or(why);
    for (name, value) in [
        ("ready", ready),
        ("delayed", delayed),
        ("leased", leased),
        ("dead", dead),
        ("bytes", bytes),
        ("consumers", consumers),
    ] {
        all.put(name, told(value));
    }
    match (ready, oldest) {
        // Where nothing waits there is no oldest message, which is no lack of knowledge.
        (Some(0), None) => all = all.with("oldest", Value::Null),
        _ => all.put("oldest", oldest.map(moment).ok_or(why)),
    }
    let rates = queue.rates;
    all.put("sent_per_second", rates.sent);
    all.put("handed_out_per_second", rates.handed_out);
    all.put("settled_per_second", rates.settled);
    all.put("growth_per_second", rates.growth);
    all.put("empties_in_seconds", seconds(queue.empties_in()));
    all.whole()
}

fn of_service(service: &ServiceView, max_attempts: u32) -> Value {
    let ServiceView { service, queue, .. } = service;
    let limit = service.job_limit.map(|limit| limit.as_secs_f64());
    let mut all = Figures::default().with("service", service.name.as_str());
    all = all.with("queue", service.queue.name.as_str());
    all.put("state", state(queue).ok_or_else(|| queue.is_served().err().unwrap_or(Unknown::Untold)));
    all.put("backlog", queue.backlog());
    all.put("attempts", queue.attempts());
    all = all.with("max_attempts", max_attempts).with("jobs", service.jobs).with("job_seconds", limit);
    all.put("empties_in_seconds", seconds(queue.empties_in()));
    all.whole()
}

fn seconds(time: Told<Duration>) -> Told<f64> {
    time.map(|time| time.as_secs_f64())
}
