//! The one grammar of names (R-45: a space or a star in a name must never reach a broker).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, Kind, Operation, Result};

/// The longest name in bytes. Prefixes and endings that a transport adds stay within 250.
pub const MAX_NAME: usize = 200;

/// The ending of a queue's dead letters. Such a queue may be consumed, never published to.
pub const DEAD_SUFFIX: &str = ".dead";

const RESERVED_STARTS: [&str; 3] = ["amq.", "_INBOX", "polybus."];

/// The name of a queue, a topic or a group.
///
/// One to 200 bytes: segments of `[A-Za-z0-9_-]+` joined by single dots, for example `cifbulk_v1_0.5.5`. No
/// wildcards. `amq.*`, `_INBOX*` and `polybus.*` are reserved; names ending in `.dead` are derived from a queue.
/// Cloning shares the text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl Name {
    /// Checks `text` against the grammar, before any I/O.
    ///
    /// # Errors
    /// [`Kind::InvalidName`], saying what is wrong and where.
    pub fn new(text: impl AsRef<str>) -> Result<Self> {
        let text = text.as_ref();
        match fault(text) {
            None => Ok(Self(text.into())),
            Some(fault) => Err(invalid(text, &fault)),
        }
    }

    /// The text, byte for byte as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The queue of dead letters that belongs to this queue: the name with `.dead` behind it.
    ///
    /// # Errors
    /// [`Kind::InvalidName`] if that would be longer than a name may be, or if this already is one.
    pub fn dead(&self) -> Result<Self> {
        if self.is_dead() {
            return Err(invalid(&self.0, "it already names dead letters"));
        }
        Self::new(format!("{}{DEAD_SUFFIX}", self.0))
    }

    /// Whether this names the dead letters of a queue.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.0.ends_with(DEAD_SUFFIX)
    }

    /// The queue whose dead letters this names, if it does.
    #[must_use]
    pub fn living(&self) -> Option<Self> {
        self.0.strip_suffix(DEAD_SUFFIX).map(|text| Self(text.into()))
    }
}

fn invalid(text: &str, fault: &str) -> Error {
    let shown: String = text.chars().take(64).flat_map(char::escape_default).collect();
    Error::new(Kind::InvalidName, Operation::Name).with_detail(format!("name \"{shown}\": {fault}"))
}

fn fault(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("it is empty".into());
    }
    if text.len() > MAX_NAME {
        return Some(format!("{} bytes, the limit is {MAX_NAME}", text.len()));
    }
    if let Some(start) = RESERVED_STARTS.iter().find(|start| text.starts_with(**start)) {
        return Some(format!("names beginning with \"{start}\" are reserved"));
    }
    segment_fault(text)
}

fn segment_fault(text: &str) -> Option<String> {
    let mut at = 0;
    for segment in text.split('.') {
        if segment.is_empty() {
            return Some(format!("empty segment at byte {at}; dots stand single, between segments"));
        }
        let bad = segment.bytes().position(|b| !(b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
        if let Some(offset) = bad {
            return Some(format!("byte {} is not a letter, digit, '_', '-' or '.'", at + offset));
        }
        at += segment.len() + 1;
    }
    None
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl TryFrom<&str> for Name {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn b2_grammar() {
        for good in ["a", "anon_0.5.5", "cifbulk_v1_0.5.5", "A-b_c.9", &"x".repeat(200), "logs.dead"] {
            assert_eq!(Name::new(good).unwrap().as_str(), good);
        }
        let long = "x".repeat(201);
        for bad in [
            "",
            " ",
            "a b",
            "a..b",
            ".a",
            "a.",
            "a*",
            "a.>",
            "#",
            "a\r\nb",
            "a/b",
            "ä",
            "amq.fanout",
            "_INBOX.x",
            "polybus.x",
            &long,
        ] {
            assert_eq!(Name::new(bad).unwrap_err().kind(), Kind::InvalidName, "{bad:?}");
        }
    }

    #[test]
    fn dead_letters_need_room_for_their_ending() {
        let name = Name::new("jobs").unwrap();
        assert_eq!(name.dead().unwrap().as_str(), "jobs.dead");
        assert_eq!(name.dead().unwrap().living().unwrap(), name);
        assert!(Name::new("x".repeat(196)).unwrap().dead().is_err());
        assert!(name.dead().unwrap().dead().is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_name_or_a_typed_error(text in ".{0,220}") {
            match Name::new(&text) {
                Ok(name) => prop_assert_eq!(name.as_str(), text.as_str()),
                Err(error) => {
                    prop_assert_eq!(error.kind(), Kind::InvalidName);
                    prop_assert!(!error.to_string().contains('\n'));
                }
            }
        }
    }
}
