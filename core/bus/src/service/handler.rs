//! From a job to a frame and back (PRISEM services specification, 5.2).

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use polybus_contract::{Keep, Message, Reason, StoredParts, Transport};

use super::server::DeadLetterPolicy;
use super::{Service, ServiceRequest};
use crate::frame::{
    Answer, Frame, Identity, KNOWN_VERSIONS, ProtocolVersion, Received, Refusal, RefusalCode, WriteError,
    terse_body,
};
use crate::large::{self, Content, Outbox, Unread};
use crate::log::{CallLine, Level, LogSink};
use crate::worker::{Abandoned, Handler, Job, Verdict};

/// How often a long job is spoken of.
const PROGRESS: Duration = Duration::from_secs(30);

/// A [`Service`] as a [`Handler`].
pub(crate) struct FrameHandler {
    pub(crate) bus: Arc<dyn Transport>,
    pub(crate) service: Arc<dyn Service>,
    pub(crate) identity: Identity,
    pub(crate) protocol: ProtocolVersion,
    pub(crate) max_bytes: u64,
    pub(crate) generation0: bool,
    pub(crate) dead_letters: DeadLetterPolicy,
    pub(crate) log: Arc<dyn LogSink>,
}

#[async_trait]
impl Handler for FrameHandler {
    async fn handle(&self, job: Job) -> Verdict {
        let began = Instant::now();
        self.log_arrival(&job);
        match self.read(&job).await {
            Ok((frame, content)) => {
                let outbox = self.outbox(&job);
                let answer = self.answer(request(&job, &frame, content, outbox.clone())).await;
                let stdout = outbox.and_then(|outbox| outbox.take_stdout());
                self.reply(&job, Some(&frame), &answer, stdout, began)
            }
            Err(refusal) => self.reject(&job, &refusal, began).await,
        }
    }

    fn abandoned(&self, job: &Job, why: &Abandoned) -> Verdict {
        let code = match why {
            Abandoned::Panicked => RefusalCode::Internal,
            Abandoned::TimeLimit(_) | Abandoned::Deadline => RefusalCode::Deadline,
            Abandoned::AtMostOnce | Abandoned::Spent { .. } => RefusalCode::Poison,
            Abandoned::ReplyTooLarge { .. } => RefusalCode::TooLarge,
        };
        let refusal = Refusal::new(code, why.error().text);
        self.reply(job, None, &refusal.answer(self.service.name()), None, Instant::now())
    }

    async fn kept(&self, job: &Job) -> Keep {
        match self.dead_letters {
            DeadLetterPolicy::Full => Keep::Body,
            DeadLetterPolicy::Off => Keep::Nothing,
            DeadLetterPolicy::Terse => {
                let head = Content::of(&job.message).map(|_| job.message.body().head().clone());
                let body = match head {
                    Some(head) => head,
                    None => job.message.body().read(self.max_bytes).await.unwrap_or_default(),
                };
                Keep::Substitute(terse_body(&body).into())
            }
        }
    }
}

impl FrameHandler {
    /// The frame, and the content behind it if the service reads such part by part.
    async fn read(&self, job: &Job) -> Result<(Received, Option<Content>), Refusal> {
        let (frame, content) = large::read(&job.message, self.max_bytes).await.map_err(unread)?;
        self.log.log(Level::Debug, &format!("request {}", frame.terse().compact()));
        match content {
            Some(content) if self.service.streams() != Some(content.field.as_str()) => {
                let bytes = content.read(self.max_bytes).await.map_err(|error| unread(Unread::Bus(error)))?;
                Ok((frame.with_content(&content.field, &bytes), None))
            }
            content => Ok((frame, content)),
        }
    }

    fn outbox(&self, job: &Job) -> Option<Outbox> {
        let able = job.message.takes_parts() && self.bus.lend_profile().capability.large_body;
        able.then(|| Outbox::new(self.bus.clone()))
    }

    async fn answer(&self, request: ServiceRequest) -> Answer {
        let served = match self.check(&request.frame) {
            Ok(()) => self.with_progress(self.service.serve(request)).await,
            Err(refusal) => Err(refusal),
        };
        served.unwrap_or_else(|refusal| {
            self.log.log(Level::Warning, &refusal.line(self.service.name()));
            refusal.answer(self.service.name())
        })
    }

    /// Says from time to time that a long job is still being done (PRISEM services specification, 5.5).
    async fn with_progress<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        for round in 1_u32.. {
            if let Ok(done) = tokio::time::timeout(PROGRESS, &mut work).await {
                return done;
            }
            self.log.log(Level::Info, &format!("progress seconds={}", (PROGRESS * round).as_secs()));
        }
        work.await
    }

    /// A version or name that is missing passes.
    fn check(&self, frame: &Received) -> Result<(), Refusal> {
        if !frame.is_compatible() || (frame.is_generation0() && !self.generation0) {
            let got = frame.protocolver().or(frame.generation()).unwrap_or("0");
            return Err(Refusal::version_mismatch(got, &KNOWN_VERSIONS));
        }
        match frame.name() {
            Some(name) if !name.eq_ignore_ascii_case(self.service.name()) => {
                Err(Refusal::name_mismatch(name, self.service.name()))
            }
            _ => Ok(()),
        }
    }

    fn reply(
        &self,
        job: &Job,
        asked: Option<&Received>,
        answer: &Answer,
        stdout: Option<Arc<StoredParts>>,
        began: Instant,
    ) -> Verdict {
        let retcode = answer.retcode;
        let body = self.write(asked, answer);
        let message = match stdout {
            Some(stdout) => Content::new("stdout", stdout).message(body),
            None => Message::new(Bytes::from(body)),
        };
        self.log_call(job, retcode, message.body().len(), began);
        Verdict::Reply(Box::new(reply_message(job, message)))
    }

    async fn reject(&self, job: &Job, refusal: &Refusal, began: Instant) -> Verdict {
        let line = refusal.line(self.service.name());
        self.log.log(Level::Warning, &line);
        let keep = self.kept(job).await;
        let Verdict::Reply(reply) = self.reply(job, None, &refusal.answer(self.service.name()), None, began)
        else {
            return Verdict::Done;
        };
        Verdict::Reject { reply: Some(reply), reason: Reason::Decode, error: line, keep }
    }

    fn write(&self, asked: Option<&Received>, answer: &Answer) -> Vec<u8> {
        let name = self.service.name();
        if let Some(asked) = asked.filter(|asked| asked.is_generation0() && self.generation0) {
            return answer.write_generation0(asked, &self.identity);
        }
        let written = self.frame(answer).write(self.max_bytes);
        written.unwrap_or_else(|fault| {
            let refusal = unwritten(&fault);
            self.log.log(Level::Error, &refusal.line(name));
            let frame = self.frame(&refusal.answer(name));
            // An error reply is a few hundred bytes: only an absurd limit refuses it too.
            frame.write(self.max_bytes).unwrap_or_default()
        })
    }

    /// The frame of an answer, in the version whose queue is served.
    fn frame(&self, answer: &Answer) -> Frame {
        Frame::reply(self.service.name(), answer, &self.identity).protocol(&self.protocol)
    }

    fn log_arrival(&self, job: &Job) {
        self.log.log(Level::Info, &crate::log::identity_line(&self.identity));
        let reply_to = job.message.reply_to().map_or_else(|| "-".to_owned(), ToString::to_string);
        let line = format!("routing_key={reply_to} correlation_id={}", correlation(job));
        self.log.log(Level::Info, &line);
        if job.message.reply_to().is_none() {
            self.log
                .log(Level::Warning, "the request has no reply address; it is served and its reply dropped");
        }
    }

    fn log_call(&self, job: &Job, retcode: u8, reply_bytes: u64, began: Instant) {
        let trace_id = job.trace().map(|trace| trace.trace_id());
        let line = CallLine {
            service: self.service.name(),
            side: "server",
            retcode: retcode.into(),
            elapsed: began.elapsed(),
            request_bytes: job.message.body().len(),
            reply_bytes,
            correlation_id: &correlation(job),
            trace_id: trace_id.as_deref(),
        };
        self.log.log(Level::Info, &line.to_string());
    }
}

fn request(job: &Job, frame: &Received, content: Option<Content>, outbox: Option<Outbox>) -> ServiceRequest {
    ServiceRequest {
        frame: frame.clone(),
        content,
        outbox,
        attempt: job.attempt,
        deadline: job.message.deadline().copied(),
        cancelled: job.cancelled.clone(),
    }
}

fn reply_message(job: &Job, message: Message) -> Message {
    let message = message.with_content_type("application/json");
    match job.message.correlation_id() {
        Some(id) => message.with_correlation_id(id.clone()),
        None => message,
    }
}

fn correlation(job: &Job) -> String {
    job.message.correlation_id().cloned().unwrap_or_else(|| "-".to_owned())
}

fn unread(fault: Unread) -> Refusal {
    let error = match fault {
        Unread::Bus(error) => error,
        Unread::Frame(fault) => return fault.refusal(),
    };
    let code = match error.kind() {
        polybus_contract::Kind::TooLarge { .. } => RefusalCode::TooLarge,
        _ => RefusalCode::Unavailable,
    };
    Refusal::new(code, error.to_string())
}

fn unwritten(fault: &WriteError) -> Refusal {
    let code = match fault {
        WriteError::TooLarge { .. } => RefusalCode::TooLarge,
        WriteError::NotStrict { .. } => RefusalCode::Internal,
    };
    Refusal::new(code, fault.to_string())
}
