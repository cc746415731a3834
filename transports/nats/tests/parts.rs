//! Large bodies on a server: by the wire page, through its restart, and with an age. Where no server can be started the tests
//! fail, unless `POLYBUS_ALLOW_MISSING` is set; then they say so and were not run.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use polybus_brokers::{Broker, Error, Kind as Product};
use polybus_contract::{
    Arrival, BodyParts, Checked, ConsumeOptions, Intake, Kind, Manifest, Message, Name, PARTS_LIVE, Part,
    PartsId, Queue, Topology, Transport, TransportExt, Upload,
};
use polybus_nats::Nats;

async fn broker(kind: Product) -> Option<Broker> {
    match Broker::start(kind).await {
        Ok(broker) => Some(broker),
        Err(error @ Error::Missing { .. }) if std::env::var_os("POLYBUS_ALLOW_MISSING").is_some() => {
            eprintln!("NOT RUN: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn raw(broker: &Broker) -> Nats {
    Nats::from_url(&broker.url()).unwrap()
}

fn bus(broker: &Broker) -> Checked {
    Checked::new(Arc::new(raw(broker)))
}

fn content(parts: usize) -> Bytes {
    (0..=250_u8).cycle().take((parts << 20) + 77).collect::<Vec<_>>().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_that_has_read_the_wire_page_sends_a_large_body() {
    let Some(broker) = broker(Product::NATS).await else { return };
    let bus = bus(&broker);
    bus.connect(Duration::from_secs(10)).await.unwrap();
    // The stream is made by whoever needs it first.
    Upload::begin(&bus, PARTS_LIVE).await.unwrap().abandon().await;
    let (user, password) = broker.login();
    let login = async_nats::ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned());
    let context = jetstream::new(login.connect(broker.address()).await.unwrap());
    let id = PartsId::fresh();
    let part = |(index, part): (u32, &'static str)| Part::new(index, Bytes::from_static(part.as_bytes()));
    let parts: Vec<Part> = (0..).zip(["abc", "def", "gh"]).map(part).collect();
    for index in [0, 2, 1, 2] {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("x-polybus-part-sha256", HEXLOWER.encode(&parts[index].sha256));
        let subject = format!("polybus.p.{id}.{index}");
        let body = parts[index].bytes.clone();
        context.publish_with_headers(subject, headers, body).await.unwrap().await.unwrap();
    }
    let all = Part::new(0, parts.iter().flat_map(|part| part.sha256).collect::<Vec<u8>>().into());
    let manifest = Manifest { id, parts: 3, part: 3, bytes: 8, sha256: all.sha256 };
    let queue = Name::new("jobs").unwrap();
    bus.declare(&Topology::new().queue(Queue::new(queue.clone()))).await.unwrap();
    let mut message = Message::new("head ");
    message.carried_mut().set_carried("x-polybus-parts", manifest.to_string());
    raw(&broker).send(&queue, message).await.unwrap();

    let mut deliveries = bus.consume(&Intake::Queue(queue), ConsumeOptions::default()).await.unwrap();
    let Some(Arrival::Item(delivery)) = deliveries.next().await else { panic!("no delivery") };
    assert_eq!(&delivery.message().body().read(100).await.unwrap()[..], b"head abcdefgh");
    delivery.ack().await.unwrap();
    let stream = context.get_stream("polybus+p+parts").await.unwrap();
    let info = stream.get_info().await.unwrap();
    assert_eq!(info.state.messages, 0, "parts were left behind");
    assert_eq!(info.config.max_age, PARTS_LIVE, "what is abandoned goes");
}

async fn through_restarts(kind: Product) {
    let Some(broker) = broker(kind).await else { return };
    let bus = bus(&broker);
    bus.connect(Duration::from_secs(10)).await.unwrap();
    let sent = content(24);
    let mut upload = Upload::begin(&bus, PARTS_LIVE).await.unwrap();
    upload.write(&sent[..12 << 20]).await.unwrap();
    broker.kill().await.unwrap();
    broker.restart().await.unwrap();
    upload.write(&sent[12 << 20..]).await.unwrap();
    let stored = upload.finish().await.unwrap();
    let mut read = stored.part(0, 1 << 20).await.unwrap().to_vec();
    broker.kill().await.unwrap();
    broker.restart().await.unwrap();
    while (read.len() as u64) < stored.len() {
        read.extend_from_slice(&stored.part(read.len() as u64, 1 << 20).await.unwrap());
    }
    assert!(read == sent);
    stored.remove().await.unwrap();
    assert_eq!(stored.part(0, 1).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn writing_and_reading_go_on_after_a_restart() {
    through_restarts(Product::NATS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_an_old_server_too() {
    through_restarts(Product::NATS_2_9).await;
}
