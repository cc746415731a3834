//! The addresses that are plain to see: four numbers with nothing beside them that needs a closer look.

use super::byte::{self, PLAIN};
use super::finds::Ip4;
use super::index::Index;

/// Widest number of an address.
const WIDEST: u32 = 3;

/// The IPv4 address that ends before `end`, a place of [`Window::quads`](super::index::Window::quads), if it is plain:
/// the byte before it begins and hides nothing, and no dot follows it.
#[inline]
pub(super) fn plain(text: &[u8], index: &Index, end: usize) -> Option<Ip4> {
    let mut dots = index.before(end, |window| window.dots);
    let mut widths = [0; 3];
    for width in &mut widths {
        *width = dots.leading_zeros();
        dots = dots << (*width & 63) << 1;
    }
    let [last, third, second] = widths;
    if last.max(third).max(second) > WIDEST {
        return None;
    }
    let others = last + third + second + 3;
    let first = (!index.before(end, |window| window.digits) << others).leading_zeros();
    let width = others + first;
    // From four bytes before the first dot to the byte behind.
    let span = text.get(end.checked_sub(others as usize + 4)?..=end)?;
    let start = (end - width as usize).checked_sub(1)?;
    if first > WIDEST || !byte::is(text[start], PLAIN) || span.last() == Some(&b'.') {
        return None;
    }
    let inner = 4 + 1 + second as usize;
    let octets = [
        octet(span, 4, first),
        octet(span, inner, second),
        octet(span, inner + 1 + third as usize, third),
        octet(span, span.len() - 1, last),
    ];
    let bits = octets.iter().fold(0, |bits, octet| bits << 8 | value(*octet));
    octets.iter().all(|octet| is_octet(*octet)).then_some(Ip4 { start: start + 1, bits, width })
}

/// Whether the address that ends before `end` is one that [`plain`] gives when the windows are read.
pub(super) fn is_plain(text: &[u8], index: &Index, end: usize) -> bool {
    index.from(end, |window| window.quads) & 1 == 1 && plain(text, index, end).is_some()
}

/// The `width` digits before `end` as values, the last in the highest byte; the other bytes are zero.
#[inline]
fn octet(span: &[u8], end: usize, width: u32) -> u32 {
    let bytes = span[end - 4..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let shift = 32 - 8 * width;
    (bytes ^ 0x3030_3030) >> shift << shift
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
