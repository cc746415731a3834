//! Options and receipts on the wire.

use std::time::Duration;

use polybus_contract::{
    Confirm, Confirmed, Deadline, MessageId, Nobody, PublishOptions, Receipt, RemoteError, Replies,
    ReplyOptions, RequestOptions, WhenFull,
};
use serde::{Deserialize, Serialize};

use super::message::RemoteErrorLine;
use super::words::{durability_of, durability_word, millis};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PublishLine {
    confirm: String,
    pub(crate) within_ms: u64,
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
    pub(crate) fn options(&self) -> Result<PublishOptions, String> {
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

/// What a publish or a reply was worth: `confirmed`, `handed` or `unclaimed`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ReceiptLine {
    receipt: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    durability: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

impl ReceiptLine {
    /// The id is said to those who gave none.
    pub(crate) fn of(receipt: &Receipt, with_id: bool) -> Self {
        let (word, durability, duplicate, id) = match receipt {
            Receipt::Confirmed(confirmed) => {
                let durability = durability_word(confirmed.durability).to_owned();
                ("confirmed", Some(durability), confirmed.duplicate, Some(&confirmed.id))
            }
            Receipt::Handed(id) => ("handed", None, false, Some(id)),
            _ => ("unclaimed", None, false, None),
        };
        let id = id.filter(|_| with_id).map(MessageId::to_string);
        Self { receipt: word.to_owned(), durability, duplicate, id }
    }

    /// For a message that was sent under `id`.
    pub(crate) fn receipt(self, id: MessageId) -> Result<Receipt, String> {
        Ok(match self.receipt.as_str() {
            "confirmed" => {
                let known = self.durability.as_deref().and_then(durability_of).unwrap_or_default();
                let confirmed = Confirmed::new(id, known);
                Receipt::Confirmed(if self.duplicate { confirmed.as_duplicate() } else { confirmed })
            }
            "handed" => Receipt::Handed(id),
            "unclaimed" => Receipt::Unclaimed,
            other => return Err(format!("unknown receipt {other:?}")),
        })
    }
}

/// Options of a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct AskLine {
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
    pub(crate) fn options(&self) -> RequestOptions {
        let within = |ms| Deadline::Within(Duration::from_millis(ms));
        RequestOptions::default()
            .with_deadline(self.deadline_ms.map_or(Deadline::Never, within))
            .with_nobody(if self.fail_if_nobody { Nobody::Fail } else { Nobody::Wait })
            .with_replies(if self.many { Replies::Many(self.count) } else { Replies::One })
            .with_send_number(self.send_number)
            .with_at_most_once(self.at_most_once)
    }
}

/// Options of a reply.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct AnswerLine {
    pub(crate) within_ms: u64,
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
    pub(crate) fn options(self) -> ReplyOptions {
        ReplyOptions::default()
            .with_within(Duration::from_millis(self.within_ms))
            .with_index(self.index)
            .with_last(self.last)
            .with_attempt(self.attempt)
            .with_responder(self.responder)
            .with_error(self.error.map(RemoteError::from))
    }
}
