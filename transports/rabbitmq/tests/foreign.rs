//! Programs at the other end that know nothing of Polybus. Where no broker can be started the tests fail, unless
//! `POLYBUS_ALLOW_MISSING` is set; then they say so and were not run.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test fails by panicking")]

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use polybus_brokers::{Broker, Error, Kind as Product};
use polybus_contract::{
    Arrival, ConsumeOptions, Delivery, Durability, Incoming, Intake, Kind, Message, Name, Queue, Receipt,
    ReplyOptions, RequestOptions, Topology, Transport, TransportExt,
};
use polybus_rabbitmq::RabbitMq;

async fn broker() -> Option<Broker> {
    match Broker::start(Product::RABBITMQ).await {
        Ok(broker) => Some(broker),
        Err(error @ Error::Missing { .. }) if std::env::var_os("POLYBUS_ALLOW_MISSING").is_some() => {
            eprintln!("NOT RUN: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A foreign program's channel.
async fn foreign(broker: &Broker) -> (Connection, Channel) {
    let connection = Connection::connect(&broker.url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

async fn publish(channel: &Channel, queue: &str, body: &[u8], properties: BasicProperties) {
    let options = BasicPublishOptions::default();
    channel.basic_publish("".into(), queue.into(), options, body, properties).await.unwrap().await.unwrap();
}

/// The queue as an old server declares it.
async fn declare(channel: &Channel, queue: &str) {
    let options = QueueDeclareOptions::default();
    channel.queue_declare(queue.into(), options, FieldTable::default()).await.unwrap();
}

async fn consumer(bus: &RabbitMq, queue: &Name) -> Incoming<Delivery> {
    bus.consume(&Intake::Queue(queue.clone()), ConsumeOptions::default()).await.unwrap()
}

async fn next(incoming: &mut Incoming<Delivery>) -> Delivery {
    match tokio::time::timeout(Duration::from_secs(20), incoming.next()).await.unwrap() {
        Some(Arrival::Item(delivery)) => delivery,
        other => panic!("{other:?} came instead of a delivery"),
    }
}

async fn body_of(channel: &Channel, queue: &str) -> (Vec<u8>, BasicProperties) {
    for _ in 0..200 {
        let options = BasicGetOptions { no_ack: true };
        if let Some(found) = channel.basic_get(queue.into(), options).await.unwrap() {
            return (found.delivery.data, found.delivery.properties);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nothing came to {queue}");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_programs_are_served_and_called() {
    let Some(broker) = broker().await else { return };
    let (_connection, channel) = foreign(&broker).await;
    let queue = Name::new("anon_0.5.5").unwrap();
    declare(&channel, "anon_0.5.5").await;
    let bus = RabbitMq::from_url(&format!("{}?reply=each", broker.url())).unwrap();

    // What is there is used as it is; what the old programs would declare is the same.
    let old = Queue::new(queue.clone()).with_durability(Some(Durability::Volatile));
    let declared = bus.declare(&Topology::new().queue(old.clone())).await.unwrap();
    assert!(declared.created.is_empty() && declared.differences.is_empty(), "{declared:?}");
    let best = bus.declare(&Topology::new().queue(old.clone().with_durability(None))).await.unwrap();
    assert_eq!(best.differences.len(), 1, "{best:?}");
    let must = old.with_durability(Some(Durability::Disk));
    assert_eq!(bus.declare(&Topology::new().queue(must)).await.unwrap_err().kind(), Kind::Conflict);

    // A request as an old client sends it: no id, no headers.
    declare(&channel, "its replies").await;
    let request =
        BasicProperties::default().with_reply_to("its replies".into()).with_correlation_id("7 # %".into());
    publish(&channel, "anon_0.5.5", b"{", request).await;
    let mut requests = consumer(&bus, &queue).await;
    let delivery = next(&mut requests).await;
    let id = delivery.message().id().cloned();
    assert!(delivery.message().id_is_derived() && delivery.message().correlation_id().unwrap() == "7 # %");
    drop(delivery);
    let delivery = next(&mut requests).await;
    assert_eq!((delivery.attempt(), delivery.message().id().cloned()), (2, id));
    let to = delivery.message().reply_to().cloned().unwrap();
    let receipt = bus.reply(&to, Message::new("done"), ReplyOptions::default()).await.unwrap();
    assert!(matches!(receipt, Receipt::Confirmed(_)));
    delivery.ack().await.unwrap();
    let (body, properties) = body_of(&channel, "its replies").await;
    assert_eq!((&body[..], properties.correlation_id().as_ref().unwrap().as_str()), (&b"done"[..], "7 # %"));
    drop(requests);

    // An old worker that repeats no correlation id, after somebody whose reply is for another call.
    let worker = channel.clone();
    let served = tokio::spawn(async move {
        let options = BasicConsumeOptions::default();
        let consuming = worker.basic_consume("anon_0.5.5".into(), "".into(), options, FieldTable::default());
        let mut requests = consuming.await.unwrap();
        let request = requests.next().await.unwrap().unwrap();
        let to = request.properties.reply_to().clone().unwrap();
        let others = BasicProperties::default().with_correlation_id("of another call".into());
        publish(&worker, to.as_str(), b"not this", others).await;
        publish(&worker, to.as_str(), b"old", BasicProperties::default()).await;
        request.ack(BasicAckOptions::default()).await.unwrap();
    });
    let reply = bus.call(&queue, Message::new("x"), RequestOptions::default()).await.unwrap();
    assert_eq!(reply.message.body().as_bytes().unwrap(), "old");
    assert_eq!(bus.health().counters.late_replies, 1);
    served.await.unwrap();
    bus.drain(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_reply_address_hurts_nobody() {
    let Some(broker) = broker().await else { return };
    let (_connection, channel) = foreign(&broker).await;
    let bus = RabbitMq::from_url(&broker.url()).unwrap();
    let queue = Name::new("jobs").unwrap();
    bus.declare(&Topology::new().queue(Queue::new(queue.clone()))).await.unwrap();
    let mut requests = consumer(&bus, &queue).await;
    for forged in ["amq.rabbitmq.reply-to.x", "amq.rabbitmq.reply-to.g1h2.AAAA", "gone"] {
        publish(&channel, "jobs", b"x", BasicProperties::default().with_reply_to(forged.into())).await;
        let delivery = next(&mut requests).await;
        let to = delivery.message().reply_to().cloned().unwrap();
        let receipt = bus.reply(&to, Message::new("done"), ReplyOptions::default()).await.unwrap();
        assert_eq!(receipt, Receipt::Unclaimed, "{forged}");
        // The lease lasts as long as the connection: it is still the same one.
        delivery.ack().await.unwrap();
    }

    // A genuine one is answered.
    let direct = "amq.rabbitmq.reply-to";
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut replies =
        channel.basic_consume(direct.into(), "".into(), options, FieldTable::default()).await.unwrap();
    publish(&channel, "jobs", b"x", BasicProperties::default().with_reply_to(direct.into())).await;
    let delivery = next(&mut requests).await;
    let to = delivery.message().reply_to().cloned().unwrap();
    let receipt = bus.reply(&to, Message::new("direct"), ReplyOptions::default()).await.unwrap();
    assert!(matches!(receipt, Receipt::Handed(_)), "{receipt:?}");
    delivery.ack().await.unwrap();
    assert_eq!(replies.next().await.unwrap().unwrap().data, b"direct");
    bus.drain(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_returned_is_unroutable() {
    let Some(broker) = broker().await else { return };
    let bus = RabbitMq::from_url(&broker.url()).unwrap();
    let (there, nowhere) = (Name::new("there").unwrap(), Name::new("nowhere").unwrap());
    bus.declare(&Topology::new().queue(Queue::new(there.clone()))).await.unwrap();
    for _ in 0..20 {
        let sends = (0..50).map(|number| {
            let to = if number % 7 == 3 { &nowhere } else { &there };
            bus.send(to, Message::new(number.to_string()))
        });
        for (number, sent) in join_all(sends).await.into_iter().enumerate() {
            match sent {
                Ok(_) => assert_ne!(number % 7, 3, "confirmed, and there is no such queue"),
                Err(error) => assert_eq!((number % 7, error.kind()), (3, Kind::Unroutable), "{error}"),
            }
        }
    }
    bus.drain(Duration::from_secs(5)).await;
}
