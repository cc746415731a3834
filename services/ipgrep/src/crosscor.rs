//! The correlation document (PRISEM services specification, 8.1).

use std::io::{self, Write};
use std::str::FromStr;

use jiff::Zoned;

use crate::json::{write_text, write_value};
use crate::map::Map;
use crate::mask::clean_label;
use crate::percent::percent;
use crate::run::{Entry, Tally};
use crate::stats::{LabelCounts, TOTAL};

/// Whose map was used; a tag in the document and nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Iff {
    /// The map of participants.
    Friend,
    /// The map of the others.
    Foe,
}

/// A word other than `friend` and `foe`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is neither friend nor foe")]
pub struct UnknownIff(String);

impl FromStr for Iff {
    type Err = UnknownIff;

    fn from_str(word: &str) -> Result<Self, UnknownIff> {
        match word {
            "friend" => Ok(Self::Friend),
            "foe" => Ok(Self::Foe),
            _ => Err(UnknownIff(word.to_owned())),
        }
    }
}

impl Iff {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Friend => "friend",
            Self::Foe => "foe",
        }
    }
}

/// What a correlation document is made of.
#[derive(Clone, Copy, Debug)]
pub struct Correlation<'a> {
    /// Identifiers of the text, with those beside a match noted.
    pub tally: &'a Tally,
    /// The map that the tally was made with.
    pub map: &'a Map,
    /// The tag; unset is written `unspecified`.
    pub iff: Option<Iff>,
    /// Labels in `matching` are cleaned and cut to the length of the value less two, as the old program did
    /// (D-38, `--compat short-site`).
    pub short_site: bool,
}

impl Correlation<'_> {
    /// Writes the document, dated with a time in the zone that it is to be shown in.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(&self, out: &mut impl Write, date: &Zoned) -> io::Result<()> {
        let iff = self.iff.map_or("unspecified", Iff::as_str);
        let date = date.strftime("%a %b %e %H:%M:%S %Z %Y");
        write!(
            out,
            "{{\"program\": \"crosscor\",\n \"date\": \"{date}\",\n \"iff\": \"{iff}\",\n \"matching\": ["
        )?;
        self.write_matching(out)?;
        write!(out, "\n  ],\n \"nonmatching\": [")?;
        self.write_nonmatching(out)?;
        write!(out, "\n  ],\n \"matching_stats\": [")?;
        self.write_stats(out)?;
        writeln!(out, "\n  ]\n}}")
    }

    fn write_matching(&self, out: &mut impl Write) -> io::Result<()> {
        let mut value = Vec::new();
        for (number, (label, entry)) in self.tally.matching().enumerate() {
            begin_row(out, number, entry, &mut value)?;
            out.write_all(b", \"site\":")?;
            let label = self.map.label(label);
            if self.short_site {
                let clean = clean_label(label);
                write_text(out, clean.get(..value.len().saturating_sub(2)).unwrap_or(&clean))?;
            } else {
                write_text(out, label)?;
            }
            out.write_all(b"}")?;
        }
        Ok(())
    }

    fn write_nonmatching(&self, out: &mut impl Write) -> io::Result<()> {
        let mut value = Vec::new();
        for (number, entry) in self.tally.beside().enumerate() {
            begin_row(out, number, entry, &mut value)?;
            out.write_all(b",\"site\":\"UNKNOWN\"}")?;
        }
        Ok(())
    }

    fn write_stats(&self, out: &mut impl Write) -> io::Result<()> {
        let counts = LabelCounts::new(self.tally, self.map);
        for (label, count) in counts.rows() {
            out.write_all(b"\n   {\"site\":")?;
            write_text(out, label)?;
            write!(out, ",\"count\":\"{count}\",\"percent\":\"{}\"}},", percent(*count, counts.total(), 2))?;
        }
        write!(out, "\n   {{\"site\":\"{TOTAL}\",\"count\":\"{}\",\"percent\":\"100\"}}", counts.total())
    }
}

/// Writes a row up to its value, which is left in `value`.
fn begin_row(out: &mut impl Write, number: usize, entry: Entry<'_>, value: &mut Vec<u8>) -> io::Result<()> {
    out.write_all(if number > 0 { b",\n   {\"ip4\":" } else { b"\n   {\"ip4\":" })?;
    write_value(out, entry, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::Found;
    use crate::map::{LabelId, MapOptions};
    use jiff::Timestamp;
    use jiff::tz::TimeZone;

    fn label_of(map: &Map, found: &Found<'_>) -> Option<LabelId> {
        match found {
            Found::Ip4(address) => map.ip4(*address),
            Found::Host(name) => map.host(name),
            _ => None,
        }
    }

    fn sample() -> (Tally, Map) {
        let rows = "192.0.2.0/24|CITYA\n.city-b.example|Ciudad \"B\" é\n";
        let map = Map::parse(rows.as_bytes(), &MapOptions::default()).unwrap().map;
        let mut tally = Tally::default();
        for found in [Found::Ip4(0xc000_0201), Found::Host(b"www.city-b.example")] {
            tally.add(&found, label_of(&map, &found));
        }
        tally.add(&Found::Ip4(0xcb00_7105), None);
        let index = tally.add(&Found::Ip4(0xcb00_719d), None);
        tally.note_beside(index);
        (tally, map)
    }

    fn written(iff: Option<Iff>, short_site: bool, zone: TimeZone) -> String {
        let (tally, map) = sample();
        let date = Timestamp::from_second(1_392_876_660).unwrap().to_zoned(zone);
        let mut out = Vec::new();
        Correlation { tally: &tally, map: &map, iff, short_site }.write(&mut out, &date).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_layout_to_the_byte() {
        let want = r#"{"program": "crosscor",
 "date": "Thu Feb 20 06:11:00 UTC 2014",
 "iff": "friend",
 "matching": [
   {"ip4":"192.0.2.1", "site":"CITYA"},
   {"ip4":"www.city-b.example", "site":"Ciudad \"B\" é"}
  ],
 "nonmatching": [
   {"ip4":"203.0.113.157","site":"UNKNOWN"}
  ],
 "matching_stats": [
   {"site":"CITYA","count":"1","percent":"50.00"},
   {"site":"Ciudad \"B\" é","count":"1","percent":"50.00"},
   {"site":"ALLSITES","count":"2","percent":"100"}
  ]
}
"#;
        assert_eq!(written("friend".parse().ok(), false, TimeZone::UTC), want);
    }

    #[test]
    fn old_cut_labels() {
        let made = written(Some(Iff::Foe), true, TimeZone::UTC);
        assert!(made.contains(r#"{"ip4":"www.city-b.example", "site":"Ciudad--B---"}"#), "{made}");
        assert!(made.contains(r#"{"site":"Ciudad \"B\" é","count":"1""#), "{made}");
    }

    #[test]
    fn the_date_is_local_and_padded_with_a_blank() {
        let zone = TimeZone::posix("PST8").unwrap();
        assert!(
            written(None, false, zone)
                .contains("\"date\": \"Wed Feb 19 22:11:00 PST 2014\",\n \"iff\": \"unspecified\"")
        );
        let early = Timestamp::from_second(1_391_300_000).unwrap().to_zoned(TimeZone::UTC);
        let mut out = Vec::new();
        let (tally, map) = (Tally::default(), Map::empty());
        Correlation { tally: &tally, map: &map, iff: None, short_site: false }
            .write(&mut out, &early)
            .unwrap();
        let made = String::from_utf8(out).unwrap();
        assert!(made.contains("Sun Feb  2 00:13:20 UTC 2014"), "{made}");
        assert!(made.contains("\"matching\": [\n  ],\n \"nonmatching\": [\n  ],"), "{made}");
        assert!("Friend".parse::<Iff>().is_err());
    }
}
