//! Ephemeral subscriptions of topics.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use polybus_contract::{
    Arrival, End, Gap, GapCause, Incoming, Kind, Message, Name, Operation, Result, Source, SubscribeOptions,
    TopicGrade,
};
use tokio::task::coop;

use crate::connection::Handle;
use crate::error::refuse;

/// A topic as its subscribers see it; its durable groups are in the engine.
#[derive(Debug, Default)]
pub(crate) struct TopicSide {
    /// `None`: somebody subscribed before anybody declared it.
    pub(crate) grade: Option<TopicGrade>,
    /// Copied when it changes, so that a publisher reads it without the lock.
    pub(crate) subscriptions: Arc<Vec<Arc<Subscription>>>,
}

/// One subscription: a bounded buffer that loses its oldest and knows how many.
pub(crate) struct Subscription {
    handle: Arc<Handle>,
    pub(crate) topic: Name,
    pub(crate) label: String,
    limit: usize,
    inner: Mutex<Inner>,
    pub(crate) arrived: AtomicU64,
}

/// Bytes that wait for one reader at most, whatever their number; a single message may be larger.
const BYTES: u64 = 64 << 20;

#[derive(Default)]
struct Inner {
    buffer: VecDeque<Arc<Message>>,
    bytes: u64,
    missed: u64,
    waker: Option<Waker>,
    end: Option<End>,
}

/// What fell out of a buffer: let go when its lock is free. One is the usual number, so one costs no allocation.
#[derive(Default)]
struct Dropped {
    count: u64,
    first: Option<Arc<Message>>,
    more: Vec<Arc<Message>>,
}

impl Dropped {
    fn add(&mut self, message: Arc<Message>) {
        self.count += 1;
        match self.first {
            None => self.first = Some(message),
            Some(_) => self.more.push(message),
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("topic", &self.topic)
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

impl Handle {
    /// Subscribes. It is live when this returns: whoever publishes later finds it.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        topic: &Name,
        options: SubscribeOptions,
    ) -> Result<Incoming<Message>> {
        self.takes_in(Operation::Subscribe)?;
        if options.buffer == 0 {
            return Err(refuse(Kind::InvalidOption, Operation::Subscribe, topic)
                .with_detail("buffer must be at least 1"));
        }
        let subscription = Arc::new(Subscription {
            handle: self.clone(),
            topic: topic.clone(),
            label: options.label,
            limit: options.buffer as usize,
            inner: Mutex::default(),
            arrived: AtomicU64::new(0),
        });
        self.bus.with(|state, _, _| {
            let side = state.topics.entry(topic.clone()).or_default();
            Arc::make_mut(&mut side.subscriptions).push(subscription.clone());
        });
        self.add_subscription(&subscription);
        Ok(Incoming::new(Messages { subscription }))
    }
}

impl Subscription {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a copy. At the bound the oldest goes: this reader sees a gap, nobody else notices.
    pub(crate) fn push(&self, message: &Arc<Message>) {
        let mut inner = self.inner();
        if inner.end.is_some() {
            return;
        }
        let size = message.size();
        let mut dropped = Dropped::default();
        while inner.buffer.len() >= self.limit || (inner.bytes + size > BYTES && !inner.buffer.is_empty()) {
            let Some(oldest) = inner.buffer.pop_front() else { break };
            inner.bytes -= oldest.size();
            dropped.add(oldest);
        }
        inner.missed += dropped.count;
        inner.bytes += size;
        inner.buffer.push_back(message.clone());
        let waker = inner.waker.take();
        drop(inner);
        if dropped.count > 0 {
            self.handle.bus.count_missed(dropped.count);
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends the stream after what is in its buffer.
    pub(crate) fn leave(self: &Arc<Self>, end: End) {
        self.handle.bus.with(|state, _, _| {
            let Some(side) = state.topics.get_mut(&self.topic) else { return };
            Arc::make_mut(&mut side.subscriptions).retain(|other| !Arc::ptr_eq(other, self));
            if side.subscriptions.is_empty() && side.grade.is_none() {
                state.topics.remove(&self.topic);
            }
        });
        let mut inner = self.inner();
        inner.end.get_or_insert(end);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn next(&self, context: &Context<'_>) -> Poll<Result<Arrival<Message>, End>> {
        let mut inner = self.inner();
        if inner.missed > 0 {
            let missed = Some(std::mem::take(&mut inner.missed));
            return Poll::Ready(Ok(Arrival::Gap(Gap { missed, cause: GapCause::SlowReader })));
        }
        if let Some(message) = inner.buffer.pop_front() {
            self.arrived.fetch_add(1, Ordering::Relaxed);
            inner.bytes -= message.size();
            drop(inner);
            return Poll::Ready(Ok(Arrival::Item(Arc::unwrap_or_clone(message))));
        }
        if let Some(end) = &inner.end {
            return Poll::Ready(Err(end.clone()));
        }
        inner.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// The stream of a subscription.
#[derive(Debug)]
struct Messages {
    subscription: Arc<Subscription>,
}

impl Source<Message> for Messages {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Arrival<Message>, End>> {
        let progress = ready!(coop::poll_proceed(context));
        let next = self.subscription.next(context);
        if next.is_ready() {
            progress.made_progress();
        }
        next
    }

    fn stop(&mut self) {
        self.subscription.leave(End::Stopped);
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.subscription.leave(End::Stopped);
        self.subscription.handle.remove_subscription(&self.subscription);
    }
}
