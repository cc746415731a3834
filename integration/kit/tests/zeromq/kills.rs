//! A broker with a journal is killed with SIGKILL twenty times under load: what was confirmed is not lost, what was acked
//! and confirmed does not come back, and clients that were there from the beginning go on by themselves.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libtest_mimic::Failed;
use polybus_contract::{
    Arrival, Checked, ConsumeOptions, Intake, Message, Name, Queue, Topology, Transport, TransportExt,
};
use polybus_kit::{Fault, Faults};
use polybus_zeromq::ZeroMq;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::Under;
use crate::child::{Child, SECRET};

const KILLS: u64 = 20;
const SENDERS: u64 = 16;
const WORKERS: usize = 2;
const CREDIT: u32 = 20;
const LEASE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_mins(1);

/// What is known from outside.
#[derive(Default)]
struct Books {
    /// Sent, and confirmed to whoever sent it.
    confirmed: Mutex<HashSet<String>>,
    /// Handed out.
    seen: Mutex<HashSet<String>>,
    /// Acked, and that was confirmed.
    acked: Mutex<HashSet<String>>,
    violations: Mutex<Vec<String>>,
    ended: AtomicBool,
    doubtful: AtomicU64,
    last: Mutex<Option<Instant>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn client(broker: &Child) -> Result<Arc<dyn Transport>, Failed> {
    Ok(Arc::new(Checked::new(Arc::new(ZeroMq::from_url(&broker.url(SECRET))?))))
}

fn queue() -> Result<Name, Failed> {
    Ok(Name::new("kills")?)
}

async fn send(bus: Arc<dyn Transport>, queue: Name, books: Arc<Books>, sender: u64) {
    let mut number = 0;
    while !books.ended.load(Ordering::Relaxed) {
        let id = format!("{sender}-{number}");
        number += 1;
        if bus.send(&queue, Message::new("x").with_id(id.as_str())).await.is_ok() {
            locked(&books.confirmed).insert(id);
            continue;
        }
        books.doubtful.fetch_add(1, Ordering::Relaxed);
        let _ = bus.connect(PATIENCE).await;
    }
}

async fn work(bus: Arc<dyn Transport>, queue: Name, books: Arc<Books>) {
    let options = ConsumeOptions::default().with_credit(CREDIT);
    let Ok(mut deliveries) = bus.consume(&Intake::Queue(queue), options).await else {
        return locked(&books.violations).push("nothing can be consumed".to_owned());
    };
    while let Some(arrival) = deliveries.next().await {
        let Arrival::Item(delivery) = arrival else { continue };
        let id = delivery.message().id().map(ToString::to_string).unwrap_or_default();
        *locked(&books.last) = Some(Instant::now());
        if locked(&books.acked).contains(&id) {
            locked(&books.violations).push(format!("{id} came back though its ack was confirmed"));
        }
        locked(&books.seen).insert(id.clone());
        if delivery.ack().await.is_ok() {
            locked(&books.acked).insert(id);
        }
    }
    locked(&books.violations).push(format!("a consumer came to its end: {:?}", deliveries.end()));
}

async fn weather(broker: &Child, random: &mut fastrand::Rng) -> Result<(), Failed> {
    for _ in 0..KILLS {
        sleep(Duration::from_millis(random.u64(50..300))).await;
        broker.inject(Fault::Kill).await?;
        sleep(Duration::from_millis(random.u64(0..100))).await;
        broker.inject(Fault::Start).await?;
    }
    Ok(())
}

/// Nothing has come for longer than a lease and a pause.
async fn until_quiet(books: &Books) {
    let since = Instant::now();
    loop {
        let last = locked(&books.last).unwrap_or(since);
        if last.elapsed() > LEASE * 3 {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn run(under: Under) -> Result<(), Failed> {
    let broker = Child::start(under).await?;
    let (queue, books) = (queue()?, Arc::<Books>::default());
    let sender = client(&broker)?;
    sender
        .declare(
            &Topology::new().queue(Queue::new(queue.clone()).with_lease(LEASE).with_max_attempts(1000_u32)),
        )
        .await?;
    let mut tasks = JoinSet::new();
    for _ in 0..WORKERS {
        tasks.spawn(work(client(&broker)?, queue.clone(), books.clone()));
    }
    let mut senders = JoinSet::new();
    for number in 0..SENDERS {
        senders.spawn(send(sender.clone(), queue.clone(), books.clone(), number));
    }
    weather(&broker, &mut fastrand::Rng::with_seed(20)).await?;
    sleep(Duration::from_millis(300)).await;
    books.ended.store(true, Ordering::Relaxed);
    let all = async { while senders.join_next().await.is_some() {} };
    timeout(PATIENCE, all).await?;
    timeout(PATIENCE, until_quiet(&books)).await?;
    judge(&books)
}

fn judge(books: &Books) -> Result<(), Failed> {
    let (confirmed, seen, acked) = (locked(&books.confirmed), locked(&books.seen), locked(&books.acked));
    let violations = locked(&books.violations);
    if let Some(first) = violations.first() {
        return Err(format!("{} violations, the first: {first}", violations.len()).into());
    }
    let lost: Vec<_> = confirmed.difference(&seen).collect();
    if let Some(first) = lost.first() {
        return Err(
            format!("{} of {} confirmed messages are lost, as {first}", lost.len(), confirmed.len()).into()
        );
    }
    let doubtful = books.doubtful.load(Ordering::Relaxed);
    println!(
        "{KILLS} kills: {} confirmed, {} seen, {} acked, {doubtful} doubtful",
        confirmed.len(),
        seen.len(),
        acked.len()
    );
    // The load was a load.
    if confirmed.len() < 500 || doubtful == 0 {
        return Err(format!("only {} confirmed, {doubtful} doubtful", confirmed.len()).into());
    }
    Ok(())
}

pub(crate) fn twenty(under: Under) -> Result<(), Failed> {
    crate::runtime()?.block_on(run(under))
}
