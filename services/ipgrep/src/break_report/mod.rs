//! The break report: who of ours met whom of the others (PRISEM services specification, 11.7).

mod earlier;
mod span;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead};

use rustc_hash::FxHashMap;
use serde_json::Value;
use thiserror::Error;

pub use earlier::Earlier;
pub use written::BreakOptions;

use crate::ident::Found;
use crate::map::{Map, MapError, MapOptions};
use crate::run::tally::label_of;
use crate::scan::{Covers, Grammar, Scanner};
use span::Span;

/// A document beside the text that is not what it must be.
#[derive(Debug, Error)]
pub enum BreakError {
    /// The document is not JSON.
    #[error("not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// The document is JSON of another shape.
    #[error("{0}")]
    Shape(&'static str),
    /// The items with hits make no map.
    #[error(transparent)]
    Map(#[from] MapError),
}

/// The maps of a break report.
#[derive(Debug)]
pub struct BreakMaps {
    /// Ours. Who is here is a friend, whatever else it is.
    pub friend: Map,
    /// The others.
    pub foe: Map,
    /// Items with hits in a cifbulk result; see [`BreakMaps::read_hits`]. Empty without one.
    pub hits: Map,
}

impl BreakMaps {
    /// The site of foes that are known only by a cifbulk result.
    pub const HITS: &'static str = "cifbulk";

    /// The items of a cifbulk result (8.3) that have hits, as a map. Items that are no address, block or name are
    /// left out.
    ///
    /// # Errors
    /// [`BreakError`] if the document is no cifbulk result.
    pub fn read_hits(document: &[u8]) -> Result<Map, BreakError> {
        let document: Value = serde_json::from_slice(document)?;
        let results = ["results", "search_results"].iter().find_map(|key| document.get(key)?.as_array());
        let results = results.ok_or(BreakError::Shape("no array `results`: not a cifbulk result"))?;
        let rows = results.iter().filter_map(|result| {
            let item = ["searchitem", "search_item"].iter().find_map(|key| result.get(key)?.as_str())?;
            let hits = ["results", "search_results"].iter().find_map(|key| result.get(key)?.as_array())?;
            let usable = !hits.is_empty() && crate::map::is_key(item);
            usable.then(|| format!("{item}|{}\n", Self::HITS))
        });
        let options = MapOptions { format: crate::MapFormat::Text, ..MapOptions::default() };
        Ok(Map::parse(rows.collect::<String>().as_bytes(), &options)?.map)
    }

    fn friend(&self, found: &Found<'_>) -> Option<&str> {
        label_of(&self.friend, found).map(|id| self.friend.label(id))
    }

    fn foe(&self, found: &Found<'_>) -> Option<&str> {
        let hit = || label_of(&self.hits, found).map(|id| self.hits.label(id));
        label_of(&self.foe, found).map(|id| self.foe.label(id)).or_else(hit)
    }
}

impl Covers for BreakMaps {
    fn covers(&self, name: &[u8]) -> bool {
        [&self.friend, &self.foe, &self.hits].iter().any(|map| map.host(name).is_some())
    }
}

/// A site of ours: its identifiers and the number of lines that hold one.
#[derive(Debug, Default)]
struct Friends {
    identifiers: BTreeSet<String>,
    lines: u64,
}

/// A site of the others: its identifiers, and the friends on their lines.
#[derive(Debug, Default)]
struct Foes {
    identifiers: BTreeSet<String>,
    talked_to: BTreeSet<String>,
}

/// Any other identifier on lines that hold a friend.
#[derive(Debug, Default)]
struct Unknown {
    lines: u64,
    talked_to: BTreeSet<String>,
}

/// Reads a text once, line by line, and notes who stands beside whom. Takes memory for each different identifier.
#[derive(Debug)]
pub struct BreakReport {
    maps: BreakMaps,
    scanner: Scanner,
    span: Span,
    both: BTreeMap<String, Friends>,
    friends: BTreeMap<String, Friends>,
    foes: BTreeMap<String, Foes>,
    unknown: FxHashMap<String, Unknown>,
}

/// One identifier of a line.
struct Met {
    value: String,
    friend: Option<String>,
    foe: Option<String>,
}

impl BreakReport {
    /// A report on nothing yet.
    #[must_use]
    pub fn new(maps: BreakMaps, grammar: Grammar) -> Self {
        Self {
            maps,
            scanner: Scanner::new(grammar),
            span: Span::default(),
            both: BTreeMap::new(),
            friends: BTreeMap::new(),
            foes: BTreeMap::new(),
            unknown: FxHashMap::default(),
        }
    }

    /// Reads an input to its end. A line never continues into the next input.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn read(&mut self, mut input: impl BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        while input.read_until(b'\n', &mut line)? > 0 {
            self.line(&line);
            line.clear();
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) {
        self.span.note(line);
        let met = self.meet(line);
        let friends: BTreeSet<&str> = met.iter().filter_map(|one| one.friend.as_deref()).collect();
        let (mut ours, mut both, mut unknown) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for one in &met {
            match (one.friend.as_deref(), one.foe.as_deref()) {
                (Some(site), Some(_)) => add(&mut self.both, site, &one.value, &mut both),
                (Some(site), None) => add(&mut self.friends, site, &one.value, &mut ours),
                (None, Some(site)) => {
                    let foe = self.foes.entry(site.to_owned()).or_default();
                    foe.identifiers.insert(one.value.clone());
                    foe.talked_to.extend(friends.iter().map(|site| (*site).to_owned()));
                }
                (None, None) if !friends.is_empty() && unknown.insert(one.value.as_str()) => {
                    let other = self.unknown.entry(one.value.clone()).or_default();
                    other.lines += 1;
                    other.talked_to.extend(friends.iter().map(|site| (*site).to_owned()));
                }
                (None, None) => {}
            }
        }
    }

    fn meet(&mut self, line: &[u8]) -> Vec<Met> {
        let Self { maps, scanner, .. } = self;
        let (mut met, mut value) = (Vec::new(), Vec::new());
        scanner.scan(line, maps, |token| {
            value.clear();
            token.write_value(&mut value);
            met.push(Met {
                value: String::from_utf8_lossy(&value).into_owned(),
                friend: maps.friend(&token.found).map(str::to_owned),
                foe: maps.foe(&token.found).map(str::to_owned),
            });
        });
        met
    }
}

/// Notes an identifier of a site; a line counts once for each site that it holds.
fn add<'a>(sites: &mut BTreeMap<String, Friends>, site: &'a str, value: &str, here: &mut BTreeSet<&'a str>) {
    let friends = sites.entry(site.to_owned()).or_default();
    friends.identifiers.insert(value.to_owned());
    friends.lines += u64::from(here.insert(site));
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRIEND: &str = "192.0.2.0/26|CITYA\n192.0.2.64/26|CITYB\n";
    const FOE: &str = "203.0.113.0/27|EVIL\n192.0.2.70|EVIL\n";
    const TEXT: &str = "\
2026/11/02T10:00:00.5 192.0.2.1 192.0.2.2 > 203.0.113.5 198.51.100.7 198.51.100.7
2026-11-01 09:00:00 192.0.2.65 > 203.0.113.6 c2.example.net
2026-11-03 09:00:00 192.0.2.70 > 198.51.100.9
203.0.113.7 > 198.51.100.8
";

    fn map(rows: &str) -> Map {
        Map::parse(rows.as_bytes(), &MapOptions::default()).unwrap().map
    }

    fn report(options: &BreakOptions) -> Value {
        let cif = br#"{"results":[{"searchitem":"c2.example.net","results":[{}]},{"searchitem":"198.51.100.9","results":[]},{"searchitem":"http://x.example/","results":[{}]}]}"#;
        let hits = BreakMaps::read_hits(cif).unwrap();
        let mut report =
            BreakReport::new(BreakMaps { friend: map(FRIEND), foe: map(FOE), hits }, Grammar::default());
        report.read(TEXT.as_bytes()).unwrap();
        let mut out = Vec::new();
        report.write(&mut out, options).unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn friends_foes_both_and_unknown() {
        let want = serde_json::json!({
            "span": {"first": "2026-11-01T09:00:00", "last": "2026-11-03T09:00:00"},
            "both": [{"site": "CITYB", "identifiers": 1, "lines": 1, "addresses": ["192.0.2.70"]}],
            "friends": [
                {"site": "CITYA", "identifiers": 2, "lines": 1},
                {"site": "CITYB", "identifiers": 1, "lines": 1}
            ],
            "foes": [
                {"site": "EVIL", "identifiers": 3, "talked_to": ["CITYA", "CITYB"]},
                {"site": "cifbulk", "identifiers": 1, "talked_to": ["CITYB"]}
            ],
            "unknown": [
                {"ip4": "198.51.100.7", "lines": 1, "talked_to": ["CITYA"]},
                {"ip4": "198.51.100.9", "lines": 1, "talked_to": ["CITYB"]}
            ]
        });
        assert_eq!(report(&BreakOptions::default()), want);
    }

    #[test]
    fn lists_are_cut_and_identifiers_added() {
        let made = report(&BreakOptions { top: 1, identifiers: true, since: None });
        assert_eq!(made["friends"].as_array().unwrap().len(), 1);
        assert_eq!(made["friends"][0]["addresses"], serde_json::json!(["192.0.2.1", "192.0.2.2"]));
        assert_eq!(made["more"], serde_json::json!({"friends": 1, "foes": 1, "unknown": 1}));
    }

    #[test]
    fn what_was_there_before_is_not_new() {
        let earlier =
            br#"{"friends":[{"site":"CITYA"}],"foes":[{"site":"EVIL"}],"unknown":[{"ip4":"198.51.100.7"}]}"#;
        let since = Some(Earlier::parse(earlier).unwrap());
        let made = report(&BreakOptions { since, ..BreakOptions::default() });
        let marks = |list: &str| {
            made[list].as_array().unwrap().iter().map(|row| row.get("new").is_some()).collect::<Vec<_>>()
        };
        assert_eq!((marks("both"), marks("friends")), (vec![true], vec![false, true]));
        assert_eq!((marks("foes"), marks("unknown")), (vec![false, true], vec![false, true]));
        assert!(Earlier::parse(b"[]").is_err());
        assert!(BreakMaps::read_hits(b"{}").is_err());
    }
}
