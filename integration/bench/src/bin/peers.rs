//! Polybus clients beside Python clients: the same worker, the same queue, calls in turn in one run.
//!
//! `cargo run --release -p polybus-bench --bin peers [rounds] [calls]`; Python needs `pika` and `nats-py`.

use std::process::Stdio;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::try_join_all;
use polybus::{
    Bus, DoorService, Handler, Job, Message, Name, RequestOptions, Shutdown, TransportExt, Verdict, Worker,
};
use polybus_bench::{Spread, machine, say};
use polybus_brokers::{Broker, Kind, Product};
use tokio::process::Command;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const CALLER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/caller.py");
const QUEUE: &str = "bench_echo";
const SIZE: usize = 1024;
const WINDOWS: [usize; 2] = [1, 32];

struct Echo;

#[async_trait]
impl Handler for Echo {
    async fn handle(&self, job: Job) -> Verdict {
        Verdict::Reply(Box::new(Message::new(job.message.body().clone())))
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Outcome<()> {
    let mut numbers = std::env::args().skip(1).map(|word| word.parse::<u64>());
    let rounds = numbers.next().transpose()?.unwrap_or(5).max(1);
    let calls = numbers.next().transpose()?.unwrap_or(2000).max(1);
    say(&machine());
    say(&format!(
        "{rounds} rounds of {calls} calls with {SIZE} bytes, sides in turn, one Polybus worker for both"
    ));
    say(
        "\n| broker | Python library | in flight | Python, per second | Polybus, per second | Polybus / Python | from | to |",
    );
    say("|---|---|---|---|---|---|---|---|");
    for (kind, library) in [(Kind::RABBITMQ, "pika"), (Kind::NATS, "nats-py")] {
        on(kind, library, rounds, calls).await?;
    }
    Ok(())
}

async fn on(kind: Kind, library: &str, rounds: u64, calls: u64) -> Outcome<()> {
    let broker = Broker::start(kind).await?;
    let url = broker.url();
    let serving = polybus::connect(&url).await?;
    let (trigger, shutdown) = Shutdown::manual();
    let queue = Name::new(QUEUE)?;
    let worker = Worker::new(&serving, queue.clone(), Echo).with_concurrency(64);
    let running = tokio::spawn(worker.run(shutdown));
    let door = tokio::spawn(keep_door(serving, queue.clone()));
    let bus = polybus::connect(&url).await?;
    ready(&bus, &queue).await?;
    for window in WINDOWS {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..=rounds {
            let (one, other) =
                (python(library, &url, calls, window).await?, polybus(&bus, &queue, calls, window).await?);
            // The first round warms up both.
            if round > 0 {
                theirs.push(one);
                ours.push(other);
            }
        }
        say(&row(kind.product(), broker.version(), library, window, calls, &theirs, &ours));
    }
    door.abort();
    trigger.drain();
    running.await??;
    Ok(())
}

async fn keep_door(bus: Bus, queue: Name) {
    if let Some(door) = bus.transport().door() {
        // If the door does not open, the Python side says so.
        let _ = door.keep(&DoorService::new("echo", "0.1.0", queue)).await;
    }
}

/// The queue is there once its worker is.
async fn ready(bus: &Bus, queue: &Name) -> Outcome<()> {
    let began = Instant::now();
    loop {
        match bus.transport().call(queue, Message::new("x"), RequestOptions::default()).await {
            Ok(_) => return Ok(()),
            Err(error) if began.elapsed() > Duration::from_secs(30) => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn polybus(bus: &Bus, queue: &Name, calls: u64, window: usize) -> Outcome<Duration> {
    let body = Bytes::from(vec![b'x'; SIZE]);
    let left = std::sync::atomic::AtomicU64::new(calls);
    let line = async || -> Outcome<()> {
        let take = |left: u64| left.checked_sub(1);
        let order = std::sync::atomic::Ordering::Relaxed;
        while left.fetch_update(order, order, take).is_ok() {
            let reply =
                bus.transport().call(queue, Message::new(body.clone()), RequestOptions::default()).await?;
            if reply.message.body().as_bytes() != Some(&body) {
                return Err("a reply is wrong".into());
            }
        }
        Ok(())
    };
    let began = Instant::now();
    try_join_all((0..window).map(|_| line())).await?;
    Ok(began.elapsed())
}

async fn python(library: &str, url: &str, calls: u64, window: usize) -> Outcome<Duration> {
    let mut command = Command::new("python3");
    command.args([CALLER, library, url, QUEUE]).args([
        calls.to_string(),
        window.to_string(),
        SIZE.to_string(),
    ]);
    let output = command.stdin(Stdio::null()).output().await?;
    if !output.status.success() {
        return Err(format!("{library}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(Duration::from_secs_f64(String::from_utf8(output.stdout)?.trim().parse()?))
}

fn row(
    product: Product,
    version: &str,
    library: &str,
    window: usize,
    calls: u64,
    theirs: &[Duration],
    ours: &[Duration],
) -> String {
    let ratios = theirs.iter().zip(ours).map(|(theirs, ours)| theirs.as_secs_f64() / ours.as_secs_f64());
    let ratio = Spread::over(ratios.collect());
    let (theirs, ours) = (Spread::of(calls, theirs), Spread::of(calls, ours));
    format!(
        "| {product} {version} | {library} | {window} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} |",
        theirs.median, ours.median, ratio.median, ratio.least, ratio.most
    )
}
