//! Writes the log and the networks that the text tools are compared on.
//!
//! `bench-log log MEGABYTES` writes mixed log lines: flow rows, firewall, proxy, mail, name queries, JSON. `bench-log
//! map NETWORKS` writes a map in text form, and `bench-log nets NETWORKS` the same networks bare, one a line. The
//! output depends on the arguments alone. Addresses are private (RFC 1918) or for documentation.

use std::env;
use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

/// How many different addresses the log draws from; the first are the most frequent.
const POOL: u64 = 50_000;
/// The networks that four of ten of the addresses are in.
const NETWORKS: u64 = 10_000;

/// A small generator with a fixed start (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        let last = choices.len() as u64;
        choices[usize::try_from(self.below(last)).unwrap_or(0)]
    }
}

/// Network number `number`: an address in 10.0.0.0/8 and a length from 24 to 29.
fn network(number: u64) -> (u64, u64) {
    (0x0a00_0000 | (number * 6 % 65_536) << 8, 24 + number % 6)
}

fn dotted(bits: u64) -> String {
    format!("{}.{}.{}.{}", bits >> 24 & 255, bits >> 16 & 255, bits >> 8 & 255, bits & 255)
}

/// Address number `number` of the pool, always the same.
fn pooled(number: u64) -> String {
    let mut random = Random(number);
    match random.below(10) {
        0..4 => {
            let (base, length) = network(random.below(NETWORKS));
            dotted(base | random.below(1 << (32 - length)))
        }
        4..8 => dotted(0x0a00_0000 | random.below(1 << 24)),
        _ => dotted(random.of(&[0xc000_0200, 0xc633_6400, 0xcb00_7100]) | random.below(256)),
    }
}

/// An address; some are much more frequent than others.
fn address(random: &mut Random) -> String {
    pooled(random.below(POOL).min(random.below(POOL)))
}

fn address6(random: &mut Random) -> String {
    format!("2001:db8:{:x}::{:x}", random.of(&[0xa, 0xb, 0x77, 0xf00d]), 1 + random.below(255))
}

fn host(random: &mut Random) -> String {
    let names = ["www", "mail", "cdn", "img7", "ads", "update", "fw-01", "app_2"];
    let domains = ["example.com", "example.org", "example.net", "city-a.example", "port-c.example"];
    format!("{}{}.{}", random.of(&names), random.below(40), random.of(&domains))
}

fn line(random: &mut Random, second: u64, out: &mut String) -> Result<(), std::fmt::Error> {
    let clock = format!("{:02}:{:02}:{:02}", second / 3600 % 24, second / 60 % 60, second % 60);
    let port = 1024 + random.below(64_000);
    let (one, two) = (address(random), address(random));
    match random.below(20) {
        0..7 => writeln!(out, "{one:>15}|{two:>15}|{port:>5}|{:>5}|  6|", random.of(&[22, 25, 53, 80, 443])),
        7..10 => writeln!(out, "Feb 20 {clock} fw{} act=deny src={one} spt={port} dst={two}", port % 3),
        10..12 => writeln!(out, "Feb 20 {clock} h sshd[{port}]: Failed password from {one} port {port}"),
        12..14 => {
            let path = random.of(&["a.js", "index.html", "login.php", "x/0.5.5.1.2/y", ""]);
            writeln!(out, "{clock} px {one} dst_host={} url=http://{}/{path}", host(random), host(random))
        }
        14..16 => writeln!(out, "{clock}.{:03} query: {} IN A + ({one})", port % 1000, host(random)),
        16 => writeln!(out, "{clock} to=<u{}@{}> relay=[{one}]:25 ok", port % 10, host(random)),
        17 => writeln!(out, "{{\"srcip\": \"{one}\", \"msg\": \"to\\n{two}\", \"n\": {}}}", port % 100),
        18 => writeln!(out, "Feb 20 {clock} IN=eth0 SRC={} DST={one} LEN={port}", address6(random)),
        _ => writeln!(out, "{}", random.of(&["-- MARK --", "disk 93.5% e.g. /var", "mac 00:16:3e:0a:0b:cc"])),
    }
}

fn write_log(out: &mut impl Write, megabytes: u64) -> io::Result<()> {
    let (mut random, mut text, mut written, mut second) = (Random(1), String::new(), 0, 21_600);
    while written < megabytes * 1_000_000 {
        text.clear();
        second += random.below(2);
        line(&mut random, second, &mut text).map_err(io::Error::other)?;
        out.write_all(text.as_bytes())?;
        written += text.len() as u64;
    }
    out.flush()
}

fn write_networks(out: &mut impl Write, count: u64, with_labels: bool) -> io::Result<()> {
    for number in 0..count {
        let (base, length) = network(number);
        let label = number % 200;
        if with_labels {
            writeln!(out, "{}/{length}|ID{label}|SITE{label}", dotted(base))?;
        } else {
            writeln!(out, "{}/{length}", dotted(base))?;
        }
    }
    out.flush()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = words.get(1).and_then(|word| word.parse().ok());
    let mut out = BufWriter::new(io::stdout().lock());
    let result = match (words.first(), number) {
        (Some(&"log"), Some(megabytes)) => write_log(&mut out, megabytes),
        (Some(&"map"), Some(count)) => write_networks(&mut out, count, true),
        (Some(&"nets"), Some(count)) => write_networks(&mut out, count, false),
        _ => Err(io::Error::other("usage: bench-log log MEGABYTES | map NETWORKS | nets NETWORKS")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "bench-log: {error}");
            ExitCode::FAILURE
        }
    }
}
