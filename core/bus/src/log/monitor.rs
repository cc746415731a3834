//! The log lines of a fanout, as they arrive.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt};
use jiff::Timestamp;
use polybus_contract::{
    Arrival, End, Gap, Incoming, Message, Result, SubscribeOptions, Topic, Topology, Transport,
};

use super::Record;

/// A body that is larger, in bytes, is no log line and is shown by its size only.
const MAX_BODY: u64 = 1 << 20;

/// What a monitor sees.
#[derive(Debug, Clone, PartialEq)]
pub enum Observed {
    /// A line, and when it arrived.
    Line {
        /// The line, read.
        record: Box<Record>,
        /// When it arrived.
        received: Timestamp,
    },
    /// Some lines were missed here.
    Gap(Gap),
}

/// A subscription to a log fanout. Also a [`Stream`].
#[derive(Debug)]
pub struct LogMonitor {
    incoming: Incoming<Message>,
}

impl LogMonitor {
    /// Sees to the topic and subscribes to it. Lines that are published after the return are seen, where the bus
    /// declares live subscriptions.
    ///
    /// # Errors
    ///
    /// As [`Transport::declare`] and [`Transport::subscribe`].
    ///
    /// Cancel safe: no subscription is left behind.
    pub async fn subscribe(
        transport: &dyn Transport,
        topic: &Topic,
        options: SubscribeOptions,
    ) -> Result<Self> {
        transport.declare(&Topology::new().topic(topic.clone())).await?;
        Ok(Self { incoming: transport.subscribe(&topic.name, options).await? })
    }

    /// The next line or gap; none at the end, whose reason [`end`](Self::end) gives. Cancel safe.
    pub async fn next(&mut self) -> Option<Observed> {
        self.incoming.next().await.map(observed)
    }

    /// Why it ended; none while it runs.
    #[must_use]
    pub const fn end(&self) -> Option<&End> {
        self.incoming.end()
    }

    /// Asks for the end; go on until it comes.
    pub fn stop(&mut self) {
        self.incoming.stop();
    }
}

impl Stream for LogMonitor {
    type Item = Observed;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Observed>> {
        self.incoming.poll_next_unpin(context).map(|arrival| arrival.map(observed))
    }
}

fn observed(arrival: Arrival<Message>) -> Observed {
    match arrival {
        Arrival::Gap(gap) => Observed::Gap(gap),
        Arrival::Item(message) => {
            Observed::Line { record: Box::new(record(&message)), received: Timestamp::now() }
        }
    }
}

fn record(message: &Message) -> Record {
    match message.body().as_bytes() {
        Some(body) if body.len() as u64 <= MAX_BODY => Record::read(body),
        _ => Record::read(format!("<<{} bytes>>", message.body().len()).as_bytes()),
    }
}
