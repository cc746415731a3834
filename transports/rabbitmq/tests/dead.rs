//! A look at dead letters changes neither their order nor anything that counts. Where no broker can be started the tests
//! fail, unless `POLYBUS_ALLOW_MISSING` is set; then they say so and were not run.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use polybus_brokers::{Broker, Error, Kind as Version};
use polybus_contract::{
    Admin, Arrival, Browse, ConsumeOptions, Delivery, Durability, Feature, Incoming, Intake, Keep, Kind,
    Message, Name, Outcome, Page, Place, Queue, Reason, Redrive, Topology, Transport, TransportExt,
};
use polybus_rabbitmq::RabbitMq;

const LETTERS: u32 = 120;

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

async fn next(incoming: &mut Incoming<Delivery>) -> Delivery {
    match tokio::time::timeout(Duration::from_secs(20), incoming.next()).await.unwrap() {
        Some(Arrival::Item(delivery)) => delivery,
        other => panic!("{other:?} came instead of a delivery"),
    }
}

fn number(message: &Message) -> u32 {
    std::str::from_utf8(message.body().as_bytes().unwrap()).unwrap().parse().unwrap()
}

fn intake(name: &str) -> Intake {
    Intake::Queue(Name::new(name).unwrap())
}

/// A queue in which so many messages died, in order.
async fn graves(bus: &RabbitMq, name: &str, durability: Option<Durability>) -> Intake {
    let queue = Queue::new(Name::new(name).unwrap()).with_durability(durability);
    let queue = if durability == Some(Durability::Disk) { queue.with_priorities(true) } else { queue };
    bus.declare(&Topology::new().queue(queue)).await.unwrap();
    let mut incoming =
        bus.consume(&intake(name), ConsumeOptions::default().with_credit(1_u32)).await.unwrap();
    for number in 0..LETTERS {
        bus.send(&Name::new(name).unwrap(), Message::new(number.to_string())).await.unwrap();
        let reject = Outcome::Reject {
            reason: Reason::Rejected,
            error: Some(format!("error {number}")),
            keep: Keep::Body,
        };
        next(&mut incoming).await.settle(reject).await.unwrap();
    }
    intake(name)
}

async fn page(bus: &RabbitMq, intake: &Intake, from: u64, limit: u32) -> Page {
    let browse = Browse::default().with_from(from).with_limit(limit);
    tokio::time::timeout(Duration::from_secs(20), bus.browse(intake, Place::Dead, browse))
        .await
        .unwrap()
        .unwrap()
}

/// All dead letters, in pages of this size.
async fn look(bus: &RabbitMq, intake: &Intake, limit: u32) -> Vec<u32> {
    let (mut seen, mut from) = (Vec::new(), 0);
    loop {
        let page = page(bus, intake, from, limit).await;
        for letter in &page.messages {
            let death = letter.message.death().unwrap();
            let number = number(&letter.message);
            assert_eq!((letter.attempts, death.attempts, death.whole), (1, 1, true));
            assert_eq!(death.error.as_deref(), Some(&*format!("error {number}")));
            seen.push(number);
        }
        match page.next {
            Some(next) => from = next,
            None => return seen,
        }
    }
}

async fn a_look_changes_nothing(version: Version) {
    let Some(broker) = broker(version).await else { return };
    let bus = RabbitMq::from_url(&broker.url()).unwrap();
    let all: Vec<_> = (0..LETTERS).collect();
    for (name, durability) in [("best", None), ("classic", Some(Durability::Disk))] {
        let intake = graves(&bus, name, durability).await;
        // More often than any limit of a broker, and by somebody who has declared nothing.
        let visitor = RabbitMq::from_url(&broker.url()).unwrap();
        for limit in [7, 50, 0].into_iter().chain([1000; 8]) {
            assert_eq!(look(&visitor, &intake, limit).await, all, "{version:?} {name} by {limit}");
        }
        let middle = page(&visitor, &intake, 100, 10).await;
        assert_eq!(
            middle.messages.iter().map(|letter| number(&letter.message)).collect::<Vec<_>>(),
            all[100..110]
        );
        assert_eq!(middle.next, Some(110));
        let behind = page(&visitor, &intake, LETTERS.into(), 10).await;
        assert!(behind.messages.is_empty() && behind.next.is_none());
        assert_eq!(visitor.inspect(&intake).await.unwrap().dead, Some(LETTERS.into()));

        // Back to life: in their order, with attempts counted anew.
        let redriven = visitor.redrive(&intake, Redrive::default()).await.unwrap();
        assert_eq!((redriven.moved, redriven.left), (LETTERS.into(), 0));
        assert!(look(&visitor, &intake, 0).await.is_empty());
        let mut incoming = bus.consume(&intake, ConsumeOptions::default()).await.unwrap();
        for wanted in 0..LETTERS {
            let delivery = next(&mut incoming).await;
            assert_eq!((number(delivery.message()), delivery.attempt()), (wanted, 1));
            delivery.ack().await.unwrap();
        }
        visitor.drain(Duration::from_secs(5)).await;
    }
    refusals(&broker, &bus).await;
    bus.drain(Duration::from_secs(5)).await;
}

/// What is no queue, what nobody may look at, and what would do harm.
async fn refusals(broker: &Broker, bus: &RabbitMq) {
    let nowhere = bus.browse(&intake("nowhere"), Place::Dead, Browse::default()).await.unwrap_err();
    assert_eq!(nowhere.kind(), Kind::NotFound);
    let ready = bus.browse(&intake("best"), Place::Ready, Browse::default()).await.unwrap_err();
    assert_eq!(ready.kind(), Kind::Unsupported(Feature::BrowseReady));
    let far = Browse::default().with_from(70_000_u64);
    assert!(bus.browse(&intake("best"), Place::Dead, far).await.unwrap().messages.is_empty());

    // Somebody else's queue, in which each look would count.
    let connection = Connection::connect(&broker.url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(3));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("foreign.dead".into(), durable, arguments).await.unwrap();
    let options = BasicPublishOptions::default();
    let confirm = channel
        .basic_publish("".into(), "foreign.dead".into(), options, b"1", BasicProperties::default())
        .await
        .unwrap();
    confirm.await.unwrap();
    let counted = bus.browse(&intake("foreign"), Place::Dead, Browse::default()).await.unwrap_err();
    assert_eq!(counted.kind(), Kind::Conflict, "{counted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_changes_nothing_on_4_0() {
    a_look_changes_nothing(Version::RABBITMQ_4_0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_changes_nothing_on_3_10() {
    a_look_changes_nothing(Version::RABBITMQ_3_10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn looks_and_a_consumer_of_the_dead_do_not_harm_each_other() {
    let Some(broker) = broker(Version::RABBITMQ).await else { return };
    let bus = RabbitMq::from_url(&broker.url()).unwrap();
    let queue = graves(&bus, "jobs", None).await;
    let visitor = RabbitMq::from_url(&broker.url()).unwrap();
    let looking = tokio::spawn(async move {
        let mut most = 0;
        for _ in 0..5 {
            most = most.max(page(&visitor, &queue, 0, 50).await.messages.len());
        }
        visitor.drain(Duration::from_secs(5)).await;
        most
    });
    let mut dead =
        bus.consume(&intake("jobs.dead"), ConsumeOptions::default().with_credit(5_u32)).await.unwrap();
    let mut taken = BTreeSet::new();
    for _ in 0..LETTERS {
        let delivery = next(&mut dead).await;
        assert!(delivery.message().death().is_some());
        assert!(taken.insert(number(delivery.message())), "nothing that was acked comes again");
        delivery.ack().await.unwrap();
    }
    assert!(looking.await.unwrap() <= 50);
    assert_eq!(bus.inspect(&intake("jobs")).await.unwrap().dead, Some(0));
    bus.drain(Duration::from_secs(5)).await;
}
