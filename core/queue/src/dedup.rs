//! The de-duplication window: keys seen lately.

use std::collections::{HashSet, VecDeque};

use crate::entry::Key;
use crate::options::DedupWindow;
use crate::time::ticks;

/// Keys are chosen by senders, so the hasher is the seeded one: a sender cannot make them collide.
#[derive(Debug)]
pub(crate) struct Dedup {
    keys: HashSet<Key>,
    ends: VecDeque<(u64, Key)>,
    window: u64,
    limit: usize,
    forgotten: u64,
}

impl Dedup {
    pub(crate) fn new(options: &DedupWindow) -> Self {
        Self {
            keys: HashSet::new(),
            ends: VecDeque::new(),
            window: ticks(options.window),
            limit: options.keys,
            forgotten: 0,
        }
    }

    pub(crate) fn seen(&mut self, key: &Key, tick: u64) -> bool {
        while self.ends.front().is_some_and(|(end, _)| *end <= tick) {
            self.forget_oldest();
        }
        self.keys.contains(key)
    }

    /// Remembers a key from `age` ticks ago.
    pub(crate) fn remember(&mut self, key: Key, tick: u64, age: u64) {
        let Some(left) = self.window.checked_sub(age).filter(|left| *left > 0) else { return };
        if self.limit == 0 || !self.keys.insert(key.clone()) {
            return;
        }
        if self.keys.len() > self.limit {
            self.forget_oldest();
        }
        self.ends.push_back((tick.saturating_add(left), key));
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Keys forgotten since the window was made.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The keys remembered, with the ticks at which they are forgotten, from the one that has `from` before it,
    /// forgotten ones counted.
    pub(crate) fn since(&self, from: u64) -> impl Iterator<Item = &(u64, Key)> {
        let skip = usize::try_from(from.saturating_sub(self.forgotten)).unwrap_or(usize::MAX);
        self.ends.iter().skip(skip)
    }

    /// Remembers a key for `left` ticks more.
    pub(crate) fn remember_for(&mut self, key: Key, tick: u64, left: u64) {
        self.remember(key, tick, self.window.saturating_sub(left));
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.ends.pop_front() {
            self.keys.remove(&key);
            self.forgotten += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::entry::MessageId;

    fn key(send: u32) -> Key {
        Key { id: MessageId::Uuid([7; 16]), send }
    }

    #[test]
    fn keys_are_forgotten_after_the_window() {
        let mut dedup = Dedup::new(&DedupWindow { window: Duration::from_nanos(10), keys: 8 });
        dedup.remember(key(0), 5, 0);
        assert!(dedup.seen(&key(0), 14));
        assert!(!dedup.seen(&key(1), 14));
        assert!(!dedup.seen(&key(0), 15));
        assert_eq!(dedup.len(), 0);
    }

    #[test]
    fn the_oldest_key_makes_room() {
        let mut dedup = Dedup::new(&DedupWindow { window: Duration::from_secs(1), keys: 2 });
        for send in 0..3 {
            dedup.remember(key(send), 0, 0);
        }
        assert!(!dedup.seen(&key(0), 0));
        assert!(dedup.seen(&key(2), 0));
        assert_eq!(dedup.len(), 2);
    }
}
