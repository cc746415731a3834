//! The client: asks services, many calls in flight over one connection (PRISEM services specification, 5.1).

mod error;
mod look;
mod sends;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use polybus_contract::{
    Deadline, Error, Feature, Kind, Message, Name, Needs, Nobody, RequestOptions, Status, Target,
    TransportExt, UnixMillis, Upload,
};
use uuid::Uuid;

pub use error::CallError;
pub use look::Seen;

use crate::connect::Bus;
use crate::frame::{Appdata, DEFAULT_MAX_BYTES, Frame, Identity, ProtocolVersion, Received, Reply};
use crate::large::{self, Content, Unread};
use crate::log::{CallLine, Level, LogSink, NoLog};
use crate::outage::pause;
use crate::trace::TraceContext;
use sends::Sends;

/// Room for the properties of a request beside its frame: correlation id and content type.
const PROPERTIES: u64 = 64;

/// One call to a service.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Call {
    /// The service's short name.
    pub service: String,
    /// The first part of its queue's name.
    pub queue_base: String,
    /// The fields.
    pub appdata: Appdata,
    /// How long to wait.
    pub deadline: Deadline,
    /// What to do if nobody serves it.
    pub nobody: Nobody,
    /// Whether workers should leave a second attempt.
    pub at_most_once: bool,
    /// Whether the fields are sent as they are, right or wrong.
    pub verbatim: bool,
    /// The content of one of the fields, in parts; it is left empty among the fields.
    pub content: Option<Content>,
    /// Whether a standard output that comes in parts is left where it is, to be read part by part.
    pub streamed: bool,
}

impl Call {
    /// A call of `service` with these fields, on the queue of its name, within 30 s.
    #[must_use]
    pub fn new(service: &str, appdata: Appdata) -> Self {
        Self {
            service: service.to_owned(),
            queue_base: service.to_owned(),
            appdata,
            deadline: Deadline::default(),
            nobody: Nobody::default(),
            at_most_once: false,
            verbatim: false,
            content: None,
            streamed: false,
        }
    }

    /// Sends the content of one field in parts. Without it a frame that is larger than the bus takes goes that way by
    /// itself, where bus and servers can.
    #[must_use]
    pub fn with_content(mut self, content: Content) -> Self {
        self.content = Some(content);
        self
    }

    /// Leaves a standard output that comes in parts where it is: see [`Called::content`]. Default false: it is read into
    /// the reply, if it is not larger than a frame may be.
    #[must_use]
    pub const fn with_streamed(mut self, streamed: bool) -> Self {
        self.streamed = streamed;
        self
    }

    /// Another first part of the queue's name.
    #[must_use]
    pub fn with_queue_base(mut self, base: impl Into<String>) -> Self {
        self.queue_base = base.into();
        self
    }

    /// How long to wait. Default 30 s.
    #[must_use]
    pub fn with_deadline(mut self, deadline: impl Into<Deadline>) -> Self {
        self.deadline = deadline.into();
        self
    }

    /// What to do if nobody serves the queue. Default: wait.
    #[must_use]
    pub const fn with_nobody(mut self, nobody: Nobody) -> Self {
        self.nobody = nobody;
        self
    }

    /// Asks workers not to begin a second attempt. Default false.
    #[must_use]
    pub const fn with_at_most_once(mut self, once: bool) -> Self {
        self.at_most_once = once;
        self
    }

    /// Sends the fields as they are, right or wrong, as [`Frame::verbatim`] does. Default false.
    #[must_use]
    pub const fn with_verbatim(mut self, verbatim: bool) -> Self {
        self.verbatim = verbatim;
        self
    }
}

/// What a call brought.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Called {
    /// The reply's streams, retcode and error.
    pub reply: Reply,
    /// The frame it came in.
    pub frame: Received,
    /// What belongs to the reply and came in parts: a large standard output, of a streamed call. It goes when it was read
    /// to its end.
    pub content: Option<Content>,
    /// The call's correlation id, which is also the message's id.
    pub id: Uuid,
    /// From sending to reading.
    pub elapsed: Duration,
    /// The bytes of the request frame.
    pub request_bytes: u64,
    /// The bytes of the reply frame.
    pub reply_bytes: u64,
}

/// Asks services. Cheap to clone; calls may run at the same time.
#[derive(Clone)]
pub struct Client {
    bus: Bus,
    identity: Identity,
    protocol: ProtocolVersion,
    max_bytes: u64,
    resend: bool,
    trace: Option<TraceContext>,
    log: Arc<dyn LogSink>,
}

impl Client {
    /// A client that signs its frames with `identity`.
    #[must_use]
    pub fn new(bus: &Bus, identity: Identity) -> Self {
        Self {
            bus: bus.clone(),
            identity,
            protocol: ProtocolVersion::default(),
            max_bytes: DEFAULT_MAX_BYTES,
            resend: true,
            trace: None,
            log: Arc::new(NoLog),
        }
    }

    /// The protocol version it writes. Default `0.5.5`.
    #[must_use]
    pub fn with_protocol(mut self, version: ProtocolVersion) -> Self {
        self.protocol = version;
        self
    }

    /// The largest frame sent or accepted, in bytes. Default 64 MiB.
    #[must_use]
    pub const fn with_max_bytes(mut self, max_bytes: u64) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// Whether a call waits for a bus that is away, and is sent again when the connection was lost on the way, until its
    /// deadline. Default true.
    #[must_use]
    pub const fn with_resend(mut self, resend: bool) -> Self {
        self.resend = resend;
        self
    }

    /// The trace that calls belong to where they are made outside of any span and any job; see [`TraceContext::current`]
    /// and [`TraceContext::from_environment`]. Default none.
    #[must_use]
    pub fn with_trace(mut self, trace: Option<TraceContext>) -> Self {
        self.trace = trace;
        self
    }

    /// Where log lines go. Default nowhere.
    #[must_use]
    pub fn with_log(mut self, log: Arc<dyn LogSink>) -> Self {
        self.log = log;
        self
    }

    /// What any client needs of its bus; [`Client::call`] refuses to call with less.
    #[must_use]
    pub fn needs() -> Needs {
        Needs::of([Feature::Queue, Feature::Request])
    }

    /// The queue of a call.
    ///
    /// # Errors
    /// [`Kind::InvalidName`].
    pub fn queue(&self, base: &str) -> Result<Name, CallError> {
        Ok(Name::new(self.protocol.queue(base))?)
    }

    /// Calls and waits for the reply. Whatever the retcode: a reply is a success here.
    ///
    /// Delivery is at least once: the service may run the job more than once, the caller gets one answer.
    /// Dropping the future gives up waiting; the job may still run.
    ///
    /// # Errors
    /// [`CallError`], whose [`exit_code`](CallError::exit_code) programs end with.
    pub async fn call(&self, call: Call) -> Result<Called, CallError> {
        self.bus.require(&Self::needs())?;
        let began = Instant::now();
        let id = Uuid::new_v4();
        let request = self.request(&call).await?;
        let request_bytes = request.body().len();
        let parts = request.body().as_parts().cloned();
        let trace = TraceContext::current().or_else(|| self.trace.clone());
        let called = match self.ask(&call, id, request, began, trace.as_ref()).await {
            Ok(reply) => self.called(&call, id, &reply, request_bytes, began).await,
            Err(failure) => Err(failure),
        };
        // Nobody sends this request again. What cannot be removed now goes when its time has passed.
        if let Some(stored) = parts.as_ref().and_then(|parts| parts.stored()) {
            let _ = stored.remove().await;
        }
        self.log_end(&call, id, request_bytes, began, trace.as_ref(), &called);
        called
    }

    async fn called(
        &self,
        call: &Call,
        id: Uuid,
        reply: &Message,
        request_bytes: u64,
        began: Instant,
    ) -> Result<Called, CallError> {
        let reply_bytes = reply.body().len();
        let (frame, content) = self.read(reply, call.streamed).await?;
        let reply = match frame.reply() {
            Some(Ok(reply)) => reply,
            Some(Err(field)) => return Err(CallError::not_understood(&field)),
            None => return Err(CallError::not_understood(&"it has no retcode")),
        };
        Ok(Called { reply, frame, content, id, elapsed: began.elapsed(), request_bytes, reply_bytes })
    }

    /// The message of a call: its frame, or its frame and a large content that lies beside the queue by then.
    async fn request(&self, call: &Call) -> Result<Message, CallError> {
        let (appdata, content) = if let Some(content) = &call.content {
            (call.appdata.clone().bytes(content.field.clone(), Bytes::new()), content.clone())
        } else {
            let frame = self.write(call, call.appdata.clone())?;
            match self.too_much(&frame, call) {
                Some(split) => split,
                None => return Ok(Message::new(frame)),
            }
        };
        let frame = self.write(call, appdata)?;
        Ok(self.stored(call, content).await?.message(frame))
    }

    /// The fields without the largest content, and that one apart, if the frame is larger than the bus takes.
    fn too_much(&self, frame: &[u8], call: &Call) -> Option<(Appdata, Content)> {
        let capability = self.bus.transport().lend_profile().capability;
        let fits = capability.max_message.is_none_or(|limit| frame.len() as u64 + PROPERTIES <= limit);
        if fits || !capability.large_body {
            return None;
        }
        let (field, content, rest) = call.appdata.without_largest()?;
        Some((rest, Content::new(field, Arc::new(content))))
    }

    /// Stored once, however often the request is sent.
    async fn stored(&self, call: &Call, content: Content) -> Result<Content, CallError> {
        let instance = self.bus.transport().lend_profile().instance.clone();
        if content.parts.stored().is_some_and(|stored| stored.is_on(&instance)) {
            return Ok(content);
        }
        let mut upload = self.begin_content(call).await?;
        match upload.write_all(&*content.parts).await {
            Ok(()) => Ok(Content::new(content.field, upload.finish().await?)),
            Err(error) => {
                upload.abandon().await;
                Err(error.into())
            }
        }
    }

    /// Begins the content of a call that is written part by part; finish it, and give it to [`Call::with_content`].
    ///
    /// # Errors
    /// [`Kind::Unsupported`], or [`Kind::TooLarge`] if those who serve the queue do not read parts: before anything is
    /// sent; [`Kind::Full`], [`Kind::Disconnected`].
    pub async fn begin_content(&self, call: &Call) -> Result<Upload, CallError> {
        let queue = self.queue(&call.queue_base)?;
        Ok(large::begin(&**self.bus.transport(), &queue, call.deadline).await?)
    }

    fn write(&self, call: &Call, appdata: Appdata) -> Result<Vec<u8>, CallError> {
        let frame = Frame::request(&call.service, appdata, &self.identity).protocol(&self.protocol);
        Ok(frame.verbatim(call.verbatim).write(self.max_bytes)?)
    }

    /// Sends, and sends again with the same id and the old deadline while the connection is being lost.
    async fn ask(
        &self,
        call: &Call,
        id: Uuid,
        request: Message,
        began: Instant,
        trace: Option<&TraceContext>,
    ) -> Result<Message, CallError> {
        let queue = self.queue(&call.queue_base)?;
        let message = request
            .with_id(id)
            .with_correlation_id(id.to_string())
            .with_content_type("application/json")
            .with_created(UnixMillis::now());
        let message = match trace {
            Some(trace) => trace.put_on(message, &self.bus.transport().lend_profile().fidelity),
            None => message,
        };
        let mut sends = Sends::default();
        loop {
            let options = self.options(call, sends.resends, began)?;
            let failure = match self.bus.transport().call(&queue, message.clone(), options).await {
                Ok(reply) => return Ok(reply.message),
                Err(failure) => failure,
            };
            if !self.resend || !sends.is_worth_another(&failure) {
                return Err(self.named_missing(call, failure).await);
            }
            self.log.log(Level::Notice, &sends.line(id, &failure));
            tokio::time::sleep(pause(sends.failures)).await;
        }
    }

    fn options(&self, call: &Call, resends: u32, began: Instant) -> Result<RequestOptions, CallError> {
        let deadline = match call.deadline {
            Deadline::Within(within) => match within.checked_sub(began.elapsed()) {
                Some(left) if !left.is_zero() => Deadline::Within(left),
                _ => return Err(self.too_late(call)),
            },
            Deadline::Never => Deadline::Never,
        };
        Ok(RequestOptions::default()
            .with_deadline(deadline)
            .with_nobody(call.nobody)
            .with_at_most_once(call.at_most_once)
            .with_send_number(resends))
    }

    fn too_late(&self, call: &Call) -> CallError {
        let error = Error::new(Kind::DeadlineExceeded, polybus_contract::Operation::Request);
        let named = match self.queue(&call.queue_base) {
            Ok(queue) => error.with_target(Target::Queue(queue)),
            Err(_) => error,
        };
        CallError::Bus(named.with_status(Status::Unknown))
    }

    /// The frame of a reply. A content behind it becomes part of it, unless it is read part by part.
    async fn read(&self, reply: &Message, streamed: bool) -> Result<(Received, Option<Content>), CallError> {
        let (frame, content) = large::read(reply, self.max_bytes).await.map_err(|unread| match unread {
            Unread::Bus(error) => CallError::Bus(error),
            Unread::Frame(fault) => CallError::not_understood(&fault),
        })?;
        match content {
            Some(content) if !streamed => {
                let bytes = content.read(self.max_bytes).await?;
                Ok((frame.with_content(&content.field, &bytes), None))
            }
            content => Ok((frame, content)),
        }
    }

    fn log_end(
        &self,
        call: &Call,
        id: Uuid,
        request_bytes: u64,
        began: Instant,
        trace: Option<&TraceContext>,
        called: &Result<Called, CallError>,
    ) {
        let (retcode, reply_bytes) = match called {
            Ok(called) => (called.reply.retcode, called.reply_bytes),
            Err(error) => {
                self.log.log(Level::Error, &format!("call of {} failed: {error}", call.service));
                (error.exit_code().into(), 0)
            }
        };
        let trace_id = trace.map(TraceContext::trace_id);
        let line = CallLine {
            service: &call.service,
            side: "client",
            retcode,
            elapsed: began.elapsed(),
            request_bytes,
            reply_bytes,
            correlation_id: &id.to_string(),
            trace_id: trace_id.as_deref(),
        };
        self.log.log(Level::Info, &line.to_string());
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("bus", &self.bus)
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}
