//! I: lifecycle.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use polybus_contract::{
    Confirm, ConsumeOptions, DrainReport, Feature, Intake, Kind, Message, Name, Outcome, PublishOptions,
    Queue, RequestOptions, Result, Status, SubscribeOptions, Target, Topology, Transport,
};

use crate::case::{Case, CaseResult, Fail, case, ensure, refused};
use crate::checker::Expect;
use crate::faults::Fault;
use crate::stage::Stage;
use crate::traffic::{Consumer, Taken};

/// The table of the group.
pub(super) const CASES: &[Case] = &[
    case!(I1 build_no_io [] "a handle is built at once and outside of any runtime, and connects later"),
    case!(I2 bad_credentials [] "a wrong password is a permanent, typed error, and is not in its text"),
    case!(I3 drain [Queue, Settle] "a drain stops the intake, waits for what is in hand, and gives back the rest unseen"),
    case!(I4 drain_deadline [Queue, Settle] "a drain ends at its deadline and says what it abandoned, which comes back"),
    case!(I5 drain_while_down [Queue, Settle] {Stop, Start} "a drain during an outage ends in time and does not claim success"),
    case!(I6 close_idempotent [Queue, Settle] "a close may be repeated, also while another one waits; all report the same"),
    case!(I7 use_after_close [Queue] "after its close a handle answers every call that it is closed"),
    case!(I8 restart_in_process [Queue, Settle] "a service that stops and starts again finds its queue, and leaves no consumer behind"),
];

async fn build_no_io(stage: &Stage) -> CaseResult {
    let subject = stage.subject().clone();
    // A thread of its own: a blocking task would still be inside of the runtime.
    let outside = move || std::thread::spawn(move || subject.open()).join().ok();
    let built = stage.bounded("building a handle", tokio::task::spawn_blocking(outside)).await?;
    let handle =
        built.ok().flatten().ok_or_else(|| Fail::broken("a handle cannot be built outside of a runtime"))?;
    stage.bounded("connect", handle.connect(stage.times().patience)).await??;
    stage.bounded("a close", handle.drain(Duration::ZERO)).await?;
    Ok(())
}

async fn bad_credentials(stage: &Stage) -> CaseResult {
    let Some((handle, password)) = stage.subject().stranger() else {
        return Err(Fail::NotRun("nobody gave a wrong password to try".to_owned()));
    };
    let connected =
        stage.bounded("a connect with a wrong password", handle.connect(stage.times().patience)).await?;
    let error = refused(connected, "a connect with a wrong password", |kind| kind == Kind::Unauthorized)?;
    ensure!(error.status() == Status::Permanent, "a wrong password is {:?}, not permanent", error.status());
    for text in
        [error.to_string(), format!("{error:?}"), format!("{handle:?}"), format!("{:?}", handle.health())]
    {
        ensure!(!text.contains(password), "a text shows the password: {}", text.replace(password, "***"));
    }
    Ok(())
}

/// A queue with messages, and somebody else who has some of them in hand.
struct Shift {
    bus: Arc<dyn Transport>,
    other: Arc<dyn Transport>,
    queue: Name,
    consumer: Consumer,
    in_hand: Vec<Taken>,
}

impl Shift {
    async fn new(stage: &Stage, queue: Queue, messages: u64, in_hand: usize) -> CaseResult<Self> {
        let (bus, other) = (stage.connect().await?, stage.connect().await?);
        let queue = stage.declare_this(&*other, queue).await?;
        stage.producer("p").send_many(&*other, &queue, messages).await?;
        let credit = u32::try_from(in_hand).unwrap_or(u32::MAX).saturating_add(2);
        let mut consumer = stage.consumer(&*bus, &queue, "leaving", credit).await?;
        let mut taken = Vec::new();
        for _ in 0..in_hand {
            taken.push(consumer.next().await?);
        }
        Ok(Self { bus, other, queue, consumer, in_hand: taken })
    }
}

/// Drains within a bound, and gives the report.
async fn drained(stage: &Stage, bus: &dyn Transport, within: Duration) -> CaseResult<DrainReport> {
    let bound = within + stage.times().patience;
    let late = |_| Fail::broken(format!("a drain of {within:?} did not end within {bound:?}"));
    tokio::time::timeout(bound, bus.drain(within)).await.map_err(late)
}

async fn drain(stage: &Stage) -> CaseResult {
    let mut shift = Shift::new(stage, stage.queue("q")?, 10, 3).await?;
    let in_hand = std::mem::take(&mut shift.in_hand);
    let draining = drained(stage, &*shift.bus, stage.times().patience);
    let working = async {
        // The drain has the first turn; then the jobs end one by one.
        tokio::time::sleep(stage.times().redelivery).await;
        for (number, taken) in in_hand.into_iter().enumerate() {
            let outcome = if number == 0 { Outcome::Release } else { Outcome::Ack };
            taken.settle(outcome).await.map_err(|fail| fail.during("during a drain"))?;
        }
        CaseResult::Ok(())
    };
    let (report, worked) = join(draining, working).await;
    worked?;
    let report = report?;
    let counted = (report.finished, report.abandoned, report.unflushed);
    ensure!(counted == (3, 0, 0), "three were finished during the drain, it reports {report}");
    let more = stage.bounded("the end of a drained intake", shift.consumer.incoming().next()).await?;
    ensure!(more.is_none(), "after its drain something came to the consumer: {more:?}");
    let mut next = stage.consumer(&*shift.other, &shift.queue, "next", 10).await?;
    for _ in 0..8 {
        let taken = next.next().await?;
        let unseen = taken.attempt() == 1 || !stage.has(Feature::UncountedRelease);
        ensure!(unseen, "{taken} was given back unseen, and that was counted");
        taken.ack().await?;
    }
    next.nothing_more().await
}

async fn drain_deadline(stage: &Stage) -> CaseResult {
    let mut shift = Shift::new(stage, stage.short_queue("q")?, 1, 1).await?;
    let report = drained(stage, &*shift.bus, stage.times().redelivery / 4).await?;
    ensure!(report.abandoned == 1, "one was in hand when the drain ended, it reports {report}");
    ensure!(!report.is_clean(), "a drain that abandoned something says that it was clean");
    let mut next = stage.consumer(&*shift.other, &shift.queue, "next", 1).await?;
    let again = next.next().await.map_err(|fail| fail.during("what a drain abandoned"))?;
    for late in std::mem::take(&mut shift.in_hand) {
        let settled = late.try_settle(Outcome::Ack).await?;
        let gone = |kind| matches!(kind, Kind::Stale | Kind::Closed | Kind::Disconnected);
        refused(settled, "an ack after the drain, while another one has the message", gone)?;
    }
    again.ack().await?;
    next.nothing_more().await
}

async fn drain_while_down(stage: &Stage) -> CaseResult {
    let faults = stage.faults(&[Fault::Stop, Fault::Start])?;
    let mut shift = Shift::new(stage, stage.queue("q")?, 1, 1).await?;
    faults.inject(Fault::Stop).await?;
    let mut settled = Vec::new();
    let report = drained(stage, &*shift.bus, stage.times().redelivery).await;
    for taken in std::mem::take(&mut shift.in_hand) {
        settled.push(taken.try_settle(Outcome::Ack).await?.is_ok());
    }
    faults.inject(Fault::Start).await?;
    let report = report?;
    ensure!(!report.is_clean(), "a drain without a bus says that it was clean: {report}");
    ensure!(!settled.contains(&true), "an ack after a drain without a bus answered Ok");
    Ok(())
}

async fn close_idempotent(stage: &Stage) -> CaseResult {
    let shift = Shift::new(stage, stage.queue("q")?, 1, 1).await?;
    let within = stage.times().redelivery;
    let (one, two) = join(drained(stage, &*shift.bus, within), drained(stage, &*shift.bus, within)).await;
    let (one, two, three) = (one?, two?, drained(stage, &*shift.bus, Duration::ZERO).await?);
    ensure!(one == two && two == three, "three closes of one handle report {one}, {two}, {three}");
    ensure!(one.abandoned == 1, "one was in hand, the closes report {one}");
    Ok(())
}

async fn use_after_close(stage: &Stage) -> CaseResult {
    let bus = stage.connect().await?;
    let queue = stage.declare_queue(&*bus, "q").await?;
    let intake = Intake::Queue(queue.clone());
    let mut incoming = stage.consume(&*bus, &intake, ConsumeOptions::default()).await?;
    stage.bounded("a close", bus.drain(Duration::ZERO)).await?;
    let rest = stage.bounded("the end of a stream after the close", incoming.next()).await?;
    ensure!(rest.is_none(), "after the close something came: {rest:?}");
    let message = || Message::new("after the close");
    let options = PublishOptions::default().with_confirm(Confirm::WhereAble);
    let target = Target::Queue(queue.clone());
    closed(stage, "publish", bus.publish(&target, message(), options)).await?;
    closed(stage, "consume", bus.consume(&intake, ConsumeOptions::default())).await?;
    closed(stage, "connect", bus.connect(stage.times().patience)).await?;
    closed(stage, "declare", bus.declare(&Topology::new().queue(Queue::new(queue)))).await?;
    if stage.has(Feature::Topic) {
        closed(stage, "subscribe", bus.subscribe(&stage.name("t")?, SubscribeOptions::default())).await?;
    }
    if stage.has(Feature::Request) {
        closed(stage, "request", bus.request(&target, message(), RequestOptions::default())).await?;
    }
    Ok(())
}

/// The call answers in time that the handle is closed.
async fn closed<T>(stage: &Stage, verb: &str, call: impl Future<Output = Result<T>>) -> CaseResult {
    let answer = stage.bounded(&format!("{verb} after the close"), call).await?;
    refused(answer, &format!("{verb} after the close"), |kind| kind == Kind::Closed).map(|_| ())
}

async fn restart_in_process(stage: &Stage) -> CaseResult {
    let mut producer = stage.producer("p");
    let queue = stage.queue("q")?;
    for round in 0..3 {
        let bus = stage.connect().await?;
        let name = stage.declare_this(&*bus, queue.clone()).await?;
        producer.send_many(&*bus, &name, 3).await?;
        let mut consumer = stage.consumer(&*bus, &name, &format!("round {round}"), 10).await?;
        one_consumer(stage, &*bus, &name).await?;
        // The last two of each round are left for the next one.
        let taken = if round == 0 { 1 } else { 3 };
        for _ in 0..taken {
            consumer.next().await?.ack().await?;
        }
        drop(consumer);
        stage.bounded("a close", bus.drain(stage.times().patience)).await?;
    }
    let bus = stage.connect().await?;
    let mut last = stage.consumer(&*bus, &queue.name, "last", 10).await?;
    for _ in 0..2 {
        last.next().await?.ack().await?;
    }
    last.nothing_more().await?;
    stage.check(&Expect::each_once()).map(|_| ())
}

/// The service that runs now is the only one that consumes, as far as the bus can tell.
async fn one_consumer(stage: &Stage, bus: &dyn Transport, queue: &Name) -> CaseResult {
    let Some(desk) = bus.admin().filter(|_| stage.has(Feature::Inspect)) else { return Ok(()) };
    let intake = Intake::Queue(queue.clone());
    let info = stage.bounded("a look at the queue", desk.inspect(&intake)).await??;
    let consumers = info.consumers.unwrap_or(1);
    ensure!(consumers == 1, "one service runs, and the queue has {consumers} consumers");
    Ok(())
}
