//! The process that is killed: one server and one worker that say what they work on.

use std::time::Duration;

use async_trait::async_trait;
use polybus::frame::{Answer, Identity, Refusal, RefusalCode};
use polybus::{Bus, Handler, Job, Kind, Name, Operation, Result, Server, Service, ServiceRequest, Shutdown};
use polybus::{Error, Verdict, Worker};

use crate::word::Word;

/// The service, and the first part of its queue.
pub(crate) const SERVICE: &str = "storm";

/// The queue of jobs.
pub(crate) const JOBS: &str = "storm_jobs";

/// The field of a request that holds its number.
pub(crate) const NUMBER: &str = "number";

/// What one process works on at a time, of each kind.
const TOGETHER: u32 = 16;

/// No message becomes a dead letter only because its workers were killed: that is another test.
const ATTEMPTS: u32 = 10_000;

/// Works until a signal comes. The bus need not be there yet.
pub(crate) async fn work(url: &str) -> Result<()> {
    let bus = Bus::open(url)?;
    let no_signals =
        |error: std::io::Error| Error::new(Kind::Internal, Operation::Handle).with_detail(error.to_string());
    let shutdown = Shutdown::on_signals().map_err(no_signals)?;
    let identity = Identity::new("polybus-storm", "localdomain");
    let server = Server::new(&bus, identity, Calls).with_jobs(TOGETHER).with_max_attempts(ATTEMPTS);
    let jobs =
        Worker::new(&bus, Name::new(JOBS)?, Jobs).with_concurrency(TOGETHER).with_max_attempts(ATTEMPTS);
    tokio::try_join!(server.run(shutdown.clone()), jobs.run(shutdown))?;
    Ok(())
}

/// Work takes a while, so that kills find some of it half done.
async fn toil() {
    tokio::time::sleep(Duration::from_millis(fastrand::u64(0..8))).await;
}

/// Answers with the number of the request.
struct Calls;

#[async_trait]
impl Service for Calls {
    fn name(&self) -> &'static str {
        SERVICE
    }

    async fn serve(&self, request: ServiceRequest) -> Result<Answer, Refusal> {
        let number = request.frame.appdata().get(NUMBER).and_then(|number| number.as_str());
        let Some(number) = number.and_then(|number| number.parse().ok()) else {
            return Err(Refusal::new(RefusalCode::BadField, "no number"));
        };
        Word::Call(number).say();
        toil().await;
        Ok(Answer::ok(number.to_string()))
    }
}

struct Jobs;

#[async_trait]
impl Handler for Jobs {
    async fn handle(&self, job: Job) -> Verdict {
        let number =
            job.message.body().as_bytes().and_then(|body| std::str::from_utf8(body).ok()?.parse().ok());
        if let Some(number) = number {
            Word::Job(number).say();
        }
        toil().await;
        Verdict::Done
    }
}
