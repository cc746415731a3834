//! D: settlement.

use std::time::Duration;

use polybus_contract::{
    ConsumeOptions, Death, Feature, Intake, Keep, Kind, LeaseGrade, LeaseTerms, Name, Outcome, Reason,
    Transport,
};
use tokio::time::Instant;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::case::{Case, CaseResult, Fail, case, ensure, refused};
use crate::checker::{Attempts, Expect};
use crate::faults::Fault;
use crate::stage::Stage;
use crate::traffic::Taken;

/// The table of the group.
pub(super) const CASES: &[Case] = &[
    case!(D1 ack_consumes [Queue, Settle] "what was acked never comes back, also after a reconnect"),
    case!(D2 nack_requeues [Queue, Settle] "a retry comes back, one attempt later"),
    case!(D3 nack_delay_floor [Queue, Settle, RetryDelay] "a delayed retry comes not before its delay"),
    case!(D4 reject_dead_letters [Queue, Settle, DeadLetters] "a rejected message is in the dead letters with its reason, and nowhere else"),
    case!(D5 out_of_order_ack [Queue, Settle] "acks out of order consume what they name, and only the rest returns"),
    case!(D6 drop_returns_once [Queue, Settle] "a delivery that is dropped returns once: at once while connected, else when its lease ends"),
    case!(D7 double_settle [Queue, Settle] "nothing settles twice, and the consumer goes on"),
    case!(D8 stale_settle [Queue, Settle] "a settle after the lease ended is stale, never Ok, and the message returns"),
    case!(D9 lease_renewed [Queue, Settle, TimedLease] "a renewed delivery is kept for three leases and seen by nobody else"),
    case!(D10 lease_lost [Queue, Settle, TimedLease] "a lease that is not renewed ends: another gets the message, late words are stale"),
    case!(D11 settle_is_durable [Queue, Settle, SettleConfirmed] "after Ok for an ack the message is gone, whatever becomes of the client"),
    case!(D12 no_hot_loop [Queue, Settle, DeadLetters, Attempts, RetryDelay] "a message that is always retried keeps its pauses and dies at its cap"),
];

async fn ack_consumes(stage: &Stage) -> CaseResult {
    let bus = stage.connect().await?;
    let queue = stage.declare_this(&*bus, stage.short_queue("q")?).await?;
    stage.producer("p").send_many(&*bus, &queue, 5).await?;
    let mut consumer = stage.consumer(&*bus, &queue, "before", 5).await?;
    for _ in 0..5 {
        consumer.next().await?.ack().await?;
    }
    drop(consumer);
    bus.drain(stage.times().patience).await;
    let again = stage.connect().await?;
    stage.consumer(&*again, &queue, "after", 5).await?.nothing_more().await?;
    stage.check(&Expect::each_once()).map(|_| ())
}

/// One attempt more where they are counted.
fn ensure_attempt(stage: &Stage, taken: &Taken, wanted: u32) -> CaseResult {
    let counted = stage.has(Feature::Attempts);
    ensure!(!counted || taken.attempt() == wanted, "{taken} should be at attempt {wanted}");
    Ok(())
}

async fn nack_requeues(stage: &Stage) -> CaseResult {
    let bus = stage.connect().await?;
    let queue = stage.declare_queue(&*bus, "q").await?;
    let sent = stage.producer("p").send(&*bus, &queue).await?;
    let mut consumer = stage.consumer(&*bus, &queue, "c", 1).await?;
    for attempt in 1..=3 {
        let taken = consumer.next().await?;
        ensure!(taken.stamp == sent, "another message came back: {taken}");
        ensure_attempt(stage, &taken, attempt)?;
        taken.retry(Duration::ZERO).await?;
    }
    consumer.next().await?.ack().await?;
    consumer.nothing_more().await?;
    stage.check(&Expect::each_once()).map(|_| ())
}

async fn nack_delay_floor(stage: &Stage) -> CaseResult {
    let bus = stage.connect().await?;
    let queue = stage.declare_queue(&*bus, "q").await?;
    stage.producer("p").send(&*bus, &queue).await?;
    let mut consumer = stage.consumer(&*bus, &queue, "c", 1).await?;
    for delay in [stage.times().redelivery, stage.times().lease] {
        let taken = consumer.next().await?;
        let asked = Instant::now();
        taken.retry(delay).await?;
        let taken = consumer.next().await?;
        let after = asked.elapsed();
        ensure!(after >= delay, "asked for {delay:?}, it was back after {after:?}");
        taken.retry(Duration::ZERO).await?;
    }
    consumer.next().await?.ack().await?;
    stage.check(&Expect::each_once()).map(|_| ())
}

/// The one dead letter of `queue`, acked, and its death.
async fn the_dead(stage: &Stage, bus: &dyn Transport, queue: &Name) -> CaseResult<(Taken, Death)> {
    let dead = Intake::Queue(queue.dead()?);
    let mut deaths = stage.consumer_of(bus, &dead, "dead", ConsumeOptions::default()).await?;
    let taken = deaths.next().await.map_err(|fail| fail.during("the dead letters"))?;
    let death = taken.delivery.message().death().cloned();
    let death = death.ok_or_else(|| Fail::broken("a dead letter without a death"))?;
    Ok((taken, death))
}

async fn reject_dead_letters(stage: &Stage) -> CaseResult {
    let bus = stage.connect().await?;
    let queue = stage.declare_queue(&*bus, "q").await?;
    let mut producer = stage.producer("p");
    let (bad, good) = (producer.send(&*bus, &queue).await?, producer.send(&*bus, &queue).await?);
    let mut consumer = stage.consumer(&*bus, &queue, "c", 1).await?;
    let reason = Reason::from("no_such_map");
    let outcome =
        Outcome::Reject { reason: reason.clone(), error: Some("map 7 is unknown".into()), keep: Keep::Body };
    consumer.next().await?.settle(outcome).await?;
    let taken = consumer.next().await?;
    ensure!(taken.stamp == good, "{taken} came, which was rejected");
    taken.ack().await?;
    consumer.nothing_more().await?;
    let (taken, death) = the_dead(stage, &*bus, &queue).await?;
    ensure!(taken.stamp == bad, "{taken} is in the dead letters");
    ensure!(death.reason == reason, "rejected for {reason}, dead for {}", death.reason);
    ensure!(
        death.error.as_deref() == Some("map 7 is unknown"),
        "the error of the dead letter is {:?}",
        death.error
    );
    ensure!(death.queue == queue, "it died in {}, says the dead letter", death.queue);
    ensure!(death.whole, "the body was kept, and the dead letter says it was not");
    ensure!(!stage.has(Feature::Attempts) || death.attempts == 1, "{} attempts, it had one", death.attempts);
    stage.bounded("an ack", taken.delivery.ack()).await??;
    Ok(())
}

async fn out_of_order_ack(stage: &Stage) -> CaseResult {
    let bus = stage.connect().await?;
    let queue = stage.declare_queue(&*bus, "q").await?;
    stage.producer("p").send_many(&*bus, &queue, 5).await?;
    let mut consumer = stage.consumer(&*bus, &queue, "c", 5).await?;
    let mut hand = Vec::new();
    for _ in 0..5 {
        hand.push(consumer.next().await?);
    }
    let mut kept = Vec::new();
    for at in [4, 2, 1] {
        hand.remove(at).ack().await?;
    }
    for taken in hand {
        kept.push(taken.stamp.clone());
        taken.drop_unsettled()?;
    }
    for _ in 0..kept.len() {
        let taken = consumer.next().await?;
        ensure!(kept.contains(&taken.stamp), "{taken} was acked and came back");
        ensure_attempt(stage, &taken, 2)?;
        taken.ack().await?;
    }
    consumer.nothing_more().await?;
    stage.check(&Expect::each_once()).map(|_| ())
}

async fn drop_returns_once(stage: &Stage) -> CaseResult {
    let bus = stage.connect().await?;
    // Its leases outlast the patience, so what comes back comes for the drop.
    let queue = stage.declare_queue(&*bus, "q").await?;
    stage.producer("p").send(&*bus, &queue).await?;
    let mut consumer = stage.consumer(&*bus, &queue, "c", 5).await?;
    consumer.next().await?.drop_unsettled()?;
    let taken = consumer.next().await.map_err(|fail| fail.during("after a drop while connected"))?;
    ensure_attempt(stage, &taken, 2)?;
    consumer.nothing_more().await.map_err(|fail| fail.during("after it came back once"))?;
    taken.ack().await?;
    consumer.nothing_more().await?;
    if stage.has(Feature::TimedLease) {
        left_lying(stage, &*bus).await?;
    }
    stage.check(&Expect::each_once().with_duplicates(Some(1))).map(|_| ())
}

/// A delivery that nobody settles or drops returns once, when its lease ends; a late drop brings it back no more.
async fn left_lying(stage: &Stage, bus: &dyn Transport) -> CaseResult {
    let queue = stage.declare_this(bus, stage.short_queue("short")?).await?;
    stage.producer("lying").send(bus, &queue).await?;
    let other = stage.connect().await?;
    let mut first = stage.consumer(bus, &queue, "first", 1).await?;
    let lying = first.next().await?;
    drop(first);
    let mut second = stage.consumer(&*other, &queue, "second", 5).await?;
    let taken = second.next().await.map_err(|fail| fail.during("after a lease ended"))?;
    ensure_attempt(stage, &taken, 2)?;
    taken.ack().await?;
    drop(lying.delivery);
    second.nothing_more().await.map_err(|fail| fail.during("after the late drop"))
}

async fn double_settle(stage: &Stage) -> CaseResult {
    let bus = stage.connect().await?;
    let queue = stage.declare_queue(&*bus, "q").await?;
    stage.producer("p").send_many(&*bus, &queue, 3).await?;
    let mut consumer = stage.consumer(&*bus, &queue, "c", 1).await?;
    for _ in 0..3 {
        let taken = consumer.next().await?;
        // The one path that is left after a settle: the handle for renewing.
        let (lease, terms) = (taken.delivery.lease(), taken.delivery.terms());
        taken.ack().await?;
        let renewed = stage.bounded("a renewal", lease.renew()).await?;
        if matches!(terms, LeaseTerms::Timed(_)) {
            refused(renewed, "renewing what is settled", |kind| kind == Kind::Stale)?;
        }
        drop(lease);
    }
    consumer.nothing_more().await?;
    stage.check(&Expect::each_once()).map(|_| ())
}

async fn stale_settle(stage: &Stage) -> CaseResult {
    let (bus, other) = (stage.connect().await?, stage.connect().await?);
    let queue = stage.declare_this(&*bus, stage.short_queue("q")?).await?;
    stage.producer("p").send_many(&*bus, &queue, 3).await?;
    let mut first = stage.consumer(&*bus, &queue, "first", 3).await?;
    let mut late = vec![first.next().await?, first.next().await?, first.next().await?];
    if stage.capability().lease == LeaseGrade::Connection {
        // It would come back with the next connection, and have them again before the other.
        drop(first);
        stage.faults(&[Fault::Cut])?.inject(Fault::Cut).await?;
    }
    let mut second = stage.consumer(&*other, &queue, "second", 3).await?;
    let mut again = Vec::new();
    for _ in 0..3 {
        again.push(second.next().await.map_err(|fail| fail.during("after the leases ended"))?);
    }
    for outcome in [Outcome::Ack, Outcome::Retry { after: Duration::ZERO, error: None }, Outcome::Release] {
        let what = format!("a late {outcome:?}");
        let settled = late.remove(0).try_settle(outcome).await?;
        refused(settled, &what, |kind| kind == Kind::Stale)?;
    }
    for taken in again {
        ensure_attempt(stage, &taken, 2)?;
        // It may have ended again on a slow machine; what counts is that the late words moved nothing.
        taken.try_settle(Outcome::Ack).await?.or_else(|error| match error.kind() {
            Kind::Stale => Ok(()),
            _ => Err(error),
        })?;
    }
    stage.check(&Expect::default().with_complete(true)).map(|_| ())
}

async fn lease_renewed(stage: &Stage) -> CaseResult {
    let (bus, other) = (stage.connect().await?, stage.connect().await?);
    let lease = stage.times().lease * 2;
    let queue = stage.declare_this(&*bus, stage.queue("q")?.with_lease(lease)).await?;
    stage.producer("p").send(&*bus, &queue).await?;
    let mut first = stage.consumer(&*bus, &queue, "first", 1).await?;
    let taken = first.next().await?;
    ensure!(taken.delivery.terms() == LeaseTerms::Timed(lease), "the lease is {:?}", taken.delivery.terms());
    let mut second = stage.consumer(&*other, &queue, "second", 1).await?;
    let handle = taken.delivery.lease();
    let working = keep(stage, handle, lease, lease * 3);
    let watching = second.next_within(lease * 3);
    let (kept, seen) = tokio::join!(working, watching);
    kept?;
    let seen = seen?;
    ensure!(seen.is_none(), "another consumer saw {seen:?} while its lease was kept");
    taken.ack().await?;
    second.nothing_more().await?;
    stage.check(&Expect::each_once().with_attempts(Attempts::Ignored)).map(|_| ())
}

/// Renews for `time`; a machine too slow to do that in time proves nothing.
async fn keep(stage: &Stage, handle: polybus_contract::Lease, lease: Duration, time: Duration) -> CaseResult {
    let mut ticks = interval(lease / 6);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let began = Instant::now();
    let mut last = began;
    while began.elapsed() < time {
        ticks.tick().await;
        let late = last.elapsed();
        let renewed = stage.bounded("a renewal", handle.renew()).await?;
        if renewed.is_err() && late > lease / 2 {
            return Err(Fail::NotRun(format!(
                "this machine took {late:?} between two renewals of {lease:?}"
            )));
        }
        let term = renewed.map_err(|error| Fail::from(error).during("a renewal in time"))?;
        ensure!(term.is_some(), "a renewal of a timed lease does not say for how long");
        last = Instant::now();
    }
    Ok(())
}

async fn lease_lost(stage: &Stage) -> CaseResult {
    let (bus, other) = (stage.connect().await?, stage.connect().await?);
    let queue = stage.declare_this(&*bus, stage.short_queue("q")?).await?;
    let sent = stage.producer("p").send(&*bus, &queue).await?;
    let mut first = stage.consumer(&*bus, &queue, "first", 1).await?;
    let mut second = stage.consumer(&*other, &queue, "second", 1).await?;
    // Either of the two may be served first.
    let taken = tokio::select! {
        taken = first.next() => taken?,
        taken = second.next() => taken?,
    };
    let began = Instant::now();
    let again = tokio::select! {
        again = first.next() => again,
        again = second.next() => again,
    };
    let again = again.map_err(|fail| fail.during("after the lease ended"))?;
    ensure!(again.stamp == sent, "another message came: {again}");
    ensure_attempt(stage, &again, 2)?;
    let early = stage.times().lease / 2;
    ensure!(began.elapsed() > early, "it was handed out again after {:?}", began.elapsed());
    let lease = taken.delivery.lease();
    let renewed = stage.bounded("a renewal", lease.renew()).await?;
    refused(renewed, "renewing a lost lease", |kind| kind == Kind::Stale)?;
    refused(taken.try_settle(Outcome::Ack).await?, "a late ack", |kind| kind == Kind::Stale)?;
    drop(again);
    Ok(())
}

async fn settle_is_durable(stage: &Stage) -> CaseResult {
    let sender = stage.connect().await?;
    let queue = stage.declare_this(&*sender, stage.short_queue("q")?).await?;
    stage.producer("p").send_many(&*sender, &queue, 10).await?;
    for number in 0..10 {
        let client = stage.connect().await?;
        let mut consumer = stage.consumer(&*client, &queue, &format!("c{number}"), 1).await?;
        consumer.next().await?.ack().await?;
        // Gone without a word, right after Ok.
        drop(consumer);
        drop(client);
    }
    if let Ok(faults) = stage.faults(&[Fault::Kill, Fault::Start])
        && stage.has(Feature::SurvivesProcess)
    {
        faults.inject(Fault::Kill).await?;
        faults.inject(Fault::Start).await?;
    }
    let last = stage.connect().await?;
    stage.consumer(&*last, &queue, "last", 10).await?.nothing_more().await?;
    stage.check(&Expect::each_once()).map(|_| ())
}

async fn no_hot_loop(stage: &Stage) -> CaseResult {
    const CAP: u32 = 4;
    let bus = stage.connect().await?;
    let queue = stage.declare_this(&*bus, stage.queue("q")?.with_max_attempts(CAP)).await?;
    let sent = stage.producer("p").send(&*bus, &queue).await?;
    let mut consumer = stage.consumer(&*bus, &queue, "c", 5).await?;
    let pause = stage.times().redelivery / 2;
    let began = Instant::now();
    for attempt in 1..=CAP {
        let taken = consumer.next().await?;
        ensure!(taken.attempt() == attempt, "hand-out {attempt} says {taken}");
        taken.retry(pause).await?;
    }
    ensure!(began.elapsed() >= pause * (CAP - 1), "{CAP} hand-outs within {:?}", began.elapsed());
    sleep(pause).await;
    consumer.nothing_more().await.map_err(|fail| fail.during("after the cap"))?;
    let (taken, death) = the_dead(stage, &*bus, &queue).await?;
    ensure!(taken.stamp == sent, "{taken} is in the dead letters");
    ensure!(death.reason == Reason::Attempts, "it died for {}", death.reason);
    ensure!(death.attempts == CAP, "the dead letter says {} attempts, there were {CAP}", death.attempts);
    stage.bounded("an ack", taken.delivery.ack()).await??;
    Ok(())
}
