//! Counts of the different identifiers of a text, in order of first appearance.
//!
//! Everything that is printed about a text besides its lines is made from a [`Tally`]: lists (7.1), the statistics
//! block (7.5), the classification object (7.6) and the correlation document (7.7, 8.1) of the PRISEM services
//! specification. It takes memory for each different identifier, not for each occurrence.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::ident::{Address, Authority, Found, Kind};
use crate::map::{LabelId, Map};

/// Identifiers with the number of their occurrences, in order of first appearance.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    rows: Vec<Row>,
    ip4: FxHashMap<u32, u32>,
    ip6: FxHashMap<u128, u32>,
    texts: FxHashMap<Arc<[u8]>, u32>,
    beside: Vec<u32>,
    scratch: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Row {
    key: Key,
    label: Option<LabelId>,
    count: u64,
    beside: bool,
}

/// Addresses are kept as numbers; the values of other kinds differ from each other as texts.
#[derive(Clone, Debug)]
enum Key {
    Ip4(u32),
    Ip6(Box<u128>),
    Text(Kind, Arc<[u8]>),
}

/// One identifier of a [`Tally`].
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a>(&'a Row);

impl Entry<'_> {
    /// The kind of the identifier.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.0.key {
            Key::Ip4(_) => Kind::Ip4,
            Key::Ip6(_) => Kind::Ip6,
            Key::Text(kind, _) => kind,
        }
    }

    /// The label that the map gives it; `None` if it does not match.
    #[must_use]
    pub fn label(&self) -> Option<LabelId> {
        self.0.label
    }

    /// How often it occurs; 0 in a run that did not count all identifiers.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.count
    }

    /// Appends its value (7.2.5).
    pub fn write_value(&self, out: &mut Vec<u8>) {
        match &self.0.key {
            Key::Ip4(bits) => Address::Ip4(*bits).write(out),
            Key::Ip6(bits) => Address::Ip6(**bits).write(out),
            Key::Text(_, text) => out.extend_from_slice(text),
        }
    }
}

/// A place in a [`Tally`]: identifiers are numbered in order of first appearance.
pub(crate) type Index = u32;

impl Tally {
    /// How many different identifiers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All identifiers, in order of first appearance.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.rows.iter().map(Entry)
    }

    /// The identifiers that the map gives a label, with it, in order of first appearance.
    pub fn matching(&self) -> impl Iterator<Item = (LabelId, Entry<'_>)> {
        self.entries().filter_map(|entry| Some((entry.label()?, entry)))
    }

    /// The identifiers without a label, in order of first appearance.
    pub fn nonmatching(&self) -> impl Iterator<Item = Entry<'_>> {
        self.entries().filter(|entry| entry.label().is_none())
    }

    /// The identifiers without a label that occur on a line which also holds a match, in order of first such
    /// appearance (7.7). Empty unless the run was asked for them.
    pub fn beside(&self) -> impl Iterator<Item = Entry<'_>> {
        self.beside.iter().map(|index| Entry(&self.rows[*index as usize]))
    }

    /// The identifiers from number `from` on, in order of first appearance.
    pub(crate) fn entries_from(&self, from: usize) -> impl Iterator<Item = Entry<'_>> {
        self.rows.iter().skip(from).map(Entry)
    }

    /// Counts one occurrence.
    #[cfg(test)]
    pub(crate) fn add(&mut self, found: &Found<'_>, label: Option<LabelId>) -> Index {
        let index = self.index_of(found, label);
        self.count(index);
        index
    }

    /// Counts one occurrence of an identifier that is there.
    #[inline]
    pub(crate) fn count(&mut self, index: Index) {
        self.rows[index as usize].count += 1;
    }

    /// The number of an identifier, which is new if it was not there.
    #[inline]
    pub(crate) fn index_of(&mut self, found: &Found<'_>, label: Option<LabelId>) -> Index {
        match *found {
            Found::Ip4(bits) => self.index_of_ip4(bits, label),
            Found::Ip6(bits) => self.index_of_ip6(bits, label),
            Found::Host(name) => self.index_of_text(name, Kind::Host, label),
            _ => self.index_of_value(found, label),
        }
    }

    #[inline]
    fn index_of_ip4(&mut self, bits: u32, label: Option<LabelId>) -> Index {
        if let Some(index) = self.ip4.get(&bits) {
            return *index;
        }
        let index = push(&mut self.rows, Key::Ip4(bits), label);
        self.ip4.insert(bits, index);
        index
    }

    fn index_of_ip6(&mut self, bits: u128, label: Option<LabelId>) -> Index {
        let Self { rows, ip6, .. } = self;
        *ip6.entry(bits).or_insert_with(|| push(rows, Key::Ip6(Box::new(bits)), label))
    }

    fn index_of_text(&mut self, text: &[u8], kind: Kind, label: Option<LabelId>) -> Index {
        if let Some(index) = self.texts.get(text) {
            return *index;
        }
        let text: Arc<[u8]> = text.into();
        let index = push(&mut self.rows, Key::Text(kind, Arc::clone(&text)), label);
        self.texts.insert(text, index);
        index
    }

    fn index_of_value(&mut self, found: &Found<'_>, label: Option<LabelId>) -> Index {
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        found.write_value(&mut text);
        let index = self.index_of_text(&text, found.kind(), label);
        self.scratch = text;
        index
    }

    /// Notes that an identifier without a label stands on a line with a match.
    pub(crate) fn note_beside(&mut self, index: Index) {
        let row = &mut self.rows[index as usize];
        if !row.beside && row.label.is_none() {
            row.beside = true;
            self.beside.push(index);
        }
    }

    /// Adds the counts of the text that follows, so that the result is that of the whole text.
    pub(crate) fn append(&mut self, later: &Self) {
        if self.rows.is_empty() {
            self.clone_from(later);
            return;
        }
        let mut places = Vec::with_capacity(later.rows.len());
        for row in &later.rows {
            let index = self.index_of_row(row);
            self.rows[index as usize].count += row.count;
            places.push(index);
        }
        for index in &later.beside {
            self.note_beside(places[*index as usize]);
        }
    }

    fn index_of_row(&mut self, row: &Row) -> Index {
        match &row.key {
            Key::Ip4(bits) => self.index_of_ip4(*bits, row.label),
            Key::Ip6(bits) => self.index_of_ip6(**bits, row.label),
            Key::Text(kind, text) => self.index_of_text(text, *kind, row.label),
        }
    }
}

/// Row numbers are 32 bits: four thousand million different identifiers do not fit into memory before.
fn push(rows: &mut Vec<Row>, key: Key, label: Option<LabelId>) -> Index {
    let index = Index::try_from(rows.len()).unwrap_or(Index::MAX);
    rows.push(Row { key, label, count: 0, beside: false });
    index
}

/// The label of an identifier: that of its address, its host name, or its block.
pub(crate) fn label_of(map: &Map, found: &Found<'_>) -> Option<LabelId> {
    let address = |address| match address {
        Address::Ip4(bits) => map.ip4(bits),
        Address::Ip6(bits) => map.ip6(bits),
    };
    match *found {
        Found::Ip4(bits) => address(Address::Ip4(bits)),
        Found::Ip6(bits) => address(Address::Ip6(bits)),
        Found::Url { authority: Authority::Address(written), .. } => address(written),
        Found::Host(name)
        | Found::Email { host: name, .. }
        | Found::Url { authority: Authority::Host(name), .. } => map.host(name),
        Found::Cidr { net: Address::Ip4(net), len } => map.cidr4(net, len),
        Found::Cidr { net: Address::Ip6(net), len } => map.cidr6(net, len),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<'a>(entries: impl Iterator<Item = Entry<'a>>) -> Vec<(String, u64)> {
        entries
            .map(|entry| {
                let mut out = Vec::new();
                entry.write_value(&mut out);
                (String::from_utf8(out).unwrap(), entry.count())
            })
            .collect()
    }

    fn sample() -> Tally {
        let mut tally = Tally::default();
        tally.add(&Found::Ip4(0xc000_0201), None);
        tally.add(&Found::Host(b"a.example"), None);
        let index = tally.add(&Found::Ip4(0xc000_0201), None);
        tally.note_beside(index);
        tally.note_beside(index);
        tally
    }

    #[test]
    fn counts_in_order_of_first_appearance() {
        let tally = sample();
        assert_eq!(values(tally.nonmatching()), [("192.0.2.1".into(), 2), ("a.example".into(), 1)]);
        assert_eq!(values(tally.beside()), [("192.0.2.1".into(), 2)]);
        assert_eq!(tally.matching().count(), 0);
    }

    #[test]
    fn appending_is_counting_on() {
        let mut first = sample();
        let mut later = Tally::default();
        later.add(&Found::Ip6(1), None);
        let url =
            Found::Url { scheme: "http", user: b"", authority: Authority::Host(b"b.example"), rest: b"/" };
        later.add(&url, None);
        let index = later.add(&Found::Host(b"a.example"), None);
        later.note_beside(index);
        first.append(&later);
        let want = [("192.0.2.1", 2), ("a.example", 2), ("::1", 1), ("http://b.example/", 1)];
        assert_eq!(values(first.entries()), want.map(|(text, count)| (text.to_owned(), count)));
        assert_eq!(values(first.beside()), [("192.0.2.1".into(), 2), ("a.example".into(), 2)]);
    }
}
