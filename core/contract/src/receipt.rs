//! What a publish is worth.

use crate::id::MessageId;
use crate::topology::Durability;

/// The bus has taken responsibility for the message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Confirmed {
    /// Under which id.
    pub id: MessageId,
    /// What the copy survives.
    pub durability: Durability,
    /// The bus had it already and stored nothing new.
    pub duplicate: bool,
}

impl Confirmed {
    /// A confirmation.
    #[must_use]
    pub const fn new(id: MessageId, durability: Durability) -> Self {
        Self { id, durability, duplicate: false }
    }

    /// The same, for a message the bus had already.
    #[must_use]
    pub const fn as_duplicate(mut self) -> Self {
        self.duplicate = true;
        self
    }
}

/// The outcome of a publish or a reply. An enum, because a confirmation with "level: none" would be a lie with a
/// good name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Receipt {
    /// Confirmed.
    Confirmed(Confirmed),
    /// Handed to the wire; nobody will say what became of it.
    Handed(MessageId),
    /// A reply whose caller is gone. Success for a worker: as an error it would repeat work already done.
    Unclaimed,
}

impl Receipt {
    /// The confirmation, if there is one.
    #[must_use]
    pub fn confirmed(self) -> Option<Confirmed> {
        match self {
            Self::Confirmed(confirmed) => Some(confirmed),
            Self::Handed(_) | Self::Unclaimed => None,
        }
    }
}
