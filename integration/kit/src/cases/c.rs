//! C: the work queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::{join_all, try_join_all};
use polybus_contract::{
    Confirm, ConsumeOptions, Feature, Group, Intake, Name, Outcome, PublishOptions, Reason, Target, Topic,
    Topology, Transport,
};
use tokio::sync::watch;

use crate::case::{Case, CaseResult, Fail, case, ensure};
use crate::checker::{Attempts, Expect};
use crate::stage::Stage;
use crate::traffic::Consumer;

/// The table of the group.
pub(super) const CASES: &[Case] = &[
    case!(C1 each_once [Queue, Settle] "5,000 messages over 50 consumers: each is handed out once"),
    case!(C2 exact_concurrency [Queue, Settle] "never more than the credit in hand, and as many as the credit"),
    case!(C3 change_concurrency [Queue, Settle, SetCredit] "a raise holds at once, a cut as deliveries settle, and the last one wins"),
    case!(C4 slow_does_not_block [Queue, Settle] "one consumer that is stuck keeps no more than its credit from the others"),
    case!(C5 poison_neighbour [Queue, Settle, DeadLetters, UncountedRelease, Attempts] "a message that kills its consumers takes none of its neighbours along"),
    case!(C6 fair_share [Queue, Settle] "of two equal consumers none gets less than a quarter"),
    case!(C7 backlog_before_consumer [Queue, Settle] "what was sent before there was a consumer is delivered"),
    case!(C8 two_pools [Queue, Settle, TopicGroup, TopicConfirm] "consumers of one queue compete, groups of one topic each get everything"),
    case!(C9 sender_order [Queue, Settle, SenderOrder] "16 senders, 1,000 messages, one consumer: in the order of each sender"),
];

/// Exact attempts where they are counted.
fn attempts(stage: &Stage) -> Attempts {
    if stage.has(Feature::Attempts) { Attempts::Exact } else { Attempts::Ignored }
}

/// Acks what comes until `left` is used up by all consumers together, or `stop` says so.
async fn drain(mut consumer: Consumer, left: Arc<AtomicU64>, stop: watch::Sender<bool>) -> CaseResult<u64> {
    let mut stopped = stop.subscribe();
    let mut mine = 0;
    loop {
        let next = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => return Ok(mine),
            next = consumer.next() => next,
        };
        if next.is_err() {
            // The others would wait in vain.
            stop.send_replace(true);
        }
        next?.ack().await?;
        mine += 1;
        if left.fetch_sub(1, Ordering::AcqRel) == 1 {
            stop.send_replace(true);
        }
        // So that consumers on one thread take turns.
        tokio::task::yield_now().await;
    }
}

/// Lets all consumers ack `total` messages between them, each in a task of its own, and says how many each had.
async fn drain_all(consumers: Vec<Consumer>, total: u64) -> CaseResult<Vec<u64>> {
    let left = Arc::new(AtomicU64::new(total));
    let (stop, _) = watch::channel(total == 0);
    let tasks =
        consumers.into_iter().map(|consumer| tokio::spawn(drain(consumer, left.clone(), stop.clone())));
    let done = join_all(tasks).await;
    done.into_iter()
        .map(|done| done.map_err(|error| Fail::broken(format!("a consumer failed: {error}")))?)
        .collect()
}

async fn each_once(stage: &Stage) -> CaseResult {
    const MESSAGES: u64 = 5000;
    let sender = stage.connect().await?;
    let queue = stage.declare_queue(&*sender, "q").await?;
    let mut consumers = Vec::new();
    for connection in 0..5 {
        let bus = stage.connect().await?;
        for number in 0..10 {
            let name = format!("c{connection}{number}");
            consumers.push(stage.consumer(&*bus, &queue, &name, 1 + number % 4).await?);
        }
    }
    let sending = async {
        let senders = (0..10).map(|number| {
            let (stage, sender, queue) = (stage, &*sender, &queue);
            async move { stage.producer(&format!("p{number}")).send_many(sender, queue, MESSAGES / 10).await }
        });
        try_join_all(senders).await.map(|_| ())
    };
    let (sent, received) = tokio::join!(sending, drain_all(consumers, MESSAGES));
    sent?;
    received?;
    let late = stage.connect().await?;
    stage.consumer(&*late, &queue, "late", 1).await?.nothing_more().await?;
    stage.check(&Expect::each_once().with_attempts(attempts(stage))).map(|_| ())
}

async fn exact_concurrency(stage: &Stage) -> CaseResult {
    const CREDIT: usize = 7;
    let bus = stage.connect().await?;
    let queue = stage.declare_queue(&*bus, "q").await?;
    stage.producer("p").send_many(&*bus, &queue, 20).await?;
    let mut consumer = stage.consumer(&*bus, &queue, "c", 7).await?;
    let mut hand = Vec::new();
    for _ in 0..CREDIT {
        hand.push(consumer.next().await?);
    }
    consumer.nothing_more().await.map_err(|fail| fail.during(format!("with {CREDIT} in hand")))?;
    for _ in CREDIT..20 {
        let settled = hand.pop().ok_or_else(|| Fail::broken("nothing in hand"))?;
        settled.ack().await?;
        hand.push(consumer.next().await?);
    }
    for taken in hand {
        taken.ack().await?;
    }
    stage.check(&Expect::each_once().with_attempts(attempts(stage))).map(|_| ())
}

async fn change_concurrency(stage: &Stage) -> CaseResult {
    let bus = stage.connect().await?;
    let queue = stage.declare_queue(&*bus, "q").await?;
    stage.producer("p").send_many(&*bus, &queue, 12).await?;
    let mut consumer = stage.consumer(&*bus, &queue, "c", 2).await?;
    let mut hand = vec![consumer.next().await?, consumer.next().await?];
    consumer.incoming().set_credit(5)?;
    for _ in 0..3 {
        hand.push(consumer.next().await.map_err(|fail| fail.during("after a raise from 2 to 5"))?);
    }
    consumer.nothing_more().await.map_err(|fail| fail.during("with 5 in hand and credit 5"))?;
    consumer.incoming().set_credit(4)?;
    consumer.incoming().set_credit(1)?;
    while hand.len() > 1 {
        hand.remove(0).ack().await?;
    }
    consumer.nothing_more().await.map_err(|fail| fail.during("with 1 in hand and credit 1"))?;
    hand.remove(0).ack().await?;
    hand.push(consumer.next().await.map_err(|fail| fail.during("with nothing in hand and credit 1"))?);
    consumer.nothing_more().await.map_err(|fail| fail.during("with 1 in hand and credit 1"))?;
    hand.remove(0).ack().await?;
    drain_all(vec![consumer], 6).await?;
    stage.check(&Expect::each_once().with_attempts(attempts(stage))).map(|_| ())
}

async fn slow_does_not_block(stage: &Stage) -> CaseResult {
    const MESSAGES: u64 = 200;
    const CREDIT: u32 = 5;
    let (bus, other) = (stage.connect().await?, stage.connect().await?);
    let queue = stage.declare_queue(&*bus, "q").await?;
    let mut stuck = stage.consumer(&*other, &queue, "stuck", CREDIT).await?;
    stage.producer("p").send_many(&*bus, &queue, MESSAGES).await?;
    let held = stuck.next().await?;
    let healthy = vec![
        stage.consumer(&*bus, &queue, "healthy-1", 2).await?,
        stage.consumer(&*bus, &queue, "healthy-2", 2).await?,
    ];
    // What the bus handed to the stuck one in advance is its own until it goes.
    drain_all(healthy, MESSAGES - u64::from(CREDIT)).await?;
    held.ack().await?;
    drop(stuck);
    let rest = rest_of(stage, &*bus, &queue, MESSAGES).await?;
    ensure!(rest < u64::from(CREDIT), "{rest} were left over, {CREDIT} can be in hand");
    stage.check(&Expect::each_once().with_duplicates(Some(u64::from(CREDIT)))).map(|_| ())
}

/// Acks what is left, until the ledger says that all was received; says how much it was.
async fn rest_of(stage: &Stage, bus: &dyn Transport, queue: &Name, total: u64) -> CaseResult<u64> {
    let mut rest = 0;
    let mut consumer = stage.consumer(bus, queue, "rest", 1).await?;
    let whole = |stage: &Stage| stage.check(&Expect::default()).map(|findings| findings.acked >= total);
    while !whole(stage)? {
        consumer.next().await?.ack().await?;
        rest += 1;
    }
    Ok(rest)
}

async fn poison_neighbour(stage: &Stage) -> CaseResult {
    const NEIGHBOURS: u64 = 9;
    const MAX_ATTEMPTS: u32 = 3;
    let bus = stage.connect().await?;
    let queue = stage.declare_this(&*bus, stage.queue("q")?.with_max_attempts(MAX_ATTEMPTS)).await?;
    let poison = stage.producer("poison").send(&*bus, &queue).await?;
    stage.producer("neighbour").send_many(&*bus, &queue, NEIGHBOURS).await?;
    for round in 0..MAX_ATTEMPTS {
        let crashing = stage.connect().await?;
        let mut consumer = stage.consumer(&*crashing, &queue, &format!("c{round}"), 10).await?;
        // All are in its hands when the poison kills it.
        let mut in_hand = Vec::new();
        for _ in 0..=NEIGHBOURS {
            in_hand.push(consumer.next().await?);
        }
        let at = in_hand.iter().position(|taken| taken.stamp == poison);
        let taken = in_hand.swap_remove(at.ok_or_else(|| Fail::broken("the poison is not handed out"))?);
        ensure!(taken.attempt() == round + 1, "the poison is at {taken} in round {round}");
        taken.drop_unsettled()?;
        for neighbour in in_hand {
            neighbour.settle(Outcome::Release).await?;
        }
        drop(consumer);
        crashing.drain(std::time::Duration::ZERO).await;
    }
    let mut consumer = stage.consumer(&*bus, &queue, "healthy", 10).await?;
    for _ in 0..NEIGHBOURS {
        let taken = consumer.next().await?;
        ensure!(taken.stamp.producer == "neighbour", "{taken} is handed out and should be dead");
        ensure!(taken.attempt() == 1, "the neighbour {taken} was counted for a consumer it did not kill");
        taken.ack().await?;
    }
    consumer.nothing_more().await?;
    let dead = Intake::Queue(queue.dead()?);
    let mut deaths = stage.consumer_of(&*bus, &dead, "dead", ConsumeOptions::default()).await?;
    let death = deaths.next().await?;
    ensure!(death.stamp == poison, "{death} is in the dead letters");
    let reason = death.delivery.message().death().map(|death| death.reason.clone());
    ensure!(reason == Some(Reason::Attempts), "the poison died for {reason:?}");
    death.ack().await?;
    deaths.nothing_more().await
}

async fn fair_share(stage: &Stage) -> CaseResult {
    const MESSAGES: u64 = 400;
    let (one, two) = (stage.connect().await?, stage.connect().await?);
    let queue = stage.declare_queue(&*one, "q").await?;
    let consumers =
        vec![stage.consumer(&*one, &queue, "one", 4).await?, stage.consumer(&*two, &queue, "two", 4).await?];
    let mut producer = stage.producer("p");
    let (sent, shares) =
        tokio::join!(producer.send_many(&*one, &queue, MESSAGES), drain_all(consumers, MESSAGES));
    sent?;
    let shares = shares?;
    let least = shares.iter().copied().min().unwrap_or(0);
    ensure!(least >= MESSAGES / 4, "two equal consumers got {shares:?} of {MESSAGES}");
    stage.check(&Expect::each_once().with_attempts(attempts(stage))).map(|_| ())
}

async fn backlog_before_consumer(stage: &Stage) -> CaseResult {
    let sender = stage.connect().await?;
    let queue = stage.declare_queue(&*sender, "q").await?;
    stage.producer("p").send_many(&*sender, &queue, 200).await?;
    sender.drain(stage.times().patience).await;
    let bus = stage.connect().await?;
    let mut consumer = stage.consumer(&*bus, &queue, "c", 20).await?;
    for _ in 0..200 {
        consumer.next().await?.ack().await?;
    }
    consumer.nothing_more().await?;
    stage.check(&Expect::each_once().with_attempts(attempts(stage))).map(|_| ())
}

async fn two_pools(stage: &Stage) -> CaseResult {
    const MESSAGES: u64 = 100;
    let bus = stage.connect().await?;
    let topic = stage.name("t")?;
    let mut topology = Topology::new().topic(Topic::durable(topic.clone()));
    for group in ["g1", "g2"] {
        let queue = stage.queue(group)?;
        topology = topology.group(Group::new(topic.clone(), Name::new(group)?).with_queue(queue));
    }
    stage.declare(&*bus, &topology).await?;
    let mut pools = Vec::new();
    for group in ["g1", "g2"] {
        let intake = Intake::Group { topic: topic.clone(), group: Name::new(group)? };
        let options = ConsumeOptions::default().with_credit(3_u32);
        // The members of a group write down one name: between them each message comes once.
        let one = stage.consumer_of(&*bus, &intake, group, options.clone()).await?;
        pools.push(vec![one, stage.consumer_of(&*bus, &intake, group, options).await?]);
    }
    let mut producer = stage.producer("p");
    for _ in 0..MESSAGES {
        let options = PublishOptions::default().with_confirm(Confirm::Required);
        producer.publish(&*bus, &Target::Topic(topic.clone()), options).await?;
    }
    for pool in pools {
        drain_all(pool, MESSAGES).await?;
    }
    stage.check(&Expect::each_once().by_each().with_attempts(attempts(stage))).map(|_| ())
}

async fn sender_order(stage: &Stage) -> CaseResult {
    const SENDERS: u64 = 16;
    const EACH: u64 = 63;
    let bus = stage.connect().await?;
    let queue = stage.declare_queue(&*bus, "q").await?;
    let consumer = stage.consumer(&*bus, &queue, "c", 10).await?;
    let mut senders = Vec::new();
    for number in 0..SENDERS {
        let (stage, bus, queue) = (stage.clone(), stage.connect().await?, queue.clone());
        senders.push(async move {
            let mut producer = stage.producer(&format!("p{number}"));
            for _ in 0..EACH {
                producer.send(&*bus, &queue).await?;
                tokio::task::yield_now().await;
            }
            CaseResult::Ok(())
        });
    }
    let (sent, received) = tokio::join!(try_join_all(senders), drain_all(vec![consumer], SENDERS * EACH));
    sent?;
    received?;
    stage.check(&Expect::each_once().in_order().with_attempts(attempts(stage))).map(|_| ())
}
