//! Requests, answers and events on the line.

use polybus_lines::{
    AnswerLine, ErrorLine, GapLine, IntakeLine, ObjectLine, PlaceLine, TargetLine, TopologyLine,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::figures::HealthLine;
use super::message::{MessageLine, ReplyToLine};
use super::options::{AskLine, ConsumeLine, PublishLine, SubscribeLine};

/// What the kit sends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RequestLine {
    pub(super) id: u64,
    #[serde(default)]
    pub(super) handle: u64,
    #[serde(flatten)]
    pub(super) op: Op,
}

/// What is asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(super) enum Op {
    Open { protocol: u32 },
    Leave,
    Connect { within_ms: u64 },
    Declare(TopologyLine),
    Publish { to: TargetLine, message: MessageLine, options: PublishLine },
    Consume { stream: u64, from: IntakeLine, options: ConsumeLine },
    Subscribe { stream: u64, topic: String, options: SubscribeLine },
    Request { stream: u64, to: TargetLine, message: MessageLine, options: AskLine },
    Reply { to: ReplyToLine, message: MessageLine, options: AnswerLine },
    Pull { stream: u64 },
    Credit { stream: u64, credit: u32 },
    Stop { stream: u64 },
    Close { stream: u64 },
    Settle { delivery: u64, outcome: OutcomeLine },
    Renew { delivery: u64 },
    Forget { delivery: u64 },
    Drain { within_ms: u64 },
    List,
    Inspect { intake: IntakeLine },
    Browse { intake: IntakeLine, place: PlaceLine, from: u64, limit: u32 },
    Purge { intake: IntakeLine, place: PlaceLine },
    Redrive { intake: IntakeLine, ids: Vec<String>, limit: Option<u64> },
    Remove { object: ObjectLine },
}

/// What the process sends: an answer (`id`), an event of a stream (`stream`), or one of a handle (`handle`).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct FromProcess {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ok: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<ErrorLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stream: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) item: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gap: Option<GapLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) end: Option<EndLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) handle: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) health: Option<HealthLine>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum EndLine {
    Stopped,
    Drained,
    Complete,
    Failed { error: ErrorLine },
}

/// A delivery on the line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct DeliveryLine {
    pub(super) delivery: u64,
    pub(super) queue: String,
    pub(super) attempt: u32,
    /// The lease; none if it lasts as long as the connection.
    pub(super) lease_ms: Option<u64>,
    pub(super) message: MessageLine,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum OutcomeLine {
    Ack,
    Retry {
        after_ms: u64,
        error: Option<String>,
    },
    /// `keep` is `body`, `nothing` or `substitute`; then `body` is what is kept instead.
    Reject {
        reason: String,
        error: Option<String>,
        keep: String,
        body: Option<String>,
    },
    Release,
    Dropped,
}
