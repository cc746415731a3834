//! Waiting for a bus that is away.

use std::time::Duration;

use polybus_contract::{Error, Kind};
use uuid::Uuid;

/// The longest pause between two attempts.
const LONGEST: Duration = Duration::from_secs(5);

/// The first pause.
const SHORTEST: Duration = Duration::from_millis(200);

/// The pause before attempt `attempt`, counted from 1: 0.2 s, doubled, at most 5 s, less up to a quarter at random so
/// that many programs do not come back as one (PRISEM services specification, 5.1).
#[must_use]
pub fn pause(attempt: u32) -> Duration {
    let base = (SHORTEST * (1 << attempt.saturating_sub(1).min(5))).min(LONGEST);
    let quarter = u64::try_from(base.as_millis() / 4).unwrap_or(0);
    let random = u64::from(Uuid::new_v4().as_fields().0);
    base.saturating_sub(Duration::from_millis(random % quarter.max(1)))
}

/// Whether the bus is away, so that waiting helps.
#[must_use]
pub fn is_away(error: &Error) -> bool {
    error.kind() == Kind::Disconnected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_five_seconds() {
        for (attempt, longest) in [(0, 200), (1, 200), (2, 400), (3, 800), (5, 3200), (6, 5000), (99, 5000)] {
            let pause = u64::try_from(pause(attempt).as_millis()).unwrap();
            assert!(pause <= longest && pause * 4 >= longest * 3, "{attempt}: {pause} ms");
        }
    }
}
