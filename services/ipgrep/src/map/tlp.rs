//! Audiences and the labels meant for them.

use std::str::FromStr;

/// An audience level of the traffic light protocol, from most to least specific (7.3.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tlp {
    /// Named recipients only.
    Red,
    /// The recipients' organisation only.
    AmberStrict,
    /// The recipients' organisation and its clients.
    Amber,
    /// The community.
    Green,
    /// Everybody; also written `clear`.
    #[default]
    White,
}

/// A word that names no level.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("no TLP level `{0}` (red, amber+strict, amber, green, white or clear)")]
pub struct UnknownLevel(String);

impl FromStr for Tlp {
    type Err = UnknownLevel;

    fn from_str(word: &str) -> Result<Self, UnknownLevel> {
        let lower = word.trim().to_ascii_lowercase();
        let level = lower.strip_prefix("tlp:").map_or(lower.as_str(), str::trim_start);
        match level {
            "red" => Ok(Self::Red),
            "amber+strict" => Ok(Self::AmberStrict),
            "amber" => Ok(Self::Amber),
            "green" => Ok(Self::Green),
            "white" | "clear" => Ok(Self::White),
            _ => Err(UnknownLevel(word.to_owned())),
        }
    }
}

impl Tlp {
    /// The level as it is written in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::AmberStrict => "amber+strict",
            Self::Amber => "amber",
            Self::Green => "green",
            Self::White => "white",
        }
    }
}

/// The labels of one entry, one a level at most.
#[derive(Debug, Default)]
pub(super) struct TlpLabels([Option<String>; 5]);

impl TlpLabels {
    /// What is shown when no label is generic enough for the audience.
    pub(super) const NOBODY: &'static str = "ANON";

    /// Sets the label of a level; tells whether it had none before.
    pub(super) fn set(&mut self, level: Tlp, label: &str) -> bool {
        let place = &mut self.0[level as usize];
        let first = place.is_none();
        *place = Some(label.to_owned());
        first
    }

    /// The label for an audience: of its level, else of the next less specific one. Never of a more specific one.
    pub(super) fn choose(&self, audience: Tlp) -> &str {
        self.0[audience as usize..].iter().flatten().next().map_or(Self::NOBODY, String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_in_any_case_and_with_prefix() {
        let written = [("red", Tlp::Red), ("TLP:Amber+Strict", Tlp::AmberStrict), ("tlp: AMBER", Tlp::Amber)];
        let white = [(" Green ", Tlp::Green), ("white", Tlp::White), ("TLP:CLEAR", Tlp::White)];
        for (word, level) in written.into_iter().chain(white) {
            assert_eq!(word.parse(), Ok(level), "{word}");
        }
        assert!("blue".parse::<Tlp>().is_err());
        assert!("".parse::<Tlp>().is_err());
    }

    #[test]
    fn the_choice_never_becomes_more_specific() {
        let mut labels = TlpLabels::default();
        assert!(labels.set(Tlp::Red, "R"));
        assert!(labels.set(Tlp::Green, "G"));
        assert!(!labels.set(Tlp::Green, "G2"));
        let chosen = [Tlp::Red, Tlp::AmberStrict, Tlp::Amber, Tlp::Green, Tlp::White]
            .map(|level| labels.choose(level));
        assert_eq!(chosen, ["R", "G2", "G2", "G2", "ANON"]);
    }
}
