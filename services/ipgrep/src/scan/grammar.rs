//! What counts as an identifier: the choices that an operator has.

use std::str::FromStr;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::ident::Classes;
use crate::map::Map;

/// Which names count as host names: the value of `--dns` (PRISEM services specification, 7.2.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Dns {
    /// Names that end in a file suffix do not, unless the map covers them.
    #[default]
    Strict,
    /// They do where nothing else is found. For lists only: an address inside a file name may be swallowed.
    Loose,
}

/// A word that is neither `strict` nor `loose`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unknown way to read names {0:?}: use strict or loose")]
pub struct DnsError(String);

impl FromStr for Dns {
    type Err = DnsError;

    fn from_str(word: &str) -> Result<Self, DnsError> {
        match word {
            "strict" => Ok(Self::Strict),
            "loose" => Ok(Self::Loose),
            other => Err(DnsError(other.to_owned())),
        }
    }
}

/// Top-level domains that count: the list of `--tlds` (PRISEM services specification, 7.8.7).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tlds(FxHashSet<Box<[u8]>>);

impl Tlds {
    /// Reads one name a line, in any case and with or without a leading dot. Blank lines and lines that begin
    /// with `#` are skipped.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(
            lines.map(|line| line.trim_start_matches('.').to_ascii_lowercase().into_bytes().into()).collect(),
        )
    }

    /// Whether a lower-case label is in the list.
    pub(super) fn contains(&self, label: &[u8]) -> bool {
        self.0.contains(label)
    }
}

/// What to seek.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Grammar {
    /// The classes of identifiers.
    pub classes: Classes,
    /// How names with a file suffix are taken.
    pub dns: Dns,
    /// If set, last labels count by this list instead of by the file suffixes.
    pub tlds: Option<Arc<Tlds>>,
}

/// Knows which names a rule covers, whatever they end in.
pub trait Covers {
    /// Whether a rule covers this lower-case name.
    fn covers(&self, name: &[u8]) -> bool;
}

impl Covers for Map {
    #[inline]
    fn covers(&self, name: &[u8]) -> bool {
        self.host(name).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_top_level_domains() {
        let tlds = Tlds::parse("# Version 1\nCOM\n\n .example \nxn--p1ai\n");
        assert!(tlds.contains(b"com") && tlds.contains(b"example") && tlds.contains(b"xn--p1ai"));
        assert!(!tlds.contains(b"") && !tlds.contains(b"# version 1"));
    }

    #[test]
    fn words_of_dns() {
        assert_eq!("loose".parse(), Ok(Dns::Loose));
        assert_eq!("Strict".parse::<Dns>(), Err(DnsError("Strict".into())));
    }
}
