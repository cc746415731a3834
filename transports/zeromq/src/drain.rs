//! Ending in order: intake first, then what is in hand, then a farewell, then the connection.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use polybus_contract::{DrainReport, End, Operation};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::connection::{Handle, locked};
use crate::wire::frame::{Packet, kind};
use crate::wire::verbs::ByeHeader;

/// What a drain without patience still takes for its farewell: without one nobody knows what arrived.
const LAST: Duration = Duration::from_millis(500);

impl Handle {
    /// Starts the drain, or joins the one that runs; a nearer deadline counts for all.
    pub(crate) async fn drain(self: &Arc<Self>, within: Duration) -> DrainReport {
        let begin = |deadline| self.clone().drain_until(deadline);
        let report = self.drain.join(Instant::now() + within, begin, |drain| drop(tokio::spawn(drain))).await;
        // The task outlives its callers; if its runtime ended, everything that was open is abandoned.
        report.unwrap_or_else(|| DrainReport { abandoned: self.in_hand(), ..DrainReport::default() })
    }

    fn in_hand(&self) -> u64 {
        locked(&self.readers).iter().map(|reader| reader.holds()).sum()
    }

    async fn drain_until(self: Arc<Self>, mut deadline: watch::Receiver<Instant>) -> DrainReport {
        let settled = self.switch.settled.load(Ordering::Acquire);
        self.draining.store(true, Ordering::Release);
        self.health.notify_waiters();
        let returned = self.stop_intake();
        loop {
            let mut idle = std::pin::pin!(self.idle.notified());
            idle.as_mut().enable();
            if self.in_hand() == 0 {
                break;
            }
            let until = *deadline.borrow_and_update();
            tokio::select! {
                () = &mut idle => {}
                Ok(()) = deadline.changed() => {}
                () = sleep_until(until) => break,
            }
        }
        let holding = self.holding();
        let abandoned: u64 = locked(&self.readers).iter().map(|reader| reader.abandon()).sum();
        let until = (*deadline.borrow()).max(Instant::now() + LAST);
        let unflushed = self.say_farewell(holding, until).await;
        // Counted behind the farewell: only what the broker confirmed is finished.
        let finished = self.switch.settled.load(Ordering::Acquire) - settled;
        self.close();
        let callers = std::mem::take(&mut *locked(&self.callers));
        callers.iter().filter_map(Weak::upgrade).for_each(|caller| caller.leave(End::Drained));
        // Nobody will hear of what is unanswered by now.
        self.switch.fail_all();
        self.switch.fail_parked();
        locked(&self.readers).clear();
        self.health.notify_waiters();
        DrainReport { finished, returned, abandoned, unflushed }
    }

    /// Ends what arrives and gives back what nobody has seen.
    fn stop_intake(&self) -> u64 {
        let readers = locked(&self.readers).clone();
        let returned = readers.iter().map(|reader| reader.leave(End::Drained)).sum();
        let subscriptions = locked(&self.subscriptions).clone();
        for subscription in &subscriptions {
            subscription.leave(End::Drained);
        }
        returned
    }

    /// A farewell behind everything that was sent: when it is answered, everything was. Answers what is unknown.
    async fn say_farewell(&self, holding: Vec<u64>, until: Instant) -> u64 {
        let Some(link) = self.switch.link() else {
            return self.switch.unanswered() + self.handed.load(Ordering::Acquire);
        };
        let farewell = Packet::new(kind::BYE, self.switch.number(), &ByeHeader { holding });
        let arrived = link.ask(farewell, Operation::Drain, until).await.is_ok();
        let answered = arrived && timeout_at(until, self.switch.all_answered()).await.is_ok();
        tracing::trace!(arrived, answered, "flushed");
        let handed = if arrived { 0 } else { self.handed.load(Ordering::Acquire) };
        self.switch.unanswered() + handed
    }
}
