//! Domain rules as a tree of labels, walked from the right.

use memchr::memrchr;
use rustc_hash::FxHashMap;

use super::LabelId;

/// One name of the tree; the root is the empty name.
#[derive(Debug, Default)]
struct Name {
    below: FxHashMap<Box<[u8]>, u32>,
    label: Option<LabelId>,
}

/// The rules for names. A host that ends in a byte in which no rule ends costs one look into a bit set; one whose last
/// label begins no rule, a look into a small hash table.
#[derive(Debug)]
pub(super) struct Domains {
    names: Vec<Name>,
    /// The bytes in which rules end; host names are ASCII.
    ends: u128,
}

/// The place of the last byte of a name in the bit set.
fn end_bit(name: &[u8]) -> u128 {
    name.last().map_or(0, |last| 1 << (last.to_ascii_lowercase() & 127))
}

impl Default for Domains {
    fn default() -> Self {
        Self { names: vec![Name::default()], ends: 0 }
    }
}

impl Domains {
    /// Adds a rule for a lower-case name; of equal rules the first stays.
    pub(super) fn add(&mut self, name: &str, label: LabelId) {
        let mut at = 0;
        for part in name.as_bytes().rsplit(|byte| *byte == b'.') {
            at = self.child(at, part);
        }
        self.names[at].label.get_or_insert(label);
        self.ends |= end_bit(name.as_bytes());
    }

    fn child(&mut self, parent: usize, part: &[u8]) -> usize {
        if let Some(child) = self.names[parent].below.get(part) {
            return *child as usize;
        }
        let new = self.names.len();
        self.names.push(Name::default());
        // Every name of the tree takes more than a byte of the file, which is smaller than 2^32 names.
        self.names[parent].below.insert(part.into(), u32::try_from(new).unwrap_or(u32::MAX));
        new
    }

    /// Whether any rule ends like the name, which may be in any case.
    #[inline]
    pub(super) fn may_hold(&self, name: &[u8]) -> bool {
        self.ends & end_bit(name) != 0
    }

    /// The label of the rule with most labels that covers the name.
    #[inline]
    pub(super) fn find(&self, name: &[u8]) -> Option<LabelId> {
        if !self.may_hold(name) {
            return None;
        }
        let mut best = None;
        let mut node = self.names.first()?;
        let mut rest = Some(name);
        while let Some(name) = rest {
            if node.below.is_empty() {
                break;
            }
            let dot = memrchr(b'.', name);
            let part = &name[dot.map_or(0, |dot| dot + 1)..];
            let Some(child) = node.below.get(part) else { break };
            node = &self.names[*child as usize];
            best = node.label.or(best);
            rest = dot.map(|dot| &name[..dot]);
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_labels_win_and_the_first_of_equals() {
        let mut rules = Domains::default();
        let names = ["city-a.example", "dmz.city-a.example", "city-a.example", "a.b.c.example"];
        for (number, name) in (0..).zip(names) {
            rules.add(name, LabelId(number));
        }
        let found = |name: &str| rules.find(name.as_bytes()).map(|id| id.0);
        assert_eq!(found("city-a.example"), Some(0));
        assert_eq!(found("x.city-a.example"), Some(0));
        assert_eq!(found("x.y.dmz.city-a.example"), Some(1));
        assert_eq!(found("badcity-a.example"), None);
        assert_eq!(found("c.example"), None);
        assert_eq!(found("b.c.example"), None);
        assert_eq!(found("x.a.b.c.example"), Some(3));
        assert_eq!(found("example"), None);
        assert_eq!(found(""), None);
        assert_eq!(found("city-a.example.org"), None);
    }
}
