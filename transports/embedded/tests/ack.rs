//! Acks of which the engine hears later than they are made: nobody can tell the difference (kit groups D, H, I).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::*;
use polybus_contract::{Delivery, Incoming, Kind, Object};

/// A reader with a few messages in its buffer and one ack that waits.
async fn one_acked_of(messages: u32) -> (Bus, Incoming<Delivery>) {
    let bus = queue().await;
    for n in 0..messages {
        send(&bus, &n.to_string()).await;
    }
    let mut deliveries = consume(&bus, messages).await;
    next(&mut deliveries).await.ack().await.unwrap();
    (bus, deliveries)
}

#[tokio::test(start_paused = true)]
async fn figures_are_right_at_once() {
    let (bus, _deliveries) = one_acked_of(4).await;
    let info = bus.admin().unwrap().inspect(&intake()).await.unwrap();
    assert_eq!((info.leased, info.ready), (Some(3), Some(0)));
    assert_eq!(bus.health().subscriptions[0].in_hand, 0, "nobody has seen the other three");
}

#[tokio::test(start_paused = true)]
async fn what_was_acked_does_not_come_back_when_its_lease_would_have_ended() {
    let (bus, _stuck) = one_acked_of(3).await;
    pass(31_000).await;
    let mut other = consume(&bus, 3).await;
    for expected in ["1", "2"] {
        let delivery = next(&mut other).await;
        assert_eq!((text(delivery.message()).as_str(), delivery.attempt()), (expected, 2));
        delivery.ack().await.unwrap();
    }
    assert!(now(&mut other).is_none());
}

#[tokio::test(start_paused = true)]
async fn another_reader_that_takes_does_not_get_what_was_acked() {
    let (bus, mut first) = one_acked_of(2).await;
    let kept = next(&mut first).await;
    // The other one comes first after the lease has ended, before the timer.
    tokio::time::advance(std::time::Duration::from_secs(31)).await;
    let mut other = consume(&bus, 2).await;
    let again = next(&mut other).await;
    assert_eq!((text(again.message()).as_str(), again.attempt()), ("1", 2));
    assert!(now(&mut other).is_none());
    assert_eq!(kind(kept.ack().await), Some(Kind::Stale));
}

#[tokio::test(start_paused = true)]
async fn a_removed_queue_refuses_acks_of_what_was_in_hand() {
    let (bus, mut deliveries) = one_acked_of(3).await;
    let held = next(&mut deliveries).await;
    bus.admin().unwrap().remove(&Object::Queue(jobs())).await.unwrap();
    assert!(held.ack().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_reader_without_credit_goes_on_with_the_ack_that_brings_some() {
    let bus = queue().await;
    for n in 0..9 {
        send(&bus, &n.to_string()).await;
    }
    let mut deliveries = consume(&bus, 2).await;
    let (first, second) = (next(&mut deliveries).await, next(&mut deliveries).await);
    first.ack().await.unwrap();
    let third = next(&mut deliveries).await;
    let waiting = tokio::spawn(async move { text(next(&mut deliveries).await.message()) });
    tokio::task::yield_now().await;
    second.ack().await.unwrap();
    assert_eq!((waiting.await.unwrap().as_str(), text(third.message()).as_str()), ("3", "2"));
}

#[tokio::test(start_paused = true)]
async fn a_drain_counts_what_was_acked_before_as_done() {
    let (bus, mut deliveries) = one_acked_of(3).await;
    let held = next(&mut deliveries).await;
    let draining = tokio::spawn({
        let bus = bus.clone();
        async move { bus.drain(std::time::Duration::from_secs(10)).await }
    });
    tokio::task::yield_now().await;
    held.ack().await.unwrap();
    let report = draining.await.unwrap();
    assert_eq!((report.finished, report.returned, report.abandoned), (1, 1, 0));
}
