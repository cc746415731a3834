//! Different values counted per label (PRISEM services specification, 7.5).

use std::io::{self, Write};

use crate::map::Map;
use crate::percent::percent;
use crate::run::Tally;

/// The name of the total in every statistic.
pub(crate) const TOTAL: &str = "ALLSITES";

/// How many different values carry each label: by falling count, ties by the bytes of the label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelCounts<'a> {
    rows: Vec<(&'a str, u64)>,
    total: u64,
}

impl<'a> LabelCounts<'a> {
    /// What comes before the block when it is appended to other output that ends in LF, or to none.
    pub const SEPARATOR: &'static [u8] = b"\n\n";

    /// Counts the matching values of a tally made with this map.
    #[must_use]
    pub fn new(tally: &Tally, map: &'a Map) -> Self {
        let mut counts = vec![0; map.label_count()];
        for (label, _) in tally.matching() {
            counts[label.index()] += 1;
        }
        let mut rows: Vec<(&str, u64)> = map
            .labels()
            .map(|(id, label)| (label, counts[id.index()]))
            .filter(|(_, count)| *count > 0)
            .collect();
        sort(&mut rows);
        Self { total: rows.iter().map(|(_, count)| count).sum(), rows }
    }

    /// Labels with their counts, none of them zero, in the order of the block.
    #[must_use]
    pub fn rows(&self) -> &[(&'a str, u64)] {
        &self.rows
    }

    /// How many different values match at all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Writes the block from its title on. To append it, write [`LabelCounts::SEPARATOR`] before.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_block(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "Site/host counts")?;
        for (label, count) in &self.rows {
            writeln!(out, "{label}: {count} ({}%)", percent(*count, self.total, 2))?;
        }
        writeln!(out, "{TOTAL}: {} (100%)", self.total)
    }
}

/// By falling count, ties by the bytes of the label.
pub(crate) fn sort<Label: AsRef<str>>(rows: &mut [(Label, u64)]) {
    rows.sort_by(|(left, more), (right, less)| {
        less.cmp(more).then_with(|| left.as_ref().cmp(right.as_ref()))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::Found;
    use crate::map::MapOptions;

    fn block(hosts: &[u32]) -> String {
        let rows =
            "192.0.2.0/28|b\n192.0.2.16/28|B\n192.0.2.32/27|é\n192.0.2.64/26|never\n192.0.2.128/25|a b";
        let map = Map::parse(rows.as_bytes(), &MapOptions::default()).unwrap().map;
        let mut tally = Tally::default();
        for host in hosts {
            let address = 0xc000_0200 | host;
            tally.add(&Found::Ip4(address), map.ip4(address));
        }
        let mut out = Vec::new();
        LabelCounts::new(&tally, &map).write_block(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn different_values_by_count_then_bytes() {
        let made = block(&[33, 1, 1, 1, 17, 130, 131, 0x1_0000]);
        let lines = "a b: 2 (40.00%)\nB: 1 (20.00%)\nb: 1 (20.00%)\né: 1 (20.00%)\nALLSITES: 5 (100%)\n";
        assert_eq!(made, format!("Site/host counts\n{lines}"));
    }

    #[test]
    fn nothing_matched() {
        assert_eq!(block(&[]), "Site/host counts\nALLSITES: 0 (100%)\n");
    }
}
