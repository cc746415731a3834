//! Collects the rules of a file, whatever its form.

use rustc_hash::FxHashMap;

use super::domains::Domains;
use super::error::{Broken, shown};
use super::key::Key;
use super::table4::Table4;
use super::table6::Table6;
use super::{LabelId, Loaded, Map};

/// A block with its label. `Bits` is `u32` or `u128`.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockRule<Bits> {
    pub(super) net: Bits,
    pub(super) len: u8,
    pub(super) label: LabelId,
}

#[derive(Default)]
pub(super) struct Builder {
    ids: FxHashMap<Box<str>, LabelId>,
    labels: Vec<Box<str>>,
    v4: Vec<BlockRule<u32>>,
    v6: Vec<BlockRule<u128>>,
    domains: Domains,
    rules: usize,
    broken: Broken,
}

impl Builder {
    /// Adds a rule, or reports the key if it is none.
    pub(super) fn rule(&mut self, line: usize, key: &str, label: &str) {
        match Key::parse(key) {
            Some(key) => self.add(key, label),
            None => self.broken(line, || format!("`{}` is no address, block or domain", shown(key))),
        }
    }

    pub(super) fn broken(&mut self, line: usize, why: impl FnOnce() -> String) {
        self.broken.add(line, why);
    }

    fn add(&mut self, key: Key, label: &str) {
        let label = self.intern(label);
        self.rules += 1;
        match key {
            Key::Block4 { net, len } => self.v4.push(BlockRule { net, len, label }),
            Key::Block6 { net, len } => self.v6.push(BlockRule { net, len, label }),
            Key::Domain(name) => self.domains.add(&name, label),
        }
    }

    fn intern(&mut self, label: &str) -> LabelId {
        if let Some(id) = self.ids.get(label) {
            return *id;
        }
        // A file of 2^31 different labels would not fit into memory.
        let id = LabelId(u32::try_from(self.labels.len()).unwrap_or(u32::MAX));
        self.ids.insert(label.into(), id);
        self.labels.push(label.into());
        id
    }

    pub(super) fn finish(self) -> Loaded {
        let map = Map {
            labels: self.labels,
            rules: self.rules,
            v4: Table4::new(self.v4),
            v6: Table6::new(self.v6),
            domains: self.domains,
        };
        Loaded { map, broken: self.broken }
    }
}
