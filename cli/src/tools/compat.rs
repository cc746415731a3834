//! Named old behaviours (PRISEM services specification, 12).

use std::str::FromStr;

/// The words of `--compat`, a comma list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Compat {
    /// crosscor cuts and cleans labels (D-38).
    pub(super) short_site: bool,
}

/// A word that names no old behaviour.
#[derive(Debug)]
pub(super) struct UnknownWord(String);

impl std::fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no compat word `{}` (gen0, short-site, receipt-time, server-lines)", self.0)
    }
}

impl std::error::Error for UnknownWord {}

impl FromStr for Compat {
    type Err = UnknownWord;

    /// Words of other programs are accepted, so that one list can serve all.
    fn from_str(list: &str) -> Result<Self, UnknownWord> {
        let mut compat = Self::default();
        for word in list.split(',') {
            match word {
                "short-site" => compat.short_site = true,
                "gen0" | "receipt-time" | "server-lines" => {}
                _ => return Err(UnknownWord(word.to_owned())),
            }
        }
        Ok(compat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert!("gen0,short-site".parse::<Compat>().unwrap().short_site);
        assert!(!"gen0".parse::<Compat>().unwrap().short_site);
        for list in ["", "short_site", "short-site,", "x"] {
            assert!(list.parse::<Compat>().is_err(), "{list}");
        }
    }
}
