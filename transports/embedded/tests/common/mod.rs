//! What every test needs: a bus behind the always-on checks, and short ways to use it.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use polybus_contract::{
    Arrival, Checked, ConsumeOptions, Delivery, Error, Incoming, Intake, Kind, Message, Name, Queue,
    Topology, Transport, TransportExt,
};
use polybus_embedded::Embedded;

pub type Bus = Arc<dyn Transport>;

pub fn bus_at(url: &str) -> Bus {
    Arc::new(Checked::new(Arc::new(Embedded::from_url(url).unwrap())))
}

pub fn bus() -> Bus {
    bus_at("embedded:")
}

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub fn jobs() -> Name {
    name("jobs")
}

pub fn intake() -> Intake {
    Intake::Queue(jobs())
}

/// A bus with the queue `jobs`, changed by `change`.
pub async fn bus_with(change: impl FnOnce(Queue) -> Queue) -> Bus {
    let bus = bus();
    declare(&bus, change(Queue::new(jobs()))).await;
    bus
}

pub async fn declare(bus: &Bus, queue: Queue) {
    bus.declare(&Topology::new().queue(queue)).await.unwrap();
}

pub async fn queue() -> Bus {
    bus_with(|queue| queue).await
}

pub async fn send(bus: &Bus, text: &str) {
    bus.send(&jobs(), Message::new(text.to_owned())).await.unwrap();
}

pub async fn consume(bus: &Bus, credit: u32) -> Incoming<Delivery> {
    bus.consume(&intake(), ConsumeOptions::default().with_credit(credit)).await.unwrap()
}

/// The next item, which must come without anybody's help.
pub async fn next<T: std::fmt::Debug>(incoming: &mut Incoming<T>) -> T {
    let arrival =
        tokio::time::timeout(Duration::from_hours(1), incoming.next()).await.expect("an arrival in time");
    match arrival {
        Some(Arrival::Item(item)) => item,
        other => panic!("{other:?}, ended: {:?}", incoming.end()),
    }
}

/// What is there now, without waiting.
pub fn now<T>(incoming: &mut Incoming<T>) -> Option<Arrival<T>> {
    let mut next = std::pin::pin!(incoming.next());
    match next.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(arrival) => arrival,
        Poll::Pending => None,
    }
}

pub fn text(message: &Message) -> String {
    String::from_utf8(message.body().as_bytes().unwrap().to_vec()).unwrap()
}

pub fn kind<T>(result: Result<T, Error>) -> Option<Kind> {
    result.err().map(|error| error.kind())
}

pub async fn pass(millis: u64) {
    tokio::time::advance(Duration::from_millis(millis)).await;
    // The timer's task has its turn.
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}
