//! The YAML forms: site lists and user attributes (7.3.3).

use std::rc::Rc;

use super::builder::Builder;
use super::error::{MapError, shown};
use super::tlp::{Tlp, TlpLabels};
use super::yaml::{self, Document, Node, Value};
use super::{LabelChoice, MapOptions};

/// How many nodes aliases may add to those that the file spells out.
const ALIASED: usize = 1_000_000;

pub(super) fn read(text: &str, options: MapOptions, builder: &mut Builder) -> Result<(), MapError> {
    let document = yaml::parse(text)?;
    Sites { budget: document.nodes + ALIASED, options, builder }.document(&document)
}

type Pairs<'a> = &'a [(Rc<Node>, Rc<Node>)];

struct Sites<'a> {
    budget: usize,
    options: MapOptions,
    builder: &'a mut Builder,
}

impl Sites<'_> {
    fn document(&mut self, document: &Document) -> Result<(), MapError> {
        let root = &document.root;
        let pairs = root.pairs().ok_or(MapError::NotAMapping { line: root.line })?;
        let mut lists = with_key(pairs, "sites").filter_map(Node::pairs).peekable();
        if lists.peek().is_none() {
            return self.entries(pairs);
        }
        lists.try_for_each(|entries| self.entries(entries))
    }

    fn entries(&mut self, entries: Pairs<'_>) -> Result<(), MapError> {
        for (key, value) in entries {
            self.spend(key.line)?;
            let Some(name) = key.text() else {
                self.builder.broken(key.line, || "the key of an entry must be a text".to_owned());
                continue;
            };
            match value.pairs() {
                Some(fields) => self.entry(key.line, name, fields)?,
                None => self.builder.broken(key.line, || format!("entry `{}` is no mapping", shown(name))),
            }
        }
        Ok(())
    }

    fn entry(&mut self, line: usize, name: &str, fields: Pairs<'_>) -> Result<(), MapError> {
        let mut keys = Vec::new();
        for field in ["cidr", "domain"] {
            for node in self.values(fields, field)? {
                self.items(node, &mut keys)?;
            }
        }
        if keys.is_empty() {
            self.builder.broken(line, || format!("entry `{}` has neither cidr nor domain", shown(name)));
            return Ok(());
        }
        let label = self.label(name, fields)?;
        if label.is_empty() {
            self.builder.broken(line, || "an entry without a name has no label".to_owned());
            return Ok(());
        }
        for node in keys {
            match node.text() {
                Some(text) => self.builder.rule(node.line, text.trim(), &label),
                None => self
                    .builder
                    .broken(node.line, || format!("entry `{}`: a rule must be a text", shown(name))),
            }
        }
        Ok(())
    }

    /// The values of a key, in order; a repeated key has several. A mapping without the key has those of the first
    /// mapping that it merges (`<<: *anchor`) and that has the key.
    fn values<'a>(&mut self, fields: Pairs<'a>, wanted: &str) -> Result<Vec<&'a Node>, MapError> {
        let mut found: Vec<&Node> = with_key(fields, wanted).collect();
        let mut merged = with_key(fields, "<<").flat_map(|node| match &node.value {
            Value::List(items) => items.iter().map(|item| &**item).collect(),
            _ => vec![node],
        });
        while found.is_empty()
            && let Some(mapping) = merged.next()
        {
            self.spend(mapping.line)?;
            found = self.values(mapping.pairs().unwrap_or_default(), wanted)?;
        }
        Ok(found)
    }

    /// The elements of a list, or the one scalar, without empty ones.
    fn items<'a>(&mut self, node: &'a Node, keys: &mut Vec<&'a Node>) -> Result<(), MapError> {
        match &node.value {
            Value::List(items) => {
                for item in items {
                    self.spend(node.line)?;
                    keys.extend(Some(&**item).filter(|item| !item.is_nothing()));
                }
            }
            _ => keys.extend(Some(node).filter(|node| !node.is_nothing())),
        }
        Ok(())
    }

    fn label(&mut self, name: &str, fields: Pairs<'_>) -> Result<String, MapError> {
        if self.options.label == LabelChoice::Site {
            return Ok(name.to_owned());
        }
        let mut labels: Option<TlpLabels> = None;
        for tags in self.values(fields, "tlp_tags")?.into_iter().filter(|tags| !tags.is_nothing()) {
            self.tags(tags, labels.get_or_insert_default())?;
        }
        Ok(labels.as_ref().map_or(name, |labels| labels.choose(self.options.tlp)).to_owned())
    }

    /// Reads labels, a mapping or a list of mappings. What cannot be read is reported; it leaves the entry with a
    /// less specific label, never with its name.
    fn tags(&mut self, tags: &Node, labels: &mut TlpLabels) -> Result<(), MapError> {
        match &tags.value {
            Value::Mapping(levels) => {
                levels.iter().try_for_each(|(level, label)| self.tag(level, label, labels))
            }
            Value::List(items) => items.iter().try_for_each(|item| match item.pairs() {
                Some(levels) => levels.iter().try_for_each(|(level, label)| self.tag(level, label, labels)),
                None => self.bad_tag(item, "tlp_tags must hold mappings of a level to a label"),
            }),
            Value::Scalar { .. } => self.bad_tag(tags, "tlp_tags must be a mapping or a list of mappings"),
        }
    }

    fn tag(&mut self, level: &Node, label: &Node, labels: &mut TlpLabels) -> Result<(), MapError> {
        self.spend(level.line)?;
        if label.is_nothing() {
            return Ok(());
        }
        let Some(tlp) = level.text().and_then(|text| text.parse::<Tlp>().ok()) else {
            return self.bad_tag(level, "no TLP level");
        };
        match label.text() {
            Some(text) if labels.set(tlp, text) => Ok(()),
            Some(_) => self.bad_tag(level, "a second label for one TLP level; it replaces the first"),
            None => self.bad_tag(label, "a TLP label must be a text"),
        }
    }

    fn bad_tag(&mut self, node: &Node, why: &str) -> Result<(), MapError> {
        let text = node.text().map(|text| format!(" (`{}`)", shown(text))).unwrap_or_default();
        self.builder.broken(node.line, || format!("{why}{text}"));
        self.spend(node.line)
    }

    /// Counts a visited node. Without aliases every node is visited at most once.
    fn spend(&mut self, line: usize) -> Result<(), MapError> {
        self.budget = self.budget.checked_sub(1).ok_or(MapError::TooManyAliases { line, limit: ALIASED })?;
        Ok(())
    }
}

fn with_key<'a>(pairs: Pairs<'a>, wanted: &str) -> impl Iterator<Item = &'a Node> {
    pairs.iter().filter(move |(key, _)| key.text() == Some(wanted)).map(|(_, value)| &**value)
}

#[cfg(test)]
mod tests {
    use super::super::Map;
    use super::*;

    fn load(text: &str, tlp: Tlp, label: LabelChoice) -> (Map, Vec<usize>) {
        let options = MapOptions { tlp, label, ..MapOptions::default() };
        let loaded = Map::parse(text.as_bytes(), &options).unwrap();
        let lines = loaded.broken.rows().iter().map(|row| row.line).collect();
        (loaded.map, lines)
    }

    fn label_of(map: &Map, last: u32) -> Option<&str> {
        map.ip4(0xc000_0200 | last).map(|id| map.label(id))
    }

    #[test]
    fn tags_as_mapping_as_list_and_absent() {
        let text = "\
sites:
  MAP: {cidr: 192.0.2.1, tlp_tags: {TLP:RED: R, 'amber+strict': S, Clear: C}}
  LIST:
    cidr: 192.0.2.2
    tlp_tags:
    - red: R
    - green: G
  NULL: {cidr: 192.0.2.3, tlp_tags: ~}
  NO: {cidr: 192.0.2.4, tlp_tags: {}}
  0123: {cidr: [192.0.2.5], tlp_tags: []}
  BLANK: {cidr: [192.0.2.6], tlp_tags: }
  RED: {cidr: [192.0.2.7], tlp_tags: {red: R, white: ''}}
  QUOTED: {cidr: [192.0.2.8], tlp_tags: {white: 'NO'}}
";
        let labels = |tlp| {
            let (map, broken) = load(text, tlp, LabelChoice::Anonymous);
            assert!(broken.is_empty(), "{broken:?}");
            (1..=8).map(|last| label_of(&map, last).unwrap().to_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(labels(Tlp::White), "C ANON NULL NO 0123 BLANK ANON NO");
        assert_eq!(labels(Tlp::Green), "C G NULL NO 0123 BLANK ANON NO");
        assert_eq!(labels(Tlp::AmberStrict), "S G NULL NO 0123 BLANK ANON NO");
        assert_eq!(labels(Tlp::Red), "R R NULL NO 0123 BLANK R NO");
        let (map, _) = load(text, Tlp::Red, LabelChoice::Site);
        assert_eq!(label_of(&map, 1), Some("MAP"));
    }

    #[test]
    fn broken_entries_are_named_by_line() {
        let text = "\
sites:
  GOOD: {cidr: [192.0.2.1, 300.1.2.3/8, 80, [a]], domain: ['']}
  EMPTY: {}
  TEXT: hello
  '': {cidr: 192.0.2.2}
  ? [a]
  : {cidr: 192.0.2.3}
  ODD: {cidr: 192.0.2.4, tlp_tags: hidden}
  LEVEL: {cidr: 192.0.2.5, tlp_tags: {blue: B}}
  NONE: {cidr: [], domain: }
";
        let (map, broken) = load(text, Tlp::White, LabelChoice::Anonymous);
        assert_eq!(broken, [2, 2, 2, 3, 4, 5, 6, 8, 9, 10]);
        let labels: Vec<_> = (1..=5).map(|last| label_of(&map, last)).collect();
        assert_eq!(labels, [Some("GOOD"), None, None, Some("ANON"), Some("ANON")]);
    }

    #[test]
    fn without_a_mapping_under_sites_the_document_is_the_list() {
        let (map, broken) = load("sites: [a]\nX: {domain: .x.example}\n", Tlp::White, LabelChoice::Anonymous);
        assert_eq!(map.host(b"a.x.example").map(|id| map.label(id)), Some("X"));
        assert_eq!(broken, [1]);
    }

    #[test]
    fn repeated_keys_aliases_and_merges_all_count() {
        let text = "\
A: {cidr: &nets [192.0.2.1], cidr: 192.0.2.2}
B: {cidr: *nets, domain: [b.example]}
A: {cidr: [192.0.2.3]}
C: &c {domain: [c.example], tlp_tags: {white: W}}
D: {<<: *c, cidr: [192.0.2.4]}
E: {<<: [{cidr: 192.0.2.5}, *c], domain: [e.example]}
";
        let (map, broken) = load(text, Tlp::White, LabelChoice::Anonymous);
        assert!(broken.is_empty(), "{broken:?}");
        let labels: Vec<_> = (1..=5).map(|last| label_of(&map, last)).collect();
        assert_eq!(labels, [Some("A"), Some("A"), Some("A"), Some("W"), Some("W")]);
        assert_eq!(map.host(b"e.example").map(|id| map.label(id)), Some("W"));
    }

    #[test]
    fn aliases_cannot_multiply_without_bound() {
        let nets = (0..2000).map(|host| format!("192.0.{}.{}", host >> 8, host & 255)).collect::<Vec<_>>();
        let first = format!("A: {{cidr: &nets [{}]}}\n", nets.join(", "));
        let text = first + &"B: {cidr: *nets}\n".repeat(2000);
        let merges = (1..30).map(|level| format!("a{level}: &a{level} {{<<: [*a{0}, *a{0}]}}\n", level - 1));
        let doubling = std::iter::once("a0: &a0 {x: y}\n".to_owned()).chain(merges).collect();
        for text in [text, doubling] {
            let refused = Map::parse(text.as_bytes(), &MapOptions::default()).map(|_| ());
            assert!(matches!(refused, Err(MapError::TooManyAliases { .. })));
        }
    }

    #[test]
    fn other_documents_are_refused() {
        for text in ["---\n- a\n", "--- text\n", "---\n", "---\nsites: [unclosed\n  x: {\n", "{a: 1"] {
            assert!(Map::parse(text.as_bytes(), &MapOptions::default()).is_err(), "{text:?}");
        }
    }
}
