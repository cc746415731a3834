//! How often one request is sent.

use std::time::{Duration, Instant};

use polybus_contract::{Error, Kind, Status};
use uuid::Uuid;

use crate::outage::is_away;

/// After an outage servers need a while to declare their queues again: their pauses are 5 s at most.
pub(crate) const SETTLING: Duration = Duration::from_secs(15);

/// What became of the attempts to send one request.
#[derive(Debug, Default)]
pub(super) struct Sends {
    /// Attempts that failed.
    pub(super) failures: u32,
    /// Those of them that may have reached the bus: the next one is a resend, with a de-duplication key of its own.
    pub(super) resends: u32,
    /// When the bus was away last.
    away: Option<Instant>,
}

impl Sends {
    /// Counts a failure. Another attempt is worth it if the bus is away, and for a while after it was: servers may not
    /// be back yet then.
    pub(super) fn is_worth_another(&mut self, failure: &Error) -> bool {
        self.failures += 1;
        self.resends += u32::from(failure.status() == Status::Unknown);
        if is_away(failure) {
            self.away = Some(Instant::now());
            return true;
        }
        let nobody = matches!(failure.kind(), Kind::Unroutable | Kind::NoResponder);
        nobody && self.away.is_some_and(|away| away.elapsed() < SETTLING)
    }

    /// What is logged about it.
    pub(super) fn line(&self, id: Uuid, failure: &Error) -> String {
        let Self { resends, .. } = self;
        if failure.status() == Status::Unknown {
            format!("sending again correlation_id={id} resends={resends}: {failure}")
        } else {
            format!("waiting for the bus correlation_id={id} resends={resends}: {failure}")
        }
    }
}

#[cfg(test)]
mod tests {
    use polybus_contract::Operation;

    use super::*;

    fn failure(kind: Kind) -> Error {
        Error::new(kind, Operation::Request)
    }

    #[test]
    fn only_what_may_have_been_sent_is_a_resend() {
        let mut sends = Sends::default();
        assert!(sends.is_worth_another(&failure(Kind::Disconnected).with_status(Status::Temporary)));
        assert_eq!((sends.failures, sends.resends), (1, 0));
        assert!(sends.is_worth_another(&failure(Kind::Disconnected).with_status(Status::Unknown)));
        assert_eq!((sends.failures, sends.resends), (2, 1));
    }

    #[test]
    fn nobody_is_an_answer_unless_the_bus_was_away_just_now() {
        let mut sends = Sends::default();
        assert!(!sends.is_worth_another(&failure(Kind::Unroutable)));
        assert!(sends.is_worth_another(&failure(Kind::Disconnected)));
        assert!(sends.is_worth_another(&failure(Kind::Unroutable)));
        assert!(sends.is_worth_another(&failure(Kind::NoResponder)));
        assert!(!sends.is_worth_another(&failure(Kind::DeadlineExceeded)));
    }
}
