//! The answers to probes.

use polybus_contract::{Health, Link, Name, SubscriptionState};
use serde_json::{Value as Json, json};

use super::ServiceStatus;
use super::metrics::subscriptions;

/// A page for probes: whether it is well, and why.
pub(super) struct Page {
    pub(super) good: bool,
    pub(super) json: Json,
}

impl ServiceStatus {
    /// Whether a restart would help: a subscription has stalled, or the bus was closed. A bus that is away is not the
    /// fault of this process.
    pub(super) fn health_page(&self) -> Page {
        let health = self.health();
        let closed = health.as_ref().is_some_and(|health| health.link == Link::Closed) && !self.is_draining();
        let stalled = self.states(health.as_ref()).iter().any(|(_, state)| *state == "stalled");
        self.page(health.as_ref(), !closed && !stalled)
    }

    /// Whether requests are served now.
    pub(super) fn ready_page(&self) -> Page {
        let health = self.health();
        let up = health.as_ref().is_some_and(|health| matches!(health.link, Link::Up | Link::Blocked));
        let live = self.states(health.as_ref()).iter().all(|(_, state)| *state == "live");
        self.page(health.as_ref(), up && live && !self.is_draining())
    }

    fn page(&self, health: Option<&Health>, good: bool) -> Page {
        let queues: serde_json::Map<String, Json> =
            self.states(health).into_iter().map(|(queue, state)| (queue.to_string(), json!(state))).collect();
        let status = if good { "ok" } else { "failing" };
        let link = health.map_or("waiting", |health| link_word(&health.link));
        let json = json!({
            "status": status,
            "program": self.inner.program,
            "link": link,
            "draining": self.is_draining(),
            "queues": queues,
        });
        Page { good, json }
    }

    fn states(&self, health: Option<&Health>) -> Vec<(&Name, &'static str)> {
        self.served().iter().map(|queue| (queue, state_word(health, queue))).collect()
    }
}

/// The worst state of a queue's subscriptions.
fn state_word(health: Option<&Health>, queue: &Name) -> &'static str {
    let states: Vec<_> =
        health.into_iter().flat_map(|health| subscriptions(health, queue)).map(|one| one.state).collect();
    let any = |test: fn(&SubscriptionState) -> bool| states.iter().any(test);
    if states.is_empty() {
        "absent"
    } else if any(|state| matches!(state, SubscriptionState::Stalled(_))) {
        "stalled"
    } else if any(|state| !matches!(state, SubscriptionState::Live)) {
        "down"
    } else {
        "live"
    }
}

const fn link_word(link: &Link) -> &'static str {
    match link {
        Link::Up => "up",
        Link::Blocked => "blocked",
        Link::Down { .. } => "down",
        Link::Closed => "closed",
        _ => "idle",
    }
}
