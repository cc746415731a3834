//! Numbered traffic that writes its own ledger.

use polybus_contract::{
    Confirm, Delivery, Incoming, Message, Name, Outcome, PublishOptions, Receipt, Result, Status,
    SubscribeOptions, Target, Transport,
};

use crate::case::{CaseResult, Fail};
use crate::ledger::{Entry, Event};
use crate::stage::Stage;
use crate::stamp::Stamp;

/// Makes numbered messages, sends them, and writes down what the bus said.
#[derive(Debug)]
pub struct Producer {
    stage: Stage,
    name: String,
    next: u64,
    filler: usize,
}

impl Producer {
    pub(crate) fn new(stage: &Stage, name: &str) -> Self {
        Self { stage: stage.clone(), name: name.to_owned(), next: 0, filler: 32 }
    }

    /// The same, with this many bytes of seeded filler behind each stamp. Default 32.
    #[must_use]
    pub const fn with_filler(mut self, bytes: usize) -> Self {
        self.filler = bytes;
        self
    }

    /// How many messages it has made.
    #[must_use]
    pub const fn made(&self) -> u64 {
        self.next
    }

    /// The next message and its stamp, not sent and not written down.
    pub fn message(&mut self) -> (Stamp, Message) {
        let filler = self.stage.bytes(self.filler);
        let stamp = Stamp::new(self.stage.run(), &self.name, self.next, &filler);
        self.next += 1;
        let message = Message::new(stamp.body(&filler));
        (stamp, message)
    }

    /// Sends the next message to a queue, confirmed where the bus can.
    ///
    /// # Errors
    /// [`Fail`] if it is not accepted, or the ledger cannot be written.
    pub async fn send(&mut self, bus: &dyn Transport, queue: &Name) -> CaseResult<Stamp> {
        let options = PublishOptions::default().with_confirm(self.stage.confirm_queue());
        self.publish(bus, &Target::Queue(queue.clone()), options).await
    }

    /// Sends `count` messages to a queue, one after another.
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub async fn send_many(&mut self, bus: &dyn Transport, queue: &Name, count: u64) -> CaseResult {
        for _ in 0..count {
            self.send(bus, queue).await?;
        }
        Ok(())
    }

    /// Publishes the next message.
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub async fn publish(
        &mut self,
        bus: &dyn Transport,
        to: &Target,
        options: PublishOptions,
    ) -> CaseResult<Stamp> {
        let (stamp, message) = self.message();
        self.hand_in(bus, to, &stamp, message, options).await?.map_err(|error| {
            Fail::from(error).during(format!("publish {}/{} to {to}", stamp.producer, stamp.sequence))
        })?;
        Ok(stamp)
    }

    /// Publishes a message of this stamp, writes down how it went, and gives back what the bus said: a failure too is
    /// an answer.
    ///
    /// # Errors
    /// [`Fail`] if the ledger cannot be written, or the bus answers a confirmed publish without a confirmation.
    pub async fn hand_in(
        &self,
        bus: &dyn Transport,
        to: &Target,
        stamp: &Stamp,
        message: Message,
        options: PublishOptions,
    ) -> CaseResult<Result<Receipt>> {
        self.stage.record(&Entry::now(Event::Sent, stamp))?;
        let must_confirm = options.confirm == Confirm::Required;
        let answer = bus.publish(to, message, options).await;
        let event = match &answer {
            Ok(Receipt::Confirmed(_)) => Some(Event::Confirmed),
            Ok(_) if must_confirm => {
                return Err(Fail::broken(format!("a confirmed publish to {to} was answered {answer:?}")));
            }
            Ok(_) => None,
            Err(error) if error.status() == Status::Unknown => Some(Event::Unknown),
            Err(_) => Some(Event::Refused),
        };
        if let Some(event) = event {
            self.stage.record(&Entry::now(event, stamp))?;
        }
        Ok(answer)
    }
}

/// Takes deliveries of numbered messages and writes them down.
#[derive(Debug)]
pub struct Consumer {
    stage: Stage,
    name: String,
    incoming: Incoming<Delivery>,
}

impl Consumer {
    pub(crate) fn new(stage: &Stage, name: &str, incoming: Incoming<Delivery>) -> Self {
        Self { stage: stage.clone(), name: name.to_owned(), incoming }
    }

    /// Its name in the ledger.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The next delivery, within the declared patience.
    ///
    /// # Errors
    /// [`Fail`] if nothing comes, a gap or the end comes instead, or it is not the message that was sent.
    pub async fn next(&mut self) -> CaseResult<Taken> {
        let delivery = self.stage.next(&mut self.incoming, &self.name).await?;
        self.taken(delivery)
    }

    /// The next delivery if one comes within `time`; for what must not come.
    ///
    /// # Errors
    /// As [`Consumer::next`], but not if nothing comes.
    pub async fn next_within(&mut self, time: std::time::Duration) -> CaseResult<Option<Taken>> {
        match self.stage.next_within(&mut self.incoming, &self.name, time).await? {
            Some(delivery) => self.taken(delivery).map(Some),
            None => Ok(None),
        }
    }

    /// The next delivery, until nothing more comes: it is quiet for so long and everything that was confirmed has come, or
    /// the declared patience is over.
    ///
    /// # Errors
    /// As [`Consumer::next_within`].
    pub async fn next_until(&mut self, quiet: std::time::Duration) -> CaseResult<Option<Taken>> {
        let began = tokio::time::Instant::now();
        loop {
            let taken = self.next_within(quiet).await?;
            let is_over = || self.stage.has_all_come() || began.elapsed() >= self.stage.times().patience;
            if taken.is_some() || is_over() {
                return Ok(taken);
            }
        }
    }

    /// Whether nothing comes for as long as the bus could need to hand something out.
    ///
    /// # Errors
    /// [`Fail`] naming what came.
    pub async fn nothing_more(&mut self) -> CaseResult {
        match self.next_within(self.stage.quiet()).await? {
            None => Ok(()),
            Some(taken) => Err(Fail::broken(format!("{} got {taken}, and nothing was to come", self.name))),
        }
    }

    /// Writes down a delivery that was taken from [`Consumer::incoming`].
    ///
    /// # Errors
    /// [`Fail`] if it is not a message that was sent, or the ledger cannot be written.
    pub fn taken(&self, delivery: Delivery) -> CaseResult<Taken> {
        let stamp = Stamp::read(delivery.message())
            .map_err(|fault| Fail::broken(format!("{} got what nobody sent: {fault}", self.name)))?;
        let attempt = Some(delivery.attempt());
        self.stage.record(&Entry::now(Event::Received, &stamp).by(&self.name, attempt))?;
        Ok(Taken { stage: self.stage.clone(), consumer: self.name.clone(), stamp, delivery })
    }

    /// The stream itself, for what this does not do.
    pub const fn incoming(&mut self) -> &mut Incoming<Delivery> {
        &mut self.incoming
    }
}

/// A delivery that was written down.
#[derive(Debug)]
pub struct Taken {
    stage: Stage,
    consumer: String,
    /// Which message it is.
    pub stamp: Stamp,
    /// The delivery. Settle through this struct, or the ledger does not know of it.
    pub delivery: Delivery,
}

impl Taken {
    /// Which hand-out it is.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.delivery.attempt()
    }

    /// Acks, and expects that to succeed.
    ///
    /// # Errors
    /// [`Fail`] if the bus refuses, or the ledger cannot be written.
    pub async fn ack(self) -> CaseResult {
        self.settle(Outcome::Ack).await
    }

    /// Asks for another attempt after this time, and expects that to be accepted.
    ///
    /// # Errors
    /// As [`Taken::ack`].
    pub async fn retry(self, after: std::time::Duration) -> CaseResult {
        self.settle(Outcome::Retry { after, error: Some("asked to come again".to_owned()) }).await
    }

    /// Settles, and expects that to succeed.
    ///
    /// # Errors
    /// As [`Taken::ack`].
    pub async fn settle(self, outcome: Outcome) -> CaseResult {
        let what = format!("{} of {self}", word(&outcome));
        self.try_settle(outcome).await?.map_err(|error| Fail::from(error).during(what))
    }

    /// Settles, writes down how it went, and gives back what the bus said.
    ///
    /// # Errors
    /// [`Fail`] if the ledger cannot be written.
    pub async fn try_settle(self, outcome: Outcome) -> CaseResult<Result<()>> {
        let Self { stage, consumer, stamp, delivery } = self;
        let attempt = Some(delivery.attempt());
        let word = word(&outcome);
        let settling = delivery.settle(outcome);
        let answer = stage.bounded("a settle", settling).await?;
        let (event, said) = match &answer {
            Ok(()) => (Event::Settled, word.to_owned()),
            Err(error) => (Event::SettleFailed, format!("{word}: {error}")),
        };
        stage.record(&Entry::now(event, &stamp).by(&consumer, attempt).with_outcome(said))?;
        Ok(answer)
    }

    /// Drops it without a word, as a handler does that dies, and writes that down.
    ///
    /// # Errors
    /// [`Fail`] if the ledger cannot be written.
    pub fn drop_unsettled(self) -> CaseResult {
        let Self { stage, consumer, stamp, delivery } = self;
        let attempt = Some(delivery.attempt());
        let line = Entry::now(Event::Settled, &stamp).by(&consumer, attempt).with_outcome("dropped");
        stage.record(&line)?;
        drop(delivery);
        Ok(())
    }
}

impl std::fmt::Display for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{} (attempt {})", self.stamp.producer, self.stamp.sequence, self.attempt())
    }
}

const fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Ack => "ack",
        Outcome::Retry { .. } => "retry",
        Outcome::Reject { .. } => "reject",
        Outcome::Release => "release",
        _ => "dropped",
    }
}

/// Receives numbered messages of a topic and writes them down.
#[derive(Debug)]
pub struct Subscriber {
    stage: Stage,
    name: String,
    incoming: Incoming<Message>,
}

impl Subscriber {
    pub(crate) async fn new(
        stage: &Stage,
        bus: &dyn Transport,
        topic: &Name,
        name: &str,
        options: SubscribeOptions,
    ) -> CaseResult<Self> {
        let incoming = stage.bounded("subscribe", bus.subscribe(topic, options.with_label(name))).await??;
        Ok(Self { stage: stage.clone(), name: name.to_owned(), incoming })
    }

    /// The next message, within the declared patience, and its stamp.
    ///
    /// # Errors
    /// [`Fail`] if nothing comes, a gap or the end comes instead, or it is not the message that was sent.
    pub async fn next(&mut self) -> CaseResult<(Stamp, Message)> {
        let message = self.stage.next(&mut self.incoming, &self.name).await?;
        let stamp = self.received(&message)?;
        Ok((stamp, message))
    }

    /// Writes down a message that was taken from [`Subscriber::incoming`].
    ///
    /// # Errors
    /// [`Fail`] if it is not the message that was sent, or the ledger cannot be written.
    pub fn received(&self, message: &Message) -> CaseResult<Stamp> {
        let stamp = Stamp::read(message)
            .map_err(|fault| Fail::broken(format!("{} got what nobody sent: {fault}", self.name)))?;
        self.stage.record(&Entry::now(Event::Received, &stamp).by(&self.name, None))?;
        Ok(stamp)
    }

    /// Whether nothing comes for as long as the bus could need to hand something out.
    ///
    /// # Errors
    /// [`Fail`] naming what came.
    pub async fn nothing_more(&mut self) -> CaseResult {
        let quiet = self.stage.quiet();
        match self.stage.next_within(&mut self.incoming, &self.name, quiet).await? {
            None => Ok(()),
            Some(message) => {
                let stamp = self.received(&message)?;
                Err(Fail::broken(format!("{} got {stamp}, and nothing was to come", self.name)))
            }
        }
    }

    /// The stream itself, for what this does not do.
    pub const fn incoming(&mut self) -> &mut Incoming<Message> {
        &mut self.incoming
    }
}
