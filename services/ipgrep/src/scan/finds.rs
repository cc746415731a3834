//! What a scan has found and not yet given away.

use crate::ident::{Found, Token};

use super::signs::lower;

/// An IPv4 address.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ip4 {
    /// Where it begins.
    pub(crate) start: usize,
    /// Its value.
    pub(crate) bits: u32,
    /// How many bytes it takes.
    pub(crate) width: u32,
}

/// Another identifier.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Other {
    /// Where it begins.
    pub(crate) start: usize,
    /// Where it ends.
    pub(crate) end: usize,
    /// What it is.
    pub(crate) what: What,
}

/// What is not in the text in this form.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// An IPv4 address that is not plain to see.
    Ip4(u32),
    /// An IPv6 address.
    Ip6(u128),
    /// A host name.
    Host,
}

impl Ip4 {
    /// It as a token.
    #[inline]
    pub(crate) fn token(self) -> Token<'static> {
        Token { start: self.start, end: self.start + self.width as usize, found: Found::Ip4(self.bits) }
    }
}

impl Other {
    /// It as a token of the text; a name is put in lower case in `room`.
    #[inline]
    pub(crate) fn token<'t>(self, text: &'t [u8], room: &'t mut Vec<u8>) -> Token<'t> {
        let Self { start, end, what } = self;
        let found = match what {
            What::Ip4(bits) => Found::Ip4(bits),
            What::Ip6(bits) => Found::Ip6(bits),
            What::Host => Found::Host(lower(room, &text[start..end])),
        };
        Token { start, end, found }
    }
}

/// The places of LF in a text: a bit for each byte. Lines are short: a look into one or two words finds the next one.
#[derive(Debug, Default)]
pub(crate) struct LineEnds(pub(super) Vec<u64>);

impl LineEnds {
    /// The last LF before `at`, but not before `from`.
    #[inline]
    pub(crate) fn before(&self, from: usize, at: usize) -> Option<usize> {
        let mut bits = self.word(at / 64) & !(u64::MAX << (at % 64));
        let mut number = at / 64;
        while bits == 0 && number * 64 > from {
            number -= 1;
            bits = self.word(number);
        }
        let last = bits.checked_ilog2()? as usize + number * 64;
        Some(last).filter(|last| *last >= from)
    }

    /// The first LF from `at` on.
    #[inline]
    pub(crate) fn from(&self, at: usize) -> Option<usize> {
        let mut number = at / 64;
        let mut bits = self.word(number) & u64::MAX << (at % 64);
        while bits == 0 {
            number += 1;
            bits = *self.0.get(number)?;
        }
        Some(number * 64 + bits.trailing_zeros() as usize)
    }

    #[inline]
    fn word(&self, number: usize) -> u64 {
        self.0.get(number).copied().unwrap_or(0)
    }

    /// Of a text that was not scanned for the core.
    pub(crate) fn read(&mut self, text: &[u8]) {
        self.0.clear();
        self.0.resize(text.len() / 64 + 1, 0);
        memchr::memchr_iter(b'\n', text).for_each(|at| self.0[at / 64] |= 1 << (at % 64));
    }
}

/// Identifiers of the core in two lists, each in the order of places: so the one that is long holds one kind, and what
/// is done with it is easy to predict.
#[derive(Debug, Default)]
pub(crate) struct Finds {
    /// IPv4 addresses that are plain to see.
    pub(crate) plain: Vec<Ip4>,
    /// Everything else.
    pub(crate) others: Vec<Other>,
    /// Where the lines of the whole text end.
    pub(crate) line_ends: LineEnds,
}

impl Finds {
    /// Gives everything in the order of places, and forgets it.
    pub(crate) fn drain(&mut self, text: &[u8], room: &mut Vec<u8>, mut take: impl FnMut(Token<'_>)) {
        let mut plain = self.plain.drain(..).peekable();
        for other in self.others.drain(..) {
            while let Some(ip4) = plain.next_if(|ip4| ip4.start < other.start) {
                take(ip4.token());
            }
            take(other.token(text, room));
        }
        plain.for_each(|ip4| take(ip4.token()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn line_ends_are_those_of_the_text(text in "[a\n]{0,9}|a{0,200}[a\n]{0,3}a{0,200}", from: u8, at: u8) {
            let text = text.as_bytes();
            let at = text.len().min(at.into());
            let from = at.min(from.into());
            let mut ends = LineEnds::default();
            ends.read(text);
            let before = text[from..at].iter().rposition(|byte| *byte == b'\n').map(|lf| from + lf);
            prop_assert_eq!(ends.before(from, at), before);
            let next = text[at..].iter().position(|byte| *byte == b'\n').map(|lf| at + lf);
            prop_assert_eq!(ends.from(at), next);
        }
    }
}
