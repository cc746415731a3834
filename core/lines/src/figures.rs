//! Figures of the desk.

use polybus_contract::{Browse, MessageId, QueueInfo, Redrive, Redriven, UnixMillis};
use serde::{Deserialize, Serialize};

/// Figures of a queue; what is missing or null is unknown.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct InfoLine {
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

/// What became of a redrive, in messages: `moved`, `refused` and `left`, which all have to be said.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RedrivenLine {
    moved: u64,
    refused: u64,
    left: u64,
}

impl From<Redriven> for RedrivenLine {
    fn from(done: Redriven) -> Self {
        Self { moved: done.moved, refused: done.refused, left: done.left }
    }
}

impl From<RedrivenLine> for Redriven {
    fn from(line: RedrivenLine) -> Self {
        Self::new(line.moved, line.refused, line.left)
    }
}

/// What a desk is asked to browse: from this position on, at most so many messages (0: as many as the bus likes).
#[must_use]
pub fn browse_of(from: u64, limit: u32) -> Browse {
    Browse::default().with_from(from).with_limit(limit)
}

/// What a desk is asked to redrive: these messages, or all if none is named; at most so many.
#[must_use]
pub fn redrive_of(ids: &[String], limit: Option<u64>) -> Redrive {
    let ids: Vec<_> = ids.iter().map(|id| MessageId::from(id.as_str())).collect();
    Redrive::default().with_ids(ids).with_limit(limit)
}
