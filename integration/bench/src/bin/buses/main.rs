//! Polybus beside the raw client library of each broker: the same payloads, the same queue settings, the same guarantees
//! (persisted and confirmed sends, acknowledged deliveries, replies by the same pattern), sides in turn in one run.
//!
//! `cargo run --release -p polybus-bench --bin buses [rabbitmq|nats] [rounds] [percent of the messages]`

mod nats;
mod ours;
mod rabbitmq;
mod work;

use std::time::Duration;

use polybus_bench::{Spread, machine, say};
use polybus_brokers::{Broker, Kind, Product};

use crate::work::{Contender, Outcome, Verb, Work};

/// Bodies in bytes, and how many messages in flight.
const SIZES: [usize; 3] = [100, 1024, 64 * 1024];
const WINDOWS: [usize; 3] = [1, 64, 256];

#[derive(Clone, Copy)]
struct Plan {
    rounds: usize,
    percent: u64,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Outcome<()> {
    let mut only = None;
    let mut numbers = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.parse::<u64>() {
            Ok(number) => numbers.push(number),
            Err(_) => only = Some(argument),
        }
    }
    let plan = Plan {
        rounds: usize::try_from(numbers.first().copied().unwrap_or(5))?.max(1),
        percent: numbers.get(1).copied().unwrap_or(100).max(1),
    };
    say(&machine());
    say(&format!("{} rounds, sides in turn; lapin and async-nats of the lock file", plan.rounds));
    for kind in [Kind::RABBITMQ, Kind::NATS] {
        if only.as_deref().is_none_or(|only| only == kind.product().word()) {
            // In a task, as programs run: what wakes the main thread costs more than what wakes a task.
            tokio::spawn(on(kind, plan)).await??;
        }
    }
    Ok(())
}

async fn on(kind: Kind, plan: Plan) -> Outcome<()> {
    let broker = Broker::start(kind).await?;
    let place = if broker.is_container() { "in a container" } else { "a local process" };
    say(&format!("\n### {} {}, {place}\n", kind.product(), broker.version()));
    say(
        "| verb | bytes | in flight | raw client, per second | Polybus, per second | Polybus / raw | from | to |",
    );
    say("|---|---|---|---|---|---|---|---|");
    let ours = ours::Ours::on(&broker.url()).await?;
    let raw: Box<dyn Contender> = match kind.product() {
        Product::RabbitMq => Box::new(rabbitmq::Raw::on(&broker.url()).await?),
        Product::Nats => Box::new(nats::Raw::on(&broker).await?),
    };
    for size in SIZES {
        for window in WINDOWS {
            cell(kind.product(), size, window, &plan, raw.as_ref(), &ours).await?;
        }
    }
    Ok(())
}

/// The times of one verb, round by round.
#[derive(Default)]
struct Times {
    raw: Vec<Duration>,
    ours: Vec<Duration>,
}

/// Every verb with bodies of this size and so many in flight.
async fn cell(
    product: Product,
    size: usize,
    window: usize,
    plan: &Plan,
    raw: &dyn Contender,
    ours: &dyn Contender,
) -> Outcome<()> {
    let messages = (messages(product, size, window) * plan.percent / 100).max(window as u64 * 2);
    let work = Work::new(messages, window, size);
    let mut table = [
        (Verb::Publish, Times::default()),
        (Verb::Consume, Times::default()),
        (Verb::Request, Times::default()),
    ];
    for round in 0..=plan.rounds {
        for (verb, times) in &mut table {
            let (bare, full) = (raw.run(*verb, &work).await?, ours.run(*verb, &work).await?);
            // The first round warms up both.
            if round > 0 {
                times.raw.push(bare);
                times.ours.push(full);
            }
        }
    }
    for (verb, times) in table {
        say(&row(verb, size, &work, &times));
    }
    Ok(())
}

fn row(verb: Verb, size: usize, work: &Work, times: &Times) -> String {
    let ratios = times.raw.iter().zip(&times.ours).map(|(raw, ours)| raw.as_secs_f64() / ours.as_secs_f64());
    let ratio = Spread::over(ratios.collect());
    let (raw, ours) = (Spread::of(work.messages, &times.raw), Spread::of(work.messages, &times.ours));
    format!(
        "| {verb} | {size} | {} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} |",
        work.window, raw.median, ours.median, ratio.median, ratio.least, ratio.most
    )
}

/// About a second's worth for the raw client, so that no cell is over before it began.
fn messages(product: Product, size: usize, window: usize) -> u64 {
    let (alone, together, large) = match product {
        Product::RabbitMq => (800, 6_000, 2_000),
        Product::Nats => (3_000, 30_000, 3_000),
    };
    match (window, size > 10_000) {
        (1, _) => alone,
        (_, true) => large,
        (_, false) => together,
    }
}
