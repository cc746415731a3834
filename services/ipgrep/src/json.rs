//! The classification object (PRISEM services specification, 7.6).

use std::io::{self, Write};

use crate::map::{LabelId, Map};
use crate::run::{Entry, Tally};
use crate::stats::{LabelCounts, TOTAL};

/// What is shown for matching identifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Their values.
    Values,
    /// `<label>_<n>`, n counting from 1 per label in order of first appearance.
    Numbers,
}

/// Writes the classification of a text as one compact object and LF.
///
/// # Errors
/// Those of the writer.
pub fn write_classification(out: &mut impl Write, tally: &Tally, map: &Map, shown: Shown) -> io::Result<()> {
    out.write_all(b"{\"matching\":{")?;
    for (number, (label, entries)) in by_label(tally, map).iter().enumerate() {
        comma(out, number)?;
        write_text(out, map.label(*label))?;
        out.write_all(b":{")?;
        write_group(out, entries, map.label(*label), shown)?;
        out.write_all(b"}")?;
    }
    out.write_all(b"},\"nonmatching\":{")?;
    let mut value = Vec::new();
    for (number, entry) in tally.nonmatching().enumerate() {
        comma(out, number)?;
        write_value(out, entry, &mut value)?;
        write!(out, ":{}", entry.count())?;
    }
    out.write_all(b"},\"matchingstats\":{")?;
    let counts = LabelCounts::new(tally, map);
    for (label, count) in counts.rows() {
        write_text(out, label)?;
        write!(out, ":{count},")?;
    }
    writeln!(out, "\"{TOTAL}\":{}}}}}", counts.total())
}

/// Matching identifiers by label; labels and identifiers in order of first appearance.
fn by_label<'a>(tally: &'a Tally, map: &Map) -> Vec<(LabelId, Vec<Entry<'a>>)> {
    let mut places = vec![usize::MAX; map.label_count()];
    let mut groups: Vec<(LabelId, Vec<Entry<'a>>)> = Vec::new();
    for (label, entry) in tally.matching() {
        let place = &mut places[label.index()];
        if *place == usize::MAX {
            *place = groups.len();
            groups.push((label, Vec::new()));
        }
        groups[*place].1.push(entry);
    }
    groups
}

fn write_group(out: &mut impl Write, entries: &[Entry<'_>], label: &str, shown: Shown) -> io::Result<()> {
    let mut value = Vec::new();
    for (number, entry) in entries.iter().enumerate() {
        comma(out, number)?;
        match shown {
            Shown::Values => write_value(out, *entry, &mut value)?,
            Shown::Numbers => write_text(out, &format!("{label}_{}", number + 1))?,
        }
        write!(out, ":{}", entry.count())?;
    }
    Ok(())
}

fn comma(out: &mut impl Write, number: usize) -> io::Result<()> {
    if number > 0 { out.write_all(b",") } else { Ok(()) }
}

/// Writes the value of an identifier as a JSON text; `scratch` is memory to work in.
pub(crate) fn write_value(out: &mut impl Write, entry: Entry<'_>, scratch: &mut Vec<u8>) -> io::Result<()> {
    scratch.clear();
    entry.write_value(scratch);
    // Only the path of a URL can hold bytes that are not UTF-8.
    write_text(out, &String::from_utf8_lossy(scratch))
}

/// Writes a JSON text with the shortest escapes, UTF-8 otherwise.
pub(crate) fn write_text(out: &mut impl Write, text: &str) -> io::Result<()> {
    serde_json::to_writer(out, text).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::{Authority, Found};
    use crate::map::MapOptions;

    fn label_of(map: &Map, found: &Found<'_>) -> Option<LabelId> {
        match found {
            Found::Ip4(address) => map.ip4(*address),
            Found::Host(name) => map.host(name),
            _ => None,
        }
    }

    fn written(shown: Shown) -> String {
        let map = Map::parse("192.0.2.0/24|B\"\\\u{1}é\n.a.example|A".as_bytes(), &MapOptions::default())
            .unwrap()
            .map;
        let mut tally = Tally::default();
        let url = Found::Url {
            scheme: "ftp",
            user: b"",
            authority: Authority::Host(b"c.example"),
            rest: b"/\xff\xc3\xa9",
        };
        let hosts = ["x.a.example", "a.example", "x.a.example"].map(|name| Found::Host(name.as_bytes()));
        for found in [url, Found::Ip4(0xc000_0201)].into_iter().chain(hosts) {
            let label = label_of(&map, &found);
            tally.add(&found, label);
        }
        let mut out = Vec::new();
        write_classification(&mut out, &tally, &map, shown).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn compact_in_order_of_appearance() {
        let want = r#"{"matching":{"B\"\\\u0001é":{"192.0.2.1":1},"A":{"x.a.example":2,"a.example":1}},"nonmatching":{"ftp://c.example/�é":1},"matchingstats":{"A":2,"B\"\\\u0001é":1,"ALLSITES":3}}"#;
        assert_eq!(written(Shown::Values), format!("{want}\n"));
    }

    #[test]
    fn numbers_hide_what_matches() {
        let want = r#"{"matching":{"B\"\\\u0001é":{"B\"\\\u0001é_1":1},"A":{"A_1":2,"A_2":1}},"#;
        assert!(written(Shown::Numbers).starts_with(want));
    }

    #[test]
    fn nothing_found() {
        let mut out = Vec::new();
        write_classification(&mut out, &Tally::default(), &Map::empty(), Shown::Values).unwrap();
        assert_eq!(out, b"{\"matching\":{},\"nonmatching\":{},\"matchingstats\":{\"ALLSITES\":0}}\n");
    }

    #[test]
    fn escapes_are_the_shortest() {
        let mut out = Vec::new();
        write_text(&mut out, "\u{8}\t\n\u{c}\r\"\\/\u{b}\u{7f}\u{2028}\u{1f}é").unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\"\\b\\t\\n\\f\\r\\\"\\\\/\\u000b\u{7f}\u{2028}\\u001fé\""
        );
    }
}
