//! The report of a drain.

use std::fmt;

/// What became of everything that was under way. It never claims a success that nobody saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainReport {
    /// Deliveries that were in hand when the drain began and were settled since.
    pub finished: u64,
    /// Deliveries given back unseen.
    pub returned: u64,
    /// Deliveries still in hand at the deadline: they come back when their lease or connection ends.
    pub abandoned: u64,
    /// Publishes, settles and replies whose fate is unknown.
    pub unflushed: u64,
}

impl DrainReport {
    /// Whether nothing was left behind.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.abandoned == 0 && self.unflushed == 0
    }

    /// This report and another one, added up.
    #[must_use]
    pub const fn plus(mut self, other: Self) -> Self {
        self.finished += other.finished;
        self.returned += other.returned;
        self.abandoned += other.abandoned;
        self.unflushed += other.unflushed;
        self
    }
}

impl fmt::Display for DrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { finished, returned, abandoned, unflushed } = self;
        write!(f, "finished={finished} returned={returned} abandoned={abandoned} unflushed={unflushed}")
    }
}
