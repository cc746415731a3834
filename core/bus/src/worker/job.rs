//! The life of one job: handle, reply, settle.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use polybus_contract::{
    AT_MOST_ONCE, Body, Delivery, Error, Kind, Lease, Message, Outcome, Reason, Receipt, RemoteError,
    ReplyOptions, ReplyTo, Result, Transport, UnixMillis, Value,
};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::handler::{Abandoned, Handler, Job, Verdict};
use super::lease::keep;
use super::observer::{Observers, WorkEnd};
use super::shutdown::Shutdown;
use crate::trace::TraceContext;

/// What every job of one worker shares.
pub(super) struct Bench {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) max_attempts: u32,
    pub(super) time_limit: Option<Duration>,
    pub(super) responder: Option<String>,
    pub(super) observers: Observers,
    pub(super) shutdown: Shutdown,
}

/// How a job ended, for the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Settled, and the bus took it.
    Settled,
    /// Given up: it comes back.
    Abandoned,
    /// Settled, but nobody confirmed it.
    Unknown,
}

impl Bench {
    /// Does one job. Ends in time: the handler by its limits, everything else by the bus's own bounds.
    pub(super) async fn work(self: Arc<Self>, delivery: Delivery) -> Ended {
        let job = self.job(&delivery);
        let mut watched = self.observers.began(&job);
        let lease = delivery.lease();
        let verdict = tokio::select! {
            biased;
            () = self.shutdown.aborting() => Err(None),
            verdict = keep(&lease, self.verdict(&job)) => verdict.map_err(Some),
        };
        match verdict {
            Ok((answer, outcome)) => {
                let failed = answer.as_ref().is_some_and(|answer| answer.error.is_some());
                let how = WorkEnd::of(&outcome, failed);
                let ended = self.conclude(delivery, &lease, &job, (answer, outcome)).await;
                watched.how = how.after(ended);
                ended
            }
            Err(lost) => give_up(delivery, &job, lost),
        }
    }

    fn job(&self, delivery: &Delivery) -> Job {
        Job {
            message: delivery.message().clone(),
            queue: delivery.queue().clone(),
            attempt: delivery.attempt(),
            max_attempts: self.max_attempts,
            cancelled: CancellationToken::new(),
        }
    }

    /// What the handler says, or the worker in its place: an answer, if there is one to give, and an outcome.
    async fn verdict(&self, job: &Job) -> (Option<Answer>, Outcome) {
        if job.attempt > self.max_attempts {
            return self.spent(job, None).await;
        }
        match self.handled(job).await {
            Verdict::Retry { error, .. } if job.is_last_attempt() => self.spent(job, Some(error)).await,
            verdict => split(verdict),
        }
    }

    /// The end of a job that has no attempt left: its sender is told, and it becomes a dead letter.
    async fn spent(&self, job: &Job, error: Option<String>) -> (Option<Answer>, Outcome) {
        let why = Abandoned::Spent { attempts: job.attempt, granted: self.max_attempts };
        let error = Some(error.unwrap_or_else(|| why.error().text));
        let (answer, _) = split(self.handler.abandoned(job, &why));
        let keep = self.handler.kept(job).await;
        (answer, Outcome::Reject { reason: Reason::Attempts, error, keep })
    }

    async fn handled(&self, job: &Job) -> Verdict {
        if let Some(why) = refused_unseen(job) {
            return self.handler.abandoned(job, &why);
        }
        // A job that is given up is cancelled however this future ends.
        let _cancel = job.cancelled.clone().drop_guard();
        let handler = self.handler.clone();
        let own = job.clone();
        let mut task =
            AbortOnDrop(tokio::spawn(traced(own.trace(), async move { handler.handle(own).await })));
        tokio::select! {
            biased;
            ended = &mut task.0 => ended.unwrap_or_else(|failure| self.crashed(job, &failure)),
            why = self.out_of_time(job) => self.handler.abandoned(job, &why),
        }
    }

    async fn out_of_time(&self, job: &Job) -> Abandoned {
        let limit = self.time_limit.unwrap_or(Duration::MAX);
        let left = job.message.deadline().map(|deadline| deadline.left(UnixMillis::now()));
        let (wait, why) = match left {
            Some(left) if left < limit => (left, Abandoned::Deadline),
            _ => (limit, Abandoned::TimeLimit(limit)),
        };
        tokio::time::sleep(wait).await;
        why
    }

    fn crashed(&self, job: &Job, failure: &JoinError) -> Verdict {
        let id = shown_id(&job.message);
        error!(%id, attempt = job.attempt, "handler crashed: {}", if failure.is_panic() { "panic" } else { "aborted" });
        if job.is_last_attempt() {
            return self.handler.abandoned(job, &Abandoned::Panicked);
        }
        Verdict::Retry { after: backoff(job.attempt), error: "the handler crashed".to_owned() }
    }

    async fn conclude(
        &self,
        delivery: Delivery,
        lease: &Lease,
        job: &Job,
        (answer, outcome): (Option<Answer>, Outcome),
    ) -> Ended {
        if let (Some(answer), Some(address)) = (answer, job.message.reply_to()) {
            match keep(lease, self.answer(address, job, answer)).await.and_then(|sent| sent) {
                Ok(()) => {}
                Err(failure) => return retry_later(delivery, job, &failure).await,
            }
        } else if job.message.reply_to().is_none() {
            debug!(id = %shown_id(&job.message), "no reply was asked for");
        }
        settled(delivery.settle(outcome).await, job)
    }

    async fn answer(&self, address: &ReplyTo, job: &Job, answer: Answer) -> Result<()> {
        let options = self.reply_options(job).with_error(answer.error);
        let in_parts = self.in_parts(job, &answer.message);
        match self.transport.reply(address, answer.message, options.clone()).await {
            Ok(receipt) => {
                unclaimed(&receipt, job);
                Ok(())
            }
            Err(failure) => match (failure.kind(), in_parts) {
                (Kind::TooLarge { .. }, Some(message)) => {
                    let receipt = self.transport.reply(address, message, options).await?;
                    unclaimed(&receipt, job);
                    Ok(())
                }
                (Kind::TooLarge { limit, size }, None) => {
                    self.answer_too_large(address, job, size, limit).await
                }
                _ => Err(failure),
            },
        }
    }

    /// The same answer beside the queue, if it is one message that may go there.
    fn in_parts(&self, job: &Job, message: &Message) -> Option<Message> {
        let limit = self.transport.lend_profile().capability.max_message;
        let large = limit.is_some_and(|limit| message.size() > limit);
        if !large || !job.message.takes_parts() || !self.transport.lend_profile().capability.large_body {
            return None;
        }
        let whole = message.body().as_bytes()?.clone();
        Some(message.clone().with_body(Body::parts(Arc::new(whole))))
    }

    /// An answer that does not fit is told, not lost (G7, R-42).
    async fn answer_too_large(&self, address: &ReplyTo, job: &Job, size: u64, limit: u64) -> Result<()> {
        let verdict = self.handler.abandoned(job, &Abandoned::ReplyTooLarge { size, limit });
        let Some(answer) = split(verdict).0 else { return Ok(()) };
        let options = self.reply_options(job).with_error(answer.error);
        let receipt = self.transport.reply(address, answer.message, options).await?;
        unclaimed(&receipt, job);
        Ok(())
    }

    fn reply_options(&self, job: &Job) -> ReplyOptions {
        ReplyOptions::default().with_attempt(job.attempt).with_responder(self.responder.clone())
    }
}

/// Work within the trace that its job belongs to.
async fn traced<T>(trace: Option<TraceContext>, work: impl Future<Output = T>) -> T {
    match trace {
        Some(trace) => trace.scope(work).await,
        None => work.await,
    }
}

/// A task that does not outlive the future that waits for it.
struct AbortOnDrop(tokio::task::JoinHandle<Verdict>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Answer {
    message: Message,
    error: Option<RemoteError>,
}

impl Answer {
    const fn result(message: Message) -> Self {
        Self { message, error: None }
    }

    fn failure(error: RemoteError) -> Self {
        Self { message: Message::new(error.text.clone()).with_content_type("text/plain"), error: Some(error) }
    }
}

fn split(verdict: Verdict) -> (Option<Answer>, Outcome) {
    match verdict {
        Verdict::Reply(message) => (Some(Answer::result(*message)), Outcome::Ack),
        Verdict::Done => (None, Outcome::Ack),
        Verdict::Fail(error) => (Some(Answer::failure(error)), Outcome::Ack),
        Verdict::Retry { after, error } => (None, Outcome::Retry { after, error: Some(error) }),
        Verdict::Reject { reply, reason, error, keep } => (
            reply.map(|message| Answer::result(*message)),
            Outcome::Reject { reason, error: Some(error), keep },
        ),
    }
}

fn refused_unseen(job: &Job) -> Option<Abandoned> {
    let passed = job.message.deadline().is_some_and(|deadline| *deadline <= UnixMillis::now());
    let once = job.message.carried().get(AT_MOST_ONCE) == Some(&Value::Bool(true));
    match (passed, once && job.attempt > 1) {
        (true, _) => Some(Abandoned::Deadline),
        (_, true) => Some(Abandoned::AtMostOnce),
        _ => None,
    }
}

/// Dropping the delivery unsettled gives it back, and the attempt counts.
fn give_up(delivery: Delivery, job: &Job, lost: Option<Error>) -> Ended {
    let id = shown_id(&job.message);
    let why = lost.map_or_else(|| "the worker must end".to_owned(), |error| error.to_string());
    warn!(%id, attempt = job.attempt, "gave up the job: {why}");
    drop(delivery);
    Ended::Abandoned
}

async fn retry_later(delivery: Delivery, job: &Job, failure: &Error) -> Ended {
    let id = shown_id(&job.message);
    warn!(%id, error = %failure, "the reply could not be sent; the request will be delivered again");
    let outcome = Outcome::Retry { after: backoff(job.attempt), error: Some(failure.to_string()) };
    match settled(delivery.settle(outcome).await, job) {
        Ended::Settled => Ended::Abandoned,
        other => other,
    }
}

fn settled(result: Result<()>, job: &Job) -> Ended {
    match result {
        Ok(()) => Ended::Settled,
        Err(failure) => {
            let id = shown_id(&job.message);
            warn!(%id, error = %failure, "the job is done but could not be settled; it may run again");
            Ended::Unknown
        }
    }
}

fn unclaimed(receipt: &Receipt, job: &Job) {
    // The caller may have lost its reply with its connection, and ask again: then the next worker needs the parts of the
    // request once more. Where the reply has arrived, or when its caller gives up, they go.
    if !matches!(receipt, Receipt::Confirmed(_))
        && let Some(stored) = job.message.body().as_parts().and_then(|parts| parts.stored())
    {
        stored.keep();
    }
    if *receipt == Receipt::Unclaimed {
        warn!(id = %shown_id(&job.message), "nobody waits for the reply any more");
    }
}

fn shown_id(message: &Message) -> String {
    message.id().map_or_else(|| "-".to_owned(), ToString::to_string)
}

/// Pauses grow with the attempts, so that a handler that always fails is no hot loop (D12).
pub(super) fn backoff(attempt: u32) -> Duration {
    Duration::from_millis(100 << attempt.saturating_sub(1).min(6))
}
