//! Finding a consumer that asked for messages and gets none of those that wait.
//!
//! The server's heartbeats show that it knows of a request, not that it hands out. So a consumer that has asked and got
//! nothing for a while looks at what waits. Two looks in a row that find messages, and that nothing was handed out to anybody
//! in between, are a stall: with the pauses between the looks it shows within eight seconds, and what the looks take.

use std::sync::Arc;
use std::time::Duration;

use polybus_contract::Operation;
use tokio::time::Instant;

use crate::api::ConsumerInfo;
use crate::consume::{Inner, Reader};
use crate::link::Link;

/// How long nothing comes before somebody looks, and between two looks that find nothing wrong.
const LOOK: Duration = Duration::from_secs(4);

/// Between a look that finds something wrong and the next one.
const AGAIN: Duration = Duration::from_secs(2);

/// What one consumer knows of it.
#[derive(Debug)]
pub(crate) struct Watch {
    /// When somebody looks next.
    due: Instant,
    looking: bool,
    /// Messages that came.
    came: u64,
    /// Hand-outs until the last look, if that found messages waiting.
    suspect: Option<u64>,
    /// Since when it is a stall.
    since: Option<Instant>,
}

/// What is to be done after a look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Verdict {
    /// It is a stall since now, or is none any longer.
    news: bool,
    /// The server knows of no request.
    forgotten: bool,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self { due: Instant::now() + LOOK, looking: false, came: 0, suspect: None, since: None }
    }

    /// A message came. Whether that is the end of a stall.
    pub(crate) fn came(&mut self) -> bool {
        self.came += 1;
        self.well()
    }

    fn well(&mut self) -> bool {
        self.due = Instant::now() + LOOK;
        self.suspect = None;
        self.since.take().is_some()
    }

    /// For how long nothing flows.
    pub(crate) fn stalled(&self) -> Option<Duration> {
        self.since.map(|since| since.elapsed())
    }

    /// Begins a look if one is due; answers what came until now.
    fn begin(&mut self) -> Option<u64> {
        let due = !self.looking && Instant::now() >= self.due;
        self.looking |= due;
        due.then_some(self.came)
    }

    /// The end of a look that began when so many had come. `None`: nobody could tell.
    fn end(&mut self, came: u64, found: Option<&ConsumerInfo>) -> Verdict {
        self.looking = false;
        self.due = Instant::now() + LOOK;
        let Some(found) = found.filter(|_| self.came == came) else { return Verdict::default() };
        if !found.could_hand_out() {
            return Verdict { news: self.well(), forgotten: false };
        }
        let handed_out = found.delivered.consumer_seq;
        if self.suspect.replace(handed_out) == Some(handed_out) {
            let news = self.since.is_none();
            self.since.get_or_insert_with(Instant::now);
            return Verdict { news, forgotten: found.num_waiting == 0 };
        }
        self.due = Instant::now() + AGAIN;
        Verdict { news: self.since.take().is_some(), forgotten: false }
    }
}

impl Reader {
    /// Looks whether messages wait, when that is due and something was asked for.
    pub(crate) fn watch(self: &Arc<Self>, link: &Arc<Link>) {
        let mut inner = self.inner();
        let Some(came) = (inner.asked > 0).then(|| inner.watch.begin()).flatten() else { return };
        drop(inner);
        let (reader, link) = (self.clone(), link.clone());
        tokio::spawn(async move {
            let found = link.consumer(&reader.named.stream, &reader.named.consumer, Operation::Consume).await;
            reader.looked(came, found.ok().flatten().as_ref());
        });
    }

    fn looked(&self, came: u64, found: Option<&ConsumerInfo>) {
        let mut inner = self.inner();
        let verdict = inner.watch.end(came, found);
        let stalled = inner.watch.stalled().is_some();
        if verdict.forgotten {
            inner.asked = 0;
        }
        drop(inner);
        if verdict.forgotten {
            self.refill();
        }
        if verdict.news {
            if stalled {
                tracing::warn!(intake = %self.intake, label = %self.label, "messages wait, and none is handed out");
            }
            self.handle.health.notify_waiters();
        }
    }

    /// How long a stall has lasted: it is one as long as something is asked for.
    pub(crate) fn stalled(inner: &Inner) -> Option<Duration> {
        inner.watch.stalled().filter(|_| inner.asked > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Position;

    fn info(waiting: u64, handed_out: u64, requests: u64) -> ConsumerInfo {
        ConsumerInfo {
            num_pending: waiting,
            num_waiting: requests,
            delivered: Position { consumer_seq: handed_out, ..Position::default() },
            ..ConsumerInfo::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn j7_two_looks_that_find_the_same_are_a_stall() {
        let mut watch = Watch::new();
        assert_eq!(watch.begin(), None);
        tokio::time::advance(LOOK).await;
        assert_eq!((watch.begin(), watch.begin()), (Some(0), None));
        assert_eq!(watch.end(0, Some(&info(2, 7, 1))), Verdict::default());
        tokio::time::advance(AGAIN).await;
        assert_eq!(watch.begin(), Some(0));
        assert_eq!(watch.end(0, Some(&info(2, 7, 0))), Verdict { news: true, forgotten: true });
        tokio::time::advance(LOOK).await;
        assert_eq!(watch.stalled(), Some(LOOK));
        // Nobody can tell: it lasts.
        watch.begin();
        assert_eq!(watch.end(0, None), Verdict::default());
        assert!(watch.stalled().is_some() && watch.came() && watch.stalled().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn j7_what_flows_is_no_stall() {
        let mut watch = Watch::new();
        for (waiting, handed_out) in [(2, 7), (2, 8), (0, 8), (3, 8)] {
            tokio::time::advance(LOOK).await;
            let came = watch.begin().unwrap();
            watch.end(came, Some(&info(waiting, handed_out, 1)));
            assert_eq!(watch.stalled(), None, "{waiting} wait after {handed_out}");
        }
        // It came while somebody looked.
        tokio::time::advance(LOOK).await;
        let came = watch.begin().unwrap();
        watch.came();
        watch.end(came, Some(&info(3, 8, 1)));
        assert_eq!(watch.stalled(), None);
        let mut full = info(2, 7, 1);
        (full.config.max_ack_pending, full.num_ack_pending) = (5, 5);
        assert!(!full.could_hand_out());
    }
}
