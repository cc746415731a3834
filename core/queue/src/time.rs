//! Time as an argument: the engine has no clock of its own.

use std::time::Duration;

/// One reading of the owner's clocks, handed to every call that depends on time.
///
/// Leases, delays, the de-duplication window and the idle time of groups follow the monotonic reading, so a
/// stepped wall clock does not touch them. Only the expiry of messages, which is absolute wall time, follows
/// `unix_ms`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time since the engine's start. A reading may be slightly older than the one before it.
    pub since_start: Duration,
    /// Wall time in milliseconds since the Unix epoch, rounded down.
    pub unix_ms: u64,
}

impl Now {
    /// Both readings together.
    #[must_use]
    pub const fn new(since_start: Duration, unix_ms: u64) -> Self {
        Self { since_start, unix_ms }
    }

    #[inline]
    pub(crate) const fn tick(self) -> u64 {
        ticks(self.since_start)
    }

    /// When the wall clock will show `unix_ms`, on the monotonic clock, if nobody steps it.
    pub(crate) const fn tick_at_unix(self, unix_ms: u64) -> u64 {
        let left = unix_ms.saturating_sub(self.unix_ms);
        self.tick().saturating_add(left.saturating_mul(1_000_000))
    }

    /// Wall time after `wait`, rounded up twice (the part of a millisecond both in `wait` and in `unix_ms`),
    /// so that a delay read back from a journal is never shorter than the one that was asked for.
    pub(crate) fn unix_after(self, wait: Duration) -> u64 {
        let whole = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.unix_ms.saturating_add(whole).saturating_add(2)
    }
}

/// "Never" on the tick scale.
pub(crate) const NEVER: u64 = u64::MAX;

/// Nanoseconds, capped after 584 years.
#[inline]
pub(crate) const fn ticks(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos() as u64)
}

pub(crate) const fn duration(ticks: u64) -> Duration {
    Duration::from_nanos(ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_in_wall_time_is_never_shorter() {
        let now = Now::new(Duration::ZERO, 1_000);
        assert!(now.unix_after(Duration::from_micros(1_500)) >= 1_000 + 1 + 2);
        assert_eq!(now.unix_after(Duration::MAX), u64::MAX);
    }

    #[test]
    fn huge_durations_saturate() {
        assert_eq!(ticks(Duration::MAX), NEVER);
    }
}
