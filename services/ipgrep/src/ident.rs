//! Identifiers: their kinds, the classes that may be sought, and the values that are compared,
//! counted and listed (PRISEM services specification, 7.2.5 and 7.8).

use std::fmt;
use std::str::FromStr;

/// What an identifier is, after normalisation: an IPv4-mapped IPv6 address is an [`Kind::Ip4`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// An IPv4 address.
    Ip4,
    /// An IPv6 address.
    Ip6,
    /// A host name.
    Host,
    /// A block of addresses with its length.
    Cidr,
    /// An e-mail address.
    Email,
    /// A URL.
    Url,
}

impl Kind {
    /// The word for this kind in options and in scan vectors.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ip4 => "ip4",
            Self::Ip6 => "ip6",
            Self::Host => "host",
            Self::Cidr => "cidr",
            Self::Email => "email",
            Self::Url => "url",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The set of classes to seek: the value of `--classes` (PRISEM services specification, 7.8).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Classes(u8);

impl Classes {
    /// IPv4 addresses.
    pub const IP4: Self = Self(1);
    /// IPv6 addresses.
    pub const IP6: Self = Self(2);
    /// Host names.
    pub const HOST: Self = Self(4);
    /// An address with `/length` as one token.
    pub const CIDR: Self = Self(8);
    /// E-mail addresses as one token.
    pub const EMAIL: Self = Self(16);
    /// URLs as one token.
    pub const URL: Self = Self(32);
    /// Reads `[.]`, `[at]`, `hxxp` and the like as what they stand for.
    pub const DEFANG: Self = Self(64);
    /// Addresses followed by `.port`.
    pub const TCPDUMP: Self = Self(128);
    /// Every class.
    pub const ALL: Self = Self(255);

    const WORDS: [(&'static str, Self); 9] = [
        ("ip4", Self::IP4),
        ("ip6", Self::IP6),
        ("host", Self::HOST),
        ("cidr", Self::CIDR),
        ("email", Self::EMAIL),
        ("url", Self::URL),
        ("defang", Self::DEFANG),
        ("tcpdump", Self::TCPDUMP),
        ("all", Self::ALL),
    ];

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every class of `other` is in this set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether only the classes of the core are in this set.
    #[must_use]
    pub const fn is_core(self) -> bool {
        self.0 & !(Self::IP4.0 | Self::IP6.0 | Self::HOST.0) == 0
    }
}

impl Default for Classes {
    /// `ip4,ip6,host`
    fn default() -> Self {
        Self::IP4.with(Self::IP6).with(Self::HOST)
    }
}

/// A `--classes` list that names no class or an unknown one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unknown class {0:?}: use ip4, ip6, host, cidr, email, url, defang, tcpdump or all")]
pub struct ClassesError(String);

impl FromStr for Classes {
    type Err = ClassesError;

    /// Reads a comma list; blanks around a word do not matter.
    ///
    /// # Errors
    /// [`ClassesError`] with the first word that is no class.
    fn from_str(list: &str) -> Result<Self, ClassesError> {
        let mut set = Self(0);
        for word in list.split(',').map(str::trim) {
            let known = Self::WORDS.iter().find(|(name, _)| *name == word);
            let (_, class) = known.ok_or_else(|| ClassesError(word.to_owned()))?;
            set = set.with(*class);
        }
        Ok(set)
    }
}

/// An address of either family; never an IPv4-mapped IPv6 address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Address {
    /// IPv4, in host byte order.
    Ip4(u32),
    /// IPv6, in host byte order.
    Ip6(u128),
}

impl Address {
    /// The address of a written IPv6 address: IPv4 for `::ffff:0:0/96`.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // the low 32 bits are the mapped address
    pub const fn from_ip6(bits: u128) -> Self {
        if bits >> 32 == 0xffff { Self::Ip4(bits as u32) } else { Self::Ip6(bits) }
    }

    /// Appends the address as text: plain decimal, or RFC 5952 in hex groups only.
    pub fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Ip4(bits) => write_ip4(out, bits),
            Self::Ip6(bits) => write_ip6(out, bits),
        }
    }
}

/// What a URL points to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Authority<'a> {
    /// A written address.
    Address(Address),
    /// A host name in lower case.
    Host(&'a [u8]),
}

/// A found identifier in normalised form (PRISEM services specification, 7.2.5 and 7.8).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Found<'a> {
    /// IPv4 address, in host byte order.
    Ip4(u32),
    /// IPv6 address, in host byte order; never IPv4-mapped.
    Ip6(u128),
    /// Host name in lower case.
    Host(&'a [u8]),
    /// Block of addresses: host bits cleared.
    Cidr {
        /// The network address.
        net: Address,
        /// How many leading bits belong to the network.
        len: u8,
    },
    /// E-mail address.
    Email {
        /// Local part as written.
        local: &'a [u8],
        /// Host name in lower case.
        host: &'a [u8],
    },
    /// URL.
    Url {
        /// Scheme in lower case, never a defanged one.
        scheme: &'static str,
        /// User part as written, with its `@`; empty if there is none.
        user: &'a [u8],
        /// Host or address.
        authority: Authority<'a>,
        /// Port, path, query and fragment as written.
        rest: &'a [u8],
    },
}

impl Found<'_> {
    /// The kind of this identifier.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Ip4(_) => Kind::Ip4,
            Self::Ip6(_) => Kind::Ip6,
            Self::Host(_) => Kind::Host,
            Self::Cidr { .. } => Kind::Cidr,
            Self::Email { .. } => Kind::Email,
            Self::Url { .. } => Kind::Url,
        }
    }

    /// Appends the value: the text that is compared, counted and listed.
    pub fn write_value(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Ip4(bits) => write_ip4(out, bits),
            Self::Ip6(bits) => write_ip6(out, bits),
            Self::Host(name) => out.extend_from_slice(name),
            Self::Cidr { net, len } => write_cidr(out, net, len),
            Self::Email { local, host } => {
                out.extend_from_slice(local);
                out.push(b'@');
                out.extend_from_slice(host);
            }
            Self::Url { scheme, user, authority, rest } => {
                out.extend_from_slice(scheme.as_bytes());
                out.extend_from_slice(b"://");
                out.extend_from_slice(user);
                write_authority(out, authority);
                out.extend_from_slice(rest);
            }
        }
    }
}

/// An identifier and where it stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Token<'a> {
    /// First byte of the token, counted in real bytes.
    pub start: usize,
    /// One past its last byte.
    pub end: usize,
    /// What it is.
    pub found: Found<'a>,
}

impl Token<'_> {
    /// The kind of the identifier.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.found.kind()
    }

    /// Appends the value of the identifier, see [`Found::write_value`].
    pub fn write_value(&self, out: &mut Vec<u8>) {
        self.found.write_value(out);
    }

    /// How many bytes the token takes in the text.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.end - self.start
    }
}

fn write_authority(out: &mut Vec<u8>, authority: Authority<'_>) {
    match authority {
        Authority::Host(name) => out.extend_from_slice(name),
        Authority::Address(address @ Address::Ip4(_)) => address.write(out),
        Authority::Address(address @ Address::Ip6(_)) => {
            out.push(b'[');
            address.write(out);
            out.push(b']');
        }
    }
}

fn write_cidr(out: &mut Vec<u8>, net: Address, len: u8) {
    net.write(out);
    out.push(b'/');
    write_octet(out, len);
}

/// Appends an octet in decimal without leading zeros.
fn write_octet(out: &mut Vec<u8>, octet: u8) {
    let digits = [b'0' + octet / 100, b'0' + octet / 10 % 10, b'0' + octet % 10];
    let skip = usize::from(octet < 100) + usize::from(octet < 10);
    out.extend_from_slice(&digits[skip..]);
}

/// Appends an IPv4 address in plain decimal.
pub(crate) fn write_ip4(out: &mut Vec<u8>, bits: u32) {
    let [a, b, c, d] = bits.to_be_bytes();
    write_octet(out, a);
    for octet in [b, c, d] {
        out.push(b'.');
        write_octet(out, octet);
    }
}

/// Appends an IPv6 address as RFC 5952 writes it, always in hex groups.
///
/// The standard library writes some addresses with a dotted tail, so it cannot be used here.
pub(crate) fn write_ip6(out: &mut Vec<u8>, bits: u128) {
    let groups = groups_of(bits);
    let (gap, gap_len) = longest_zero_run(&groups);
    let mut at = 0;
    while at < 8 {
        if gap_len > 1 && at == gap {
            out.extend_from_slice(b"::");
            at += gap_len;
            continue;
        }
        if at > 0 && !(gap_len > 1 && at == gap + gap_len) {
            out.push(b':');
        }
        write_group(out, groups[at]);
        at += 1;
    }
}

fn groups_of(bits: u128) -> [u16; 8] {
    let bytes = bits.to_be_bytes();
    std::array::from_fn(|i| u16::from_be_bytes([bytes[2 * i], bytes[2 * i + 1]]))
}

/// Start and length of the first longest run of zero groups.
fn longest_zero_run(groups: &[u16; 8]) -> (usize, usize) {
    let (mut best, mut run) = ((0, 0), 0);
    for (at, group) in groups.iter().enumerate() {
        run = if *group == 0 { run + 1 } else { 0 };
        if run > best.1 {
            best = (at + 1 - run, run);
        }
    }
    best
}

fn write_group(out: &mut Vec<u8>, group: u16) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let nibbles = [group >> 12, group >> 8 & 15, group >> 4 & 15, group & 15];
    let skip = nibbles.iter().take(3).take_while(|n| **n == 0).count();
    out.extend(nibbles[skip..].iter().map(|n| DIGITS[usize::from(*n)]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn text(found: Found<'_>) -> String {
        let mut out = Vec::new();
        found.write_value(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn ip6(text: &str) -> u128 {
        u128::from(text.parse::<Ipv6Addr>().unwrap())
    }

    #[test]
    fn ip6_is_written_in_hex_groups_only() {
        for (input, want) in [
            ("64:ff9b::192.0.2.10", "64:ff9b::c000:20a"),
            ("::192.0.2.10", "::c000:20a"),
            ("::", "::"),
            ("1::", "1::"),
            ("2001:db8:0:1:0:0:0:1", "2001:db8:0:1::1"),
            ("2001:0:0:1:0:0:1:1", "2001::1:0:0:1:1"),
            ("1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"),
        ] {
            assert_eq!(text(Found::Ip6(ip6(input))), want);
        }
    }

    #[test]
    fn mapped_addresses_are_ip4() {
        assert_eq!(Address::from_ip6(ip6("::ffff:192.0.2.1")), Address::Ip4(0xc000_0201));
        assert_eq!(Address::from_ip6(ip6("::fffe:192.0.2.1")), Address::Ip6(ip6("::fffe:192.0.2.1")));
    }

    #[test]
    fn values_of_compound_kinds() {
        assert_eq!(text(Found::Cidr { net: Address::Ip4(0xc000_0200), len: 24 }), "192.0.2.0/24");
        let authority = Authority::Address(Address::Ip6(1));
        let url = Found::Url { scheme: "http", user: b"u@", authority, rest: b":80/x" };
        assert_eq!(text(url), "http://u@[::1]:80/x");
        assert_eq!(text(Found::Email { local: b"A.b", host: b"c.example" }), "A.b@c.example");
    }

    #[test]
    fn class_lists() {
        assert_eq!("ip4, ip6,host".parse(), Ok(Classes::default()));
        assert_eq!("all".parse(), Ok(Classes::ALL));
        assert!(!"url,cidr".parse::<Classes>().unwrap().has(Classes::IP4));
        assert!("ip4,".parse::<Classes>().is_err());
        assert!("IPV4".parse::<Classes>().unwrap_err().to_string().contains("IPV4"));
    }

    proptest! {
        #[test]
        fn ip4_text_is_that_of_the_standard_library(bits: u32) {
            prop_assert_eq!(text(Found::Ip4(bits)), Ipv4Addr::from(bits).to_string());
        }

        #[test]
        fn ip6_text_is_read_back(bits: u128, mask: u128, holes: u8) {
            let keep = (0..8).filter(|i| holes >> i & 1 == 1).fold(0, |m, i| m | 0xffff_u128 << (16 * i));
            let bits = bits & mask & keep;
            prop_assert_eq!(ip6(&text(Found::Ip6(bits))), bits);
        }
    }
}
