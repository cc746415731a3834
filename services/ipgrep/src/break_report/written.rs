//! The document of a break report.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use serde::Serialize;

use super::{BreakReport, Earlier, Friends, span};

/// What a break report shows.
#[derive(Clone, Debug)]
pub struct BreakOptions {
    /// Longest list; what is cut off is counted under `more`.
    pub top: usize,
    /// Add the identifiers of friends and foes, not only their number.
    pub identifiers: bool,
    /// Mark what this earlier report does not list.
    pub since: Option<Earlier>,
}

impl Default for BreakOptions {
    fn default() -> Self {
        Self { top: 50, identifiers: false, since: None }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    span: span::Written,
    both: Vec<Row<'a>>,
    friends: Vec<Row<'a>>,
    foes: Vec<Row<'a>>,
    unknown: Vec<Row<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    more: BTreeMap<&'static str, usize>,
}

/// An entry of any list; what a list does not have is left out.
#[derive(Default, Serialize)]
struct Row<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip4: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identifiers: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lines: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    talked_to: Option<&'a BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    addresses: Option<&'a BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new: Option<bool>,
}

impl Row<'_> {
    fn name(&self) -> &str {
        self.site.or(self.ip4).unwrap_or("")
    }
}

impl BreakReport {
    /// Writes the report as one JSON object and LF. Lists are in falling order of lines, foes of identifiers; ties
    /// by name.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(&self, out: &mut impl Write, options: &BreakOptions) -> io::Result<()> {
        let mut more = BTreeMap::new();
        let mut list = |name, rows| cut(name, rows, options, &mut more);
        let both = list("both", friend_rows(&self.both, true));
        let friends = list("friends", friend_rows(&self.friends, options.identifiers));
        let foes = list("foes", self.foe_rows(options.identifiers));
        let unknown = list("unknown", self.unknown_rows());
        let document = Document { span: self.span.written(), both, friends, foes, unknown, more };
        serde_json::to_writer(&mut *out, &document)?;
        out.write_all(b"\n")
    }

    fn foe_rows(&self, addresses: bool) -> Vec<Row<'_>> {
        let rows = self.foes.iter().map(|(site, foes)| Row {
            site: Some(site),
            identifiers: Some(foes.identifiers.len()),
            talked_to: Some(&foes.talked_to),
            addresses: addresses.then_some(&foes.identifiers),
            ..Row::default()
        });
        rows.collect()
    }

    fn unknown_rows(&self) -> Vec<Row<'_>> {
        let rows = self.unknown.iter().map(|(value, unknown)| Row {
            ip4: Some(value),
            lines: Some(unknown.lines),
            talked_to: Some(&unknown.talked_to),
            ..Row::default()
        });
        rows.collect()
    }
}

fn friend_rows(sites: &BTreeMap<String, Friends>, addresses: bool) -> Vec<Row<'_>> {
    let rows = sites.iter().map(|(site, friends)| Row {
        site: Some(site),
        identifiers: Some(friends.identifiers.len()),
        lines: Some(friends.lines),
        addresses: addresses.then_some(&friends.identifiers),
        ..Row::default()
    });
    rows.collect()
}

/// Sorts a list, marks what is new, and cuts it.
fn cut<'a>(
    list: &'static str,
    mut rows: Vec<Row<'a>>,
    options: &BreakOptions,
    more: &mut BTreeMap<&'static str, usize>,
) -> Vec<Row<'a>> {
    rows.sort_by(|a, b| {
        let weight = |row: &Row<'_>| Reverse((row.lines, row.identifiers));
        weight(a).cmp(&weight(b)).then_with(|| a.name().cmp(b.name()))
    });
    if let Some(earlier) = &options.since {
        for row in &mut rows {
            row.new = (!earlier.has(list, row.name())).then_some(true);
        }
    }
    if rows.len() > options.top {
        more.insert(list, rows.len() - options.top);
        rows.truncate(options.top);
    }
    rows
}
