//! What each byte can be in an identifier.

/// `0` to `9`
pub(super) const DIGIT: u8 = 1;
/// A hexadecimal digit.
pub(super) const HEX: u8 = 2;
/// An ASCII letter.
pub(super) const LETTER: u8 = 4;
/// Alphanumeric or `_`: what a label of a host name begins and ends with.
pub(super) const WORD: u8 = 8;
/// [`WORD`] or `-`: what a label consists of.
pub(super) const LABEL: u8 = 16;
/// What the local part of an e-mail address consists of.
pub(super) const LOCAL: u8 = 32;
/// Blanks, control bytes and the signs that end a URL.
pub(super) const STOP: u8 = 64;
/// What is part of no token and hides nothing: anything but [`LABEL`], dots, colons, `%` and `\`.
pub(super) const PLAIN: u8 = 128;
/// An ASCII letter or digit.
pub(super) const ALNUM: u8 = DIGIT | LETTER;

/// The classes of each byte.
const TABLE: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    loop {
        table[byte as usize] = classes(byte);
        if byte == 255 {
            break table;
        }
        byte += 1;
    }
};

const fn classes(byte: u8) -> u8 {
    let word = match byte {
        b'0'..=b'9' => DIGIT | HEX | WORD | LABEL | LOCAL,
        b'a'..=b'f' | b'A'..=b'F' => HEX | LETTER | WORD | LABEL | LOCAL,
        b'g'..=b'z' | b'G'..=b'Z' => LETTER | WORD | LABEL | LOCAL,
        b'_' => WORD | LABEL | LOCAL,
        b'-' => LABEL | LOCAL,
        b'.' | b'%' | b'+' => LOCAL,
        _ => 0,
    };
    let stop =
        matches!(byte, 0..=b' ' | 0x7f | b'`' | b'"' | b'<' | b'>' | b'|' | b'\\' | b'^' | b'{' | b'}');
    let plain = word & LABEL == 0 && !matches!(byte, b'.' | b':' | b'%' | b'\\');
    word | if stop { STOP } else { 0 } | if plain { PLAIN } else { 0 }
}

/// Whether the byte is of one of the classes.
#[inline]
pub(super) fn is(byte: u8, class: u8) -> bool {
    TABLE[byte as usize] & class != 0
}

/// Whether there is a byte at `at` that is of one of the classes.
#[inline]
pub(super) fn is_at(text: &[u8], at: usize, class: u8) -> bool {
    text.get(at).is_some_and(|byte| is(*byte, class))
}

/// The end of the run of bytes of a class that begins at `from`.
#[inline]
pub(super) fn run(text: &[u8], from: usize, class: u8) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    from + rest.iter().position(|byte| !is(*byte, class)).unwrap_or(rest.len())
}

/// The start of the run of bytes of a class that ends at `to` and does not begin before `low`.
#[inline]
pub(super) fn run_back(text: &[u8], low: usize, to: usize, class: u8) -> usize {
    let before = text.get(low..to).unwrap_or_default();
    low + before.iter().rposition(|byte| !is(*byte, class)).map_or(0, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_stop_at_the_border_of_the_text() {
        assert_eq!(run(b"a1-b.c", 0, ALNUM), 2);
        assert_eq!(run(b"a1-b.c", 0, LABEL), 4);
        assert_eq!(run(b"abc", 1, LETTER), 3);
        assert_eq!(run(b"abc", 7, LETTER), 7);
        assert_eq!(run_back(b"x-ab", 0, 4, ALNUM), 2);
        assert_eq!(run_back(b"x-ab", 3, 4, ALNUM), 3);
        assert_eq!(run_back(b"abc", 0, 3, ALNUM), 0);
    }

    #[test]
    fn only_ascii_is_alphanumeric() {
        for byte in 0..=255_u8 {
            assert_eq!(is(byte, ALNUM), byte.is_ascii_alphanumeric());
            assert_eq!(is(byte, HEX), byte.is_ascii_hexdigit());
            assert_eq!(is(byte, WORD), byte.is_ascii_alphanumeric() || byte == b'_');
        }
    }
}
