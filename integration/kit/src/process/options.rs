//! Options and receipts on the line.

use std::time::Duration;

use polybus_contract::{
    Confirmed, ConsumeOptions, Fidelity, MessageId, Property, PublishOptions, Receipt, RequestOptions, Start,
    SubscribeOptions,
};
use polybus_lines::{durability_of, durability_word, millis};
use serde::{Deserialize, Serialize};

fn losses(fidelity: Fidelity) -> Vec<String> {
    fidelity.iter().map(|property| property.name().to_owned()).collect()
}

fn losses_of(words: &[String]) -> Fidelity {
    let is = |property: &&Property| words.iter().any(|word| word == property.name());
    Property::ALL.iter().filter(is).copied().collect()
}

/// Options of a publish, with the losses that the caller accepts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PublishLine {
    #[serde(flatten)]
    line: polybus_lines::PublishLine,
    accept_loss: Vec<String>,
}

impl From<&PublishOptions> for PublishLine {
    fn from(options: &PublishOptions) -> Self {
        Self { line: options.into(), accept_loss: losses(options.accept_loss) }
    }
}

impl PublishLine {
    pub(super) fn options(&self) -> Result<PublishOptions, String> {
        Ok(self.line.options()?.with_accept_loss(losses_of(&self.accept_loss)))
    }
}

/// Options of a request, with the losses that the caller accepts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct AskLine {
    #[serde(flatten)]
    line: polybus_lines::AskLine,
    accept_loss: Vec<String>,
}

impl From<&RequestOptions> for AskLine {
    fn from(options: &RequestOptions) -> Self {
        Self { line: options.into(), accept_loss: losses(options.accept_loss) }
    }
}

impl AskLine {
    pub(super) fn options(&self) -> RequestOptions {
        self.line.options().with_accept_loss(losses_of(&self.accept_loss))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k9_accepted_losses_stand_beside_the_other_options() {
        let losses = Fidelity::none().with(Property::Sender);
        let publish = PublishOptions::default().with_accept_loss(losses);
        let line = serde_json::to_string(&PublishLine::from(&publish)).unwrap();
        let text = concat!(
            r#"{"confirm":"required","within_ms":10000,"wait_when_full":false,"delay_ms":null,"send_number":0,"#,
            r#""accept_loss":["sender"]}"#,
        );
        assert_eq!(line, text);
        let again: PublishLine = serde_json::from_str(&line).unwrap();
        assert_eq!(again.options().unwrap().accept_loss, losses);

        let request = RequestOptions::default().with_accept_loss(losses);
        let line = serde_json::to_string(&AskLine::from(&request)).unwrap();
        let text = concat!(
            r#"{"deadline_ms":30000,"fail_if_nobody":false,"many":false,"count":null,"send_number":0,"#,
            r#""at_most_once":false,"accept_loss":["sender"]}"#,
        );
        assert_eq!(line, text);
        let again: AskLine = serde_json::from_str(&line).unwrap();
        assert_eq!(again.options().accept_loss, losses);
    }
}
