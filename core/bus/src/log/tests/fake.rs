//! A bus that does what a test tells it.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use polybus_contract::{
    Arrival, Capability, ConsumeOptions, Declared, Delivery, DrainReport, End, Error, Fidelity, Health,
    Incoming, Intake, Kind, Message, MessageId, Name, Operation, Profile, PublishOptions, Receipt, Reply,
    ReplyOptions, ReplyTo, RequestOptions, Result, Source, Status, SubscribeOptions, Target, Topology,
    Transport,
};
use tokio::sync::Semaphore;

/// Remembers what is published, fails as often as it is told, and waits while its gate is shut.
#[derive(Debug)]
pub(super) struct Fake {
    pub(super) failures: Mutex<VecDeque<(Kind, Status)>>,
    pub(super) lines: Mutex<Vec<String>>,
    pub(super) arrivals: Mutex<VecDeque<Arrival<Message>>>,
    pub(super) gate: Semaphore,
}

impl Fake {
    pub(super) fn new() -> Self {
        Self {
            failures: Mutex::default(),
            lines: Mutex::default(),
            arrivals: Mutex::default(),
            gate: Semaphore::new(1),
        }
    }

    /// The next publish fails so.
    pub(super) fn fail(self, kind: Kind, status: Status) -> Self {
        self.failures.lock().unwrap().push_back((kind, status));
        self
    }

    /// No publish ends any more.
    pub(super) fn shut(self) -> Self {
        self.gate.forget_permits(1);
        self
    }

    /// The messages of all lines so far.
    pub(super) fn messages(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        lines.iter().map(|line| super::Record::read(line.as_bytes()).message).collect()
    }
}

fn refused<T>(operation: Operation) -> Result<T> {
    Err(Error::new(Kind::Protocol, operation))
}

#[async_trait]
impl Transport for Fake {
    fn profile(&self) -> Profile {
        Profile::new("fake", "test", Capability::default(), Fidelity::all())
    }

    async fn connect(&self, _within: Duration) -> Result<()> {
        Ok(())
    }

    async fn declare(&self, _topology: &Topology) -> Result<Declared> {
        Ok(Declared::default())
    }

    async fn publish(&self, _to: &Target, message: Message, _options: PublishOptions) -> Result<Receipt> {
        tracing::warn!(target: "polybus", "about to publish");
        drop(self.gate.acquire().await);
        if let Some((kind, status)) = self.failures.lock().unwrap().pop_front() {
            return Err(Error::new(kind, Operation::Publish).with_status(status));
        }
        let body = message.body().as_bytes().unwrap().to_vec();
        self.lines.lock().unwrap().push(String::from_utf8(body).unwrap());
        Ok(Receipt::Handed(MessageId::fresh()))
    }

    async fn consume(&self, _from: &Intake, _options: ConsumeOptions) -> Result<Incoming<Delivery>> {
        refused(Operation::Consume)
    }

    async fn subscribe(&self, _topic: &Name, _options: SubscribeOptions) -> Result<Incoming<Message>> {
        Ok(Incoming::new(Recorded(std::mem::take(&mut *self.arrivals.lock().unwrap()))))
    }

    async fn request(
        &self,
        _to: &Target,
        _message: Message,
        _options: RequestOptions,
    ) -> Result<Incoming<Reply>> {
        refused(Operation::Request)
    }

    async fn reply(&self, _to: &ReplyTo, _message: Message, _options: ReplyOptions) -> Result<Receipt> {
        refused(Operation::Reply)
    }

    fn health(&self) -> Health {
        Health::default()
    }

    async fn drain(&self, _within: Duration) -> DrainReport {
        DrainReport::default()
    }
}

/// Arrivals that were recorded before.
#[derive(Debug)]
struct Recorded(VecDeque<Arrival<Message>>);

impl Source<Message> for Recorded {
    fn poll_next(&mut self, _context: &mut Context<'_>) -> Poll<std::result::Result<Arrival<Message>, End>> {
        Poll::Ready(self.0.pop_front().ok_or(End::Drained))
    }

    fn set_credit(&mut self, _credit: u32) -> Result<()> {
        Ok(())
    }

    fn stop(&mut self) {
        self.0.clear();
    }
}
