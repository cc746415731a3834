//! Text or YAML: the guess of 7.3.3.

use std::str::FromStr;

/// The form of a map file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MapFormat {
    /// Guess it from the first line that is neither blank nor a comment.
    #[default]
    Auto,
    /// Rows of `CIDR_or_domain|SiteID|AnonString`.
    Text,
    /// A site list or user attributes.
    Yaml,
}

/// A word that names no form.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("no map format `{0}` (auto, text or yaml)")]
pub struct UnknownFormat(String);

impl FromStr for MapFormat {
    type Err = UnknownFormat;

    fn from_str(word: &str) -> Result<Self, UnknownFormat> {
        match word {
            "auto" => Ok(Self::Auto),
            "text" => Ok(Self::Text),
            "yaml" => Ok(Self::Yaml),
            _ => Err(UnknownFormat(word.to_owned())),
        }
    }
}

impl MapFormat {
    pub(super) fn is_yaml(self, text: &str) -> bool {
        match self {
            Self::Auto => guess_is_yaml(text),
            Self::Text => false,
            Self::Yaml => true,
        }
    }
}

fn guess_is_yaml(text: &str) -> bool {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    first.is_some_and(|line| {
        ["---", "%YAML", "{"].iter().any(|mark| line.starts_with(mark)) || is_mapping_key(line)
    })
}

/// `[^ \t|#][^|]*:` followed by a blank or the end.
fn is_mapping_key(line: &str) -> bool {
    let Some(first) = line.chars().next().filter(|sign| !" \t|#".contains(*sign)) else { return false };
    let before_bar = line.split('|').next().unwrap_or("");
    let searched = &line[first.len_utf8()..];
    let in_reach = before_bar.len().saturating_sub(first.len_utf8());
    searched[..in_reach]
        .match_indices(':')
        .any(|(at, _)| searched[at + 1..].chars().next().is_none_or(|next| next == ' ' || next == '\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_real_line_decides() {
        let yaml =
            ["---", "--- # x", "%YAML 1.2", "{\"sites\":", "\n# c\n  NO:\n", "a: b", "sites:", "a b c:\td"];
        let text =
            ["", "# only", "192.0.2.0/26|A:|B", "a|b: c", "2001:db8::/32|A|B", ":|x", "|a: b", ": x", "- a"];
        for given in yaml {
            assert!(MapFormat::Auto.is_yaml(given), "{given:?} is YAML");
        }
        for given in text {
            assert!(!MapFormat::Auto.is_yaml(given), "{given:?} is text");
        }
    }

    #[test]
    fn the_option_overrides_the_guess() {
        assert!(!"text".parse::<MapFormat>().unwrap().is_yaml("sites:"));
        assert!("yaml".parse::<MapFormat>().unwrap().is_yaml("a|b|c"));
        assert!("json".parse::<MapFormat>().is_err());
    }
}
