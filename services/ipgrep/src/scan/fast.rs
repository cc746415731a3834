//! The scanner for the classes of the core, on real bytes.
//!
//! Every identifier of the core holds a dot or a colon, so only the surroundings of these are looked at. The view
//! (7.2.2) differs from the bytes only behind `\` and `%`, which are borders and never part of a token: whether the
//! start of a run of letters and digits belongs to an escape is all that has to be asked.

use super::Sink;
use super::address;
use super::anchors::{Anchors, Places};
use super::border::left_of_ip6_after;
use super::byte::{self, ALNUM, DIGIT, HEX, LABEL, WORD};
use super::grammar::{Covers, Grammar};
use super::names::Chain;
use super::quick;
use super::signs::lower;
use crate::ident::{Address, Classes, Found, Token};
use crate::view::escaped_from;

/// An alphanumeric run that is longer is neither a hex group nor hidden by an escape, which takes five at most.
const TELLING_RUN: usize = 12;

/// What is needed to scan a text.
pub(super) struct Scan<'a, C> {
    /// The text: whole lines.
    pub(super) text: &'a [u8],
    /// What to seek.
    pub(super) grammar: &'a Grammar,
    /// Rules that excuse file suffixes.
    pub(super) map: &'a C,
    /// Names of this text.
    pub(super) chain: &'a mut Chain,
    /// Room for a lower-case name.
    pub(super) lower: &'a mut Vec<u8>,
    /// Where the last token ends.
    pub(super) cursor: usize,
}

impl<C: Covers> Scan<'_, C> {
    /// Gives every identifier of the text, in order.
    pub(super) fn run(mut self, anchors: &mut Anchors, sink: &mut impl Sink) {
        let mut from = 0;
        while from < self.text.len() {
            from = anchors.collect(self.text, from);
            let places = anchors.places();
            let mut number = 0;
            while let Some(anchor) = places.get(number) {
                number =
                    if anchor < self.cursor { number + 1 } else { self.around(anchor, places, number, sink) };
            }
        }
    }

    /// Seeks what has this anchor as its first, and gives the number of the next one to look at.
    #[inline]
    fn around(&mut self, anchor: usize, anchors: Places<'_>, number: usize, sink: &mut impl Sink) -> usize {
        if self.text[anchor] == b'.' {
            if self.has(Classes::IP4)
                && let Some(address) = quick::ip4(self.text, anchors, number)
            {
                self.give_ip4(address, sink);
                return number + 3;
            }
            self.around_dot(anchor, sink);
            return number + 1;
        }
        if let Some(next) = quick::no_ip6(self.text, anchors, number) {
            return next;
        }
        if self.has(Classes::IP6) {
            self.around_colon(anchor, sink);
        }
        number + 1
    }

    #[inline]
    fn has(&self, class: Classes) -> bool {
        self.grammar.classes.has(class)
    }

    /// Seeks addresses and names whose first dot this is.
    #[inline]
    fn around_dot(&mut self, dot: usize, sink: &mut impl Sink) {
        let text = self.text;
        if !byte::is_at(text, dot + 1, WORD) {
            return;
        }
        let run = byte::run_back(text, self.cursor, dot, LABEL);
        let (start, border) = self.left_of_run(run);
        for at in start..dot {
            let left = if at == start { border } else { !byte::is(text[at - 1], ALNUM) };
            if left && byte::is(text[at], WORD) && self.at(at, dot, sink) {
                return;
            }
        }
    }

    /// Seeks an IPv4 address or a name that begins at `at` and has its first dot at `dot`.
    #[inline]
    fn at(&mut self, at: usize, dot: usize, sink: &mut impl Sink) -> bool {
        if dot - at <= 3
            && byte::is(self.text[at], DIGIT)
            && self.has(Classes::IP4)
            && let Some((end, bits)) = address::ip4(self.text, at, false)
        {
            self.give_ip4((at, end, bits), sink);
            return true;
        }
        if !self.has(Classes::HOST) {
            return false;
        }
        let Some(end) = self.chain.name(self.text, at, self.grammar, self.map) else { return false };
        self.cursor = end;
        let found = Found::Host(lower(self.lower, &self.text[at..end]));
        sink.token(Token { start: at, end, found });
        true
    }

    #[inline]
    fn give_ip4(&mut self, (start, end, bits): quick::Ip4, sink: &mut impl Sink) {
        self.cursor = end;
        sink.ip4(start, end, bits);
    }

    /// Where a run that begins at `run` begins in the view, and whether that is a left border.
    #[inline]
    fn left_of_run(&self, run: usize) -> (usize, bool) {
        let Some(before) = run.checked_sub(1) else { return (run, true) };
        match self.text[before] {
            b'\\' | b'%' => (run + escaped_from(self.text, run), true),
            b'.' => (run, !self.is_alnum_sign_before(before)),
            other => (run, !byte::is(other, ALNUM)),
        }
    }

    /// Whether the sign before `at` is alphanumeric.
    fn is_alnum_sign_before(&self, at: usize) -> bool {
        self.alnum_run_before(at, 0) < at
    }

    /// Where the alphanumeric run of the view begins that ends at `to`; of a long run only the last part.
    #[inline]
    fn alnum_run_before(&self, to: usize, low: usize) -> usize {
        let run = byte::run_back(self.text, low.max(to.saturating_sub(TELLING_RUN)), to, ALNUM);
        match run.checked_sub(1).map(|before| self.text[before]) {
            Some(b'\\' | b'%') => run + escaped_from(self.text, run),
            _ => run,
        }
    }

    /// Seeks an IPv6 address whose first colon this is.
    #[inline]
    fn around_colon(&mut self, colon: usize, sink: &mut impl Sink) {
        let text = self.text;
        let next = text.get(colon + 1).copied().unwrap_or(b' ');
        if next != b':' && !byte::is(next, HEX) {
            return;
        }
        let start = self.alnum_run_before(colon, self.cursor);
        let group = &text[start..colon];
        if group.len() > 4
            || (group.is_empty() && next != b':')
            || group.iter().any(|byte| !byte::is(*byte, HEX))
        {
            return;
        }
        if self.left_of_ip6(start)
            && let Some((end, address)) = address::ip6(text, start, false)
        {
            let found = match address {
                Address::Ip4(bits) => Found::Ip4(bits),
                Address::Ip6(bits) => Found::Ip6(bits),
            };
            self.cursor = end;
            sink.token(Token { start, end, found });
        }
    }

    /// Whether an IPv6 address may begin at the start of an alphanumeric run of the view.
    fn left_of_ip6(&self, start: usize) -> bool {
        let Some(before) = start.checked_sub(1) else { return true };
        match self.text[before] {
            b':' => left_of_ip6_after(&self.text[self.alnum_run_before(before, 0)..before]),
            b'.' => !self.is_alnum_sign_before(before),
            // An alphanumeric byte is the end of the last token, or of an escape.
            other => !byte::is(other, ALNUM) || self.alnum_run_before(start, 0) == start,
        }
    }
}
