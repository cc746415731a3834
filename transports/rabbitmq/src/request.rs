//! Requests and their replies.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::options::BasicConsumeOptions;
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use polybus_contract::{
    Arrival, Awaited, Deadline, End, Error, Incoming, Kind, Message, Name, Nobody, Operation, Reply, ReplyTo,
    RequestOptions, Result, Source, Status, Target,
};
use tokio::sync::{Mutex as TurnMutex, oneshot};
use tokio::time::{Instant, Sleep, sleep, timeout};
use uuid::Uuid;

use crate::config::ReplyVia;
use crate::connection::{Core, count, locked};
use crate::error::{down, of_broker};
use crate::header::{known, short};
use crate::message::{Table, address, decode, encode};
use crate::outlet::{Route, Verdict};
use crate::publish::{full, judged, place};
use crate::session::{ANSWER, Session, Way};
use crate::subscribe::private_queue;
use crate::topology::is_there;

/// The pseudo queue of the broker's direct reply-to, and how its addresses begin.
pub(crate) const DIRECT: &str = "amq.rabbitmq.reply-to";

/// Replies that wait for their caller at most; of a faster responder the rest is missed, and the call fails.
const BUFFER: usize = 65_536;

/// How long sending a request may take, waiting for a connection included, if its deadline is later. One that has left by
/// then, and is not confirmed, waits for its reply.
const SENDING: Duration = Duration::from_secs(10);

/// The calls that wait, by the correlation id that a reply has to repeat.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    waiting: Mutex<HashMap<Arc<str>, Arc<Call>>>,
    /// The reply path of the session it belongs to.
    path: TurnMutex<Option<Path>>,
}

#[derive(Clone, Debug)]
struct Path {
    generation: u64,
    queue: String,
}

/// Where the replies to one request arrive.
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

impl Calls {
    fn waiting(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Call>>> {
        locked(&self.waiting)
    }

    pub(crate) fn pending(&self) -> u64 {
        self.waiting().len() as u64
    }

    /// Ends all of them.
    pub(crate) fn end(&self, end: &End) {
        let calls: Vec<_> = self.waiting().drain().map(|(_, call)| call).collect();
        for call in calls {
            call.end(end.clone());
        }
    }

    /// The reply path is gone with its connection; whether the jobs run is not known.
    pub(crate) fn lose(&self) {
        let error = Error::new(Kind::Disconnected, Operation::Request)
            .with_status(Status::Unknown)
            .with_detail("the connection that the reply would have come over is lost");
        self.end(&End::Failed(error));
    }
}

impl Call {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, end: End) {
        let mut inner = self.inner();
        inner.end.get_or_insert(end);
        let waker = inner.waker.take();
        drop(inner);
        waker.into_iter().for_each(Waker::wake);
    }

    fn push(&self, reply: Reply) {
        let mut inner = self.inner();
        if inner.buffer.len() >= BUFFER {
            drop(inner);
            self.end(End::Failed(full("the caller reads its replies too slowly")));
            return;
        }
        inner.buffer.push_back(reply);
        let waker = inner.waker.take();
        drop(inner);
        waker.into_iter().for_each(Waker::wake);
    }
}

/// The caller's side of a call: dropping it takes the call out of the table (G8, G11).
#[derive(Debug)]
struct Caller {
    core: Arc<Core>,
    correlation: Arc<str>,
    call: Arc<Call>,
    /// Its own reply queue goes with this.
    own: Option<oneshot::Sender<()>>,
}

impl Core {
    pub(crate) async fn request(
        self: &Arc<Self>,
        to: &Target,
        message: Message,
        options: RequestOptions,
    ) -> Result<Incoming<Reply>> {
        self.open(Operation::Request)?;
        let within = match options.deadline {
            Deadline::Within(within) => Some(within),
            Deadline::Never => None,
        };
        let began = Instant::now();
        let until = began + within.map_or(SENDING, |within| within.min(SENDING));
        let asked = self.ask(to, message, &options, within, until).await;
        let caller = asked.map_err(|error| as_request(&error, to))?;
        let deadline =
            within.map(|within| Box::pin(sleep((began + within).saturating_duration_since(Instant::now()))));
        Ok(Incoming::new(Answers {
            caller,
            deadline,
            awaited: Awaited::new(options.replies),
            target: to.clone(),
        }))
    }

    async fn ask(
        self: &Arc<Self>,
        to: &Target,
        mut message: Message,
        options: &RequestOptions,
        within: Option<Duration>,
        until: Instant,
    ) -> Result<Caller> {
        let id = message.ensure_id().clone();
        loop {
            let session = self.session(until, Operation::Request).await?;
            if options.nobody == Nobody::Fail {
                self.is_served(&session, to).await?;
            }
            let (caller, reply_to) = self.caller(&session).await?;
            let address = address(&reply_to, Some(&caller.correlation));
            message = message.with_reply_to(ReplyTo::new(self.instance.clone(), address));
            let sent = self.send_request(&session, to, &message, within, until).await;
            let late = sent.as_ref().is_err_and(|error| error.kind() == Kind::DeadlineExceeded);
            if late && within.is_some_and(|within| within > SENDING) {
                // It has left, a broker that has just started confirms late, and a reply says more than a confirm.
                return Ok(caller);
            }
            match sent.map_err(|error| error.with_message_id(id.clone()))? {
                Verdict::Taken => return Ok(caller),
                Verdict::Returned if matches!(to, Target::Topic(_)) && options.nobody == Nobody::Wait => {
                    return Ok(caller);
                }
                Verdict::Returned => return Err(nobody_there(to).with_message_id(id)),
                Verdict::Refused => return Err(full("the queue is at its bound").with_message_id(id)),
                // Nothing has left: the next session has another reply path.
                _ if Instant::now() >= until => {
                    return Err(down(Operation::Request, "the connection is lost"));
                }
                _ => sleep(Duration::from_millis(10)).await,
            }
        }
    }

    async fn is_served(&self, session: &Session, to: &Target) -> Result<()> {
        let Target::Queue(name) = to else { return Ok(()) };
        match is_there(session, &self.wire(name.as_str())).await? {
            None => Err(Error::new(Kind::Unroutable, Operation::Request)),
            Some((_, 0)) => Err(Error::new(Kind::NoResponder, Operation::Request)),
            Some(_) => Ok(()),
        }
    }

    /// A call in the table, and where its replies go. It is there before the request leaves: no reply comes too early.
    async fn caller(self: &Arc<Self>, session: &Arc<Session>) -> Result<(Caller, String)> {
        let correlation: Arc<str> =
            Arc::from(&*Uuid::new_v4().hyphenated().encode_lower(&mut Uuid::encode_buffer()));
        let call = Arc::new(Call::default());
        let mut caller =
            Caller { core: self.clone(), correlation: correlation.clone(), call: call.clone(), own: None };
        self.calls.waiting().insert(correlation, call);
        if self.open(Operation::Request).is_err() {
            return Err(crate::error::closed(Operation::Request));
        }
        let reply_to = match self.config.reply {
            ReplyVia::Direct => {
                self.reply_path(session).await?;
                DIRECT.to_owned()
            }
            ReplyVia::Queue => self.reply_path(session).await?,
            ReplyVia::Each => Box::pin(self.own_path(session, &mut caller)).await?,
        };
        Ok((caller, reply_to))
    }

    /// A reply queue for one call.
    async fn own_path(self: &Arc<Self>, session: &Arc<Session>, caller: &mut Caller) -> Result<String> {
        let queue = private_queue(session, None).await?;
        let channel = session.consumer_channel().await?;
        let consumer = consume(&channel, &queue).await?;
        let (here, gone) = oneshot::channel();
        caller.own = Some(here);
        let (call, correlation) = (Arc::downgrade(&caller.call), caller.correlation.clone());
        tokio::spawn(take_own(self.clone(), call, correlation, channel, consumer, gone));
        Ok(queue)
    }

    /// The shared reply path of the session, made when it is first needed.
    async fn reply_path(self: &Arc<Self>, session: &Arc<Session>) -> Result<String> {
        let mut path = self.calls.path.lock().await;
        if let Some(path) = path.as_ref().filter(|path| path.generation == session.generation) {
            return Ok(path.queue.clone());
        }
        Box::pin(self.open_path(session, &mut path)).await
    }

    async fn open_path(self: &Arc<Self>, session: &Arc<Session>, path: &mut Option<Path>) -> Result<String> {
        let (channel, queue) = if self.config.reply == ReplyVia::Direct {
            // It works on the channel only that the request is published on.
            let outlet = session.outlet(Way::Requests).await?;
            ((*outlet.channel).clone(), DIRECT.to_owned())
        } else {
            (session.consumer_channel().await?, private_queue(session, None).await?)
        };
        let consumer = consume(&channel, &queue).await?;
        tokio::spawn(take_replies(Arc::downgrade(self), session.generation, channel, consumer));
        *path = Some(Path { generation: session.generation, queue: queue.clone() });
        Ok(queue)
    }

    async fn send_request(
        self: &Arc<Self>,
        session: &Arc<Session>,
        to: &Target,
        message: &Message,
        within: Option<Duration>,
        until: Instant,
    ) -> Result<Verdict> {
        session.unblocked(until, Operation::Request).await?;
        match to {
            Target::Queue(name) => {
                let mut raw = encode(message, &self.instance, Table::default())?;
                if let Some(lives) = within.and_then(|within| short(within.as_millis().to_string())) {
                    raw.properties = raw.properties.with_expiration(lives);
                }
                let (outlet, permit) = place(session, Way::Requests, until).await?;
                judged(outlet.publish(permit, self.route(&self.wire(name.as_str())), raw), until).await
            }
            Target::Topic(name) => Box::pin(self.ask_around(session, name, message, until)).await,
        }
    }

    async fn ask_around(
        self: &Arc<Self>,
        session: &Arc<Session>,
        topic: &Name,
        message: &Message,
        until: Instant,
    ) -> Result<Verdict> {
        self.see_to_topic(session, topic).await?;
        let route = Route { exchange: known(&self.wire(topic.as_str())), key: known(""), mandatory: true };
        self.confirmed_numbered(session, topic, message, route, until).await
    }
}

/// Replies have nobody to settle them.
async fn consume(channel: &Channel, queue: &str) -> Result<Consumer> {
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let consumer =
        timeout(ANSWER, channel.basic_consume(known(queue), known(""), options, FieldTable::default())).await;
    consumer
        .map_err(|_| down(Operation::Request, "the broker did not answer in time"))?
        .map_err(|error| of_broker(&error, Operation::Request))
}

/// Gives each reply on the shared path to its call. It holds the channel, and with it the queue, while it runs.
async fn take_replies(core: Weak<Core>, generation: u64, channel: Channel, mut consumer: Consumer) {
    while let Some(Ok(delivery)) = consumer.next().await {
        let Some(core) = core.upgrade() else { return };
        let correlation = delivery.properties.correlation_id().clone();
        let call = correlation.and_then(|id| core.calls.waiting().get(id.as_str()).cloned());
        match call {
            Some(call) => call.push(reply_of(delivery, &core.instance)),
            None => dropped(&core.counts.late_replies, &delivery),
        }
    }
    drop(channel);
    let Some(core) = core.upgrade() else { return };
    let mut path = core.calls.path.lock().await;
    if path.as_ref().is_some_and(|path| path.generation == generation) {
        *path = None;
        core.calls.lose();
    }
}

/// Takes the replies of one call from its own queue, which goes with the caller.
async fn take_own(
    core: Arc<Core>,
    call: Weak<Call>,
    correlation: Arc<str>,
    channel: Channel,
    mut consumer: Consumer,
    mut gone: oneshot::Receiver<()>,
) {
    loop {
        let next = tokio::select! {
            next = consumer.next() => next,
            _ = &mut gone => break,
        };
        let (Some(Ok(delivery)), Some(call)) = (next, call.upgrade()) else { break };
        let repeated = delivery.properties.correlation_id().as_ref().map(ShortString::as_str);
        if repeated.is_none_or(|repeated| repeated == &*correlation) {
            call.push(reply_of(delivery, &core.instance));
        } else {
            dropped(&core.counts.late_replies, &delivery);
        }
    }
    drop(channel);
}

/// A reply that nobody waits for: a late one, a second one, or one with somebody else's correlation id.
fn dropped(late: &AtomicU64, delivery: &lapin::message::Delivery) {
    count(late, 1);
    let correlation = delivery.properties.correlation_id().as_ref().map(ShortString::as_str);
    let shown: Option<String> =
        correlation.map(|id| id.chars().take(64).flat_map(char::escape_default).collect());
    tracing::debug!(correlation = shown, "a reply that nobody waits for is dropped");
}

fn reply_of(delivery: lapin::message::Delivery, instance: &Arc<str>) -> Reply {
    let decoded = decode(&delivery.properties, &Bytes::from(delivery.data), instance);
    decoded.way.reply(decoded.message)
}

fn nobody_there(to: &Target) -> Error {
    let kind = if matches!(to, Target::Topic(_)) { Kind::NoResponder } else { Kind::Unroutable };
    Error::new(kind, Operation::Request)
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

impl Caller {
    /// Out of the table, and the end for whoever still reads.
    fn leave(&self, end: End) {
        self.core.calls.waiting().remove(&self.correlation);
        self.call.end(end);
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.leave(End::Stopped);
    }
}

/// The replies as they come.
struct Answers {
    caller: Caller,
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
