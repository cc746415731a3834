//! Addresses in signs (PRISEM services specification, 7.2.4). Left borders are the caller's matter.

use super::border::{right_of_address, right_of_ip6};
use super::byte::{self, DIGIT, HEX};
use crate::ident::Address;

/// An IPv4 address at `at`, and where it ends.
#[inline]
pub(super) fn ip4(signs: &[u8], at: usize, tcpdump: bool) -> Option<(usize, u32)> {
    let (mut bits, mut end) = (0, at);
    for i in 0..4 {
        if i > 0 {
            (signs.get(end) == Some(&b'.')).then_some(())?;
            end += 1;
        }
        let (next, octet) = octet(signs, end)?;
        bits = bits << 8 | octet;
        end = next;
    }
    right_of_address(signs, end, tcpdump).then_some((end, bits))
}

/// One to three digits of at most 255 that no digit follows.
#[inline]
fn octet(signs: &[u8], at: usize) -> Option<(usize, u32)> {
    let window = &signs[..signs.len().min(at + 4)];
    let end = byte::run(window, at, DIGIT);
    let octet = window.get(at..end)?.iter().fold(0, |octet, digit| octet * 10 + u32::from(digit - b'0'));
    ((1..=3).contains(&(end - at)) && octet <= 255).then_some((end, octet))
}

/// The longest IPv6 address at `at` that has a right border, and where it ends.
pub(super) fn ip6(signs: &[u8], at: usize, tcpdump: bool) -> Option<(usize, Address)> {
    Groups::read(signs, at, |end| right_of_ip6(signs, end, tcpdump))
}

/// The IPv6 address that `text` is as a whole.
pub(super) fn whole_ip6(text: &[u8]) -> Option<Address> {
    Groups::read(text, 0, |end| end == text.len()).map(|(_, address)| address)
}

/// The groups of an IPv6 address read so far.
///
/// A prefix that ends inside a group has an alphanumeric sign behind it and thus no border, so whole groups are
/// read and each state that is a complete address is a possible end.
#[derive(Default)]
struct Groups {
    values: [u16; 8],
    count: usize,
    gap: Option<usize>,
    tailed: bool,
}

impl Groups {
    fn read(signs: &[u8], at: usize, border: impl Fn(usize) -> bool) -> Option<(usize, Address)> {
        let mut state = Self::default();
        let mut end = at;
        let mut best = None;
        while let Some(next) = state.step(signs, end, end == at) {
            end = next;
            if state.is_complete() && border(end) {
                best = Some((end, state.bits()));
            }
        }
        // `::` alone is no identifier.
        let (end, bits) = best.filter(|(end, _)| end - at > 2)?;
        Some((end, Address::from_ip6(bits)))
    }

    /// Reads `::`, or a group with the colon before it; gives the place behind.
    #[inline]
    fn step(&mut self, signs: &[u8], at: usize, first: bool) -> Option<usize> {
        if self.count == 8 || self.tailed {
            return None;
        }
        let colon = signs.get(at) == Some(&b':');
        if colon && signs.get(at + 1) == Some(&b':') {
            return self.open_gap(at);
        }
        let after_gap = self.gap == Some(self.count);
        if colon == (first || after_gap) {
            return None;
        }
        self.group(signs, at + usize::from(colon))
    }

    fn open_gap(&mut self, at: usize) -> Option<usize> {
        self.gap.replace(self.count).is_none().then_some(at + 2)
    }

    /// Reads a group, or the dotted tail that begins like one.
    #[inline]
    fn group(&mut self, signs: &[u8], at: usize) -> Option<usize> {
        let window = &signs[..signs.len().min(at + 5)];
        let end = byte::run(window, at, HEX);
        if !(1..=4).contains(&(end - at)) || self.count + usize::from(self.gap.is_some()) == 8 {
            return None;
        }
        if let Some(tail) = self.tail(signs, at, end) {
            return Some(tail);
        }
        let value = window[at..end].iter().fold(0, |value, digit| value << 4 | hex_value(*digit));
        self.push(value);
        Some(end)
    }

    /// Reads four octets as the last two groups.
    fn tail(&mut self, signs: &[u8], at: usize, group_end: usize) -> Option<usize> {
        let room = self.count + usize::from(self.gap.is_some()) <= 6;
        let fits = if self.gap.is_some() { room && self.count <= 5 } else { self.count == 6 };
        if signs.get(group_end) != Some(&b'.') || !fits {
            return None;
        }
        let (mut octets, mut end) = ([0; 4], at);
        for (i, octet) in octets.iter_mut().enumerate() {
            if i > 0 {
                (signs.get(end) == Some(&b'.')).then_some(())?;
                end += 1;
            }
            (end, *octet) = plain_octet(signs, end)?;
        }
        self.push(u16::from_be_bytes([octets[0], octets[1]]));
        self.push(u16::from_be_bytes([octets[2], octets[3]]));
        self.tailed = true;
        Some(end)
    }

    fn push(&mut self, group: u16) {
        self.values[self.count] = group;
        self.count += 1;
    }

    fn is_complete(&self) -> bool {
        self.count == 8 || self.gap.is_some()
    }

    fn bits(&self) -> u128 {
        let join = |groups: &[u16]| groups.iter().fold(0_u128, |bits, group| bits << 16 | u128::from(*group));
        let read = &self.values[..self.count];
        let (head, tail) = read.split_at(self.gap.unwrap_or(0).min(self.count));
        let head_bits = if head.is_empty() { 0 } else { join(head) << (16 * (8 - head.len())) };
        head_bits | join(tail)
    }
}

/// An octet without leading zeros, as in the dotted tail of an IPv6 address.
fn plain_octet(signs: &[u8], at: usize) -> Option<(usize, u8)> {
    let (end, value) = octet(signs, at)?;
    let padded = end - at > 1 && signs[at] == b'0';
    (!padded).then_some((end, u8::try_from(value).ok()?))
}

#[inline]
fn hex_value(digit: u8) -> u16 {
    u16::from(if digit <= b'9' { digit & 15 } else { (digit & 15) + 9 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv6Addr;

    #[test]
    fn ip4_forms() {
        assert_eq!(ip4(b"192.000.002.001", 0, false), Some((15, 0xc000_0201)));
        assert_eq!(ip4(b"x 255.255.255.255.", 2, false), Some((17, u32::MAX)));
        assert_eq!(ip4(b"192.0.2.1.443", 0, true), Some((9, 0xc000_0201)));
        for no in ["192.0.2.256", "192.0.2", "192.0.2.", "192.0.2.0001", "1.2.3.4.5", "1.2.3.4x", ""] {
            assert_eq!(ip4(no.as_bytes(), 0, false), None, "{no}");
        }
    }

    #[test]
    fn longest_prefix_with_a_border() {
        for (text, end) in [
            ("2001:db8::1: refused", 11),
            ("2001:db8::1:12345", 11),
            ("1:2:3:4:5:6:192.0.2.1:http", 21),
            ("2001:db8::1.txt", 11),
            ("1:: ", 3),
        ] {
            assert_eq!(ip6(text.as_bytes(), 0, false).map(|(end, _)| end), Some(end), "{text}");
        }
        for no in
            ["::", "1:2:3:4:5:6:7:8:9", "2001:db8::1::2", "2001:db8::12345", "2001:db8::1.443", "12:34:56"]
        {
            assert_eq!(ip6(no.as_bytes(), 0, false), None, "{no}");
        }
    }

    proptest! {
        #[test]
        fn whole_texts_are_those_of_the_standard_library(text in "([0-9a-f]{0,4}:|::|[0-9]{1,3}\\.){0,9}[0-9a-f]{0,5}") {
            let standard = text.parse::<Ipv6Addr>().ok().filter(|_| text.len() > 2);
            prop_assert_eq!(whole_ip6(text.as_bytes()), standard.map(|ip| Address::from_ip6(ip.to_bits())));
        }
    }
}
