//! The two scanners: tokens lie in order inside the text, and where only the classes of the core can occur both find
//! the same ones.
#![no_main]

use libfuzzer_sys::fuzz_target;
use polybus_ipgrep::{Classes, Covers, Dns, Grammar, Scanner};

/// Rules that excuse a few file suffixes.
struct Rules;

impl Covers for Rules {
    fn covers(&self, name: &[u8]) -> bool {
        name.ends_with(b".log") || name == b"a.txt"
    }
}

type Row = (usize, usize, Vec<u8>);

fn scanned(text: &[u8], classes: Classes, dns: Dns) -> Vec<Row> {
    let (mut rows, mut last) = (Vec::new(), 0);
    Scanner::new(Grammar { classes, dns, tlds: None }).scan(text, &Rules, |token| {
        assert!(last <= token.start && token.start < token.end && token.end <= text.len());
        last = token.end;
        let mut value = Vec::new();
        token.write_value(&mut value);
        rows.push((token.start, token.end, value));
    });
    rows
}

fuzz_target!(|data: &[u8]| {
    for dns in [Dns::Strict, Dns::Loose] {
        scanned(data, Classes::ALL, dns);
        let fast = scanned(data, Classes::default(), dns);
        // No mail address without its sign: the scanner for wide classes must find what the fast one finds.
        if !data.contains(&b'@') {
            assert_eq!(fast, scanned(data, Classes::default().with(Classes::EMAIL), dns));
        }
        // Lines do not touch each other.
        let (mut by_line, mut base) = (Vec::new(), 0);
        for line in data.split(|byte| *byte == b'\n') {
            let rows = scanned(line, Classes::default(), dns).into_iter();
            by_line.extend(rows.map(|(start, end, value)| (base + start, base + end, value)));
            base += line.len() + 1;
        }
        assert_eq!(fast, by_line);
    }
});
