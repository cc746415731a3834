//! Topics: ephemeral subscriptions and durable groups (kit groups B and F).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::*;
use polybus_contract::{
    Arrival, Bounds, Confirm, ConsumeOptions, Delivery, End, Feature, Gap, GapCause, Group, Incoming, Intake,
    Kind, Message, Overflow, PublishOptions, Queue, Receipt, SubscribeOptions, Target, Topic, Topology,
    TransportExt, WhenFull,
};

fn news() -> polybus_contract::Name {
    name("news")
}

async fn subscribe(bus: &Bus, topic: &str, buffer: u32) -> Incoming<Message> {
    bus.subscribe(&name(topic), SubscribeOptions::default().with_buffer(buffer)).await.unwrap()
}

async fn announce(bus: &Bus, text: &str) -> Receipt {
    bus.announce(&news(), Message::new(text.to_owned())).await.unwrap()
}

fn group(change: impl FnOnce(Queue) -> Queue) -> Group {
    let group = Group::new(news(), name("g"));
    let queue = change(group.queue.clone());
    group.with_queue(queue)
}

async fn durable(change: impl FnOnce(Queue) -> Queue) -> Bus {
    let bus = bus();
    bus.declare(&Topology::new().topic(Topic::durable(news())).group(group(change))).await.unwrap();
    bus
}

fn of_group() -> Intake {
    Intake::Group { topic: news(), group: name("g") }
}

async fn member(bus: &Bus) -> Incoming<Delivery> {
    bus.consume(&of_group(), ConsumeOptions::default().with_credit(10_u32)).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn b1_topics_are_isolated() {
    let bus = bus();
    let mut streams = Vec::new();
    for n in 0..20 {
        streams.push(subscribe(&bus, &format!("t{n}"), 1024).await);
    }
    for m in 0..100 {
        for n in 0..20 {
            bus.announce(&name(&format!("t{n}")), Message::new(format!("{n}/{m}"))).await.unwrap();
        }
    }
    for (n, stream) in streams.iter_mut().enumerate() {
        for m in 0..100 {
            assert_eq!(text(&next(stream).await), format!("{n}/{m}"));
        }
        assert!(now(stream).is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn b6_many_topics() {
    let bus = bus();
    let mut streams = Vec::new();
    for n in 0..2000 {
        streams.push(subscribe(&bus, &format!("t{n}"), 4).await);
    }
    bus.announce(&name("t1999"), Message::new("x")).await.unwrap();
    assert_eq!(text(&next(&mut streams[1999]).await), "x");
    assert_eq!(bus.health().subscriptions.len(), 2000);
    streams.clear();
    assert!(bus.health().subscriptions.is_empty());
}

#[tokio::test(start_paused = true)]
async fn f1_every_subscriber_gets_each_once_in_order() {
    let bus = bus();
    let mut streams = Vec::new();
    for _ in 0..5 {
        streams.push(subscribe(&bus, "news", 2000).await);
    }
    for n in 0..1000 {
        announce(&bus, &n.to_string()).await;
    }
    for stream in &mut streams {
        for n in 0..1000 {
            assert_eq!(text(&next(stream).await), n.to_string());
        }
        assert!(now(stream).is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn f2_a_late_subscriber_gets_what_comes_from_now_on() {
    let bus = bus();
    announce(&bus, "before").await;
    let mut stream = subscribe(&bus, "news", 8).await;
    announce(&bus, "after").await;
    assert_eq!(text(&next(&mut stream).await), "after");
}

#[tokio::test(start_paused = true)]
async fn f3_subscribe_is_live_when_it_returns() {
    let bus = bus();
    for _ in 0..100 {
        let mut stream = subscribe(&bus, "news", 8).await;
        announce(&bus, "x").await;
        assert!(matches!(now(&mut stream), Some(Arrival::Item(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn f4_a_slow_subscriber_misses_and_others_do_not_and_f5_the_gap_is_counted() {
    let bus = bus();
    let mut slow = subscribe(&bus, "news", 3).await;
    let mut quick = subscribe(&bus, "news", 100).await;
    for n in 0..10 {
        announce(&bus, &n.to_string()).await;
    }
    let Some(Arrival::Gap(gap)) = now(&mut slow) else { panic!("a gap comes first") };
    assert_eq!(gap, Gap { missed: Some(7), cause: GapCause::SlowReader });
    for n in 7..10 {
        assert_eq!(text(&next(&mut slow).await), n.to_string());
    }
    for n in 0..10 {
        assert_eq!(text(&next(&mut quick).await), n.to_string());
    }
    assert_eq!(bus.health().counters.missed, 7);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_subscriber_is_woken() {
    let bus = bus();
    let mut stream = subscribe(&bus, "news", 3).await;
    let waiting = tokio::spawn(async move { text(&next(&mut stream).await) });
    tokio::task::yield_now().await;
    announce(&bus, "x").await;
    assert_eq!(waiting.await.unwrap(), "x");
}

#[tokio::test(start_paused = true)]
async fn a_stopped_subscription_gives_what_it_has_and_ends() {
    let bus = bus();
    let mut stream = subscribe(&bus, "news", 3).await;
    announce(&bus, "x").await;
    stream.stop();
    announce(&bus, "y").await;
    assert_eq!(text(&next(&mut stream).await), "x");
    assert!(stream.next().await.is_none());
    assert!(matches!(stream.end(), Some(End::Stopped)));
    assert_eq!(stream.set_credit(3).unwrap_err().kind(), Kind::Unsupported(Feature::SetCredit));
}

#[tokio::test(start_paused = true)]
async fn a_plain_topic_hands_over_and_a_durable_one_confirms() {
    let bus = bus();
    assert!(matches!(announce(&bus, "x").await, Receipt::Handed(_)));
    let required = bus.publish(&Target::Topic(news()), Message::new("x"), PublishOptions::default()).await;
    assert_eq!(kind(required), Some(Kind::Unsupported(Feature::TopicConfirm)));
    let bus = durable(|queue| queue).await;
    let required = bus.publish(&Target::Topic(news()), Message::new("x"), PublishOptions::default()).await;
    assert!(required.unwrap().confirmed().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_group_gets_everything_from_its_creation_and_its_members_compete() {
    let bus = durable(|queue| queue).await;
    for n in 0..4 {
        announce(&bus, &n.to_string()).await;
    }
    let mut first = member(&bus).await;
    let one = next(&mut first).await;
    assert_eq!((text(one.message()), one.queue().as_str()), ("0".to_owned(), "news"));
    drop(first);
    one.ack().await.unwrap();
    let mut second = member(&bus).await;
    for n in 1..4 {
        let delivery = next(&mut second).await;
        assert_eq!(text(delivery.message()), n.to_string());
        delivery.ack().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn two_groups_each_get_everything() {
    let bus = durable(|queue| queue).await;
    bus.declare(&Topology::new().group(Group::new(news(), name("h")))).await.unwrap();
    announce(&bus, "x").await;
    let mut g = member(&bus).await;
    let h = Intake::Group { topic: news(), group: name("h") };
    let mut h = bus.consume(&h, ConsumeOptions::default()).await.unwrap();
    next(&mut g).await.ack().await.unwrap();
    next(&mut h).await.ack().await.unwrap();
    assert!(now(&mut g).is_none() && now(&mut h).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_full_group_is_told_to_the_publisher_and_others_have_the_message() {
    let bus = durable(|queue| queue.with_bounds(Bounds::new(1, 1 << 20))).await;
    let mut ephemeral = subscribe(&bus, "news", 8).await;
    announce(&bus, "one").await;
    let error = bus.announce(&news(), Message::new("two")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Full);
    assert!(error.to_string().contains("news@g"), "{error}");
    assert_eq!(text(&next(&mut ephemeral).await), "one");
    assert_eq!(text(&next(&mut ephemeral).await), "two");
}

#[tokio::test(start_paused = true)]
async fn a_publisher_may_wait_for_room_in_a_group() {
    let bus = durable(|queue| queue.with_bounds(Bounds::new(1, 1 << 20))).await;
    announce(&bus, "one").await;
    let options = PublishOptions::default().with_when_full(WhenFull::Wait).with_confirm(Confirm::Required);
    let publisher = bus.clone();
    let waiting =
        tokio::spawn(
            async move { publisher.publish(&Target::Topic(news()), Message::new("two"), options).await },
        );
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    let mut stream = member(&bus).await;
    let one = next(&mut stream).await;
    assert!(waiting.await.unwrap().unwrap().confirmed().is_some());
    one.ack().await.unwrap();
    assert_eq!(text(next(&mut stream).await.message()), "two");
}

#[tokio::test(start_paused = true)]
async fn a_group_that_drops_shows_a_gap_of_exactly_what_it_missed() {
    let bounds = Bounds { messages: 2, bytes: 1 << 20, overflow: Overflow::DropOldest };
    let bus = durable(|queue| queue.with_bounds(bounds)).await;
    for n in 0..5 {
        announce(&bus, &n.to_string()).await;
    }
    let mut stream = member(&bus).await;
    let Some(Arrival::Gap(gap)) = now(&mut stream) else { panic!("a gap comes first") };
    assert_eq!(gap, Gap { missed: Some(3), cause: GapCause::Bound });
    let (three, four) = (next(&mut stream).await, next(&mut stream).await);
    assert_eq!((text(three.message()), text(four.message())), ("3".to_owned(), "4".to_owned()));
    assert_eq!(bus.health().counters.overflowed, 3);
}

#[tokio::test(start_paused = true)]
async fn an_unused_group_ends_by_the_timer_alone() {
    let bus = bus();
    let group = group(|queue| queue).with_unused(Some(Duration::from_mins(1)));
    bus.declare(&Topology::new().topic(Topic::durable(news())).group(group)).await.unwrap();
    let stream = member(&bus).await;
    pass(600_000).await;
    assert_eq!(bus.admin().unwrap().list().await.unwrap(), [of_group()]);
    drop(stream);
    pass(59_000).await;
    assert_eq!(bus.admin().unwrap().list().await.unwrap().len(), 1);
    pass(1_100).await;
    assert!(bus.admin().unwrap().list().await.unwrap().is_empty());
    assert_eq!(kind(bus.consume(&of_group(), ConsumeOptions::default()).await), Some(Kind::NotFound));
}

#[tokio::test(start_paused = true)]
async fn groups_need_a_durable_topic() {
    let bus = bus();
    let lonely = bus.declare(&Topology::new().group(group(|queue| queue))).await;
    assert_eq!(kind(lonely), Some(Kind::NotFound));
    let plain = Topology::new().topic(Topic::new(news())).group(group(|queue| queue));
    assert_eq!(kind(bus.declare(&plain).await), Some(Kind::Conflict));
    let raised = bus.declare(&Topology::new().topic(Topic::durable(news()))).await;
    assert_eq!(kind(raised), Some(Kind::Conflict));
}
