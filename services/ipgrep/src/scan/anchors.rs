//! The places that an identifier of the core must hold one of: dots and colons that something follows.

/// Bytes that are looked at together.
const WINDOW: usize = 64;
/// Bytes whose anchors are collected at a time, so that they stay in the first-level cache.
const BLOCK: usize = 16 * 1024;

/// The dots and colons of one block of a text that a byte from `0` on follows. In an identifier that is so for each of
/// them but the second of two colons.
#[derive(Debug)]
pub(super) struct Anchors {
    places: Vec<u32>,
    count: usize,
    base: usize,
}

impl Default for Anchors {
    fn default() -> Self {
        Self { places: vec![0; BLOCK + WINDOW], count: 0, base: 0 }
    }
}

impl Anchors {
    /// Collects the anchors of the block that begins at `from`, and gives the end of the block.
    pub(super) fn collect(&mut self, text: &[u8], from: usize) -> usize {
        let end = text.len().min(from + BLOCK);
        (self.base, self.count) = (from, 0);
        let mut at = 0;
        let (windows, _) = text[from..end].as_chunks::<WINDOW>();
        let (next, _) = text.get(from + 1..).unwrap_or_default().as_chunks::<WINDOW>();
        for (window, next) in windows.iter().zip(next) {
            self.push(at, anchors_of(window, next));
            at += 64;
        }
        self.push_rest(text, from + at as usize, end, at);
        end
    }

    /// Collects what is left for less than one window, or for a window that the text ends with.
    fn push_rest(&mut self, text: &[u8], from: usize, end: usize, base: u32) {
        let mut last = [0; WINDOW + 1];
        let rest = &text[from..text.len().min(end + 1)];
        last[..rest.len()].copy_from_slice(rest);
        let windows = (last.first_chunk(), last.last_chunk());
        if let (Some(window), Some(next)) = windows {
            let mask = anchors_of(window, next);
            let inside = u32::try_from(end - from).unwrap_or(64);
            self.push(base, mask & u64::MAX.checked_shl(inside).map_or(u64::MAX, |outside| !outside));
        }
    }

    /// The anchors.
    #[inline]
    pub(super) fn places(&self) -> Places<'_> {
        Places { places: &self.places[..self.count], base: self.base }
    }

    #[inline]
    fn push(&mut self, base: u32, mut mask: u64) {
        while mask != 0 {
            self.places[self.count] = base + mask.trailing_zeros();
            self.count += 1;
            mask &= mask - 1;
        }
    }
}

/// Anchors by number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places<'a> {
    places: &'a [u32],
    base: usize,
}

impl Places<'_> {
    /// The anchor with a number in this block.
    #[inline]
    pub(super) fn get(&self, number: usize) -> Option<usize> {
        self.places.get(number).map(|place| self.base + *place as usize)
    }
}

/// A bit for each dot and colon before a byte from `0` on; `next` are the bytes one further.
///
/// The comparison of 64 bytes at a time becomes vector instructions; the flags of eight bytes are gathered in the
/// highest byte of a product.
#[inline]
fn anchors_of(window: &[u8; WINDOW], next: &[u8; WINDOW]) -> u64 {
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let mut flags = [0; WINDOW];
    for (flag, (byte, next)) in flags.iter_mut().zip(window.iter().zip(next)) {
        *flag = (u8::from(*byte == b'.') | u8::from(*byte == b':')) & u8::from(*next >= b'0');
    }
    let (eighths, _) = flags.as_chunks::<8>();
    let bits = eighths.iter().map(|eighth| u64::from_le_bytes(*eighth).wrapping_mul(GATHER) >> 56);
    bits.rev().fold(0, |mask, bits| mask << 8 | bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_anchor_once(
            text in proptest::collection::vec(prop_oneof![Just(b'.'), Just(b':'), any::<u8>()], 0..300),
            from in 0..300_usize,
        ) {
            let from = from.min(text.len());
            let mut anchors = Anchors::default();
            prop_assert_eq!(anchors.collect(&text, from), text.len());
            let found: Vec<usize> = (0..).map_while(|number| anchors.places().get(number)).collect();
            let followed = |at: &usize| text.get(at + 1).is_some_and(|next| *next >= b'0');
            let want: Vec<usize> =
                (from..text.len()).filter(|at| b".:".contains(&text[*at]) && followed(at)).collect();
            prop_assert_eq!(found, want);
        }
    }

    #[test]
    fn long_texts_take_several_blocks() {
        let text = vec![b':'; BLOCK + 10];
        let mut anchors = Anchors::default();
        assert_eq!(anchors.collect(&text, 0), BLOCK);
        assert_eq!((anchors.places().get(BLOCK - 1), anchors.places().get(BLOCK)), (Some(BLOCK - 1), None));
        assert_eq!(anchors.collect(&text, BLOCK), text.len());
        assert_eq!((anchors.places().get(8), anchors.places().get(9)), (Some(BLOCK + 8), None));
    }
}
