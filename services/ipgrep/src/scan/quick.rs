//! The two most frequent questions of the scanner, answered without a loop over bytes where the answer is plain.
//!
//! Both look only at what decides the common cases and say "not plain" otherwise; the rules themselves are elsewhere.

use super::anchors::Places;
use super::byte::{self, ALNUM, PLAIN};

/// An IPv4 address: `start`, `end`, and its bits.
pub(super) type Ip4 = (usize, usize, u32);

/// The IPv4 address whose first dot is anchor `number`, if nothing beside it needs a closer look: a byte before that
/// is neither part of a label nor a dot or an escape, and a byte behind that is neither alphanumeric nor a dot.
#[inline]
pub(super) fn ip4(text: &[u8], anchors: Places<'_>, number: usize) -> Option<Ip4> {
    let first = anchors.get(number)?;
    let (second, third) = (anchors.get(number + 1)? - first, anchors.get(number + 2)? - first);
    // Dots two to four bytes apart have one to three bytes between them.
    if second > 4 || third - second > 4 {
        return None;
    }
    let head = to_digits(*text.get(first.checked_sub(4)?..)?.first_chunk()?);
    let tail: &[u8; 16] = text[first..].first_chunk()?;
    let last = to_digits(*tail[third + 1..].first_chunk()?);
    let head_width = not_digits(head).leading_zeros() / 8;
    let last_width = not_digits(last).trailing_zeros() / 8;
    if tail[second] != b'.' || tail[third] != b'.' || !is_width(head_width) || !is_width(last_width) {
        return None;
    }
    let (start, end) = (first - head_width as usize, third + 1 + last_width as usize);
    let next = tail[end];
    if !byte::is(text[start - 1], PLAIN) || byte::is(next, ALNUM) || next == b'.' {
        return None;
    }
    let inner = inner_octets(tail, second, third)?;
    let octets =
        [aligned(head >> (32 - 8 * head_width), head_width), inner[0], inner[1], aligned(last, last_width)];
    let bits = octets.iter().fold(0, |bits, octet| bits << 8 | value(*octet));
    octets.iter().all(|octet| is_octet(*octet)).then_some((start, first + end, bits))
}

/// The digits between the first and the second dot and between that and the third; `tail` begins with the first.
#[inline]
#[allow(clippy::cast_possible_truncation)] // the bytes behind do not matter
fn inner_octets(tail: &[u8; 16], second: usize, third: usize) -> Option<[u32; 2]> {
    let eight = u64::from_le_bytes(*tail.first_chunk()?) ^ 0x3030_3030_3030_3030;
    let (width, other_width) = (second as u32 - 1, (third - second) as u32 - 1);
    if width == 0 || other_width == 0 {
        return None;
    }
    let octets =
        [aligned((eight >> 8) as u32, width), aligned((eight >> (8 * (second + 1))) as u32, other_width)];
    (not_digits(octets[0]) | not_digits(octets[1]) == 0).then_some(octets)
}

/// Four bytes of text, with each digit replaced by its value.
#[inline]
fn to_digits(bytes: [u8; 4]) -> u32 {
    u32::from_le_bytes(bytes) ^ 0x3030_3030
}

/// The highest bit of each byte that is no digit.
#[inline]
fn not_digits(digits: u32) -> u32 {
    (((digits & 0x7f7f_7f7f) + 0x7676_7676) | digits) & 0x8080_8080
}

#[inline]
fn is_width(width: u32) -> bool {
    (1..=3).contains(&width)
}

/// The first `width` digits, one to three of them, as the last of four: zeros come before.
#[inline]
fn aligned(digits: u32, width: u32) -> u32 {
    digits << (32 - 8 * width)
}

/// Whether three digits are at most 255: numbers of equal length are in the order of their digits.
#[inline]
fn is_octet(digits: u32) -> bool {
    digits.swap_bytes() <= 0x0002_0505
}

/// The number that three digits are, if it is an octet: hundreds, tens and ones meet in the highest byte.
#[inline]
fn value(digits: u32) -> u32 {
    digits.wrapping_mul(0x0064_0a01) >> 24
}

/// Colons of the longest chain of groups that is no IPv6 address; with six of them a dotted tail may follow.
const COLONS: usize = 5;

/// The anchor to go on with, if no IPv6 address begins with the group before colon `number` nor between the colons that
/// are skipped: nowhere do two colons follow each other, and there are too few of them without that. Clock times
/// and MAC addresses end here.
#[inline]
pub(super) fn no_ip6(text: &[u8], anchors: Places<'_>, number: usize) -> Option<usize> {
    let mut colon = anchors.get(number)?;
    for next in number + 1..=number + COLONS {
        if text.get(colon + 1) == Some(&b':') {
            return None;
        }
        // The block of anchors may end where the text goes on.
        let place = anchors.get(next)?;
        if place - colon > 5 || text[place] != b':' {
            return Some(next);
        }
        colon = place;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::address;
    use crate::scan::anchors::Anchors;
    use proptest::prelude::*;

    /// With blanks behind: too little text is not plain.
    fn quick(text: &str) -> Option<Ip4> {
        let text = format!("{text}{:16}", "");
        let mut anchors = Anchors::default();
        anchors.collect(text.as_bytes(), 0);
        ip4(text.as_bytes(), anchors.places(), 0)
    }

    #[test]
    fn plain_addresses() {
        assert_eq!(quick(" ..... 192.0.2.1"), Some((7, 16, 0xc000_0201)));
        assert_eq!(quick("src=192.0.2.10 x      "), Some((4, 14, 0xc000_020a)));
        assert_eq!(quick("   |255.255.255.255|        "), Some((4, 19, u32::MAX)));
        assert_eq!(quick("   |001.002.030.004|        "), Some((4, 19, 0x0102_1e04)));
        for no in [
            "x=1.2.3.4",
            "192.0.2.1   ",
            "src=192.0.2.256 x",
            "src-192.0.2.1   ",
            "src=192.0.2.1.4  ",
            "=  1.a.2.3           ",
            "src=192.0.2.256 x     ",
            "src=192.0.2.1.4       ",
            "src=1.2.3.4a          ",
        ] {
            assert_eq!(quick(no), None, "{no}");
        }
    }

    #[test]
    fn times_are_no_addresses() {
        let next = |text: &str| {
            let mut anchors = Anchors::default();
            anchors.collect(text.as_bytes(), 0);
            no_ip6(text.as_bytes(), anchors.places(), 0)
        };
        assert_eq!(next("06:00:03.912 a.b"), Some(2));
        assert_eq!(next("00:16:3e:0a:0b:cc x.y"), Some(5));
        assert_eq!(next("a:b      c:d e:f"), Some(1));
        for may_be in ["2001:db8::1", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:192.0.2.1", "::1", "1:2:: a.b", "06:00"]
        {
            assert_eq!(next(may_be), None, "{may_be}");
        }
    }

    proptest! {
        #[test]
        fn what_is_plain_is_an_address(text in " {4}[=| ][0-9x]{0,4}\\.[0-9x]{0,4}[.:][0-9x]{0,4}[.:][0-9x]{0,4}[=. ] {12}") {
            if let Some((start, end, bits)) = quick(&text) {
                prop_assert_eq!(address::ip4(text.as_bytes(), start, false), Some((end, bits)));
            }
        }
    }
}
