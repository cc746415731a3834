//! Anything that arrives: deliveries, messages of a subscription, replies.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;

use crate::capability::Feature;
use crate::error::{Error, Operation, Result};

/// Why something was missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapCause {
    /// This reader was too slow for its buffer (F4).
    SlowReader,
    /// The connection was down.
    Outage,
    /// The bound of a durable group was reached and it drops its oldest.
    Bound,
    /// Lost on the way, as the publisher's numbering shows.
    Network,
}

/// A hole in what arrives (F5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// How many were missed, if that is known.
    pub missed: Option<u64>,
    /// Why.
    pub cause: GapCause,
}

/// One arrival. A gap is an arrival, so that `while let Some(arrival) = incoming.next().await` cannot skip it unseen.
#[derive(Clone, Debug)]
pub enum Arrival<T> {
    /// A delivery, message or reply.
    Item(T),
    /// Something was missed here.
    Gap(Gap),
}

/// Why nothing more arrives.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum End {
    /// [`Incoming::stop`] was called.
    Stopped,
    /// The bus was drained.
    Drained,
    /// All replies have arrived.
    Complete,
    /// It failed.
    Failed(Error),
}

/// What a transport implements for anything that arrives.
///
/// All state lives in the source, not in a future, so a dropped `next` has nothing to lose: cancel safety by shape.
pub trait Source<T>: Send + fmt::Debug {
    /// The next arrival, or the end. After the end it is not polled again.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Arrival<T>, End>>;

    /// Sets how many unsettled items may be out. A wish that never blocks; the last one wins. A raise holds at once, a
    /// cut as items settle. What is not settled, replies and messages of a topic, has no credit to give back: that is what
    /// a source answers which does not say otherwise.
    ///
    /// # Errors
    /// [`Unsupported`](crate::Kind::Unsupported), [`Closed`](crate::Kind::Closed).
    fn set_credit(&mut self, _credit: u32) -> Result<()> {
        Err(Error::unsupported(Feature::SetCredit, Operation::Credit, "a stream of what is not settled"))
    }

    /// Asks for the end. What is on its way may still arrive; then [`End::Stopped`].
    fn stop(&mut self);
}

/// A stream of arrivals that owns its source. Dropping it stops it without an answer; deliveries in hand stay
/// settleable.
pub struct Incoming<T> {
    source: Box<dyn Source<T>>,
    end: Option<End>,
}

impl<T> Incoming<T> {
    /// For transports.
    #[must_use]
    pub fn new(source: impl Source<T> + 'static) -> Self {
        Self { source: Box::new(source), end: None }
    }

    /// The next arrival; `None` at the end, whose reason [`Incoming::end`] gives. Cancel safe: nothing is lost when
    /// the future is dropped.
    pub async fn next(&mut self) -> Option<Arrival<T>> {
        poll_fn(|context| self.poll_arrival(context)).await
    }

    fn poll_arrival(&mut self, context: &mut Context<'_>) -> Poll<Option<Arrival<T>>> {
        if self.end.is_some() {
            return Poll::Ready(None);
        }
        self.source.poll_next(context).map(|next| match next {
            Ok(arrival) => Some(arrival),
            Err(end) => {
                self.end = Some(end);
                None
            }
        })
    }

    /// Why it ended; `None` while it runs.
    #[must_use]
    pub const fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// See [`Source::set_credit`]. Needs [`SetCredit`](crate::Feature::SetCredit).
    ///
    /// # Errors
    /// As there.
    pub fn set_credit(&mut self, credit: u32) -> Result<()> {
        self.source.set_credit(credit)
    }

    /// Asks for the end; poll on until it comes.
    pub fn stop(&mut self) {
        self.source.stop();
    }

    /// For wrappers: the source, and the end if it came.
    #[must_use]
    pub fn into_source(self) -> (Box<dyn Source<T>>, Option<End>) {
        (self.source, self.end)
    }
}

impl<T> Stream for Incoming<T> {
    type Item = Arrival<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_arrival(context)
    }
}

impl<T> fmt::Debug for Incoming<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("source", &self.source).field("end", &self.end).finish()
    }
}
