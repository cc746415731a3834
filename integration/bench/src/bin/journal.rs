//! Synced sends on a bus with a journal beside what the disk can do, and beside an embedded store (redb) that keeps the
//! same messages; then what a backlog takes in memory and how long it takes to open.
//!
//! `cargo run --release -p polybus-bench --bin journal [messages per round] [directory] [backlog]`

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use polybus_bench::{Spread, machine, say};
use polybus_contract::{
    Arrival, Bounds, ConsumeOptions, Error, Intake, Kind, Message, Name, Operation, Queue, Result, Topology,
    Transport, TransportExt,
};
use polybus_embedded::Embedded;
use redb::{Database, ReadableDatabase, ReadableTableMetadata, TableDefinition};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

const ROUNDS: usize = 5;
const IN_FLIGHT: u64 = 64;
const BODY: usize = 1024;
/// What the journal's file sizes are, for the bare loop.
const SEGMENT: u64 = 16 << 20;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let messages = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let place = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let backlog = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    say(&machine());
    say(&format!(
        "{messages} messages of 1 KiB, {IN_FLIGHT} in flight, {ROUNDS} rounds, in {}",
        place.display()
    ));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| fault(&error))?;
    sends(&runtime, messages, &place)?;
    whole_lives(&runtime, messages, &place)?;
    if backlog > 0 { hold(&runtime, backlog, &place) } else { Ok(()) }
}

fn fault(error: &(impl std::fmt::Display + ?Sized)) -> Error {
    Error::new(Kind::Internal, Operation::Configure).with_detail(error.to_string())
}

fn directory(place: &Path) -> Result<tempfile::TempDir> {
    tempfile::tempdir_in(place).map_err(|error| fault(&error))
}

/// Sends alone, and the disk with batches of the size that was reached.
fn sends(runtime: &Runtime, messages: u64, place: &Path) -> Result<()> {
    let (mut bus, mut bare, mut store, mut ratio) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut group, mut to_store) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let directory = directory(place)?;
        let sent = runtime.block_on(bus_sends(messages, directory.path()))?;
        let batches = batches(runtime, directory.path())?;
        let disk = bare_loop(messages, batches, directory.path()).map_err(|error| fault(&error))?;
        let redb = runtime.block_on(store_lives(messages, directory.path(), false))?;
        ratio.push(disk.as_secs_f64() / sent.as_secs_f64());
        to_store.push(redb.as_secs_f64() / sent.as_secs_f64());
        group.push(per(messages, batches));
        bus.push(sent);
        bare.push(disk);
        store.push(redb);
    }
    say(&format!("bus, synced sends               {}", Spread::of(messages, &bus)));
    say(&format!("bare write and fdatasync        {}", Spread::of(messages, &bare)));
    say(&format!("redb, the same messages         {}", Spread::of(messages, &store)));
    say_ratio("messages in a batch", group);
    say_ratio("bus / bare", ratio);
    say_ratio("bus / redb", to_store);
    Ok(())
}

fn say_ratio(what: &str, figures: Vec<f64>) {
    let Spread { median, least, most } = Spread::over(figures);
    say(&format!("{what:31} {median:>12.2}    (from {least:.2} to {most:.2})"));
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn per(messages: u64, batches: u64) -> f64 {
    messages as f64 / batches.max(1) as f64
}

fn url(directory: &Path) -> String {
    format!("embedded://{}?max_message=1048576", directory.join("bus").display())
}

async fn open(directory: &Path) -> Result<Embedded> {
    let bus = Embedded::from_url(&url(directory))?;
    bus.connect(Duration::from_mins(10)).await?;
    let bounds = Bounds::new(10_000_000, 16 << 30);
    bus.declare(&Topology::new().queue(Queue::new(Name::new("jobs")?).with_bounds(bounds))).await?;
    Ok(bus)
}

/// Sends from as many tasks as may be in flight.
async fn send_all(bus: &Arc<Embedded>, messages: u64) -> Result<Duration> {
    let (jobs, body) = (Name::new("jobs")?, Bytes::from(vec![7; BODY]));
    let begun = Instant::now();
    let senders: Vec<_> = (0..IN_FLIGHT)
        .map(|_| {
            let (bus, jobs, body) = (bus.clone(), jobs.clone(), body.clone());
            tokio::spawn(async move {
                for _ in 0..messages / IN_FLIGHT {
                    // Bytes of its own for each, as in life: what is shared would not be seen in memory.
                    bus.send(&jobs, Message::new(Bytes::copy_from_slice(&body))).await?;
                }
                Ok::<(), Error>(())
            })
        })
        .collect();
    for sender in senders {
        sender.await.map_err(|error| fault(&error))??;
    }
    Ok(begun.elapsed())
}

async fn bus_sends(messages: u64, directory: &Path) -> Result<Duration> {
    send_all(&Arc::new(open(directory).await?), messages).await
}

/// How many batches it took: what an opening finds.
fn batches(runtime: &Runtime, directory: &Path) -> Result<u64> {
    let bus = runtime.block_on(open(directory))?;
    Ok(bus.recovered().map_or(0, |found| found.batches))
}

/// The same bytes in as many pieces, written and synced one after the other over blocks that were written before.
fn bare_loop(messages: u64, batches: u64, directory: &Path) -> std::io::Result<Duration> {
    let file = File::create(directory.join("bare"))?;
    file.write_all_at(&vec![1; usize::try_from(SEGMENT).unwrap_or(0)], 0)?;
    file.sync_all()?;
    let size = messages * (BODY as u64 + 60) / batches.max(1);
    let batch = vec![7; usize::try_from(size).unwrap_or(0)];
    let (begun, mut at) = (Instant::now(), 0);
    for _ in 0..batches {
        if at + size > SEGMENT {
            at = 0;
        }
        file.write_all_at(&batch, at)?;
        file.sync_data()?;
        at += size;
    }
    Ok(begun.elapsed())
}

/// Send, hand out and ack, all synced.
fn whole_lives(runtime: &Runtime, messages: u64, place: &Path) -> Result<()> {
    let (mut bus, mut store, mut ratio) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let directory = directory(place)?;
        let lived = runtime.block_on(bus_lives(messages, directory.path()))?;
        let kept = runtime.block_on(store_lives(messages, directory.path(), true))?;
        ratio.push(kept.as_secs_f64() / lived.as_secs_f64());
        bus.push(lived);
        store.push(kept);
    }
    say(&format!("bus, send, hand out and ack     {}", Spread::of(messages, &bus)));
    say(&format!("redb, insert, update and remove {}", Spread::of(messages, &store)));
    say_ratio("bus / redb", ratio);
    Ok(())
}

async fn bus_lives(messages: u64, directory: &Path) -> Result<Duration> {
    let bus = Arc::new(open(directory).await?);
    let intake = Intake::Queue(Name::new("jobs")?);
    let mut deliveries = bus.consume(&intake, ConsumeOptions::default().with_credit(256_u32)).await?;
    let begun = Instant::now();
    let consumer = tokio::spawn(async move {
        let mut last = None;
        for _ in 0..messages / IN_FLIGHT * IN_FLIGHT {
            let Some(Arrival::Item(delivery)) = deliveries.next().await else {
                return Err(fault("the stream ended"));
            };
            // The order of settles is that of the calls: when the last one is safe, all are.
            last = Some(delivery.ack());
        }
        match last {
            Some(last) => last.await,
            None => Ok(()),
        }
    });
    send_all(&bus, messages).await?;
    consumer.await.map_err(|error| fault(&error))??;
    Ok(begun.elapsed())
}

const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("messages");
const ATTEMPTS: TableDefinition<'_, u64, u32> = TableDefinition::new("attempts");

type Change = (Step, u64, oneshot::Sender<()>);

#[derive(Clone, Copy)]
enum Step {
    Insert,
    HandOut,
    Remove,
}

/// A store with one writing thread that puts whatever waits into one transaction, as the journal does.
async fn store_lives(messages: u64, directory: &Path, whole: bool) -> Result<Duration> {
    let database = Database::create(directory.join("redb")).map_err(|error| fault(&error))?;
    let (changes, mut waiting) = mpsc::channel::<Change>(1024);
    let writer = tokio::task::spawn_blocking(move || {
        let body = vec![7; BODY + 60];
        let mut done = Vec::new();
        while let Some(first) = waiting.blocking_recv() {
            let transaction = database.begin_write()?;
            {
                let (mut table, mut attempts) =
                    (transaction.open_table(TABLE)?, transaction.open_table(ATTEMPTS)?);
                let mut next = Some(first);
                while let Some((step, key, told)) = next {
                    match step {
                        Step::Insert => drop(table.insert(key, &*body)?),
                        Step::HandOut => drop(attempts.insert(key, 1)?),
                        Step::Remove => {
                            table.remove(key)?;
                            attempts.remove(key)?;
                        }
                    }
                    done.push(told);
                    next = waiting.try_recv().ok();
                }
            }
            transaction.commit()?;
            // Whoever went away needs no answer.
            done.drain(..).for_each(|told: oneshot::Sender<()>| told.send(()).unwrap_or(()));
        }
        let left = database.begin_read()?.open_table(TABLE)?.len()?;
        Ok::<u64, redb::Error>(left)
    });
    let (numbers, begun) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let senders: Vec<_> = (0..IN_FLIGHT)
        .map(|_| {
            let (changes, numbers) = (changes.clone(), numbers.clone());
            tokio::spawn(async move {
                for _ in 0..messages / IN_FLIGHT {
                    let key = numbers.fetch_add(1, Ordering::Relaxed);
                    change(&changes, Step::Insert, key).await;
                    if whole {
                        change(&changes, Step::HandOut, key).await;
                        change(&changes, Step::Remove, key).await;
                    }
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.map_err(|error| fault(&error))?;
    }
    let elapsed = begun.elapsed();
    drop(changes);
    writer.await.map_err(|error| fault(&error))?.map_err(|error| fault(&error))?;
    Ok(elapsed)
}

async fn change(changes: &mpsc::Sender<Change>, step: Step, key: u64) {
    let (told, done) = oneshot::channel();
    // A closed channel shows in the result of the writer.
    if changes.send((step, key, told)).await.is_ok() {
        let _ = done.await;
    }
}

/// A backlog: memory beside what the queue counts, disk, and the time to open it again.
fn hold(runtime: &Runtime, backlog: u64, place: &Path) -> Result<()> {
    let directory = directory(place)?;
    let before = resident();
    let bus = Arc::new(runtime.block_on(open(directory.path()))?);
    runtime.block_on(send_all(&bus, backlog))?;
    let held = resident().saturating_sub(before);
    let info = runtime.block_on(async {
        let intake = Intake::Queue(Name::new("jobs")?);
        bus.admin().ok_or_else(|| fault("no desk"))?.inspect(&intake).await
    })?;
    let counted = info.bytes.unwrap_or(0);
    say(&format!(
        "backlog of {} messages: {} MiB counted by the queue, {} MiB resident, {} MiB on disk",
        info.ready.unwrap_or(0),
        counted >> 20,
        held >> 20,
        used(directory.path()) >> 20
    ));
    drop(bus);
    let begun = Instant::now();
    let bus = runtime.block_on(open(directory.path()))?;
    let found = bus.recovered().map_or(0, |found| found.messages);
    say(&format!("opened again with {found} messages in {:.2} s", begun.elapsed().as_secs_f64()));
    Ok(())
}

fn used(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory.join("bus")) else { return 0 };
    entries.filter_map(|entry| entry.ok()?.metadata().ok()).map(|found| found.len()).sum()
}

/// Bytes of this process in memory; 0 where the system does not tell.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4096
}
