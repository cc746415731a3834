//! Makes a text map from a feed table (PRISEM services specification, 11.10).

use std::fmt::Write;
use std::str::FromStr;

use rustc_hash::FxHashSet;
use thiserror::Error;

use crate::map::{self, Broken};

/// What the labels of the new map are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    /// Autonomous system: its number and the first word of its text.
    Asn,
    /// Regional registry and country code.
    Rir,
}

/// A word that names no kind of feed.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("no feed `{0}` (asn or rir)")]
pub struct UnknownFeed(String);

impl FromStr for Feed {
    type Err = UnknownFeed;

    fn from_str(word: &str) -> Result<Self, UnknownFeed> {
        match word {
            "asn" => Ok(Self::Asn),
            "rir" => Ok(Self::Rir),
            _ => Err(UnknownFeed(word.to_owned())),
        }
    }
}

/// A table that makes no map.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BuildMapError {
    /// No line names a column `prefix` or `address`.
    #[error("no title row with a column `prefix` or `address`")]
    NoTitles,
    /// A column that the labels need is missing.
    #[error("the table has no column `{0}`")]
    NoColumn(&'static str),
    /// Not one row has a valid key.
    #[error("no usable row ({skipped} skipped)")]
    Empty {
        /// Rows without a valid key or label.
        skipped: usize,
    },
}

/// A new map and the account of skipped rows.
#[derive(Debug)]
pub struct BuiltMap {
    /// Rows of `key|label|label`, each once, in the order of the table.
    pub text: String,
    /// Rows without a valid key or without a label.
    pub skipped: Broken,
}

/// Reads a table with `|` between its columns, which are found by their titles in any case. Lines before the title
/// row are preamble; a key is taken from `prefix`, else from `address`.
///
/// The number of an autonomous system stands in `asn` (`64500` or `AS64500`), its text in `asn_desc`, `asn_text` or
/// `asn_name`, else behind the number.
///
/// # Errors
/// [`BuildMapError`] if nothing can be made of the table.
pub fn build_map(table: &[u8], feed: Feed) -> Result<BuiltMap, BuildMapError> {
    let table = String::from_utf8_lossy(table);
    let mut lines = (1..).zip(table.strip_prefix('\u{feff}').unwrap_or(&table).lines());
    let columns = lines.by_ref().find_map(|(_, line)| Columns::read(line)).ok_or(BuildMapError::NoTitles)?;
    columns.check(feed)?;
    let mut made = BuiltMap { text: String::new(), skipped: Broken::default() };
    let mut seen = FxHashSet::default();
    for (line, row) in lines.filter(|(_, row)| !row.trim().is_empty() && !row.trim().starts_with('#')) {
        match columns.row(row, feed) {
            Ok(rule) => {
                if seen.insert(rule.clone()) {
                    // Writing to a String cannot fail.
                    let _written = writeln!(made.text, "{rule}");
                }
            }
            Err(why) => made.skipped.add(line, || why.to_owned()),
        }
    }
    if made.text.is_empty() { Err(BuildMapError::Empty { skipped: made.skipped.count() }) } else { Ok(made) }
}

/// Titles, trimmed and in lower case, by place.
struct Columns(Vec<String>);

impl Columns {
    /// Reads a title row; `None` for other lines.
    fn read(line: &str) -> Option<Self> {
        let title = |cell: &str| cell.trim().trim_start_matches('#').trim_start().to_ascii_lowercase();
        let titles = Self(line.split('|').map(title).collect());
        let has_key = titles.0.iter().any(|title| title == "prefix" || title == "address");
        has_key.then_some(titles)
    }

    fn check(&self, feed: Feed) -> Result<(), BuildMapError> {
        let needed: &[&'static str] = match feed {
            Feed::Asn => &["asn"],
            Feed::Rir => &["rir", "cc"],
        };
        let missing = needed.iter().find(|needed| !self.0.iter().any(|title| title == *needed));
        missing.map_or(Ok(()), |column| Err(BuildMapError::NoColumn(column)))
    }

    /// The rule of a row.
    fn row(&self, row: &str, feed: Feed) -> Result<String, &'static str> {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let cell = |title: &str| {
            let place = self.0.iter().position(|known| known == title)?;
            cells.get(place).copied().filter(|cell| !cell.is_empty())
        };
        let key = ["prefix", "address"].iter().find_map(|title| cell(title)).filter(|key| map::is_key(key));
        let key = key.ok_or("no valid key")?;
        let label = match feed {
            Feed::Asn => asn_label(&cell),
            Feed::Rir => cell("rir").zip(cell("cc")).map(|(rir, cc)| format!("{rir}_{cc}")),
        };
        let label = label.ok_or("no label")?;
        Ok(format!("{key}|{label}|{label}"))
    }
}

fn asn_label<'a>(cell: &impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    let asn = cell("asn")?;
    let asn = asn.strip_prefix("AS").or_else(|| asn.strip_prefix("as")).unwrap_or(asn);
    let end = asn.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(asn.len());
    let (number, rest) = asn.split_at(end);
    let text = ["asn_desc", "asn_text", "asn_name"].iter().find_map(|title| cell(title)).unwrap_or(rest);
    if number.is_empty() {
        return None;
    }
    let word = text.split_whitespace().next().map(|word| word.trim_end_matches(','));
    Some(word.map_or_else(|| number.to_owned(), |word| format!("{number}_{word}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_title() {
        let table = "feed of today\n\n# CC | ASN | Prefix | Asn_Desc |RIR\n\
            ZZ|AS64500|203.0.113.0/27|EVILNET, a network|ripencc\n\
            ZZ|64500|203.0.113.0/27|EVILNET other words|ripencc\r\n\
            ZZ|64501 BAD-NET, ZZ|2001:db8::/32||arin\n\
            ZZ|none|192.0.2.1|x|\n\
            ZZ|64502|nowhere|x|arin\nshort\n";
        let made = build_map(table.as_bytes(), Feed::Asn).unwrap();
        assert_eq!(
            made.text,
            "203.0.113.0/27|64500_EVILNET|64500_EVILNET\n2001:db8::/32|64501_BAD-NET|64501_BAD-NET\n"
        );
        let lines: Vec<_> = made.skipped.rows().iter().map(|row| row.line).collect();
        assert_eq!(lines, [7, 8, 9]);
        let made = build_map(table.as_bytes(), Feed::Rir).unwrap();
        assert_eq!(made.text, "203.0.113.0/27|ripencc_ZZ|ripencc_ZZ\n2001:db8::/32|arin_ZZ|arin_ZZ\n");
    }

    #[test]
    fn what_was_built_can_be_read() {
        let made = build_map(b"address|asn\n192.0.2.7|64500\n", Feed::Asn).unwrap();
        let map = crate::Map::parse(made.text.as_bytes(), &crate::MapOptions::default()).unwrap().map;
        assert_eq!(map.ip4(0xc000_0207).map(|id| map.label(id)), Some("64500"));
    }

    #[test]
    fn tables_that_make_no_map() {
        let refused = |table: &str, feed| build_map(table.as_bytes(), feed).unwrap_err();
        assert_eq!(refused("", Feed::Asn), BuildMapError::NoTitles);
        assert_eq!(refused("prefix|asn\n192.0.2.0/24|1", Feed::Rir), BuildMapError::NoColumn("rir"));
        assert_eq!(refused("prefix|asn\nx|1\n", Feed::Asn), BuildMapError::Empty { skipped: 1 });
        assert!("bgp".parse::<Feed>().is_err());
    }
}
