//! A transport that does nothing but count how often it was reached.

#[allow(dead_code, reason = "not every test looks into it")]
mod memory;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use polybus_contract::{
    Arrival, Capability, Confirm, Confirmed, ConsumeOptions, Declared, Delivery, DrainReport, Durability,
    End, Fidelity, Health, Hold, Incoming, Intake, LeaseTerms, Message, Name, Outcome, PartStore, Profile,
    PublishOptions, Receipt, Reply, ReplyOptions, ReplyTo, RequestOptions, Result, Settling, Source,
    SubscribeOptions, Target, Topology, Transport,
};

pub(crate) use memory::Memory;

#[derive(Debug)]
pub(crate) struct Fake {
    profile: Profile,
    calls: AtomicUsize,
    outcome: Arc<Mutex<String>>,
    /// What was published last, and is handed out.
    pub(crate) sent: Arc<Mutex<Option<Message>>>,
    pub(crate) memory: Arc<Memory>,
}

impl Fake {
    pub(crate) fn new(capability: Capability) -> Arc<Self> {
        Self::with_fidelity(capability, Fidelity::all())
    }

    pub(crate) fn with_fidelity(capability: Capability, fidelity: Fidelity) -> Arc<Self> {
        let profile = Profile::new("fake", "here", capability, fidelity);
        Arc::new(Self {
            profile,
            calls: AtomicUsize::new(0),
            outcome: Arc::default(),
            sent: Arc::default(),
            memory: Arc::default(),
        })
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn last_outcome(&self) -> String {
        self.outcome.lock().unwrap().clone()
    }

    fn called(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
    }
}

fn receipt(message: &Message, confirm: Confirm) -> Receipt {
    let id = message.id().expect("the checks give every message an id").clone();
    match confirm {
        Confirm::Required => Receipt::Confirmed(Confirmed::new(id, Durability::Volatile)),
        Confirm::WhereAble | Confirm::No => Receipt::Handed(id),
    }
}

#[async_trait]
impl Transport for Fake {
    fn profile(&self) -> Profile {
        self.profile.clone()
    }

    async fn connect(&self, _within: Duration) -> Result<()> {
        self.called();
        Ok(())
    }

    async fn declare(&self, _topology: &Topology) -> Result<Declared> {
        self.called();
        Ok(Declared::default())
    }

    async fn publish(&self, _to: &Target, message: Message, options: PublishOptions) -> Result<Receipt> {
        self.called();
        let receipt = receipt(&message, options.confirm);
        *self.sent.lock().unwrap() = Some(message);
        Ok(receipt)
    }

    async fn consume(&self, _from: &Intake, _options: ConsumeOptions) -> Result<Incoming<Delivery>> {
        self.called();
        Ok(Incoming::new(Endless { outcome: self.outcome.clone(), sent: self.sent.clone() }))
    }

    async fn subscribe(&self, _topic: &Name, _options: SubscribeOptions) -> Result<Incoming<Message>> {
        self.called();
        Ok(Incoming::new(Nothing))
    }

    async fn request(
        &self,
        _to: &Target,
        _message: Message,
        _options: RequestOptions,
    ) -> Result<Incoming<Reply>> {
        self.called();
        Ok(Incoming::new(Nothing))
    }

    async fn reply(&self, _to: &ReplyTo, message: Message, _options: ReplyOptions) -> Result<Receipt> {
        self.called();
        Ok(receipt(&message, Confirm::WhereAble))
    }

    fn health(&self) -> Health {
        Health::default()
    }

    async fn drain(&self, _within: Duration) -> DrainReport {
        DrainReport::default()
    }

    fn parts(&self) -> Option<Arc<dyn PartStore>> {
        Some(self.memory.clone())
    }
}

#[derive(Debug)]
struct Nothing;

impl<T> Source<T> for Nothing {
    fn poll_next(&mut self, _context: &mut Context<'_>) -> Poll<Result<Arrival<T>, End>> {
        Poll::Ready(Err(End::Complete))
    }
    fn set_credit(&mut self, _credit: u32) -> Result<()> {
        Ok(())
    }
    fn stop(&mut self) {}
}

#[derive(Debug)]
struct Endless {
    outcome: Arc<Mutex<String>>,
    sent: Arc<Mutex<Option<Message>>>,
}

impl Source<Delivery> for Endless {
    fn poll_next(&mut self, _context: &mut Context<'_>) -> Poll<Result<Arrival<Delivery>, End>> {
        let hold = Arc::new(Recorder { outcome: self.outcome.clone() });
        let queue = Name::new("q").unwrap();
        let terms = LeaseTerms::Timed(Duration::from_secs(1));
        let message = self.sent.lock().unwrap().clone().unwrap_or_else(|| Message::new("x"));
        Poll::Ready(Ok(Arrival::Item(Delivery::new(message, queue, 1, terms, hold))))
    }
    fn set_credit(&mut self, _credit: u32) -> Result<()> {
        Ok(())
    }
    fn stop(&mut self) {}
}

#[derive(Debug)]
struct Recorder {
    outcome: Arc<Mutex<String>>,
}

#[async_trait]
impl Hold for Recorder {
    fn settle(self: Arc<Self>, outcome: Outcome) -> Settling {
        let word = format!("{outcome:?}");
        let end = word.find([' ', '{']).unwrap_or(word.len());
        word[..end].clone_into(&mut self.outcome.lock().unwrap());
        Settling::done(Ok(()))
    }

    async fn renew(&self) -> Result<Option<Duration>> {
        Ok(None)
    }
}
