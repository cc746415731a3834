//! Who may do what, and what is still there after a connection was lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests end at the first surprise")]

mod common;

use std::time::Duration;

use common::{Relay, WITHIN, address, broker, broker_with, client, identities, name, until_lost};
use polybus_contract::{
    Admin, Arrival, ConsumeOptions, Delivery, Incoming, Intake, Kind, Link, Message, PublishOptions, Queue,
    ReplyOptions, RequestOptions, Status, SubscribeOptions, Target, Topology, Transport, TransportExt,
};
use polybus_zeromq::{Broker, BrokerConfig, Place, ZeroMq};
use tokio::time::timeout;

async fn next(deliveries: &mut Incoming<Delivery>) -> Delivery {
    match timeout(WITHIN, deliveries.next()).await {
        Ok(Some(Arrival::Item(delivery))) => delivery,
        other => panic!("no delivery: {other:?}"),
    }
}

async fn until_up(bus: &ZeroMq) {
    let up = async {
        while bus.health().link != Link::Up {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(WITHIN, up).await.expect("no connection");
}

const FILE: &str = "
[[user]]
name = 'sender'
secret = 'sender-0123456789'
send = ['jobs']
[[user]]
name = 'worker'
secret = 'worker-0123456789'
serve = ['jobs']
subscribe = ['news']
";

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_kept() {
    let broker = broker_with("rights", |config| config.with_identities(identities(FILE))).await;
    let at = |user: &str| format!("zmq://{user}:{user}-0123456789@{}", address(&broker));
    let (sender, worker) = (client(&at("sender")).await, client(&at("worker")).await);
    let topology = Topology::new().queue(Queue::new(name("jobs")));
    sender.declare(&topology).await.unwrap();
    sender.send(&name("jobs"), Message::new("x").with_sender("somebody else")).await.unwrap();
    let mut deliveries =
        worker.consume(&Intake::Queue(name("jobs")), ConsumeOptions::default()).await.unwrap();
    let delivery = next(&mut deliveries).await;
    assert_eq!(delivery.message().sender().map(String::as_str), Some("sender"), "the broker has proven it");
    delivery.ack().await.unwrap();

    let refused = |error: polybus_contract::Error| assert_eq!(error.kind(), Kind::Unauthorized, "{error}");
    refused(sender.consume(&Intake::Queue(name("jobs")), ConsumeOptions::default()).await.unwrap_err());
    refused(worker.send(&name("jobs"), Message::new("x")).await.unwrap_err());
    refused(sender.subscribe(&name("news"), SubscribeOptions::default()).await.unwrap_err());
    refused(
        sender
            .publish(&Target::Topic(name("news")), Message::new("x"), PublishOptions::default())
            .await
            .unwrap_err(),
    );
    refused(worker.declare(&Topology::new().queue(Queue::new(name("mine")))).await.unwrap_err());
    refused(worker.inspect(&Intake::Queue(name("jobs"))).await.unwrap_err());
    refused(worker.list().await.unwrap_err());
    drop(worker.subscribe(&name("news"), SubscribeOptions::default()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_final_and_hidden() {
    let broker = broker_with("wrong", |config| config.with_identities(identities(FILE))).await;
    for login in ["worker:wrong-0123456789@", "nobody:wrong-0123456789@", ""] {
        let stranger = ZeroMq::from_url(&format!("zmq://{login}{}", address(&broker))).unwrap();
        let error = stranger.connect(WITHIN).await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (Kind::Unauthorized, Status::Permanent), "{error}");
        assert!(!format!("{error:?}{stranger:?}{:?}", stranger.health()).contains("wrong-01"), "{error:?}");
    }
    // A broker that does not know the secret is no broker.
    let impostor = common::broker_with("impostor", |config| {
        config.with_identities(identities(&FILE.replace("worker-0123456789", "guess-0123456789")))
    })
    .await;
    let url = format!("zmq://worker:worker-0123456789@{}", address(&impostor));
    let error = ZeroMq::from_url(&url).unwrap().connect(WITHIN).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthorized);
}

#[tokio::test]
async fn beyond_this_machine_identities_are_needed() {
    let places = |url: &str| vec![Place::from_url(url).unwrap()];
    let open = || -> polybus_contract::Result<_> { panic!("it was opened") };
    for url in ["zmq://0.0.0.0:0", "zmq://192.0.2.1:5570", "zmq://[::]:0"] {
        let error = Broker::start(BrokerConfig::new(places(url)), open).await.unwrap_err();
        assert!(error.kind() == Kind::Configuration && error.to_string().contains("identities"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_hand_is_settled_after_a_lost_connection() {
    let broker = broker("resume").await;
    let relay = Relay::before(&broker).await;
    let bus = client(&format!("zmq://{}", relay.address)).await;
    let queue = name("jobs");
    bus.declare(&Topology::new().queue(Queue::new(queue.clone()))).await.unwrap();
    for number in 0..10 {
        bus.send(&queue, Message::new(number.to_string())).await.unwrap();
    }
    let options = ConsumeOptions::default().with_credit(4_u32);
    let mut deliveries = bus.consume(&Intake::Queue(queue.clone()), options).await.unwrap();
    let (one, other) = (next(&mut deliveries).await, next(&mut deliveries).await);
    relay.cut();
    until_lost(&bus).await;
    // While there is no connection, and after it.
    let early = one.ack();
    relay.mend();
    until_up(&bus).await;
    early.await.unwrap();
    other.ack().await.unwrap();
    // Nothing was handed out twice for it: what nobody had seen went back uncounted.
    for number in 2..10 {
        let delivery = next(&mut deliveries).await;
        let body = delivery.message().body().as_bytes().unwrap().clone();
        assert_eq!((&body[..], delivery.attempt()), (number.to_string().as_bytes(), 1));
        delivery.ack().await.unwrap();
    }
    let info = bus.inspect(&Intake::Queue(queue)).await.unwrap();
    assert_eq!((info.ready, info.leased), (Some(0), Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_reaches_its_caller_over_a_lost_connection() {
    let broker = broker("calls").await;
    let relay = Relay::before(&broker).await;
    let (bus, worker) =
        (client(&format!("zmq://{}", relay.address)).await, client(&broker.places()[0].to_string()).await);
    let queue = name("jobs");
    worker.declare(&Topology::new().queue(Queue::new(queue.clone()))).await.unwrap();
    let mut requests =
        worker.consume(&Intake::Queue(queue.clone()), ConsumeOptions::default()).await.unwrap();
    let mut replies = bus
        .request(&Target::Queue(queue.clone()), Message::new("q"), RequestOptions::default())
        .await
        .unwrap();
    let request = next(&mut requests).await;
    relay.cut();
    until_lost(&bus).await;
    let to = request.message().reply_to().unwrap().clone();
    worker.reply(&to, Message::new("a"), ReplyOptions::default()).await.unwrap();
    request.ack().await.unwrap();
    relay.mend();
    let Ok(Some(Arrival::Item(reply))) = timeout(WITHIN, replies.next()).await else { panic!("no reply") };
    assert_eq!(&reply.message.body().as_bytes().unwrap()[..], b"a");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_come_back_gives_back() {
    use polybus_zeromq::wire::frame::kind;
    use serde_json::json;
    let broker = broker_with("forgotten", |config| config.with_resume(Duration::from_millis(200))).await;
    let queue = name("jobs");
    let bus = client(&broker.places()[0].to_string()).await;
    let declared = Queue::new(queue.clone()).with_lease(Duration::from_mins(10));
    bus.declare(&Topology::new().queue(declared)).await.unwrap();
    let mut others = None;
    // One that said that it would come back, and one that did not.
    for (attempt, keep) in [(2, true), (3, false)] {
        if attempt == 2 {
            bus.send(&queue, Message::new("x")).await.unwrap();
        }
        let mut stranger = common::Stranger::at(&broker).await;
        stranger.say(&common::shake()).await;
        let hello = json!({"client": uuid::Uuid::new_v4().simple().to_string(), "nonce": "n", "keep": keep});
        stranger.say(&common::packet(kind::HELLO, 1, &hello)).await;
        stranger.say(&common::packet(kind::CONSUME, 2, &json!({"from": {"queue": "jobs"}}))).await;
        stranger.hears(kind::DELIVERY).await;
        drop(stranger);
        let mut deliveries =
            bus.consume(&Intake::Queue(queue.clone()), ConsumeOptions::default()).await.unwrap();
        let delivery = next(&mut deliveries).await;
        assert_eq!(delivery.attempt(), attempt);
        delivery.release().await.unwrap();
        deliveries.stop();
        others = Some(deliveries);
    }
    drop(others);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_which_a_reply_may_be_lost_does_not_go_on() {
    use common::{Stranger, header};
    use polybus_zeromq::wire::frame::kind;
    use serde_json::json;
    let broker = broker("replies-lost").await;
    let mut hello = json!({"client": uuid::Uuid::new_v4().simple().to_string(), "nonce": "n", "keep": true});
    let (mut caller, _) = Stranger::with_hello(&broker, &hello).await;
    caller.gets(kind::DECLARE, 2, &json!({"queues": [{"name": "jobs"}]})).await;
    let many = json!({"to": {"queue": "jobs"}, "options": {"many": true}});
    for number in [10, 11] {
        caller.gets(kind::REQUEST, number, &many).await;
    }
    let mut worker = Stranger::welcome(&broker).await;
    worker.say(&common::packet(kind::CONSUME, 2, &json!({"from": {"queue": "jobs"}, "credit": 2}))).await;
    let first = header(&worker.hears(kind::DELIVERY).await);
    let second = header(&worker.hears(kind::DELIVERY).await);
    let to = first["message"]["reply_to"].clone();
    for number in [3, 4] {
        let reply = json!({"to": to, "options": {"index": number - 3, "last": false}});
        worker.gets(kind::REPLY, number, &reply).await;
    }
    // It has seen the first one. Nobody knows of the second.
    assert_eq!(caller.hears(kind::ANSWER).await.number, 10);
    drop(caller);
    hello["resume"] = json!(true);
    hello["asking"] = json!([10, 11]);
    let (mut caller, welcome) = Stranger::with_hello(&broker, &hello).await;
    assert_eq!((&welcome["resumed"], &welcome["asking"]), (&json!(true), &json!([11])));
    let reply = json!({"to": second["message"]["reply_to"]});
    assert_eq!(worker.gets(kind::REPLY, 5, &reply).await["receipt"], "confirmed");
    assert_eq!(caller.hears(kind::ANSWER).await.number, 11);
    assert_eq!(worker.gets(kind::REPLY, 6, &json!({"to": to})).await["receipt"], "unclaimed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_without_an_answer_is_counted() {
    use common::{Stranger, header};
    use polybus_zeromq::wire::frame::kind;
    use serde_json::json;
    let broker = broker_with("undelivered", |config| config.with_identities(identities(FILE))).await;
    let mut sender = Stranger::user(&broker, "sender", "sender-0123456789").await;
    let small =
        json!({"queues": [{"name": "jobs", "bounds": {"messages": 1, "bytes": 1000, "drop_oldest": false}}]});
    sender.gets(kind::DECLARE, 2, &small).await;
    let jobs = json!({"to": {"queue": "jobs"}});
    sender.gets(kind::PUBLISH, 3, &jobs).await;
    // Full, no right to send there, no right to reply; and no name of a queue.
    sender.say(&common::packet(kind::PUBLISH, 0, &jobs)).await;
    sender.say(&common::packet(kind::PUBLISH, 0, &json!({"to": {"queue": "other"}}))).await;
    sender.say(&common::packet(kind::REPLY, 0, &json!({"to": "whoever"}))).await;
    sender.say(&common::packet(kind::PUBLISH, 0, &json!({"to": {"queue": "no name"}}))).await;
    loop {
        let packet = sender.hear().await.expect("the connection is over");
        assert_ne!(packet.kind, kind::ERROR, "the number 0 is not answered");
        if packet.kind == kind::INFO && header(&packet)["undelivered"] == 4 {
            break;
        }
    }
    let counts = broker.counts();
    assert_eq!(
        (counts.undelivered_full, counts.undelivered_unauthorized, counts.undelivered_other),
        (1, 2, 1)
    );
    // With a number it is answered and not counted, and what others sent is not this one's.
    assert_eq!(sender.asks(kind::PUBLISH, 4, &jobs).await.1["kind"], "full");
    let mut other = Stranger::user(&broker, "worker", "worker-0123456789").await;
    assert_eq!(header(&other.hears(kind::INFO).await)["undelivered"], 0);
    assert_eq!(broker.counts().undelivered(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_to_nowhere_without_an_answer_is_counted() {
    use common::{Stranger, header};
    use polybus_zeromq::wire::frame::kind;
    let broker = broker("nowhere").await;
    let mut sender = Stranger::welcome(&broker).await;
    sender.say(&common::packet(kind::PUBLISH, 0, &serde_json::json!({"to": {"queue": "nowhere"}}))).await;
    while header(&sender.hears(kind::INFO).await)["undelivered"] != 1 {}
    assert_eq!(broker.counts().undelivered_unroutable, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_clients_are_kept_than_may_be_connected() {
    use common::{Stranger, header};
    use polybus_zeromq::wire::frame::kind;
    use serde_json::json;
    let few = |config: BrokerConfig| config.with_max_clients(3).with_resume(Duration::from_hours(1));
    let broker = broker_with("many-away", few).await;
    let gone = async || {
        while broker.counts().connections > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    broker.bus().declare(&Topology::new().queue(Queue::new(name("jobs")))).await.unwrap();
    let client = |number: u8| json!({"client": format!("{number:032x}"), "nonce": "n", "keep": true});
    for number in 0..5 {
        broker
            .bus()
            .publish(&Target::Queue(name("jobs")), Message::new("x"), PublishOptions::default())
            .await
            .unwrap();
        let (mut stranger, _) = Stranger::with_hello(&broker, &client(number)).await;
        stranger
            .say(&common::packet(
                kind::CONSUME,
                2,
                &json!({"from": {"queue": "jobs"}, "lease_ms": 3_600_000}),
            ))
            .await;
        let delivery = header(&stranger.hears(kind::DELIVERY).await);
        assert_eq!(delivery["attempt"], if number < 4 { 1 } else { 2 }, "{number}: {delivery}");
        drop(stranger);
        timeout(WITHIN, gone()).await.expect("it is still connected");
    }
    // The fourth and the fifth that went had the two before them forgotten.
    assert_eq!(broker.counts().forgotten, 2);
    for (number, resumed) in [(0, false), (1, false), (2, true), (3, true), (4, true)] {
        let mut hello = client(number);
        (hello["resume"], hello["keep"]) = (json!(true), json!(false));
        let (stranger, welcome) = Stranger::with_hello(&broker, &hello).await;
        assert_eq!(welcome["resumed"], resumed, "{number}");
        drop(stranger);
        timeout(WITHIN, gone()).await.expect("it is still connected");
    }
}
