//! Options of the calls that send something.

use std::time::Duration;

use polybus_contract::{
    Confirm, Deadline, Nobody, PublishOptions, RemoteError, Replies, ReplyOptions, RequestOptions, WhenFull,
};
use serde::{Deserialize, Serialize};

use crate::error::RemoteErrorLine;
use crate::words::millis;

/// Options of a publish. What is left out is as the contract has it. Which losses the caller accepts is not among them:
/// that is for the side that sends.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct PublishLine {
    confirm: String,
    /// How long the call may take.
    pub within_ms: u64,
    wait_when_full: bool,
    delay_ms: Option<u64>,
    send_number: u32,
}

impl From<&PublishOptions> for PublishLine {
    fn from(options: &PublishOptions) -> Self {
        let confirm = match options.confirm {
            Confirm::Required => "required",
            Confirm::WhereAble => "where_able",
            Confirm::No => "no",
        };
        Self {
            confirm: confirm.to_owned(),
            within_ms: millis(options.within),
            wait_when_full: options.when_full == WhenFull::Wait,
            delay_ms: options.delay.map(millis),
            send_number: options.send_number,
        }
    }
}

impl Default for PublishLine {
    fn default() -> Self {
        Self::from(&PublishOptions::default())
    }
}

impl PublishLine {
    /// The options.
    ///
    /// # Errors
    /// The word of `confirm`, if it is unknown.
    pub fn options(&self) -> Result<PublishOptions, String> {
        let confirm = match self.confirm.as_str() {
            "required" => Confirm::Required,
            "where_able" => Confirm::WhereAble,
            "no" => Confirm::No,
            other => return Err(format!("unknown confirm {other:?}")),
        };
        let when_full = if self.wait_when_full { WhenFull::Wait } else { WhenFull::Fail };
        Ok(PublishOptions::default()
            .with_confirm(confirm)
            .with_within(Duration::from_millis(self.within_ms))
            .with_when_full(when_full)
            .with_delay(self.delay_ms.map(Duration::from_millis))
            .with_send_number(self.send_number))
    }
}

/// Options of a request. What is left out is as the contract has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct AskLine {
    /// None: for ever.
    deadline_ms: Option<u64>,
    fail_if_nobody: bool,
    many: bool,
    count: Option<u32>,
    send_number: u32,
    at_most_once: bool,
}

impl From<&RequestOptions> for AskLine {
    fn from(options: &RequestOptions) -> Self {
        let deadline_ms = match options.deadline {
            Deadline::Within(within) => Some(millis(within)),
            Deadline::Never => None,
        };
        let (many, count) = match options.replies {
            Replies::One => (false, None),
            Replies::Many(count) => (true, count),
        };
        Self {
            deadline_ms,
            fail_if_nobody: options.nobody == Nobody::Fail,
            many,
            count,
            send_number: options.send_number,
            at_most_once: options.at_most_once,
        }
    }
}

impl Default for AskLine {
    fn default() -> Self {
        Self::from(&RequestOptions::default())
    }
}

impl AskLine {
    /// The options.
    #[must_use]
    pub fn options(&self) -> RequestOptions {
        let within = |ms| Deadline::Within(Duration::from_millis(ms));
        RequestOptions::default()
            .with_deadline(self.deadline_ms.map_or(Deadline::Never, within))
            .with_nobody(if self.fail_if_nobody { Nobody::Fail } else { Nobody::Wait })
            .with_replies(if self.many { Replies::Many(self.count) } else { Replies::One })
            .with_send_number(self.send_number)
            .with_at_most_once(self.at_most_once)
    }
}

/// Options of a reply. What is left out is as the contract has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct AnswerLine {
    /// How long the call may take.
    pub within_ms: u64,
    index: u32,
    last: bool,
    attempt: Option<u32>,
    responder: Option<String>,
    error: Option<RemoteErrorLine>,
}

impl From<&ReplyOptions> for AnswerLine {
    fn from(options: &ReplyOptions) -> Self {
        Self {
            within_ms: millis(options.within),
            index: options.index,
            last: options.last,
            attempt: options.attempt,
            responder: options.responder.clone(),
            error: options.error.as_ref().map(RemoteErrorLine::from),
        }
    }
}

impl Default for AnswerLine {
    fn default() -> Self {
        Self::from(&ReplyOptions::default())
    }
}

impl AnswerLine {
    /// The options.
    #[must_use]
    pub fn options(self) -> ReplyOptions {
        ReplyOptions::default()
            .with_within(Duration::from_millis(self.within_ms))
            .with_index(self.index)
            .with_last(self.last)
            .with_attempt(self.attempt)
            .with_responder(self.responder)
            .with_error(self.error.map(RemoteError::from))
    }
}
