//! R: resources, and the comparison of two buses.

use polybus_contract::{
    Bounds, ConsumeOptions, Intake, Kind, Message, Name, PublishOptions, Target, Transport, TransportExt,
};

use crate::case::{Case, CaseResult, Fail, case, ensure};
use crate::stage::Stage;

/// The table of the group.
pub(super) const CASES: &[Case] = &[
    case!(R1 memory_bound [Queue, Settle, Confirm] "a queue takes no more than its bound, and what passes through it is not kept"),
    case!(R2 no_leak_reconnect [Queue] "connecting and closing again and again leaves no task, no open file and no memory behind"),
    case!(R3 embedded_equals_live [] "the same answers as another bus, the embedded one as a rule, wherever both declare support"),
];

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// The size of one message of the memory case.
const MESSAGE: u64 = 16 * KIB;
/// What the queue of the memory case may hold.
const BOUND: u64 = 4 * MIB;
/// How much passes through it.
const PASSED: u64 = 64 * MIB;
/// What may be in use beyond what was in use before: the bound twice, and what allocators keep.
const ALLOWED: u64 = 2 * BOUND + 16 * MIB;

/// The memory of this process in bytes. A bus in this process is in it, of another one only the client.
fn resident() -> CaseResult<u64> {
    let unknown = || Fail::NotRun("this system does not say how much memory a process uses".to_owned());
    let status = std::fs::read_to_string("/proc/self/status").map_err(|_| unknown())?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or_else(unknown)?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().map_err(|_| unknown())?;
    Ok(kib * KIB)
}

fn within_bound(before: u64, what: &str) -> CaseResult {
    let grown = resident()?.saturating_sub(before);
    ensure!(
        grown <= ALLOWED,
        "{what} the process had grown by {} KiB, {} KiB are allowed",
        grown / KIB,
        ALLOWED / KIB
    );
    Ok(())
}

async fn memory_bound(stage: &Stage) -> CaseResult {
    let bus = stage.connect().await?;
    let queue = stage.queue("q")?.with_bounds(Bounds::new(1_000_000, BOUND));
    let queue = stage.declare_this(&*bus, queue).await?;
    let before = resident()?;
    let accepted = fill(stage, &*bus, &queue).await?;
    ensure!(
        accepted * MESSAGE >= BOUND / 2,
        "the queue was full after {accepted} messages, half of its bound"
    );
    within_bound(before, "with a full queue")?;
    let mut incoming = stage.consume(&*bus, &Intake::Queue(queue.clone()), ConsumeOptions::default()).await?;
    let target = Target::Queue(queue);
    // Side by side: sends under way may have passed the bound, and there is room only when all of that is taken.
    let taking = async {
        for _ in 0..PASSED / MESSAGE {
            stage.next(&mut incoming, "the consumer").await?.ack().await?;
        }
        CaseResult::Ok(())
    };
    let sending = async {
        for _ in 0..PASSED / MESSAGE {
            let room = PublishOptions::default().with_when_full(polybus_contract::WhenFull::Wait);
            stage.bounded("a publish", bus.publish(&target, large(), room)).await??;
        }
        CaseResult::Ok(())
    };
    tokio::try_join!(taking, sending)?;
    within_bound(before, "after much had passed through the queue")
}

fn large() -> Message {
    Message::new(vec![7_u8; usize::try_from(MESSAGE).unwrap_or(0)])
}

/// Sends until the queue is full, and says how many it took.
async fn fill(stage: &Stage, bus: &dyn Transport, queue: &Name) -> CaseResult<u64> {
    let most = 2 * BOUND / MESSAGE;
    for accepted in 0..most {
        match stage.bounded("a send", bus.send(queue, large())).await? {
            Ok(_) => {}
            Err(error) if error.kind() == Kind::Full => return Ok(accepted),
            Err(error) => return Err(error.into()),
        }
    }
    Err(Fail::broken(format!("a queue with a bound of {BOUND} bytes took {most} messages of {MESSAGE}")))
}

/// What a process has open.
fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

async fn no_leak_reconnect(stage: &Stage) -> CaseResult {
    const ROUNDS: usize = 200;
    /// Other work of this process may come and go meanwhile; a leak would be one for each round.
    const OTHERS: usize = ROUNDS / 4;
    let bus = stage.connect().await?;
    let queue = stage.declare_queue(&*bus, "q").await?;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for _ in 0..10 {
        come_and_go(stage, &queue).await?;
    }
    let (alive, open, memory) = (tasks(), open_files(), resident()?);
    for _ in 0..ROUNDS {
        come_and_go(stage, &queue).await?;
    }
    stage.until("that the tasks of closed handles end", || async { tasks() <= alive + OTHERS }).await?;
    stage.until("that closed handles close their files", || async { open_files() <= open + OTHERS }).await?;
    // What one connection takes comes and goes with it, at any moment of the measurement; what leaked does not go.
    for _ in 0..OTHERS {
        if within_bound(memory, "").is_ok() {
            break;
        }
        come_and_go(stage, &queue).await?;
    }
    within_bound(memory, "after many connections")
}

/// Connects, consumes, closes.
async fn come_and_go(stage: &Stage, queue: &Name) -> CaseResult {
    let handle = stage.connect().await?;
    let intake = Intake::Queue(queue.clone());
    let incoming = stage.consume(&*handle, &intake, ConsumeOptions::default()).await?;
    drop(incoming);
    stage.bounded("a close", handle.close()).await?;
    Ok(())
}

async fn embedded_equals_live(_stage: &Stage) -> CaseResult {
    Err(Fail::NotRun("no other bus was given to compare this one with".to_owned()))
}
