//! E: dead letters, expiry, delay, priority.

use std::collections::HashMap;
use std::time::Duration;

use polybus_contract::{
    Admin, Bounds, Death, Feature, Intake, MessageId, Name, Outcome, Overflow, PublishOptions, Reason,
    Redrive, Redriven, Target, Transport, UnixMillis,
};
use tokio::time::Instant;

use crate::case::{Case, CaseResult, Fail, case, ensure};
use crate::faults::Fault;
use crate::stage::Stage;
use crate::stamp::Stamp;
use crate::traffic::{Consumer, Taken};

/// The table of the group.
pub(super) const CASES: &[Case] = &[
    case!(E1 attempts_cap [Queue, Settle, DeadLetters, Attempts] "three hand-outs where three are allowed, then a dead letter with reason, count, last error, origin and times"),
    case!(E2 dlq_publish_fails [Queue, Settle, DeadLetters] "where dead letters find no room, what falls out is counted; where their place refuses, the original stays"),
    case!(E3 redrive [Queue, Settle, DeadLetters, Redrive] "dead letters go back under their ids with new counts, also after an interruption, none lost and none doubled"),
    case!(E4 ttl_expires [Queue, Settle, Expiry] "what has expired is not delivered; it is kept as a dead letter, or dropped and counted, as its queue says"),
    case!(E5 delay_floor [Queue, Settle, SendDelay] "a delayed send is not visible before its delay, and holds up nobody"),
    case!(E6 priority_meaning [Queue, Settle, Priority] "higher priorities come first, equal ones in order"),
];

/// How far the clocks of two machines may be apart, in milliseconds.
const SKEW: i64 = 60_000;

/// A reader of the dead letters of a queue.
async fn the_dead(stage: &Stage, bus: &dyn Transport, queue: &Name) -> CaseResult<Consumer> {
    stage.consumer(bus, &queue.dead()?, "of-the-dead", 10).await
}

fn death_of(taken: &Taken) -> CaseResult<Death> {
    let death = taken.delivery.message().death().cloned();
    death.ok_or_else(|| Fail::broken(format!("the dead letter {taken} says nothing of its death")))
}

fn reject(error: &str) -> Outcome {
    Outcome::Reject {
        reason: Reason::Rejected,
        error: Some(error.to_owned()),
        keep: polybus_contract::Keep::Body,
    }
}

/// Sends this many messages to a queue of the case and rejects each of them.
async fn kill(
    stage: &Stage,
    bus: &dyn Transport,
    queue: &Name,
    count: u64,
) -> CaseResult<HashMap<Stamp, MessageId>> {
    let mut producer = stage.producer("p");
    producer.send_many(bus, queue, count).await?;
    let mut consumer = stage.consumer(bus, queue, "c", 1).await?;
    let mut ids = HashMap::new();
    for _ in 0..count {
        let taken = consumer.next().await?;
        if let Some(id) = taken.delivery.message().id() {
            ids.insert(taken.stamp.clone(), id.clone());
        }
        taken.settle(reject("it was of no use")).await?;
    }
    Ok(ids)
}

async fn attempts_cap(stage: &Stage) -> CaseResult {
    let bus = stage.connect().await?;
    let queue = stage.declare_this(&*bus, stage.queue("q")?.with_max_attempts(3_u32)).await?;
    let before = UnixMillis::now();
    let sent = stage.producer("p").send(&*bus, &queue).await?;
    let mut consumer = stage.consumer(&*bus, &queue, "c", 1).await?;
    for attempt in 1..=3 {
        let taken = consumer.next().await?;
        ensure!(taken.attempt() == attempt, "hand-out {attempt} says that it is number {}", taken.attempt());
        let error = Some(format!("error number {attempt}"));
        taken.settle(Outcome::Retry { after: Duration::ZERO, error }).await?;
    }
    consumer.nothing_more().await.map_err(|fail| fail.during("after the last allowed attempt"))?;
    let taken = the_dead(stage, &*bus, &queue).await?.next().await?;
    ensure!(taken.stamp == sent, "another message is in the dead letters: {taken}");
    check_spent(&death_of(&taken)?, &queue, before)?;
    taken.ack().await
}

fn check_spent(death: &Death, queue: &Name, before: UnixMillis) -> CaseResult {
    ensure!(death.reason == Reason::Attempts, "the reason is {}, not attempts", death.reason);
    ensure!(death.attempts == 3, "it says {} attempts, there were 3", death.attempts);
    let error = death.error.as_deref().unwrap_or_default();
    ensure!(error.contains("error number 3"), "the last error is {error:?}, not \"error number 3\"");
    ensure!(death.queue == *queue, "it says that it died in {}, not in {queue}", death.queue);
    ensure!(death.whole, "its body was kept, and it says that it was not");
    let first = death.first.unwrap_or(death.at);
    ensure!(first <= death.at, "first handed out at {first:?}, died before that at {:?}", death.at);
    let around = before.0 - SKEW..=UnixMillis::now().0 + SKEW;
    ensure!(
        around.contains(&first.0) && around.contains(&death.at.0),
        "it died at {:?}, which is not now",
        death.at
    );
    Ok(())
}

async fn dlq_publish_fails(stage: &Stage) -> CaseResult {
    let bus = stage.connect().await?;
    let two = Bounds { messages: 2, bytes: 1 << 20, overflow: Overflow::DropOldest };
    let queue = stage.declare_this(&*bus, stage.queue("q")?.with_dead_bounds(two)).await?;
    let before = bus.health().counters.dead_dropped;
    kill(stage, &*bus, &queue, 5).await?;
    let mut dead = the_dead(stage, &*bus, &queue).await?;
    let mut kept = 0;
    while let Some(taken) = dead.next_within(stage.quiet()).await? {
        taken.ack().await?;
        kept += 1;
    }
    ensure!(kept >= 1, "of five rejected messages none is in the dead letters");
    let counted = || bus.health().counters.dead_dropped - before;
    let what = format!("a count of the {} dead letters that fell out", 5 - kept);
    stage.until(&what, || async { kept + counted() == 5 }).await?;
    match stage.faults(&[Fault::Fill, Fault::Relieve]) {
        Ok(_) => refused_place(stage, &*bus).await,
        Err(_) => Ok(()),
    }
}

/// The place of the dead refuses while the bus is full: a reject may fail, and may not lose the message.
async fn refused_place(stage: &Stage, bus: &dyn Transport) -> CaseResult {
    let faults = stage.faults(&[Fault::Fill, Fault::Relieve])?;
    let queue = stage.declare_queue(bus, "refused").await?;
    stage.producer("full").send(bus, &queue).await?;
    let mut consumer = stage.consumer(bus, &queue, "during", 1).await?;
    let taken = consumer.next().await?;
    faults.inject(Fault::Fill).await?;
    let settled = taken.try_settle(reject("while the bus is full")).await?;
    faults.inject(Fault::Relieve).await?;
    stage.log(format!("a reject on a full bus was answered {settled:?}"));
    let mut dead = stage.consumer(bus, &queue.dead()?, "relieved", 1).await?;
    if let Some(taken) = dead.next_within(stage.quiet()).await? {
        return taken.ack().await;
    }
    ensure!(settled.is_err(), "the reject answered Ok, and the message is not in the dead letters");
    consumer.next().await.map_err(|fail| fail.during("the original of a reject that failed"))?.ack().await
}

async fn redrive(stage: &Stage) -> CaseResult {
    let bus = stage.connect().await?;
    let queue = stage.declare_queue(&*bus, "q").await?;
    let ids = kill(stage, &*bus, &queue, 5).await?;
    let desk = bus.admin().ok_or_else(|| Fail::broken("it declares redrive and has no desk"))?;
    let intake = Intake::Queue(queue.clone());
    // The first two, as if it had been interrupted then; and the rest.
    let some = redriven(stage, desk, &intake, Redrive::default().with_limit(2)).await?;
    ensure!((some.moved, some.refused, some.left) == (2, 0, 3), "a redrive of two of five says {some:?}");
    let rest = redriven(stage, desk, &intake, Redrive::default()).await?;
    ensure!((rest.moved, rest.refused, rest.left) == (3, 0, 0), "a redrive of the other three says {rest:?}");
    let mut consumer = stage.consumer(&*bus, &queue, "again", 5).await?;
    let mut back = HashMap::new();
    for _ in 0..5 {
        let taken = consumer.next().await?;
        check_revived(&taken)?;
        back.extend(taken.delivery.message().id().map(|id| (taken.stamp.clone(), id.clone())));
        taken.ack().await?;
    }
    ensure!(back == ids, "the redriven messages are not those that died, under the same ids");
    consumer.nothing_more().await?;
    let none = redriven(stage, desk, &intake, Redrive::default()).await?;
    ensure!((none.moved, none.left) == (0, 0), "after a whole redrive another one says {none:?}");
    Ok(())
}

async fn redriven(stage: &Stage, desk: &dyn Admin, intake: &Intake, what: Redrive) -> CaseResult<Redriven> {
    Ok(stage.bounded("a redrive", desk.redrive(intake, what)).await??)
}

fn check_revived(taken: &Taken) -> CaseResult {
    ensure!(taken.attempt() == 1, "{taken} was redriven, its count should have begun anew");
    ensure!(
        taken.delivery.message().death().is_none(),
        "{taken} was redriven and still says that it is dead"
    );
    Ok(())
}

async fn ttl_expires(stage: &Stage) -> CaseResult {
    let bus = stage.connect().await?;
    let kept = stage.has(Feature::DeadLetters);
    let queue = stage.declare_this(&*bus, stage.queue("kept")?.with_keep_expired(kept)).await?;
    let gone = expired_in(stage, &*bus, &queue, "kept").await?;
    if kept {
        let taken = the_dead(stage, &*bus, &queue).await?.next().await?;
        ensure!(taken.stamp == gone, "another message than the expired one is in the dead letters: {taken}");
        let death = death_of(&taken)?;
        ensure!(death.reason == Reason::Expired, "the reason is {}, not expired", death.reason);
        taken.ack().await?;
    }
    let before = bus.health().counters.expired;
    let queue = stage.declare_queue(&*bus, "dropped").await?;
    expired_in(stage, &*bus, &queue, "dropped").await?;
    stage.until("a count of what expired", || async { bus.health().counters.expired > before }).await
}

/// Lets one of three messages expire in a queue before its consumer comes, and says which.
async fn expired_in(stage: &Stage, bus: &dyn Transport, queue: &Name, name: &str) -> CaseResult<Stamp> {
    let target = Target::Queue(queue.clone());
    let mut producer = stage.producer(name);
    let options = || PublishOptions::default().with_confirm(stage.confirm_queue());
    producer.publish(bus, &target, options()).await?;
    let expires = UnixMillis::now().after(stage.times().redelivery);
    let (expiring, message) = producer.message();
    producer.hand_in(bus, &target, &expiring, message.with_expires(expires), options()).await??;
    let (lasting, message) = producer.message();
    let later = UnixMillis::now().after(stage.times().patience * 10);
    producer.hand_in(bus, &target, &lasting, message.with_expires(later), options()).await??;
    pass(expires).await;
    let mut consumer = stage.consumer(bus, queue, name, 3).await?;
    for _ in 0..2 {
        let taken = consumer.next().await?;
        ensure!(taken.stamp != expiring, "{taken} had expired and was delivered");
        taken.ack().await?;
    }
    consumer.nothing_more().await?;
    Ok(expiring)
}

/// Until the wall clock is past this instant. Expiry is wall time, and no other clock can stand for it.
async fn pass(instant: UnixMillis) {
    let left = instant.left(UnixMillis::now()) + Duration::from_millis(20);
    // A thread that fails to sleep is a case that fails to see the expiry.
    let _ = tokio::task::spawn_blocking(move || std::thread::sleep(left)).await;
    // And for a bus that reads the wall clock now and then by another one.
    tokio::time::sleep(left).await;
}

async fn delay_floor(stage: &Stage) -> CaseResult {
    let bus = stage.connect().await?;
    let queue = stage.declare_queue(&*bus, "q").await?;
    let mut consumer = stage.consumer(&*bus, &queue, "c", 2).await?;
    let mut producer = stage.producer("p");
    let delay = stage.times().redelivery;
    let options = PublishOptions::default().with_confirm(stage.confirm_queue()).with_delay(delay);
    let began = Instant::now();
    let delayed = producer.publish(&*bus, &Target::Queue(queue.clone()), options).await?;
    let prompt = producer.send(&*bus, &queue).await?;
    let first = consumer.next().await?;
    ensure!(first.stamp == prompt, "{first} came before one that was sent without a delay");
    first.ack().await?;
    let second = consumer.next().await?;
    let waited = began.elapsed();
    ensure!(second.stamp == delayed, "{second} came, and {delayed} was to come");
    ensure!(waited >= delay, "a send with a delay of {delay:?} was visible after {waited:?}");
    second.ack().await?;
    consumer.nothing_more().await
}

async fn priority_meaning(stage: &Stage) -> CaseResult {
    let bus = stage.connect().await?;
    let queue = stage.declare_this(&*bus, stage.queue("q")?.with_priorities(true)).await?;
    let target = Target::Queue(queue.clone());
    let high = stage.capability().max_priority.min(9);
    let (mut lows, mut highs) = (stage.producer("low"), stage.producer("high"));
    for _ in 0..10 {
        for (producer, priority) in [(&mut lows, 0), (&mut highs, high)] {
            let (stamp, message) = producer.message();
            let options = PublishOptions::default().with_confirm(stage.confirm_queue());
            producer.hand_in(&*bus, &target, &stamp, message.with_priority(priority), options).await??;
        }
    }
    let mut consumer = stage.consumer(&*bus, &queue, "c", 1).await?;
    for place in 0..20_u64 {
        let taken = consumer.next().await?;
        let (producer, sequence) = if place < 10 { ("high", place) } else { ("low", place - 10) };
        ensure!(
            taken.stamp.producer == producer && taken.stamp.sequence == sequence,
            "{taken} came in place {place}, {producer}/{sequence} was to come"
        );
        taken.ack().await?;
    }
    Ok(())
}
