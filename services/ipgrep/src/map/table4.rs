//! IPv4 rules, flattened so that a lookup is one or two loads for most addresses.

use super::builder::BlockRule;
use super::table6::{self, Blocks};
use super::{LabelId, lower32};

/// Upper halves of addresses; each has one entry in the root.
const UPPER_HALVES: usize = 1 << 16;
/// Marks a root entry that names a bucket instead of holding the answer.
const BUCKET: u32 = 1 << 31;
/// From this many changes on, a bucket has an index by the third byte: with 10,000 networks a search costs a tenth of
/// the time that masking takes.
const INDEXED: usize = 12;
/// A bucket without index.
const NO_INDEX: u32 = u32::MAX;

/// The longest rule for every IPv4 address.
///
/// The root is indexed by the upper half of the address. An entry holds the answer for its 65,536 addresses if
/// they share one (0: no rule, else label number + 1), or names a bucket of sorted lower halves.
#[derive(Debug)]
pub(super) struct Table4 {
    root: Vec<u32>,
    buckets: Vec<Bucket>,
    /// For each third byte, and for the end, how many of the bucket's starts come before it.
    indexes: Vec<[u32; 257]>,
    starts: Vec<u16>,
    answers: Vec<u32>,
    blocks: Blocks<u32>,
}

/// A range of starts.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    first: u32,
    end: u32,
    index: u32,
}

impl Table4 {
    pub(super) fn new(rules: Vec<BlockRule<u32>>) -> Self {
        let mut table = Self {
            root: Vec::new(),
            buckets: vec![],
            indexes: vec![],
            starts: vec![],
            answers: vec![],
            blocks: Blocks::new(&rules),
        };
        if !rules.is_empty() {
            table.fill(rules);
        }
        table
    }

    fn fill(&mut self, rules: Vec<BlockRule<u32>>) {
        let wide = rules.into_iter().map(|rule| BlockRule {
            net: rule.net.into(),
            len: rule.len + 96,
            label: rule.label,
        });
        let changes = table6::flatten(wide.collect(), u32::MAX.into());
        self.root.reserve_exact(UPPER_HALVES);
        let (mut next, mut answer) = (0, 0);
        for upper in 0..UPPER_HALVES as u128 {
            let end = next + changes[next..].partition_point(|(start, _)| start >> 16 <= upper);
            let (entry, after) = self.entry(answer, &changes[next..end]);
            self.root.push(entry);
            (next, answer) = (end, after);
        }
    }

    /// The root entry for the changes within one upper half, and the answer after them.
    fn entry(&mut self, before: u32, changes: &[(u128, u32)]) -> (u32, u32) {
        let lower = |start: u128| lower16(lower32(start));
        match changes {
            [] => (before, before),
            [(start, answer)] if lower(*start) == 0 => (*answer, *answer),
            [.., (_, last)] => {
                let first = number(self.starts.len());
                if lower(changes[0].0) != 0 {
                    self.starts.push(0);
                    self.answers.push(before);
                }
                for (start, answer) in changes {
                    self.starts.push(lower(*start));
                    self.answers.push(*answer);
                }
                self.close_bucket(first);
                (BUCKET | number(self.buckets.len() - 1), *last)
            }
        }
    }

    fn close_bucket(&mut self, first: u32) {
        let starts = &self.starts[first as usize..];
        let mut bucket = Bucket { first, end: number(self.starts.len()), index: NO_INDEX };
        if starts.len() >= INDEXED {
            bucket.index = number(self.indexes.len());
            let before = |third: usize| starts.partition_point(|start| usize::from(*start >> 8) < third);
            self.indexes.push(std::array::from_fn(|third| number(before(third))));
        }
        self.buckets.push(bucket);
    }

    #[inline]
    pub(super) fn find(&self, address: u32) -> Option<LabelId> {
        let entry = *self.root.get((address >> 16) as usize)?;
        let answer =
            if entry & BUCKET == 0 { entry } else { self.in_bucket(entry & !BUCKET, lower16(address)) };
        answer.checked_sub(1).map(LabelId)
    }

    #[inline]
    fn in_bucket(&self, bucket: u32, lower: u16) -> u32 {
        let Bucket { first, end, index } = self.buckets[bucket as usize];
        let starts = &self.starts[first as usize..end as usize];
        let third = usize::from(lower >> 8);
        let (from, to) = match self.indexes.get(index as usize) {
            Some(index) => (index[third] as usize, index[third + 1] as usize),
            None => (0, starts.len()),
        };
        // The first start is always 0, so the point is never the first place.
        let at = from + starts[from..to].iter().take_while(|start| **start <= lower).count();
        self.answers[first as usize + at - 1]
    }

    pub(super) fn find_block(&self, net: u32, len: u8) -> Option<LabelId> {
        self.blocks.find(len.min(32), |len| net & u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0))
    }
}

/// The lower half of an address.
#[inline]
#[allow(clippy::cast_possible_truncation)] // cutting is what it is for
fn lower16(address: u32) -> u16 {
    address as u16
}

/// A place in the tables; there are at most two changes a rule, and far less than 2^30 rules fit into memory.
fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(BUCKET - 1)
}
