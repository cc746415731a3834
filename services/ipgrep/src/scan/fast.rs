//! The scanner for the classes of the core, on real bytes.
//!
//! The index of the text tells the few places that an identifier can have. Addresses between plain borders are read
//! first, without a look at anything else: no other identifier can begin before or inside of one and reach into it. The
//! other places follow in their order. The view (7.2.2) differs from the bytes only behind `\` and `%`, which are
//! borders and never part of a token: whether the start of a run of letters and digits belongs to an escape is all that
//! has to be asked.

use super::address;
use super::border::left_of_ip6_after;
use super::byte::{self, ALNUM, DIGIT, HEX, LABEL, WORD};
use super::finds::{Finds, Other, What};
use super::grammar::{Covers, Grammar};
use super::index::{Index, WINDOW};
use super::names::Chain;
use super::plain_names;
use super::quads;
use crate::ident::{Address, Classes};
use crate::view::escaped_from;

/// Windows that are dealt with at a time, so that what is found stays in the first-level cache.
const GROUP: usize = 128;
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
    /// What was found.
    pub(super) finds: &'a mut Finds,
    /// Where the last token ends that is not plain to see.
    pub(super) cursor: usize,
    /// How far dots and colons have been looked at.
    pub(super) done: [usize; 2],
}

/// Numbers of [`Scan::done`].
const DOTS: usize = 0;
const COLONS: usize = 1;

impl<C: Covers> Scan<'_, C> {
    /// Finds every identifier of the text, and calls `give` now and then with what was found up to there.
    pub(super) fn run(mut self, index: &mut Index, mut give: impl FnMut(&mut Finds)) {
        index.read(self.text);
        self.finds.line_ends.0.clear();
        self.finds.line_ends.0.extend(index.line_ends());
        for from in (0..index.len()).step_by(GROUP) {
            let group = from..index.len().min(from + GROUP);
            if self.has(Classes::IP4) {
                group.clone().for_each(|number| self.quads(index, number));
            }
            group.for_each(|number| self.others(index, number));
            give(self.finds);
        }
    }

    /// Reads the plain addresses that end in a window, and takes note of those that need a closer look.
    #[inline]
    fn quads(&mut self, index: &mut Index, number: usize) {
        let mut quads = index.window(number).quads;
        while quads != 0 {
            let end = number * WINDOW + quads.trailing_zeros() as usize;
            quads &= quads - 1;
            match quads::plain(self.text, index, end) {
                Some(ip4) => self.finds.plain.push(ip4),
                None => index.look_at(end),
            }
        }
    }

    /// Seeks what is not plain to see at the places of a window.
    #[inline]
    fn others(&mut self, index: &Index, number: usize) {
        let window = index.window(number);
        let mut places = window.names | window.colons;
        while places != 0 {
            let bit = places.trailing_zeros();
            let at = number * WINDOW + bit as usize;
            places &= places - 1;
            if window.colons >> bit & 1 == 0 {
                if !self.plain_name(index, at) {
                    self.dots_before(index, at);
                }
            } else if self.has(Classes::IP6) {
                self.colons_to(at);
            }
        }
    }

    /// Takes the name around a place if it is plain to see. `true` if nothing is left to do there.
    #[inline]
    fn plain_name(&mut self, index: &Index, at: usize) -> bool {
        if at <= self.cursor {
            return true;
        }
        if !self.has(Classes::HOST) || self.grammar.tlds.is_some() {
            return false;
        }
        match plain_names::plain(self.text, index, at) {
            Some((start, end)) if start >= self.cursor.max(self.done[DOTS]) => {
                self.found(start, end, What::Host);
                true
            }
            _ => false,
        }
    }

    /// Seeks what has its first dot among those before `at` that only signs of labels and dots stand between.
    fn dots_before(&mut self, index: &Index, at: usize) {
        let floor = self.cursor.max(self.done[DOTS]).min(at);
        let mut start = at;
        while start > floor {
            let labels = index.before(start, |window| window.breaks).leading_zeros() as usize;
            start -= labels;
            if labels < WINDOW {
                break;
            }
        }
        start = start.max(floor);
        while start < at {
            let dots = index.from(start, |window| window.dots);
            if dots == 0 {
                start = (start / WINDOW + 1) * WINDOW;
                continue;
            }
            start += dots.trailing_zeros() as usize;
            if start < at && start >= self.cursor {
                self.around_dot(index, start);
            }
            start += 1;
        }
        self.done[DOTS] = at;
    }

    /// Seeks addresses that have their first colon among those up to `at` that only hexadecimal digits stand between.
    fn colons_to(&mut self, at: usize) {
        let floor = self.cursor.max(self.done[COLONS]).min(at);
        let before = &self.text[floor..at];
        let run = before.iter().rposition(|byte| *byte != b':' && !byte::is(*byte, HEX));
        let start = floor + run.map_or(0, |at| at + 1);
        for colon in start..=at {
            if self.text[colon] == b':' && colon >= self.cursor {
                self.around_colon(colon);
            }
        }
        self.done[COLONS] = at + 1;
    }

    #[inline]
    fn has(&self, class: Classes) -> bool {
        self.grammar.classes.has(class)
    }

    /// Seeks addresses and names whose first dot this is.
    #[inline]
    fn around_dot(&mut self, index: &Index, dot: usize) {
        let text = self.text;
        if !byte::is_at(text, dot + 1, WORD) {
            return;
        }
        let run = byte::run_back(text, self.cursor, dot, LABEL);
        let (start, border) = self.left_of_run(run);
        for at in start..dot {
            let left = if at == start { border } else { !byte::is(text[at - 1], ALNUM) };
            if left && byte::is(text[at], WORD) && self.at(index, at, dot) {
                return;
            }
        }
    }

    /// Seeks an IPv4 address or a name that begins at `at` and has its first dot at `dot`.
    #[inline]
    fn at(&mut self, index: &Index, at: usize, dot: usize) -> bool {
        if dot - at <= 3
            && byte::is(self.text[at], DIGIT)
            && self.has(Classes::IP4)
            && let Some((end, bits)) = address::ip4(self.text, at, false)
        {
            if quads::is_plain(self.text, index, end) {
                // It was read before, and is met again on the way to what is joined to it: `192.0.2.1_192.0.2.2`.
                self.cursor = end;
            } else {
                self.found(at, end, What::Ip4(bits));
            }
            return true;
        }
        if !self.has(Classes::HOST) {
            return false;
        }
        let Some(end) = self.chain.name(self.text, at, self.grammar, self.map) else { return false };
        self.found(at, end, What::Host);
        true
    }

    #[inline]
    fn found(&mut self, start: usize, end: usize, what: What) {
        self.cursor = end;
        self.finds.others.push(Other { start, end, what });
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
    fn around_colon(&mut self, colon: usize) {
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
            let what = match address {
                Address::Ip4(bits) => What::Ip4(bits),
                Address::Ip6(bits) => What::Ip6(bits),
            };
            self.found(start, end, what);
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
