//! Settling a delivery.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;

use crate::body::Body;
use crate::error::Result;
use crate::message::Reason;

/// What the dead letters keep of a rejected message.
#[derive(Clone, Debug, Default)]
pub enum Keep {
    /// The message as it is.
    #[default]
    Body,
    /// The message with this body instead, for example sizes and digests of a sensitive one.
    Substitute(Body),
    /// Nothing: the message is consumed.
    Nothing,
}

/// What becomes of a delivery.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Done: it never comes back.
    Ack,
    /// Once more, not before `after`. Counts as an attempt.
    Retry {
        /// The least delay.
        after: Duration,
        /// The error, for the dead letters if this was the last attempt. No payloads, no secrets.
        error: Option<String>,
    },
    /// Never again: to the dead letters.
    Reject {
        /// Why.
        reason: Reason,
        /// The error text. No payloads, no secrets.
        error: Option<String>,
        /// What of it is kept.
        keep: Keep,
    },
    /// Nobody looked at it: back to the queue, uncounted where the bus can.
    Release,
    /// The handler went away without a word: back to the queue, and it counts.
    Dropped,
}

/// The bus's side of one delivery, implemented by a transport.
#[async_trait]
pub trait Hold: Send + Sync + fmt::Debug {
    /// Hands the outcome over before it returns; the returned future only reports. Called at most once for each
    /// delivery. It never blocks: outstanding settles are bounded by the consumer's credit.
    fn settle(self: Arc<Self>, outcome: Outcome) -> Settling;

    /// Keeps the lease for another term and says how long that is; `None` for a lease that lasts as long as the
    /// connection and still does.
    ///
    /// # Errors
    /// [`Stale`](crate::Kind::Stale) once the lease may have ended by our clock. Cancel safe.
    async fn renew(&self) -> Result<Option<Duration>>;
}

/// The report of a settle. The outcome is on its way already; awaiting this tells how it went.
///
/// Dropping it loses nothing but the report.
#[must_use = "whether the settle reached the bus is known only by awaiting this"]
pub struct Settling(State);

enum State {
    Done(Option<Result<()>>),
    Waiting(Pin<Box<dyn Future<Output = Result<()>> + Send>>),
}

impl Settling {
    /// Known at once; allocates nothing.
    pub const fn done(result: Result<()>) -> Self {
        Self(State::Done(Some(result)))
    }

    /// Known when `report` ends. The future must do no work of its own: the outcome is handed over already.
    pub fn waiting(report: impl Future<Output = Result<()>> + Send + 'static) -> Self {
        Self(State::Waiting(Box::pin(report)))
    }
}

impl Future for Settling {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Done(result) => result.take().map_or(Poll::Pending, Poll::Ready),
            State::Waiting(report) => report.as_mut().poll(context),
        }
    }
}

impl fmt::Debug for Settling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            State::Done(result) => write!(f, "Settling({result:?})"),
            State::Waiting(_) => f.write_str("Settling(waiting)"),
        }
    }
}
