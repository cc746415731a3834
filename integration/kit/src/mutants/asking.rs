//! Transports that lose, mix up or leak requests and replies.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use polybus_contract::{
    Arrival, Deadline, Delivery, End, Error, Health, Incoming, Kind, Message, MessageId, Nobody, Operation,
    Receipt, Reply, ReplyOptions, ReplyTo, RequestOptions, Result, Source, Target,
};

use super::broken::{relabel, shuffle, tap};
use super::flaw::{Flaw, Inside};

/// Changes the options of every request.
#[derive(Debug)]
pub(super) struct AsksOtherwise(pub(super) fn(RequestOptions) -> RequestOptions);

#[async_trait]
impl Flaw for AsksOtherwise {
    async fn request(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: RequestOptions,
    ) -> Result<Incoming<Reply>> {
        inside.request(to, message, (self.0)(options)).await
    }
}

/// Who asks to be told that nobody serves waits instead.
pub(super) fn waits(options: RequestOptions) -> RequestOptions {
    options.with_nobody(Nobody::Wait)
}

/// A request that does not say how long it waits waits for ever.
pub(super) fn without_default(options: RequestOptions) -> RequestOptions {
    if options.deadline == Deadline::default() { options.with_deadline(Deadline::Never) } else { options }
}

/// Changes the options of every reply.
#[derive(Debug)]
pub(super) struct AnswersOtherwise(pub(super) fn(ReplyOptions) -> ReplyOptions);

#[async_trait]
impl Flaw for AnswersOtherwise {
    async fn reply(
        &self,
        inside: &Inside,
        to: &ReplyTo,
        message: Message,
        options: ReplyOptions,
    ) -> Result<Receipt> {
        inside.reply(to, message, (self.0)(options)).await
    }
}

/// A failure arrives as a result.
pub(super) fn without_error(options: ReplyOptions) -> ReplyOptions {
    options.with_error(None)
}

/// A stream of replies has no end.
pub(super) fn without_end(options: ReplyOptions) -> ReplyOptions {
    let last = options.last && options.index == 0;
    options.with_last(last)
}

/// Every reply says that it answers the first attempt.
pub(super) fn first_attempt(options: ReplyOptions) -> ReplyOptions {
    options.with_attempt(1_u32)
}

/// Every other request arrives with the reply address of the one before it.
#[derive(Debug, Default)]
pub(super) struct AnswersWrongCaller {
    before: Mutex<Option<ReplyTo>>,
}

impl Flaw for AnswersWrongCaller {
    fn delivery(&self, delivery: Delivery) -> Option<Delivery> {
        let Some(own) = delivery.message().reply_to().cloned() else { return Some(delivery) };
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(other) = before.take() else {
            *before = Some(own);
            return Some(delivery);
        };
        Some(relabel(delivery, |message, attempt| (message.with_reply_to(other), attempt)))
    }
}

/// A reply whose caller has gone is given to whoever asked last.
#[derive(Debug, Default)]
pub(super) struct LateToAnother {
    last: Mutex<Option<ReplyTo>>,
}

#[async_trait]
impl Flaw for LateToAnother {
    fn delivery(&self, delivery: Delivery) -> Option<Delivery> {
        if let Some(address) = delivery.message().reply_to() {
            self.last.lock().unwrap_or_else(PoisonError::into_inner).replace(address.clone());
        }
        Some(delivery)
    }

    async fn reply(
        &self,
        inside: &Inside,
        to: &ReplyTo,
        message: Message,
        options: ReplyOptions,
    ) -> Result<Receipt> {
        let answer = inside.reply(to, message.clone(), options.clone()).await?;
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match (&answer, last) {
            (Receipt::Unclaimed, Some(other)) => inside.reply(&other, message, options).await,
            _ => Ok(answer),
        }
    }
}

/// Late replies vanish without a count.
#[derive(Debug)]
pub(super) struct LateUncounted;

impl Flaw for LateUncounted {
    fn health(&self, mut honest: Health) -> Health {
        honest.counters.late_replies = 0;
        honest
    }
}

/// A reply that finds no caller is an error to the worker, who would do its work again.
#[derive(Debug)]
pub(super) struct LateIsError;

#[async_trait]
impl Flaw for LateIsError {
    async fn reply(
        &self,
        inside: &Inside,
        to: &ReplyTo,
        message: Message,
        options: ReplyOptions,
    ) -> Result<Receipt> {
        match inside.reply(to, message, options).await? {
            Receipt::Unclaimed => Err(Error::new(Kind::NotFound, Operation::Reply)),
            receipt => Ok(receipt),
        }
    }
}

/// Says Ok to a reply that is too large, and sends nothing.
#[derive(Debug)]
pub(super) struct SwallowsBigReplies;

#[async_trait]
impl Flaw for SwallowsBigReplies {
    async fn reply(
        &self,
        inside: &Inside,
        to: &ReplyTo,
        message: Message,
        options: ReplyOptions,
    ) -> Result<Receipt> {
        match inside.reply(to, message, options).await {
            Err(error) if matches!(error.kind(), Kind::TooLarge { .. }) => {
                Ok(Receipt::Handed(MessageId::fresh()))
            }
            answer => answer,
        }
    }
}

/// The caller never hears of an error at all.
#[derive(Debug)]
pub(super) struct SwallowsErrors;

#[async_trait]
impl Flaw for SwallowsErrors {
    async fn reply(
        &self,
        inside: &Inside,
        to: &ReplyTo,
        message: Message,
        options: ReplyOptions,
    ) -> Result<Receipt> {
        if options.error.is_some() {
            return Ok(Receipt::Handed(MessageId::fresh()));
        }
        inside.reply(to, message, options).await
    }
}

/// Parts of a streamed reply change places.
#[derive(Debug)]
pub(super) struct ShufflesParts;

#[async_trait]
impl Flaw for ShufflesParts {
    async fn request(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: RequestOptions,
    ) -> Result<Incoming<Reply>> {
        let replies = inside.request(to, message, options).await?;
        Ok(shuffle(replies, |reply, more, ready| {
            ready.extend(more());
            ready.push_back(reply);
        }))
    }
}

/// A part of a streamed reply is lost.
#[derive(Debug)]
pub(super) struct LosesParts;

#[async_trait]
impl Flaw for LosesParts {
    async fn request(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: RequestOptions,
    ) -> Result<Incoming<Reply>> {
        let replies = inside.request(to, message, options).await?;
        Ok(tap(replies, |reply: Reply| (reply.last || reply.index != 1).then_some(reply), Some))
    }
}

/// Keeps what belongs to a call after its caller has gone.
#[derive(Debug, Default)]
pub(super) struct LeaksCalls {
    kept: Arc<Mutex<Vec<Incoming<Reply>>>>,
}

#[async_trait]
impl Flaw for LeaksCalls {
    async fn request(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: RequestOptions,
    ) -> Result<Incoming<Reply>> {
        let replies = inside.request(to, message, options).await?;
        Ok(Incoming::new(Leaking { replies: Some(replies), kept: self.kept.clone() }))
    }
}

struct Leaking {
    replies: Option<Incoming<Reply>>,
    kept: Arc<Mutex<Vec<Incoming<Reply>>>>,
}

impl fmt::Debug for Leaking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaking").field("replies", &self.replies).finish_non_exhaustive()
    }
}

impl Source<Reply> for Leaking {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Arrival<Reply>, End>> {
        use futures_util::StreamExt;
        let Some(replies) = &mut self.replies else { return Poll::Ready(Err(End::Stopped)) };
        match replies.poll_next_unpin(context) {
            Poll::Ready(Some(arrival)) => Poll::Ready(Ok(arrival)),
            Poll::Ready(None) => Poll::Ready(Err(replies.end().cloned().unwrap_or(End::Stopped))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn set_credit(&mut self, _credit: u32) -> Result<()> {
        Ok(())
    }

    fn stop(&mut self) {}
}

impl Drop for Leaking {
    fn drop(&mut self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).extend(self.replies.take());
    }
}

/// Starts a task for each call and never ends it.
#[derive(Debug)]
pub(super) struct LeaksTaskPerCall;

#[async_trait]
impl Flaw for LeaksTaskPerCall {
    async fn request(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: RequestOptions,
    ) -> Result<Incoming<Reply>> {
        tokio::spawn(std::future::pending::<()>());
        inside.request(to, message, options).await
    }
}

/// A call ends with its first timeout; the calls behind it get none of their replies.
#[derive(Debug, Default)]
pub(super) struct DeafAfterTimeout {
    deaf: Arc<std::sync::atomic::AtomicBool>,
}

#[async_trait]
impl Flaw for DeafAfterTimeout {
    async fn request(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: RequestOptions,
    ) -> Result<Incoming<Reply>> {
        let deaf = self.deaf.clone();
        if let Deadline::Within(within) = options.deadline
            && within < Duration::from_secs(1)
        {
            deaf.store(true, std::sync::atomic::Ordering::Release);
        }
        let replies = inside.request(to, message, options).await?;
        let hear = move |reply| (!deaf.load(std::sync::atomic::Ordering::Acquire)).then_some(reply);
        Ok(tap(replies, hear, Some))
    }
}

/// Forgets its reply path when it connects again: the replies to its calls are lost.
#[derive(Debug, Default)]
pub(super) struct DeafAfterReconnect {
    connected: Mutex<Vec<usize>>,
}

impl DeafAfterReconnect {
    fn connects(&self, inside: &Inside) -> usize {
        let connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        connected.iter().filter(|handle| **handle == Arc::as_ptr(inside).addr()).count()
    }
}

#[async_trait]
impl Flaw for DeafAfterReconnect {
    async fn connect(&self, inside: &Inside, within: Duration) -> Result<()> {
        let handle = Arc::as_ptr(inside).addr();
        self.connected.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
        inside.connect(within).await
    }

    async fn request(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: RequestOptions,
    ) -> Result<Incoming<Reply>> {
        let deaf = self.connects(inside) > 1;
        let replies = inside.request(to, message, options).await?;
        Ok(tap(replies, move |reply| (!deaf).then_some(reply), Some))
    }
}
