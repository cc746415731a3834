//! The scanner against the published vectors and against the reference.

use std::fs;
use std::sync::Arc;

use data_encoding::BASE64;
use proptest::prelude::*;
use serde_json::Value;

use super::reference::{self, Row};
use super::{Covers, Dns, Grammar, Scanner, Tlds};
use crate::ident::Classes;
use crate::map::{Map, MapOptions};
use crate::run::tally::label_of;
use crate::vectors;

/// A few rules: file suffixes among them, so that these are excused.
struct Rules;

impl Covers for Rules {
    fn covers(&self, name: &[u8]) -> bool {
        ["log", "a.txt", "b.example", "x-a.json"].iter().any(|rule| {
            let head = name.strip_suffix(rule.as_bytes());
            head.is_some_and(|head| head.is_empty() || head.ends_with(b"."))
        })
    }
}

fn scanned(text: &[u8], grammar: &Grammar, map: &impl Covers) -> Vec<Row> {
    let mut rows = Vec::new();
    Scanner::new(grammar.clone()).scan(text, map, |token| {
        let mut value = Vec::new();
        token.write_value(&mut value);
        let value = String::from_utf8_lossy(&value).into_owned();
        rows.push((token.start, token.end, token.kind().as_str(), value));
    });
    rows
}

fn line_of(vector: &Value) -> Vec<u8> {
    match vector["line"].as_str() {
        Some(line) => line.as_bytes().to_vec(),
        None => BASE64.decode(vector["line_b64"].as_str().unwrap().as_bytes()).unwrap(),
    }
}

fn grammar_of(vector: &Value) -> Grammar {
    let classes = vector["classes"].as_array().map_or_else(Classes::default, |words| {
        let words: Vec<&str> = words.iter().map(|word| word.as_str().unwrap()).collect();
        words.join(",").parse().unwrap()
    });
    Grammar { classes, dns: vector["dns"].as_str().unwrap().parse().unwrap(), tlds: None }
}

fn with_labels(line: &[u8], grammar: &Grammar, map: &Map) -> Value {
    let mut rows = Vec::new();
    Scanner::new(grammar.clone()).scan(line, map, |token| {
        let mut value = Vec::new();
        token.write_value(&mut value);
        let label = label_of(map, &token.found).map(|id| map.label(id).to_owned());
        let value = String::from_utf8(value).unwrap();
        rows.push(serde_json::json!([token.start, token.end, token.kind().as_str(), value, label]));
    });
    Value::Array(rows)
}

#[test]
fn every_scan_vector() {
    for vector in vectors::table("scan.jsonl") {
        let file = fs::read(vectors::folder().join(vector["map"].as_str().unwrap())).unwrap();
        let map = Map::parse(&file, &MapOptions::default()).unwrap().map;
        let (line, grammar) = (line_of(&vector), grammar_of(&vector));
        assert_eq!(with_labels(&line, &grammar, &map), vector["tokens"], "{}", vector["id"]);
        let want: Vec<Row> = reference::scan(&line, &grammar, &map);
        assert_eq!(scanned(&line, &grammar, &map), want, "{} by the reference", vector["id"]);
    }
}

/// Pieces of text that are awkward next to each other.
const PIECES: &[&str] = &[
    "192.0.2.1",
    "1.2.3.4",
    "0",
    "1",
    "12",
    "255",
    "256",
    "999",
    "12345",
    "ab",
    "c",
    "0001",
    ".",
    "..",
    ":",
    "::",
    ":.",
    "2001:db8::1",
    "1:2:3:4:5:6:7",
    "ffff",
    "::ffff:",
    "64:ff9b::",
    "00:16:3e:0a:0b:0c",
    "12:34:56",
    "g",
    "Z",
    "-",
    "_",
    "@",
    "/",
    "//",
    "://",
    "%",
    "%41",
    "%3A",
    "%2e",
    "%4",
    "\\",
    "\\\\",
    "\\n",
    "\\b",
    "\\u0041",
    "\\u00",
    "\\u00ab",
    "\\/",
    "\\\"",
    "\"",
    "u",
    "n",
    "f",
    " ",
    "\t",
    "\r",
    "\n",
    "\u{1}",
    "\u{7f}",
    "é",
    "example",
    "b.example",
    "EXAMPLE",
    "a",
    "x",
    "txt",
    "log",
    "json",
    "TAR",
    "gz",
    "a.txt",
    "bz2",
    "config",
    "xn--",
    "xn--p1ai",
    "XN--",
    "http",
    "hxxps",
    "FTP",
    "http://",
    "ftp://",
    "#",
    "?",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    "[.]",
    "(dot)",
    "[at]",
    "[:]",
    "[://]",
    "[/]",
    "[@]",
    ",",
    ";",
    "!",
    "'",
    "<",
    ">",
    "|",
    "^",
    "`",
    "+",
    "=",
    "/24",
    "/32",
    "/129",
    ":80",
    ":123456",
    ".443",
    ".65536",
    "eth0",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

fn nasty_text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        12 => proptest::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
        1 => "[a-f0-9]{1,5}".prop_map(String::into_bytes),
    ];
    proptest::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

/// Addresses and names that signs join, over the borders of several windows.
fn joined_text() -> impl Strategy<Value = Vec<u8>> {
    let whole = ["192.0.2.10", "198.51.100.34", "1.2.3.4", "::1", "b.example", "a.txt", "ab", "7"];
    let joints = ["_", "-", ".", ":", " ", "/", "@", "%", "\\", "\n", "..", "_.", "-."];
    let piece =
        prop_oneof![proptest::sample::select(whole.to_vec()), proptest::sample::select(joints.to_vec())];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat().into_bytes())
}

fn classes() -> impl Strategy<Value = Classes> {
    let core = ["ip4,ip6,host", "ip4", "ip6", "host", "ip4,host", "ip6,host", "ip4,ip6"];
    let wide = [
        "all",
        "cidr",
        "email",
        "url",
        "ip4,ip6,host,cidr",
        "ip4,ip6,host,email",
        "ip4,ip6,host,url",
        "ip4,ip6,host,defang",
        "ip4,ip6,host,tcpdump",
        "url,defang",
        "ip6,cidr,tcpdump",
        "ip4,ip6,host,url,email,cidr",
        "tcpdump,url,ip4,defang",
    ];
    let words = prop_oneof![proptest::sample::select(core.to_vec()), proptest::sample::select(wide.to_vec())];
    words.prop_map(|words| words.parse().unwrap())
}

fn grammars() -> impl Strategy<Value = Grammar> {
    let tlds = Arc::new(Tlds::parse("example\nxn--p1ai\ntxt\nab\n"));
    (classes(), any::<bool>(), proptest::bool::weighted(0.2)).prop_map(move |(classes, loose, listed)| {
        Grammar {
            classes,
            dns: if loose { Dns::Loose } else { Dns::Strict },
            tlds: listed.then(|| Arc::clone(&tlds)),
        }
    })
}

/// The reference sees lines.
fn by_reference(text: &[u8], grammar: &Grammar) -> Vec<Row> {
    let (mut rows, mut base) = (Vec::new(), 0);
    for line in text.split(|byte| *byte == b'\n') {
        let found = reference::scan(line, grammar, &Rules);
        rows.extend(
            found.into_iter().map(|(start, end, kind, value)| (base + start, base + end, kind, value)),
        );
        base += line.len() + 1;
    }
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(4000)
    ))]

    #[test]
    fn finds_what_the_reference_finds(text in nasty_text(), grammar in grammars()) {
        prop_assert_eq!(scanned(&text, &grammar, &Rules), by_reference(&text, &grammar), "{:?}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn finds_what_the_reference_finds_where_much_is_joined(text in joined_text(), grammar in grammars()) {
        prop_assert_eq!(scanned(&text, &grammar, &Rules), by_reference(&text, &grammar), "{:?}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn tokens_are_in_order_inside_the_text(text in proptest::collection::vec(any::<u8>(), 0..200), grammar in grammars()) {
        let mut end = 0;
        for (start, stop, _, _) in scanned(&text, &grammar, &Rules) {
            prop_assert!(end <= start && start < stop && stop <= text.len());
            end = stop;
        }
    }
}

/// What the scanner found at most in a megabyte made of one unit; that it comes to an end is the point.
fn count(unit: &str, classes: &str) -> usize {
    let text = unit.repeat(1_000_000 / unit.len());
    let grammar = Grammar { classes: classes.parse().unwrap(), dns: Dns::Loose, tlds: None };
    scanned(text.as_bytes(), &grammar, &Rules).len()
}

#[test]
fn a_megabyte_of_anything_takes_linear_time() {
    let units = [
        "1.",
        "a.",
        "::",
        ":",
        "a",
        "%25",
        "\\",
        "a@",
        "a-",
        "a.1-",
        "a.txt-",
        "1:",
        "f:",
        ":.",
        "http://",
        "_.",
        "%",
        "a@a.",
        "[.]",
        "(dot",
        "1.1.1.1-",
        "xn--",
        "a.xn--a-",
        "_",
        ".",
        "http://a@",
        "A.JSON-",
        "..a",
        "x-a-",
        "1::",
        "\\u00",
    ];
    for unit in units {
        for classes in ["ip4,ip6,host", "all"] {
            assert!(count(unit, classes) <= 500_000, "{unit}");
        }
    }
    assert_eq!(count("1.1.1.1 ", "ip4"), 125_000);
}
