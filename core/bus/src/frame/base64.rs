//! Base64 of field contents: one way to write it, many to read it (PRISEM services specification, 4.3 and 6.1).

use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, STANDARD};

/// What is left after blanks and padding are gone may carry stray bits at the end; old encoders wrote them.
const LENIENT: GeneralPurpose = GeneralPurpose::new(&ALPHABET, NO_PAD.with_decode_allow_trailing_bits(true));

/// A whole number of base64 groups, so that pieces of a text can be checked one by one.
const PIECE: usize = 4096;

/// The canonical form: standard alphabet, padded, no line breaks, `""` for nothing.
#[must_use]
pub fn encode(content: &[u8]) -> String {
    STANDARD.encode(content)
}

/// Appends the canonical form to `out`.
pub(crate) fn encode_into(content: &[u8], out: &mut String) {
    STANDARD.encode_string(content, out);
}

/// How long the canonical form of `length` bytes is.
pub(crate) fn encoded_len(length: usize) -> usize {
    length.div_ceil(3).saturating_mul(4)
}

/// True for exactly the texts that [`encode`] gives.
#[must_use]
pub fn is_canonical(text: &str) -> bool {
    let padding = text.find('=').map_or(0, |place| text.len() - place);
    let mut content = [0; PIECE];
    padding <= 2
        && text.as_bytes().chunks(PIECE).all(|piece| STANDARD.decode_slice(piece, &mut content).is_ok())
}

/// The content of a field as peers write it: standard or URL alphabet, even mixed; blanks, tabs, CR and LF anywhere;
/// padding optional, at most two `=` at the end. None if the text is anything else.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    // Large payloads are canonical almost always: one pass and one allocation then.
    STANDARD.decode(text).ok().or_else(|| decode_lenient(text))
}

fn decode_lenient(text: &str) -> Option<Vec<u8>> {
    let mut plain: Vec<u8> =
        text.bytes().filter(|byte| !b" \t\r\n".contains(byte)).map(to_standard).collect();
    for _ in 0..2 {
        if plain.last() == Some(&b'=') {
            plain.pop();
        }
    }
    LENIENT.decode(plain).ok()
}

fn to_standard(byte: u8) -> u8 {
    match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tolerant_forms() {
        for (text, want) in [
            ("", Some("")),
            (" \r\n\t", Some("")),
            ("=", Some("")),
            ("aGVs\nbG8=\n", Some("hello")),
            ("aGVsbG8", Some("hello")),
            ("aGVsbG8==", Some("hello")),
            ("aGVsbG8 = =", Some("hello")),
            ("aGl", Some("hi")),
            ("a", None),
            ("a=", None),
            ("aGk===", None),
            ("aG=k", None),
            ("aGk*", None),
            ("aGk\u{b}", None),
            ("é", None),
        ] {
            assert_eq!(decode(text).as_deref(), want.map(str::as_bytes), "{text:?}");
        }
        assert_eq!(decode("_-8"), decode("/+8="));
        assert_eq!(decode("_/8+-w"), decode("//8++w=="));
    }

    #[test]
    fn canonical_is_what_encode_writes() {
        for bad in ["a", "aGk", "aGk=\n", "aGl=", "_-8=", "aGk=aGk=", "====", "aG k", "aGk=="] {
            assert!(!is_canonical(bad), "{bad}");
        }
        for length in [0, 1, 2, 3, 3071, 3072, 3073, 10_000] {
            assert!(is_canonical(&encode(&vec![0xfb; length])), "{length}");
            assert_eq!(encode(&vec![7; length]).len(), encoded_len(length));
        }
        // Padding in the middle, just where a piece ends.
        assert!(!is_canonical(&format!("{}aGk=aGVs", "AAAA".repeat(1023))));
    }

    proptest! {
        #[test]
        fn decodes_what_was_encoded(content: Vec<u8>) {
            let text = encode(&content);
            prop_assert!(is_canonical(&text));
            prop_assert_eq!(decode(&text), Some(content));
        }

        #[test]
        fn canonical_means_re_encoding_changes_nothing(text in "[A-Za-z0-9+/=_ -]{0,12}") {
            let again = decode(&text).map(|content| encode(&content));
            prop_assert_eq!(is_canonical(&text), again.as_deref() == Some(text.as_str()));
        }
    }
}
