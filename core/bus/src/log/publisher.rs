//! Log lines onto the fanout (PRISEM services specification, 9.1).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use polybus_contract::{
    Confirm, Error, Fidelity, Kind, Message, Name, PublishOptions, Status, Target, Topic, TopicGrade,
    Topology, Transport,
};
use tokio_util::sync::CancellationToken;

use super::buffer::{Buffer, Next};
use super::{Level, LogLine, LogSink, identity_line};
use crate::frame::Identity;

/// How long one publish may take.
const PUBLISH_WITHIN: Duration = Duration::from_secs(5);

/// How long to wait before a line is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A longer message is cut, so that the buffer is bounded in bytes too.
const MAX_MESSAGE: usize = 32 << 10;

tokio::task_local! {
    /// Set while log lines are being published, so that what the bus says about that is not logged again.
    static PUBLISHING: ();
}

/// True on the task that publishes log lines.
pub(super) fn is_publishing() -> bool {
    PUBLISHING.try_with(|()| ()).is_ok()
}

/// In which form lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LineForm {
    /// That of all programs.
    #[default]
    Full,
    /// `UUID: MESSAGE`, as old servers wrote (`--compat server-lines`).
    Server,
}

/// What a [`LogPublisher`] sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogOptions {
    /// The least urgent lines that are sent. Default [`Level::Info`].
    pub least: Level,
    /// Whether the identity line comes first. Default true.
    pub introduce: bool,
    /// The form of lines. Default [`LineForm::Full`].
    pub form: LineForm,
    /// What the topic is if it has to be made. Default plain.
    pub grade: TopicGrade,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            least: Level::default(),
            introduce: true,
            form: LineForm::default(),
            grade: TopicGrade::default(),
        }
    }
}

impl LogOptions {
    /// Sets [`LogOptions::least`].
    #[must_use]
    pub const fn with_least(mut self, least: Level) -> Self {
        self.least = least;
        self
    }

    /// Sets [`LogOptions::introduce`].
    #[must_use]
    pub const fn with_introduce(mut self, introduce: bool) -> Self {
        self.introduce = introduce;
        self
    }

    /// Sets [`LogOptions::form`].
    #[must_use]
    pub const fn with_form(mut self, form: LineForm) -> Self {
        self.form = form;
        self
    }

    /// Sets [`LogOptions::grade`].
    #[must_use]
    pub const fn with_grade(mut self, grade: TopicGrade) -> Self {
        self.grade = grade;
        self
    }
}

/// What became of the lines when publishing ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogReport {
    /// Lines that were still waiting.
    pub waiting: u64,
    /// Lines that were dropped, from the beginning on: at the bound, by failures, or after the end.
    pub dropped: u64,
}

/// Publishes log lines to a topic from one task of its own. Logging never waits for the bus and never fails: at most
/// 1000 lines wait, then the oldest are dropped, counted, and the number is logged when the buffer drains.
///
/// Dropping it lets the task send what waits; it ends then, at the latest with the first failure.
#[derive(Debug)]
pub struct LogPublisher {
    identity: Identity,
    options: LogOptions,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    buffer: Buffer,
    trouble: Mutex<Option<Error>>,
    abort: CancellationToken,
    finished: CancellationToken,
}

impl LogPublisher {
    /// Starts the task that declares `topic` and publishes to it. Must be called inside a tokio runtime. Does not wait
    /// for the bus, which may be down.
    #[must_use]
    pub fn start(
        transport: &Arc<dyn Transport>,
        topic: &Name,
        identity: &Identity,
        options: LogOptions,
    ) -> Self {
        let shared: Arc<Shared> = Arc::default();
        let introduction = || written(identity, options.form, None, Level::Info, &identity_line(identity));
        let task = Task {
            transport: Arc::clone(transport),
            topic: graded(topic, options.grade),
            identity: identity.clone(),
            form: options.form,
            introduction: options.introduce.then(introduction),
            shared: Arc::clone(&shared),
        };
        tokio::spawn(PUBLISHING.scope((), task.run()));
        Self { identity: identity.clone(), options, shared }
    }

    /// The last failure to publish, for `--verbose`; none if there was none.
    #[must_use]
    pub fn trouble(&self) -> Option<Error> {
        self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes no more lines and waits until those that wait are sent, at most `within`. What is then left is not sent.
    /// Cancel safe: dropping the future leaves the task at its work.
    pub async fn finish(&self, within: Duration) -> LogReport {
        self.shared.buffer.close();
        if tokio::time::timeout(within, self.shared.finished.cancelled()).await.is_err() {
            self.shared.abort.cancel();
        }
        let (waiting, dropped) = self.shared.buffer.counts();
        LogReport { waiting, dropped }
    }
}

impl LogSink for LogPublisher {
    fn log(&self, level: Level, message: &str) {
        self.log_of(None, level, message);
    }

    fn log_of(&self, component: Option<&str>, level: Level, message: &str) {
        if level <= self.options.least {
            self.shared.buffer.push(written(&self.identity, self.options.form, component, level, message));
        }
    }
}

impl Drop for LogPublisher {
    fn drop(&mut self) {
        self.shared.buffer.close();
    }
}

fn graded(name: &Name, grade: TopicGrade) -> Topic {
    match grade {
        TopicGrade::Plain => Topic::new(name.clone()),
        TopicGrade::Durable => Topic::durable(name.clone()),
    }
}

fn written(
    identity: &Identity,
    form: LineForm,
    component: Option<&str>,
    level: Level,
    message: &str,
) -> String {
    let message = &bounded(message);
    match form {
        LineForm::Full => LogLine { time: Timestamp::now(), identity, component, level, message }.to_string(),
        LineForm::Server => format!("{}: {}", identity.id, super::escape::one_line(message)),
    }
}

/// A message of at most [`MAX_MESSAGE`] bytes, which says how much is missing.
fn bounded(message: &str) -> String {
    if message.len() <= MAX_MESSAGE {
        return message.to_owned();
    }
    let kept = message.floor_char_boundary(MAX_MESSAGE);
    format!("{}... ({} bytes more)", &message[..kept], message.len() - kept)
}

/// The one task that publishes.
struct Task {
    transport: Arc<dyn Transport>,
    topic: Topic,
    identity: Identity,
    form: LineForm,
    /// The identity line, which comes first and is never dropped for others.
    introduction: Option<String>,
    shared: Arc<Shared>,
}

/// Whether publishing goes on after a failure.
#[derive(Debug, PartialEq, Eq)]
enum After {
    Retry,
    Skip,
    GiveUp,
}

impl Task {
    async fn run(self) {
        let _finished = self.shared.finished.clone().drop_guard();
        let abort = self.shared.abort.clone();
        abort.run_until_cancelled(self.work()).await;
        // Whoever still logs is not heard any more; let the count say so.
        self.shared.buffer.close();
    }

    async fn work(&self) {
        if !(self.declared().await && self.introduced().await) {
            return self.shared.buffer.discard();
        }
        loop {
            let line = match self.shared.buffer.next().await {
                Next::Line(line) => line,
                Next::Dropped(count) => {
                    let message = format!("log lines dropped: {count}");
                    written(&self.identity, self.form, None, Level::Warning, &message)
                }
                Next::End => return,
            };
            if !self.published(line).await {
                return self.shared.buffer.discard();
            }
        }
    }

    /// Sees to the topic. False if there is no use in going on.
    async fn declared(&self) -> bool {
        let topology = Topology::new().topic(self.topic.clone());
        loop {
            let Err(error) = self.transport.declare(&topology).await else { return true };
            match self.after(error) {
                After::Retry => tokio::time::sleep(RETRY_AFTER).await,
                // Another one may declare it, or it may need no declaring.
                After::Skip => return true,
                After::GiveUp => return false,
            }
        }
    }

    async fn introduced(&self) -> bool {
        match &self.introduction {
            Some(line) => self.published(line.clone()).await,
            None => true,
        }
    }

    /// Publishes one line, or counts it as lost. False if there is no use in going on.
    async fn published(&self, line: String) -> bool {
        let to = Target::Topic(self.topic.name.clone());
        let options = PublishOptions::default()
            .with_confirm(Confirm::No)
            .with_within(PUBLISH_WITHIN)
            .with_accept_loss(Fidelity::all());
        let message = Message::new(line).with_content_type("text/plain");
        loop {
            let sent = self.transport.publish(&to, message.clone(), options.clone()).await;
            let Err(error) = sent else { return true };
            match self.after(error) {
                After::Retry => tokio::time::sleep(RETRY_AFTER).await,
                outcome => {
                    self.shared.buffer.lost();
                    return outcome == After::Skip;
                }
            }
        }
    }

    /// Only a failure that is surely none of the line's, and before the end, is worth another try.
    fn after(&self, error: Error) -> After {
        let after = match error.status() {
            _ if matches!(error.kind(), Kind::Closed | Kind::Unsupported(_) | Kind::Unauthorized) => {
                After::GiveUp
            }
            _ if self.shared.buffer.is_closed() => After::GiveUp,
            Status::Temporary => After::Retry,
            _ => After::Skip,
        };
        *self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        after
    }
}
