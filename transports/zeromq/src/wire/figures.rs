//! Figures of the desk.

use polybus_contract::{Browse, MessageId, QueueInfo, Redrive, UnixMillis};
use serde::{Deserialize, Serialize};

/// Figures of a queue; what is missing is unknown.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct InfoLine {
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

/// Moved, refused, left.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct RedrivenLine {
    pub(crate) moved: u64,
    pub(crate) refused: u64,
    pub(crate) left: u64,
}

pub(crate) fn browse_of(from: u64, limit: u32) -> Browse {
    Browse::default().with_from(from).with_limit(limit)
}

pub(crate) fn redrive_of(ids: &[String], limit: Option<u64>) -> Redrive {
    let ids: Vec<_> = ids.iter().map(|id| MessageId::from(id.as_str())).collect();
    Redrive::default().with_ids(ids).with_limit(limit)
}
