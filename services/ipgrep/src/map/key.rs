//! Keys of rules: addresses, blocks and domains (7.3.2).

use std::net::Ipv6Addr;

use memchr::memchr;

/// What a rule covers. Host bits are cleared, names are in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// An IPv4 block; a single address has length 32.
    Block4 { net: u32, len: u8 },
    /// An IPv6 block; a single address has length 128.
    Block6 { net: u128, len: u8 },
    /// A name and everything below it.
    Domain(String),
}

impl Key {
    /// Reads a key; `None` if it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, len) = match memchr(b'/', text.as_bytes()) {
            Some(at) => (&text[..at], Some(parse_len(&text.as_bytes()[at + 1..])?)),
            None => (text, None),
        };
        if let Some(address) = parse_ip4(address) {
            return block4(address, len.unwrap_or(32));
        }
        if let Ok(address) = address.parse::<Ipv6Addr>() {
            return block6(u128::from(address), len.unwrap_or(128));
        }
        if len.is_some() { None } else { parse_domain(text).map(Self::Domain) }
    }
}

fn block4(address: u32, len: u8) -> Option<Key> {
    let mask = u32::MAX.checked_shl(32u32.checked_sub(u32::from(len))?).unwrap_or(0);
    Some(Key::Block4 { net: address & mask, len })
}

fn block6(address: u128, len: u8) -> Option<Key> {
    let mask = u128::MAX.checked_shl(128u32.checked_sub(u32::from(len))?).unwrap_or(0);
    match len.checked_sub(96) {
        Some(len) if address >> 32 == 0xffff => block4(super::lower32(address), len),
        _ => Some(Key::Block6 { net: address & mask, len }),
    }
}

/// One to three digits.
fn parse_len(text: &[u8]) -> Option<u8> {
    let digits = (1..=3).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    let value = || text.iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0'));
    if digits { u8::try_from(value()).ok() } else { None }
}

/// Four groups of one to three digits, each at most 255; leading zeros are decimal (7.2.4).
fn parse_ip4(text: &str) -> Option<u32> {
    let mut groups = text.as_bytes().split(|byte| *byte == b'.');
    let mut address = 0;
    for _ in 0..4 {
        address = address << 8 | u32::from(parse_len(groups.next()?)?);
    }
    if groups.next().is_none() { Some(address) } else { None }
}

fn parse_domain(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let starless = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
    let below = starless.strip_prefix('.');
    let name = below.unwrap_or(starless);
    let enough = below.is_some() || memchr(b'.', name.as_bytes()).is_some();
    let last = name.rsplit('.').next()?;
    let valid = name.split('.').all(is_label) && last.bytes().any(|byte| byte.is_ascii_alphabetic());
    if enough && valid { Some(name.to_ascii_lowercase()) } else { None }
}

/// A label of a host name: letters, digits, `_`, and `-` inside.
fn is_label(label: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let bytes = label.as_bytes();
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match Key::parse(text) {
            None => "-".to_owned(),
            Some(Key::Block4 { net, len }) => format!("{}/{len}", std::net::Ipv4Addr::from(net)),
            Some(Key::Block6 { net, len }) => format!("{}/{len}", Ipv6Addr::from(net)),
            Some(Key::Domain(name)) => name,
        }
    }

    #[test]
    fn addresses_and_blocks() {
        let cases = [
            ("192.0.2.1", "192.0.2.1/32"),
            ("192.000.2.77/26", "192.0.2.64/26"),
            ("192.0.2.77/026", "192.0.2.64/26"),
            ("192.0.2.77/0", "0.0.0.0/0"),
            ("192.0.2.77/0026", "-"),
            ("192.0.2.77/33", "-"),
            ("192.0.2.77/", "-"),
            ("192.0.2.77/+1", "-"),
            ("192.0.2.77 /8", "-"),
            ("192.0.2.256", "-"),
            ("192.0.2", "-"),
            ("192.0.2.1.", "-"),
            ("192.0.2.0001", "-"),
            ("2001:DB8:A::77/48", "2001:db8:a::/48"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("::/0", "::/0"),
            ("2001:db8::/129", "-"),
            ("2001:db8::192.0.2.1", "2001:db8::c000:201/128"),
            ("fe80::1%eth0", "-"),
            ("[2001:db8::]/32", "-"),
            ("::ffff:192.0.2.77/122", "192.0.2.64/26"),
            ("::ffff:c000:24d", "192.0.2.77/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::ffff:192.0.2.77/95", "::fffe:0:0/95"),
        ];
        for (text, key) in cases {
            assert_eq!(shown(text), key, "{text}");
        }
    }

    #[test]
    fn domains() {
        let cases = [
            (".Site.Example", "site.example"),
            ("*.site.example", "site.example"),
            ("site.example.", "site.example"),
            (".example", "example"),
            (".example.", "example"),
            ("*.example", "example"),
            ("example", "-"),
            ("example.", "-"),
            ("_srv.a--b.example", "_srv.a--b.example"),
            ("*site.example", "-"),
            ("a..example", "-"),
            ("..example", "-"),
            ("-a.example", "-"),
            ("a-.example", "-"),
            ("a b.example", "-"),
            ("añ.example", "-"),
            (".1.2", "-"),
            ("a.1x", "a.1x"),
            (".", "-"),
            ("*", "-"),
            ("*.", "-"),
            ("", "-"),
            ("80", "-"),
            ("site.example/24", "-"),
        ];
        for (text, key) in cases {
            assert_eq!(shown(text), key, "{text}");
        }
    }
}
