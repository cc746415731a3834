//! Wall-clock instants as they travel in messages.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time: milliseconds since 1970-01-01T00:00:00Z, negative before it.
///
/// Only what travels in messages is wall time (created, expiry, deadline, death). Leases and bounds are
/// [`Duration`]s on a monotonic clock, so that a jump of the wall clock does not touch them (J9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// The time now, by the system's clock.
    #[must_use]
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// This instant plus `duration`, at most the end of the range.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// How long from `now` until this instant; zero if it has passed.
    #[must_use]
    pub fn left(self, now: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(now.0)).unwrap_or(0))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl From<SystemTime> for UnixMillis {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(since) => Self(millis(since)),
            Err(before) => Self(-millis(before.duration())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let t = UnixMillis(1000);
        assert_eq!(t.after(Duration::from_secs(2)), UnixMillis(3000));
        assert_eq!(t.left(UnixMillis(400)), Duration::from_millis(600));
        assert_eq!(t.left(UnixMillis(4000)), Duration::ZERO);
        assert_eq!(UnixMillis(i64::MAX).after(Duration::MAX), UnixMillis(i64::MAX));
    }
}
