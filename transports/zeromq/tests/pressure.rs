//! Clients that say more than is answered at once, or read more slowly than they are told: they wait, and are not cut.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests end at the first surprise")]

mod common;

use std::time::Duration;

use common::{LARGEST, Stranger, broker_with, client, name, packet};
use polybus_contract::{Confirm, Message, PublishOptions, Queue, Target, Topology, Transport, TransportExt};
use polybus_zeromq::wire::frame::kind;
use serde_json::json;
use tokio::time::sleep;

/// A ZMTP PING with a time to live of ten seconds.
const PING: &[u8] = &[4, 7, 4, b'P', b'I', b'N', b'G', 0, 100];

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_slowly_is_not_silent() {
    let heartbeat = Duration::from_millis(400);
    let broker = broker_with("pressure-slow", |config| config.with_heartbeat(heartbeat)).await;
    let mut slow = Stranger::welcome(&broker).await;
    slow.gets(kind::SUBSCRIBE, 2, &json!({"topic": "news", "buffer": 1000})).await;
    let bus = client(&broker.places()[0].to_string()).await;
    let news = Target::Topic(name("news"));
    let body = bytes::Bytes::from(vec![b'x'; LARGEST / 2]);
    for _ in 0..60 {
        let options = PublishOptions::default().with_confirm(Confirm::WhereAble);
        bus.publish(&news, Message::new(body.clone()), options).await.unwrap();
    }
    // More than 4 MiB wait for it for eight heartbeats: it is not read so long. It takes a little, and says that it is there.
    for _ in 0..64 {
        slow.say(PING).await;
        slow.read_some(16 << 10);
        sleep(heartbeat / 8).await;
    }
    for number in 0..60 {
        slow.say(PING).await;
        let message = slow.hears(kind::TOPIC).await;
        assert_eq!(message.body.map(|body| body.len()), Some(LARGEST / 2), "message {number}");
    }
    assert_eq!(broker.counts().cut, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_waits_for_no_heartbeat() {
    let broker =
        broker_with("pressure-backlog", |config| config.with_heartbeat(Duration::from_mins(5))).await;
    let bus = client(&broker.places()[0].to_string()).await;
    let queue = name("large");
    bus.declare(&Topology::new().queue(Queue::new(queue.clone()))).await.unwrap();
    bus.send(&queue, Message::new(bytes::Bytes::from(vec![b'x'; LARGEST - 4096]))).await.unwrap();
    let mut asking = Stranger::welcome(&broker).await;
    // Each time the answers to the first ones are all that may wait, and the last ones wait for them.
    let browse = json!({"op": "browse", "intake": {"queue": "large"}, "place": "ready", "limit": 1});
    for round in 0..200 {
        let numbers = (2 + round * 6)..(8 + round * 6);
        let asked: Vec<u8> = numbers.clone().flat_map(|number| packet(kind::DESK, number, &browse)).collect();
        asking.say(&asked).await;
        for _ in numbers {
            asking.hears(kind::OK).await;
        }
    }
}
