//! What a client does while a connection is being restored, in front of a broker that says what the test says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests end at the first surprise")]

mod common;

use common::{Stranger, WITHIN, broker, name, shake_as};
use polybus_contract::{Arrival, ConsumeOptions, Delivery, Incoming, Intake, Kind, Start, Transport};
use polybus_zeromq::ZeroMq;
use polybus_zeromq::wire::frame::{Packet, kind};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::timeout;

/// A broker that is played by the test.
struct Played {
    listener: TcpListener,
    welcome: Value,
}

impl Played {
    /// It says of itself what a real one does.
    async fn new() -> Self {
        let real = broker("played").await;
        let mut stranger = Stranger::at(&real).await;
        stranger.say(&common::shake()).await;
        let client = uuid::Uuid::new_v4().simple().to_string();
        stranger.say(&common::packet(kind::HELLO, 1, &json!({"client": client, "nonce": "n"}))).await;
        let welcome = serde_json::from_slice(&stranger.hears(kind::WELCOME).await.header).unwrap();
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap(), welcome }
    }

    fn client(&self, login: &str) -> ZeroMq {
        ZeroMq::from_url(&format!("zmq://{login}{}", self.listener.local_addr().unwrap())).unwrap()
    }

    /// The next connection, up to the hello.
    async fn greets(&self) -> (Stranger, Packet) {
        let (stream, _) = timeout(WITHIN, self.listener.accept()).await.expect("nobody comes").unwrap();
        let mut session = Stranger::on(stream);
        session.say(&shake_as("ROUTER")).await;
        let greeting = json!({"versions": [1], "nonce": "n", "proof_needed": false});
        session.say(&common::packet(kind::GREETING, 0, &greeting)).await;
        let hello = session.hears(kind::HELLO).await;
        (session, hello)
    }

    /// The next connection, welcomed.
    async fn session(&self, resumed: bool) -> (Stranger, Value) {
        let (mut session, hello) = self.greets().await;
        let mut welcome = self.welcome.clone();
        welcome["resumed"] = resumed.into();
        session.say(&common::packet(kind::WELCOME, hello.number, &welcome)).await;
        (session, serde_json::from_slice(&hello.header).unwrap())
    }
}

async fn agrees(session: &mut Stranger, to: &Packet) {
    session.say(&common::packet(kind::OK, to.number, &json!({}))).await;
}

/// A delivery of this consumer.
async fn delivers(session: &mut Stranger, consumer: u64, delivery: u64) {
    let header =
        json!({"delivery": delivery, "queue": "jobs", "attempt": 1, "lease_ms": 60_000, "message": {}});
    session.say(&common::packet(kind::DELIVERY, consumer, &header)).await;
}

async fn consumes(bus: &ZeroMq) -> Incoming<Delivery> {
    let options = ConsumeOptions::default().with_start(Start::Eventually);
    bus.consume(&Intake::Queue(name("jobs")), options).await.unwrap()
}

async fn next(deliveries: &mut Incoming<Delivery>) -> Delivery {
    match timeout(WITHIN, deliveries.next()).await {
        Ok(Some(Arrival::Item(delivery))) => delivery,
        other => panic!("no delivery: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_settled_while_consumers_are_restored_is_said_at_once() {
    let played = Played::new().await;
    let bus = played.client("");
    let mut deliveries = consumes(&bus).await;
    let (mut session, _) = played.session(false).await;
    let consume = session.hears(kind::CONSUME).await;
    agrees(&mut session, &consume).await;
    delivers(&mut session, consume.number, 7).await;
    let delivery = next(&mut deliveries).await;
    drop(session);

    let (mut session, hello) = played.session(true).await;
    assert_eq!(hello["holding"], json!([7]));
    let consume = session.hears(kind::CONSUME).await;
    let settled = tokio::spawn(async move { delivery.ack().await });
    let settle = session.hears(kind::SETTLE).await;
    agrees(&mut session, &settle).await;
    timeout(WITHIN, settled).await.expect("it is not told").unwrap().unwrap();
    agrees(&mut session, &consume).await;
    delivers(&mut session, consume.number, 8).await;
    drop(next(&mut deliveries).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_while_it_is_restored_leaves_no_consumer_behind() {
    let played = Played::new().await;
    let bus = played.client("");
    let (mut first, mut second) = (consumes(&bus).await, consumes(&bus).await);
    // One of them is there, and has got something that nobody has seen, when the connection breaks.
    let (mut session, _) = played.session(false).await;
    let early = session.hears(kind::CONSUME).await;
    agrees(&mut session, &early).await;
    delivers(&mut session, early.number, 7).await;
    session.hears(kind::CONSUME).await;
    // Only one that knows that it is there says its credit.
    let asking = async {
        loop {
            first.set_credit(5).unwrap();
            second.set_credit(5).unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        credit = session.hears(kind::CREDIT) => assert_eq!(credit.number, early.number),
        () = asking => {}
    }
    drop(session);

    let (mut session, hello) = played.session(true).await;
    assert_eq!(hello.get("holding"), None, "what nobody has seen is somebody else's");
    for delivery in [8, 9] {
        let consume = session.hears(kind::CONSUME).await;
        agrees(&mut session, &consume).await;
        delivers(&mut session, consume.number, delivery).await;
    }
    drop((next(&mut first).await, next(&mut second).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_leaves_while_it_is_restored_is_ended_behind_it() {
    let played = Played::new().await;
    let bus = played.client("");
    let deliveries = consumes(&bus).await;
    let (mut session, _) = played.session(false).await;
    let consume = session.hears(kind::CONSUME).await;
    drop(deliveries);
    agrees(&mut session, &consume).await;
    assert_eq!(session.hears(kind::STOP).await.number, consume.number);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_asks_for_no_proof_is_not_the_one_that_was_meant() {
    let played = Played::new().await;
    let bus = played.client("worker:worker-0123456789@");
    let greeting = async {
        let (stream, _) = timeout(WITHIN, played.listener.accept()).await.expect("nobody comes").unwrap();
        let mut session = Stranger::on(stream);
        session.say(&shake_as("ROUTER")).await;
        let greeting = json!({"versions": [1], "nonce": "n", "proof_needed": false});
        session.say(&common::packet(kind::GREETING, 0, &greeting)).await;
        assert_eq!(session.hear().await, None, "nothing is said to it");
    };
    let (told, ()) = tokio::join!(bus.connect(WITHIN), greeting);
    let error = told.unwrap_err();
    assert!(error.kind() == Kind::Unauthorized && !error.to_string().contains("worker-01"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_too_much_in_hand_to_say_it_begins_anew() {
    const MANY: u64 = 20_000;
    let played = Played::new().await;
    let bus = played.client("");
    let options = ConsumeOptions::default().with_start(Start::Eventually).with_credit(u32::MAX);
    let mut deliveries = bus.consume(&Intake::Queue(name("jobs")), options).await.unwrap();
    let (mut session, _) = played.session(false).await;
    let consume = session.hears(kind::CONSUME).await;
    agrees(&mut session, &consume).await;
    let mut hand = Vec::new();
    for delivery in 1..=MANY {
        delivers(&mut session, consume.number, delivery).await;
        hand.push(next(&mut deliveries).await);
    }
    drop(session);
    let (mut session, hello) = played.session(false).await;
    assert_eq!((hello.get("holding"), hello.get("resume")), (None, None));
    let consume = session.hears(kind::CONSUME).await;
    agrees(&mut session, &consume).await;
    let error = hand.pop().unwrap().ack().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Stale);
}
