//! Large bodies whose writing or reading is broken off: they go on where they were, or end with a typed error.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests end at the first surprise")]

mod common;

use std::sync::Arc;

use common::{Relay, Stranger, WITHIN, broker, broker_at, client, frames, header, until_lost};
use data_encoding::HEXLOWER;
use polybus_contract::{BodyParts, Checked, Kind, PARTS_LIVE, Part, Upload};
use polybus_zeromq::ZeroMq;
use polybus_zeromq::wire::frame::{Packet, kind};
use serde_json::{Value, json};
use tokio::time::timeout;

const PART: usize = 1 << 20;

/// What is in the parts, each of which has another content.
fn content(parts: usize) -> Vec<u8> {
    (0..parts).flat_map(|number| vec![u8::try_from(number).unwrap(); PART]).collect()
}

async fn begin(bus: &Arc<ZeroMq>) -> Upload {
    Upload::begin(&Checked::new(bus.clone()), PARTS_LIVE).await.unwrap()
}

async fn write(upload: &mut Upload, parts: std::ops::Range<usize>) {
    upload.write(&content(parts.end)[parts.start * PART..]).await.unwrap();
}

async fn read(parts: &dyn BodyParts, from: usize, to: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while from + all.len() < to {
        all.extend_from_slice(&parts.part((from + all.len()) as u64, PART).await.unwrap());
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_goes_on_over_a_lost_connection() {
    let broker = broker("uploads-cut").await;
    let relay = Relay::before(&broker).await;
    let bus = Arc::new(client(&format!("zmq://{}", relay.address)).await);
    let mut upload = begin(&bus).await;
    for round in 0..5 {
        // Some of them are on their way when it is cut.
        write(&mut upload, round * 6..round * 6 + 6).await;
        relay.cut();
        until_lost(&bus).await;
        relay.mend();
    }
    relay.cut();
    let ends = tokio::spawn(upload.finish());
    until_lost(&bus).await;
    relay.mend();
    let (stored, all) = (ends.await.unwrap().unwrap(), content(30));
    let mut got = Vec::new();
    for round in 0..3 {
        got.extend(read(&*stored, got.len(), (round + 1) * 10 * PART).await);
        relay.cut();
        until_lost(&bus).await;
        relay.mend();
    }
    assert!(got == all, "what was read is not what was written");
    stored.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_goes_on_at_a_broker_that_was_started_anew_on_its_journal() {
    let folder = tempfile::tempdir().unwrap();
    let journal = format!("//{}", folder.path().display());
    let first = broker(&journal).await;
    let place = first.places()[0].clone();
    let bus = Arc::new(client(&place.to_string()).await);
    let mut upload = begin(&bus).await;
    write(&mut upload, 0..5).await;
    first.drain(WITHIN).await;
    let second = broker_at(&place, &journal).await;
    write(&mut upload, 5..10).await;
    let stored = upload.finish().await.unwrap();
    let mut got = read(&*stored, 0, 4 * PART).await;
    second.drain(WITHIN).await;
    let _third = broker_at(&place, &journal).await;
    got.extend(read(&*stored, 4 * PART, 10 * PART).await);
    assert!(got == content(10), "what was read is not what was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_in_memory_is_not_found_afterwards() {
    let first = broker("uploads-memory").await;
    let place = first.places()[0].clone();
    let bus = Arc::new(client(&place.to_string()).await);
    let (mut begun, mut ended) = (begin(&bus).await, begin(&bus).await);
    write(&mut ended, 0..3).await;
    let ended = ended.finish().await.unwrap();
    write(&mut begun, 0..3).await;
    first.drain(WITHIN).await;
    let _second = broker_at(&place, "uploads-memory-again").await;
    assert_eq!(ended.part(0, PART).await.unwrap_err().kind(), Kind::NotFound);
    let goes_on = async {
        begun.write(&content(8)).await?;
        begun.finish().await
    };
    assert_eq!(timeout(3 * WITHIN, goes_on).await.unwrap().unwrap_err().kind(), Kind::NotFound);
}

/// Says a part, and what is answered.
async fn puts(stranger: &mut Stranger, number: u64, id: &str, part: &Part) -> Value {
    let head = Packet { version: 1, kind: kind::PARTS, number, ..Packet::default() }.head();
    let sha256 = HEXLOWER.encode(&part.sha256);
    let put = json!({"op": "put", "id": id, "index": part.index, "sha256": sha256}).to_string();
    stranger.say(&frames(&[&head, put.as_bytes(), &part.bytes])).await;
    loop {
        let answer = stranger.hear().await.expect("the connection is over");
        if answer.number == number {
            return header(&answer)["kind"].clone();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_there_once_whoever_says_it_again() {
    let broker = broker("uploads-again").await;
    let id = uuid::Uuid::new_v4().simple().to_string();
    let part = |index, text: &'static str| Part::new(index, text.into());
    let create = json!({"op": "create", "id": id, "live_ms": 60_000});
    let mut one = Stranger::welcome(&broker).await;
    one.gets(kind::PARTS, 10, &create).await;
    one.gets(kind::PARTS, 11, &create).await;
    assert_eq!(puts(&mut one, 12, &id, &part(0, "a")).await, Value::Null);
    drop(one);
    // Another client goes on with it.
    let mut two = Stranger::welcome(&broker).await;
    assert_eq!(puts(&mut two, 10, &id, &part(0, "a")).await, Value::Null);
    assert_eq!(puts(&mut two, 11, &id, &part(0, "b")).await, "conflict");
    assert_eq!(puts(&mut two, 12, &id, &part(2, "c")).await, "not_found");
    assert_eq!(puts(&mut two, 13, &id, &part(1, "b")).await, Value::Null);
    assert_eq!(two.asks(kind::PARTS, 14, &create).await.1["kind"], "conflict");
    let finish = |parts| json!({"op": "finish", "id": id, "parts": parts});
    two.gets(kind::PARTS, 15, &finish(2)).await;
    two.gets(kind::PARTS, 16, &finish(2)).await;
    // It is not being written any longer, and how many parts it was to have is not said.
    let unsaid = two.asks(kind::PARTS, 17, &json!({"op": "finish", "id": id})).await;
    assert_eq!(unsaid.1["kind"], "not_found");
    assert_eq!(two.asks(kind::PARTS, 18, &finish(3)).await.1["kind"], "not_found");
    two.gets(kind::PARTS, 19, &json!({"op": "remove", "id": id})).await;
    assert_eq!(puts(&mut two, 20, &id, &part(2, "c")).await, "not_found");
    assert_eq!(two.asks(kind::PARTS, 21, &finish(2)).await.1["kind"], "not_found");
}
