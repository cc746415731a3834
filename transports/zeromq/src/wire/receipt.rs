//! Receipts on the wire.

use polybus_contract::{Confirmed, MessageId, Receipt};
use polybus_lines::{durability_of, durability_word};
use serde::{Deserialize, Serialize};

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
