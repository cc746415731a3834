//! IPv4 rules, flattened so that a lookup is a few loads that do not depend on what was found before.
//!
//! Which of two ways an address takes cannot be foretold, and a processor that guesses wrong loses more time than a load
//! takes: so all addresses go the same way.

use std::hint::select_unpredictable;

use rustc_hash::FxHashMap;

use super::builder::BlockRule;
use super::table6::{self, Blocks};
use super::{LabelId, lower32};

/// Upper halves of addresses; each has one entry in the root.
const UPPER_HALVES: usize = 1 << 16;
/// Marks a root entry that names a table of third bytes.
const TABLE: u32 = 1 << 31;
/// Marks [`Parts::first`] if there is an answer for each last byte.
const EACH: u32 = 1 << 31;
/// Bounds between the parts of a block: with these, [`Parts`] take 16 bytes.
const BOUNDS: usize = 6;

/// The longest rule for every IPv4 address.
///
/// The root is indexed by the upper half of the address. An entry names the parts that its 65,536 addresses fall into,
/// or if there are many, a table that names the parts for each third byte.
#[derive(Debug)]
pub(super) struct Table4 {
    root: Vec<u32>,
    /// Numbers of [`Table4::parts`] by third byte. The first table stands for no table.
    tables: Vec<[u32; 256]>,
    parts: Vec<Parts>,
    /// 0: no rule, else label number + 1.
    answers: Vec<u32>,
    blocks: Blocks<u32>,
}

/// The parts that a block of addresses falls into.
#[derive(Clone, Copy, Debug)]
struct Parts {
    /// The last lower half of each part but the last one; what is left is the highest there is.
    lasts: [u16; BOUNDS],
    /// Where the answers begin.
    first: u32,
}

impl Parts {
    /// The place of the answer for a lower half.
    #[inline]
    fn place(&self, lower: u16) -> u32 {
        let before = self.lasts.iter().map(|last| u32::from(*last < lower)).sum();
        let place = if self.first & EACH != 0 { u32::from(lower & 255) } else { before };
        (self.first & !EACH) + place
    }
}

/// The answer from a lower half on.
type Change = (u16, u32);

/// The parts of blocks with one answer, by answer.
type Whole = FxHashMap<u32, u32>;

impl Table4 {
    pub(super) fn new(rules: Vec<BlockRule<u32>>) -> Self {
        let mut table = Self {
            root: Vec::new(),
            tables: vec![[0; 256]],
            parts: vec![],
            answers: vec![],
            blocks: Blocks::new(&rules),
        };
        table.fill(rules);
        table
    }

    fn fill(&mut self, rules: Vec<BlockRule<u32>>) {
        let wide = rules.into_iter().map(|rule| BlockRule {
            net: rule.net.into(),
            len: rule.len + 96,
            label: rule.label,
        });
        let changes = table6::flatten(wide.collect(), u32::MAX.into());
        let mut changes = changes.iter().map(|(start, answer)| (lower32(*start), *answer)).peekable();
        let (mut answer, mut whole) = (0, Whole::default());
        self.root.reserve_exact(UPPER_HALVES);
        for upper in 0..=u16::MAX {
            let inside = std::iter::from_fn(|| changes.next_if(|(start, _)| start >> 16 == u32::from(upper)));
            let inside: Vec<Change> = inside.map(|(start, answer)| (lower16(start), answer)).collect();
            let entry = if inside.len() <= BOUNDS {
                self.entry(answer, 0, &inside, &mut whole)
            } else {
                let table = self.table(answer, &inside, &mut whole);
                self.tables.push(table);
                TABLE | number(self.tables.len() - 1)
            };
            self.root.push(entry);
            answer = inside.last().map_or(answer, |(_, last)| *last);
        }
    }

    /// The parts for each third byte of an upper half that begins with the answer `before`.
    fn table(&mut self, mut before: u32, mut changes: &[Change], whole: &mut Whole) -> [u32; 256] {
        let mut entries = [0; 256];
        for (third, entry) in (0..).zip(&mut entries) {
            let inside;
            (inside, changes) = changes.split_at(changes.partition_point(|(start, _)| start >> 8 <= third));
            *entry = self.entry(before, third << 8, inside, whole);
            before = inside.last().map_or(before, |(_, last)| *last);
        }
        entries
    }

    /// The number of the parts of a block that begins at `start`.
    fn entry(&mut self, before: u32, start: u16, changes: &[Change], whole: &mut Whole) -> u32 {
        match changes {
            [] => *whole.entry(before).or_insert_with(|| self.push(before, start, &[])),
            [(at, answer)] if *at == start => self.entry(*answer, start, &[], whole),
            _ => self.push(before, start, changes),
        }
    }

    fn push(&mut self, before: u32, start: u16, changes: &[Change]) -> u32 {
        let mut parts = Parts { lasts: [u16::MAX; BOUNDS], first: number(self.answers.len()) };
        if changes.len() <= BOUNDS {
            let (whole, changes) = match changes {
                [(at, answer), later @ ..] if *at == start => (*answer, later),
                _ => (before, changes),
            };
            parts.lasts.iter_mut().zip(changes).for_each(|(last, (start, _))| *last = start - 1);
            self.answers.push(whole);
            self.answers.extend(changes.iter().map(|(_, answer)| *answer));
        } else {
            parts.first |= EACH;
            self.answers.extend((start..=start | 255).map(|place| {
                let known = changes.partition_point(|(start, _)| *start <= place);
                known.checked_sub(1).map_or(before, |at| changes[at].1)
            }));
        }
        self.parts.push(parts);
        number(self.parts.len() - 1)
    }

    #[inline]
    pub(super) fn find(&self, address: u32) -> Option<LabelId> {
        self.answer(self.parts_for(address), address)
    }

    /// The same for many: the loads of each step do not wait for each other.
    #[inline]
    pub(super) fn find_all(
        &self,
        addresses: impl Iterator<Item = u32> + Clone,
        room: &mut Vec<u32>,
        mut give: impl FnMut(Option<LabelId>),
    ) {
        room.clear();
        room.extend(addresses.clone().map(|address| self.parts_for(address)));
        for (place, address) in room.iter_mut().zip(addresses) {
            *place = self.parts[*place as usize].place(lower16(address));
        }
        for place in &*room {
            give(self.answers[*place as usize].checked_sub(1).map(LabelId));
        }
    }

    /// The number of the parts that an address is in.
    #[inline]
    fn parts_for(&self, address: u32) -> u32 {
        let entry = self.root[(address >> 16) as usize];
        let is_table = entry & TABLE != 0;
        // Loaded in any case: if it were only done where needed, the processor would have to guess.
        let table = &self.tables[select_unpredictable(is_table, (entry & !TABLE) as usize, 0)];
        let named = table[usize::from(lower16(address) >> 8)];
        select_unpredictable(is_table, named, entry)
    }

    #[inline]
    fn answer(&self, parts: u32, address: u32) -> Option<LabelId> {
        let place = self.parts[parts as usize].place(lower16(address));
        self.answers[place as usize].checked_sub(1).map(LabelId)
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
    u32::try_from(place).unwrap_or(TABLE - 1)
}
