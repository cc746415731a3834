//! The report of a drain, and the one drain of a handle.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::watch;

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

/// The one drain of a handle. [`Transport::drain`](crate::Transport::drain) may be called by many and at any time: the first
/// call begins it, and all get its report.
///
/// For authors of transports. `D` is a point in time of whatever clock the transport uses.
#[derive(Debug)]
pub struct SharedDrain<D> {
    running: Mutex<Option<Running<D>>>,
}

#[derive(Debug)]
struct Running<D> {
    deadline: watch::Sender<D>,
    report: watch::Receiver<Option<DrainReport>>,
}

impl<D> Default for SharedDrain<D> {
    fn default() -> Self {
        Self { running: Mutex::new(None) }
    }
}

impl<D: Copy + Ord> SharedDrain<D> {
    /// Begins the drain, or joins the one that runs; a nearer deadline counts for all.
    ///
    /// `begin` makes the drain of what says until when it may take, and `spawn` runs it beside its callers, which may be
    /// dropped. `None`: it ended without a report, as when its runtime is gone.
    ///
    /// Cancel safe: the drain goes on.
    pub async fn join<F: Future<Output = DrainReport> + Send + 'static>(
        &self,
        deadline: D,
        begin: impl FnOnce(watch::Receiver<D>) -> F,
        spawn: impl FnOnce(BoxFuture<'static, ()>),
    ) -> Option<DrainReport> {
        let mut report = self.report(deadline, begin, spawn);
        report.wait_for(Option::is_some).await.ok().and_then(|found| *found)
    }

    fn report<F: Future<Output = DrainReport> + Send + 'static>(
        &self,
        deadline: D,
        begin: impl FnOnce(watch::Receiver<D>) -> F,
        spawn: impl FnOnce(BoxFuture<'static, ()>),
    ) -> watch::Receiver<Option<DrainReport>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = &*running {
            running.deadline.send_if_modified(|until| {
                let nearer = deadline < *until;
                *until = deadline.min(*until);
                nearer
            });
            return running.report.clone();
        }
        let (until, deadline) = watch::channel(deadline);
        let (done, report) = watch::channel(None);
        let drain = begin(deadline);
        spawn(Box::pin(async move {
            done.send_replace(Some(drain.await));
        }));
        *running = Some(Running { deadline: until, report: report.clone() });
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ends at once, with its deadline as the number of what was finished.
    async fn until(deadline: watch::Receiver<u64>) -> DrainReport {
        DrainReport { finished: *deadline.borrow(), ..DrainReport::default() }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn i6_all_callers_get_the_report_of_the_first_and_the_nearest_deadline_counts() {
        let drain = SharedDrain::default();
        let spawn = |drain| drop(tokio::spawn(drain));
        let calls = [drain.join(9, until, spawn), drain.join(5, until, spawn), drain.join(7, until, spawn)];
        let reports = futures_util::future::join_all(calls).await;
        let wanted = DrainReport { finished: 5, ..DrainReport::default() };
        assert_eq!(reports, [Some(wanted); 3]);
        assert_eq!(drain.join(1, until, spawn).await, Some(wanted), "it does not begin again");
    }

    #[tokio::test]
    async fn a_drain_that_was_thrown_away_has_no_report() {
        assert_eq!(SharedDrain::default().join(1, until, drop).await, None);
    }
}
