//! The text form: `CIDR_or_domain|SiteID|AnonString`, one rule a line (7.3.2).

use memchr::memchr;

use super::LabelChoice;
use super::builder::Builder;

pub(super) fn read(text: &str, choice: LabelChoice, builder: &mut Builder) {
    for (line, row) in (1..).zip(split(text, b'\n')) {
        let row = row.trim();
        if !row.is_empty() && !row.starts_with('#') {
            read_row(line, row, choice, builder);
        }
    }
}

fn read_row(line: usize, row: &str, choice: LabelChoice, builder: &mut Builder) {
    let mut fields = split(row, b'|').map(str::trim);
    let key = fields.next().unwrap_or("");
    let Some(site) = fields.next() else {
        builder.broken(line, || "fewer than two fields".to_owned());
        return;
    };
    let anonymous = fields.next().unwrap_or("");
    let label = match choice {
        LabelChoice::Anonymous => [anonymous, site],
        LabelChoice::Site => [site, anonymous],
    };
    match label.iter().find(|label| !label.is_empty()) {
        Some(label) => builder.rule(line, key, label),
        None => builder.broken(line, || "neither SiteID nor AnonString".to_owned()),
    }
}

/// The parts between an ASCII sign.
fn split(text: &str, sign: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let at = memchr(sign, text.as_bytes());
        rest = at.map(|at| &text[at + 1..]);
        Some(&text[..at.unwrap_or(text.len())])
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Map, MapOptions};
    use super::*;

    fn load(text: &[u8], label: LabelChoice) -> (Map, Vec<usize>) {
        let loaded = Map::parse(text, &MapOptions { label, ..MapOptions::default() }).unwrap();
        let lines = loaded.broken.rows().iter().map(|row| row.line).collect();
        (loaded.map, lines)
    }

    fn label_of(map: &Map, last: u32) -> Option<&str> {
        map.ip4(0xc000_0200 | last).map(|id| map.label(id))
    }

    #[test]
    fn rows_comments_and_broken_rows() {
        let text = b"\xef\xbb\xbf# head\r\n\r\n  192.0.2.1 | ID | LAB  |more\r\n#x\n80|a|b\n192.0.2.2\n192.0.2.3| |\n192.0.2.4||A\n192.0.2.5|I\xff|\n192.0.2.6|I";
        let (map, broken) = load(text, LabelChoice::Anonymous);
        assert_eq!(broken, [5, 6, 7]);
        let labels: Vec<_> = (1..=6).map(|last| label_of(&map, last)).collect();
        assert_eq!(labels, [Some("LAB"), None, None, Some("A"), Some("I\u{fffd}"), Some("I")]);
        assert_eq!(map.rule_count(), 4);
    }

    #[test]
    fn the_site_can_be_the_label() {
        let (map, _) = load(b"192.0.2.1|ID|LAB\n192.0.2.2||LAB\n192.0.2.3|ID", LabelChoice::Site);
        let labels: Vec<_> = (1..=3).map(|last| label_of(&map, last)).collect();
        assert_eq!(labels, [Some("ID"), Some("LAB"), Some("ID")]);
        assert_eq!(map.label_count(), 2);
    }

    #[test]
    fn many_broken_rows_are_counted_and_ten_are_named() {
        let text = "x\n".repeat(1000);
        let loaded = Map::parse(text.as_bytes(), &MapOptions::default()).unwrap();
        assert!(loaded.map.is_empty());
        assert_eq!((loaded.broken.count(), loaded.broken.rows().len()), (1000, 10));
    }
}
