//! The times a bus declares (K5).

use std::time::Duration;

use polybus_contract::{Capability, LeaseGrade};

/// What the author of a transport says about its times. The kit waits by these and by nothing else.
///
/// A longer time makes the kit slower, never wrong: [`Times::patience`] bounds what must come, and what must not come is
/// watched for as long as the bus says it could take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Times {
    /// The lease with which the kit declares its queues, where leases are timed. Default 300 ms.
    pub lease: Duration,
    /// How long after its time (the end of a lease, of a delay, a drop) a message is usually back. What must not come
    /// back is watched for this long. Default 200 ms.
    pub redelivery: Duration,
    /// How long the kit waits for what must come before it calls it missing. Default 20 s.
    pub patience: Duration,
    /// Within which the bus says that its link is silent, or that a consumer gets nothing of what waits (J3, J7). Default
    /// 10 s.
    pub liveness: Duration,
    /// How long the kit keeps the bus down where an outage should be a long one (J6): longer than whatever a client library
    /// gives up after. Default 5 s, so that a run is short; 90 s proves more.
    pub outage: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            lease: Duration::from_millis(300),
            redelivery: Duration::from_millis(200),
            patience: Duration::from_secs(20),
            liveness: Duration::from_secs(10),
            outage: Duration::from_secs(5),
        }
    }
}

impl Times {
    /// These times with another lease.
    #[must_use]
    pub const fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// These times with another redelivery bound.
    #[must_use]
    pub const fn with_redelivery(mut self, redelivery: Duration) -> Self {
        self.redelivery = redelivery;
        self
    }

    /// These times with another patience.
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// These times with another bound on noticing silence.
    #[must_use]
    pub const fn with_liveness(mut self, liveness: Duration) -> Self {
        self.liveness = liveness;
        self
    }

    /// These times with another long outage.
    #[must_use]
    pub const fn with_outage(mut self, outage: Duration) -> Self {
        self.outage = outage;
        self
    }

    /// How long after a hand-out an unsettled message is back for certain: lease and redelivery where leases are timed,
    /// redelivery alone elsewhere.
    #[must_use]
    pub fn past_lease(&self, capability: &Capability) -> Duration {
        if capability.lease == LeaseGrade::Timed { self.lease + self.redelivery } else { self.redelivery }
    }
}
