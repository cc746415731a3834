//! The broker over ZeroMQ, in a process of its own, beside RabbitMQ and NATS with their own client libraries, in one run:
//! requests with replies, and sends that are confirmed when they are in a file.
//!
//! `cargo run --release -p polybus-bench --bin zeromq [rounds] [percent of the messages]`; with the word `alone` behind it
//! only ours and the bare sockets. What each guarantees is not the same, and stands in the table.

#[path = "../buses/nats.rs"]
mod nats;
#[path = "../buses/ours.rs"]
mod ours;
#[path = "../buses/rabbitmq.rs"]
mod rabbitmq;
#[path = "../buses/work.rs"]
mod work;

mod broker;
mod core;
mod sockets;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use polybus_bench::{Spread, machine, say};
use polybus_brokers::{Broker, Kind};

use crate::work::{Contender, Outcome, Verb, Work};

/// Bytes of a body.
const SIZE: usize = 1024;

struct Plan {
    rounds: usize,
    percent: u64,
    alone: bool,
}

/// One row: who, what it guarantees, and how it is done.
struct Row {
    name: &'static str,
    guarantee: &'static str,
    verb: Verb,
    who: usize,
    window: usize,
    messages: u64,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Outcome<()> {
    if let Some(url) = std::env::var_os(broker::BEHIND) {
        return match url.to_string_lossy().as_ref() {
            sockets::BARE => sockets::forward().await,
            url => broker::serve(url).await,
        };
    }
    let words: Vec<_> = std::env::args().skip(1).collect();
    let number =
        |index: usize, usual: u64| words.get(index).and_then(|word| word.parse().ok()).unwrap_or(usual);
    let plan = Plan {
        rounds: usize::try_from(number(0, 5))?.max(1),
        percent: number(1, 100).max(1),
        alone: words.iter().any(|word| word == "alone"),
    };
    say(&machine());
    // In a task, as programs run: what wakes the main thread costs more than what wakes a task.
    tokio::spawn(measure(plan)).await?
}

async fn measure(plan: Plan) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let (memory, journal, bare) = (
        broker::Child::start("embedded:bench").await?,
        broker::Child::start(&broker::journal(&folder)).await?,
        broker::Child::start(sockets::BARE).await?,
    );
    let mut contenders: Vec<Box<dyn Contender>> = vec![
        Box::new(ours::Ours::on(&memory.url).await?),
        Box::new(ours::Ours::on(&journal.url).await?),
        Box::new(sockets::Sockets::on(&bare.url).await?),
    ];
    let nothing = "nothing: lost with either side";
    let mut rows = vec![
        row("bare sockets, DEALER to ROUTER to DEALER", nothing, Verb::Request, 2, 1, 8_000),
        row("bare sockets, DEALER to ROUTER to DEALER", nothing, Verb::Request, 2, 64, 60_000),
        row("polybus broker", "queued in memory, leased, acknowledged", Verb::Request, 0, 1, 8_000),
        row("polybus broker", "queued in memory, leased, acknowledged", Verb::Request, 0, 64, 60_000),
        row("polybus broker", "confirmed when synced to the disk", Verb::Publish, 1, 256, 60_000),
    ];
    let mut others = Vec::new();
    if !plan.alone {
        let (rabbit, nats) = (Broker::start(Kind::RABBITMQ).await?, Broker::start(Kind::NATS).await?);
        ours::Ours::on(&rabbit.url()).await?;
        ours::Ours::on(&nats.url()).await?;
        contenders.push(Box::new(rabbitmq::Raw::on(&rabbit.url()).await?));
        contenders.push(Box::new(core::Core::on(&nats).await?));
        contenders.push(Box::new(nats::Raw::on(&nats).await?));
        let stored = "queued on disk, acknowledged";
        rows.push(row("RabbitMQ, lapin", stored, Verb::Request, 3, 1, 800));
        rows.push(row("RabbitMQ, lapin", stored, Verb::Request, 3, 64, 6_000));
        rows.push(row("NATS core", nothing, Verb::Request, 4, 1, 6_000));
        rows.push(row("NATS core", nothing, Verb::Request, 4, 64, 60_000));
        rows.push(row("NATS JetStream", "in a file, acknowledged", Verb::Request, 5, 64, 20_000));
        rows.push(row(
            "NATS JetStream",
            "confirmed when in a file, not synced",
            Verb::Publish,
            5,
            256,
            60_000,
        ));
        others.extend([rabbit, nats]);
    }
    let mut times: Vec<Times> = rows.iter().map(|_| Times::default()).collect();
    for round in 0..=plan.rounds {
        for (row, times) in rows.iter().zip(&mut times) {
            let (took, each) = once(row, contenders[row.who].as_ref(), plan.percent).await?;
            // The first round warms up.
            if round > 0 {
                times.rounds.push(took);
                times.each.extend(each);
            }
        }
    }
    tell(&rows, times, plan.percent);
    drop(others);
    Ok(())
}

/// Of one row: each round, and each message of all rounds.
#[derive(Default)]
struct Times {
    rounds: Vec<Duration>,
    each: Vec<Duration>,
}

impl Times {
    /// So many percent of the messages took no longer, in microseconds.
    fn percentile(&self, percent: usize) -> f64 {
        let at = (self.each.len() * percent / 100).min(self.each.len().saturating_sub(1));
        self.each.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e6)
    }
}

fn tell(rows: &[Row], times: Vec<Times>, percent: u64) {
    say("| who | what that guarantees | verb | in flight | per second | from | to | p50, us | p99, us |");
    say("|---|---|---|---|---|---|---|---|---|");
    for (row, mut times) in rows.iter().zip(times) {
        times.each.sort_unstable();
        let rate = Spread::of(scaled(row, percent), &times.rounds);
        let (name, guarantee, verb, window) = (row.name, row.guarantee, row.verb, row.window);
        let (half, most) = (times.percentile(50), times.percentile(99));
        say(&format!(
            "| {name} | {guarantee} | {verb} | {window} | {:.0} | {:.0} | {:.0} | {half:.0} | {most:.0} |",
            rate.median, rate.least, rate.most
        ));
    }
}

const fn row(
    name: &'static str,
    guarantee: &'static str,
    verb: Verb,
    who: usize,
    window: usize,
    messages: u64,
) -> Row {
    Row { name, guarantee, verb, who, window, messages }
}

fn scaled(row: &Row, percent: u64) -> u64 {
    (row.messages * percent / 100).max(row.window as u64 * 2)
}

/// One round of one row; what it leaves in a queue is taken out again.
async fn once(row: &Row, who: &dyn Contender, percent: u64) -> Outcome<(Duration, Vec<Duration>)> {
    let each = Arc::<Mutex<Vec<Duration>>>::default();
    let work = Work { each: Some(each.clone()), ..Work::new(scaled(row, percent), row.window, SIZE) };
    let took = who.run(row.verb, &work).await?;
    let each = std::mem::take(&mut *each.lock().unwrap_or_else(PoisonError::into_inner));
    if matches!(row.verb, Verb::Publish) {
        who.run(Verb::Consume, &work).await?;
    }
    Ok((took, each))
}
