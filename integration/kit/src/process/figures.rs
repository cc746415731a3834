//! Health, drain reports and browsed pages on the line.

use std::time::Duration;

use polybus_contract::{Counters, DrainReport, Health, Link, SubscriptionHealth, SubscriptionState};
use polybus_lines::millis;
use serde::{Deserialize, Serialize};

use super::message::MessageLine;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct DrainLine {
    finished: u64,
    returned: u64,
    abandoned: u64,
    unflushed: u64,
}

impl From<DrainReport> for DrainLine {
    fn from(report: DrainReport) -> Self {
        let DrainReport { finished, returned, abandoned, unflushed } = report;
        Self { finished, returned, abandoned, unflushed }
    }
}

impl From<DrainLine> for DrainReport {
    fn from(line: DrainLine) -> Self {
        let DrainLine { finished, returned, abandoned, unflushed } = line;
        Self { finished, returned, abandoned, unflushed }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct SubscriptionLine {
    intake: String,
    label: String,
    state: String,
    for_ms: u64,
    in_hand: u32,
    arrived: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct HealthLine {
    link: String,
    down_ms: u64,
    reason: String,
    subscriptions: Vec<SubscriptionLine>,
    late_replies: u64,
    missed: u64,
    dead_dropped: u64,
    overflowed: u64,
    expired: u64,
    pending_requests: u64,
    notes: Vec<String>,
}

impl From<&Health> for HealthLine {
    fn from(health: &Health) -> Self {
        let (link, down_ms, reason) = match &health.link {
            Link::Idle => ("idle", 0, ""),
            Link::Up => ("up", 0, ""),
            Link::Blocked => ("blocked", 0, ""),
            Link::Down { since, reason } => ("down", millis(*since), reason.as_str()),
            _ => ("closed", 0, ""),
        };
        let Counters { late_replies, missed, dead_dropped, overflowed, expired, pending_requests } =
            health.counters;
        Self {
            link: link.to_owned(),
            down_ms,
            reason: reason.to_owned(),
            subscriptions: health.subscriptions.iter().map(subscription_line).collect(),
            late_replies,
            missed,
            dead_dropped,
            overflowed,
            expired,
            pending_requests,
            notes: health.notes.clone(),
        }
    }
}

fn subscription_line(health: &SubscriptionHealth) -> SubscriptionLine {
    let (state, time) = match health.state {
        SubscriptionState::Stalled(time) => ("stalled", millis(time)),
        SubscriptionState::Down(time) => ("down", millis(time)),
        _ => ("live", 0),
    };
    SubscriptionLine {
        intake: health.intake.clone(),
        label: health.label.clone(),
        state: state.to_owned(),
        for_ms: time,
        in_hand: health.in_hand,
        arrived: health.arrived,
    }
}

impl From<HealthLine> for Health {
    fn from(line: HealthLine) -> Self {
        let state = match line.link.as_str() {
            "up" => Link::Up,
            "blocked" => Link::Blocked,
            "down" => Link::Down { since: Duration::from_millis(line.down_ms), reason: line.reason },
            "closed" => Link::Closed,
            _ => Link::Idle,
        };
        let counters = Counters {
            late_replies: line.late_replies,
            missed: line.missed,
            dead_dropped: line.dead_dropped,
            overflowed: line.overflowed,
            expired: line.expired,
            pending_requests: line.pending_requests,
        };
        let subscription = |line: SubscriptionLine| {
            let time = Duration::from_millis(line.for_ms);
            let state = match line.state.as_str() {
                "stalled" => SubscriptionState::Stalled(time),
                "down" => SubscriptionState::Down(time),
                _ => SubscriptionState::Live,
            };
            let SubscriptionLine { intake, label, in_hand, arrived, .. } = line;
            SubscriptionHealth { intake, label, state, in_hand, arrived }
        };
        Self {
            link: state,
            subscriptions: line.subscriptions.into_iter().map(subscription).collect(),
            counters,
            notes: line.notes,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct BrowsedLine {
    pub(super) message: MessageLine,
    pub(super) attempts: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PageLine {
    pub(super) messages: Vec<BrowsedLine>,
    pub(super) next: Option<u64>,
}
