//! Delays and expiries: a heap of times in which entries that no longer matter are skipped, and swept when
//! they are too many.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::ready::{Mark, worth_sweeping};

#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(u64, Mark)>>,
    stale: usize,
}

impl Timers {
    pub(crate) fn push(&mut self, at: u64, mark: Mark) {
        self.heap.push(Reverse((at, mark)));
    }

    /// The earliest time held. It may belong to a message that is gone: then the owner wakes for nothing, once.
    pub(crate) fn next(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the first mark that is due.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<Mark> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, mark))| mark)
    }

    /// A message with a time in here went by other means.
    pub(crate) fn forget(&mut self, live: impl Fn(Mark) -> bool) {
        self.stale += 1;
        if worth_sweeping(self.stale, self.heap.len()) {
            self.heap.retain(|Reverse((_, mark))| live(*mark));
            self.stale = 0;
        }
    }

    pub(crate) fn retain(&mut self, live: impl Fn(Mark) -> bool) {
        self.heap.retain(|Reverse((_, mark))| live(*mark));
        self.stale = 0;
    }

    pub(crate) fn clear(&mut self) {
        self.heap.clear();
        self.stale = 0;
    }

    pub(crate) fn marks(&self) -> impl Iterator<Item = Mark> {
        self.heap.iter().map(|Reverse((_, mark))| *mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_gone_messages_are_swept() {
        let mut timers = Timers::default();
        for seq in 0..10_000 {
            timers.push(1_000_000, Mark { seq, slot: 0 });
            timers.forget(|mark| mark.seq > seq);
        }
        assert!(timers.heap.len() < 200, "{} held", timers.heap.len());
    }

    #[test]
    fn due_in_order() {
        let mut timers = Timers::default();
        timers.push(5, Mark { seq: 1, slot: 0 });
        timers.push(3, Mark { seq: 2, slot: 0 });
        assert_eq!(timers.pop_due(4).map(|mark| mark.seq), Some(2));
        assert_eq!(timers.pop_due(4), None);
        assert_eq!(timers.next(), Some(5));
    }
}
