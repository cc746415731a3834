//! Names, bounds of publishing, sharing, draining, closing, health, the desk (kit groups B, H, I).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::*;
use polybus_contract::{
    Bounds, Browse, Capability, ConsumeOptions, End, Feature, Intake, Kind, Link, Message, Needs, Object,
    Overflow, Place, PublishOptions, Queue, Reason, ReplyOptions, RequestOptions, SubscribeOptions,
    SubscriptionState, Target, Topic, Topology, TransportExt, WhenFull,
};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn b5_private_buses_are_isolated_and_named_ones_are_shared() {
    let (first, second) = (bus_at("embedded:b5"), bus_at("embedded:b5"));
    declare(&first, Queue::new(jobs())).await;
    second.send(&jobs(), Message::new("x")).await.unwrap();
    assert_eq!(text(next(&mut consume(&first, 1).await).await.message()), "x");
    assert_eq!(kind(bus().send(&jobs(), Message::new("x")).await), Some(Kind::Unroutable));
    assert_eq!(first.profile().instance, second.profile().instance);
    assert_ne!(bus().profile().instance, bus().profile().instance);
}

#[tokio::test(start_paused = true)]
async fn a_named_bus_ends_with_its_last_user() {
    let first = bus_at("embedded:ends");
    declare(&first, Queue::new(jobs())).await;
    drop(first);
    let later = bus_at("embedded:ends");
    assert_eq!(kind(later.send(&jobs(), Message::new("x")).await), Some(Kind::Unroutable));
}

#[test]
fn a_named_bus_outlives_the_runtime_it_was_first_used_in() {
    let runtime =
        || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let bus = bus_at("embedded:runtimes");
    let one = runtime();
    one.block_on(async {
        declare(&bus, Queue::new(jobs()).with_lease(Duration::from_secs(5))).await;
        send(&bus, "x").await;
        next(&mut consume(&bus, 1).await).await.retry(Duration::from_secs(1)).await.unwrap();
    });
    drop(one);
    runtime().block_on(async {
        let delivery = next(&mut consume(&bus, 1).await).await;
        assert_eq!(delivery.attempt(), 2);
    });
}

#[tokio::test(start_paused = true)]
async fn declare_reports_what_it_made_and_what_differs() {
    let bus = bus();
    let queue = Queue::new(jobs()).with_max_attempts(2_u32);
    let made = bus.declare(&Topology::new().queue(queue.clone()).topic(Topic::new(name("t")))).await.unwrap();
    assert_eq!(made.created, ["topic t", "queue jobs"]);
    let same = bus.declare(&Topology::new().queue(queue.clone())).await.unwrap();
    assert!(same.created.is_empty() && same.differences.is_empty());
    let other = queue.with_max_attempts(9_u32).with_priorities(true);
    let found = bus.declare(&Topology::new().queue(other)).await.unwrap();
    let lines: Vec<_> = found.differences.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["queue jobs: max_attempts is 2, not 9", "queue jobs: priorities is false, not true"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_declared_is_refused() {
    let bus = bus();
    let durable = Queue::new(jobs()).with_durability(Some(polybus_contract::Durability::Disk));
    let refused = bus.declare(&Topology::new().queue(durable)).await;
    assert_eq!(kind(refused), Some(Kind::Unsupported(Feature::SurvivesPower)));
    let capability = bus.profile().capability;
    // A journal adds two things to what a bus in memory can do.
    let (durability, attempts) = (capability.durability(), capability.attempts);
    assert_eq!(capability, Capability { attempts, ..polybus_embedded::capability() }.surviving(durability));
    let lacks: Vec<_> = Feature::ALL.iter().filter(|feature| !capability.has(**feature)).collect();
    assert_eq!(
        lacks,
        [
            &Feature::SurvivesProcess,
            &Feature::SurvivesPower,
            &Feature::Replicated,
            &Feature::AttemptsCounted,
            &Feature::Dedup,
        ]
    );
    assert!(Needs::of([Feature::Queue]).unmet(&Capability { ..capability }).is_empty());
}

#[tokio::test(start_paused = true)]
async fn h2_a_full_queue_is_an_error() {
    let bus = bus_with(|queue| queue.with_bounds(Bounds::new(2, 1 << 20))).await;
    send(&bus, "1").await;
    send(&bus, "2").await;
    let error = bus.send(&jobs(), Message::new("3")).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (Kind::Full, polybus_contract::Status::Temporary));
    let small = bus_with(|queue| queue.with_bounds(Bounds::new(9, 4))).await;
    assert_eq!(
        kind(small.send(&jobs(), Message::new("12345")).await),
        Some(Kind::TooLarge { limit: 4, size: 5 })
    );
}

#[tokio::test(start_paused = true)]
async fn h2_the_oldest_falls_out_where_declared() {
    let bounds = Bounds { messages: 2, bytes: 1 << 20, overflow: Overflow::DropOldest };
    let bus = bus_with(|queue| queue.with_bounds(bounds)).await;
    for n in 0..5 {
        send(&bus, &n.to_string()).await;
    }
    assert_eq!(bus.health().counters.overflowed, 3);
    assert_eq!(text(next(&mut consume(&bus, 1).await).await.message()), "3");
}

#[tokio::test(start_paused = true)]
async fn h3_waiting_for_room_is_bounded_and_ends_when_there_is_some() {
    let bus = bus_with(|queue| queue.with_bounds(Bounds::new(1, 1 << 20))).await;
    send(&bus, "1").await;
    let options =
        PublishOptions::default().with_when_full(WhenFull::Wait).with_within(Duration::from_secs(5));
    let before = Instant::now();
    let refused = bus.publish(&Target::Queue(jobs()), Message::new("2"), options.clone()).await;
    assert_eq!(kind(refused), Some(Kind::Full));
    assert_eq!(before.elapsed(), Duration::from_secs(5));
    let sender = bus.clone();
    let waiting =
        tokio::spawn(async move { sender.publish(&Target::Queue(jobs()), Message::new("3"), options).await });
    tokio::task::yield_now().await;
    let mut deliveries = consume(&bus, 1).await;
    let one = next(&mut deliveries).await;
    waiting.await.unwrap().unwrap();
    one.ack().await.unwrap();
    assert_eq!(text(next(&mut deliveries).await.message()), "3");
}

#[tokio::test(start_paused = true)]
async fn h4_close_leaves_everything_that_was_confirmed() {
    let (bus, other) = (bus_at("embedded:h4"), bus_at("embedded:h4"));
    declare(&bus, Queue::new(jobs())).await;
    for n in 0..10_000 {
        send(&bus, &n.to_string()).await;
    }
    assert_eq!(bus.close().await.unflushed, 0);
    let info = other.admin().unwrap().inspect(&intake()).await.unwrap();
    assert_eq!(info.ready, Some(10_000));
}

#[tokio::test(start_paused = true)]
async fn a_repeated_send_is_recognised_where_asked_for() {
    let bus = bus_at("embedded:?dedup_window=60");
    declare(&bus, Queue::new(jobs())).await;
    let message = Message::new("x").with_id("one");
    assert!(!bus.send(&jobs(), message.clone()).await.unwrap().duplicate);
    assert!(bus.send(&jobs(), message.clone()).await.unwrap().duplicate);
    let again = PublishOptions::default().with_send_number(1_u32);
    let receipt = bus.publish(&Target::Queue(jobs()), message.clone(), again).await.unwrap();
    assert!(!receipt.confirmed().unwrap().duplicate, "a deliberate resend is a new message");
    pass(60_000).await;
    assert!(!bus.send(&jobs(), message).await.unwrap().duplicate);
}

#[tokio::test(start_paused = true)]
async fn i3_drain_finishes_what_is_in_hand_and_returns_the_rest() {
    let bus = queue().await;
    for n in 0..5 {
        send(&bus, &n.to_string()).await;
    }
    let mut deliveries = consume(&bus, 5).await;
    let in_hand = next(&mut deliveries).await;
    let mut stream = bus.subscribe(&name("t"), SubscribeOptions::default()).await.unwrap();
    let drained = bus.clone();
    let drain = tokio::spawn(async move { drained.drain(Duration::from_secs(10)).await });
    pass(1000).await;
    assert!(deliveries.next().await.is_none() && stream.next().await.is_none());
    assert!(matches!(deliveries.end(), Some(End::Drained)));
    assert_eq!(kind(bus.consume(&intake(), ConsumeOptions::default()).await), Some(Kind::Closed));
    // What is in hand may still be answered and logged.
    bus.send(&jobs(), Message::new("log")).await.unwrap();
    in_hand.ack().await.unwrap();
    let report = drain.await.unwrap();
    assert_eq!((report.finished, report.returned, report.abandoned, report.unflushed), (1, 4, 0, 0));
    assert_eq!(bus.health().link, Link::Closed);
}

#[tokio::test(start_paused = true)]
async fn i4_a_handler_that_never_ends_is_abandoned_and_its_message_returns() {
    let (bus, other) = (bus_at("embedded:i4"), bus_at("embedded:i4"));
    declare(&bus, Queue::new(jobs())).await;
    send(&bus, "x").await;
    send(&bus, "y").await;
    let mut deliveries = consume(&bus, 1).await;
    let stuck = next(&mut deliveries).await;
    drop(deliveries);
    let mut deliveries = consume(&bus, 1).await;
    let stuck_too = next(&mut deliveries).await;
    let before = Instant::now();
    let report = bus.drain(Duration::from_secs(3)).await;
    assert_eq!(before.elapsed(), Duration::from_secs(3));
    assert_eq!((report.finished, report.abandoned), (0, 2));
    assert!(!report.is_clean());
    let mut rival = consume(&other, 2).await;
    let back = [next(&mut rival).await, next(&mut rival).await];
    assert_eq!(back.each_ref().map(polybus_contract::Delivery::attempt), [2, 2]);
    assert_eq!(kind(stuck.ack().await), Some(Kind::Stale));
    drop(stuck_too);
    let [x, y] = back;
    x.ack().await.unwrap();
    y.ack().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn i6_closing_twice_at_once_while_blocked_gives_one_report() {
    let bus = queue().await;
    send(&bus, "x").await;
    let mut deliveries = consume(&bus, 1).await;
    let stuck = next(&mut deliveries).await;
    let drained = bus.clone();
    let drain = tokio::spawn(async move { drained.drain(Duration::from_hours(1)).await });
    tokio::task::yield_now().await;
    let before = Instant::now();
    let closed = bus.close().await;
    assert_eq!(before.elapsed(), Duration::ZERO, "the nearer deadline counts");
    assert_eq!((closed, closed), (drain.await.unwrap(), bus.close().await));
    assert_eq!(closed.abandoned, 1);
    drop(stuck);
}

#[tokio::test(start_paused = true)]
async fn i7_use_after_close_is_typed() {
    let bus = queue().await;
    let options = RequestOptions::default();
    let mut pending = bus.request(&Target::Queue(jobs()), Message::new("x"), options.clone()).await.unwrap();
    assert!(bus.close().await.is_clean());
    assert!(pending.next().await.is_none());
    assert!(matches!(pending.end(), Some(End::Drained)));
    let kinds = [
        kind(bus.connect(Duration::from_secs(1)).await),
        kind(bus.declare(&Topology::new()).await),
        kind(bus.send(&jobs(), Message::new("x")).await),
        kind(bus.announce(&name("t"), Message::new("x")).await),
        kind(bus.consume(&intake(), ConsumeOptions::default()).await),
        kind(bus.subscribe(&name("t"), SubscribeOptions::default()).await),
        kind(bus.request(&Target::Queue(jobs()), Message::new("x"), options).await),
        kind(
            bus.reply(
                &polybus_contract::ReplyTo::new(bus.profile().instance, "1"),
                Message::new("x"),
                ReplyOptions::default(),
            )
            .await,
        ),
        kind(bus.admin().unwrap().list().await),
        kind(bus.admin().unwrap().inspect(&intake()).await),
        kind(bus.admin().unwrap().remove(&Object::Queue(jobs())).await),
    ];
    assert!(kinds.iter().all(|kind| *kind == Some(Kind::Closed)), "{kinds:?}");
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_waits_is_told_of_the_close() {
    let bus = bus_with(|queue| queue.with_bounds(Bounds::new(1, 1 << 20))).await;
    send(&bus, "1").await;
    let options =
        PublishOptions::default().with_when_full(WhenFull::Wait).with_within(Duration::from_hours(1));
    let sender = bus.clone();
    let waiting =
        tokio::spawn(async move { sender.publish(&Target::Queue(jobs()), Message::new("2"), options).await });
    tokio::task::yield_now().await;
    bus.close().await;
    assert_eq!(kind(waiting.await.unwrap()), Some(Kind::Closed));
}

#[tokio::test(start_paused = true)]
async fn i8_a_new_handle_starts_afresh() {
    let keep = bus_at("embedded:i8");
    declare(&keep, Queue::new(jobs())).await;
    for _ in 0..3 {
        let bus = bus_at("embedded:i8");
        let _deliveries = consume(&bus, 1).await;
        let consumers = keep.admin().unwrap().inspect(&intake()).await.unwrap().consumers;
        assert_eq!(consumers, Some(1), "no duplicate consumers");
        bus.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn health_is_per_subscription() {
    let bus = queue().await;
    let options = ConsumeOptions::default().with_credit(5_u32).with_label("worker 1");
    let mut deliveries = bus.consume(&intake(), options).await.unwrap();
    send(&bus, "x").await;
    let delivery = next(&mut deliveries).await;
    let health = bus.health();
    assert!(health.is_good());
    let found = &health.subscriptions[0];
    assert_eq!((found.intake.as_str(), found.label.as_str()), ("queue jobs", "worker 1"));
    assert_eq!((found.in_hand, found.arrived), (1, 1));
    send(&bus, "y").await;
    pass(6000).await;
    assert!(matches!(bus.health().subscriptions[0].state, SubscriptionState::Stalled(_)), "nobody reads");
    delivery.ack().await.unwrap();
    let _y = next(&mut deliveries).await;
    assert_eq!(bus.health().subscriptions[0].state, SubscriptionState::Live);
    let changed = bus.clone();
    let changed = tokio::spawn(async move { changed.health_changed().await });
    tokio::task::yield_now().await;
    drop(deliveries);
    changed.await.unwrap();
    assert!(bus.health().subscriptions.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_desk_lists_pages_purges_and_removes() {
    let bus = queue().await;
    declare(&bus, Queue::new(name("a"))).await;
    let desk = bus.admin().unwrap();
    let listed = desk.list().await.unwrap();
    assert_eq!(listed, [Intake::Queue(name("a")), intake()]);
    for n in 0..7 {
        send(&bus, &n.to_string()).await;
    }
    let (mut from, mut all) = (0, Vec::new());
    loop {
        let page =
            desk.browse(&intake(), Place::Ready, Browse::default().with_from(from).with_limit(3_u32)).await;
        let page = page.unwrap();
        assert!(page.messages.len() <= 3);
        all.extend(page.messages.iter().map(|browsed| text(&browsed.message)));
        match page.next {
            Some(next) => from = next,
            None => break,
        }
    }
    assert_eq!(all, ["0", "1", "2", "3", "4", "5", "6"]);
    let mut deliveries = consume(&bus, 1).await;
    next(&mut deliveries).await.reject(Reason::Rejected, "no").await.unwrap();
    drop(deliveries);
    let info = desk.inspect(&intake()).await.unwrap();
    assert_eq!((info.ready, info.dead, info.bytes, info.consumers), (Some(6), Some(1), Some(6), Some(0)));
    assert_eq!(desk.purge(&intake(), Place::Dead).await.unwrap().messages, 1);
    assert_eq!(desk.purge(&intake(), Place::Ready).await.unwrap().messages, 6);
    desk.remove(&Object::Queue(jobs())).await.unwrap();
    assert_eq!(kind(desk.inspect(&intake()).await), Some(Kind::NotFound));
    assert_eq!(kind(desk.remove(&Object::Topic(name("t"))).await), Some(Kind::NotFound));
}
