//! H: publishing.

use std::collections::HashSet;

use futures_util::future::{join, join_all};
use polybus_contract::{
    Bounds, ConsumeOptions, Durability, Intake, Kind, Message, Name, PublishOptions, Receipt, Result, Target,
    Transport, TransportExt, WhenFull,
};

use crate::case::{Case, CaseResult, Fail, case, ensure, refused};
use crate::checker::Expect;
use crate::faults::Fault;
use crate::stage::Stage;
use crate::traffic::{Consumer, Producer};

/// The table of the group.
pub(super) const CASES: &[Case] = &[
    case!(H1 confirm_is_durable [Queue, Settle, Confirm, SurvivesProcess] {Kill, Start} "every confirmed message is there after the bus was killed"),
    case!(H2 refused_is_error [Queue, Settle, Confirm] "a send that a full queue refuses is an error, at once or after the wait that was asked for"),
    case!(H3 outage_bounded [Queue, Settle, Confirm] {Stop, Start} "a publish during an outage ends with a typed error in time; what was refused never arrives"),
    case!(H4 close_flushes [Queue, Settle] "after a close every publish is there, or the close says how many are not"),
    case!(H5 batch_partial [Queue, Settle, Confirm] "each of many publishes at once has its own outcome"),
];

/// Takes and acks all that comes, until nothing more does; says how many.
pub(super) async fn take_all(stage: &Stage, consumer: &mut Consumer) -> CaseResult<u64> {
    let mut taken = 0;
    while let Some(next) = consumer.next_until(stage.quiet()).await? {
        next.ack().await?;
        taken += 1;
    }
    Ok(taken)
}

async fn confirm_is_durable(stage: &Stage) -> CaseResult {
    let faults = stage.faults(&[Fault::Kill, Fault::Start])?;
    let bus = stage.connect().await?;
    let durable = stage.queue("q")?.with_durability(Durability::Process);
    let queue = stage.declare_this(&*bus, durable).await?;
    let mut producer = stage.producer("p");
    let until = stage.choose(|random| random.u64(50..150));
    producer.send_many(&*bus, &queue, until).await?;
    let sending = send_until_refused(stage, &*bus, &queue, &mut producer);
    let (sent, killed) = join(sending, faults.inject(Fault::Kill)).await;
    sent?;
    killed?;
    faults.inject(Fault::Start).await?;
    let reader = stage.connect().await?;
    take_all(stage, &mut stage.consumer(&*reader, &queue, "c", 10).await?).await?;
    stage.check(&Expect::default().with_complete(true)).map(|_| ())
}

async fn send_until_refused(
    stage: &Stage,
    bus: &dyn Transport,
    queue: &Name,
    producer: &mut Producer,
) -> CaseResult {
    let target = Target::Queue(queue.clone());
    for _ in 0..1000 {
        let (stamp, message) = producer.message();
        let options = PublishOptions::default().with_within(stage.times().redelivery);
        if producer.hand_in(bus, &target, &stamp, message, options).await?.is_err() {
            break;
        }
    }
    Ok(())
}

async fn refused_is_error(stage: &Stage) -> CaseResult {
    /// A bus may take a few more that were in flight.
    const MOST: usize = 64;
    let bus = stage.connect().await?;
    let queue = stage.declare_this(&*bus, stage.queue("q")?.with_bounds(Bounds::new(3, 1 << 20))).await?;
    let target = Target::Queue(queue.clone());
    let mut producer = stage.producer("p");
    let mut answer = Ok(());
    for _ in 0..MOST {
        answer = offer(stage, &*bus, &target, &mut producer, PublishOptions::default()).await?.map(|_| ());
        if answer.is_err() {
            break;
        }
    }
    refused(answer, "a send to a queue that is full", |kind| kind == Kind::Full)?;
    let wait = PublishOptions::default().with_when_full(WhenFull::Wait);
    let short = wait.clone().with_within(stage.times().redelivery);
    let waited = offer(stage, &*bus, &target, &mut producer, short).await?;
    let full_or_late = |kind| matches!(kind, Kind::Full | Kind::DeadlineExceeded);
    refused(waited, "a send that waited for room in vain", full_or_late)?;
    let mut consumer = stage.consumer(&*bus, &queue, "c", 1).await?;
    let patient = wait.with_within(stage.times().patience);
    let waiting = offer(stage, &*bus, &target, &mut producer, patient);
    let (sent, taken) = join(waiting, take_all(stage, &mut consumer)).await;
    sent?.map_err(|error| Fail::from(error).during("a send that waited for room, which was made"))?;
    taken?;
    take_all(stage, &mut consumer).await?;
    stage.check(&Expect::each_once()).map(|_| ())
}

/// Offers the next message; what the bus answers.
pub(super) async fn offer(
    stage: &Stage,
    bus: &dyn Transport,
    target: &Target,
    producer: &mut Producer,
    options: PublishOptions,
) -> CaseResult<Result<Receipt>> {
    let (stamp, message) = producer.message();
    let bound = options.within + stage.times().patience;
    let offered = producer.hand_in(bus, target, &stamp, message, options);
    let late = |_| Fail::broken(format!("a publish did not end within {bound:?}"));
    tokio::time::timeout(bound, offered).await.map_err(late)?
}

async fn outage_bounded(stage: &Stage) -> CaseResult {
    let faults = stage.faults(&[Fault::Stop, Fault::Start])?;
    let bus = stage.connect().await?;
    let queue = stage.declare_queue(&*bus, "q").await?;
    let target = Target::Queue(queue.clone());
    let mut producer = stage.producer("p");
    producer.send(&*bus, &queue).await?;
    // Nothing waits over the outage: not every bus keeps it.
    let mut before = stage.consumer(&*bus, &queue, "before", 1).await?;
    before.next().await?.ack().await?;
    drop(before);
    faults.inject(Fault::Stop).await?;
    let short = PublishOptions::default().with_within(stage.times().redelivery);
    let during = offer(stage, &*bus, &target, &mut producer, short).await?;
    let down = |kind| matches!(kind, Kind::Disconnected | Kind::DeadlineExceeded);
    let checked = refused(during, "a publish during an outage", down);
    faults.inject(Fault::Start).await?;
    checked?;
    stage.bounded("a reconnect", bus.connect(stage.times().patience)).await??;
    if faults.takes_client() {
        stage.declare_queue(&*bus, "q").await?;
    }
    producer.send(&*bus, &queue).await.map_err(|fail| fail.during("after an outage"))?;
    let mut consumer = stage.consumer(&*bus, &queue, "c", 1).await?;
    take_all(stage, &mut consumer).await?;
    stage.check(&Expect::each_once()).map(|_| ())
}

async fn close_flushes(stage: &Stage) -> CaseResult {
    const MESSAGES: usize = 1000;
    let (sender, reader) = (stage.connect().await?, stage.connect().await?);
    let queue = stage.declare_queue(&*reader, "q").await?;
    let sends = (0..MESSAGES).map(|number| {
        let message = Message::new(number.to_string());
        sender.send_unconfirmed(&queue, message)
    });
    let handed = join_all(sends).await.into_iter().flatten().count();
    let report = stage.bounded("a close", sender.drain(stage.times().patience)).await?;
    let intake = Intake::Queue(queue);
    let options = ConsumeOptions::default().with_credit(100_u32);
    let mut incoming = stage.consume(&*reader, &intake, options).await?;
    let mut present = HashSet::new();
    while let Some(delivery) = stage.next_within(&mut incoming, "the reader", stage.quiet()).await? {
        present.extend(delivery.message().body().as_bytes().cloned());
        delivery.ack().await?;
    }
    let missing = handed.saturating_sub(present.len());
    let unflushed = usize::try_from(report.unflushed).unwrap_or(usize::MAX);
    ensure!(missing <= unflushed, "{missing} of {handed} publishes are missing, the close said {report}");
    Ok(())
}

async fn batch_partial(stage: &Stage) -> CaseResult {
    let bus = stage.connect().await?;
    let queue = stage.declare_queue(&*bus, "q").await?;
    let missing = stage.name("not-declared")?;
    let publishes = (0..10).map(|number| {
        let to = if number == 4 { &missing } else { &queue };
        bus.send(to, Message::new(number.to_string()))
    });
    let outcomes = stage.bounded("ten publishes", join_all(publishes)).await?;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        match (number, outcome) {
            (4, outcome) => {
                let kind = |kind| kind == Kind::Unroutable;
                refused(outcome.map(|_| ()), "a send to a queue that is not there", kind)?;
            }
            (_, Ok(_)) => {}
            (number, Err(error)) => {
                return Err(
                    Fail::from(error).during(format!("publish {number}, beside one that was refused"))
                );
            }
        }
    }
    let intake = Intake::Queue(queue);
    let mut incoming = stage.consume(&*bus, &intake, ConsumeOptions::default()).await?;
    let mut arrived = 0;
    while let Some(delivery) = stage.next_within(&mut incoming, "the reader", stage.quiet()).await? {
        delivery.ack().await?;
        arrived += 1;
    }
    ensure!(arrived == 9, "{arrived} of nine confirmed messages arrived");
    Ok(())
}
