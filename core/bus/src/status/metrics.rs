//! The numbers.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use polybus_contract::{
    Counters, Health, Intake, Link, Name, QueueInfo, SubscriptionHealth, SubscriptionState, UnixMillis,
};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::worker::{Observer, WorkEnd, WorkEvent};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Of {
    queue: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Ends {
    queue: String,
    how: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Deaths {
    queue: String,
    reason: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Held {
    queue: String,
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Lost {
    what: &'static str,
}

type Histograms = Family<Of, Histogram, fn() -> Histogram>;

/// From a millisecond to about nine hours: jobs may be either.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 4.0, 13))
}

fn attempts() -> Histogram {
    Histogram::new([1.0, 2.0, 3.0, 4.0, 5.0, 10.0])
}

macro_rules! metrics {
    ($($field:ident: $kind:ty = $make:expr, $name:literal $help:literal;)*) => {
        /// Everything that is counted. One set of numbers for each queue that is served, so there are few.
        #[derive(Clone)]
        pub(super) struct Metrics {
            $($field: $kind,)*
        }

        impl Metrics {
            pub(super) fn new() -> Self {
                Self { $($field: $make,)* }
            }

            fn registry(&self) -> Registry {
                let mut registry = Registry::with_prefix("polybus");
                $(registry.register($name, $help, self.$field.clone());)*
                registry
            }
        }
    };
}

metrics! {
    began: Family<Of, Counter> = Family::default(),
        "jobs_began" "Jobs that were handed out to a handler";
    ended: Family<Ends, Counter> = Family::default(),
        "jobs_ended" "Jobs that left a handler, by how";
    again: Family<Of, Counter> = Family::default(),
        "jobs_redelivered" "Jobs of a second or later attempt";
    died: Family<Deaths, Counter> = Family::default(),
        "dead_letters" "Messages that this process sent to the dead letters, by reason";
    restarted: Family<Of, Counter> = Family::default(),
        "subscription_restarts" "Subscriptions that had stalled and were opened again";
    running: Family<Of, Gauge> = Family::default(),
        "jobs_in_flight" "Jobs in the hands of a handler";
    took: Histograms = Family::new_with_constructor(seconds as fn() -> Histogram),
        "job_seconds" "From the hand-out of a job to its settlement";
    waited: Histograms = Family::new_with_constructor(seconds as fn() -> Histogram),
        "job_wait_seconds" "From the creation of a request to its hand-out, by the clocks of both";
    attempt: Histograms = Family::new_with_constructor(attempts as fn() -> Histogram),
        "job_attempt" "Which attempt of a job a hand-out was";
    up: Gauge = Gauge::default(),
        "link_up" "1 while the connection to the bus is there";
    live: Family<Of, Gauge> = Family::default(),
        "subscription_live" "1 while the queue is consumed";
    stalled: Family<Of, Gauge> = Family::default(),
        "subscription_stalled_seconds" "How long messages have waited and none came";
    in_hand: Family<Of, Gauge> = Family::default(),
        "deliveries_in_hand" "Deliveries that are not settled";
    held: Family<Held, Gauge> = Family::default(),
        "queue_messages" "Messages of a queue, by where they are";
    bytes: Family<Of, Gauge> = Family::default(),
        "queue_bytes" "Bytes of a queue without its dead letters";
    consumers: Family<Of, Gauge> = Family::default(),
        "queue_consumers" "Consumers of a queue";
    oldest: Family<Of, Gauge> = Family::default(),
        "queue_oldest_seconds" "Age of the oldest message that waits";
    unread: Family<Of, Gauge> = Family::default(),
        "queue_figures_missing" "1 if the bus did not tell the figures of a queue";
    lost: Family<Lost, Counter> = Family::default(),
        "messages_lost" "What this process dropped or missed, by what";
    pending: Gauge = Gauge::default(),
        "requests_pending" "Requests of this process that wait for a reply";
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Observer for Metrics {
    fn saw(&self, queue: &Name, event: &WorkEvent) {
        let of = of(queue);
        match event {
            WorkEvent::Began { attempt, waited } => self.saw_begin(&of, *attempt, *waited),
            WorkEvent::Ended { how, took } => self.saw_end(&of, how, *took),
            WorkEvent::Restarted { .. } => {
                self.restarted.get_or_create(&of).inc();
            }
        }
    }
}

impl Metrics {
    fn saw_begin(&self, of: &Of, attempt: u32, waited: Option<Duration>) {
        self.began.get_or_create(of).inc();
        self.running.get_or_create(of).inc();
        self.attempt.get_or_create(of).observe(attempt.into());
        if attempt > 1 {
            self.again.get_or_create(of).inc();
        }
        if let Some(waited) = waited {
            self.waited.get_or_create(of).observe(waited.as_secs_f64());
        }
    }

    fn saw_end(&self, of: &Of, how: &WorkEnd, took: Duration) {
        self.running.get_or_create(of).dec();
        self.took.get_or_create(of).observe(took.as_secs_f64());
        self.ended.get_or_create(&Ends { queue: of.queue.clone(), how: how.word() }).inc();
        if let WorkEnd::Dead(reason) = how {
            let deaths = Deaths { queue: of.queue.clone(), reason: reason.as_str().to_owned() };
            self.died.get_or_create(&deaths).inc();
        }
    }

    /// What the bus told of a queue; what it did not tell is not shown, rather than as zero.
    pub(super) fn set_figures(&self, queue: &Name, info: Option<&QueueInfo>) {
        let of = of(queue);
        self.unread.get_or_create(&of).set(i64::from(info.is_none()));
        let none = QueueInfo::default();
        let info = info.unwrap_or(&none);
        let held =
            [("ready", info.ready), ("delayed", info.delayed), ("leased", info.leased), ("dead", info.dead)];
        for (state, count) in held {
            put(&self.held, &Held { queue: of.queue.clone(), state }, count);
        }
        put(&self.bytes, &of, info.bytes);
        put(&self.consumers, &of, info.consumers);
        let age = |since: UnixMillis| u64::try_from((UnixMillis::now().0 - since.0) / 1000).unwrap_or(0);
        put(&self.oldest, &of, info.oldest.map(age));
    }

    pub(super) fn set_health(&self, queues: &[Name], health: &Health) {
        self.up.set(i64::from(matches!(health.link, Link::Up | Link::Blocked)));
        for queue in queues {
            let found = subscriptions(health, queue).collect::<Vec<_>>();
            let live = !found.is_empty() && found.iter().all(|one| one.state == SubscriptionState::Live);
            let still = found.iter().filter_map(|one| match one.state {
                SubscriptionState::Stalled(still) => Some(still.as_secs()),
                _ => None,
            });
            let of = of(queue);
            self.live.get_or_create(&of).set(i64::from(live));
            put(&self.stalled, &of, Some(still.max().unwrap_or(0)));
            put(&self.in_hand, &of, Some(found.iter().map(|one| u64::from(one.in_hand)).sum()));
        }
        self.set_counters(&health.counters);
    }

    fn set_counters(&self, counters: &Counters) {
        for (what, count) in [
            ("late_replies", counters.late_replies),
            ("missed", counters.missed),
            ("dead_dropped", counters.dead_dropped),
            ("overflowed", counters.overflowed),
            ("expired", counters.expired),
        ] {
            let counter = self.lost.get_or_create(&Lost { what });
            AtomicU64::fetch_max(counter.inner(), count, Ordering::Relaxed);
        }
        self.pending.set(i64::try_from(counters.pending_requests).unwrap_or(i64::MAX));
    }

    pub(super) fn text(&self, program: &str) -> String {
        let mut registry = self.registry();
        let about = Info::new(vec![
            ("program", program.to_owned()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ]);
        registry.register("build", "The program", about);
        let mut text = String::new();
        // Writing to a text cannot fail.
        let _written = encode(&mut text, &registry);
        text
    }
}

/// The subscriptions of a queue.
pub(super) fn subscriptions<'a>(
    health: &'a Health,
    queue: &Name,
) -> impl Iterator<Item = &'a SubscriptionHealth> + use<'a> {
    let intake = Intake::Queue(queue.clone()).to_string();
    health.subscriptions.iter().filter(move |one| one.intake == intake)
}

fn of(queue: &Name) -> Of {
    Of { queue: queue.to_string() }
}

fn put<Label>(family: &Family<Label, Gauge>, label: &Label, value: Option<u64>)
where
    Label: Clone + std::hash::Hash + Eq,
{
    match value {
        Some(value) => {
            family.get_or_create(label).set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        None => {
            family.remove(label);
        }
    }
}

#[cfg(test)]
mod tests {
    use polybus_contract::Reason;

    use super::*;

    #[test]
    fn what_was_seen_is_told() {
        let metrics = Metrics::new();
        let queue = Name::new("anon_0.5.5").unwrap();
        let took = Duration::from_millis(5);
        for how in [WorkEnd::Done, WorkEnd::Dead(Reason::Decode)] {
            let waited = Some(Duration::from_secs(2));
            metrics.saw(&queue, &WorkEvent::Began { attempt: 2, waited });
            metrics.saw(&queue, &WorkEvent::Ended { how, took });
        }
        metrics.saw(&queue, &WorkEvent::Began { attempt: 1, waited: None });
        metrics.saw(&queue, &WorkEvent::Restarted { stalled: took });
        metrics.set_figures(&queue, Some(&QueueInfo { ready: Some(7), ..QueueInfo::default() }));
        metrics.set_health(&[queue], &Health::default());
        let text = metrics.text("test");
        for line in [
            "polybus_jobs_began_total{queue=\"anon_0.5.5\"} 3",
            "polybus_jobs_ended_total{queue=\"anon_0.5.5\",how=\"done\"} 1",
            "polybus_jobs_redelivered_total{queue=\"anon_0.5.5\"} 2",
            "polybus_dead_letters_total{queue=\"anon_0.5.5\",reason=\"decode\"} 1",
            "polybus_subscription_restarts_total{queue=\"anon_0.5.5\"} 1",
            "polybus_jobs_in_flight{queue=\"anon_0.5.5\"} 1",
            "polybus_job_seconds_count{queue=\"anon_0.5.5\"} 2",
            "polybus_job_wait_seconds_sum{queue=\"anon_0.5.5\"} 4.0",
            "polybus_queue_messages{queue=\"anon_0.5.5\",state=\"ready\"} 7",
            "polybus_link_up 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("state=\"dead\""), "what is not known is not shown:\n{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
