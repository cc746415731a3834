//! The headers of packets.

use std::time::Duration;

use polybus_contract::{Keep, Outcome, Reason};
use polybus_lines::{
    AnswerLine, AskLine, ErrorLine, IntakeLine, MessageLine, ObjectLine, PlaceLine, PublishLine, TargetLine,
    millis,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PublishHeader {
    pub(crate) to: TargetLine,
    #[serde(default)]
    pub(crate) message: MessageLine,
    #[serde(default)]
    pub(crate) options: PublishLine,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RequestHeader {
    pub(crate) to: TargetLine,
    #[serde(default)]
    pub(crate) message: MessageLine,
    #[serde(default)]
    pub(crate) options: AskLine,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReplyHeader {
    pub(crate) to: String,
    #[serde(default)]
    pub(crate) message: MessageLine,
    #[serde(default)]
    pub(crate) options: AnswerLine,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ConsumeHeader {
    pub(crate) from: IntakeLine,
    #[serde(default = "one")]
    pub(crate) credit: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lease_ms: Option<u64>,
    #[serde(default)]
    pub(crate) label: String,
}

const fn one() -> u32 {
    1
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SubscribeHeader {
    pub(crate) topic: String,
    #[serde(default = "buffer")]
    pub(crate) buffer: u32,
    #[serde(default)]
    pub(crate) label: String,
}

const fn buffer() -> u32 {
    1024
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CreditHeader {
    pub(crate) credit: u32,
}

/// How a stream is ended by its client.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct StopHeader {
    /// Nobody reads it any longer: not even its end is told.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) gone: bool,
}

/// A farewell: what is in somebody's hands counts as handed out, the rest nobody has seen.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ByeHeader {
    pub(crate) holding: Vec<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SettleHeader {
    pub(crate) delivery: u64,
    #[serde(flatten)]
    pub(crate) outcome: OutcomeLine,
}

/// The body of the packet is what is kept instead, with `keep` as `substitute`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum OutcomeLine {
    Ack,
    Retry {
        #[serde(default)]
        after_ms: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    Reject {
        reason: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        #[serde(default)]
        keep: KeepWord,
    },
    Release,
    Dropped,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeepWord {
    #[default]
    Body,
    Nothing,
    Substitute,
}

impl OutcomeLine {
    /// What is said, and the body that goes with it.
    pub(crate) fn of(outcome: Outcome) -> (Self, Option<bytes::Bytes>) {
        match outcome {
            Outcome::Ack => (Self::Ack, None),
            Outcome::Retry { after, error } => (Self::Retry { after_ms: millis(after), error }, None),
            Outcome::Reject { reason, error, keep } => {
                let (keep, body) = match keep {
                    Keep::Body => (KeepWord::Body, None),
                    Keep::Nothing => (KeepWord::Nothing, None),
                    Keep::Substitute(body) => (KeepWord::Substitute, Some(body.head().clone())),
                };
                (Self::Reject { reason: reason.to_string(), error, keep }, body)
            }
            Outcome::Release => (Self::Release, None),
            _ => (Self::Dropped, None),
        }
    }

    pub(crate) fn outcome(self, body: bytes::Bytes) -> Outcome {
        match self {
            Self::Ack => Outcome::Ack,
            Self::Retry { after_ms, error } => {
                Outcome::Retry { after: Duration::from_millis(after_ms), error }
            }
            Self::Reject { reason, error, keep } => {
                let keep = match keep {
                    KeepWord::Body => Keep::Body,
                    KeepWord::Nothing => Keep::Nothing,
                    KeepWord::Substitute => Keep::Substitute(body.into()),
                };
                Outcome::Reject { reason: Reason::from(reason.as_str()), error, keep }
            }
            Self::Release => Outcome::Release,
            Self::Dropped => Outcome::Dropped,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RenewHeader {
    pub(crate) delivery: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RenewedHeader {
    pub(crate) lease_ms: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DeliveryHeader {
    pub(crate) delivery: u64,
    pub(crate) attempt: u32,
    /// None: as long as the connection.
    pub(crate) lease_ms: Option<u64>,
    pub(crate) queue: String,
    pub(crate) message: MessageLine,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TopicHeader {
    pub(crate) message: MessageLine,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub(crate) enum EndHeader {
    Stopped,
    Drained,
    Complete,
    Failed { error: ErrorLine },
}

/// What is asked for at the desk.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum DeskHeader {
    List,
    Inspect {
        intake: IntakeLine,
    },
    Browse {
        intake: IntakeLine,
        place: PlaceLine,
        #[serde(default)]
        from: u64,
        #[serde(default)]
        limit: u32,
    },
    Purge {
        intake: IntakeLine,
        place: PlaceLine,
    },
    Redrive {
        intake: IntakeLine,
        #[serde(default)]
        ids: Vec<String>,
        #[serde(default)]
        limit: Option<u64>,
    },
    Remove {
        object: ObjectLine,
    },
}

/// A browsed page: the bodies lie behind each other in the body of the packet.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PageHeader {
    pub(crate) messages: Vec<BrowsedLine>,
    pub(crate) next: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BrowsedLine {
    pub(crate) message: MessageLine,
    pub(crate) attempts: u32,
    pub(crate) bytes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ListHeader {
    pub(crate) intakes: Vec<IntakeLine>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PurgedHeader {
    pub(crate) messages: u64,
}

/// What is asked for of the parts of large bodies. The body of a `put` is the part, and so is that of the answer to `get`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum PartsHeader {
    Create {
        id: String,
        live_ms: u64,
    },
    Put {
        id: String,
        index: u32,
        sha256: String,
    },
    Finish {
        id: String,
        /// How many parts were put.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parts: Option<u32>,
    },
    Get {
        manifest: String,
        index: u32,
    },
    Remove {
        id: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PartHeader {
    pub(crate) index: u32,
    pub(crate) sha256: String,
}

/// How the broker is, for all of its clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct InfoHeader {
    /// The journal holds publishers back.
    pub(crate) blocked: bool,
    /// What is wrong with it, if something is.
    pub(crate) failed: Option<String>,
    pub(crate) late_replies: u64,
    pub(crate) missed: u64,
    pub(crate) dead_dropped: u64,
    pub(crate) overflowed: u64,
    pub(crate) expired: u64,
    pub(crate) notes: Vec<String>,
}
