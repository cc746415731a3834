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
    let (second, third) = (anchors.get(number + 1)?, anchors.get(number + 2)?);
    // Dots two to four bytes apart have one to three bytes between them.
    if second - first > 4 || third - second > 4 || text[second] != b'.' || text[third] != b'.' {
        return None;
    }
    let head = digits(text, first.checked_sub(4)?)?;
    let width = not_digits(head).leading_zeros() / 8;
    let start = first - width as usize;
    if width == 0 || width == 4 || !byte::is(text[start - 1], PLAIN) {
        return None;
    }
    let last = digits(text, third + 1)?;
    let end_width = not_digits(last).trailing_zeros() / 8;
    let end = third + 1 + end_width as usize;
    if end_width == 0 || end_width == 4 || byte::is(text[end], ALNUM) || text[end] == b'.' {
        return None;
    }
    let octets = [
        value(head >> (32 - 8 * width), width),
        whole(text, first + 1, second)?,
        whole(text, second + 1, third)?,
        value(last, end_width),
    ];
    let bits = octets.iter().fold(0, |bits, octet| bits << 8 | octet);
    octets.iter().all(|octet| *octet < 256).then_some((start, end, bits))
}

/// Four bytes of text, with each digit replaced by its value.
#[inline]
fn digits(text: &[u8], at: usize) -> Option<u32> {
    let bytes = text.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*bytes) ^ 0x3030_3030)
}

/// The highest bit of each byte that is no digit.
#[inline]
fn not_digits(digits: u32) -> u32 {
    (((digits & 0x7f7f_7f7f) + 0x7676_7676) | digits) & 0x8080_8080
}

/// The number that the digits from `from` to `to` are, one to three of them.
#[inline]
fn whole(text: &[u8], from: usize, to: usize) -> Option<u32> {
    let width = u32::try_from(to - from).ok()?;
    let digits = digits(text, from)?;
    // Zero bytes in front of the digits are leading zeros.
    (width > 0 && not_digits(digits << (32 - 8 * width)) == 0).then(|| value(digits, width))
}

/// The number that the first `width` digits are, one to three of them.
#[inline]
fn value(digits: u32, width: u32) -> u32 {
    let [_, hundreds, tens, ones] = (digits << (32 - 8 * width)).to_le_bytes();
    u32::from(hundreds) * 100 + u32::from(tens) * 10 + u32::from(ones)
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

    fn quick(text: &str) -> Option<Ip4> {
        let mut anchors = Anchors::default();
        anchors.collect(text.as_bytes(), 0);
        ip4(text.as_bytes(), anchors.places(), 0)
    }

    #[test]
    fn plain_addresses() {
        assert_eq!(quick(" ..... 192.0.2.1 ").map(|(start, _, _)| start), None);
        assert_eq!(quick("src=192.0.2.10 x"), Some((4, 14, 0xc000_020a)));
        assert_eq!(quick("   |255.255.255.255|  "), Some((4, 19, u32::MAX)));
        assert_eq!(quick("   |001.002.030.004|  "), Some((4, 19, 0x0102_1e04)));
        for no in [
            "x=1.2.3.4",
            "192.0.2.1   ",
            "src=192.0.2.256 x",
            "src-192.0.2.1   ",
            "src=192.0.2.1.4  ",
            "=  1.a.2.3   ",
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
        fn what_is_plain_is_an_address(text in " {4}[=| ][0-9x]{0,4}[.:][0-9x]{0,4}[.:][0-9x]{0,4}[.:][0-9x]{0,4}[=. ].{4}") {
            if let Some((start, end, bits)) = quick(&text) {
                prop_assert_eq!(address::ip4(text.as_bytes(), start, false), Some((end, bits)));
            }
        }
    }
}
