//! What a queue or group drops at its bound is counted, and a group's reader sees a gap. Where no broker can be started the
//! tests fail, unless `POLYBUS_ALLOW_MISSING` is set; then they say so and were not run.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test fails by panicking")]

use std::time::Duration;

use polybus_brokers::{Broker, Error, Kind as Version};
use polybus_contract::{
    Arrival, Bounds, ConsumeOptions, Gap, GapCause, Group, Incoming, Intake, Message, Name, Object, Overflow,
    PublishOptions, Queue, Target, Topic, Topology, Transport, TransportExt,
};
use polybus_rabbitmq::RabbitMq;

const TWO: Bounds = Bounds { messages: 2, bytes: 1 << 20, overflow: Overflow::DropOldest };

async fn broker(version: Version) -> Option<Broker> {
    match Broker::start(version).await {
        Ok(broker) => Some(broker),
        Err(error @ Error::Missing { .. }) if std::env::var_os("POLYBUS_ALLOW_MISSING").is_some() => {
            eprintln!("NOT RUN: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn group() -> Intake {
    Intake::Group { topic: name("news"), group: name("all") }
}

/// Acks what comes until as many as this came or were missed; the bodies, and what was missed for which causes.
async fn read(incoming: &mut Incoming<polybus_contract::Delivery>, all: u64) -> (Vec<String>, u64) {
    let (mut bodies, mut missed) = (Vec::new(), 0);
    while bodies.len() as u64 + missed < all {
        match tokio::time::timeout(Duration::from_secs(20), incoming.next()).await.unwrap() {
            Some(Arrival::Item(delivery)) => {
                let body = delivery.message().body().as_bytes().unwrap();
                bodies.push(String::from_utf8(body.to_vec()).unwrap());
                delivery.ack().await.unwrap();
            }
            Some(Arrival::Gap(Gap { missed: Some(count), cause: GapCause::Bound })) => missed += count,
            other => panic!("{other:?}"),
        }
    }
    (bodies, missed)
}

async fn announce(bus: &RabbitMq, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let message = Message::new(number.to_string());
        let published = bus.publish(&Target::Topic(name("news")), message, PublishOptions::default()).await;
        assert!(published.unwrap().confirmed().is_some());
    }
}

async fn what_falls_out_is_counted(version: Version) {
    let Some(broker) = broker(version).await else { return };
    let bus = RabbitMq::from_url(&broker.url()).unwrap();
    let in_group =
        Group::new(name("news"), name("all")).with_queue(Queue::new(name("unnamed")).with_bounds(TWO));
    let topology = Topology::new().topic(Topic::durable(name("news"))).group(in_group);
    assert!(bus.declare(&topology).await.unwrap().differences.is_empty());
    assert!(bus.declare(&topology).await.unwrap().differences.is_empty(), "again");

    // While nobody reads.
    announce(&bus, 0..5).await;
    let reader = RabbitMq::from_url(&broker.url()).unwrap();
    let mut incoming = reader.consume(&group(), ConsumeOptions::default()).await.unwrap();
    assert_eq!(read(&mut incoming, 5).await, (vec!["3".to_owned(), "4".to_owned()], 3));
    assert_eq!(reader.health().counters.overflowed, 3);

    // While one reads too slowly: what is in hand does not count against the bound.
    drop(incoming);
    let one = || ConsumeOptions::default().with_credit(1_u32);
    let mut incoming = reader.consume(&group(), one()).await.unwrap();
    announce(&bus, 5..15).await;
    let (bodies, missed) = read(&mut incoming, 10).await;
    assert_eq!((bodies.as_slice(), missed), (&["5", "13", "14"].map(str::to_owned)[..], 7));
    assert_eq!(reader.health().counters.overflowed, 10);
    assert_eq!(bus.health().counters.overflowed, 0, "each is counted once");
    drop(incoming);

    // A queue has no gaps; its drops are counted all the same.
    let jobs = Queue::new(name("jobs")).with_bounds(TWO);
    bus.declare(&Topology::new().queue(jobs)).await.unwrap();
    for number in 0..5 {
        bus.send(&name("jobs"), Message::new(number.to_string())).await.unwrap();
    }
    let mut incoming = bus.consume(&Intake::Queue(name("jobs")), one()).await.unwrap();
    assert_eq!(read(&mut incoming, 2).await, (vec!["3".to_owned(), "4".to_owned()], 0));
    let began = tokio::time::Instant::now();
    while bus.health().counters.overflowed < 3 {
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", bus.health().counters);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bus.admin().unwrap().remove(&Object::Queue(name("jobs"))).await.unwrap();
    reader.drain(Duration::from_secs(5)).await;
    bus.drain(Duration::from_secs(5)).await;
    let listed = broker.command(&["--quiet", "-p", broker.login().0, "list_queues", "name"]).await.unwrap();
    let mut left: Vec<_> = listed.lines().filter(|line| *line != "name").collect();
    left.sort_unstable();
    assert_eq!(left, ["news@all", "news@all.dead", "news@all~dropped"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_falls_out_is_counted_on_3_10() {
    what_falls_out_is_counted(Version::RABBITMQ_3_10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_falls_out_is_counted_on_4_0() {
    what_falls_out_is_counted(Version::RABBITMQ_4_0).await;
}
