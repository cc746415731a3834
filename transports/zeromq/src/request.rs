//! Requests and their replies.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use polybus_contract::{
    Arrival, Awaited, Deadline, End, Incoming, Message, Operation, Receipt, Reply, ReplyOptions, ReplyTo,
    RequestOptions, Result, Source, Target,
};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::connection::{Handle, locked};
use crate::consume::end_of;
use crate::error::{LOST, unknown, unreadable};
use crate::link::{Link, Slot};
use crate::publish::{GRACE, line, named};
use crate::wire::frame::{Packet, kind};
use crate::wire::receipt::ReceiptLine;
use crate::wire::reply::ReplyLine;
use crate::wire::verbs::{CreditHeader, ReplyHeader, RequestHeader, StopHeader};

/// Replies that are taken before the broker is told that there is room for as many more.
const TAKEN: u32 = 32;

/// How long handing over a request may take, whatever its deadline.
const HAND_OVER: Duration = Duration::from_secs(30);

/// Where the replies to one request arrive. In the table exactly as long as its caller wants them. What waits here is
/// bounded by what the broker may send without being told that there is room.
#[derive(Default)]
pub(crate) struct Call {
    inner: Mutex<Inner>,
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

impl Call {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reply, or the end.
    pub(crate) fn arrive(&self, packet: Packet, link: &Link) {
        match packet.kind {
            kind::ANSWER => match read(packet, link) {
                Ok(reply) => {
                    let mut inner = self.inner();
                    inner.buffer.push_back(reply);
                    wake(inner);
                }
                Err(fault) => self.end(End::Failed(unreadable(Operation::Request, fault))),
            },
            kind::END => self.end(end_of(&packet, Operation::Request)),
            _ => {}
        }
    }

    fn end(&self, end: End) {
        let mut inner = self.inner();
        inner.end.get_or_insert(end);
        wake(inner);
    }

    /// The broker does not know of it any more.
    pub(crate) fn lost(&self) {
        self.end(End::Failed(unknown(Operation::Request, LOST)));
    }
}

fn wake(mut inner: MutexGuard<'_, Inner>) {
    let waker = inner.waker.take();
    drop(inner);
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn read(mut packet: Packet, link: &Link) -> Result<Reply, String> {
    let reply: ReplyLine = packet.read()?;
    let instance = &link.profile.instance;
    reply.reply(packet.take_body(), |address| ReplyTo::new(instance.clone(), address.as_str()))
}

/// The caller's side of a call: dropping it takes the call out of the table (G8, G11).
#[derive(Debug)]
pub(crate) struct Caller {
    handle: Arc<Handle>,
    number: u64,
    call: Arc<Call>,
}

impl Caller {
    /// Out of the table, and the end for whoever still reads.
    pub(crate) fn leave(&self, end: End) {
        let known = self.handle.switch.remove_stream(self.number);
        let mut inner = self.call.inner();
        let over = inner.end.is_some();
        if !over {
            inner.end = Some(end);
        }
        let completed = matches!(inner.end, Some(End::Complete));
        wake(inner);
        // A call that is complete, or that the broker has ended, it does not know any longer.
        if let Some(link) = self.handle.switch.link().filter(|_| known && !over && !completed) {
            link.tell(&Packet::new(kind::STOP, self.number, &StopHeader { gone: true }));
        }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.leave(End::Stopped);
    }
}

impl Handle {
    pub(crate) async fn request(
        self: &Arc<Self>,
        to: &Target,
        mut message: Message,
        options: RequestOptions,
    ) -> Result<Incoming<Reply>> {
        self.open(Operation::Request)?;
        let id = message.ensure_id().clone();
        let asked = self.ask_for(to, &message, options).await;
        asked.map_err(|error| named(error, to, id))
    }

    async fn ask_for(
        self: &Arc<Self>,
        to: &Target,
        message: &Message,
        mut options: RequestOptions,
    ) -> Result<Incoming<Reply>> {
        let began = Instant::now();
        let within = match options.deadline {
            Deadline::Within(within) => Some(within),
            Deadline::Never => None,
        };
        let deadline = within.and_then(|within| began.checked_add(within));
        let until = began + within.unwrap_or(HAND_OVER).min(HAND_OVER);
        let link = self.link(Operation::Request, until).await?;
        if let Some(deadline) = deadline {
            options.deadline = Deadline::Within(deadline.saturating_duration_since(Instant::now()));
        }
        // In place before the request leaves: a reply cannot come too early.
        let caller = self.call_out();
        let header = RequestHeader { to: to.into(), message: line(message), options: (&options).into() };
        let packet =
            Packet::new(kind::REQUEST, caller.number, &header).with_body(message.body().head().clone());
        link.ask(packet, Operation::Request, until + GRACE).await?;
        Ok(Incoming::new(Answers {
            caller,
            deadline,
            timer: None,
            awaited: Awaited::new(options.replies),
            target: to.clone(),
            taken: 0,
        }))
    }

    fn call_out(self: &Arc<Self>) -> Arc<Caller> {
        let (call, number) = (Arc::<Call>::default(), self.switch.number());
        self.switch.add_stream(number, Slot::Call(call.clone()));
        let caller = Arc::new(Caller { handle: self.clone(), number, call });
        let mut callers = locked(&self.callers);
        if callers.len() == callers.capacity() {
            callers.retain(|caller| caller.strong_count() > 0);
        }
        callers.push(Arc::downgrade(&caller));
        drop(callers);
        if self.is_closed() {
            caller.leave(End::Drained);
        }
        caller
    }

    pub(crate) async fn reply(
        self: &Arc<Self>,
        to: &ReplyTo,
        mut message: Message,
        options: ReplyOptions,
    ) -> Result<Receipt> {
        self.open(Operation::Reply)?;
        let address = to.address_on(&self.profile().instance)?.to_owned();
        let id = message.ensure_id().clone();
        let until = Instant::now() + options.within + GRACE;
        let body = message.body().head().clone();
        let header = ReplyHeader { to: address, message: line(&message), options: (&options).into() };
        let packet = |number| Packet::new(kind::REPLY, number, &header).with_body(body);
        let answer = self.ask(packet, Operation::Reply, until).await;
        let answer = answer.map_err(|error| error.with_message_id(id.clone()))?;
        let receipt: ReceiptLine = answer.read().map_err(|fault| unreadable(Operation::Reply, fault))?;
        receipt.receipt(id).map_err(|fault| unreadable(Operation::Reply, fault))
    }
}

/// The replies as they come.
struct Answers {
    caller: Arc<Caller>,
    deadline: Option<Instant>,
    /// Made when somebody has to wait: most replies are there by then.
    timer: Option<Pin<Box<Sleep>>>,
    awaited: Awaited,
    target: Target,
    taken: u32,
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Source<Reply> for Answers {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Arrival<Reply>, End>> {
        let mut inner = self.caller.call.inner();
        if let Some(reply) = inner.buffer.pop_front() {
            drop(inner);
            self.count(&reply);
            return Poll::Ready(Ok(Arrival::Item(reply)));
        }
        if let Some(end) = &inner.end {
            return Poll::Ready(Err(end.clone()));
        }
        inner.waker = Some(context.waker().clone());
        drop(inner);
        let Some(deadline) = self.deadline else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.as_mut().poll(context).is_ready() {
            let end = self.awaited.at_deadline(&self.target);
            self.caller.leave(end.clone());
            return Poll::Ready(Err(end));
        }
        Poll::Pending
    }

    fn stop(&mut self) {
        self.caller.leave(End::Stopped);
    }
}

impl Answers {
    /// Ends the call once all that was asked for has come, else tells the broker that there is room again.
    fn count(&mut self, reply: &Reply) {
        if self.awaited.is_complete_with(reply) {
            self.caller.leave(End::Complete);
            return;
        }
        self.taken += 1;
        if self.taken == TAKEN {
            self.taken = 0;
            if let Some(link) = self.caller.handle.link_now() {
                link.tell(&Packet::new(kind::CREDIT, self.caller.number, &CreditHeader { credit: TAKEN }));
            }
        }
    }
}
