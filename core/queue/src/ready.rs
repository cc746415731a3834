//! What waits to be handed out, in order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

/// A message in a side structure: its number, and where it lies. Stale once the slot holds another number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub(crate) seq: u64,
    pub(crate) slot: usize,
}

/// Stale marks are swept when they outnumber the live ones and this.
const SLACK: usize = 64;

pub(crate) const fn worth_sweeping(stale: usize, all: usize) -> bool {
    stale > SLACK && stale > all / 2
}

/// One priority, in the order of sending: messages that went straight in, and those that came back or were delayed.
/// What came back was handed out before everything that is still fresh, so it usually goes first.
#[derive(Debug, Default)]
struct Lane {
    fresh: VecDeque<Mark>,
    returned: BinaryHeap<Reverse<Mark>>,
}

impl Lane {
    #[inline]
    fn pop(&mut self) -> Option<Mark> {
        let returned = self.returned.peek().map(|Reverse(mark)| mark.seq);
        match (returned, self.fresh.front()) {
            (None, _) => self.fresh.pop_front(),
            (Some(returned), Some(fresh)) if fresh.seq < returned => self.fresh.pop_front(),
            _ => self.returned.pop().map(|Reverse(mark)| mark),
        }
    }

    fn sweep(&mut self, live: impl Fn(Mark) -> bool) {
        self.fresh.retain(|mark| live(*mark));
        self.returned.retain(|Reverse(mark)| live(*mark));
    }

    fn len(&self) -> usize {
        self.fresh.len() + self.returned.len()
    }
}

/// The ready messages of a queue: one lane, or one per priority in use.
#[derive(Debug)]
pub(crate) enum Ready {
    Plain { lane: Box<Lanes> },
    Levels { lanes: BTreeMap<u8, Lanes> },
}

/// A lane with the count of marks in it that are stale.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lane: Lane,
    stale: usize,
}

impl Lanes {
    fn pop(&mut self, live: &impl Fn(Mark) -> bool) -> Option<Mark> {
        loop {
            let mark = self.lane.pop()?;
            if live(mark) {
                return Some(mark);
            }
            self.stale = self.stale.saturating_sub(1);
        }
    }

    fn pop_fresh(&mut self, live: &impl Fn(Mark) -> bool) -> Option<Mark> {
        loop {
            let mark = self.lane.fresh.pop_front()?;
            if live(mark) {
                return Some(mark);
            }
            self.stale = self.stale.saturating_sub(1);
        }
    }

    fn forget(&mut self, live: impl Fn(Mark) -> bool) {
        self.stale += 1;
        if worth_sweeping(self.stale, self.lane.len()) {
            self.lane.sweep(live);
            self.stale = 0;
        }
    }

    /// Marks after `seq`, at most `limit` of the fresh ones; neither sorted nor checked for staleness.
    fn after(&self, seq: u64, limit: usize) -> impl Iterator<Item = Mark> {
        let start = self.lane.fresh.partition_point(|mark| mark.seq <= seq);
        let fresh = self.lane.fresh.iter().skip(start).copied().take(limit.saturating_add(self.stale));
        let returned =
            self.lane.returned.iter().map(|Reverse(mark)| *mark).filter(move |mark| mark.seq > seq);
        fresh.chain(returned)
    }

    fn oldest(&self, live: &impl Fn(Mark) -> bool) -> Option<Mark> {
        let fresh = self.lane.fresh.iter().copied().find(|mark| live(*mark));
        let returned = match self.lane.returned.peek() {
            Some(Reverse(mark)) if !live(*mark) => {
                self.lane.returned.iter().map(|Reverse(mark)| *mark).filter(|mark| live(*mark)).min()
            }
            first => first.map(|Reverse(mark)| *mark),
        };
        returned.into_iter().chain(fresh).min()
    }
}

impl Ready {
    pub(crate) fn new(priorities: bool) -> Self {
        if priorities {
            Self::Levels { lanes: BTreeMap::new() }
        } else {
            Self::Plain { lane: Box::default() }
        }
    }

    #[inline]
    fn lane(&mut self, priority: u8) -> &mut Lanes {
        match self {
            Self::Plain { lane } => lane,
            Self::Levels { lanes } => lanes.entry(priority).or_default(),
        }
    }

    pub(crate) fn push_fresh(&mut self, priority: u8, mark: Mark) {
        self.lane(priority).lane.fresh.push_back(mark);
    }

    pub(crate) fn push_returned(&mut self, priority: u8, mark: Mark) {
        self.lane(priority).lane.returned.push(Reverse(mark));
    }

    /// The next to hand out: highest priority, lowest number.
    pub(crate) fn pop(&mut self, live: impl Fn(Mark) -> bool) -> Option<Mark> {
        match self {
            Self::Plain { lane } => lane.pop(&live),
            Self::Levels { lanes } => lanes.values_mut().rev().find_map(|lane| lane.pop(&live)),
        }
    }

    /// The next to lose at the bound: the oldest fresh one of the lowest priority.
    pub(crate) fn pop_fresh(&mut self, live: impl Fn(Mark) -> bool) -> Option<Mark> {
        match self {
            Self::Plain { lane } => lane.pop_fresh(&live),
            Self::Levels { lanes } => lanes.values_mut().find_map(|lane| lane.pop_fresh(&live)),
        }
    }

    /// A ready message went without being popped; sweeps when too many did.
    pub(crate) fn forget(&mut self, priority: u8, live: impl Fn(Mark) -> bool) {
        self.lane(priority).forget(live);
    }

    pub(crate) fn clear(&mut self) {
        match self {
            Self::Plain { lane } => **lane = Lanes::default(),
            Self::Levels { lanes } => lanes.clear(),
        }
    }

    /// Candidates for a page that starts after `seq`, at least the first `limit` of them.
    pub(crate) fn after(&self, seq: u64, limit: usize) -> Vec<Mark> {
        match self {
            Self::Plain { lane } => lane.after(seq, limit).collect(),
            Self::Levels { lanes } => lanes.values().flat_map(|lane| lane.after(seq, limit)).collect(),
        }
    }

    pub(crate) fn oldest(&self, live: impl Fn(Mark) -> bool) -> Option<Mark> {
        match self {
            Self::Plain { lane } => lane.oldest(&live),
            Self::Levels { lanes } => lanes.values().filter_map(|lane| lane.oldest(&live)).min(),
        }
    }

    /// Marks held, stale ones included.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        match self {
            Self::Plain { lane } => lane.lane.len(),
            Self::Levels { lanes } => lanes.values().map(|lane| lane.lane.len()).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(seq: u64) -> Mark {
        Mark { seq, slot: 0 }
    }

    #[test]
    fn returned_go_before_fresh_in_their_old_order() {
        let mut ready = Ready::new(false);
        ready.push_fresh(9, mark(3));
        ready.push_returned(0, mark(2));
        ready.push_returned(0, mark(1));
        let order: Vec<_> = std::iter::from_fn(|| ready.pop(|_| true)).map(|mark| mark.seq).collect();
        assert_eq!(order, [1, 2, 3]);
    }

    #[test]
    fn higher_priorities_first() {
        let mut ready = Ready::new(true);
        ready.push_fresh(1, mark(1));
        ready.push_fresh(7, mark(2));
        ready.push_fresh(7, mark(3));
        assert_eq!(ready.pop_fresh(|_| true), Some(mark(1)));
        assert_eq!(ready.pop(|_| true), Some(mark(2)));
        assert_eq!(ready.oldest(|_| true), Some(mark(3)));
    }

    #[test]
    fn stale_marks_are_swept() {
        let mut ready = Ready::new(false);
        for seq in 0..10_000 {
            ready.push_fresh(0, mark(seq));
            ready.forget(0, |mark| mark.seq > seq);
        }
        assert!(ready.held() <= 2 * SLACK + 2, "{} held", ready.held());
    }
}
