//! Health, drain reports and the figures of the desk on the line.

use std::time::Duration;

use polybus_contract::{
    Browse, Counters, DrainReport, Health, Link, MessageId, QueueInfo, Redrive, SubscriptionHealth,
    SubscriptionState, UnixMillis,
};
use serde::{Deserialize, Serialize};

use super::message::MessageLine;
use super::words::millis;

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

/// Figures of a queue; what is missing is unknown.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct InfoLine {
    ready: Option<u64>,
    delayed: Option<u64>,
    leased: Option<u64>,
    dead: Option<u64>,
    bytes: Option<u64>,
    consumers: Option<u64>,
    oldest: Option<i64>,
    sent: Option<u64>,
    handed_out: Option<u64>,
    settled: Option<u64>,
}

impl From<QueueInfo> for InfoLine {
    fn from(info: QueueInfo) -> Self {
        let QueueInfo { ready, delayed, leased, dead, bytes, consumers, oldest, sent, handed_out, settled } =
            info;
        let oldest = oldest.map(|at| at.0);
        Self { ready, delayed, leased, dead, bytes, consumers, oldest, sent, handed_out, settled }
    }
}

impl From<InfoLine> for QueueInfo {
    fn from(line: InfoLine) -> Self {
        let InfoLine { ready, delayed, leased, dead, bytes, consumers, oldest, sent, handed_out, settled } =
            line;
        let oldest = oldest.map(UnixMillis);
        Self { ready, delayed, leased, dead, bytes, consumers, oldest, sent, handed_out, settled }
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

/// Moved, refused, left.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct RedrivenLine {
    pub(super) moved: u64,
    pub(super) refused: u64,
    pub(super) left: u64,
}

pub(super) fn browse_of(from: u64, limit: u32) -> Browse {
    Browse::default().with_from(from).with_limit(limit)
}

pub(super) fn redrive_of(ids: &[String], limit: Option<u64>) -> Redrive {
    let ids: Vec<_> = ids.iter().map(|id| MessageId::from(id.as_str())).collect();
    Redrive::default().with_ids(ids).with_limit(limit)
}
