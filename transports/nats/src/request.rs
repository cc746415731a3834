//! Requests and their replies.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_nats::header::HeaderMap;
use polybus_contract::{
    Arrival, Awaited, Deadline, End, Error, Gap, GapCause, Incoming, Kind, Message, Name, Nobody, Operation,
    Receipt, RemoteError, Reply, ReplyOptions, ReplyTo, RequestOptions, Result, Source, Status, Target,
};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, Sleep, sleep};

use crate::connection::{Handle, locked};
use crate::door::{SERVICE_ERROR, SERVICE_ERROR_CODE};
use crate::error::refuse;
use crate::link::{Link, Outgoing, nobody};
use crate::message::{self, ANSWER, Raw, as_json};
use crate::publish::fits;

/// Replies that wait for their caller at most; what is beyond shows as a gap.
const BUFFER: usize = 8192;

/// How long handing over a request may take, whatever its deadline.
const HAND_OVER: Duration = Duration::from_secs(30);

/// How long somebody who serves a queue may take to say so. Who is slower counts as there.
const SAY_SO: Duration = Duration::from_secs(1);

/// What a reply says of itself, beside its message.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Note {
    #[serde(rename = "i", skip_serializing_if = "is_zero")]
    index: u32,
    /// More parts follow.
    #[serde(rename = "m", skip_serializing_if = "std::ops::Not::not")]
    more: bool,
    #[serde(rename = "a", skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(rename = "r", skip_serializing_if = "Option::is_none")]
    responder: Option<String>,
    /// Code and text.
    #[serde(rename = "e", skip_serializing_if = "Option::is_none")]
    error: Option<(String, String)>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
const fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// Where the replies to one request arrive. In the table exactly as long as its caller wants them.
pub(crate) struct Call {
    instance: Arc<str>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    buffer: VecDeque<Reply>,
    missed: u64,
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

    /// A message came to the address of this call.
    pub(crate) fn arrive(&self, message: async_nats::Message) {
        // A status is the server's, not a reply.
        if message.status.is_some() {
            return;
        }
        let read = read_reply(message, &self.instance);
        let mut inner = self.inner();
        if inner.end.is_some() {
            return;
        }
        match read {
            Ok(reply) if inner.buffer.len() < BUFFER => inner.buffer.push_back(reply),
            Ok(_) => inner.missed += 1,
            Err(why) => {
                inner.end =
                    Some(End::Failed(Error::new(Kind::Protocol, Operation::Request).with_detail(why)));
            }
        }
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn end(&self, end: End) {
        let mut inner = self.inner();
        inner.end.get_or_insert(end);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn fail(&self, error: Error) {
        self.end(End::Failed(error));
    }
}

fn read_reply(message: async_nats::Message, instance: &Arc<str>) -> Result<Reply, String> {
    let note = message.headers.as_ref().and_then(|headers| headers.get(ANSWER));
    // Without a note it is the answer of a program that knows nothing of Polybus: one, and whole.
    let note = match note {
        Some(note) => {
            serde_json::from_str::<Note>(note.as_str()).map_err(|_| "the reply cannot be read".to_owned())?
        }
        None => Note::default(),
    };
    let raw = Raw { headers: message.headers, body: message.payload, made_up: None };
    let mut reply = Reply::new(message::decode(&raw, instance)?);
    reply.responder = note.responder;
    reply.attempt = note.attempt;
    reply.index = note.index;
    reply.last = !note.more;
    reply.error = note.error.map(|(code, text)| RemoteError { code, text });
    Ok(reply)
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
        self.handle.waiting.forget(self.number);
        self.call.end(end);
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
        message: Message,
        options: &RequestOptions,
    ) -> Result<Incoming<Reply>> {
        self.open(Operation::Request)?;
        let within = match options.deadline {
            Deadline::Within(within) => Some(within),
            Deadline::Never => None,
        };
        let until = Instant::now() + within.unwrap_or(HAND_OVER).min(HAND_OVER);
        let deadline = within.map(|within| Box::pin(sleep(within)));
        let link = self.link(Operation::Request, until).await.map_err(|error| error.with_target(to))?;
        if options.nobody == Nobody::Fail {
            Box::pin(self.served(&link, to)).await?;
        }
        // In place before the request leaves: a reply cannot come too early.
        let (caller, address) = self.call_out();
        self.post_request(to, message, address, options.send_number, until).await?;
        let awaited = Awaited::new(options.replies);
        Ok(Incoming::new(Answers { caller, deadline, awaited, target: to.clone() }))
    }

    fn call_out(self: &Arc<Self>) -> (Arc<Caller>, String) {
        let call = Arc::new(Call { instance: self.instance.clone(), inner: Mutex::default() });
        let (number, address) = self.waiting.call(call.clone());
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
        (caller, address)
    }

    /// Refuses if nobody consumes the queue, or nobody listens to the topic.
    async fn served(&self, link: &Link, to: &Target) -> Result<()> {
        match to {
            Target::Queue(queue) => self.queue_served(link, queue).await,
            Target::Topic(topic) => {
                // A durable topic keeps the request for its groups.
                let stream = self.names.topic_stream(topic);
                if link.jetstream && link.stream(&stream, Operation::Request).await?.is_some() {
                    return Ok(());
                }
                let asked = ask_who_serves(link, self.names.listen_subject(topic)).await?;
                if asked { Ok(()) } else { Err(refuse(Kind::NoResponder, Operation::Request, to)) }
            }
        }
    }

    async fn queue_served(&self, link: &Link, queue: &Name) -> Result<()> {
        if ask_who_serves(link, self.names.serve_subject(queue)).await? {
            return Ok(());
        }
        // No such queue is another error, which the send will find.
        match link.stream(&self.names.queue_stream(queue), Operation::Request).await? {
            Some(_) => Err(refuse(Kind::NoResponder, Operation::Request, format!("queue {queue}"))),
            None => Ok(()),
        }
    }

    pub(crate) async fn reply(
        self: &Arc<Self>,
        to: &ReplyTo,
        mut message: Message,
        options: ReplyOptions,
    ) -> Result<Receipt> {
        self.open(Operation::Reply)?;
        let address = to.address_on(&self.instance)?.to_owned();
        if !self.is_inbox(&address) {
            return Err(refuse(Kind::InvalidMessage, Operation::Reply, "the caller")
                .with_detail(format!("replies go to subjects below {} only", self.config.inbox)));
        }
        let until = Instant::now() + options.within;
        let id = message.ensure_id().clone();
        let mut headers = message::encode(&message, None)?;
        if let Some(error) = &options.error {
            // For callers that came through the door: they know no header of ours.
            headers.insert(SERVICE_ERROR_CODE, "500");
            headers.insert(SERVICE_ERROR, plain(&error.code));
        }
        headers.insert(ANSWER, as_json(&note(options))?);
        let link = self.link(Operation::Reply, until).await?;
        let body = message.body().as_bytes().cloned().unwrap_or_default();
        fits(&link, "the caller", &headers, body.len())
            .map_err(|error| crate::link::again_as(&error, Operation::Reply))?;
        let sent = self.hand_reply(&link, address, headers, body, until).await;
        sent.map_err(|error| crate::link::again_as(&error, Operation::Reply).with_message_id(id.clone()))?;
        Ok(Receipt::Handed(id))
    }

    async fn hand_reply(
        &self,
        link: &Link,
        address: String,
        headers: HeaderMap,
        body: bytes::Bytes,
        until: Instant,
    ) -> Result<()> {
        link.send(Outgoing::new(address, body).with_headers(headers), None, until).await?;
        self.publisher.handed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Whether an address may be answered: whoever sends a request could name any subject as its address, and we may
    /// be allowed to send where its sender is not.
    pub(crate) fn is_inbox(&self, address: &str) -> bool {
        let below = address.strip_prefix(&self.config.inbox).and_then(|rest| rest.strip_prefix('.'));
        below.is_some_and(|rest| {
            rest.len() <= 255
                && rest.split('.').all(|word| !word.is_empty())
                && rest.bytes().all(|b| b.is_ascii_graphic() && b != b'*' && b != b'>')
        })
    }
}

/// Whether somebody answers on this subject. Only a clear no counts as one.
async fn ask_who_serves(link: &Link, subject: String) -> Result<bool> {
    let asked = link.ask(Outgoing::new(subject, ""), Operation::Request, Instant::now() + SAY_SO).await;
    match asked {
        Ok(answer) => Ok(!nobody(&answer)),
        Err(error) if error.status() == Status::Unknown => Ok(true),
        Err(error) => Err(error),
    }
}

/// A text as a header can hold it.
fn plain(text: &str) -> String {
    text.escape_default().to_string()
}

fn note(options: ReplyOptions) -> Note {
    Note {
        index: options.index,
        more: !options.last,
        attempt: options.attempt,
        responder: options.responder,
        error: options.error.map(|error| (error.code, error.text)),
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
        if let Some(reply) = inner.buffer.pop_front() {
            drop(inner);
            self.count(&reply);
            return Poll::Ready(Ok(Arrival::Item(reply)));
        }
        if inner.missed > 0 {
            let missed = Some(std::mem::take(&mut inner.missed));
            return Poll::Ready(Ok(Arrival::Gap(Gap { missed, cause: GapCause::SlowReader })));
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
