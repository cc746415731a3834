//! One look at many queues.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::iter;
use polybus_contract::{Admin, Error, Intake, Kind, Operation, QueueInfo, Result, Served};

use super::{Told, Unknown};

/// Queues that are asked for at the same time: a desk is not to feel that somebody looks.
const AT_ONCE: usize = 16;

/// What queues held at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Look {
    /// When it was over, on this process's monotonic clock.
    pub at: Instant,
    /// Each queue or group with its figures, or with why there are none.
    pub queues: Vec<(Intake, Result<QueueInfo>)>,
}

/// What to look at: these intakes, or all that the bus lists if there are none; and the queues of these services. Each once.
///
/// # Errors
/// As [`Admin::list`], if nothing is named.
///
/// Cancel safe.
pub async fn intakes(desk: &dyn Admin, named: &[Intake], services: &[Served]) -> Result<Vec<Intake>> {
    let mut all = if named.is_empty() { desk.list().await? } else { named.to_vec() };
    let own = services.iter().map(|served| Intake::Queue(served.queue.name.clone()));
    for intake in own {
        if !all.contains(&intake) {
            all.push(intake);
        }
    }
    Ok(all)
}

/// Looks at each of these without touching it. One that does not answer `within` this time has
/// [`Kind::DeadlineExceeded`] in the place of its figures. Cancel safe.
pub async fn look(desk: &dyn Admin, intakes: &[Intake], within: Duration) -> Look {
    let one = |intake: Intake| async move {
        let late = |_| Error::new(Kind::DeadlineExceeded, Operation::Inspect).with_target(&intake);
        let told = tokio::time::timeout(within, desk.inspect(&intake)).await.map_err(late).flatten();
        (intake, told)
    };
    let queues = iter(intakes.to_vec()).map(one).buffered(AT_ONCE).collect().await;
    Look { at: Instant::now(), queues }
}

impl Look {
    /// For other sources of figures, and for tests.
    #[must_use]
    pub const fn new(at: Instant, queues: Vec<(Intake, Result<QueueInfo>)>) -> Self {
        Self { at, queues }
    }

    /// The figures of one queue, if it was looked at and told them.
    #[must_use]
    pub fn info(&self, intake: &Intake) -> Option<&QueueInfo> {
        self.told(intake).ok()
    }

    /// The figures of one queue, or whether it is not there or was not shown.
    pub(super) fn told(&self, intake: &Intake) -> Told<&QueueInfo> {
        let (_, told) = self.queues.iter().find(|(found, _)| found == intake).ok_or(Unknown::Absent)?;
        told.as_ref().map_err(|error| match error.kind() {
            Kind::NotFound => Unknown::Absent,
            _ => Unknown::Unseen,
        })
    }

    /// Why nothing could be looked at: the first reason, other than that a queue is not there. `None` if at least one queue told
    /// its figures.
    #[must_use]
    pub fn trouble(&self) -> Option<&Error> {
        if self.queues.iter().any(|(_, told)| told.is_ok()) {
            return None;
        }
        let mut errors = self.queues.iter().filter_map(|(_, told)| told.as_ref().err());
        errors.find(|error| error.kind() != Kind::NotFound)
    }
}
