//! What a client may have in its hands, whatever it asks for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests end at the first surprise")]

mod common;

use common::{LARGEST, Stranger, broker, header, name, packet};
use polybus_contract::{Message, Queue, Topology, TransportExt};
use polybus_zeromq::wire::frame::kind;
use serde_json::json;

/// Deliveries that come until the broker has answered a good number of questions: whatever can come has come by then.
async fn all_that_come(stranger: &mut Stranger, first: u64) -> Vec<u64> {
    let mut came = Vec::new();
    for number in first..first + 200 {
        stranger.say(&packet(kind::DESK, number, &json!({"op": "list"}))).await;
        loop {
            let packet = stranger.hear().await.expect("the connection is over");
            match packet.kind {
                kind::DELIVERY => came.push(header(&packet)["delivery"].as_u64().unwrap()),
                kind::OK if packet.number == number => break,
                _ => {}
            }
        }
    }
    came
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_in_hand_are_bounded() {
    let broker = broker("hands-bytes").await;
    let queue = name("large");
    broker.bus().declare(&Topology::new().queue(Queue::new(queue.clone()))).await.unwrap();
    let body = bytes::Bytes::from(vec![b'x'; LARGEST - 4096]);
    for _ in 0..80 {
        broker.bus().send(&queue, Message::new(body.clone())).await.unwrap();
    }
    let mut greedy = Stranger::welcome(&broker).await;
    // Over several consumers: it is one client.
    for number in 2..6 {
        greedy
            .say(&packet(kind::CONSUME, number, &json!({"from": {"queue": "large"}, "credit": 1000})))
            .await;
    }
    let mut came = all_that_come(&mut greedy, 10).await;
    assert!((60..=66).contains(&came.len()), "{}", came.len());
    // It goes on with what it settles.
    let mut number = 1000;
    let mut count = came.len();
    while count < 80 {
        for delivery in came.drain(..) {
            greedy.say(&packet(kind::SETTLE, 0, &json!({"delivery": delivery, "outcome": "ack"}))).await;
        }
        came = all_that_come(&mut greedy, number).await;
        count += came.len();
        number += 1000;
        assert!(number < 10_000, "it does not go on: {count}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credit_is_bounded() {
    let broker = broker("hands-credit").await;
    let queue = name("small");
    broker.bus().declare(&Topology::new().queue(Queue::new(queue.clone()))).await.unwrap();
    for _ in 0..66_000 {
        broker.bus().send(&queue, Message::new("x")).await.unwrap();
    }
    let mut greedy = Stranger::welcome(&broker).await;
    let consume = json!({"from": {"queue": "small"}, "credit": u32::MAX});
    greedy.gets(kind::CONSUME, 2, &consume).await;
    greedy.say(&packet(kind::CREDIT, 2, &json!({"credit": u32::MAX}))).await;
    assert_eq!(all_that_come(&mut greedy, 10).await.len(), 65_536);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_bounded() {
    const DAY: u64 = 86_400_000;
    let broker = broker("hands-lease").await;
    let mut greedy = Stranger::welcome(&broker).await;
    let queues = json!({"queues": [{"name": "usual"}, {"name": "long", "lease_ms": u64::MAX / 2}]});
    greedy.gets(kind::DECLARE, 2, &queues).await;
    let again = greedy.gets(kind::DECLARE, 3, &queues).await;
    assert_eq!(again["differences"], json!([]), "what is declared twice is the same");
    for (number, queue, lease) in [(10, "usual", json!(u64::MAX / 2)), (20, "long", json!(null))] {
        greedy.gets(kind::PUBLISH, number, &json!({"to": {"queue": queue}})).await;
        let consume = json!({"from": {"queue": queue}, "lease_ms": lease});
        greedy.say(&packet(kind::CONSUME, number + 1, &consume)).await;
        let delivery = header(&greedy.hears(kind::DELIVERY).await);
        assert_eq!(delivery["lease_ms"], DAY, "{queue}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_failed_are_not_in_the_way_of_others() {
    let broker = broker("hands-parts").await;
    let (mut writer, mut other) = (Stranger::welcome(&broker).await, Stranger::welcome(&broker).await);
    for round in 0..70 {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let create = json!({"op": "create", "id": id, "live_ms": 60_000});
        writer.gets(kind::PARTS, 10 + round * 2, &create).await;
        other.gets(kind::PARTS, 10 + round, &json!({"op": "remove", "id": id})).await;
        let put = json!({"op": "put", "id": id, "index": 0, "sha256": "00".repeat(32)});
        let (answer, error) = writer.asks(kind::PARTS, 11 + round * 2, &put).await;
        assert_eq!((answer, &error["kind"]), (kind::ERROR, &json!("not_found")));
    }
}
