//! Requests and their replies.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use polybus_contract::{
    Arrival, Awaited, Confirm, Confirmed, Deadline, Durability, End, Error, Incoming, Kind, Message, Name,
    Nobody, Operation, PublishOptions, Receipt, Reply, ReplyOptions, ReplyTo, RequestOptions, Result, Source,
    Status, Target,
};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep, timeout_at};

use crate::bus::State;
use crate::connection::Handle;
use crate::error::refuse;
use crate::publish::{Tried, with_id};

/// Replies that wait for their caller at most; a faster responder waits.
const BUFFER: usize = 1024;

/// Where the replies to one request arrive. In the bus's table exactly as long as its caller wants them.
#[derive(Default)]
pub(crate) struct Call {
    inner: Mutex<Inner>,
    /// A responder waits here for room.
    room: Notify,
}

#[derive(Default)]
struct Inner {
    buffer: VecDeque<Reply>,
    waker: Option<Waker>,
    end: Option<End>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Call")
    }
}

/// The caller's side of a call: dropping it takes the call out of the table (G8, G11).
#[derive(Debug)]
pub(crate) struct Caller {
    handle: Arc<Handle>,
    number: u64,
    call: Arc<Call>,
}

impl Handle {
    pub(crate) fn request(
        self: &Arc<Self>,
        to: &Target,
        message: Message,
        options: &RequestOptions,
    ) -> Result<Incoming<Reply>> {
        self.open(Operation::Request)?;
        if options.nobody == Nobody::Fail && !self.served(to) {
            return Err(refuse(Kind::NoResponder, Operation::Request, to));
        }
        // In place before the request leaves: a reply cannot come too early.
        let caller = self.register();
        let address = ReplyTo::new(self.bus.profile.instance.clone(), caller.number.to_string());
        let within = match options.deadline {
            Deadline::Within(within) => Some(within),
            Deadline::Never => None,
        };
        let mut message = message.with_reply_to(address);
        if let (Some(within), None) = (within, message.deadline()) {
            message = message.with_deadline(polybus_contract::UnixMillis::now().after(within));
        }
        if options.at_most_once {
            message.carried_mut().set_carried(polybus_contract::AT_MOST_ONCE, true);
        }
        let publish = PublishOptions::default()
            .with_confirm(Confirm::WhereAble)
            .with_send_number(options.send_number)
            .with_accept_loss(options.accept_loss);
        if let Tried::Done(sent) = self.try_publish(to, with_id(message), &publish) {
            sent.map_err(|error| as_request(&error, to))?;
        }
        let deadline = within.map(|within| Box::pin(sleep(within)));
        let awaited = Awaited::new(options.replies);
        Ok(Incoming::new(Answers { caller, deadline, awaited, target: to.clone() }))
    }

    /// Whether anybody consumes the queue, or anybody listens to the topic.
    fn served(&self, to: &Target) -> bool {
        self.bus.look(|state| match to {
            Target::Queue(queue) => match state.engine.find(queue.as_str()) {
                Some(found) => state.engine.consumers(found).is_some_and(|count| count > 0),
                // No such queue is another error, which the send will find.
                None => true,
            },
            Target::Topic(topic) => listened_to(state, topic),
        })
    }

    fn register(self: &Arc<Self>) -> Arc<Caller> {
        let call = Arc::new(Call::default());
        let number = self.bus.with(|state, _, _| {
            state.calls_made += 1;
            state.calls.insert(state.calls_made, call.clone());
            state.calls_made
        });
        let caller = Arc::new(Caller { handle: self.clone(), number, call });
        self.add_caller(&caller);
        caller
    }

    pub(crate) async fn reply(
        &self,
        to: &ReplyTo,
        mut message: Message,
        options: ReplyOptions,
    ) -> Result<Receipt> {
        self.open(Operation::Reply)?;
        let address = to.address_on(&self.bus.profile.instance)?;
        let number: u64 = address.parse().map_err(|_| {
            refuse(Kind::InvalidMessage, Operation::Reply, to)
                .with_detail("no address of this bus looks like that")
        })?;
        let Some(call) = self.bus.look(|state| state.calls.get(&number).cloned()) else {
            self.bus.late_replies.fetch_add(1, Ordering::Relaxed);
            return Ok(Receipt::Unclaimed);
        };
        let id = message.ensure_id().clone();
        let until = Instant::now() + options.within;
        let ReplyOptions { index, last, attempt, responder, error, .. } = options;
        let reply = Reply { message, responder, attempt, index, last, error };
        if call.push(reply, until).await? {
            return Ok(Receipt::Confirmed(Confirmed::new(id, Durability::Volatile)));
        }
        self.bus.late_replies.fetch_add(1, Ordering::Relaxed);
        Ok(Receipt::Unclaimed)
    }
}

fn listened_to(state: &State, topic: &Name) -> bool {
    let groups = state.engine.groups(topic.as_str()).unwrap_or_default();
    state.topics.get(topic).is_some_and(|side| !side.subscriptions.is_empty())
        || groups.iter().any(|group| state.engine.consumers(*group).is_some_and(|count| count > 0))
}

/// The same refusal, said of the request.
fn as_request(error: &Error, to: &Target) -> Error {
    let mut again = Error::new(error.kind(), Operation::Request).with_target(to).with_status(error.status());
    if let Some(detail) = error.detail() {
        again = again.with_detail(detail);
    }
    match error.message_id() {
        Some(id) => again.with_message_id(id.clone()),
        None => again,
    }
}

impl Call {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a reply, waiting for room; false: the caller is gone.
    async fn push(&self, reply: Reply, until: Instant) -> Result<bool> {
        let mut reply = Some(reply);
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            if let Some(claimed) = self.try_push(&mut reply) {
                return Ok(claimed);
            }
            if timeout_at(until, room).await.is_err() {
                return Err(Error::new(Kind::Full, Operation::Reply)
                    .with_status(Status::Temporary)
                    .with_detail("the caller reads more slowly than this answers"));
            }
        }
    }

    /// `None`: no room.
    fn try_push(&self, reply: &mut Option<Reply>) -> Option<bool> {
        let mut inner = self.inner();
        if inner.end.is_some() {
            return Some(false);
        }
        if inner.buffer.len() >= BUFFER {
            return None;
        }
        inner.buffer.extend(reply.take());
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        Some(true)
    }
}

impl Caller {
    /// Out of the table, and the end for whoever still reads.
    pub(crate) fn leave(&self, end: End) {
        self.handle.bus.with(|state, _, _| state.calls.remove(&self.number));
        let mut inner = self.call.inner();
        inner.end.get_or_insert(end);
        let waker = inner.waker.take();
        drop(inner);
        self.call.room.notify_waiters();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.leave(End::Stopped);
    }
}

/// The replies as they come.
struct Answers {
    caller: Arc<Caller>,
    deadline: Option<Pin<Box<Sleep>>>,
    awaited: Awaited,
    target: Target,
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Source<Reply> for Answers {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Arrival<Reply>, End>> {
        let mut inner = self.caller.call.inner();
        let next = inner.buffer.pop_front();
        if let Some(reply) = next {
            drop(inner);
            self.caller.call.room.notify_waiters();
            self.count(&reply);
            return Poll::Ready(Ok(Arrival::Item(reply)));
        }
        if let Some(end) = &inner.end {
            return Poll::Ready(Err(end.clone()));
        }
        inner.waker = Some(context.waker().clone());
        drop(inner);
        let over = self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(context).is_ready());
        if over { Poll::Ready(Err(self.timed_out())) } else { Poll::Pending }
    }

    fn stop(&mut self) {
        self.caller.leave(End::Stopped);
    }
}

impl Answers {
    /// Ends the call once all that was asked for has come.
    fn count(&mut self, reply: &Reply) {
        if self.awaited.is_complete_with(reply) {
            self.caller.leave(End::Complete);
        }
    }

    fn timed_out(&self) -> End {
        let end = self.awaited.at_deadline(&self.target);
        self.caller.leave(end.clone());
        end
    }
}
