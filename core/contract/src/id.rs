//! Message ids.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use uuid::Uuid;

/// The identity of a message: stable through retry, dead letter, redrive and bridge (A7).
///
/// Our own are UUIDs of version 7 (RFC 9562). A foreign id is any text and comes out as it went in.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
// A tag of eight bytes: the UUID lies aligned behind it and is copied in whole words.
#[repr(u64)]
pub enum MessageId {
    /// A UUID, 16 bytes.
    Uuid(Uuid),
    /// A foreign id that is not a UUID in its canonical form.
    Text(Arc<str>),
}

impl MessageId {
    /// A fresh id (UUID version 7: sortable by time of creation).
    #[must_use]
    pub fn fresh() -> Self {
        Self::Uuid(Uuid::now_v7())
    }
}

impl From<Uuid> for MessageId {
    fn from(id: Uuid) -> Self {
        Self::Uuid(id)
    }
}

impl From<&str> for MessageId {
    /// Only the canonical form (lower case, hyphens) becomes [`MessageId::Uuid`]; any other spelling stays text, so
    /// that writing it out again gives the same bytes.
    fn from(text: &str) -> Self {
        match Uuid::from_str(text) {
            Ok(id) if id.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text => Self::Uuid(id),
            _ => Self::Text(text.into()),
        }
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(id) => id.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(id) => id.fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a7_foreign_spellings_survive() {
        let canonical = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert!(matches!(MessageId::from(canonical), MessageId::Uuid(_)));
        for text in
            [canonical, "01890A5D-AC96-774B-BCCE-B302099A8057", "01890a5dac96774bbcceb302099a8057", "", "42"]
        {
            assert_eq!(MessageId::from(text).to_string(), text);
        }
        assert_ne!(MessageId::fresh(), MessageId::fresh());
    }
}
