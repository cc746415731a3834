//! One pass over a text that says where to look: a bit for each byte and each question, 64 bytes at a time.
//!
//! The bytes are compared in vectors; everything behind that is arithmetic on 64-bit words, in which a run of digits is
//! followed to its end by one addition: a bit added at its beginning is carried to the place behind it.

// What is not inlined is compiled without the vector instructions that were chosen.
#![allow(clippy::inline_always)]

use fearless_simd::{Level, Simd, dispatch, prelude::*, u8x64};

/// Bytes that are looked at together.
pub(super) const WINDOW: usize = 64;

/// What is known of 64 bytes. Bit 0 is the first of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    /// The byte behind four numbers that three dots join, unless it is a letter.
    pub(super) quads: u64,
    /// The second letter behind a dot that stands behind a sign of a label: a host name may end in this label.
    pub(super) names: u64,
    /// The second of two colons, and the third of three that have nothing but hexadecimal digits between them.
    pub(super) colons: u64,
    /// Every `.`
    pub(super) dots: u64,
    /// Every digit.
    pub(super) digits: u64,
    /// Every letter.
    pub(super) letters: u64,
    /// Every sign that a label may begin and end with.
    pub(super) words: u64,
    /// Everything but signs of labels and dots.
    pub(super) breaks: u64,
    /// Every LF.
    pub(super) line_ends: u64,
}

/// What is known of a text.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// The windows, behind an empty one, so that there always is one before.
    windows: Vec<Window>,
}

impl Index {
    /// Reads a text.
    pub(super) fn read(&mut self, text: &[u8]) {
        self.windows.clear();
        self.windows.reserve(text.len() / WINDOW + 2);
        self.windows.push(Window { breaks: u64::MAX, ..Window::default() });
        dispatch!(Level::new(), simd => read(simd, text, &mut self.windows));
    }

    /// A bit for each LF.
    pub(super) fn line_ends(&self) -> impl Iterator<Item = u64> {
        self.windows.iter().skip(1).map(|window| window.line_ends)
    }

    /// How many windows there are; the last one ends behind the text.
    pub(super) fn len(&self) -> usize {
        self.windows.len() - 1
    }

    /// A window.
    #[inline]
    pub(super) fn window(&self, number: usize) -> &Window {
        &self.windows[number + 1]
    }

    /// Adds a place to those in [`Window::names`], for a closer look.
    #[inline]
    pub(super) fn look_at(&mut self, at: usize) {
        self.windows[at / WINDOW + 1].names |= 1 << (at % WINDOW);
    }

    /// The answers to a question for the 64 bytes before `at`; the highest bit is the last of them.
    #[inline]
    pub(super) fn before(&self, at: usize, question: impl Fn(&Window) -> u64) -> u64 {
        let [last, this] = self.windows[at / WINDOW..]
            .first_chunk()
            .map_or([0; 2], |two: &[_; 2]| [question(&two[0]), question(&two[1])]);
        let inside = at % WINDOW;
        (this << 1) << (63 - inside) | last >> inside
    }

    /// The answers to a question for the bytes of one window from `at` on; the lowest bit is the first of them.
    #[inline]
    pub(super) fn from(&self, at: usize, question: impl Fn(&Window) -> u64) -> u64 {
        question(&self.windows[at / WINDOW + 1]) >> (at % WINDOW)
    }
}

/// A bit for each byte of a kind.
struct Kinds {
    digits: u64,
    letters: u64,
    hex: u64,
    underlines: u64,
    line_ends: u64,
    hyphens: u64,
    dots: u64,
    colons: u64,
}

impl Kinds {
    #[inline(always)]
    fn of<S: Simd>(simd: S, bytes: &[u8; WINDOW]) -> Self {
        let bytes = u8x64::from_slice(simd, bytes);
        let is = |byte: u8| bytes.simd_eq(byte).to_bitmask();
        let from = |first: u8, bytes: u8x64<S>, count: u8| (bytes - first).simd_lt(count).to_bitmask();
        let lower = bytes | 0x20;
        let digits = from(b'0', bytes, 10);
        Self {
            digits,
            letters: from(b'a', lower, 26),
            hex: digits | from(b'a', lower, 6),
            underlines: is(b'_'),
            line_ends: is(b'\n'),
            hyphens: is(b'-'),
            dots: is(b'.'),
            colons: is(b':'),
        }
    }
}

/// Places that move on by one byte, over the border of a window.
#[derive(Clone, Copy, Default)]
struct Moved(u64);

impl Moved {
    #[inline(always)]
    fn on(&mut self, places: u64) -> u64 {
        let moved = places << 1 | self.0;
        self.0 = places >> 63;
        moved
    }
}

/// Runs that are followed to their ends, over the border of a window.
#[derive(Clone, Copy, Default)]
struct Followed(bool);

impl Followed {
    /// The places behind those runs that begin at `starts`.
    #[inline(always)]
    fn ends(&mut self, runs: u64, starts: u64) -> u64 {
        let (sum, one) = runs.overflowing_add(starts);
        let (sum, other) = sum.overflowing_add(u64::from(self.0));
        self.0 = one | other;
        sum & !runs
    }
}

/// What is carried from window to window.
#[derive(Default)]
struct Reader {
    /// Digits, and dots behind digits.
    digits: Moved,
    joints: Moved,
    /// The four numbers of an address, and the dots behind three of them.
    numbers: [Followed; 4],
    number_dots: [Moved; 3],
    /// Signs of words, dots behind them, letters behind these.
    words: Moved,
    word_dots: Moved,
    name_letters: Moved,
    /// Colons, and colons behind groups.
    colons: Moved,
    groups: [Followed; 2],
    group_colons: Moved,
}

impl Reader {
    #[inline(always)]
    fn read(&mut self, kinds: &Kinds) -> Window {
        let Kinds { digits, letters, underlines, line_ends, hyphens, dots, .. } = *kinds;
        let words = digits | letters | underlines;
        Window {
            quads: self.quads(kinds) & !letters,
            names: self.names(kinds, words),
            colons: self.colons(kinds),
            dots,
            digits,
            letters,
            words,
            breaks: !(words | hyphens | dots),
            line_ends,
        }
    }

    /// The places behind four numbers that dots join. The first is not joined to a number before it.
    #[inline(always)]
    fn quads(&mut self, kinds: &Kinds) -> u64 {
        let Kinds { digits, dots, .. } = *kinds;
        let behind_digit = self.digits.on(digits);
        let joined = self.joints.on(dots & behind_digit);
        let mut starts = digits & !behind_digit & !joined;
        for (number, dot) in self.numbers.iter_mut().zip(&mut self.number_dots) {
            starts = dot.on(number.ends(digits, starts) & dots) & digits;
        }
        self.numbers[3].ends(digits, starts)
    }

    #[inline(always)]
    fn names(&mut self, kinds: &Kinds, words: u64) -> u64 {
        let behind_dot = self.word_dots.on(kinds.dots & self.words.on(words));
        self.name_letters.on(behind_dot & kinds.letters) & kinds.letters
    }

    #[inline(always)]
    fn colons(&mut self, kinds: &Kinds) -> u64 {
        let Kinds { hex, colons, .. } = *kinds;
        let behind = self.colons.on(colons);
        let second = self.groups[0].ends(hex, behind & hex) & colons;
        let third = self.groups[1].ends(hex, self.group_colons.on(second) & hex) & colons;
        colons & behind | third
    }
}

#[inline(always)]
fn read<S: Simd>(simd: S, text: &[u8], windows: &mut Vec<Window>) {
    let mut reader = Reader::default();
    let (whole, rest) = text.as_chunks::<WINDOW>();
    windows.extend(whole.iter().map(|bytes| reader.read(&Kinds::of(simd, bytes))));
    let mut last = [0; WINDOW];
    last[..rest.len()].copy_from_slice(rest);
    windows.push(reader.read(&Kinds::of(simd, &last)));
}
