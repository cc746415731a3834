//! What each side has to do.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt, TryStreamExt};

/// What a measurement answers.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// So many messages with this body, so many in flight.
#[derive(Clone)]
pub(crate) struct Work {
    pub(crate) messages: u64,
    pub(crate) window: usize,
    pub(crate) body: Bytes,
    /// Where it is noted how long each of them took, from its first step to its end; not for [`Verb::Consume`].
    pub(crate) each: Option<Arc<Mutex<Vec<Duration>>>>,
}

impl Work {
    pub(crate) fn new(messages: u64, window: usize, size: usize) -> Self {
        Self { messages, window, body: Bytes::from(vec![7; size]), each: None }
    }

    fn took(&self, began: Instant) {
        if let Some(each) = &self.each {
            each.lock().unwrap_or_else(PoisonError::into_inner).push(began.elapsed());
        }
    }
}

/// What is measured. [`Verb::Consume`] takes what [`Verb::Publish`] left.
#[derive(Clone, Copy)]
pub(crate) enum Verb {
    Publish,
    Consume,
    Request,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Publish => "publish, confirmed",
            Self::Consume => "consume and ack",
            Self::Request => "request and reply",
        })
    }
}

/// One side. Each verb says how long it took.
#[async_trait]
pub(crate) trait Contender: Send + Sync {
    async fn publish(&self, work: &Work) -> Outcome<Duration>;
    async fn consume(&self, work: &Work) -> Outcome<Duration>;
    async fn request(&self, work: &Work) -> Outcome<Duration>;

    async fn run(&self, verb: Verb, work: &Work) -> Outcome<Duration> {
        match verb {
            Verb::Publish => self.publish(work).await,
            Verb::Consume => self.consume(work).await,
            Verb::Request => self.request(work).await,
        }
    }
}

/// Does `act` for each message, `window` of them at a time, and says how long all took.
pub(crate) async fn in_flight<F>(work: &Work, act: impl Fn(u64) -> F) -> Outcome<Duration>
where
    F: Future<Output = Outcome<()>>,
{
    let start = Instant::now();
    futures_util::stream::iter(0..work.messages)
        .map(|n| {
            let acting = act(n);
            Ok(async move {
                let began = Instant::now();
                acting.await?;
                work.took(began);
                Outcome::Ok(())
            })
        })
        .try_buffer_unordered(work.window)
        .try_collect::<()>()
        .await?;
    Ok(start.elapsed())
}

/// Reports still awaited, never more than so many.
pub(crate) struct Pending<F> {
    futures: FuturesUnordered<F>,
    most: usize,
}

impl<F: Future<Output = Outcome<()>>> Pending<F> {
    pub(crate) fn new(most: usize) -> Self {
        Self { futures: FuturesUnordered::new(), most }
    }

    pub(crate) async fn push(&mut self, future: F) -> Outcome<()> {
        self.futures.push(future);
        if self.futures.len() >= self.most {
            self.futures.try_next().await?;
        }
        Ok(())
    }

    pub(crate) async fn finish(mut self) -> Outcome<()> {
        while self.futures.try_next().await?.is_some() {}
        Ok(())
    }
}
