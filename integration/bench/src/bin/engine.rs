//! How fast the queue engine is on one core: one queue, 1 KiB shared payload, 16-byte ids.
//!
//! `cargo run --release -p polybus-bench --bin engine [messages per round]`

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polybus_bench::{Spread, machine, say};
use polybus_queue::{
    Bound, DedupWindow, Engine, Envelope, Journal, MessageId, NoJournal, Now, OnExpiry, QueueOptions, Record,
    Result,
};

type Payload = Arc<[u8]>;

const ROUNDS: usize = 9;

fn main() -> Result<()> {
    let messages = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(2_000_000);
    say(&machine());
    let plain = options();
    report("send, take, ack one by one", messages, || cycle(plain, NoJournal, messages, 1))?;
    report("send 1,000, then take and ack 1,000", messages, || cycle(plain, NoJournal, messages, 1000))?;
    let full = 100_000;
    report("send 100,000, then take and ack them", messages, || cycle(plain, NoJournal, messages, full))?;
    let levels = QueueOptions { priorities: true, ..plain };
    report("with priorities, 1,000 at a time", messages, || cycle(levels, NoJournal, messages, 1000))?;
    let expiring = QueueOptions { on_expiry: Some(OnExpiry::Drop), ..plain };
    report("with expiry obeyed, 1,000 at a time", messages, || cycle(expiring, NoJournal, messages, 1000))?;
    let dedup = Some(DedupWindow { window: Duration::from_mins(1), keys: 100_000 });
    let keyed = QueueOptions { dedup, ..plain };
    report("with de-duplication, 1,000 at a time", messages, || cycle(keyed, NoJournal, messages, 1000))?;
    report("with a journal that counts", messages, || cycle(plain, Counting(0), messages, 1000))?;
    report("never acked but dropped until dead", messages / 6, || drop_until_dead(messages / 6))
}

fn options() -> QueueOptions {
    QueueOptions { bound: Bound::new(1_000_000, 1 << 40), ..QueueOptions::default() }
}

struct Counting(u64);

impl<P> Journal<P> for Counting {
    fn record(&mut self, record: Record<'_, &P>) {
        self.0 += u64::from(matches!(record, Record::Sent { .. } | Record::Acked { .. }));
    }
}

fn report(what: &str, messages: u64, mut round: impl FnMut() -> Result<Duration>) -> Result<()> {
    round()?;
    let times = (0..ROUNDS).map(|_| round()).collect::<Result<Vec<_>>>()?;
    say(&format!("{what:40} {}", Spread::of(messages, &times)));
    Ok(())
}

fn id(n: u64) -> MessageId {
    MessageId::Uuid((u128::from(n) << 64 | 7).to_be_bytes())
}

/// The clock of the round: read once per message as an owner would, but without the cost of reading it.
fn at(n: u64) -> Now {
    Now::new(Duration::from_nanos(n * 1000), 1_800_000_000_000 + n / 1000)
}

fn cycle<J: Journal<Payload>>(
    options: QueueOptions,
    journal: J,
    messages: u64,
    batch: u64,
) -> Result<Duration> {
    let mut engine = Engine::with_journal(journal);
    let queue = engine.declare("bench", options)?.queue;
    let consumer = engine.attach(queue, u32::MAX, None)?;
    let payload: Payload = vec![7; 1024].into();
    let start = Instant::now();
    let mut sent = 0;
    while sent < messages {
        for n in sent..sent + batch {
            let priority = u8::from(n % 2 == 0);
            let envelope =
                Envelope::new(id(n), payload.clone(), 1024).priority(priority).expires(u64::MAX / 2);
            engine.send(queue, envelope, at(n))?;
        }
        for n in sent..sent + batch {
            let Some(handed) = engine.take(consumer, at(n))? else { break };
            let token = handed.token;
            black_box(handed.payload.clone());
            engine.ack(token, at(n))?;
        }
        sent += batch;
        black_box(engine.take_stirred());
        black_box(engine.next_event_at());
    }
    Ok(start.elapsed())
}

fn drop_until_dead(messages: u64) -> Result<Duration> {
    let mut engine = Engine::new();
    let queue = engine.declare("bench", options())?.queue;
    let payload: Payload = vec![7; 1024].into();
    let start = Instant::now();
    for n in 0..messages {
        engine.send(queue, Envelope::new(id(n), payload.clone(), 1024), at(n))?;
    }
    let consumer = engine.attach(queue, u32::MAX, None)?;
    while let Some(handed) = engine.take(consumer, at(messages))? {
        let token = handed.token;
        engine.settle(token, polybus_queue::Outcome::Dropped, at(messages))?;
    }
    Ok(start.elapsed())
}
