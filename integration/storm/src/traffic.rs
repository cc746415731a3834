//! Calls and jobs, and what comes of them.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use polybus::frame::{Appdata, Identity};
use polybus::{
    Bus, Call, CallError, Client, Message, MessageId, Name, PublishOptions, Status, Target, pause,
};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::ledger::Ledger;
use crate::work::{JOBS, NUMBER, SERVICE};

/// A call that takes this much longer than its deadline hangs.
const SLACK: Duration = Duration::from_secs(30);

/// How long a job is sent again before it is given up; not confirmed, so nothing is promised of it.
const JOB_TRIES: u32 = 100;

/// How much there is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) calls: u64,
    pub(crate) jobs: u64,
    pub(crate) in_flight: u64,
    pub(crate) deadline: Duration,
}

/// Starts all calls and jobs; they end by themselves.
pub(crate) fn start(bus: &Bus, load: Load, ledger: &Arc<Ledger>) -> Result<JoinSet<()>, String> {
    let mut traffic = JoinSet::new();
    let client = Client::new(bus, Identity::new("polybus-storm", "localdomain"));
    let (calls, jobs) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    for _ in 0..load.in_flight {
        traffic.spawn(call_all(client.clone(), load, calls.clone(), ledger.clone()));
    }
    let queue = Name::new(JOBS).map_err(|error| error.to_string())?;
    for _ in 0..load.in_flight.div_ceil(4) {
        traffic.spawn(send_all(bus.clone(), queue.clone(), load, jobs.clone(), ledger.clone()));
    }
    Ok(traffic)
}

/// The next number below `end`.
fn next(numbers: &AtomicU64, end: u64) -> Option<u64> {
    Some(numbers.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < end)
}

async fn call_all(client: Client, load: Load, numbers: Arc<AtomicU64>, ledger: Arc<Ledger>) {
    while let Some(number) = next(&numbers, load.calls) {
        ledger.calling(number);
        let appdata = Appdata::new().text(NUMBER, Some(&number.to_string()));
        let call = Call::new(SERVICE, appdata).with_deadline(load.deadline);
        let began = Instant::now();
        match tokio::time::timeout(load.deadline + SLACK, client.call(call)).await {
            Ok(Ok(called)) if called.reply.retcode == 0 => ledger.answered(number, &called.reply.stdout),
            Ok(Ok(called)) => ledger.failed(number, refused(&called)),
            Ok(Err(error)) => {
                // The figures tell how many, not which and why.
                let _ = writeln!(io::stderr(), "call {number} after {:.1?}: {error}", began.elapsed());
                ledger.failed(number, kind(&error));
            }
            Err(_) => ledger.hanging(number),
        }
    }
}

fn refused(called: &polybus::Called) -> String {
    called.reply.error.as_ref().map_or_else(|| "refused".to_owned(), |error| error.code.clone())
}

fn kind(error: &CallError) -> String {
    error.kind().map_or_else(|| error.to_string(), |kind| kind.to_string())
}

async fn send_all(bus: Bus, queue: Name, load: Load, numbers: Arc<AtomicU64>, ledger: Arc<Ledger>) {
    while let Some(number) = next(&numbers, load.jobs) {
        ledger.sending(number);
        if sent(&bus, &queue, number).await {
            ledger.confirmed(number);
        }
    }
}

/// Sends until it is confirmed, with one id.
async fn sent(bus: &Bus, queue: &Name, number: u64) -> bool {
    let target = Target::Queue(queue.clone());
    let message = Message::new(number.to_string()).with_id(MessageId::from(Uuid::now_v7()));
    let mut resends = 0;
    for attempt in 1..=JOB_TRIES {
        let options = PublishOptions::default().with_send_number(resends);
        match bus.transport().publish(&target, message.clone(), options).await {
            Ok(receipt) => return receipt.confirmed().is_some(),
            Err(failure) => resends += u32::from(failure.status() == Status::Unknown),
        }
        tokio::time::sleep(pause(attempt)).await;
    }
    false
}
