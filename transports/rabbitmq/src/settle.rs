//! Settling: acks and returns at once, retries and dead letters as confirmed copies before the ack.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use lapin::BasicProperties;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use polybus_contract::{
    Error, Hold, Keep, Kind, Operation, Outcome, Reason, Result, Settling, Status, UnixMillis,
};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::connection::{Core, count};
use crate::consume::{Line, Reader};
use crate::header;
use crate::message::{Raw, Table};
use crate::outlet::{Route, Verdict};
use crate::publish::full;
use crate::session::{ANSWER, Way};

/// The pause before a message goes back whose copy could not be made: others would try the same at once.
const TROUBLE: Duration = Duration::from_secs(1);

/// The bus's side of one delivery.
pub(crate) struct Held {
    reader: Arc<Reader>,
    line: Arc<Line>,
    tag: u64,
    raw: Raw,
    attempt: u32,
    first: UnixMillis,
    /// The error of the attempt before.
    error: Option<String>,
}

/// What is done with a delivery that no handler sees.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Internal {
    /// It is not due yet.
    Wait(Duration),
    Expired {
        keep: bool,
    },
    /// It was handed out as often as its queue allows.
    Spent,
    /// It was handed out before, and its queue does not count: a copy carries the count.
    Count,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("intake", &self.reader.intake).finish_non_exhaustive()
    }
}

#[async_trait]
impl Hold for Held {
    fn settle(self: Arc<Self>, outcome: Outcome) -> Settling {
        match outcome {
            Outcome::Ack | Outcome::Reject { keep: Keep::Nothing, .. } => {
                Settling::done(self.over(self.ack()))
            }
            Outcome::Retry { after, error } => {
                self.in_task(move |held| async move { held.retry(after, error).await })
            }
            Outcome::Reject { reason, error, keep } => self.in_task(move |held| async move {
                let attempts = held.attempt;
                held.bury(&reason, error, keep, attempts).await
            }),
            // Whatever else there may be one day is at least not lost.
            _ => Settling::done(self.over(self.nack())),
        }
    }

    /// A lease that lasts as long as the connection: there is nothing to renew, but it may be over.
    async fn renew(&self) -> Result<Option<Duration>> {
        if self.line.is_whole() { Ok(None) } else { Err(self.stale(Operation::Renew)) }
    }
}

impl Held {
    pub(crate) fn new(
        reader: Arc<Reader>,
        line: Arc<Line>,
        tag: u64,
        raw: Raw,
        attempt: u32,
        first: UnixMillis,
        error: Option<String>,
    ) -> Self {
        Self { reader, line, tag, raw, attempt, first, error }
    }

    fn core(&self) -> &Arc<Core> {
        &self.reader.core
    }

    fn stale(&self, operation: Operation) -> Error {
        Error::new(Kind::Stale, operation)
            .with_target(&self.reader.intake)
            .with_status(Status::Unknown)
            .with_detail("the connection that it came over is lost")
    }

    /// Hands the ack over to the connection: its frame stands in the queue when this returns.
    fn ack(&self) -> Result<()> {
        self.said(self.line.channel.basic_ack(self.tag, BasicAckOptions::default()).now_or_never().as_ref())
    }

    fn nack(&self) -> Result<()> {
        let options = BasicNackOptions { multiple: false, requeue: true };
        self.said(self.line.channel.basic_nack(self.tag, options).now_or_never().as_ref())
    }

    fn said(&self, sent: Option<&lapin::Result<()>>) -> Result<()> {
        match sent {
            Some(Err(_)) => Err(self.stale(Operation::Settle)),
            _ if !self.line.is_whole() => Err(self.stale(Operation::Settle)),
            _ => Ok(()),
        }
    }

    /// Counts it as out of hand.
    fn over(&self, settled: Result<()>) -> Result<()> {
        let counts = &self.core().counts;
        let counter = if settled.is_ok() { &counts.settled } else { &counts.lost_in_hand };
        counter.fetch_add(1, Ordering::AcqRel);
        self.reader.given_back();
        settled
    }

    /// Does what takes time in a task of its own: it goes on if nobody waits for the report. The credit bounds how many
    /// there are.
    fn in_task<F>(self: Arc<Self>, work: impl FnOnce(Arc<Self>) -> F) -> Settling
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        if !self.line.is_whole() {
            return Settling::done(self.over(Err(self.stale(Operation::Settle))));
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return Settling::done(self.over(self.nack()));
        };
        let (done, report) = oneshot::channel();
        let working = work(self.clone());
        let copying = Copying::new(self.core());
        runtime.spawn(async move {
            let settled = self.over(working.await);
            drop(copying);
            // Whoever settled may not want to know.
            let _ = done.send(settled);
        });
        Settling::waiting(async move {
            report.await.unwrap_or_else(|_| {
                Err(Error::new(Kind::Disconnected, Operation::Settle)
                    .with_status(Status::Unknown)
                    .with_detail("the runtime ended while it was settled"))
            })
        })
    }

    pub(crate) fn settle_internally(self: Arc<Self>, what: Internal) {
        let copying = Copying::new(self.core());
        tokio::spawn(async move {
            let done = match what {
                Internal::Wait(left) => self.copied(self.attempt, self.error.clone(), left).await,
                Internal::Count => self.copied(self.attempt, self.error.clone(), Duration::ZERO).await,
                Internal::Spent => {
                    self.bury(&Reason::Attempts, self.error.clone(), Keep::Body, self.attempt - 1).await
                }
                Internal::Expired { keep: true } => {
                    self.bury(&Reason::Expired, self.error.clone(), Keep::Body, self.attempt - 1).await
                }
                Internal::Expired { keep: false } => {
                    self.ack().inspect(|()| count(&self.core().counts.expired, 1))
                }
            };
            if let Err(error) = done {
                tracing::warn!(intake = self.reader.intake, %error, "a message that nobody is to see comes back");
            }
            self.reader.given_back();
            drop(copying);
        });
    }

    async fn retry(self: Arc<Self>, after: Duration, error: Option<String>) -> Result<()> {
        if self.reader.dead {
            sleep(after).await;
            return self.nack();
        }
        let max = self.core().rules(&self.reader.wire).max_attempts;
        let error = error.or_else(|| self.error.clone());
        // The next hand-out would make it a dead letter; nobody has to wait for that.
        if self.attempt >= max {
            return self.bury(&Reason::Attempts, error, Keep::Body, self.attempt).await;
        }
        self.copied(self.attempt.saturating_add(1), error, after).await
    }

    /// A confirmed copy to come back after `after`, then the ack. Where there is no room for a copy, the message itself
    /// goes back, not before that time.
    async fn copied(&self, attempt: u32, error: Option<String>, after: Duration) -> Result<()> {
        let asked = Instant::now();
        match self.copy(attempt, error, after).await {
            Ok(()) => self.ack(),
            Err(trouble) => {
                tracing::warn!(intake = self.reader.intake, error = %trouble, "no room for a retry; the message itself goes back");
                let pause = if after.is_zero() { TROUBLE } else { after };
                sleep(pause.saturating_sub(asked.elapsed())).await;
                self.nack()
            }
        }
    }

    async fn copy(&self, attempt: u32, error: Option<String>, after: Duration) -> Result<()> {
        let mut table = Table::of(&self.raw.properties).without(&[header::ERROR, header::DUE]);
        table.int(header::ATTEMPT, attempt);
        table.int(header::FIRST, self.first.0);
        if let Some(error) = error {
            table.text(header::ERROR, &error);
        }
        let mut raw = Raw { properties: copied(&self.raw.properties, table), body: self.raw.body.clone() };
        let core = self.core();
        let until = Instant::now() + ANSWER;
        let route = if after.is_zero() {
            Route::queue(&self.reader.wire)
        } else {
            let session = core.session(until, Operation::Settle).await?;
            core.delayed(&session, &self.reader.wire, &mut raw, after).await?
        };
        match core.confirmed(Way::Queues, &route, &raw, until).await? {
            Verdict::Taken => Ok(()),
            Verdict::Returned => Err(Error::new(Kind::NotFound, Operation::Settle)),
            _ => Err(full("the queue is at its bound")),
        }
    }

    /// Into the dead letters, confirmed there before it is gone here.
    async fn bury(&self, reason: &Reason, error: Option<String>, keep: Keep, attempts: u32) -> Result<()> {
        let buried = self.try_bury(reason, error, keep, attempts).await;
        if let Err(trouble) = buried {
            tracing::error!(intake = self.reader.intake, error = %trouble, "the dead letters take nothing; the message goes back");
            sleep(TROUBLE).await;
            let _ = self.nack();
            return Err(trouble);
        }
        self.ack()
    }

    async fn try_bury(
        &self,
        reason: &Reason,
        error: Option<String>,
        keep: Keep,
        attempts: u32,
    ) -> Result<()> {
        let mut table =
            Table::of(&self.raw.properties).without(&[header::ATTEMPT, header::ERROR, header::DUE]);
        table.text(header::REASON, reason.as_str());
        if let Some(error) = error {
            table.text(header::TEXT, &error);
        }
        let living = self.reader.queue.living().unwrap_or_else(|| self.reader.queue.clone());
        table.text(header::QUEUE, living.as_str());
        table.int(header::TIME, UnixMillis::now().0);
        table.int(header::ATTEMPTS, attempts);
        table.int(header::FIRST, self.first.0);
        let body = match keep {
            Keep::Substitute(body) => {
                table.yes(header::REPLACED);
                body.as_bytes().cloned().unwrap_or_default()
            }
            _ => self.raw.body.clone(),
        };
        let raw = Raw { properties: copied(&self.raw.properties, table), body };
        let core = self.core();
        let session = core.session(Instant::now() + ANSWER, Operation::Settle).await?;
        let wire = self.reader.wire.strip_suffix(polybus_contract::DEAD_SUFFIX).unwrap_or(&self.reader.wire);
        core.bury(&session, wire, raw).await
    }
}

/// Counts a copy under way.
struct Copying(Arc<Core>);

impl Copying {
    fn new(core: &Arc<Core>) -> Self {
        core.counts.copying.fetch_add(1, Ordering::AcqRel);
        Self(core.clone())
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        self.0.counts.copying.fetch_sub(1, Ordering::AcqRel);
        self.0.idle.notify_waiters();
    }
}

/// The properties of a copy. A broker refuses the user id of another user, so that one travels as a header; what is left
/// of a time to live is kept as an instant, since a copy would begin it anew.
pub(crate) fn copied(from: &BasicProperties, mut table: Table) -> BasicProperties {
    if let Some(user) = from.user_id() {
        table.text(header::USER, user.as_str());
    }
    let lives = from.expiration().as_ref().and_then(|text| text.as_str().parse::<u64>().ok());
    let headers = from.headers().as_ref();
    let is_set = |name| headers.is_some_and(|headers| headers.contains_key(name));
    if let Some(lives) = lives.filter(|_| !is_set(header::EXPIRES) && !is_set(header::DEADLINE)) {
        table.int(header::EXPIRES, UnixMillis::now().after(Duration::from_millis(lives)).0);
    }
    let mut to = BasicProperties::default().with_headers(table.into_headers());
    macro_rules! keep {
        ($($get:ident, $with:ident);* $(;)?) => {
            $(if let Some(value) = from.$get().clone() {
                to = to.$with(value);
            })*
        };
    }
    keep! {
        content_type, with_content_type;
        content_encoding, with_content_encoding;
        delivery_mode, with_delivery_mode;
        priority, with_priority;
        correlation_id, with_correlation_id;
        reply_to, with_reply_to;
        message_id, with_message_id;
        timestamp, with_timestamp;
        kind, with_type;
        app_id, with_app_id;
    }
    to
}
