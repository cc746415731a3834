//! Host names that are plain to see: labels between two signs that are part of none.

use super::byte::{self, PLAIN};
use super::index::{Index, WINDOW};
use super::names::LAST_LABEL;
use super::suffix::is_suffix;

/// The host name around `at`, a place of [`Window::names`](super::index::Window::names), if it is plain: it is
/// all there is between a sign that hides nothing and one that no label holds, at most 64 bytes; each of its dots
/// joins two labels, the last label has nothing but letters and is no file suffix, and no address ends inside.
#[inline]
pub(super) fn plain(text: &[u8], index: &Index, at: usize) -> Option<(usize, usize)> {
    let rest = index.from(at, |window| window.breaks);
    // A name that goes on behind the window is not plain, but rare.
    let end = at + (rest != 0).then(|| rest.trailing_zeros() as usize)?;
    let length = index.before(end, |window| window.breaks).leading_zeros();
    let last = index.before(end, |window| window.dots).leading_zeros();
    let letters = (!index.before(end, |window| window.letters)).leading_zeros();
    if length as usize >= WINDOW || !(2..=LAST_LABEL).contains(&(last as usize)) || letters < last {
        return None;
    }
    let inside = u64::MAX << (u64::BITS - length);
    let words = index.before(end, |window| window.words);
    let dots = index.before(end, |window| window.dots) & !(words << 1 & words >> 1);
    let quads = index.before(end, |window| window.quads);
    let start = end - length as usize;
    let free = (dots | quads) & inside == 0 && words & (inside & inside.wrapping_neg()) != 0;
    let borders = start == 0 || byte::is(text[start - 1], PLAIN);
    let tail = &text[end - last as usize..end];
    (free && borders && text.get(end) != Some(&b'@') && !is_suffix(tail)).then_some((start, end))
}
