//! Work queues: consuming, settling, dead letters, expiry, priority (kit groups A, C, D, E).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::*;
use polybus_contract::{
    Arrival, Bounds, Browse, ConsumeOptions, End, Intake, Keep, Kind, LeaseTerms, Message, Outcome, Place,
    PublishOptions, Queue, Reason, Redrive, Target, TransportExt, UnixMillis,
};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn a1_bytes_and_a7_ids_are_kept() {
    let bus = queue().await;
    let mut deliveries = consume(&bus, 10).await;
    for body in [Vec::new(), vec![0], (0..=255).collect(), vec![7; 64 << 10]] {
        let sent = bus.send(&jobs(), Message::new(body.clone())).await.unwrap();
        let delivery = next(&mut deliveries).await;
        assert_eq!(delivery.message().body().as_bytes().unwrap()[..], body[..]);
        assert_eq!(delivery.message().id(), Some(&sent.id));
        delivery.retry(Duration::ZERO).await.unwrap();
        let again = next(&mut deliveries).await;
        assert_eq!(again.message().id(), Some(&sent.id));
        again.reject(Reason::Rejected, "no").await.unwrap();
        let dead = bus.consume(&Intake::Queue(jobs().dead().unwrap()), ConsumeOptions::default()).await;
        let dead = next(&mut dead.unwrap()).await;
        assert_eq!(dead.message().id(), Some(&sent.id));
        dead.ack().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a3_over_max_is_typed_and_the_bus_goes_on() {
    let bus = bus_at("embedded:?max_message=10");
    declare(&bus, Queue::new(jobs())).await;
    let error = bus.send(&jobs(), Message::new(vec![0; 11])).await.unwrap_err();
    assert_eq!(error.kind(), Kind::TooLarge { limit: 10, size: 11 });
    bus.send(&jobs(), Message::new(vec![0; 10])).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a8_attempts_are_counted_from_one() {
    let bus = queue().await;
    send(&bus, "x").await;
    let mut deliveries = consume(&bus, 1).await;
    for attempt in 1..=5 {
        let delivery = next(&mut deliveries).await;
        assert_eq!(delivery.attempt(), attempt);
        delivery.retry(Duration::ZERO).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn b4_no_such_queue_is_unroutable() {
    let bus = bus();
    let error = bus.send(&jobs(), Message::new("x")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unroutable);
    assert!(error.message_id().is_some());
    assert_eq!(kind(bus.consume(&intake(), ConsumeOptions::default()).await), Some(Kind::NotFound));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c1_each_message_goes_to_one_of_many_consumers() {
    const MESSAGES: usize = 5000;
    let bus = queue().await;
    let (found, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..50 {
        let mut deliveries = consume(&bus, 4).await;
        let found = found.clone();
        tokio::spawn(async move {
            while let Some(Arrival::Item(delivery)) = deliveries.next().await {
                found.send((text(delivery.message()), delivery.attempt())).unwrap();
                delivery.ack().await.unwrap();
            }
        });
    }
    for n in 0..MESSAGES {
        send(&bus, &n.to_string()).await;
    }
    let mut all = HashSet::new();
    for _ in 0..MESSAGES {
        let (text, attempt) = receiver.recv().await.unwrap();
        assert_eq!(attempt, 1);
        assert!(all.insert(text), "no duplicates without faults");
    }
    let report = bus.drain(Duration::from_mins(1)).await;
    assert!(report.is_clean(), "{report}");
}

/// Ready, and in hand.
async fn inspect(bus: &Bus) -> (u64, u64) {
    let info = bus.admin().unwrap().inspect(&intake()).await.unwrap();
    (info.ready.unwrap(), info.leased.unwrap())
}

#[tokio::test(start_paused = true)]
async fn c2_credit_is_never_exceeded_and_is_reached() {
    let bus = queue().await;
    let mut deliveries = consume(&bus, 3).await;
    for n in 0..10 {
        send(&bus, &n.to_string()).await;
    }
    let held = [next(&mut deliveries).await, next(&mut deliveries).await, next(&mut deliveries).await];
    assert!(now(&mut deliveries).is_none());
    assert_eq!(inspect(&bus).await, (7, 3));
    let [first, ..] = held;
    first.ack().await.unwrap();
    assert!(now(&mut deliveries).is_some());
}

#[tokio::test(start_paused = true)]
async fn c3_a_raise_holds_at_once_and_a_cut_as_deliveries_settle() {
    let bus = queue().await;
    let mut deliveries = consume(&bus, 1).await;
    for n in 0..10 {
        send(&bus, &n.to_string()).await;
    }
    let first = next(&mut deliveries).await;
    let waiting = tokio::spawn(async move {
        let second = next(&mut deliveries).await;
        (deliveries, second)
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    first.ack().await.unwrap();
    let (mut deliveries, second) = waiting.await.unwrap();
    deliveries.set_credit(4).unwrap();
    let more: Vec<_> = (0..3).map(|_| now(&mut deliveries).unwrap()).collect();
    assert!(now(&mut deliveries).is_none());
    deliveries.set_credit(2).unwrap();
    second.ack().await.unwrap();
    assert!(now(&mut deliveries).is_none(), "three are still in hand");
    drop(more);
    assert_eq!(deliveries.set_credit(0).unwrap_err().kind(), Kind::InvalidOption);
}

#[tokio::test(start_paused = true)]
async fn c3_a_cut_gives_back_what_nobody_has_seen() {
    let bus = queue().await;
    let mut deliveries = consume(&bus, 10).await;
    for n in 0..10 {
        send(&bus, &n.to_string()).await;
    }
    let first = next(&mut deliveries).await;
    assert_eq!(inspect(&bus).await, (0, 10), "prefetched");
    deliveries.set_credit(1).unwrap();
    assert_eq!(inspect(&bus).await, (9, 1));
    assert!(now(&mut deliveries).is_none());
    first.ack().await.unwrap();
    let second = next(&mut deliveries).await;
    assert_eq!((text(second.message()), second.attempt()), ("1".to_owned(), 1), "unseen is uncounted");
}

#[tokio::test(start_paused = true)]
async fn c4_a_reader_that_is_woken_and_stuck_does_not_keep_the_message_from_others() {
    let bus = queue().await;
    let mut stuck = consume(&bus, 1).await;
    let mut idle = consume(&bus, 1).await;
    // Both wait; the first to be woken never looks.
    assert!(now(&mut stuck).is_none());
    let waiting = tokio::spawn(async move { text(next(&mut idle).await.message()) });
    tokio::task::yield_now().await;
    send(&bus, "x").await;
    assert_eq!(waiting.await.unwrap(), "x");
    drop(stuck);
}

#[tokio::test(start_paused = true)]
async fn c4_a_woken_reader_that_leaves_passes_the_message_on() {
    let bus = queue().await;
    let mut first = consume(&bus, 1).await;
    let mut second = consume(&bus, 1).await;
    assert!(now(&mut first).is_none());
    let waiting = tokio::spawn(async move { text(next(&mut second).await.message()) });
    tokio::task::yield_now().await;
    send(&bus, "x").await;
    let before = Instant::now();
    drop(first);
    assert_eq!(waiting.await.unwrap(), "x");
    assert_eq!(before, Instant::now(), "at once");
}

#[tokio::test(start_paused = true)]
async fn c6_a_backlog_is_shared() {
    let bus = queue().await;
    for n in 0..20 {
        send(&bus, &n.to_string()).await;
    }
    let mut first = consume(&bus, 100).await;
    let mut second = consume(&bus, 100).await;
    let (mut mine, mut theirs) = (vec![next(&mut first).await], vec![next(&mut second).await]);
    loop {
        let before = mine.len() + theirs.len();
        mine.extend(item(now(&mut first)));
        theirs.extend(item(now(&mut second)));
        if before == mine.len() + theirs.len() {
            break;
        }
    }
    assert_eq!((mine.len(), theirs.len()), (10, 10));
}

fn item<T>(arrival: Option<Arrival<T>>) -> Option<T> {
    match arrival {
        Some(Arrival::Item(item)) => Some(item),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn c7_a_backlog_waits_for_its_consumer_and_c9_order_is_kept() {
    let bus = queue().await;
    for n in 0..1000 {
        send(&bus, &n.to_string()).await;
    }
    let mut deliveries = consume(&bus, 50).await;
    for n in 0..1000 {
        let delivery = next(&mut deliveries).await;
        assert_eq!(text(delivery.message()), n.to_string());
        delivery.ack().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn d1_ack_consumes() {
    let bus = queue().await;
    send(&bus, "x").await;
    let mut deliveries = consume(&bus, 1).await;
    next(&mut deliveries).await.ack().await.unwrap();
    drop(deliveries);
    pass(120_000).await;
    let mut deliveries = consume(&bus, 1).await;
    assert!(now(&mut deliveries).is_none());
    assert_eq!(inspect(&bus).await, (0, 0));
}

#[tokio::test(start_paused = true)]
async fn d3_nack_delay_floor() {
    let bus = queue().await;
    send(&bus, "x").await;
    let mut deliveries = consume(&bus, 1).await;
    let before = Instant::now();
    next(&mut deliveries).await.retry(Duration::from_millis(1500)).await.unwrap();
    let again = next(&mut deliveries).await;
    let waited = before.elapsed();
    assert_eq!(again.attempt(), 2);
    assert!(waited >= Duration::from_millis(1500) && waited < Duration::from_millis(1600), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn d4_reject_dead_letters_with_its_reason() {
    let bus = queue().await;
    send(&bus, "x").await;
    let mut deliveries = consume(&bus, 1).await;
    next(&mut deliveries).await.reject(Reason::Decode, "not JSON").await.unwrap();
    assert_eq!(inspect(&bus).await, (0, 0));
    let page = bus.admin().unwrap().browse(&intake(), Place::Dead, Browse::default()).await.unwrap();
    let death = page.messages[0].message.death().unwrap();
    assert_eq!(
        (&death.reason, death.error.as_deref(), death.attempts),
        (&Reason::Decode, Some("not JSON"), 1)
    );
    assert_eq!((&death.queue, death.whole), (&jobs(), true));
    assert!(death.first.is_some());
}

#[tokio::test(start_paused = true)]
async fn d4_bodies_of_rejected_messages_can_be_replaced_or_left_out() {
    let bus = queue().await;
    let mut deliveries = consume(&bus, 1).await;
    for keep in [Keep::Substitute("3 bytes".into()), Keep::Nothing] {
        send(&bus, "secret").await;
        let outcome = Outcome::Reject { reason: Reason::Other("private".into()), error: None, keep };
        next(&mut deliveries).await.settle(outcome).await.unwrap();
    }
    let desk = bus.admin().unwrap();
    let page = desk.browse(&intake(), Place::Dead, Browse::default()).await.unwrap();
    assert_eq!(page.messages.len(), 1);
    assert_eq!(text(&page.messages[0].message), "3 bytes");
    let redriven = desk.redrive(&intake(), Redrive::default()).await.unwrap();
    assert_eq!((redriven.moved, redriven.refused, redriven.left), (0, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn d5_out_of_order_settles() {
    let bus = queue().await;
    let mut deliveries = consume(&bus, 5).await;
    for n in 0..5 {
        send(&bus, &n.to_string()).await;
    }
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(next(&mut deliveries).await);
    }
    for at in [4, 2, 0] {
        held.remove(at).ack().await.unwrap();
    }
    drop(held);
    let back = [next(&mut deliveries).await, next(&mut deliveries).await];
    let texts = back.each_ref().map(|delivery| (text(delivery.message()), delivery.attempt()));
    assert_eq!(texts, [("1".to_owned(), 2), ("3".to_owned(), 2)]);
    assert!(now(&mut deliveries).is_none());
}

#[tokio::test(start_paused = true)]
async fn d6_dropped_unsettled_returns_exactly_once_and_at_once() {
    let bus = queue().await;
    send(&bus, "x").await;
    let mut deliveries = consume(&bus, 5).await;
    let before = Instant::now();
    drop(next(&mut deliveries).await);
    let again = next(&mut deliveries).await;
    assert_eq!((again.attempt(), before), (2, Instant::now()));
    pass(60_000).await;
    assert!(again.ack().await.is_err(), "its lease ended");
    let third = next(&mut deliveries).await;
    assert_eq!(third.attempt(), 3);
    assert!(now(&mut deliveries).is_none());
}

#[tokio::test(start_paused = true)]
async fn d6_a_dropped_stream_gives_back_what_nobody_saw_and_lets_the_rest_be_settled() {
    let bus = queue().await;
    for n in 0..4 {
        send(&bus, &n.to_string()).await;
    }
    let mut deliveries = consume(&bus, 4).await;
    let held = next(&mut deliveries).await;
    assert_eq!(inspect(&bus).await, (0, 4));
    drop(deliveries);
    assert_eq!(inspect(&bus).await, (3, 1));
    held.ack().await.unwrap();
    let mut deliveries = consume(&bus, 4).await;
    assert_eq!(next(&mut deliveries).await.attempt(), 1);
}

#[tokio::test(start_paused = true)]
async fn d8_a_settle_after_the_lease_is_stale() {
    let bus = queue().await;
    send(&bus, "x").await;
    let mut deliveries = consume(&bus, 2).await;
    for settle in [Outcome::Ack, Outcome::Retry { after: Duration::ZERO, error: None }, Outcome::Release] {
        let delivery = next(&mut deliveries).await;
        assert_eq!(delivery.terms(), LeaseTerms::Timed(Duration::from_secs(30)));
        let lease = delivery.lease();
        pass(30_000).await;
        assert_eq!(kind(lease.renew().await), Some(Kind::Stale));
        assert_eq!(kind(delivery.settle(settle).await), Some(Kind::Stale));
    }
    assert_eq!(next(&mut deliveries).await.attempt(), 4);
}

#[tokio::test(start_paused = true)]
async fn d9_a_renewed_lease_is_never_seen_by_a_rival() {
    let bus = queue().await;
    send(&bus, "x").await;
    let mut deliveries = consume(&bus, 1).await;
    let delivery = next(&mut deliveries).await;
    let mut rival = consume(&bus, 1).await;
    for _ in 0..9 {
        pass(10_000).await;
        assert_eq!(delivery.lease().renew().await.unwrap(), Some(Duration::from_secs(30)));
        assert!(now(&mut rival).is_none());
    }
    delivery.ack().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn d10_a_lost_lease_goes_to_another_by_the_timer_alone() {
    let bus = queue().await;
    send(&bus, "x").await;
    let options = ConsumeOptions::default().with_lease(Duration::from_secs(2));
    let mut deliveries = bus.consume(&intake(), options).await.unwrap();
    let lost = next(&mut deliveries).await;
    let mut other = consume(&bus, 1).await;
    let before = Instant::now();
    let found = next(&mut other).await;
    let waited = before.elapsed();
    assert_eq!(found.attempt(), 2);
    assert!(waited >= Duration::from_secs(2) && waited < Duration::from_millis(2100), "{waited:?}");
    assert_eq!(kind(lost.ack().await), Some(Kind::Stale));
    found.ack().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn d10_credit_comes_back_with_the_end_of_a_lease() {
    let bus = queue().await;
    send(&bus, "x").await;
    let mut deliveries = consume(&bus, 1).await;
    let stuck = next(&mut deliveries).await;
    // The reader waits for credit; the handler that has it never ends, and settles nothing.
    let again = next(&mut deliveries).await;
    assert_eq!(again.attempt(), 2);
    assert_eq!(kind(stuck.ack().await), Some(Kind::Stale));
    again.ack().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn d12_no_hot_loop_and_e1_attempts_are_capped() {
    let bus = bus_with(|queue| queue.with_max_attempts(3_u32)).await;
    send(&bus, "poison").await;
    let mut deliveries = consume(&bus, 10).await;
    let seen = Arc::new(AtomicU32::new(0));
    let count = seen.clone();
    let reader = tokio::spawn(async move {
        while let Some(Arrival::Item(delivery)) = deliveries.next().await {
            count.fetch_add(1, Ordering::Relaxed);
            let outcome = Outcome::Retry {
                after: Duration::from_secs(1),
                error: Some(format!("no {}", delivery.attempt())),
            };
            delivery.settle(outcome).await.unwrap();
        }
    });
    pass(900).await;
    assert_eq!(seen.load(Ordering::Relaxed), 1, "the delay bounds the rate");
    for _ in 0..20 {
        pass(1000).await;
    }
    assert_eq!(seen.load(Ordering::Relaxed), 3);
    reader.abort();
    let page = bus.admin().unwrap().browse(&intake(), Place::Dead, Browse::default()).await.unwrap();
    let death = page.messages[0].message.death().unwrap();
    assert_eq!((&death.reason, death.attempts, death.error.as_deref()), (&Reason::Attempts, 3, Some("no 3")));
}

#[tokio::test(start_paused = true)]
async fn e1_dead_letters_are_bounded_and_counted() {
    let bus = bus_with(|queue| queue.with_dead_bounds(Bounds::new(2, 1 << 20))).await;
    let mut deliveries = consume(&bus, 1).await;
    for n in 0..5 {
        send(&bus, &n.to_string()).await;
        next(&mut deliveries).await.reject(Reason::Rejected, "no").await.unwrap();
    }
    assert_eq!(bus.health().counters.dead_dropped, 3);
    let info = bus.admin().unwrap().inspect(&intake()).await.unwrap();
    assert_eq!(info.dead, Some(2));
}

#[tokio::test(start_paused = true)]
async fn e3_redrive_keeps_ids_and_resets_counters() {
    let bus = queue().await;
    let mut deliveries = consume(&bus, 1).await;
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(bus.send(&jobs(), Message::new(n.to_string())).await.unwrap().id);
        next(&mut deliveries).await.reject(Reason::Rejected, "no").await.unwrap();
    }
    let desk = bus.admin().unwrap();
    let one = desk.redrive(&intake(), Redrive::default().with_ids(vec![ids[1].clone()])).await.unwrap();
    assert_eq!((one.moved, one.left), (1, 2));
    let back = next(&mut deliveries).await;
    assert_eq!((back.message().id(), back.attempt()), (Some(&ids[1]), 1));
    assert!(back.message().death().is_none());
    let rest = desk.redrive(&intake(), Redrive::default()).await.unwrap();
    assert_eq!((rest.moved, rest.left), (2, 0));
}

#[tokio::test]
async fn e4_an_expired_message_is_not_delivered() {
    let bus = queue().await;
    let late = Message::new("late").with_expires(UnixMillis(UnixMillis::now().0 - 1));
    bus.send(&jobs(), late).await.unwrap();
    send(&bus, "fine").await;
    let mut deliveries = consume(&bus, 1).await;
    assert_eq!(text(next(&mut deliveries).await.message()), "fine");
    assert_eq!(bus.health().counters.expired, 1);
}

#[tokio::test]
async fn e4_an_expired_message_is_kept_where_declared() {
    let bus = bus_with(|queue| queue.with_keep_expired(true)).await;
    let late = Message::new("late").with_expires(UnixMillis(0));
    bus.send(&jobs(), late).await.unwrap();
    let mut deliveries = consume(&bus, 1).await;
    assert!(now(&mut deliveries).is_none());
    let dead = Intake::Queue(jobs().dead().unwrap());
    let mut dead = bus.consume(&dead, ConsumeOptions::default()).await.unwrap();
    let letter = next(&mut dead).await;
    assert_eq!(letter.message().death().unwrap().reason, Reason::Expired);
}

#[tokio::test(start_paused = true)]
async fn e5_a_delayed_send_becomes_visible_later() {
    let bus = queue().await;
    let mut deliveries = consume(&bus, 1).await;
    let options = PublishOptions::default().with_delay(Some(Duration::from_secs(5)));
    let before = Instant::now();
    bus.publish(&Target::Queue(jobs()), Message::new("x"), options).await.unwrap();
    next(&mut deliveries).await.ack().await.unwrap();
    let waited = before.elapsed();
    assert!(waited >= Duration::from_secs(5) && waited < Duration::from_millis(5100), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn e6_higher_priority_first() {
    let bus = bus_with(|queue| queue.with_priorities(true)).await;
    for (body, priority) in [("low", 1), ("high", 9), ("middle", 5)] {
        bus.send(&jobs(), Message::new(body).with_priority(priority)).await.unwrap();
    }
    let mut deliveries = consume(&bus, 3).await;
    for expected in ["high", "middle", "low"] {
        assert_eq!(text(next(&mut deliveries).await.message()), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn next_is_cancel_safe() {
    let bus = queue().await;
    let mut deliveries = consume(&bus, 500).await;
    for n in 0..200 {
        send(&bus, &n.to_string()).await;
    }
    for n in 0..200 {
        drop(deliveries.next());
        let delivery = next(&mut deliveries).await;
        assert_eq!((text(delivery.message()), delivery.attempt()), (n.to_string(), 1));
        delivery.ack().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_unawaited_ack_holds() {
    let bus = queue().await;
    send(&bus, "x").await;
    let mut deliveries = consume(&bus, 1).await;
    drop(next(&mut deliveries).await.ack());
    assert_eq!(inspect(&bus).await, (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_stream_ends_and_a_removed_queue_fails_it() {
    let bus = queue().await;
    let mut deliveries = consume(&bus, 1).await;
    deliveries.stop();
    assert!(deliveries.next().await.is_none());
    assert!(matches!(deliveries.end(), Some(End::Stopped)));
    let mut deliveries = consume(&bus, 1).await;
    let waiting = tokio::spawn(async move {
        assert!(deliveries.next().await.is_none());
        deliveries.end().cloned()
    });
    tokio::task::yield_now().await;
    bus.admin().unwrap().remove(&polybus_contract::Object::Queue(jobs())).await.unwrap();
    match waiting.await.unwrap() {
        Some(End::Failed(error)) => assert_eq!(error.kind(), Kind::NotFound),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_lease_ended_in_the_buffer_is_not_handed_to_anyone() {
    let bus = queue().await;
    for n in 0..3 {
        send(&bus, &n.to_string()).await;
    }
    let mut slow = consume(&bus, 3).await;
    let first = next(&mut slow).await;
    pass(31_000).await;
    drop(first);
    let mut other = consume(&bus, 3).await;
    for _ in 0..3 {
        next(&mut other).await.ack().await.unwrap();
    }
    assert!(now(&mut slow).is_none());
}
