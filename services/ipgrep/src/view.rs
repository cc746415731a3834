//! The view of a text in which identifiers are sought: escapes of JSON texts and URLs are one sign each, and defanged
//! signs are what they stand for (PRISEM services specification, 7.2.2 and 7.8.4).

use memchr::{memchr2, memchr3};

/// What an escaped letter or a `\u` escape becomes: a control sign, which is a border and ends a URL.
const CONTROL: u8 = 1;

/// Defanged signs; letters count in any case.
const DEFANGED: [(&[u8], &[u8]); 12] = [
    (b"[.]", b"."),
    (b"(.)", b"."),
    (b"{.}", b"."),
    (b"[dot]", b"."),
    (b"(dot)", b"."),
    (b"{dot}", b"."),
    (b"[:]", b":"),
    (b"[://]", b"://"),
    (b"[@]", b"@"),
    (b"[at]", b"@"),
    (b"(at)", b"@"),
    (b"[/]", b"/"),
];

/// The signs of a text and where they stand.
#[derive(Debug, Default)]
pub(crate) struct View {
    signs: Vec<u8>,
    /// Start of each sign, and the length of the text.
    starts: Vec<usize>,
}

impl View {
    /// Whether the view of the text differs from its bytes.
    pub(crate) fn differs(text: &[u8], defang: bool) -> bool {
        memchr2(b'\\', b'%', text).is_some() || (defang && memchr3(b'[', b'(', b'{', text).is_some())
    }

    /// Reads another text.
    pub(crate) fn read(&mut self, text: &[u8], defang: bool) {
        self.signs.clear();
        self.starts.clear();
        let mut at = 0;
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            at += match rest[0] {
                b'\\' | b'%' => self.push_escape(rest, at),
                b'[' | b'(' | b'{' if defang => self.push_defanged(rest, at),
                byte => self.push(byte, at, 1),
            };
        }
        self.starts.push(text.len());
    }

    /// The signs.
    pub(crate) fn signs(&self) -> &[u8] {
        &self.signs
    }

    /// Where each sign starts, and the length of the text.
    pub(crate) fn starts(&self) -> &[usize] {
        &self.starts
    }

    fn push(&mut self, sign: u8, start: usize, width: usize) -> usize {
        self.signs.push(sign);
        self.starts.push(start);
        width
    }

    fn push_escape(&mut self, rest: &[u8], at: usize) -> usize {
        let (sign, width) = match rest {
            [b'\\', b'n' | b't' | b'r' | b'b' | b'f', ..] => (CONTROL, 2),
            [b'\\', b'u', digits @ ..] if begins_with_hex(digits, 4) => (CONTROL, 6),
            [b'\\', sign @ (b'\\' | b'"' | b'/'), ..] => (*sign, 2),
            [b'%', digits @ ..] if begins_with_hex(digits, 2) => (b'%', 3),
            _ => (rest[0], 1),
        };
        self.push(sign, at, width)
    }

    fn push_defanged(&mut self, rest: &[u8], at: usize) -> usize {
        let begins = |from: &[u8]| rest.get(..from.len()).is_some_and(|head| head.eq_ignore_ascii_case(from));
        let Some((from, to)) = DEFANGED.iter().find(|(from, _)| begins(from)) else {
            return self.push(rest[0], at, 1);
        };
        // The opening bracket belongs to the first sign and the closing one to the last.
        for (i, sign) in to.iter().enumerate() {
            self.push(*sign, if i == 0 { at } else { at + i + 1 }, 1);
        }
        from.len()
    }
}

fn begins_with_hex(text: &[u8], count: usize) -> bool {
    text.get(..count).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

/// How many of the bytes from `at` on belong to an escape that begins before `at`, given that the byte before is a
/// backslash or a percent sign.
///
/// Escapes take letters and digits only behind their first sign, so the start of a run of them is all that can belong
/// to one.
pub(crate) fn escaped_from(text: &[u8], at: usize) -> usize {
    let (before, rest) = text.split_at(at);
    match before.last() {
        Some(b'%') if begins_with_hex(rest, 2) => 2,
        Some(b'\\') if is_escape_sign(before) => match rest {
            [b'n' | b't' | b'r' | b'b' | b'f', ..] => 1,
            [b'u', digits @ ..] if begins_with_hex(digits, 4) => 5,
            _ => 0,
        },
        _ => 0,
    }
}

/// Whether the backslash at the end begins an escape rather than being the second sign of one.
fn is_escape_sign(text: &[u8]) -> bool {
    text.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn view(text: &[u8], defang: bool) -> (Vec<u8>, Vec<usize>) {
        let mut view = View::default();
        view.read(text, defang);
        (view.signs, view.starts)
    }

    #[test]
    fn escapes_are_one_sign() {
        let (signs, starts) = view(br"a\n\u00e9\\n\/%2Fx%2\u12", false);
        assert_eq!(signs, b"a\x01\x01\\n/%x%2\\u12");
        assert_eq!(starts, [0, 1, 3, 9, 11, 12, 14, 17, 18, 19, 20, 21, 22, 23, 24]);
    }

    #[test]
    fn defanged_signs() {
        let (signs, starts) = view(b"a[.]b[DOT]c[://]d(at)e[x", true);
        assert_eq!(signs, b"a.b.c://d@e[x");
        assert_eq!(starts, [0, 1, 4, 5, 10, 11, 13, 14, 16, 17, 21, 22, 23, 24]);
        assert!(View::differs(b"a[.]b", true) && !View::differs(b"a[.]b", false));
    }

    proptest! {
        #[test]
        fn escaped_letters_are_those_that_the_view_hides(text in r"[\\%nu0-9a-f.]{0,24}") {
            let text = text.as_bytes();
            let (_, starts) = view(text, false);
            for at in 1..=text.len() {
                if !matches!(text[at - 1], b'\\' | b'%') || !starts.contains(&(at - 1)) {
                    continue;
                }
                let next = *starts.iter().find(|start| **start >= at).unwrap();
                // A second backslash is a sign of its own to those who look from behind it.
                if !matches!(text.get(at), Some(b'\\')) {
                    prop_assert_eq!(at + escaped_from(text, at), next);
                }
            }
        }
    }
}
