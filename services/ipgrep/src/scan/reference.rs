//! The rules of PRISEM services specification, 7.2 and 7.8, written down as plainly as possible and without any
//! thought of speed: what the scanner is compared with.

use std::net::Ipv6Addr;

use super::{Covers, Dns, Grammar};
use crate::ident::{Address, Authority, Classes, Found};

/// A sign of the view with its place in the real line.
#[derive(Clone, Copy)]
struct Sign {
    byte: u8,
    start: usize,
    end: usize,
}

/// `(start, end, kind, value)`
pub(crate) type Row = (usize, usize, &'static str, String);

const CONTROL: u8 = 1;

const SUFFIXES: &str = "asp aspx bak bat bin bmp bz2 cfg cgi conf config cpp csv css dat dbf dll dmg doc docx elf \
    eml eps exe gif gz hta htm html ico ini iso jar jpeg jpg js json jsp lnk lock log lua mso msi odt old orig out \
    pcap pcapng pdf pem php png ppt pptx pst pyc rar rpm rtf scr sql swf sys tar tgz tif tiff tmp txt vbs vmdk wav \
    war xls xlsx xml xsl xz yaml yml zst";

fn is_suffix(text: &[u8]) -> bool {
    let text = String::from_utf8(text.to_ascii_lowercase()).unwrap();
    SUFFIXES.split_whitespace().any(|suffix| suffix == text)
}

/// The sign at the front of `rest`, and how many bytes it takes.
fn escape(rest: &[u8]) -> (u8, usize) {
    let hex = |from: usize, count: usize| {
        rest.len() >= from + count && rest[from..from + count].iter().all(u8::is_ascii_hexdigit)
    };
    match rest {
        [b'\\', b'n' | b't' | b'r' | b'b' | b'f', ..] => (CONTROL, 2),
        [b'\\', b'u', ..] if hex(2, 4) => (CONTROL, 6),
        [b'\\', second @ (b'\\' | b'"' | b'/'), ..] => (*second, 2),
        [b'%', ..] if hex(1, 2) => (b'%', 3),
        [byte, ..] => (*byte, 1),
        [] => unreachable!(),
    }
}

const DEFANGED: [(&str, &str); 12] = [
    ("[.]", "."),
    ("(.)", "."),
    ("{.}", "."),
    ("[dot]", "."),
    ("(dot)", "."),
    ("{dot}", "."),
    ("[:]", ":"),
    ("[://]", "://"),
    ("[@]", "@"),
    ("[at]", "@"),
    ("(at)", "@"),
    ("[/]", "/"),
];

fn view(line: &[u8], defang: bool) -> Vec<Sign> {
    let (mut signs, mut at) = (Vec::new(), 0);
    while at < line.len() {
        let rest = &line[at..];
        let known = DEFANGED.iter().find(|(from, _)| {
            defang && rest.len() >= from.len() && rest[..from.len()].eq_ignore_ascii_case(from.as_bytes())
        });
        if let Some((from, to)) = known {
            for (i, byte) in to.bytes().enumerate() {
                let start = if i == 0 { at } else { at + 1 + i };
                let end = if i + 1 == to.len() { at + from.len() } else { at + 2 + i };
                signs.push(Sign { byte, start, end });
            }
            at += from.len();
        } else {
            let (byte, width) = escape(rest);
            signs.push(Sign { byte, start: at, end: at + width });
            at += width;
        }
    }
    signs
}

/// All identifiers of a line.
pub(crate) fn scan(line: &[u8], grammar: &Grammar, map: &impl Covers) -> Vec<Row> {
    let signs = view(line, grammar.classes.has(Classes::DEFANG));
    let text: Vec<u8> = signs.iter().map(|sign| sign.byte).collect();
    let scan = Reference { line, signs: &signs, text: &text, grammar, map };
    let (mut rows, mut at) = (Vec::new(), 0);
    while at < text.len() {
        match scan.at(at) {
            Some((end, kind, value)) => {
                rows.push((signs[at].start, signs[end - 1].end, kind, value));
                at = end;
            }
            None => at += 1,
        }
    }
    rows
}

struct Reference<'a, C> {
    line: &'a [u8],
    signs: &'a [Sign],
    text: &'a [u8],
    grammar: &'a Grammar,
    map: &'a C,
}

type Hit = (usize, &'static str, String);

fn hit(end: usize, found: Found<'_>) -> Hit {
    let mut value = Vec::new();
    found.write_value(&mut value);
    (end, found.kind().as_str(), String::from_utf8_lossy(&value).into_owned())
}

impl<C: Covers> Reference<'_, C> {
    fn has(&self, class: Classes) -> bool {
        self.grammar.classes.has(class)
    }

    fn get(&self, at: usize) -> Option<u8> {
        self.text.get(at).copied()
    }

    fn alnum(&self, at: usize) -> bool {
        self.get(at).is_some_and(|byte| byte.is_ascii_alphanumeric())
    }

    /// Real bytes of the signs from `from` to `to`.
    fn written(&self, from: usize, to: usize) -> &[u8] {
        if from == to { b"" } else { &self.line[self.signs[from].start..self.signs[to - 1].end] }
    }

    /// The end of the run of signs that `is` accepts.
    fn run(&self, from: usize, is: impl Fn(u8) -> bool) -> usize {
        (from..self.text.len()).find(|at| !is(self.text[*at])).unwrap_or(self.text.len())
    }

    fn left(&self, at: usize) -> bool {
        let dotted = |at: usize| at > 1 && self.text[at - 1] == b'.' && self.alnum(at - 2);
        at == 0 || !(self.alnum(at - 1) || dotted(at))
    }

    fn right(&self, at: usize) -> bool {
        match self.get(at) {
            None => true,
            Some(b'.') if self.alnum(at + 1) => {
                is_suffix(&self.text[at + 1..self.run(at + 1, |byte| byte.is_ascii_alphanumeric())])
            }
            Some(byte) => !byte.is_ascii_alphanumeric(),
        }
    }

    fn port(&self, at: usize) -> bool {
        let end = self.run(at + 1, |byte| byte.is_ascii_digit());
        let digits = self.text.get(at + 1..end).unwrap_or(b"");
        self.has(Classes::TCPDUMP)
            && self.get(at) == Some(b'.')
            && (1..=5).contains(&digits.len())
            && std::str::from_utf8(digits).unwrap().parse::<u32>().unwrap() <= 65535
            && self.right(end)
    }

    fn hex_group(&self, from: usize, to: usize) -> bool {
        (1..=4).contains(&(to - from)) && self.text[from..to].iter().all(u8::is_ascii_hexdigit)
    }

    fn left6(&self, at: usize) -> bool {
        if at == 0 || self.text[at - 1] != b':' {
            return self.left(at);
        }
        let start = (0..at - 1).rev().find(|i| !self.alnum(*i)).map_or(0, |i| i + 1);
        start < at - 1 && !self.hex_group(start, at - 1)
    }

    fn right6(&self, at: usize) -> bool {
        if self.get(at) != Some(b':') {
            return self.right(at) || self.port(at);
        }
        let end = self.run(at + 1, |byte| byte.is_ascii_alphanumeric());
        self.get(at + 1) != Some(b':') && !self.hex_group(at + 1, end)
    }

    fn at(&self, at: usize) -> Option<Hit> {
        let tries: [&dyn Fn() -> Option<Hit>; 5] = [
            &|| self.has(Classes::URL).then(|| self.url(at)).flatten(),
            &|| self.has(Classes::EMAIL).then(|| self.email(at)).flatten(),
            &|| self.address_token(at, true),
            &|| self.address_token(at, false),
            &|| {
                let end = self
                    .has(Classes::HOST)
                    .then(|| self.left(at).then(|| self.host(at)))
                    .flatten()
                    .flatten()?;
                Some(hit(end, Found::Host(&self.text[at..end].to_ascii_lowercase())))
            },
        ];
        tries.iter().find_map(|try_class| try_class())
    }

    fn address_token(&self, at: usize, six: bool) -> Option<Hit> {
        let (end, address) = if six { self.ip6(at) } else { self.ip4(at) }?;
        if let Some(token) = self.cidr(end, address, six) {
            return Some(token);
        }
        let found = match address {
            Address::Ip4(bits) => Found::Ip4(bits),
            Address::Ip6(bits) => Found::Ip6(bits),
        };
        self.has(if six { Classes::IP6 } else { Classes::IP4 }).then(|| hit(end, found))
    }

    fn cidr(&self, end: usize, address: Address, six: bool) -> Option<Hit> {
        let after = self.run(end + 1, |byte| byte.is_ascii_digit());
        let digits = self.text.get(end + 1..after)?;
        if !self.has(Classes::CIDR) || self.get(end) != Some(b'/') || !(1..=3).contains(&digits.len()) {
            return None;
        }
        let len: u32 = std::str::from_utf8(digits).unwrap().parse().unwrap();
        let width = if six { 128 } else { 32 };
        if len > width || !self.right(after) {
            return None;
        }
        let (net, len) = match address {
            Address::Ip4(bits) if six && len < 96 => {
                (Address::Ip6((0xffff_0000_0000 | u128::from(bits)) & mask(len)), len)
            }
            Address::Ip4(bits) => {
                let len = if six { len - 96 } else { len };
                (Address::Ip4(bits & u32::MAX.checked_shl(32 - len).unwrap_or(0)), len)
            }
            Address::Ip6(bits) => (Address::Ip6(bits & mask(len)), len),
        };
        Some(hit(after, Found::Cidr { net, len: u8::try_from(len).unwrap() }))
    }

    fn ip4(&self, at: usize) -> Option<(usize, Address)> {
        let (mut octets, mut end) = (Vec::new(), at);
        for i in 0..4 {
            let start = if i == 0 { at } else { end + 1 };
            if i > 0 && self.get(end) != Some(b'.') {
                return None;
            }
            end = self.run(start, |byte| byte.is_ascii_digit());
            if start > end || !(1..=3).contains(&(end - start)) {
                return None;
            }
            octets.push(std::str::from_utf8(&self.text[start..end]).unwrap().parse::<u8>().ok()?);
        }
        let bits = u32::from_be_bytes(octets.try_into().unwrap());
        (self.left(at) && (self.right(end) || self.port(end))).then_some((end, Address::Ip4(bits)))
    }

    fn ip6(&self, at: usize) -> Option<(usize, Address)> {
        let run = self.run(at, |byte| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.').min(at + 45);
        if self.text[at] == b'.' || !self.left6(at) {
            return None;
        }
        if memchr::memchr_iter(b':', &self.text[at..run]).count() < 2 {
            return None;
        }
        (at + 1..=run).rev().find_map(|end| {
            let text = &self.text[at..end];
            let address = std::str::from_utf8(text).unwrap().parse::<Ipv6Addr>().ok()?;
            let fits = self.right6(end) && text.iter().any(u8::is_ascii_hexdigit);
            fits.then(|| (end, Address::from_ip6(address.to_bits())))
        })
    }

    fn host(&self, at: usize) -> Option<usize> {
        let end = self.run(at, |byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
        let ends = || (at + 1..=end).rev().filter(|end| self.is_host(at, *end));
        let last = |end: usize| self.text[at..end].rsplit(|byte| *byte == b'.').next().unwrap();
        let strict = ends().find(|end| {
            let allowed = match &self.grammar.tlds {
                Some(tlds) => tlds.contains(&last(*end).to_ascii_lowercase()),
                None => !is_suffix(last(*end)),
            };
            allowed || self.map.covers(&self.text[at..*end].to_ascii_lowercase())
        });
        let loose = || ends().find(|end| self.grammar.dns == Dns::Loose && is_suffix(last(*end)));
        strict.or_else(loose)
    }

    fn is_host(&self, at: usize, end: usize) -> bool {
        let wordy = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let labels: Vec<&[u8]> = self.text[at..end].split(|byte| *byte == b'.').collect();
        let last = labels[labels.len() - 1];
        labels.len() > 1
            && labels.iter().all(|label| label.first().is_some_and(wordy) && label.last().is_some_and(wordy))
            && is_last_label(last)
            && self.right(end)
            && self.get(end) != Some(b'@')
    }

    fn email(&self, at: usize) -> Option<Hit> {
        let local = |byte: u8| byte.is_ascii_alphanumeric() || b"._%+-".contains(&byte);
        let end = self.run(at, local);
        if !self.left(at) || !(1..=64).contains(&(end - at)) || self.get(end) != Some(b'@') {
            return None;
        }
        if b".-".contains(&self.text[at]) || b".-".contains(&self.text[end - 1]) {
            return None;
        }
        let host_end = self.host(end + 1)?;
        let host = self.text[end + 1..host_end].to_ascii_lowercase();
        Some(hit(host_end, Found::Email { local: self.written(at, end), host: &host }))
    }

    fn url(&self, at: usize) -> Option<Hit> {
        let colon = self.run(at, |byte| byte.is_ascii_alphabetic());
        let scheme = match self.text[at..colon].to_ascii_lowercase().as_slice() {
            b"http" | b"hxxp" => "http",
            b"https" | b"hxxps" => "https",
            b"ftp" | b"fxp" => "ftp",
            b"ftps" | b"fxps" => "ftps",
            _ => return None,
        };
        if !self.left(at) || !self.text[colon..].starts_with(b"://") {
            return None;
        }
        let start = colon + 3;
        let stop = |byte: u8| byte <= b' ' || byte == 0x7f || b"`\"<>|\\^{}".contains(&byte);
        let area = self.run(start, |byte| !stop(byte) && !b"/?#".contains(&byte));
        let host = (start..area).rev().find(|at| self.text[*at] == b'@').map_or(start, |at| at + 1);
        let (end, authority) = self.authority(host)?;
        let mut last = end;
        let port = self.run(end + 1, |byte| byte.is_ascii_digit()).min(end + 6);
        if self.get(end) == Some(b':') && port > end + 1 {
            last = port;
        }
        if self.get(last).is_some_and(|byte| b"/?#".contains(&byte)) {
            let from = last;
            last = self.run(last, |byte| !stop(byte));
            while last > from && b".,;:!?'\")]}".contains(&self.text[last - 1]) {
                last -= 1;
            }
        }
        let lower = self.text[host..end].to_ascii_lowercase();
        let authority = authority.map_or(Authority::Host(&lower), Authority::Address);
        let (user, rest) = (self.written(start, host), self.written(end, last));
        Some(hit(last, Found::Url { scheme, user, authority, rest }))
    }

    fn authority(&self, at: usize) -> Option<(usize, Option<Address>)> {
        if self.get(at) == Some(b'[') {
            let end = self.run(at + 1, |byte| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.');
            let text = std::str::from_utf8(&self.text[at + 1..end]).unwrap();
            let address = text.parse::<Ipv6Addr>().ok()?;
            return (self.get(end) == Some(b']'))
                .then(|| (end + 1, Some(Address::from_ip6(address.to_bits()))));
        }
        let ip4 = if at < self.text.len() { self.ip4_behind(at) } else { None };
        ip4.or_else(|| Some((self.host(at)?, None)))
    }

    /// An IPv4 address whose left border is given.
    fn ip4_behind(&self, at: usize) -> Option<(usize, Option<Address>)> {
        self.ip4(at).map(|(end, address)| (end, Some(address)))
    }
}

fn mask(len: u32) -> u128 {
    u128::MAX.checked_shl(128 - len).unwrap_or(0)
}

fn is_last_label(label: &[u8]) -> bool {
    let letters = (2..=63).contains(&label.len()) && label.iter().all(u8::is_ascii_alphabetic);
    let puny = label.len() >= 4
        && label.len() <= 63
        && label[..4].eq_ignore_ascii_case(b"xn--")
        && label.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
        && label[label.len() - 1].is_ascii_alphanumeric();
    letters || puny
}
