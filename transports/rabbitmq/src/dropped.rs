//! What fell out of a queue that drops its oldest: the broker puts it into a queue beside it, where the consumers of the
//! first one count it. A group's reader sees a gap.

use std::sync::{Arc, Weak};

use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Consumer};
use polybus_contract::{Gap, GapCause, Operation, Result};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::connection::count;
use crate::consume::Reader;
use crate::error::{down, of_broker};
use crate::header::{known, string};
use crate::session::{ANSWER, Session};
use crate::topology::{FALLEN, dropped_of, is_there};

/// Those that are on their way to one reader.
const WINDOW: u16 = 256;

/// What a reader has missed and was not told of yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Missed {
    known: u64,
    /// There was more than could be counted.
    more: bool,
}

impl Missed {
    /// The gap, told once.
    pub(crate) fn take(&mut self) -> Option<Gap> {
        let Self { known, more } = std::mem::take(self);
        (known > 0 || more).then(|| Gap { missed: (!more).then_some(known), cause: GapCause::Bound })
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.known += other.known;
        self.more |= other.more;
    }
}

/// Counts as long as it is held.
#[derive(Debug)]
pub(crate) struct Tally(JoinHandle<()>);

impl Drop for Tally {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why a message was put there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Bound,
    Expired,
    /// By somebody who knows nothing of Polybus.
    Other,
}

/// What lay there when counting began. At its bound more has fallen out than lies there.
#[derive(Debug)]
struct Backlog {
    left: u32,
    bytes: u64,
    largest: u64,
}

impl Backlog {
    /// One of them; true if it was the last and they fill their queue.
    fn is_full_after(&mut self, bytes: u64) -> bool {
        let Some(left) = self.left.checked_sub(1) else { return false };
        (self.left, self.bytes, self.largest) = (left, self.bytes + bytes, self.largest.max(bytes));
        left == 0 && self.bytes + self.largest > FALLEN.bytes
    }
}

impl Reader {
    /// Counts what fell out of its queue, and falls out from now on; `None`: it is none that drops.
    pub(crate) async fn tally(self: &Arc<Self>, session: &Session) -> Result<Option<Tally>> {
        if self.dead || self.core.drops(&self.wire) == Some(false) {
            return Ok(None);
        }
        let fallen = dropped_of(&self.wire);
        let Some((waiting, _)) = is_there(session, &fallen).await? else { return Ok(None) };
        if u64::from(waiting) >= FALLEN.messages {
            self.misses(Missed { known: 0, more: true });
        }
        let channel = session.consumer_channel().await?;
        let beginning = async {
            channel.basic_qos(WINDOW, BasicQosOptions::default()).await?;
            let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
            channel.basic_consume(known(&fallen), known(""), options, arguments).await
        };
        let consumer = timeout(ANSWER, beginning)
            .await
            .map_err(|_| down(Operation::Consume, "the broker did not answer in time"))?
            .map_err(|error| of_broker(&error, Operation::Consume))?;
        let backlog = Backlog { left: waiting, bytes: 0, largest: 0 };
        Ok(Some(Tally(tokio::spawn(tally(Arc::downgrade(self), channel, consumer, backlog)))))
    }

    fn fell_out(&self, properties: &BasicProperties, is_full: bool) {
        match why(properties, &self.wire) {
            Why::Bound => {
                count(&self.core.counts.overflowed, 1);
                self.misses(Missed { known: 1, more: is_full });
            }
            Why::Expired => count(&self.core.counts.expired, 1),
            Why::Other => {}
        }
    }
}

/// Until the line ends or nobody reads any more.
async fn tally(reader: Weak<Reader>, channel: Channel, mut consumer: Consumer, mut backlog: Backlog) {
    while let Some(Ok(delivery)) = consumer.next().await {
        let Some(reader) = reader.upgrade() else { return };
        let is_full = backlog.is_full_after(delivery.data.len() as u64);
        reader.fell_out(&delivery.properties, is_full);
        drop(reader);
        if channel.basic_ack(delivery.delivery_tag, BasicAckOptions::default()).await.is_err() {
            return;
        }
    }
}

/// The broker notes where a message died before, each queue and reason once.
fn why(properties: &BasicProperties, wire: &str) -> Why {
    let deaths = properties.headers().as_ref().and_then(|headers| headers.inner().get("x-death"));
    let Some(AMQPValue::FieldArray(deaths)) = deaths else { return Why::Other };
    let died_of = |reason: &str| {
        deaths.as_slice().iter().any(|death| {
            let AMQPValue::FieldTable(death) = death else { return false };
            let says = |key: &str, value: &str| death.inner().get(key).and_then(string) == Some(value);
            says("queue", wire) && says("reason", reason)
        })
    };
    if died_of("maxlen") {
        Why::Bound
    } else if died_of("expired") {
        Why::Expired
    } else {
        Why::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::text;

    fn died(queue: &str, reason: &str) -> AMQPValue {
        let mut death = FieldTable::default();
        death.insert(known("queue"), text(queue));
        death.insert(known("reason"), text(reason));
        AMQPValue::FieldTable(death)
    }

    fn with(deaths: Vec<AMQPValue>) -> BasicProperties {
        let mut table = FieldTable::default();
        table.insert(known("x-death"), AMQPValue::FieldArray(deaths.into()));
        BasicProperties::default().with_headers(table)
    }

    #[test]
    fn the_broker_says_why_it_fell_out() {
        // A retry had waited for its time before: that is no end of it.
        let retried = with(vec![died("t@g", "maxlen"), died("polybus.delay.10", "expired")]);
        assert_eq!(why(&retried, "t@g"), Why::Bound);
        assert_eq!(why(&with(vec![died("t@g", "expired")]), "t@g"), Why::Expired);
        assert_eq!(why(&with(vec![died("t@g", "rejected")]), "t@g"), Why::Other);
        assert_eq!(why(&BasicProperties::default(), "t@g"), Why::Other);
    }

    #[test]
    fn a_full_queue_has_no_count() {
        let mut missed = Missed::default();
        assert_eq!(missed.take(), None);
        missed.add(Missed { known: 2, more: false });
        assert_eq!(missed.take(), Some(Gap { missed: Some(2), cause: GapCause::Bound }));
        missed.add(Missed { known: 2, more: false });
        missed.add(Missed { known: 1, more: true });
        assert_eq!(missed.take(), Some(Gap { missed: None, cause: GapCause::Bound }));
        assert_eq!(missed.take(), None);
        let mut backlog = Backlog { left: 2, bytes: 0, largest: 0 };
        assert!(!backlog.is_full_after(FALLEN.bytes) && backlog.is_full_after(1));
        assert!(!backlog.is_full_after(FALLEN.bytes), "it is over");
    }
}
