//! Options and receipts on the line.

use std::time::Duration;

use polybus_contract::{
    Confirm, Confirmed, ConsumeOptions, Deadline, Fidelity, MessageId, Nobody, Property, PublishOptions,
    Receipt, RemoteError, Replies, ReplyOptions, RequestOptions, Start, SubscribeOptions, WhenFull,
};
use serde::{Deserialize, Serialize};

use super::message::RemoteErrorLine;
use super::words::{durability_of, durability_word, millis};

fn losses(fidelity: Fidelity) -> Vec<String> {
    fidelity.iter().map(|property| property.name().to_owned()).collect()
}

fn losses_of(words: &[String]) -> Fidelity {
    let is = |property: &&Property| words.iter().any(|word| word == property.name());
    Property::ALL.iter().filter(is).copied().collect()
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PublishLine {
    confirm: String,
    pub(super) within_ms: u64,
    wait_when_full: bool,
    delay_ms: Option<u64>,
    send_number: u32,
    accept_loss: Vec<String>,
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
            accept_loss: losses(options.accept_loss),
        }
    }
}

impl PublishLine {
    pub(super) fn options(&self) -> Result<PublishOptions, String> {
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
            .with_send_number(self.send_number)
            .with_accept_loss(losses_of(&self.accept_loss)))
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ReceiptLine {
    Confirmed { id: String, durability: String, duplicate: bool },
    Handed { id: String },
    Unclaimed,
}

impl From<&Receipt> for ReceiptLine {
    fn from(receipt: &Receipt) -> Self {
        match receipt {
            Receipt::Confirmed(confirmed) => Self::Confirmed {
                id: confirmed.id.to_string(),
                durability: durability_word(confirmed.durability).to_owned(),
                duplicate: confirmed.duplicate,
            },
            Receipt::Handed(id) => Self::Handed { id: id.to_string() },
            _ => Self::Unclaimed,
        }
    }
}

impl ReceiptLine {
    pub(super) fn receipt(self) -> Result<Receipt, String> {
        Ok(match self {
            Self::Confirmed { id, durability, duplicate } => {
                let known =
                    durability_of(&durability).ok_or_else(|| format!("unknown durability {durability:?}"))?;
                let confirmed = Confirmed::new(MessageId::from(id.as_str()), known);
                Receipt::Confirmed(if duplicate { confirmed.as_duplicate() } else { confirmed })
            }
            Self::Handed { id } => Receipt::Handed(MessageId::from(id.as_str())),
            Self::Unclaimed => Receipt::Unclaimed,
        })
    }
}

/// Live within this time; none: eventually.
const fn start_of(live_ms: Option<u64>) -> Start {
    match live_ms {
        Some(ms) => Start::Live(Duration::from_millis(ms)),
        None => Start::Eventually,
    }
}

fn live_ms(start: Start) -> Option<u64> {
    match start {
        Start::Live(within) => Some(millis(within)),
        Start::Eventually => None,
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ConsumeLine {
    credit: u32,
    lease_ms: Option<u64>,
    pub(super) live_ms: Option<u64>,
    label: String,
}

impl From<ConsumeOptions> for ConsumeLine {
    fn from(options: ConsumeOptions) -> Self {
        let lease_ms = options.lease.map(millis);
        Self { credit: options.credit, lease_ms, live_ms: live_ms(options.start), label: options.label }
    }
}

impl ConsumeLine {
    pub(super) fn options(self) -> ConsumeOptions {
        ConsumeOptions::default()
            .with_credit(self.credit)
            .with_lease(self.lease_ms.map(Duration::from_millis))
            .with_start(start_of(self.live_ms))
            .with_label(self.label)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SubscribeLine {
    buffer: u32,
    pub(super) live_ms: Option<u64>,
    label: String,
}

impl From<SubscribeOptions> for SubscribeLine {
    fn from(options: SubscribeOptions) -> Self {
        Self { buffer: options.buffer, live_ms: live_ms(options.start), label: options.label }
    }
}

impl SubscribeLine {
    pub(super) fn options(self) -> SubscribeOptions {
        let options = SubscribeOptions::default().with_buffer(self.buffer);
        options.with_start(start_of(self.live_ms)).with_label(self.label)
    }
}

/// Options of a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct AskLine {
    /// None: for ever.
    deadline_ms: Option<u64>,
    fail_if_nobody: bool,
    many: bool,
    count: Option<u32>,
    send_number: u32,
    at_most_once: bool,
    accept_loss: Vec<String>,
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
            accept_loss: losses(options.accept_loss),
        }
    }
}

impl AskLine {
    pub(super) fn options(&self) -> RequestOptions {
        let within = |ms| Deadline::Within(Duration::from_millis(ms));
        RequestOptions::default()
            .with_deadline(self.deadline_ms.map_or(Deadline::Never, within))
            .with_nobody(if self.fail_if_nobody { Nobody::Fail } else { Nobody::Wait })
            .with_replies(if self.many { Replies::Many(self.count) } else { Replies::One })
            .with_send_number(self.send_number)
            .with_at_most_once(self.at_most_once)
            .with_accept_loss(losses_of(&self.accept_loss))
    }
}

/// Options of a reply.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct AnswerLine {
    pub(super) within_ms: u64,
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

impl AnswerLine {
    pub(super) fn options(self) -> ReplyOptions {
        ReplyOptions::default()
            .with_within(Duration::from_millis(self.within_ms))
            .with_index(self.index)
            .with_last(self.last)
            .with_attempt(self.attempt)
            .with_responder(self.responder)
            .with_error(self.error.map(RemoteError::from))
    }
}
