//! B: routing and names.

use std::sync::Arc;

use polybus_contract::{
    Confirm, ConsumeOptions, Incoming, Intake, Kind, MAX_NAME, Message, Name, PublishOptions, Receipt,
    SubscribeOptions, Target, Topic, Topology, Transport,
};

use crate::case::{Case, CaseResult, case, ensure, refused};
use crate::checker::Expect;
use crate::stage::Stage;
use crate::traffic::{Producer, Subscriber};

/// The table of the group.
pub(super) const CASES: &[Case] = &[
    case!(B1 topic_isolation [Topic, LiveSubscribe] "20 topics of 100 messages: none on a wrong topic, none missing"),
    case!(B2 name_grammar [Queue, Settle] "names within the grammar are kept apart byte for byte, all others are refused before any I/O"),
    case!(B4 no_route [Queue, Settle, Confirm] "a send to no queue is refused as unroutable, one to a queue that nobody reads is stored"),
    case!(B5 tenant_prefix [Queue, Settle] "two tenants use the same name and see nothing of each other"),
    case!(B6 long_lived_many [Topic, LiveSubscribe] "2,000 topics are open at once, all live, within bounded memory"),
];

fn plain() -> PublishOptions {
    PublishOptions::default().with_confirm(Confirm::WhereAble)
}

async fn topic_isolation(stage: &Stage) -> CaseResult {
    const TOPICS: usize = 20;
    const EACH: usize = 100;
    let (sender, reader) = (stage.connect().await?, stage.connect().await?);
    let mut lines: Vec<(Name, Producer, Subscriber)> = Vec::new();
    for number in 0..TOPICS {
        // Names of which one begins another, so that a match by beginning shows.
        let topic = stage.name(&format!("t{}{}", ".x".repeat(number % 3), number / 3))?;
        stage.declare(&*sender, &Topology::new().topic(Topic::new(topic.clone()))).await?;
        let subscriber = stage.subscriber(&*reader, &topic, &format!("s{number}")).await?;
        lines.push((topic, stage.producer(&format!("p{number}")), subscriber));
    }
    let mut turns: Vec<usize> = (0..TOPICS).cycle().take(TOPICS * EACH).collect();
    stage.choose(|rng| rng.shuffle(&mut turns));
    for turn in turns {
        let (topic, producer, _) = &mut lines[turn];
        producer.publish(&*sender, &Target::Topic(topic.clone()), plain()).await?;
    }
    for (number, (topic, _, subscriber)) in lines.iter_mut().enumerate() {
        for _ in 0..EACH {
            let (stamp, _) = subscriber.next().await?;
            ensure!(stamp.producer == format!("p{number}"), "{} came to {topic}", stamp.producer);
        }
    }
    // One wait for all: what is on a wrong topic is there by now.
    lines[0].2.nothing_more().await?;
    for (_, _, subscriber) in &mut lines[1..] {
        let more =
            stage.next_within(subscriber.incoming(), "a subscriber", std::time::Duration::ZERO).await?;
        ensure!(more.is_none(), "one more message came than was published: {more:?}");
    }
    stage.check(&Expect::default().with_duplicates(Some(0))).map(|_| ())
}

/// What a transport's own mapping of names could take for one another.
const ALIKE: &[&str] = &["x", "X", "x.y", "x-y", "x_y", "x.y.z", "x.Y", "xy", "x--y", "x-.y", "0", "-", "_"];

async fn name_grammar(stage: &Stage) -> CaseResult {
    let bus = stage.connect().await?;
    refuse_names(stage, &*bus).await?;
    let mut longest = stage.prefix().to_owned();
    while longest.len() < MAX_NAME - 6 {
        longest.push('l');
    }
    let alike = ALIKE.iter().map(|part| stage.name(part)).collect::<CaseResult<Vec<_>>>()?;
    let names: Vec<_> = alike.into_iter().chain([Name::new(&longest)?]).collect();
    for name in &names {
        let queue = polybus_contract::Queue::new(name.clone());
        stage.declare_this(&*bus, queue).await?;
    }
    for name in &names {
        let options = PublishOptions::default().with_confirm(stage.confirm_queue());
        let to = Target::Queue(name.clone());
        stage.bounded("publish", bus.publish(&to, Message::new(name.to_string()), options)).await??;
    }
    let mut readers = Vec::new();
    for name in &names {
        readers.push((name, only(stage, &*bus, name).await?));
    }
    tokio::time::sleep(stage.times().redelivery).await;
    for (name, deliveries) in &mut readers {
        let more = stage.next_within(deliveries, name.as_str(), std::time::Duration::ZERO).await?;
        ensure!(more.is_none(), "{name} was sent one message and has another: {more:?}");
    }
    Ok(())
}

/// The one message of this queue, which must be its own; and the stream it came from.
async fn only(
    stage: &Stage,
    bus: &dyn Transport,
    name: &Name,
) -> CaseResult<Incoming<polybus_contract::Delivery>> {
    let mut deliveries = stage.consume(bus, &Intake::Queue(name.clone()), ConsumeOptions::default()).await?;
    let delivery = stage.next(&mut deliveries, name.as_str()).await?;
    let body = delivery.message().body().read(u64::MAX).await?;
    ensure!(body == name.as_str(), "{name} has the message of {}", String::from_utf8_lossy(&body));
    ensure!(delivery.queue() == name, "a delivery of {name} says it is of {}", delivery.queue());
    stage.bounded("an ack", delivery.ack()).await??;
    Ok(deliveries)
}

async fn refuse_names(stage: &Stage, bus: &dyn Transport) -> CaseResult {
    let long = "x".repeat(300);
    let bad = [
        "", " ", "a b", "a.*", "a.>", "#", "a\r\nb", "a/b", "a..b", ".a", "a.", "\u{e4}", "a\0b", "a@b",
        &long,
    ];
    for text in bad.into_iter().chain(["amq.direct", "_INBOX.x", "polybus.x"]) {
        refused(Name::new(text), &format!("the name {text:?}"), |kind| kind == Kind::InvalidName)?;
    }
    let dead = stage.name("q.dead")?;
    let sent = bus.publish(&Target::Queue(dead.clone()), Message::new("x"), plain()).await;
    refused(sent, "a publish to dead letters", |kind| kind == Kind::InvalidName)?;
    let queue = Topology::new().queue(polybus_contract::Queue::new(dead.clone()));
    refused(bus.declare(&queue).await, "declaring dead letters", |kind| kind == Kind::InvalidName)?;
    let roomless = Topology::new().queue(polybus_contract::Queue::new(Name::new("x".repeat(MAX_NAME))?));
    let what = "a queue whose dead letters have no room for a name";
    refused(bus.declare(&roomless).await, what, |kind| kind == Kind::InvalidName).map(|_| ())
}

async fn no_route(stage: &Stage) -> CaseResult {
    let bus = stage.connect().await?;
    let nowhere = Target::Queue(stage.name("nowhere")?);
    let sent =
        stage.bounded("publish", bus.publish(&nowhere, Message::new("x"), PublishOptions::default())).await?;
    refused(sent, "a send to no queue", |kind| kind == Kind::Unroutable)?;
    let queue = stage.declare_queue(&*bus, "q").await?;
    let mut producer = stage.producer("p");
    producer.send_many(&*bus, &queue, 10).await?;
    let later = stage.connect().await?;
    let mut consumer = stage.consumer(&*later, &queue, "c", 10).await?;
    for _ in 0..10 {
        consumer.next().await?.ack().await?;
    }
    stage.check(&Expect::each_once()).map(|_| ())
}

async fn tenant_prefix(stage: &Stage) -> CaseResult {
    let (ours, theirs) = (stage.connect().await?, stage.neighbour().await?);
    let queue = stage.declare_queue(&*ours, "q").await?;
    theirs.declare(&Topology::new().queue(stage.queue("q")?)).await?;
    for (bus, text) in [(&ours, "ours"), (&theirs, "theirs")] {
        let options = PublishOptions::default().with_confirm(stage.confirm_queue());
        stage
            .bounded("publish", bus.publish(&Target::Queue(queue.clone()), Message::new(text), options))
            .await??;
    }
    for (bus, text) in [(&ours, "ours"), (&theirs, "theirs")] {
        let intake = Intake::Queue(queue.clone());
        let mut deliveries = stage.consume(&**bus, &intake, ConsumeOptions::default()).await?;
        let delivery = stage.next(&mut deliveries, text).await?;
        let body = delivery.message().body().read(u64::MAX).await?;
        ensure!(body == text, "one tenant got the message of the other");
        stage.bounded("an ack", delivery.ack()).await??;
        let more = stage.next_within(&mut deliveries, text, stage.quiet()).await?;
        ensure!(more.is_none(), "one tenant got a message of the other: {more:?}");
    }
    Ok(())
}

/// Resident memory of this process, where the system tells.
fn resident_bytes() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let resident: u64 = pages.split(' ').nth(1)?.parse().ok()?;
    Some(resident * 4096)
}

async fn long_lived_many(stage: &Stage) -> CaseResult {
    const TOPICS: usize = 2000;
    /// Of memory in this process for one subscription that waits.
    const EACH: u64 = 64 << 10;
    let bus = stage.connect().await?;
    let before = resident_bytes();
    let mut open = Vec::with_capacity(TOPICS);
    for number in 0..TOPICS {
        let topic = stage.name(&format!("t.{number}"))?;
        let options = SubscribeOptions::default().with_buffer(4_u32);
        let incoming = stage.bounded("subscribe", bus.subscribe(&topic, options)).await??;
        open.push((topic, incoming));
    }
    let grown = before.zip(resident_bytes()).map(|(before, now)| now.saturating_sub(before));
    stage.log(format!("resident memory grew by {grown:?} bytes for {TOPICS} subscriptions"));
    ensure!(
        grown.is_none_or(|grown| grown < EACH * TOPICS as u64),
        "{TOPICS} subscriptions took {grown:?} bytes"
    );
    let mut turns: Vec<usize> = (0..TOPICS).collect();
    stage.choose(|rng| rng.shuffle(&mut turns));
    for turn in turns {
        say_name(stage, &bus, &mut open[turn]).await?;
    }
    let all_live = || async { bus.health().is_good() && bus.health().subscriptions.len() == TOPICS };
    stage.until("health showing every subscription live", all_live).await?;
    drop(open);
    let none_left = || async { bus.health().subscriptions.is_empty() };
    stage.until("forgetting the subscriptions that were dropped", none_left).await
}

async fn say_name(
    stage: &Stage,
    bus: &Arc<dyn Transport>,
    (topic, incoming): &mut (Name, Incoming<Message>),
) -> CaseResult {
    let receipt =
        bus.publish(&Target::Topic(topic.clone()), Message::new(topic.to_string()), plain()).await?;
    ensure!(receipt != Receipt::Unclaimed, "a publish was answered as a reply is: {receipt:?}");
    let message = stage.next(incoming, topic.as_str()).await?;
    let body = message.body().read(u64::MAX).await?;
    ensure!(body == topic.as_str(), "{topic} got the message of {}", String::from_utf8_lossy(&body));
    Ok(())
}
