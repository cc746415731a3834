//! Network maps: who an address or a name belongs to, and what outsiders may see of it.
//!
//! Source: PRISEM services specification, 7.3. A [`Map`] is read once, is then immutable and shared between
//! threads, and answers every question without allocating.

mod builder;
mod domains;
mod error;
mod find;
mod form;
mod key;
mod sites;
mod table4;
mod table6;
mod text;
mod tlp;
mod yaml;

#[cfg(test)]
mod oracle_tests;

pub use error::{Broken, BrokenRow, MapError};
pub use find::find_map;
pub use form::MapFormat;
pub use tlp::Tlp;

use std::str::FromStr;

use domains::Domains;
use table4::Table4;
use table6::Table6;

/// A label of a map, by number: labels of equal text have equal numbers, whatever rules they come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelId(u32);

impl LabelId {
    /// The number as an index: less than [`Map::label_count`] of the map that gave it.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Which of a rule's two names becomes its label (7.3.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LabelChoice {
    /// What outsiders may see: `AnonString`, or the TLP label for the audience.
    #[default]
    Anonymous,
    /// Who it is: `SiteID`, or the key of the entry.
    Site,
}

/// A word that names no choice of labels.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("no label choice `{0}` (anonymous or site)")]
pub struct UnknownLabelChoice(String);

impl FromStr for LabelChoice {
    type Err = UnknownLabelChoice;

    fn from_str(word: &str) -> Result<Self, UnknownLabelChoice> {
        match word {
            "anonymous" => Ok(Self::Anonymous),
            "site" => Ok(Self::Site),
            _ => Err(UnknownLabelChoice(word.to_owned())),
        }
    }
}

/// How a map file is to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MapOptions {
    /// The form of the file; guessed from its first line by default (7.3.3).
    pub format: MapFormat,
    /// The audience that the labels are for (7.3.4).
    pub tlp: Tlp,
    /// Public label or identity.
    pub label: LabelChoice,
}

/// A map with the account of what was skipped while it was read.
#[derive(Debug)]
pub struct Loaded {
    /// The map, which may be empty.
    pub map: Map,
    /// Rows and entries that gave no rule.
    pub broken: Broken,
}

/// Rules that give labels to identifiers: the longest prefix wins, among equals the first in the file (7.3.5).
#[derive(Debug)]
pub struct Map {
    labels: Vec<Box<str>>,
    rules: usize,
    v4: Table4,
    v6: Table6,
    domains: Domains,
}

/// Whether a text is a valid key of a rule (7.3.2).
pub(crate) fn is_key(text: &str) -> bool {
    key::Key::parse(text).is_some()
}

/// The well-known prefix under which translators show IPv4 addresses (RFC 6052).
const NAT64: u128 = 0x0064_ff9b << 96;

impl Map {
    /// Reads a map file.
    ///
    /// Rows that are no rules are skipped and accounted for in [`Loaded::broken`]; they never fail the load.
    ///
    /// # Errors
    /// [`MapError`] if a file of the YAML form is not YAML, or not one mapping.
    pub fn parse(bytes: &[u8], options: &MapOptions) -> Result<Loaded, MapError> {
        let text = String::from_utf8_lossy(bytes);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let mut builder = builder::Builder::default();
        if options.format.is_yaml(text) {
            sites::read(text, *options, &mut builder)?;
        } else {
            text::read(text, options.label, &mut builder);
        }
        Ok(builder.finish())
    }

    /// A map without rules: it matches nothing.
    #[must_use]
    pub fn empty() -> Self {
        builder::Builder::default().finish().map
    }

    /// Whether there is no valid rule at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules == 0
    }

    /// How many rules were read, repeated ones included.
    #[must_use]
    pub fn rule_count(&self) -> usize {
        self.rules
    }

    /// How many different labels there are.
    #[must_use]
    pub fn label_count(&self) -> usize {
        self.labels.len()
    }

    /// The text of a label of this map; empty for a number of another map.
    #[must_use]
    pub fn label(&self, id: LabelId) -> &str {
        self.labels.get(id.index()).map_or("", |label| label)
    }

    /// All labels, in the order of their first rules.
    pub fn labels(&self) -> impl Iterator<Item = (LabelId, &str)> {
        (0..).map(LabelId).zip(self.labels.iter().map(AsRef::as_ref))
    }

    /// The label of an IPv4 value.
    #[must_use]
    #[inline]
    pub fn ip4(&self, address: u32) -> Option<LabelId> {
        self.v4.find(address)
    }

    /// The labels of many IPv4 values, in order. `room` is for numbers meanwhile.
    #[inline]
    pub(crate) fn ip4_all(
        &self,
        addresses: impl Iterator<Item = u32> + Clone,
        room: &mut Vec<u32>,
        give: impl FnMut(Option<LabelId>),
    ) {
        self.v4.find_all(addresses, room, give);
    }

    /// The label of an IPv6 value. One that embeds an IPv4 address and that no IPv6 rule covers is looked up by
    /// that address.
    #[must_use]
    pub fn ip6(&self, address: u128) -> Option<LabelId> {
        let (native, embedded) = ways_to_look_up(address);
        let found = if native { self.v6.find(address) } else { None };
        found.or_else(|| embedded.and_then(|v4| self.v4.find(v4)))
    }

    /// The label of a host name, which must be in lower case and without a final dot.
    #[must_use]
    #[inline]
    pub fn host(&self, name: &[u8]) -> Option<LabelId> {
        self.domains.find(name)
    }

    /// Whether there are rules for names that end in the last byte of this one, in whatever case.
    #[inline]
    pub(crate) fn has_names_like(&self, name: &[u8]) -> bool {
        self.domains.may_hold(name)
    }

    /// The label of an IPv4 block: that of the longest rule that covers all of it.
    #[must_use]
    pub fn cidr4(&self, net: u32, len: u8) -> Option<LabelId> {
        self.v4.find_block(net, len)
    }

    /// The label of an IPv6 block: that of the longest rule that covers all of it, by the same fallback as
    /// [`Map::ip6`] for a block of embedded IPv4 addresses.
    #[must_use]
    pub fn cidr6(&self, net: u128, len: u8) -> Option<LabelId> {
        let (native, embedded) = ways_to_look_up(net);
        let found = if native || len < 96 { self.v6.find_block(net, len) } else { None };
        found.or_else(|| {
            let len = len.checked_sub(96)?;
            embedded.and_then(|v4| self.v4.find_block(v4, len))
        })
    }
}

/// Whether IPv6 rules serve the address, and the IPv4 address that it embeds (7.3.5).
fn ways_to_look_up(address: u128) -> (bool, Option<u32>) {
    let low = lower32(address);
    match address >> 32 {
        0xffff => (false, Some(low)),
        0 if low > 0xffff => (true, Some(low)),
        high if high == NAT64 >> 32 => (true, Some(low)),
        _ => (true, None),
    }
}

/// The last 32 bits of an address.
#[allow(clippy::cast_possible_truncation)] // cutting is what it is for
fn lower32(address: u128) -> u32 {
    address as u32
}
