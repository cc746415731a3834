//! What a service author writes.

use std::time::Duration;

use async_trait::async_trait;
use polybus_contract::{Keep, Message, Name, Reason, RemoteError};
use tokio_util::sync::CancellationToken;

use crate::trace::TraceContext;

/// One message in the hands of a handler.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Job {
    /// The message.
    pub message: Message,
    /// The queue it came from.
    pub queue: Name,
    /// Which hand-out this is, from 1. Above 1, an earlier worker may have done part of the work.
    pub attempt: u32,
    /// How many hand-outs the worker grants.
    pub max_attempts: u32,
    /// Cancelled when the worker gives the job up: the lease is lost, its time limit passed, or the process must
    /// end. Work outside the async runtime (threads, child processes) must watch it.
    pub cancelled: CancellationToken,
}

impl Job {
    /// The trace it belongs to, if its sender said so. The handler runs within it: what it calls continues the trace.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        TraceContext::of(self.message.headers())
    }

    /// Whether no further attempt will follow.
    #[must_use]
    pub const fn is_last_attempt(&self) -> bool {
        self.attempt >= self.max_attempts
    }
}

/// What becomes of a job.
#[derive(Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// Done: the reply is sent if one was asked for and, once it is confirmed where the bus can, the job is acked.
    Reply(Box<Message>),
    /// Done, without a reply.
    Done,
    /// Failed, and trying again cannot help: an error reply, then ack.
    Fail(RemoteError),
    /// Try again after this long; beyond the last attempt it becomes a dead letter.
    Retry {
        /// The least delay.
        after: Duration,
        /// The error, one line, no payload.
        error: String,
    },
    /// Nobody can handle it: a reply if there is one to give, then to the dead letters.
    Reject {
        /// Sent first, if the sender asked for a reply.
        reply: Option<Box<Message>>,
        /// Why.
        reason: Reason,
        /// The error, one line, no payload.
        error: String,
        /// What of it is kept.
        keep: Keep,
    },
}

/// Why a worker ends a job in the handler's place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Abandoned {
    /// The handler panicked, and no attempt is left.
    Panicked,
    /// The handler ran longer than the worker's time limit.
    TimeLimit(Duration),
    /// The sender's deadline passed before the job began or while it ran.
    Deadline,
    /// The sender asked for at most one attempt, and this would be another one.
    AtMostOnce,
    /// It was handed out more often than the worker grants: earlier workers died of it, or failed.
    Spent {
        /// How many hand-outs there were.
        attempts: u32,
        /// How many the worker grants.
        granted: u32,
    },
    /// The reply is larger than the bus takes.
    ReplyTooLarge {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
}

impl Abandoned {
    /// The word for it, and a line for people.
    #[must_use]
    pub fn error(&self) -> RemoteError {
        let (code, text) = match self {
            Self::Panicked => ("internal", "the handler crashed".to_owned()),
            Self::TimeLimit(limit) => {
                ("deadline", format!("stopped after {} s, the job limit", limit.as_secs()))
            }
            Self::Deadline => ("deadline", "the request's deadline has passed".to_owned()),
            Self::AtMostOnce => {
                ("poison", "an earlier attempt did not finish, and only one was wanted".to_owned())
            }
            Self::Spent { attempts, granted } => {
                ("poison", format!("handed out {attempts} times, {granted} are granted"))
            }
            Self::ReplyTooLarge { size, limit } => {
                ("too-large", format!("the reply has {size} bytes, the limit is {limit}"))
            }
        };
        RemoteError { code: code.to_owned(), text }
    }
}

/// Handles the messages of a queue.
///
/// Delivery is at least once: a handler must bear being run again for the same message id. It runs in a task of its
/// own; a panic is contained and counts as a failed attempt. Dropping its future must be safe at any await: that
/// happens when the lease is lost or the process must end.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Handles one job.
    async fn handle(&self, job: Job) -> Verdict;

    /// What to answer when the worker ends the job in the handler's place. Default: an error reply.
    fn abandoned(&self, job: &Job, why: &Abandoned) -> Verdict {
        let _ = job;
        Verdict::Fail(why.error())
    }

    /// What becomes of a job that failed at its last attempt, with this error, or was handed out beyond it. Whoever waits
    /// for a reply is answered by [`abandoned`](Self::abandoned). Default: the whole message to the dead letters.
    async fn kept(&self, job: &Job) -> Keep {
        let _ = job;
        Keep::Body
    }
}
