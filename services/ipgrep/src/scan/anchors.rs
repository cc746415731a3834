//! The places that an identifier of the core must hold one of: dots and colons.

/// Bytes that are looked at together.
const WINDOW: usize = 64;
/// Bytes whose anchors are collected at a time, so that they stay in the first-level cache.
const BLOCK: usize = 16 * 1024;

/// The dots and colons of one block of a text.
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
        let (windows, rest) = text[from..end].as_chunks::<WINDOW>();
        for window in windows {
            self.push(at, anchors_of(window));
            at += 64;
        }
        let mut last = [0; WINDOW];
        last[..rest.len()].copy_from_slice(rest);
        self.push(at, anchors_of(&last));
        end
    }

    /// The anchor with a number in this block.
    #[inline]
    pub(super) fn get(&self, number: usize) -> Option<usize> {
        let place = self.places[..self.count].get(number)?;
        Some(self.base + *place as usize)
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

/// A bit for each dot and colon.
///
/// The comparison of 64 bytes at a time becomes vector instructions; the flags of eight bytes are gathered in the
/// highest byte of a product.
#[inline]
fn anchors_of(window: &[u8; WINDOW]) -> u64 {
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let flags = window.map(|byte| u8::from(byte == b'.') | u8::from(byte == b':'));
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
        fn every_anchor_once(text in proptest::collection::vec(prop_oneof![Just(b'.'), Just(b':'), any::<u8>()], 0..300), from in 0..300_usize) {
            let from = from.min(text.len());
            let mut anchors = Anchors::default();
            prop_assert_eq!(anchors.collect(&text, from), text.len());
            let found: Vec<usize> = (0..).map_while(|number| anchors.get(number)).collect();
            let want: Vec<usize> = (from..text.len()).filter(|at| b".:".contains(&text[*at])).collect();
            prop_assert_eq!(found, want);
        }

        #[test]
        fn one_bit_for_each(window in any::<[u8; 32]>()) {
            let mut wide = [b'.'; WINDOW];
            wide[16..48].copy_from_slice(&window);
            let bit = |at: usize| u64::from(b".:".contains(&wide[at])) << at;
            prop_assert_eq!(anchors_of(&wide), (0..WINDOW).map(bit).sum::<u64>());
        }
    }

    #[test]
    fn long_texts_take_several_blocks() {
        let text = vec![b'.'; BLOCK + 10];
        let mut anchors = Anchors::default();
        assert_eq!(anchors.collect(&text, 0), BLOCK);
        assert_eq!((anchors.get(BLOCK - 1), anchors.get(BLOCK)), (Some(BLOCK - 1), None));
        assert_eq!(anchors.collect(&text, BLOCK), text.len());
        assert_eq!((anchors.get(9), anchors.get(10)), (Some(BLOCK + 9), None));
    }
}
