//! Three brokers, of which one is lost. Where they cannot be started the tests fail, unless `POLYBUS_ALLOW_MISSING` is set;
//! then they say so and were not run.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test fails by panicking")]

use std::time::Duration;

use polybus_brokers::{Broker, Cluster, Error, Kind as Version};
use polybus_contract::{
    Arrival, ConsumeOptions, Delivery, Durability, Health, Incoming, Intake, Kind, Link, Message, Name,
    PublishOptions, Queue, Status, SubscriptionState, Target, Topology, Transport,
};
use polybus_rabbitmq::RabbitMq;
use tokio::time::{Instant, sleep, timeout};

/// Whatever is waited for here ends within this, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(90);

async fn cluster(version: Version) -> Option<Cluster> {
    match Cluster::start(version).await {
        Ok(cluster) => Some(cluster),
        Err(error @ Error::Missing { .. }) if std::env::var_os("POLYBUS_ALLOW_MISSING").is_some() => {
            eprintln!("NOT RUN: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A handle that tries these members in this order.
fn handle(cluster: &Cluster, order: [usize; 3]) -> RabbitMq {
    let members = order.map(|index| cluster.nodes()[index].address());
    RabbitMq::from_url(&format!("{}?replicas=3", cluster.nodes()[0].url_at(&members.join(",")))).unwrap()
}

async fn next(incoming: &mut Incoming<Delivery>) -> Delivery {
    match timeout(PATIENCE, incoming.next()).await.unwrap() {
        Some(Arrival::Item(delivery)) => delivery,
        other => panic!("{other:?} came instead of a delivery: {:?}", incoming.end()),
    }
}

async fn until(what: &str, bus: &RabbitMq, holds: impl Fn(&Health) -> bool) {
    let began = Instant::now();
    while !holds(&bus.health()) {
        assert!(began.elapsed() < PATIENCE, "{what} was waited for: {:?}", bus.health());
        sleep(Duration::from_millis(20)).await;
    }
}

/// Sends until it is confirmed. Each try ends in its time, and its failure has a kind that allows another one.
async fn send(bus: &RabbitMq, queue: &Name, text: &str) {
    let began = Instant::now();
    let options = PublishOptions::default().with_within(Duration::from_secs(10));
    let target = Target::Queue(queue.clone());
    loop {
        let sending = bus.publish(&target, Message::new(text.to_owned()), options.clone());
        match timeout(Duration::from_secs(20), sending).await.unwrap() {
            Ok(receipt) => {
                assert!(receipt.confirmed().is_some());
                return;
            }
            Err(error) => {
                assert_ne!(error.status(), Status::Permanent, "{error}");
                assert!(began.elapsed() < PATIENCE, "{error}");
            }
        }
    }
}

/// The member that a handle is connected to goes silent, with its connections up, and the next one takes its place. The
/// queue is led by another one: its followers take much longer to give up a leader that is silent.
async fn a_silent_member(cluster: &Cluster, silent: &Broker) {
    let (bus, leading) = (handle(cluster, [0, 1, 2]), handle(cluster, [1, 2, 0]));
    let queue = Name::new("jobs").unwrap();
    let wanted =
        Topology::new().queue(Queue::new(queue.clone()).with_durability(Some(Durability::Replicated)));
    leading.declare(&wanted).await.unwrap();
    bus.declare(&wanted).await.unwrap();
    assert_eq!(cluster.leader("jobs").await.unwrap(), Some(1));
    let mut incoming = bus.consume(&Intake::Queue(queue.clone()), ConsumeOptions::default()).await.unwrap();
    send(&bus, &queue, "before").await;
    next(&mut incoming).await.ack().await.unwrap();
    silent.pause().await.unwrap();
    until("a lost link", &bus, |health| matches!(health.link, Link::Down { .. })).await;
    send(&bus, &queue, "during").await;
    let mut body = next(&mut incoming).await;
    // Its ack may have got lost with the member.
    if body.message().body().as_bytes().unwrap() == "before" {
        assert!(body.attempt() > 1);
        body.ack().await.unwrap();
        body = next(&mut incoming).await;
    }
    assert_eq!(body.message().body().as_bytes().unwrap(), "during");
    body.ack().await.unwrap();
    // A new handle is not held up by it either.
    let late = handle(cluster, [0, 1, 2]);
    timeout(PATIENCE, late.connect(Duration::from_secs(30))).await.unwrap().unwrap();
    silent.resume().await.unwrap();
    leading.drain(Duration::from_secs(5)).await;
    late.drain(Duration::from_secs(5)).await;
    bus.drain(Duration::from_secs(5)).await;
}

/// A queue that lives on one member only is away while that is down, and goes on when it is back.
async fn a_queue_of_one_member(cluster: &Cluster, home: &Broker) {
    let queue = Name::new("urgent").unwrap();
    let at_home = RabbitMq::from_url(&home.url()).unwrap();
    let wanted = Queue::new(queue.clone()).with_durability(Some(Durability::Disk)).with_priorities(true);
    at_home.declare(&Topology::new().queue(wanted)).await.unwrap();
    send(&at_home, &queue, "kept").await;
    at_home.drain(Duration::from_secs(5)).await;
    let bus = handle(cluster, [1, 2, 0]);
    let mut incoming = bus
        .consume(&Intake::Queue(queue.clone()), ConsumeOptions::default().with_credit(1_u32))
        .await
        .unwrap();
    let kept = next(&mut incoming).await;
    home.kill().await.unwrap();
    let is_down = |health: &Health| {
        health.link == Link::Up
            && health.subscriptions.iter().all(|one| matches!(one.state, SubscriptionState::Down(_)))
    };
    // A consumer learns of its end as it is read.
    tokio::select! {
        () = until("a consumer that is down", &bus, is_down) => {}
        other = incoming.next() => panic!("{other:?} came: {:?}", incoming.end()),
    }
    let options = PublishOptions::default().with_within(Duration::from_secs(10));
    let target = Target::Queue(queue.clone());
    let sending = bus.publish(&target, Message::new("lost"), options);
    let refused = timeout(Duration::from_secs(20), sending).await.unwrap().unwrap_err();
    assert!(
        matches!(refused.kind(), Kind::Full | Kind::Unroutable | Kind::Disconnected | Kind::DeadlineExceeded),
        "{refused}"
    );
    home.restart().await.unwrap();
    drop(kept);
    let again = next(&mut incoming).await;
    assert!(bus.health().is_good(), "{:?}", bus.health());
    assert_eq!(again.message().body().as_bytes().unwrap(), "kept");
    assert!(again.attempt() > 1);
    again.ack().await.unwrap();
    send(&bus, &queue, "after").await;
    let after = next(&mut incoming).await;
    assert_eq!(after.message().body().as_bytes().unwrap(), "after");
    after.ack().await.unwrap();
    bus.drain(Duration::from_secs(5)).await;
}

async fn one_of_three_is_lost(version: Version) {
    let Some(cluster) = cluster(version).await else { return };
    let first = &cluster.nodes()[0];
    a_queue_of_one_member(&cluster, first).await;
    a_silent_member(&cluster, first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_is_lost_on_3_10() {
    one_of_three_is_lost(Version::RABBITMQ_3_10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_is_lost_on_4_0() {
    one_of_three_is_lost(Version::RABBITMQ_4_0).await;
}
