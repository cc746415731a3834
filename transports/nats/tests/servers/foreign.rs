//! What others do to a consumer of ours: bounds on requests, a pause.

use std::time::Duration;

use async_nats::jetstream::{self, consumer};
use polybus_brokers::{Broker, Kind as Version, Options};
use polybus_contract::{
    ConsumeOptions, Intake, Message, Queue, SubscriptionState, Topology, Transport, TransportExt,
};
use serde_json::{Value, json};

use crate::{ENDS, broker, name, next, open, until};

async fn client(broker: &Broker) -> async_nats::Client {
    let (user, password) = broker.login();
    let options = async_nats::ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned());
    options.connect(broker.address()).await.unwrap()
}

async fn api(broker: &Broker, what: &str, body: Value) -> Value {
    let client = client(broker).await;
    let answer = client.request(format!("$JS.API.{what}"), body.to_string().into()).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert!(answer.get("error").is_none(), "{what}: {answer}");
    answer
}

/// Somebody else made the consumer, and allows little of one request.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_allows_small_requests_is_asked_for_little() {
    for version in ENDS {
        let Some(broker) = broker(version, &Options::default()).await else { return };
        let stream = jetstream::stream::Config {
            name: "polybus+q+jobs".to_owned(),
            subjects: vec!["polybus.q.jobs".to_owned()],
            retention: jetstream::stream::RetentionPolicy::WorkQueue,
            ..Default::default()
        };
        let stream = jetstream::new(client(&broker).await).create_stream(stream).await.unwrap();
        let little = consumer::pull::Config {
            durable_name: Some("workers".to_owned()),
            max_batch: 3,
            max_expires: Duration::from_secs(2),
            max_waiting: 2,
            ..Default::default()
        };
        stream.create_consumer(little).await.unwrap();
        let bus = open(&broker.url());
        bus.declare(&Topology::new().queue(Queue::new(name("jobs")))).await.unwrap();
        let jobs = Intake::Queue(name("jobs"));
        let mut incoming = bus.consume(&jobs, ConsumeOptions::default().with_credit(50_u32)).await.unwrap();
        for number in 0..20 {
            bus.send(&name("jobs"), Message::new(number.to_string())).await.unwrap();
        }
        for _ in 0..20 {
            next(&mut incoming).await.ack().await.unwrap();
        }
    }
}

/// Connected, messages wait, and the server hands nothing out.
#[tokio::test(flavor = "multi_thread")]
async fn j7_a_paused_consumer_is_shown_as_stalled() {
    // Servers before 2.11 pause nobody.
    let Some(broker) = broker(Version::NATS_2_15, &Options::default()).await else { return };
    let bus = open(&broker.url());
    let jobs = name("jobs");
    bus.declare(&Topology::new().queue(Queue::new(jobs.clone()))).await.unwrap();
    let mut incoming =
        bus.consume(&Intake::Queue(jobs.clone()), ConsumeOptions::default().with_label("one")).await.unwrap();
    bus.send(&jobs, Message::new("before")).await.unwrap();
    next(&mut incoming).await.ack().await.unwrap();
    let pause = "CONSUMER.PAUSE.polybus+q+jobs.workers";
    api(&broker, pause, json!({ "pause_until": "2100-01-01T00:00:00Z" })).await;
    bus.send(&jobs, Message::new("during")).await.unwrap();
    let waits = next(&mut incoming);
    let stalled = async {
        let stalled = |state| matches!(state, SubscriptionState::Stalled(_));
        until("a stall", &bus, |health| health.subscriptions.iter().any(|one| stalled(one.state))).await;
        assert!(!bus.health().is_good());
        api(&broker, pause, json!({})).await;
    };
    let (during, ()) = tokio::join!(waits, stalled);
    during.ack().await.unwrap();
    until("the end of a stall", &bus, polybus_contract::Health::is_good).await;
}
