//! Large bodies on a broker: by the wire page, through its restart, and gone when nobody wants them. Where no broker can be
//! started the tests fail, unless `POLYBUS_ALLOW_MISSING` is set; then they say so and were not run.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use polybus_brokers::{Broker, Error, Kind as Product};
use polybus_contract::{
    Arrival, Body, BodyParts, Checked, ConsumeOptions, Delivery, Incoming, Intake, Kind, Manifest, Message,
    Name, PARTS_LIVE, Part, PartsId, Queue, Topology, Transport, TransportExt, Upload,
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

fn bus(broker: &Broker) -> Checked {
    Checked::new(Arc::new(RabbitMq::from_url(&broker.url()).unwrap()))
}

async fn foreign(broker: &Broker) -> (Connection, Channel) {
    let connection = Connection::connect(&broker.url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    (connection, channel)
}

async fn jobs(bus: &Checked) -> (Name, Incoming<Delivery>) {
    let queue = Name::new("jobs").unwrap();
    bus.declare(&Topology::new().queue(Queue::new(queue.clone()))).await.unwrap();
    let deliveries = bus.consume(&Intake::Queue(queue.clone()), ConsumeOptions::default()).await.unwrap();
    (queue, deliveries)
}

async fn next(incoming: &mut Incoming<Delivery>) -> Delivery {
    match tokio::time::timeout(Duration::from_secs(30), incoming.next()).await.unwrap() {
        Some(Arrival::Item(delivery)) => delivery,
        other => panic!("{other:?} came instead of a delivery"),
    }
}

fn content(parts: usize) -> Bytes {
    (0..=250_u8).cycle().take((parts << 20) + 77).collect::<Vec<_>>().into()
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value.as_bytes()))
}

async fn publish(channel: &Channel, queue: &str, body: &[u8], headers: FieldTable) {
    let properties = BasicProperties::default().with_delivery_mode(2).with_headers(headers);
    let options = BasicPublishOptions::default();
    channel.basic_publish("".into(), queue.into(), options, body, properties).await.unwrap().await.unwrap();
}

/// Whether the queue of a body is there.
async fn is_there(broker: &Broker, id: PartsId) -> bool {
    let (connection, channel) = foreign(broker).await;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let name = format!("polybus.parts.{id}");
    let found = channel.queue_declare(name.as_str().into(), passive, FieldTable::default()).await.is_ok();
    let _ = connection.close(200, "OK".into()).await;
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_that_has_read_the_wire_page_sends_a_large_body() {
    let Some(broker) = broker().await else { return };
    let bus = bus(&broker);
    let (_queue, mut deliveries) = jobs(&bus).await;
    let (_connection, channel) = foreign(&broker).await;
    let id = PartsId::fresh();
    let name = format!("polybus.parts.{id}");
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(name.as_str().into(), durable, FieldTable::default()).await.unwrap();
    let parts: Vec<Part> = (0..)
        .zip(["abc", "def", "gh"])
        .map(|(index, part)| Part::new(index, Bytes::from_static(part.as_bytes())))
        .collect();
    // Part 2 was confirmed before the connection was lost, part 1 was not: both are sent again.
    for index in [0, 2, 1, 2] {
        let mut headers = FieldTable::default();
        headers.insert("x-polybus-part".into(), AMQPValue::LongInt(i32::try_from(index).unwrap()));
        headers.insert("x-polybus-part-sha256".into(), text(&HEXLOWER.encode(&parts[index].sha256)));
        publish(&channel, &name, &parts[index].bytes, headers).await;
    }
    let all = Part::new(0, parts.iter().flat_map(|part| part.sha256).collect::<Vec<u8>>().into());
    let manifest = Manifest { id, parts: 3, part: 3, bytes: 8, sha256: all.sha256 };
    let mut headers = FieldTable::default();
    headers.insert("x-polybus-parts".into(), text(&manifest.to_string()));
    publish(&channel, "jobs", b"head ", headers).await;

    let delivery = next(&mut deliveries).await;
    assert_eq!(&delivery.message().body().read(100).await.unwrap()[..], b"head abcdefgh");
    delivery.ack().await.unwrap();
    assert!(!is_there(&broker, id).await, "the parts stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_workers_are_sent_one_message_or_none() {
    let Some(broker) = broker().await else { return };
    let (_connection, channel) = foreign(&broker).await;
    channel.queue_declare("old".into(), QueueDeclareOptions::default(), FieldTable::default()).await.unwrap();
    let message = Message::new(Body::parts(Arc::new(content(17))));
    let error = bus(&broker).send(&Name::new("old").unwrap(), message).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::TooLarge { .. }), "{error}");
    let queues = broker.command(&["list_queues", "name"]).await.unwrap();
    assert!(!queues.contains("polybus.parts"), "{queues}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_abandoned_expires() {
    let Some(broker) = broker().await else { return };
    let bus = bus(&broker);
    let mut upload = Upload::begin(&bus, Duration::from_secs(1)).await.unwrap();
    upload.write(&content(3)).await.unwrap();
    let stored = upload.finish().await.unwrap();
    let id = stored.manifest().id;
    assert!(is_there(&broker, id).await);
    // A passive declare is a use: the looks must be further apart than its time.
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(3)).await;
        if !is_there(&broker, id).await {
            let error = stored.part(0, 1).await.unwrap_err();
            assert_eq!(error.kind(), Kind::NotFound);
            return;
        }
    }
    panic!("the parts stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn writing_and_reading_go_on_after_a_restart() {
    let Some(broker) = broker().await else { return };
    let bus = bus(&broker);
    let sent = content(12);
    let mut upload = Upload::begin(&bus, PARTS_LIVE).await.unwrap();
    upload.write(&sent[..6 << 20]).await.unwrap();
    broker.kill().await.unwrap();
    broker.restart().await.unwrap();
    upload.write(&sent[6 << 20..]).await.unwrap();
    let stored = upload.finish().await.unwrap();
    let mut read = stored.part(0, 1 << 20).await.unwrap().to_vec();
    broker.kill().await.unwrap();
    broker.restart().await.unwrap();
    while (read.len() as u64) < stored.len() {
        read.extend_from_slice(&stored.part(read.len() as u64, 1 << 20).await.unwrap());
    }
    assert!(read == sent);
    stored.remove().await.unwrap();
}

/// As after a kill of the broker that forgets the queue it has just made.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_was_forgotten_is_made_again_while_all_parts_are_here() {
    let Some(broker) = broker().await else { return };
    let bus = bus(&broker);
    let sent = content(3);
    let mut upload = Upload::begin(&bus, PARTS_LIVE).await.unwrap();
    let listed = broker.command(&["--quiet", "-p", broker.login().0, "list_queues", "name"]).await.unwrap();
    let parts = listed.lines().find(|line| line.starts_with("polybus.parts.")).unwrap();
    broker.command(&["-p", broker.login().0, "delete_queue", parts]).await.unwrap();
    upload.write(&sent).await.unwrap();
    let stored = upload.finish().await.unwrap();
    assert!(Body::parts(stored.clone()).read(1 << 30).await.unwrap() == sent);
    stored.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_reader_waits_for_the_first() {
    let Some(broker) = broker().await else { return };
    let (one, other) = (bus(&broker), bus(&broker));
    let (queue, mut deliveries) = jobs(&one).await;
    let sent = content(4);
    one.send(&queue, Message::new(Body::parts(Arc::new(sent.clone())))).await.unwrap();
    let first = next(&mut deliveries).await;
    let parts = first.message().body().as_parts().unwrap().clone();
    assert_eq!(parts.part(0, 1 << 20).await.unwrap(), sent[..1 << 20]);
    // The same manifest in the hands of another handle.
    let message = first.message().clone();
    let mut twin = Message::new(message.body().head().clone());
    twin.carried_mut().set_carried("x-polybus-parts", parts.stored().unwrap().manifest().to_string());
    let second = Name::new("second").unwrap();
    other.declare(&Topology::new().queue(Queue::new(second.clone()))).await.unwrap();
    let raw = RabbitMq::from_url(&broker.url()).unwrap();
    raw.send(&second, twin).await.unwrap();
    let mut others = other.consume(&Intake::Queue(second), ConsumeOptions::default()).await.unwrap();
    let waiting = next(&mut others).await;
    let body = waiting.message().body().clone();
    let reading = tokio::spawn(async move { body.read(1 << 30).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!reading.is_finished(), "it read what another one has in hand");
    drop((first, message, parts));
    assert!(reading.await.unwrap().unwrap() == sent);
}
