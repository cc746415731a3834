//! Bulk transfer: a large body in parts beside the raw client of each broker, which sends as many bytes in messages just
//! under the usual limit, persisted and confirmed, and takes them from a queue, acknowledged. Sides in turn in one run.
//!
//! `cargo run --release -p polybus-bench --bin bulk [rabbitmq|nats] [rounds] [MiB]`

mod nats;
mod rabbitmq;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use polybus_bench::{Spread, machine, say};
use polybus_brokers::{Broker, Kind, Product};
use polybus_contract::{BodyParts, PARTS_LIVE, Transport, Upload};

/// What goes wrong ends the run.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A message of the raw client: NATS takes 1 MiB with headers by default.
pub(crate) const MESSAGE: usize = (1 << 20) - 4096;

/// Messages of the raw client under way at the same time: as many as parts of ours.
pub(crate) const WINDOW: usize = 8;

/// The raw client of a broker.
#[async_trait]
pub(crate) trait Raw {
    /// Sends so many messages with this body, and returns when all are confirmed.
    async fn send(&self, messages: usize, body: Bytes) -> Outcome<()>;

    /// Takes so many messages, acknowledges them, and gives their bytes.
    async fn take(&self, messages: usize) -> Outcome<u64>;
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Outcome<()> {
    let (mut only, mut numbers) = (None, Vec::new());
    for argument in std::env::args().skip(1) {
        match argument.parse::<usize>() {
            Ok(number) => numbers.push(number),
            Err(_) => only = Some(argument),
        }
    }
    let rounds = numbers.first().copied().unwrap_or(5).max(1);
    let messages = (numbers.get(1).copied().unwrap_or(256) << 20) / MESSAGE;
    say(&machine());
    say(&format!("{rounds} rounds, sides in turn, {messages} messages of {MESSAGE} bytes each"));
    say("| broker | way | raw client, MB/s | parts, MB/s | parts / raw | from | to |");
    say("|---|---|---|---|---|---|---|");
    for kind in [Kind::RABBITMQ, Kind::NATS] {
        if only.as_deref().is_none_or(|only| only == kind.product().word()) {
            on(kind, rounds, messages).await?;
        }
    }
    Ok(())
}

async fn on(kind: Kind, rounds: usize, messages: usize) -> Outcome<()> {
    let broker = Broker::start(kind).await?;
    let raw: Box<dyn Raw> = match kind.product() {
        Product::RabbitMq => Box::new(rabbitmq::Client::on(&broker.url()).await?),
        Product::Nats => Box::new(nats::Client::on(&broker).await?),
    };
    let ours = polybus::connect(&broker.url()).await?.transport().clone();
    let body = Bytes::from(vec![7; MESSAGE]);
    let mut times: [[Vec<Duration>; 2]; 2] = Default::default();
    for round in 0..=rounds {
        let bare = by_raw(&*raw, messages, &body).await?;
        let full = by_parts(&*ours, messages, &body).await?;
        // The first round warms up both.
        for way in (0..2).filter(|_| round > 0) {
            times[way][0].push(bare[way]);
            times[way][1].push(full[way]);
        }
    }
    let bytes = (messages * MESSAGE) as u64;
    for (way, [bare, full]) in ["send", "receive"].into_iter().zip(&times) {
        let ratios = bare.iter().zip(full).map(|(raw, ours)| raw.as_secs_f64() / ours.as_secs_f64());
        let ratio = Spread::over(ratios.collect());
        let rate = |times: &[Duration]| Spread::of(bytes / 1_000_000, times).median;
        say(&format!(
            "| {} {} | {way} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} |",
            kind.product(),
            broker.version(),
            rate(bare),
            rate(full),
            ratio.median,
            ratio.least,
            ratio.most
        ));
    }
    Ok(())
}

async fn by_raw(raw: &dyn Raw, messages: usize, body: &Bytes) -> Outcome<[Duration; 2]> {
    let start = Instant::now();
    raw.send(messages, body.clone()).await?;
    let sent = start.elapsed();
    let start = Instant::now();
    let bytes = raw.take(messages).await?;
    assert_eq!(bytes, (messages * MESSAGE) as u64, "the raw client lost something");
    Ok([sent, start.elapsed()])
}

async fn by_parts(bus: &dyn Transport, messages: usize, body: &Bytes) -> Outcome<[Duration; 2]> {
    let start = Instant::now();
    let mut upload = Upload::begin(bus, PARTS_LIVE).await?;
    for _ in 0..messages {
        upload.write(body).await?;
    }
    let stored = upload.finish().await?;
    let sent = start.elapsed();
    let start = Instant::now();
    let parts: Arc<dyn BodyParts> = stored.clone();
    let mut offset = 0;
    while offset < parts.len() {
        offset += parts.part(offset, 1 << 20).await?.len() as u64;
    }
    stored.remove().await?;
    Ok([sent, start.elapsed()])
}
