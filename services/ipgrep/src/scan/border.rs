//! Borders of tokens (PRISEM services specification, 7.2.3), on signs.

use super::byte::{self, ALNUM, DIGIT, HEX};
use super::suffix::is_suffix;

/// Whether a token may begin at `at`.
#[inline]
pub(super) fn left(signs: &[u8], at: usize) -> bool {
    match at.checked_sub(1).map(|before| signs[before]) {
        None => true,
        Some(b'.') => at < 2 || !byte::is(signs[at - 2], ALNUM),
        Some(before) => !byte::is(before, ALNUM),
    }
}

/// Whether a token may end before `at`.
#[inline]
pub(super) fn right(signs: &[u8], at: usize) -> bool {
    match signs.get(at) {
        None => true,
        Some(b'.') => right_of_dot(signs, at + 1),
        Some(next) => !byte::is(*next, ALNUM),
    }
}

/// Whether a dot before `at` ends a token: nothing alphanumeric follows it, or a file suffix.
#[inline]
pub(super) fn right_of_dot(signs: &[u8], at: usize) -> bool {
    // No suffix begins with a digit: the common case of a version number or a fifth octet is decided here.
    match signs.get(at) {
        Some(next) if byte::is(*next, DIGIT) => false,
        Some(next) if byte::is(*next, ALNUM) => is_suffix(alnum_run(signs, at)),
        _ => true,
    }
}

/// The alphanumeric run at `at`, or as much of it as shows that it is too long to be a suffix or a hex group.
#[inline]
fn alnum_run(signs: &[u8], at: usize) -> &[u8] {
    let window = &signs[at.min(signs.len())..signs.len().min(at + 8)];
    &window[..byte::run(window, 0, ALNUM)]
}

/// Whether an address may end before `at`, counting a port of packet dumps (7.8.1) if `tcpdump` says so.
#[inline]
pub(super) fn right_of_address(signs: &[u8], at: usize, tcpdump: bool) -> bool {
    right(signs, at) || (tcpdump && port_follows(signs, at))
}

fn port_follows(signs: &[u8], dot: usize) -> bool {
    if signs.get(dot) != Some(&b'.') {
        return false;
    }
    let window = &signs[..signs.len().min(dot + 7)];
    let end = byte::run(window, dot + 1, DIGIT);
    let digits = window.get(dot + 1..end).unwrap_or_default();
    let port = digits.iter().fold(0_u32, |port, digit| port * 10 + u32::from(digit - b'0'));
    (1..=5).contains(&digits.len()) && port <= 65535 && right(signs, end)
}

/// Whether an IPv6 address may end before `at`.
#[inline]
pub(super) fn right_of_ip6(signs: &[u8], at: usize, tcpdump: bool) -> bool {
    match signs.get(at) {
        Some(b':') => signs.get(at + 1) != Some(&b':') && !is_hex_group(alnum_run(signs, at + 1)),
        _ => right_of_address(signs, at, tcpdump),
    }
}

/// Whether an IPv6 address may begin behind a colon, whose alphanumeric run before it is `run`. Of a long run the
/// last five signs are enough.
#[inline]
pub(super) fn left_of_ip6_after(run: &[u8]) -> bool {
    !run.is_empty() && !is_hex_group(run)
}

#[inline]
fn is_hex_group(run: &[u8]) -> bool {
    (1..=4).contains(&run.len()) && run.iter().all(|byte| byte::is(*byte, HEX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_divide_only_outside_words() {
        assert!(left(b"..1", 2) && !left(b"a.1", 2) && left(b"_.1", 2) && left(b".1", 1));
        assert!(right(b"1.", 1) && right(b"1..2", 1) && !right(b"1.2", 1) && !right(b"1a", 1));
    }

    #[test]
    fn file_suffixes_are_borders() {
        assert!(right(b"1.txt", 1) && right(b"1.TXT_2", 1) && right(b"1.bz2", 1));
        assert!(!right(b"1.txt2", 1) && !right(b"1.configuration", 1));
    }

    #[test]
    fn ports_have_five_digits_at_most() {
        assert!(port_follows(b".65535", 0) && port_follows(b".0 ", 0) && port_follows(b".53: ", 0));
        for no in [".65536", ".000053", ".5x", ".5.5", ".", "53"] {
            assert!(!port_follows(no.as_bytes(), 0), "{no}");
        }
    }

    #[test]
    fn colons_beside_ip6() {
        assert!(right_of_ip6(b": refused", 0, false) && right_of_ip6(b":12345", 0, false));
        assert!(!right_of_ip6(b"::", 0, false) && !right_of_ip6(b":9", 0, false));
        assert!(left_of_ip6_after(b"src") && left_of_ip6_after(b"12345"));
        assert!(!left_of_ip6_after(b"") && !left_of_ip6_after(b"add"));
    }
}
