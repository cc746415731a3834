//! The embedded bus beside a bare channel: the same messages, the same runtime, one task that produces and one that
//! consumes. On the bus each message is sent confirmed, delivered under a lease, and acknowledged.
//!
//! `cargo run --release -p polybus-bench --bin embedded [messages per round]`
//!
//! For a profiler, `embedded MESSAGES channel` or `embedded MESSAGES bus` runs one side once, on one thread, ids given.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use polybus_bench::{Spread, machine, say};
use polybus_contract::{
    Arrival, Checked, ConsumeOptions, Delivery, Error, Incoming, Intake, Kind, Message, MessageId, Name,
    Operation, PublishOptions, Queue, Result, Target, Topology, Transport, WhenFull,
};
use polybus_embedded::Embedded;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use uuid::Uuid;

const ROUNDS: usize = 9;
/// Slots of the channel, and what may wait in the queue.
const BOUND: u32 = 1024;

fn main() -> Result<()> {
    let messages = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    say(&machine());
    say(&format!("{messages} messages of 1 KiB (shared) with an id, {ROUNDS} rounds, sides in turn"));
    let single = Builder::new_current_thread().enable_all().build().map_err(|error| fault(&error))?;
    match std::env::args().nth(2).as_deref() {
        Some("channel") => return single.block_on(through_channel(messages, given)).map(drop),
        Some("bus") => return single.block_on(through_bus(messages, given)).map(drop),
        Some(other) => return Err(fault(&format!("{other}: sides are channel and bus"))),
        None => {}
    }
    compare("one thread, ids given", &single, messages, given)?;
    compare("one thread, ids made", &single, messages, made)?;
    let multi =
        Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(|error| fault(&error))?;
    compare("two threads, ids given", &multi, messages, given)?;
    compare("two threads, ids made", &multi, messages, made)
}

/// Makes the n-th message.
type Make = fn(n: u64, payload: &Bytes) -> Message;

fn compare(flavour: &str, runtime: &Runtime, messages: u64, make: Make) -> Result<()> {
    let (mut channel, mut bus, mut ratio) = (Vec::new(), Vec::new(), Vec::new());
    runtime.block_on(through_channel(messages, make))?;
    runtime.block_on(through_bus(messages, make))?;
    for _ in 0..ROUNDS {
        let bare = runtime.block_on(through_channel(messages, make))?;
        let full = runtime.block_on(through_bus(messages, make))?;
        ratio.push(bare.as_secs_f64() / full.as_secs_f64());
        channel.push(bare);
        bus.push(full);
    }
    say(&format!("{flavour:22} bare mpsc channel  {}", Spread::of(messages, &channel)));
    say(&format!("{flavour:22} embedded bus       {}", Spread::of(messages, &bus)));
    let Spread { median, least, most } = Spread::over(ratio);
    say(&format!("{flavour:22} bus / channel      {median:>12.2}    (from {least:.2} to {most:.2})"));
    Ok(())
}

/// An id that costs nothing to make.
fn given(n: u64, payload: &Bytes) -> Message {
    Message::new(payload.clone()).with_id(Uuid::from_u64_pair(n, 7))
}

/// A fresh id for each message, as programs have it, on both sides.
fn made(_: u64, payload: &Bytes) -> Message {
    Message::new(payload.clone()).with_id(MessageId::fresh())
}

fn payload() -> Bytes {
    Bytes::from(vec![7; 1024])
}

async fn through_channel(messages: u64, make: Make) -> Result<Duration> {
    let (sender, mut receiver) = mpsc::channel(BOUND as usize);
    let start = Instant::now();
    let producer = tokio::spawn(async move {
        let payload = payload();
        for n in 0..messages {
            if sender.send(make(n, &payload)).await.is_err() {
                return;
            }
        }
    });
    let consumer = tokio::spawn(async move {
        let mut count = 0;
        while let Some(message) = receiver.recv().await {
            black_box(message);
            count += 1;
        }
        count
    });
    producer.await.map_err(|error| fault(&error))?;
    let count: u64 = consumer.await.map_err(|error| fault(&error))?;
    enough(count, messages)?;
    Ok(start.elapsed())
}

async fn through_bus(messages: u64, make: Make) -> Result<Duration> {
    let bus: Arc<dyn Transport> = Arc::new(Checked::new(Arc::new(Embedded::from_url("embedded:")?)));
    let name = Name::new("bench")?;
    let mut queue = Queue::new(name.clone());
    queue.bounds.messages = BOUND.into();
    bus.declare(&Topology::new().queue(queue)).await?;
    let options = ConsumeOptions::default().with_credit(BOUND);
    let deliveries = bus.consume(&Intake::Queue(name.clone()), options).await?;
    let start = Instant::now();
    let producer = tokio::spawn(produce(bus.clone(), Target::Queue(name), messages, make));
    let consumer = tokio::spawn(consume(deliveries, messages));
    producer.await.map_err(|error| fault(&error))??;
    let count = consumer.await.map_err(|error| fault(&error))??;
    enough(count, messages)?;
    Ok(start.elapsed())
}

async fn produce(bus: Arc<dyn Transport>, target: Target, messages: u64, make: Make) -> Result<()> {
    let payload = payload();
    let options = PublishOptions::default().with_when_full(WhenFull::Wait);
    for n in 0..messages {
        bus.publish(&target, make(n, &payload), options.clone()).await?;
    }
    Ok(())
}

async fn consume(mut deliveries: Incoming<Delivery>, messages: u64) -> Result<u64> {
    let mut count = 0;
    while count < messages {
        let Some(Arrival::Item(delivery)) = deliveries.next().await else { break };
        black_box(delivery.message());
        delivery.ack().await?;
        count += 1;
    }
    Ok(count)
}

fn enough(count: u64, messages: u64) -> Result<()> {
    if count == messages {
        return Ok(());
    }
    Err(fault(&format!("{count} of {messages} messages arrived")))
}

fn fault(what: &impl ToString) -> Error {
    Error::new(Kind::Internal, Operation::Handle).with_detail(what.to_string())
}
