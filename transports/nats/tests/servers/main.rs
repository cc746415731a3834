//! The transport on real servers: logins and TLS, options, groups, stalls, a cluster that loses its leader. Where no server
//! can be started the tests fail, unless `POLYBUS_ALLOW_MISSING` is set; then they say so and were not run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

mod cluster;
mod foreign;
mod groups;
mod jwt;
mod logins;
mod options;
mod tls;

use std::time::Duration;

use polybus_brokers::{Broker, Error, Kind as Version, Options};
use polybus_contract::{
    Arrival, ConsumeOptions, Delivery, Health, Incoming, Intake, Message, Name, Queue, Status, Topology,
    Transport, TransportExt,
};
use polybus_nats::Nats;
use tokio::time::{Instant, sleep, timeout};

/// Whatever is waited for here ends within this, on a busy machine too.
const PATIENCE: Duration = Duration::from_mins(1);

/// The oldest and the newest server.
const ENDS: [Version; 2] = [Version::NATS_2_9, Version::NATS_2_15];

/// What was started, or nothing, loudly, where it is missing and that may be.
fn there<T>(started: Result<T, Error>) -> Option<T> {
    match started {
        Ok(started) => Some(started),
        Err(error @ Error::Missing { .. }) if std::env::var_os("POLYBUS_ALLOW_MISSING").is_some() => {
            eprintln!("NOT RUN: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

async fn broker(version: Version, options: &Options) -> Option<Broker> {
    there(Broker::start_with(version, options).await)
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn open(url: &str) -> Nats {
    Nats::from_url(url).unwrap()
}

async fn next(incoming: &mut Incoming<Delivery>) -> Delivery {
    match timeout(PATIENCE, incoming.next()).await.unwrap() {
        Some(Arrival::Item(delivery)) => delivery,
        other => panic!("{other:?} came instead of a delivery: {:?}", incoming.end()),
    }
}

fn body(delivery: &Delivery) -> String {
    String::from_utf8(delivery.message().body().as_bytes().unwrap().to_vec()).unwrap()
}

async fn until(what: &str, bus: &Nats, holds: impl Fn(&Health) -> bool) {
    let began = Instant::now();
    while !holds(&bus.health()) {
        assert!(began.elapsed() < PATIENCE, "{what} was waited for: {:?}", bus.health());
        sleep(Duration::from_millis(20)).await;
    }
}

/// Declares; a cluster that has just started may not know all of its members yet.
async fn declare(bus: &Nats, topology: &Topology) {
    let began = Instant::now();
    while let Err(error) = bus.declare(topology).await {
        assert!(error.status() != Status::Permanent && began.elapsed() < PATIENCE, "{error}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// A message goes through a queue and back: whoever can do that is let in.
async fn works(bus: &Nats) {
    bus.connect(PATIENCE).await.unwrap();
    let jobs = name("jobs");
    declare(bus, &Topology::new().queue(Queue::new(jobs.clone()))).await;
    bus.send(&jobs, Message::new("x")).await.unwrap();
    let mut incoming = bus.consume(&Intake::Queue(jobs), ConsumeOptions::default()).await.unwrap();
    next(&mut incoming).await.ack().await.unwrap();
}

/// Does not get in, says so in time and with a type, and shows none of these secrets anywhere.
async fn is_refused(url: &str, secrets: &[&str]) -> polybus_contract::Error {
    let bus = open(url);
    let connecting = bus.connect(Duration::from_secs(4));
    let error = timeout(PATIENCE, connecting).await.unwrap().unwrap_err();
    let texts = [format!("{error} {error:?}"), format!("{bus:?} {:?} {:?}", bus.health(), bus.profile())];
    for secret in secrets {
        assert!(texts.iter().all(|text| !text.contains(secret)), "a secret shows: {texts:?}");
    }
    bus.drain(Duration::ZERO).await;
    error
}
