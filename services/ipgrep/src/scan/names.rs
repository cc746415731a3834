//! Host names in signs (PRISEM services specification, 7.2.4).
//!
//! Names are sought in *chains*: labels joined by dots that have a sign of a label on both sides. Where a name may end
//! does not depend on where it begins, so the possible ends of a chain are determined once, when the first name
//! in it is sought, and then serve every beginning. Without this, a chain like `a.1-a.1-a.1` of a megabyte would be
//! walked from each of its hyphens.

use super::border::right;
use super::byte::{self, LABEL, LETTER, WORD};
use super::grammar::{Covers, Dns, Grammar};
use super::suffix::is_suffix;

/// Longest last label.
pub(super) const LAST_LABEL: usize = 63;
/// No rule for a longer name is looked for to excuse a file suffix; names have 253 signs at most (RFC 1035).
const LONGEST_RULE: usize = 256;

/// A place where a name may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    /// Where the last label begins: the name must begin in an earlier one.
    label: usize,
    end: usize,
}

/// The chain that was walked last.
#[derive(Debug, Default)]
pub(super) struct Chain {
    start: usize,
    end: usize,
    /// The last end that every name may have.
    free: Option<End>,
    /// The ends that are allowed only to names that a rule covers.
    bound: Vec<End>,
    /// The last of [`Chain::bound`] that some rule covers by its last [`LONGEST_RULE`] signs alone.
    far: Option<End>,
    /// The last end with a file suffix.
    loose: Option<End>,
}

impl Chain {
    /// Forgets the chain, because the text is another one.
    pub(super) fn forget(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// The end of the longest name that begins at `at`, whose left border is the caller's matter.
    #[inline]
    pub(super) fn name(
        &mut self,
        signs: &[u8],
        at: usize,
        grammar: &Grammar,
        map: &impl Covers,
    ) -> Option<usize> {
        if !byte::is_at(signs, at, WORD) {
            return None;
        }
        if !(self.start..self.end).contains(&at) {
            self.walk(signs, at, grammar, map);
        }
        let fits = |end: &End| end.label > at;
        let free = self.free.filter(fits).map(|end| end.end);
        if self.bound.is_empty() {
            return free;
        }
        let strict = self.covered(signs, at, free.unwrap_or(at), map).or(free);
        strict.or_else(|| self.loose.filter(fits).map(|end| end.end))
    }

    /// The last end behind `floor` that a rule covers for a name that begins at `at`.
    fn covered(&self, signs: &[u8], at: usize, floor: usize, map: &impl Covers) -> Option<usize> {
        if let Some(far) = self.far.filter(|far| far.end > floor.max(at + LONGEST_RULE)) {
            return Some(far.end);
        }
        let near = self.bound.partition_point(|end| end.end <= at + LONGEST_RULE);
        let ends = self.bound[..near].iter().rev().take_while(|end| end.label > at && end.end > floor);
        ends.map(|end| end.end).find(|end| covers(map, &signs[at..*end]))
    }

    fn walk(&mut self, signs: &[u8], start: usize, grammar: &Grammar, map: &impl Covers) {
        (self.start, self.free, self.far, self.loose) = (start, None, None, None);
        self.bound.clear();
        self.end = byte::run(signs, start, LABEL);
        while let Some(label) = joint(signs, self.end) {
            self.end = byte::run(signs, label, LABEL);
            self.note_ends(signs, label, grammar);
        }
        if !self.bound.is_empty() {
            let far = |end: &&End| end.end > start + LONGEST_RULE && covers(map, &signs[start..end.end]);
            self.far = self.bound.iter().rev().find(far).copied();
        }
    }

    /// Notes where a name may end inside its last label, which begins at `label`.
    fn note_ends(&mut self, signs: &[u8], label: usize, grammar: &Grammar) {
        let letters = byte::run(&signs[..self.end], label, LETTER);
        if (2..=LAST_LABEL).contains(&(letters - label)) {
            self.note_end(signs, End { label, end: letters }, grammar);
        }
        if letters - label == 2 && signs[label..self.end].get(..4).is_some_and(is_puny) {
            self.note_puny_ends(signs, label, grammar);
        }
    }

    /// The same for a label that begins with `xn--`.
    fn note_puny_ends(&mut self, signs: &[u8], label: usize, grammar: &Grammar) {
        for end in label + 5..=self.end.min(label + LAST_LABEL) {
            match signs[end - 1] {
                b'_' => break,
                b'-' => {}
                _ => self.note_end(signs, End { label, end }, grammar),
            }
        }
    }

    #[inline]
    fn note_end(&mut self, signs: &[u8], end: End, grammar: &Grammar) {
        if !right(signs, end.end) || signs.get(end.end) == Some(&b'@') {
            return;
        }
        let last = &signs[end.label..end.end];
        let suffix = is_suffix(last);
        if suffix && grammar.dns == Dns::Loose {
            self.loose = Some(end);
        }
        let free = grammar.tlds.as_ref().map_or(!suffix, |tlds| tlds.contains(&last.to_ascii_lowercase()));
        if free {
            self.free = Some(end);
        } else {
            self.bound.push(end);
        }
    }
}

fn is_puny(head: &[u8]) -> bool {
    head.eq_ignore_ascii_case(b"xn--")
}

/// The start of the next label, if the label that ends at `dot` is joined to one.
#[inline]
fn joint(signs: &[u8], dot: usize) -> Option<usize> {
    let joined = signs.get(dot) == Some(&b'.')
        && dot.checked_sub(1).is_some_and(|before| byte::is(signs[before], WORD))
        && byte::is_at(signs, dot + 1, WORD);
    joined.then_some(dot + 1)
}

/// Whether a rule of usual length covers the name.
fn covers(map: &impl Covers, name: &[u8]) -> bool {
    let mut lower = [0; LONGEST_RULE];
    let name = tail(name);
    let Some(lower) = lower.get_mut(..name.len()) else { return false };
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    map.covers(lower)
}

/// The last whole labels of a name that fit into [`LONGEST_RULE`]: a rule that covers these covers the name.
fn tail(name: &[u8]) -> &[u8] {
    let Some(cut) = name.len().checked_sub(LONGEST_RULE).filter(|cut| *cut > 0) else { return name };
    let rest = &name[cut..];
    memchr::memchr(b'.', rest).map_or(rest, |dot| &rest[dot + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Rules(&'static [&'static str]);

    impl Covers for Rules {
        fn covers(&self, name: &[u8]) -> bool {
            let name = std::str::from_utf8(name).unwrap();
            self.0.iter().any(|rule| name == *rule || name.ends_with(&format!(".{rule}")))
        }
    }

    fn name<'a>(text: &'a str, rules: &'static [&'static str]) -> Option<&'a str> {
        let end = Chain::default().name(text.as_bytes(), 0, &Grammar::default(), &Rules(rules))?;
        Some(&text[..end])
    }

    #[test]
    fn longest_name_with_a_border() {
        assert_eq!(name("www.city-a.example_2014.txt", &[]), Some("www.city-a.example"));
        assert_eq!(name("a.xn--p1ai-x_y", &[]), Some("a.xn--p1ai-x"));
        assert_eq!(name("a.xn--_", &[]), Some("a.xn"));
        assert_eq!(name("aa.bb-cc.dd@", &[]), Some("aa.bb"));
        assert_eq!(name("foo-.example", &[]), None);
        assert_eq!(name("a.b", &[]), None);
    }

    #[test]
    fn rules_excuse_file_suffixes() {
        assert_eq!(name("www.example.log", &[]), Some("www.example"));
        assert_eq!(name("www.example.LOG", &["log"]), Some("www.example.LOG"));
        assert_eq!(name("a.txt-a.txt-a.txt", &["a.txt"]), Some("a.txt"));
        assert_eq!(name("a.txt-a.txt", &["a.txt-a.txt"]), Some("a.txt-a.txt"));
    }

    #[test]
    fn one_walk_serves_every_beginning() {
        let text = "a.1-a.1-a.example";
        let mut chain = Chain::default();
        for at in [0, 4, 8, 2] {
            let end = chain.name(text.as_bytes(), at, &Grammar::default(), &Rules(&[]));
            assert_eq!(end, Some(text.len()));
        }
        assert_eq!(chain.start, 0);
    }

    #[test]
    fn rules_are_found_from_far_away() {
        let text: &'static str = Box::leak(format!("{}x.log", "a.".repeat(400)).into_boxed_str());
        assert_eq!(name(text, &["x.log"]), Some(text));
        assert_eq!(name(text, &["y.log"]), None);
    }
}
