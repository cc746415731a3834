//! The primitives of the encoding: small numbers take one byte, texts and bytes bring their length.

/// The largest number a message or a queue may have, and the largest time and size: all arithmetic on what was
/// read stays in range.
const HIGHEST: u64 = 1 << 62;

/// Appends to a buffer.
#[derive(Debug)]
pub struct Encoder<'a>(&'a mut Vec<u8>);

impl<'a> Encoder<'a> {
    /// Appends to `buffer`.
    pub fn new(buffer: &'a mut Vec<u8>) -> Self {
        Self(buffer)
    }

    /// One byte.
    pub fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// Yes or no.
    pub fn flag(&mut self, flag: bool) {
        self.byte(u8::from(flag));
    }

    /// A number, seven bits to the byte, the lowest first (LEB128).
    pub fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }

    /// A signed number: zigzag, then as [`Encoder::number`].
    pub fn signed(&mut self, number: i64) {
        self.number((number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned());
    }

    /// Bytes as they are, without their length.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Bytes behind their length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.raw(bytes);
    }

    /// Text behind its length in bytes.
    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Whether there is a value, then the value.
    pub fn maybe<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            put(self, value);
        }
    }

    /// What `put` appends, behind its length in four bytes, the lowest first.
    pub fn nested(&mut self, put: impl FnOnce(&mut Encoder<'_>)) {
        let at = self.0.len();
        self.raw(&[0; 4]);
        put(&mut Encoder(self.0));
        // A batch holds less than this, so a longer one is found when it is read back.
        let length = u32::try_from(self.0.len() - at - 4).unwrap_or(u32::MAX);
        if let Some(place) = self.0.get_mut(at..at + 4) {
            place.copy_from_slice(&length.to_le_bytes());
        }
    }
}

/// Reads what an [`Encoder`] wrote. Anything else answers `None`; no bytes make it panic.
#[derive(Clone, Debug)]
pub struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    /// Reads from `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether everything was read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next `count` bytes.
    pub fn raw(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// One byte.
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// Yes or no.
    pub fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// A number.
    pub fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// A signed number.
    pub fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
    }

    /// A number that is counted on with: at most 2^62.
    pub fn count(&mut self) -> Option<u64> {
        self.number().filter(|number| *number <= HIGHEST)
    }

    /// A small number.
    pub fn small(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    /// Bytes behind their length.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.raw(length)
    }

    /// Text behind its length.
    pub fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// A value that may be missing.
    pub fn maybe<T>(&mut self, take: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.flag()? { take(self).map(Some) } else { Some(None) }
    }

    /// What stands behind a length of four bytes.
    pub fn nested(&mut self) -> Option<Decoder<'a>> {
        let length = self.raw(4)?.try_into().ok().map(u32::from_le_bytes)?;
        self.raw(usize::try_from(length).ok()?).map(Decoder)
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip() {
        for number in [0, 1, 127, 128, 300, 1 << 31, u64::MAX - 1, u64::MAX] {
            let mut buffer = Vec::new();
            Encoder::new(&mut buffer).number(number);
            assert_eq!(Decoder::new(&buffer).number(), Some(number));
            assert_eq!(Decoder::new(&buffer[..buffer.len() - 1]).number(), None);
        }
        for number in [0, -1, 1, i64::MIN, i64::MAX] {
            let mut buffer = Vec::new();
            Encoder::new(&mut buffer).signed(number);
            assert_eq!(Decoder::new(&buffer).signed(), Some(number));
        }
    }

    #[test]
    fn what_is_too_long_is_refused() {
        assert_eq!(Decoder::new(&[0xff; 10]).number(), None);
        assert_eq!(Decoder::new(&[0x80; 11]).number(), None);
        assert_eq!(Decoder::new(&[200, 1, 7]).bytes(), None);
        assert!(Decoder::new(&[9, 0, 0, 0, 1]).nested().is_none());
    }
}
