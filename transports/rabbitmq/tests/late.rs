//! A broker that confirms late. Where no broker can be started the test fails, unless `POLYBUS_ALLOW_MISSING` is set; then
//! it says so and was not run.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use polybus_brokers::{Broker, Error, Kind as Version};
use polybus_contract::{
    Arrival, ConsumeOptions, Intake, Message, Name, Nobody, Queue, ReplyOptions, RequestOptions, Topology,
    Transport, TransportExt,
};
use polybus_rabbitmq::RabbitMq;
use tokio::time::{Instant, sleep};

/// Longer than a request waits for its confirm while nothing else holds it up.
const SILENCE: Duration = Duration::from_secs(11);

async fn answer(bus: Arc<RabbitMq>, queue: Name) {
    let mut requests = bus.consume(&Intake::Queue(queue), ConsumeOptions::default()).await.unwrap();
    while let Some(Arrival::Item(request)) = requests.next().await {
        let to = request.message().reply_to().cloned().unwrap();
        bus.reply(&to, Message::new("there"), ReplyOptions::default()).await.unwrap();
        request.ack().await.unwrap();
    }
}

/// The call has time left: that it is not confirmed yet does not end it.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_confirmed_late_waits_for_its_reply() {
    let broker = match Broker::start(Version::RABBITMQ_4_0).await {
        Ok(broker) => broker,
        Err(error @ Error::Missing { .. }) if std::env::var_os("POLYBUS_ALLOW_MISSING").is_some() => {
            eprintln!("NOT RUN: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    // With the usual heartbeat the silence would be a lost connection.
    let handle = || Arc::new(RabbitMq::from_url(&format!("{}?heartbeat=60", broker.url())).unwrap());
    let (caller, server) = (handle(), handle());
    let queue = Name::new("slow").unwrap();
    server.declare(&Topology::new().queue(Queue::new(queue.clone()))).await.unwrap();
    let serving = tokio::spawn(answer(server.clone(), queue.clone()));
    let options =
        || RequestOptions::default().with_deadline(Duration::from_mins(1)).with_nobody(Nobody::Wait);
    caller.call(&queue, Message::new("are you"), options()).await.unwrap();

    broker.pause().await.unwrap();
    let began = Instant::now();
    let calling = tokio::spawn({
        let (caller, queue) = (caller.clone(), queue.clone());
        async move { caller.call(&queue, Message::new("still"), options()).await }
    });
    sleep(SILENCE).await;
    assert!(!calling.is_finished(), "{:?}", calling.await);
    broker.resume().await.unwrap();
    let reply = calling.await.unwrap().unwrap();
    assert_eq!(reply.message.body().as_bytes().unwrap(), "there");
    assert!(began.elapsed() > SILENCE);
    caller.drain(Duration::from_secs(5)).await;
    server.drain(Duration::from_secs(5)).await;
    serving.await.unwrap();
}
