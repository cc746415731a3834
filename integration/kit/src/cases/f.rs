//! F: fanout.

use std::time::Duration;

use polybus_contract::{
    Arrival, Confirm, ConsumeOptions, Feature, Gap, GapCause, Group, Intake, Name, PublishOptions,
    SubscribeOptions, Target, Topic, Topology, Transport,
};
use tokio::time::timeout;

use crate::case::{Case, CaseResult, Fail, case, ensure};
use crate::checker::Expect;
use crate::stage::Stage;
use crate::traffic::{Producer, Subscriber};

/// The table of the group.
pub(super) const CASES: &[Case] = &[
    case!(F1 every_subscriber [Topic, LiveSubscribe] "five subscribers get each of 1,000 messages once, in order where that is declared"),
    case!(F2 late_subscriber [Topic, LiveSubscribe] "a subscription begins when it is made, a group when it is created"),
    case!(F3 ready_means_ready [Topic, LiveSubscribe] "what is published right after a subscribe returned is received"),
    case!(F4 slow_subscriber [Topic, LiveSubscribe] "one who stops reading holds up nobody, and is told what it missed"),
    case!(F5 gap_visible [Topic, LiveSubscribe, GapCount] "what a slow reader missed is shown to it as a gap with cause and count"),
];

/// A plain topic of the case.
async fn topic(stage: &Stage, bus: &dyn Transport, part: &str) -> CaseResult<Name> {
    let name = stage.name(part)?;
    stage.declare(bus, &Topology::new().topic(Topic::new(name.clone()))).await?;
    Ok(name)
}

/// Publishes the next messages, each within the declared patience.
async fn announce(
    stage: &Stage,
    bus: &dyn Transport,
    topic: &Name,
    producer: &mut Producer,
    count: u64,
) -> CaseResult {
    let target = Target::Topic(topic.clone());
    for _ in 0..count {
        let options = PublishOptions::default().with_confirm(Confirm::WhereAble);
        stage.bounded("a publish to a topic", producer.publish(bus, &target, options)).await??;
    }
    Ok(())
}

async fn every_subscriber(stage: &Stage) -> CaseResult {
    const MESSAGES: u64 = 1000;
    let bus = stage.connect().await?;
    let topic = topic(stage, &*bus, "t").await?;
    let options = SubscribeOptions::default().with_buffer(2048_u32);
    let mut subscribers = Vec::new();
    for number in 0..5 {
        let name = format!("s{number}");
        subscribers.push(stage.subscriber_with(&*bus, &topic, &name, options.clone()).await?);
    }
    announce(stage, &*bus, &topic, &mut stage.producer("p"), MESSAGES).await?;
    for subscriber in &mut subscribers {
        for _ in 0..MESSAGES {
            subscriber.next().await?;
        }
        subscriber.nothing_more().await?;
    }
    let expect = Expect::each_once().by_each();
    let ordered = stage.has(Feature::SenderOrder);
    stage.check(&if ordered { expect.in_order() } else { expect }).map(|_| ())
}

async fn late_subscriber(stage: &Stage) -> CaseResult {
    let bus = stage.connect().await?;
    let topic = topic(stage, &*bus, "t").await?;
    let mut producer = stage.producer("p");
    let mut early = stage.subscriber(&*bus, &topic, "early").await?;
    announce(stage, &*bus, &topic, &mut producer, 10).await?;
    let mut late = stage.subscriber(&*bus, &topic, "late").await?;
    announce(stage, &*bus, &topic, &mut producer, 10).await?;
    expect_from(&mut early, 0, 20).await?;
    expect_from(&mut late, 10, 20).await?;
    if stage.has(Feature::TopicGroup) { late_reader_of_group(stage, &*bus).await } else { Ok(()) }
}

/// The subscriber gets these messages and nothing else.
async fn expect_from(subscriber: &mut Subscriber, first: u64, end: u64) -> CaseResult {
    let mut sequences = Vec::new();
    for _ in first..end {
        sequences.push(subscriber.next().await?.0.sequence);
    }
    sequences.sort_unstable();
    let wanted: Vec<_> = (first..end).collect();
    ensure!(sequences == wanted, "it got {sequences:?}, it was to get {first} to {}", end - 1);
    subscriber.nothing_more().await
}

async fn late_reader_of_group(stage: &Stage, bus: &dyn Transport) -> CaseResult {
    let (topic, name) = (stage.name("durable")?, Name::new("g")?);
    let group = Group::new(topic.clone(), name.clone()).with_queue(stage.queue("g")?);
    stage.declare(bus, &Topology::new().topic(Topic::durable(topic.clone())).group(group)).await?;
    let mut producer = stage.producer("to-group");
    announce(stage, bus, &topic, &mut producer, 10).await?;
    let intake = Intake::Group { topic, group: name };
    let mut reader = stage.consumer_of(bus, &intake, "group", ConsumeOptions::default()).await?;
    for sequence in 0..10 {
        let taken = reader.next().await?;
        ensure!(taken.stamp.sequence == sequence, "{taken} came to the group in place {sequence}");
        taken.ack().await?;
    }
    reader.nothing_more().await
}

async fn ready_means_ready(stage: &Stage) -> CaseResult {
    let (publisher, listener) = (stage.connect().await?, stage.connect().await?);
    for round in 0..20 {
        let topic = topic(stage, &*publisher, &format!("t{round}")).await?;
        let mut subscriber = stage.subscriber(&*listener, &topic, &format!("s{round}")).await?;
        announce(stage, &*publisher, &topic, &mut stage.producer(&format!("p{round}")), 1).await?;
        subscriber.next().await.map_err(|fail| fail.during("the first message after a subscribe"))?;
    }
    Ok(())
}

/// What a reader that slept gets: messages, and gaps.
async fn catch_up(stage: &Stage, slow: &mut Subscriber, all: u64) -> CaseResult<(u64, Vec<Gap>)> {
    let (mut received, mut gaps) = (0, Vec::new());
    while received + gaps.iter().filter_map(|gap: &Gap| gap.missed).sum::<u64>() < all {
        match timeout(stage.quiet(), slow.incoming().next()).await {
            Ok(Some(Arrival::Item(message))) => {
                slow.received(&message)?;
                received += 1;
            }
            Ok(Some(Arrival::Gap(gap))) => gaps.push(gap),
            Ok(None) => return Err(Fail::broken("the subscription of a slow reader ended")),
            Err(_) => break,
        }
    }
    Ok((received, gaps))
}

async fn slow_subscriber(stage: &Stage) -> CaseResult {
    const MESSAGES: u64 = 200;
    let bus = stage.connect().await?;
    let topic = topic(stage, &*bus, "t").await?;
    let before = bus.health().counters.missed;
    let small = SubscribeOptions::default().with_buffer(16_u32);
    let mut slow = stage.subscriber_with(&*bus, &topic, "slow", small).await?;
    let mut quick = stage.subscriber(&*bus, &topic, "quick").await?;
    let mut producer = stage.producer("p");
    for _ in 0..MESSAGES {
        announce(stage, &*bus, &topic, &mut producer, 1).await?;
        quick.next().await.map_err(|fail| fail.during("beside a slow subscriber"))?;
    }
    let (received, gaps) = catch_up(stage, &mut slow, MESSAGES).await?;
    let counted: u64 = gaps.iter().filter_map(|gap| gap.missed).sum();
    ensure!(received == MESSAGES || !gaps.is_empty(), "it got {received} of {MESSAGES} and no gap");
    if stage.has(Feature::GapCount) {
        ensure!(
            received + counted == MESSAGES,
            "{received} received and {counted} missed are not {MESSAGES}"
        );
    }
    let missed = MESSAGES - received;
    let count = || bus.health().counters.missed - before;
    stage.until(&format!("a count of the {missed} missed"), || async { count() >= missed }).await
}

async fn gap_visible(stage: &Stage) -> CaseResult {
    const MESSAGES: u64 = 100;
    let bus = stage.connect().await?;
    let topic = topic(stage, &*bus, "t").await?;
    let small = SubscribeOptions::default().with_buffer(4_u32);
    let mut slow = stage.subscriber_with(&*bus, &topic, "slow", small).await?;
    announce(stage, &*bus, &topic, &mut stage.producer("p"), MESSAGES).await?;
    // What a bus may still have on its way has arrived by then.
    tokio::time::sleep(stage.times().redelivery.max(Duration::from_millis(1))).await;
    let (received, gaps) = catch_up(stage, &mut slow, MESSAGES).await?;
    ensure!(!gaps.is_empty(), "{MESSAGES} messages came to a buffer of four, and there is no gap");
    let missed: u64 = gaps.iter().filter_map(|gap| gap.missed).sum();
    ensure!(received + missed == MESSAGES, "{received} received and {missed} missed are not {MESSAGES}");
    let slow_reader = |gap: &Gap| gap.cause == GapCause::SlowReader;
    ensure!(gaps.iter().all(slow_reader), "the gaps of a slow reader are {gaps:?}");
    let more = timeout(stage.quiet(), slow.incoming().next()).await;
    ensure!(more.is_err(), "after all were received or missed there came {more:?}");
    Ok(())
}
