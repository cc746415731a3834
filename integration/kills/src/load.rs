//! The process that is killed: a journaled bus under load that says what it does before and after doing it.

use std::future::Future;
use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::join_all;
use polybus_contract::{
    Arrival, Bounds, Checked, ConsumeOptions, Delivery, Error, Group, Incoming, Intake, Kind, Message,
    MessageId, Name, Outcome, PublishOptions, Queue, Reason, Result, Target, Topic, Topology, Transport,
};
use polybus_embedded::Embedded;
use uuid::Uuid;

use crate::ledger::{MAX_ATTEMPTS, REASON};
use crate::word::{Number, Word, is_topic};

/// Nothing comes for this long: everything was read.
const QUIET: Duration = Duration::from_millis(700);

/// Settles that are under way together at most.
const TOGETHER: usize = 8;

/// What the load is told.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) url: String,
    pub(crate) seed: u64,
    /// Numbers the messages of this run.
    pub(crate) run: u64,
    /// Send nothing, empty everything and end.
    pub(crate) empty: bool,
}

/// Says a word in one write.
fn say(word: &Word) {
    let mut out = std::io::stdout().lock();
    // Without a reader there is nobody to judge: the kill is on its way.
    let _ = out.write_all(format!("{word}\n").as_bytes()).and_then(|()| out.flush());
}

fn fault(what: &str, error: &Error) {
    say(&Word::Fault(format!("{what}: {error}")));
}

struct Names {
    jobs: Name,
    news: Name,
    desk: Name,
}

impl Names {
    fn new() -> Result<Self> {
        Ok(Self { jobs: Name::new("jobs")?, news: Name::new("news")?, desk: Name::new("desk")? })
    }

    fn group(&self) -> Intake {
        Intake::Group { topic: self.news.clone(), group: self.desk.clone() }
    }

    fn topology(&self) -> Topology {
        let options = |name: &Name, max_attempts: u32| {
            Queue::new(name.clone())
                .with_max_attempts(max_attempts)
                .with_bounds(Bounds::new(1500, 16 << 20))
                .with_dead_bounds(Bounds::new(1_000_000, 1 << 30))
                .with_lease(Duration::from_hours(1))
        };
        Topology::new()
            .queue(options(&self.jobs, MAX_ATTEMPTS))
            .topic(Topic::durable(self.news.clone()))
            .group(Group::new(self.news.clone(), self.desk.clone()).with_queue(options(&self.desk, u32::MAX)))
    }
}

#[derive(Clone)]
struct Load {
    bus: Arc<dyn Transport>,
    names: Arc<Names>,
    run: u64,
    numbers: Arc<AtomicU64>,
    empty: bool,
}

/// Runs until it is killed, or until everything is empty if that was the order.
pub(crate) async fn run(order: Order) {
    if let Err(error) = carry_out(order).await {
        fault("the load", &error);
    }
}

async fn carry_out(order: Order) -> Result<()> {
    let embedded = Embedded::from_url(&order.url)?;
    embedded.connect(Duration::from_mins(1)).await?;
    let found = embedded.recovered().unwrap_or_default();
    say(&Word::Open { messages: found.messages, cut: found.cut.is_some() });
    let names = Arc::new(Names::new()?);
    let bus: Arc<dyn Transport> = Arc::new(Checked::new(Arc::new(embedded)));
    bus.declare(&names.topology()).await?;
    let load = Load { bus, names, run: order.run, numbers: Arc::default(), empty: order.empty };
    let mut rng = Rng::with_seed(order.seed);
    let mut tasks: Vec<Pin<Box<dyn Future<Output = Result<()>> + Send>>> = Vec::new();
    let jobs = Intake::Queue(load.names.jobs.clone());
    let dead = Intake::Queue(load.names.jobs.dead()?);
    for intake in [jobs.clone(), jobs, load.names.group()] {
        tasks.push(Box::pin(load.clone().consume(intake, rng.fork())));
    }
    tasks.push(Box::pin(load.clone().bury(dead)));
    if !order.empty {
        for target in [0, 0, 0, 1] {
            tasks.push(Box::pin(load.clone().send(target == 1, rng.fork())));
        }
    }
    let tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    for task in tasks {
        match task.await {
            Ok(done) => done?,
            Err(panicked) => say(&Word::Fault(panicked.to_string())),
        }
    }
    say(&Word::Empty);
    Ok(())
}

fn id(number: Number) -> MessageId {
    MessageId::Uuid(Uuid::from_u128(number.into()))
}

/// The number of a message, if body and id agree.
fn number(message: &Message) -> Number {
    let body = message.body().as_bytes().and_then(|bytes| bytes.first_chunk().copied());
    let number = body.map_or(0, u64::from_le_bytes);
    if message.id() != Some(&id(number)) {
        say(&Word::Fault(format!("message {:?} has the body of {number}", message.id())));
    }
    number
}

impl Load {
    async fn send(self, to_topic: bool, mut rng: Rng) -> Result<()> {
        let target = if to_topic {
            Target::Topic(self.names.news.clone())
        } else {
            Target::Queue(self.names.jobs.clone())
        };
        loop {
            let count = self.numbers.fetch_add(1, Ordering::Relaxed);
            let number = (self.run << 24) + (count << 1) + u64::from(to_topic);
            let mut body = number.to_le_bytes().to_vec();
            let most = if rng.u8(..) == 0 { 30_000 } else { 600 };
            body.resize(8 + rng.usize(..most), rng.u8(..));
            say(&Word::Sending(number));
            let message = Message::new(body).with_id(id(number));
            match self.bus.publish(&target, message, PublishOptions::default()).await {
                Ok(_) => say(&Word::Confirmed(number)),
                Err(error) if error.kind() == Kind::Full => {
                    say(&Word::Refused(number));
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn next(&self, incoming: &mut Incoming<Delivery>) -> Option<Delivery> {
        let arrival = if self.empty {
            tokio::time::timeout(QUIET, incoming.next()).await.ok()?
        } else {
            incoming.next().await
        };
        match arrival {
            Some(Arrival::Item(delivery)) => Some(delivery),
            other => {
                say(&Word::Fault(format!("{other:?} instead of a delivery: {:?}", incoming.end())));
                None
            }
        }
    }

    async fn consume(self, intake: Intake, mut rng: Rng) -> Result<()> {
        let credit = rng.u32(1..24);
        let mut incoming = self.bus.consume(&intake, ConsumeOptions::default().with_credit(credit)).await?;
        let mut settling = Vec::new();
        while let Some(delivery) = self.next(&mut incoming).await {
            let number = number(delivery.message());
            say(&Word::Received { number, attempt: delivery.attempt() });
            if rng.u8(..8) == 0 {
                tokio::time::sleep(Duration::from_millis(rng.u64(..3))).await;
            }
            let outcome = if self.empty { Outcome::Ack } else { choose(&mut rng) };
            // The dead letters of a group cannot be consumed by name, so nothing dies there.
            let outcome = match outcome {
                Outcome::Reject { .. } if is_topic(number) => Outcome::Ack,
                other => other,
            };
            settling.push(settle(number, delivery, outcome));
            // A settle begins when it is polled; what is not begun takes credit.
            if settling.len() >= TOGETHER.min(credit as usize) || rng.u8(..3) == 0 {
                join_all(settling.drain(..)).await.into_iter().collect::<Result<()>>()?;
            }
        }
        join_all(settling).await.into_iter().collect()
    }

    async fn bury(self, intake: Intake) -> Result<()> {
        let mut incoming = self.bus.consume(&intake, ConsumeOptions::default().with_credit(4_u32)).await?;
        while let Some(delivery) = self.next(&mut incoming).await {
            let number = number(delivery.message());
            let Some(death) = delivery.message().death() else {
                say(&Word::Fault(format!("{number} is a dead letter without a death")));
                continue;
            };
            let (attempts, reason) = (death.attempts, death.reason.to_string());
            say(&Word::Dead { number, attempts, reason });
            say(&Word::Burying(number));
            delivery.ack().await?;
            say(&Word::Buried(number));
        }
        Ok(())
    }
}

fn choose(rng: &mut Rng) -> Outcome {
    match rng.u8(..100) {
        0..12 => Outcome::Retry { after: Duration::ZERO, error: Some("again".to_owned()) },
        12..18 => Outcome::Retry { after: Duration::from_millis(rng.u64(1..5)), error: None },
        18..25 => Outcome::Dropped,
        25..32 => Outcome::Reject {
            reason: Reason::from(REASON),
            error: Some("unreadable".to_owned()),
            keep: polybus_contract::Keep::Body,
        },
        _ => Outcome::Ack,
    }
}

async fn settle(number: Number, delivery: Delivery, outcome: Outcome) -> Result<()> {
    let (before, after) = match &outcome {
        Outcome::Ack => (Word::Acking(number), Some(Word::Acked(number))),
        Outcome::Reject { .. } => (Word::Rejecting(number), Some(Word::Rejected(number))),
        _ => (Word::Returning(number), None),
    };
    say(&before);
    delivery.settle(outcome).await?;
    if let Some(after) = after {
        say(&after);
    }
    Ok(())
}
