//! The scanner for every class, on the view of a text without blanks.
//!
//! Nothing that is an identifier holds a blank or a control byte, so a line is scanned in the pieces between
//! them, and only pieces that hold escapes or defanged signs are copied.

use memchr::memchr;

use super::address;
use super::border::{left, left_of_ip6_after, right};
use super::byte::{self, ALNUM, DIGIT, HEX, LETTER, LOCAL, STOP};
use super::grammar::{Covers, Grammar};
use super::names::Chain;
use crate::ident::{Address, Authority, Classes, Found, Token};

/// Longest local part of an e-mail address.
const LOCAL_PART: usize = 64;

/// A piece of a text.
#[derive(Clone, Copy)]
pub(super) struct Piece<'a> {
    /// Its bytes.
    pub(super) real: &'a [u8],
    /// Its view.
    pub(super) signs: &'a [u8],
    /// Where the signs start in `real`; nothing if they are the bytes.
    pub(super) starts: Option<&'a [usize]>,
    /// Where the piece begins in the text.
    pub(super) base: usize,
}

impl<'a> Piece<'a> {
    fn place(&self, at: usize) -> usize {
        self.starts.map_or(at, |starts| starts[at])
    }

    /// The real bytes of some signs.
    fn written(&self, from: usize, to: usize) -> &'a [u8] {
        &self.real[self.place(from)..self.place(to)]
    }
}

/// What is needed to scan a piece.
pub(super) struct Scan<'a, C> {
    /// The piece.
    pub(super) piece: Piece<'a>,
    /// What to seek.
    pub(super) grammar: &'a Grammar,
    /// Rules that excuse file suffixes.
    pub(super) map: &'a C,
    /// Names of this piece.
    pub(super) chain: &'a mut Chain,
    /// Room for a lower-case name.
    pub(super) lower: &'a mut Vec<u8>,
    /// The next `@` from the place on where it was last sought; `None` if it was not yet.
    pub(super) next_at: Option<usize>,
}

/// An identifier that begins at the place in question.
enum Hit {
    Address(usize, Address),
    Cidr(usize, Address, u8),
    Host(usize),
    Email { at: usize, end: usize },
    Url(UrlParts),
}

/// Where the parts of a URL end.
struct UrlParts {
    scheme: &'static str,
    user: usize,
    host: usize,
    host_end: usize,
    end: usize,
    address: Option<Address>,
}

impl Hit {
    fn end(&self) -> usize {
        match self {
            Self::Address(end, _) | Self::Cidr(end, ..) | Self::Host(end) | Self::Email { end, .. } => *end,
            Self::Url(parts) => parts.end,
        }
    }
}

impl<C: Covers> Scan<'_, C> {
    /// Gives every identifier of the piece, in order.
    pub(super) fn run(mut self, emit: &mut impl FnMut(Token<'_>)) {
        let mut at = 0;
        while at < self.piece.signs.len() {
            match self.hit(at) {
                Some(hit) => {
                    self.give(at, &hit, emit);
                    at = hit.end();
                }
                None => at += 1,
            }
        }
    }

    fn has(&self, class: Classes) -> bool {
        self.grammar.classes.has(class)
    }

    fn hit(&mut self, at: usize) -> Option<Hit> {
        let signs = self.piece.signs;
        let first = signs[at];
        if !byte::is(first, LOCAL) && first != b':' {
            return None;
        }
        if !left(signs, at) {
            return None;
        }
        if byte::is(first, LETTER)
            && self.has(Classes::URL)
            && let Some(parts) = self.url(at)
        {
            return Some(Hit::Url(parts));
        }
        self.email(at)
            .or_else(|| self.ip6(at))
            .or_else(|| self.ip4(at))
            .or_else(|| self.host(at).map(Hit::Host))
    }

    fn host(&mut self, at: usize) -> Option<usize> {
        if !self.has(Classes::HOST) {
            return None;
        }
        self.name(at)
    }

    fn name(&mut self, at: usize) -> Option<usize> {
        self.chain.name(self.piece.signs, at, self.grammar, self.map)
    }

    fn ip4(&self, at: usize) -> Option<Hit> {
        if !byte::is(self.piece.signs[at], DIGIT) || !self.has_addresses(Classes::IP4) {
            return None;
        }
        let (end, bits) = address::ip4(self.piece.signs, at, self.has(Classes::TCPDUMP))?;
        self.block(end, Address::Ip4(bits), 32).or_else(|| {
            let wanted = self.has(Classes::IP4);
            wanted.then_some(Hit::Address(end, Address::Ip4(bits)))
        })
    }

    fn has_addresses(&self, class: Classes) -> bool {
        self.has(class) || self.has(Classes::CIDR)
    }

    fn ip6(&self, at: usize) -> Option<Hit> {
        let signs = self.piece.signs;
        let first = signs[at];
        if !(first == b':' || byte::is(first, HEX))
            || !self.has_addresses(Classes::IP6)
            || !self.left_of_ip6(at)
        {
            return None;
        }
        let (end, address) = address::ip6(signs, at, self.has(Classes::TCPDUMP))?;
        self.block(end, address, 128).or_else(|| self.has(Classes::IP6).then_some(Hit::Address(end, address)))
    }

    /// The rule for a colon before; the general rule has been applied.
    fn left_of_ip6(&self, at: usize) -> bool {
        let signs = self.piece.signs;
        let Some(colon) = at.checked_sub(1).filter(|before| signs[*before] == b':') else { return true };
        left_of_ip6_after(&signs[byte::run_back(signs, colon.saturating_sub(5), colon, ALNUM)..colon])
    }

    /// The block that an address and the signs behind it are, written in `width` bits.
    fn block(&self, slash: usize, address: Address, width: u8) -> Option<Hit> {
        let signs = self.piece.signs;
        if !self.has(Classes::CIDR) || signs.get(slash) != Some(&b'/') {
            return None;
        }
        let end = byte::run(&signs[..signs.len().min(slash + 5)], slash + 1, DIGIT);
        let digits = &signs[slash + 1..end];
        let len = digits.iter().fold(0_u32, |len, digit| len * 10 + u32::from(digit - b'0'));
        let fits = (1..=3).contains(&digits.len()) && len <= u32::from(width) && right(signs, end);
        let (net, len) = network(address, len, width);
        fits.then_some(Hit::Cidr(end, net, len))
    }

    fn email(&mut self, at: usize) -> Option<Hit> {
        if !self.has(Classes::EMAIL) || self.at_sign(at) > at + LOCAL_PART {
            return None;
        }
        let signs = self.piece.signs;
        let end = byte::run(&signs[..signs.len().min(at + LOCAL_PART + 1)], at, LOCAL);
        let hollow = |sign: u8| sign == b'.' || sign == b'-';
        if end == at || signs.get(end) != Some(&b'@') || hollow(signs[at]) || hollow(signs[end - 1]) {
            return None;
        }
        self.name(end + 1).map(|host_end| Hit::Email { at: end, end: host_end })
    }

    /// The next `@` from `at` on.
    fn at_sign(&mut self, at: usize) -> usize {
        if let Some(next) = self.next_at.filter(|next| *next >= at) {
            return next;
        }
        let next = memchr(b'@', &self.piece.signs[at..]).map_or(usize::MAX, |found| at + found);
        *self.next_at.insert(next)
    }

    fn url(&mut self, at: usize) -> Option<UrlParts> {
        let signs = self.piece.signs;
        let (scheme, colon) = scheme(signs, at)?;
        let user = colon + 3;
        let in_area = |sign: &u8| !byte::is(*sign, STOP) && !matches!(sign, b'/' | b'?' | b'#');
        let area = signs[user..].iter().position(|sign| !in_area(sign)).map_or(signs.len(), |len| user + len);
        let host = memchr::memrchr(b'@', &signs[user..area]).map_or(user, |found| user + found + 1);
        let (host_end, address) = self.authority(host)?;
        let end = url_end(signs, host_end);
        Some(UrlParts { scheme, user, host, host_end, end, address })
    }

    /// Host, IPv4 address, or IPv6 address in brackets at `at`.
    fn authority(&mut self, at: usize) -> Option<(usize, Option<Address>)> {
        let signs = self.piece.signs;
        if signs.get(at) == Some(&b'[') {
            let window = &signs[at + 1..signs.len().min(at + 48)];
            let close = memchr(b']', window)?;
            return Some((at + close + 2, Some(address::whole_ip6(&window[..close])?)));
        }
        if let Some((end, bits)) = address::ip4(signs, at, self.has(Classes::TCPDUMP)) {
            return Some((end, Some(Address::Ip4(bits))));
        }
        Some((self.name(at)?, None))
    }

    fn give(&mut self, at: usize, hit: &Hit, emit: &mut impl FnMut(Token<'_>)) {
        let piece = self.piece;
        let found = match *hit {
            Hit::Address(_, Address::Ip4(bits)) => Found::Ip4(bits),
            Hit::Address(_, Address::Ip6(bits)) => Found::Ip6(bits),
            Hit::Cidr(_, net, len) => Found::Cidr { net, len },
            Hit::Host(end) => Found::Host(lower(self.lower, &piece.signs[at..end])),
            Hit::Email { at: sign, end } => {
                let host = lower(self.lower, &piece.signs[sign + 1..end]);
                Found::Email { local: piece.written(at, sign), host }
            }
            Hit::Url(ref url) => {
                let host = Authority::Host(lower(self.lower, &piece.signs[url.host..url.host_end]));
                Found::Url {
                    scheme: url.scheme,
                    user: piece.written(url.user, url.host),
                    authority: url.address.map_or(host, Authority::Address),
                    rest: piece.written(url.host_end, url.end),
                }
            }
        };
        emit(Token { start: piece.base + piece.place(at), end: piece.base + piece.place(hit.end()), found });
    }
}

/// A name in lower case: itself if it is.
#[inline]
pub(crate) fn lower<'a>(room: &'a mut Vec<u8>, name: &'a [u8]) -> &'a [u8] {
    if !name.iter().any(u8::is_ascii_uppercase) {
        return name;
    }
    room.clear();
    room.extend(name.iter().map(u8::to_ascii_lowercase));
    room
}

/// The block of `len` bits of `width` that an address is in. One of IPv4 addresses stays one in either writing.
fn network(address: Address, len: u32, width: u8) -> (Address, u8) {
    let bits = match address {
        Address::Ip4(bits) => 0xffff_0000_0000 | u128::from(bits),
        Address::Ip6(bits) => bits,
    };
    let len6 = len + if width == 32 { 96 } else { 0 };
    let net = Address::from_ip6(bits & u128::MAX.checked_shl(128_u32.saturating_sub(len6)).unwrap_or(0));
    let len = if matches!(net, Address::Ip4(_)) { len6.saturating_sub(96) } else { len6 };
    (net, u8::try_from(len).unwrap_or(u8::MAX))
}

/// The scheme at `at` and the place of its colon, if `://` follows.
fn scheme(signs: &[u8], at: usize) -> Option<(&'static str, usize)> {
    const SCHEMES: [(&[u8], &str); 8] = [
        (b"http", "http"),
        (b"https", "https"),
        (b"ftp", "ftp"),
        (b"ftps", "ftps"),
        (b"hxxp", "http"),
        (b"hxxps", "https"),
        (b"fxp", "ftp"),
        (b"fxps", "ftps"),
    ];
    let window = &signs[at..signs.len().min(at + 8)];
    let colon = byte::run(window, 0, LETTER);
    window[colon..].starts_with(b"://").then_some(())?;
    let known = SCHEMES.iter().find(|(written, _)| written.eq_ignore_ascii_case(&window[..colon]))?;
    Some((known.1, at + colon))
}

/// Where a URL ends whose host ends at `host_end`.
fn url_end(signs: &[u8], host_end: usize) -> usize {
    let window = &signs[..signs.len().min(host_end + 6)];
    let digits = byte::run(window, host_end + 1, DIGIT);
    let port = window.get(host_end) == Some(&b':') && digits > host_end + 1;
    let from = if port { digits } else { host_end };
    if !matches!(signs.get(from), Some(b'/' | b'?' | b'#')) {
        return from;
    }
    let end = byte_position(signs, from);
    let trailing = |sign: &u8| b".,;:!?'\")]}".contains(sign);
    end - signs[from..end].iter().rev().take_while(|sign| trailing(sign)).count()
}

fn byte_position(signs: &[u8], from: usize) -> usize {
    signs[from..].iter().position(|sign| byte::is(*sign, STOP)).map_or(signs.len(), |len| from + len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_mapped_addresses() {
        let mapped = Address::Ip4(0xc000_0201);
        assert_eq!(network(mapped, 24, 32), (Address::Ip4(0xc000_0200), 24));
        assert_eq!(network(mapped, 120, 128), (Address::Ip4(0xc000_0200), 24));
        assert_eq!(network(mapped, 96, 128), (Address::Ip4(0), 0));
        assert_eq!(network(mapped, 88, 128), (Address::Ip6(0xff00_0000_0000), 88));
        assert_eq!(network(mapped, 0, 128), (Address::Ip6(0), 0));
    }

    #[test]
    fn ends_of_urls() {
        for (text, end) in [("a/b.html?q=1#f,", 14), ("a?", 1), ("a:80/x).", 6), ("a:123456", 7), ("a:/", 1)]
        {
            assert_eq!(url_end(text.as_bytes(), 1), end, "{text}");
        }
    }
}
