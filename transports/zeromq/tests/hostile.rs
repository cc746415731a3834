//! Strangers that do what they please: nobody else is harmed, and what they cost is bounded.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests end at the first surprise")]

mod common;

use std::time::Duration;

use common::{Honest, LARGEST, Stranger, broker, broker_with, frames, identities, packet, shake};
use polybus_contract::{Confirm, Message, PublishOptions, Target, Transport};
use polybus_zeromq::wire::frame::kind;
use serde_json::{Value, json};

/// Tests that look at the memory of this process have it to themselves.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// What a client may cost, measured roughly: what waits for it, a message on its way in, and some.
const ROOM: u64 = 64 << 20;

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_and_other_protocols_are_cut() {
    let _alone = ALONE.lock().await;
    let broker = broker("hostile-random").await;
    let mut honest = Honest::at(&broker).await;
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..40 {
        let mut bytes: Vec<u8> = (0..random.usize(1..5000)).map(|_| random.u8(..)).collect();
        if round % 4 == 1 {
            bytes.splice(..0, shake());
        }
        if round % 4 == 2 {
            bytes.splice(..0, b"GET / HTTP/1.1\r\nHost: mq.example.org\r\n\r\n".iter().copied());
        }
        let mut stranger = Stranger::at(&broker).await;
        stranger.say(&bytes).await;
        drop(stranger);
        honest.works().await;
    }
    let mut stranger = Stranger::at(&broker).await;
    stranger.say(b"AMQP\0\0\x09\x01").await;
    stranger.is_cut().await;
    honest.works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_claimed_costs_nothing() {
    let _alone = ALONE.lock().await;
    let broker = broker("hostile-claims").await;
    let mut honest = Honest::at(&broker).await;
    let before = resident();
    // 64 GiB, before the handshake ends and after it, as a message and as a command; in one frame and in many.
    let huge: [&[u8]; 3] = [
        &[2, 0, 0, 0, 16, 0, 0, 0, 0],
        &[3, 255, 255, 255, 255, 255, 255, 255, 255],
        &[6, 0, 0, 0, 16, 0, 0, 0, 0],
    ];
    for claim in huge {
        let whole = shake();
        for start in [&whole[..64], &whole[..]] {
            let mut stranger = Stranger::at(&broker).await;
            stranger.say(start).await;
            stranger.say(claim).await;
            stranger.is_cut().await;
        }
        let mut stranger = Stranger::welcome(&broker).await;
        stranger.say(claim).await;
        stranger.is_cut().await;
        honest.works().await;
    }
    // As large as may be is claimed by many, and nothing of it is sent.
    let mut strangers = Vec::new();
    for _ in 0..64 {
        let mut stranger = Stranger::welcome(&broker).await;
        stranger.say(&[2, 0, 0, 0, 0, 0, 0x10, 0, 0]).await;
        strangers.push(stranger);
    }
    honest.works().await;
    assert!(resident() < before + ROOM, "{} bytes more", resident() - before);
    assert!(broker.counts().cut >= 9, "{:?}", broker.counts());
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_multipart_and_truncated_frames_are_cut() {
    let _alone = ALONE.lock().await;
    let broker = broker("hostile-multipart").await;
    let mut honest = Honest::at(&broker).await;
    for start in [shake(), Vec::new()] {
        let mut stranger = if start.is_empty() {
            Stranger::welcome(&broker).await
        } else {
            let mut stranger = Stranger::at(&broker).await;
            stranger.say(&start).await;
            stranger
        };
        stranger.try_say(&[1, 0].repeat(1 << 20), common::WITHIN).await;
        stranger.is_cut().await;
        honest.works().await;
    }
    // A message that ends in its middle, at every place.
    let whole = packet(kind::PUBLISH, 5, &json!({"to": {"queue": "honest"}}));
    for cut in 1..whole.len() {
        let mut stranger = Stranger::welcome(&broker).await;
        stranger.say(&whole[..cut]).await;
    }
    honest.works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_answered_and_counted() {
    let _alone = ALONE.lock().await;
    let broker = broker("hostile-sense").await;
    let mut honest = Honest::at(&broker).await;
    let mut stranger = Stranger::welcome(&broker).await;
    let head = |kind: u8| [&[1, kind][..], &7_u64.to_be_bytes()].concat();
    for message in [
        frames(&[b""]),
        frames(&[b"\x01P"]),
        frames(&[&[2, b'P', 0, 0, 0, 0, 0, 0, 0, 7]]),
        frames(&[&head(b'P'), b"{}", b"", b"one too many"]),
        frames(&[&head(b'P'), b"not JSON"]),
        frames(&[&head(b'P'), b"[1,2]"]),
        frames(&[&head(b'P')]),
        frames(&[&head(b'?'), b"{}"]),
        frames(&[&head(b'H'), b"{}"]),
        frames(&[&head(b'C'), &[b'[', b'{'].repeat(20_000)]),
        frames(&[&head(b'J'), b"{\"op\":\"warp\"}"]),
        frames(&[
            &head(b'U'),
            b"{\"op\":\"put\",\"id\":\"0123456789abcdef0123456789abcdef\",\"index\":0,\"sha256\":\"\"}",
        ]),
        frames(&[&head(b'Y'), b"{\"delivery\":99,\"outcome\":\"ack\"}"]),
    ] {
        stranger.say(&message).await;
        let error: Value = serde_json::from_slice(&stranger.hears(kind::ERROR).await.header).unwrap();
        assert!(error["kind"].is_string(), "{error}");
    }
    // It is a client like any other all the same.
    stranger.say(&packet(kind::PUBLISH, 8, &json!({"to": {"queue": "nothing-there"}}))).await;
    let error: Value = serde_json::from_slice(&stranger.hears(kind::ERROR).await.header).unwrap();
    assert_eq!(error["kind"], "unroutable", "{error}");
    assert!(broker.counts().malformed >= 9, "{:?}", broker.counts());
    honest.works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_subscriptions_are_too_many() {
    let _alone = ALONE.lock().await;
    let broker = broker("hostile-subscriptions").await;
    let mut honest = Honest::at(&broker).await;
    let before = resident();
    let mut stranger = Stranger::welcome(&broker).await;
    let mut refused = 0;
    // As many as it takes to see that there is an end, and what comes of more.
    for number in 2..6000 {
        stranger.say(&packet(kind::SUBSCRIBE, number, &json!({"topic": format!("t{number}")}))).await;
        let answer = stranger.hear().await.expect("an answer");
        refused += usize::from(answer.kind == kind::ERROR);
    }
    assert!(refused > 1000, "{refused} were refused");
    honest.works().await;
    assert!(resident() < before + ROOM);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_reads_holds_up_nobody_and_is_cut() {
    let _alone = ALONE.lock().await;
    let broker = broker_with("hostile-deaf", |config| config.with_heartbeat(Duration::from_secs(30))).await;
    let mut honest = Honest::at(&broker).await;
    let mut deaf = Stranger::welcome(&broker).await;
    deaf.say(&packet(kind::SUBSCRIBE, 2, &json!({"topic": "news", "buffer": 1_000_000}))).await;
    deaf.hears(kind::OK).await;
    let before = resident();
    let news = Target::Topic(common::name("news"));
    let body = bytes::Bytes::from(vec![b'x'; LARGEST / 2]);
    for number in 0..600 {
        let options = PublishOptions::default().with_confirm(Confirm::WhereAble);
        honest.bus.publish(&news, Message::new(body.clone()), options).await.unwrap();
        if number % 50 == 0 {
            honest.works().await;
        }
    }
    // 300 MB were published.
    assert!(resident() < before + 3 * ROOM, "{} bytes more", resident() - before);
    // It asks as well, and reads no answer: it is not read any longer.
    let question = packet(kind::DESK, 3, &json!({"op": "list"}));
    let took = deaf.try_say(&question.repeat(400_000), Duration::from_secs(2)).await;
    assert!(!took, "all of it was read");
    honest.works().await;
    let began = std::time::Instant::now();
    while broker.counts().connections > 1 {
        assert!(began.elapsed() < Duration::from_mins(1), "it was not cut");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(broker.counts().cut >= 1);
    honest.works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_is_not_waited_for() {
    let _alone = ALONE.lock().await;
    let broker = broker_with("hostile-mute", |config| config.with_max_clients(8)).await;
    let mut honest = Honest::at(&broker).await;
    let mut mute = Vec::new();
    for _ in 0..7 {
        mute.push(Stranger::at(&broker).await);
    }
    // There is no room, and then there is: those who say nothing are cut.
    let mut late = Stranger::at(&broker).await;
    late.is_cut().await;
    assert!(broker.counts().refused >= 1);
    honest.works().await;
    for mut one in mute {
        one.is_cut().await;
    }
    Stranger::welcome(&broker).await;
    honest.works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_said_is_of_no_use() {
    let _alone = ALONE.lock().await;
    let file = "[[user]]\nname = 'alice'\nsecret = '0123456789abcdef'\nsend = ['*']\nserve = ['*']\n";
    let broker = broker_with("hostile-replay", |config| config.with_identities(identities(file))).await;
    let alice = common::client(&format!("zmq://alice:0123456789abcdef@{}", common::address(&broker))).await;
    // What alice said, said again: the nonce of the broker is another one.
    let challenge =
        |broker_nonce: &str| common::proof("alice", "0123456789abcdef", &"a".repeat(32), broker_nonce);
    let mut proof = String::new();
    for (round, welcome) in [(0, true), (1, false)] {
        let mut stranger = Stranger::at(&broker).await;
        stranger.say(&shake()).await;
        let greeting: Value = serde_json::from_slice(&stranger.hears(kind::GREETING).await.header).unwrap();
        if round == 0 {
            proof = challenge(greeting["nonce"].as_str().unwrap());
        }
        let hello = json!({"client": "a".repeat(32), "user": "alice", "nonce": "n", "proof": proof});
        stranger.say(&packet(kind::HELLO, 1, &hello)).await;
        let answer = stranger.hear().await.unwrap();
        assert_eq!(answer.kind == kind::WELCOME, welcome, "{answer:?}");
    }
    // Without a proof nothing is done, whatever is asked for.
    let mut stranger = Stranger::at(&broker).await;
    stranger.say(&shake()).await;
    for kind in [kind::PUBLISH, kind::CONSUME, kind::DESK, kind::SETTLE, kind::BYE] {
        stranger
            .say(&packet(kind, 5, &json!({"op": "list", "to": {"queue": "q"}, "from": {"queue": "q"}})))
            .await;
        let error: Value = serde_json::from_slice(&stranger.hears(kind::ERROR).await.header).unwrap();
        assert_eq!(error["kind"], "disconnected", "{error}");
    }
    // Whoever says that he is alice does not take her place.
    assert!(alice.connect(common::WITHIN).await.is_ok());
    assert_eq!(broker.counts().unauthorized, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_replies_to_what_he_was_not_asked() {
    let _alone = ALONE.lock().await;
    let broker = broker("hostile-replies").await;
    let mut worker = Stranger::welcome(&broker).await;
    worker.gets(kind::DECLARE, 2, &json!({"queues": [{"name": "own"}, {"name": "of-others"}]})).await;
    worker.gets(kind::CONSUME, 3, &json!({"from": {"queue": "own"}})).await;
    // Callers before and after the one that asks the worker, of whom it knows nothing.
    let mut caller = Stranger::welcome(&broker).await;
    for (number, queue) in [(2, "of-others"), (3, "own"), (4, "of-others")] {
        caller.gets(kind::REQUEST, number, &json!({"to": {"queue": queue}})).await;
    }
    let asked = common::header(&worker.hears(kind::DELIVERY).await);
    let address = asked["message"]["reply_to"].as_str().unwrap();
    let parts: Vec<_> = address.split('.').collect();
    let own: u64 = parts[1].parse().unwrap();
    let others = (own.saturating_sub(20)..own + 20).filter(|other| *other != own);
    for (number, other) in others.enumerate() {
        let mut forged = parts.clone();
        let other = other.to_string();
        forged[1] = &other;
        let reply = json!({"to": forged.join(".")});
        let receipt = worker.gets(kind::REPLY, 10 + number as u64, &reply).await;
        assert_eq!(receipt["receipt"], "unclaimed", "{forged:?} of {address}");
    }
    let receipt = worker.gets(kind::REPLY, 9, &json!({"to": address})).await;
    assert_eq!(receipt["receipt"], "confirmed");
    assert_eq!(caller.hears(kind::ANSWER).await.number, 3);
}
