//! From a job to a frame and back (PRISEM services specification, 5.2).

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use polybus_contract::{Keep, Message, Reason};

use super::server::DeadLetterPolicy;
use super::{Service, ServiceRequest};
use crate::frame::{
    Answer, Frame, Identity, KNOWN_VERSIONS, Received, Refusal, RefusalCode, WriteError, terse_body,
};
use crate::log::{CallLine, Level, LogSink};
use crate::worker::{Abandoned, Handler, Job, Verdict};

/// A [`Service`] as a [`Handler`].
pub(crate) struct FrameHandler {
    pub(crate) service: Arc<dyn Service>,
    pub(crate) identity: Identity,
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
            Ok(frame) => {
                let answer = self.answer(&job, &frame).await;
                self.reply(&job, Some(&frame), &answer, began)
            }
            Err(refusal) => self.reject(&job, &refusal, began).await,
        }
    }

    fn abandoned(&self, job: &Job, why: &Abandoned) -> Verdict {
        let code = match why {
            Abandoned::Panicked => RefusalCode::Internal,
            Abandoned::TimeLimit(_) | Abandoned::Deadline => RefusalCode::Deadline,
            Abandoned::AtMostOnce => RefusalCode::Poison,
            Abandoned::ReplyTooLarge { .. } => RefusalCode::TooLarge,
        };
        let refusal = Refusal::new(code, why.error().text);
        self.reply(job, None, &refusal.answer(self.service.name()), Instant::now())
    }
}

impl FrameHandler {
    async fn read(&self, job: &Job) -> Result<Received, Refusal> {
        let body = job.message.body().read(self.max_bytes).await.map_err(|error| unread(&error))?;
        let frame = Received::read(&body, self.max_bytes).map_err(|fault| fault.refusal())?;
        self.log.log(Level::Debug, &format!("request {}", frame.terse().compact()));
        Ok(frame)
    }

    async fn answer(&self, job: &Job, frame: &Received) -> Answer {
        let served = match self.check(frame) {
            Ok(()) => self.service.serve(request(job, frame)).await,
            Err(refusal) => Err(refusal),
        };
        served.unwrap_or_else(|refusal| {
            self.log.log(Level::Warning, &refusal.line(self.service.name()));
            refusal.answer(self.service.name())
        })
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

    fn reply(&self, job: &Job, asked: Option<&Received>, answer: &Answer, began: Instant) -> Verdict {
        let retcode = answer.retcode;
        let body = self.write(asked, answer);
        self.log_call(job, retcode, body.len(), began);
        Verdict::Reply(Box::new(reply_message(job, body)))
    }

    async fn reject(&self, job: &Job, refusal: &Refusal, began: Instant) -> Verdict {
        let line = refusal.line(self.service.name());
        self.log.log(Level::Warning, &line);
        let keep = self.kept(job).await;
        let Verdict::Reply(reply) = self.reply(job, None, &refusal.answer(self.service.name()), began) else {
            return Verdict::Done;
        };
        Verdict::Reject { reply: Some(reply), reason: Reason::Decode, error: line, keep }
    }

    async fn kept(&self, job: &Job) -> Keep {
        match self.dead_letters {
            DeadLetterPolicy::Full => Keep::Body,
            DeadLetterPolicy::Off => Keep::Nothing,
            DeadLetterPolicy::Terse => {
                let body = job.message.body().read(self.max_bytes).await.unwrap_or_default();
                Keep::Substitute(terse_body(&body).into())
            }
        }
    }

    fn write(&self, asked: Option<&Received>, answer: &Answer) -> Vec<u8> {
        let name = self.service.name();
        if let Some(asked) = asked.filter(|asked| asked.is_generation0() && self.generation0) {
            return answer.write_generation0(asked, &self.identity);
        }
        let written = Frame::reply(name, answer, &self.identity).write(self.max_bytes);
        written.unwrap_or_else(|fault| {
            let refusal = unwritten(&fault);
            self.log.log(Level::Error, &refusal.line(name));
            let frame = Frame::reply(name, &refusal.answer(name), &self.identity);
            // An error reply is a few hundred bytes: only an absurd limit refuses it too.
            frame.write(self.max_bytes).unwrap_or_default()
        })
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

    fn log_call(&self, job: &Job, retcode: u8, reply_bytes: usize, began: Instant) {
        let line = CallLine {
            service: self.service.name(),
            side: "server",
            retcode: retcode.into(),
            elapsed: began.elapsed(),
            request_bytes: job.message.body().len(),
            reply_bytes: reply_bytes as u64,
            correlation_id: &correlation(job),
        };
        self.log.log(Level::Info, &line.to_string());
    }
}

fn request(job: &Job, frame: &Received) -> ServiceRequest {
    ServiceRequest {
        frame: frame.clone(),
        attempt: job.attempt,
        deadline: job.message.deadline().copied(),
        cancelled: job.cancelled.clone(),
    }
}

fn reply_message(job: &Job, body: Vec<u8>) -> Message {
    let message = Message::new(Bytes::from(body)).with_content_type("application/json");
    match job.message.correlation_id() {
        Some(id) => message.with_correlation_id(id.clone()),
        None => message,
    }
}

fn correlation(job: &Job) -> String {
    job.message.correlation_id().cloned().unwrap_or_else(|| "-".to_owned())
}

fn unread(error: &polybus_contract::Error) -> Refusal {
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
