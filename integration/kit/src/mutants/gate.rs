//! Arrivals that wait: for a gate to open, or for a stream that does not exist yet.

use std::fmt;
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use polybus_contract::{Arrival, End, Error, Feature, Incoming, Operation, Result, Source};

/// Makes what resolves when the gate is open.
type Opening = Box<dyn Fn() -> BoxFuture<'static, ()> + Send>;

/// Arrivals that come only while a gate is open.
struct Gate<T> {
    source: Box<dyn Source<T>>,
    end: Option<End>,
    opening: Opening,
    waiting: Option<BoxFuture<'static, ()>>,
}

pub(super) fn gate<T: Send + 'static>(
    incoming: Incoming<T>,
    opening: impl Fn() -> BoxFuture<'static, ()> + Send + 'static,
) -> Incoming<T> {
    let (source, end) = incoming.into_source();
    Incoming::new(Gate { source, end, opening: Box::new(opening), waiting: None })
}

impl<T> fmt::Debug for Gate<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl<T: Send> Source<T> for Gate<T> {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Arrival<T>, End>> {
        if let Some(end) = self.end.take() {
            return Poll::Ready(Err(end));
        }
        let waiting = self.waiting.get_or_insert_with(|| (self.opening)());
        ready!(waiting.as_mut().poll(context));
        self.waiting = None;
        let arrival = ready!(self.source.poll_next(context));
        Poll::Ready(arrival)
    }

    fn set_credit(&mut self, credit: u32) -> Result<()> {
        self.source.set_credit(credit)
    }

    fn stop(&mut self) {
        self.source.stop();
    }
}

/// Arrivals of a stream that is still being opened, by a task of its own.
struct Later<T> {
    opening: Option<tokio::task::JoinHandle<Result<Incoming<T>>>>,
    source: Option<Box<dyn Source<T>>>,
}

pub(super) fn later<T: Send + 'static>(
    open: impl Future<Output = Result<Incoming<T>>> + Send + 'static,
) -> Incoming<T> {
    Incoming::new(Later { opening: Some(tokio::spawn(open)), source: None })
}

impl<T> fmt::Debug for Later<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl<T: Send + 'static> Source<T> for Later<T> {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Arrival<T>, End>> {
        if let Some(opening) = &mut self.opening {
            let opened = ready!(std::pin::Pin::new(opening).poll(context));
            self.opening = None;
            match opened {
                Ok(Ok(incoming)) => self.source = Some(incoming.into_source().0),
                Ok(Err(error)) => return Poll::Ready(Err(End::Failed(error))),
                Err(_) => return Poll::Ready(Err(End::Stopped)),
            }
        }
        match &mut self.source {
            Some(source) => source.poll_next(context),
            None => Poll::Ready(Err(End::Stopped)),
        }
    }

    fn set_credit(&mut self, credit: u32) -> Result<()> {
        match &mut self.source {
            Some(source) => source.set_credit(credit),
            None => Err(Error::unsupported(Feature::SetCredit, Operation::Consume, "not live yet")),
        }
    }

    fn stop(&mut self) {
        match (&mut self.source, &self.opening) {
            (Some(source), _) => source.stop(),
            (None, Some(opening)) => opening.abort(),
            (None, None) => {}
        }
    }
}

impl<T> Drop for Later<T> {
    fn drop(&mut self) {
        if let Some(opening) = &self.opening {
            opening.abort();
        }
    }
}
