//! IPv6 rules as sorted ranges, and blocks of both families for the lookup of whole blocks.

use std::hash::Hash;

use rustc_hash::FxHashMap;

use super::LabelId;
use super::builder::BlockRule;

/// The longest rule for every IPv6 address: sorted starts of ranges with their answers (0: no rule, else label
/// number + 1).
#[derive(Debug)]
pub(super) struct Table6 {
    starts: Vec<u128>,
    answers: Vec<u32>,
    blocks: Blocks<u128>,
}

impl Table6 {
    pub(super) fn new(rules: Vec<BlockRule<u128>>) -> Self {
        let blocks = Blocks::new(&rules);
        let (starts, answers) = flatten(rules, u128::MAX).into_iter().unzip();
        Self { starts, answers, blocks }
    }

    pub(super) fn find(&self, address: u128) -> Option<LabelId> {
        let before = self.starts.partition_point(|start| *start <= address).checked_sub(1)?;
        self.answers[before].checked_sub(1).map(LabelId)
    }

    pub(super) fn find_block(&self, net: u128, len: u8) -> Option<LabelId> {
        self.blocks.find(len.min(128), |len| net & mask(len))
    }
}

fn mask(len: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0)
}

/// The rules of one family by net and length.
#[derive(Debug)]
pub(super) struct Blocks<Bits> {
    by_net: FxHashMap<(Bits, u8), LabelId>,
    /// Lengths that occur, longest first.
    lens: Vec<u8>,
}

impl<Bits: Copy + Eq + Hash> Blocks<Bits> {
    pub(super) fn new(rules: &[BlockRule<Bits>]) -> Self {
        let mut by_net = FxHashMap::default();
        for rule in rules {
            by_net.entry((rule.net, rule.len)).or_insert(rule.label);
        }
        let mut lens: Vec<u8> = rules.iter().map(|rule| rule.len).collect();
        lens.sort_unstable_by(|a, b| b.cmp(a));
        lens.dedup();
        Self { by_net, lens }
    }

    /// The longest rule not longer than `len` whose net is that of the block, which `cut` gives for a length.
    pub(super) fn find(&self, len: u8, cut: impl Fn(u8) -> Bits) -> Option<LabelId> {
        let mut fitting = self.lens.iter().filter(|rule| **rule <= len);
        fitting.find_map(|rule| self.by_net.get(&(cut(*rule), *rule))).copied()
    }
}

/// Nested blocks as a sorted list of the places where the answer changes, up to address `last`.
pub(super) fn flatten(mut rules: Vec<BlockRule<u128>>, last: u128) -> Vec<(u128, u32)> {
    // Stable: of equal blocks the first in the file comes first, and is kept.
    rules.sort_by_key(|rule| (rule.net, rule.len));
    rules.dedup_by_key(|rule| (rule.net, rule.len));
    let mut changes = Vec::with_capacity(2 * rules.len());
    let mut open: Vec<(u128, u32)> = Vec::new();
    for rule in &rules {
        close_before(&mut open, Some(rule.net), last, &mut changes);
        let answer = rule.label.0 + 1;
        change(&mut changes, rule.net, answer);
        open.push((rule.net | !mask(rule.len), answer));
    }
    close_before(&mut open, None, last, &mut changes);
    changes
}

/// Ends the open blocks that end before `start`, or all of them.
fn close_before(
    open: &mut Vec<(u128, u32)>,
    start: Option<u128>,
    last: u128,
    changes: &mut Vec<(u128, u32)>,
) {
    while let Some((end, _)) = open.pop_if(|(end, _)| start.is_none_or(|start| *end < start)) {
        if end < last {
            change(changes, end + 1, open.last().map_or(0, |(_, answer)| *answer));
        }
    }
}

fn change(changes: &mut Vec<(u128, u32)>, start: u128, answer: u32) {
    // A later word on the same place is that of a block inside, or of the one around it that goes on.
    changes.pop_if(|(at, _)| *at == start);
    if changes.last().map_or(0, |(_, before)| *before) != answer {
        changes.push((start, answer));
    }
}
