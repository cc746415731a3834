//! The client: asks services, many calls in flight over one connection (PRISEM services specification, 5.1).

mod error;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use polybus_contract::{
    Deadline, Error, Feature, Kind, Message, Name, Needs, Nobody, RequestOptions, Status, Target,
    TransportExt, UnixMillis,
};
use uuid::Uuid;

pub use error::CallError;

use crate::connect::Bus;
use crate::frame::{Appdata, DEFAULT_MAX_BYTES, Frame, Identity, ProtocolVersion, Received, Reply};
use crate::log::{CallLine, Level, LogSink, NoLog};

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
        }
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

    /// Whether a call is sent again when the connection was lost on the way. Default true.
    #[must_use]
    pub const fn with_resend(mut self, resend: bool) -> Self {
        self.resend = resend;
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
        let body = self.write(&call)?;
        let request_bytes = body.len() as u64;
        let reply = self.ask(&call, id, body.into(), began).await;
        let reply_bytes = reply.as_ref().map_or(0, |body| body.len() as u64);
        let called = reply.and_then(|body| self.read(&body)).map(|(reply, frame)| Called {
            reply,
            frame,
            id,
            elapsed: began.elapsed(),
            request_bytes,
            reply_bytes,
        });
        self.log_end(&call, id, request_bytes, began, &called);
        called
    }

    fn write(&self, call: &Call) -> Result<Vec<u8>, CallError> {
        let frame =
            Frame::request(&call.service, call.appdata.clone(), &self.identity).protocol(&self.protocol);
        Ok(frame.verbatim(call.verbatim).write(self.max_bytes)?)
    }

    /// Sends, and sends again with the same id and the old deadline while the connection is being lost.
    async fn ask(&self, call: &Call, id: Uuid, body: Bytes, began: Instant) -> Result<Bytes, CallError> {
        let queue = self.queue(&call.queue_base)?;
        let message = Message::new(body)
            .with_id(id)
            .with_correlation_id(id.to_string())
            .with_content_type("application/json")
            .with_created(UnixMillis::now());
        let mut sends = 0;
        loop {
            let options = self.options(call, sends, began)?;
            let failure = match self.bus.transport().call(&queue, message.clone(), options).await {
                Ok(reply) => return Ok(reply.message.body().read(self.max_bytes).await?),
                Err(failure) => failure,
            };
            if !self.resend || failure.kind() != Kind::Disconnected {
                return Err(failure.into());
            }
            sends += 1;
            self.log
                .log(Level::Notice, &format!("sending again correlation_id={id} sends={sends}: {failure}"));
            tokio::time::sleep(pause(sends)).await;
        }
    }

    fn options(&self, call: &Call, sends: u32, began: Instant) -> Result<RequestOptions, CallError> {
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
            .with_send_number(sends))
    }

    fn too_late(&self, call: &Call) -> CallError {
        let error = Error::new(Kind::DeadlineExceeded, polybus_contract::Operation::Request);
        let named = match self.queue(&call.queue_base) {
            Ok(queue) => error.with_target(Target::Queue(queue)),
            Err(_) => error,
        };
        CallError::Bus(named.with_status(Status::Unknown))
    }

    fn read(&self, body: &Bytes) -> Result<(Reply, Received), CallError> {
        let frame =
            Received::read(body, self.max_bytes).map_err(|fault| CallError::not_understood(&fault))?;
        match frame.reply() {
            Some(Ok(reply)) => Ok((reply, frame)),
            Some(Err(field)) => Err(CallError::not_understood(&field)),
            None => Err(CallError::not_understood(&"it has no retcode")),
        }
    }

    fn log_end(
        &self,
        call: &Call,
        id: Uuid,
        request_bytes: u64,
        began: Instant,
        called: &Result<Called, CallError>,
    ) {
        let (retcode, reply_bytes) = match called {
            Ok(called) => (called.reply.retcode, called.reply_bytes),
            Err(error) => {
                self.log.log(Level::Error, &format!("call of {} failed: {error}", call.service));
                (error.exit_code().into(), 0)
            }
        };
        let line = CallLine {
            service: &call.service,
            side: "client",
            retcode,
            elapsed: began.elapsed(),
            request_bytes,
            reply_bytes,
            correlation_id: &id.to_string(),
        };
        self.log.log(Level::Info, &line.to_string());
    }
}

/// 0.2 s, doubled, at most 5 s, with up to a quarter of jitter so that many callers do not come back as one.
fn pause(sends: u32) -> Duration {
    let base = Duration::from_millis(200 << sends.saturating_sub(1).min(5)).min(Duration::from_secs(5));
    let quarter = u64::try_from(base.as_millis() / 4).unwrap_or(0);
    let random = u64::from(Uuid::new_v4().as_fields().0);
    base.saturating_sub(Duration::from_millis(random % quarter.max(1)))
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("bus", &self.bus)
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}
