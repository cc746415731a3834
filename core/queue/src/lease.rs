//! When leases end.
//!
//! Every lease of a queue has the same length, so they end in the order of the hand-outs: a plain queue, where a
//! settled lease is dropped when it comes to the front.

use std::collections::VecDeque;

use crate::ready::worth_sweeping;

/// One lease: when it ends, and which hand-out it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaseEnd {
    pub(crate) until: u64,
    pub(crate) lease: u64,
    pub(crate) slot: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Leases {
    ends: VecDeque<LeaseEnd>,
    stale: usize,
}

impl Leases {
    /// Adds a lease. Readings of the clock may come slightly out of order, so it may not belong at the end. True if
    /// it is the first to end.
    #[inline]
    pub(crate) fn push(&mut self, end: LeaseEnd) -> bool {
        if self.ends.back().is_none_or(|last| last.until <= end.until) {
            self.ends.push_back(end);
        } else {
            let at = self.ends.partition_point(|other| other.until <= end.until);
            self.ends.insert(at, end);
        }
        self.ends.front() == Some(&end)
    }

    /// A lease ended by other means, or was renewed (its old end does not count any more).
    #[inline]
    pub(crate) fn forget(&mut self, live: impl Fn(&LeaseEnd) -> bool) {
        self.stale += 1;
        while self.ends.front().is_some_and(|end| !live(end)) {
            self.ends.pop_front();
            self.stale = self.stale.saturating_sub(1);
        }
        if worth_sweeping(self.stale, self.ends.len()) {
            self.ends.retain(live);
            self.stale = 0;
        }
    }

    /// When the first lease ends. The front is live: [`Self::forget`] keeps it so.
    pub(crate) fn next(&self) -> Option<u64> {
        self.ends.front().map(|end| end.until)
    }

    /// Takes the first lease that has ended by `tick`.
    pub(crate) fn pop_due(&mut self, tick: u64) -> Option<LeaseEnd> {
        if self.next()? <= tick { self.ends.pop_front() } else { None }
    }

    /// Every end held, stale ones included.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &LeaseEnd> {
        self.ends.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(lease: u64, until: u64) -> LeaseEnd {
        LeaseEnd { until, lease, slot: 0 }
    }

    #[test]
    fn a_stuck_lease_does_not_make_settled_ones_pile_up() {
        let mut leases = Leases::default();
        leases.push(end(0, 10));
        for lease in 1..10_000 {
            leases.push(end(lease, 10 + lease));
            leases.forget(|end| end.lease == 0);
        }
        assert!(leases.ends.len() < 200, "{} held", leases.ends.len());
        assert_eq!(leases.next(), Some(10));
    }

    #[test]
    fn late_readings_keep_the_order() {
        let mut leases = Leases::default();
        leases.push(end(1, 10));
        leases.push(end(2, 9));
        assert_eq!(leases.pop_due(9).map(|end| end.lease), Some(2));
        assert_eq!(leases.pop_due(9), None);
    }
}
