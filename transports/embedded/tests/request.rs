//! Requests and replies (kit group G).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::*;
use polybus_contract::{
    Arrival, Deadline, End, Incoming, Kind, Message, Nobody, Receipt, RemoteError, Replies, Reply,
    ReplyOptions, ReplyTo, RequestOptions, SubscribeOptions, Target, TransportExt, UnixMillis,
};
use tokio::time::Instant;

fn to() -> Target {
    Target::Queue(jobs())
}

async fn request(bus: &Bus, text: &str, options: RequestOptions) -> Incoming<Reply> {
    bus.request(&to(), Message::new(text.to_owned()), options).await.unwrap()
}

fn within(seconds: u64) -> RequestOptions {
    RequestOptions::default().with_deadline(Duration::from_secs(seconds))
}

/// Serves the queue: answers each request with its own text, in upper case.
fn serve(bus: &Bus, requests: usize) -> tokio::task::JoinHandle<()> {
    let bus = bus.clone();
    tokio::spawn(async move {
        let mut deliveries = consume(&bus, 100).await;
        for _ in 0..requests {
            let delivery = next(&mut deliveries).await;
            let reply_to = delivery.message().reply_to().unwrap().clone();
            let answer = Message::new(text(delivery.message()).to_uppercase());
            let receipt = bus.reply(&reply_to, answer, ReplyOptions::default()).await.unwrap();
            assert!(matches!(receipt, Receipt::Confirmed(_)));
            delivery.ack().await.unwrap();
        }
    })
}

#[tokio::test(start_paused = true)]
async fn g1_each_caller_gets_its_own_reply() {
    let bus = queue().await;
    let mut calls = Vec::new();
    for n in 0..100 {
        let bus = bus.clone();
        calls.push(tokio::spawn(async move {
            let reply = bus
                .call(&jobs(), Message::new(format!("call {n}")), RequestOptions::default())
                .await
                .unwrap();
            assert_eq!(text(&reply.message), format!("CALL {n}"));
        }));
    }
    // Answered in reverse.
    let mut deliveries = consume(&bus, 100).await;
    let mut requests = Vec::new();
    for _ in 0..100 {
        requests.push(next(&mut deliveries).await);
    }
    for delivery in requests.into_iter().rev() {
        let answer = Message::new(text(delivery.message()).to_uppercase());
        bus.reply(delivery.message().reply_to().unwrap(), answer, ReplyOptions::default()).await.unwrap();
        delivery.ack().await.unwrap();
    }
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(bus.health().counters.pending_requests, 0);
}

#[tokio::test(start_paused = true)]
async fn g2_a_late_reply_is_unclaimed_and_counted() {
    let bus = queue().await;
    let mut deliveries = consume(&bus, 1).await;
    let mut replies = request(&bus, "x", within(1)).await;
    let delivery = next(&mut deliveries).await;
    assert!(replies.next().await.is_none());
    assert!(matches!(replies.end(), Some(End::Failed(error)) if error.kind() == Kind::DeadlineExceeded));
    let mut other = request(&bus, "y", within(5)).await;
    let receipt = bus
        .reply(delivery.message().reply_to().unwrap(), Message::new("late"), ReplyOptions::default())
        .await;
    assert_eq!(receipt.unwrap(), Receipt::Unclaimed);
    assert_eq!(bus.health().counters.late_replies, 1);
    assert!(now(&mut other).is_none(), "never given to another call");
}

#[tokio::test(start_paused = true)]
async fn g3_nobody_there_is_known_at_once() {
    let bus = queue().await;
    let options = RequestOptions::default().with_nobody(Nobody::Fail);
    let before = Instant::now();
    let refused = bus.call(&jobs(), Message::new("x"), options.clone()).await;
    assert_eq!(kind(refused), Some(Kind::NoResponder));
    assert_eq!(before, Instant::now());
    let info = bus.admin().unwrap().inspect(&intake()).await.unwrap();
    assert_eq!(info.ready, Some(0), "nothing was sent");
    let served = serve(&bus, 1);
    tokio::task::yield_now().await;
    assert_eq!(text(&bus.call(&jobs(), Message::new("x"), options).await.unwrap().message), "X");
    served.await.unwrap();
    let nowhere = bus.call(&name("nowhere"), Message::new("x"), RequestOptions::default()).await;
    assert_eq!(kind(nowhere), Some(Kind::Unroutable));
}

#[tokio::test(start_paused = true)]
async fn g3_waiting_for_somebody_leaves_the_request_queued() {
    let bus = queue().await;
    let caller = bus.clone();
    let call =
        tokio::spawn(async move { caller.call(&jobs(), Message::new("x"), RequestOptions::default()).await });
    pass(10_000).await;
    serve(&bus, 1).await.unwrap();
    assert_eq!(text(&call.await.unwrap().unwrap().message), "X");
}

#[tokio::test]
async fn g3_a_request_leaves_the_queue_with_its_deadline() {
    let bus = queue().await;
    let late = Message::new("x").with_deadline(UnixMillis(UnixMillis::now().0 - 1));
    let _replies = bus.request(&to(), late, within(60)).await.unwrap();
    let mut deliveries = consume(&bus, 1).await;
    assert!(now(&mut deliveries).is_none());
    assert_eq!(bus.health().counters.expired, 1);
}

#[tokio::test(start_paused = true)]
async fn g4_a_finite_deadline_by_default() {
    let bus = queue().await;
    let before = Instant::now();
    let error = bus.call(&jobs(), Message::new("x"), RequestOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::DeadlineExceeded);
    let waited = before.elapsed();
    assert!(waited >= Duration::from_secs(30) && waited < Duration::from_secs(31), "{waited:?}");
    let mut forever = request(&bus, "y", RequestOptions::default().with_deadline(Deadline::Never)).await;
    pass(1_000_000).await;
    assert!(now(&mut forever).is_none() && forever.end().is_none());
}

#[tokio::test(start_paused = true)]
async fn g5_a_responder_that_dies_is_followed_by_another() {
    let bus = queue().await;
    let mut replies = request(&bus, "x", within(100)).await;
    let mut deliveries = consume(&bus, 1).await;
    drop(next(&mut deliveries).await);
    let delivery = next(&mut deliveries).await;
    assert_eq!(delivery.attempt(), 2);
    let options = ReplyOptions::default().with_attempt(Some(2));
    bus.reply(delivery.message().reply_to().unwrap(), Message::new("done"), options).await.unwrap();
    let reply = next(&mut replies).await;
    assert_eq!((reply.attempt, reply.last), (Some(2), true));
    assert!(replies.next().await.is_none());
    assert!(matches!(replies.end(), Some(End::Complete)));
}

#[tokio::test(start_paused = true)]
async fn g6_an_error_reply_is_typed() {
    let bus = queue().await;
    let caller = bus.clone();
    let call =
        tokio::spawn(async move { caller.call(&jobs(), Message::new("x"), RequestOptions::default()).await });
    let mut deliveries = consume(&bus, 1).await;
    let delivery = next(&mut deliveries).await;
    let error = RemoteError { code: "bad_input".into(), text: "no such map".into() };
    let options = ReplyOptions::default().with_error(Some(error));
    bus.reply(delivery.message().reply_to().unwrap(), Message::new(""), options).await.unwrap();
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Remote);
    assert!(error.to_string().contains("bad_input: no such map"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn g7_a_reply_over_the_limit_is_refused_and_the_responder_lives() {
    let bus = bus_at("embedded:?max_message=10");
    declare(&bus, polybus_contract::Queue::new(jobs())).await;
    let _replies = request(&bus, "x", within(5)).await;
    let mut deliveries = consume(&bus, 1).await;
    let delivery = next(&mut deliveries).await;
    let reply_to = delivery.message().reply_to().unwrap();
    let large = bus.reply(reply_to, Message::new(vec![0; 11]), ReplyOptions::default()).await;
    assert!(matches!(kind(large), Some(Kind::TooLarge { .. })));
    assert!(bus.reply(reply_to, Message::new("ok"), ReplyOptions::default()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn g9_parts_arrive_in_order_then_complete() {
    let bus = queue().await;
    let mut replies = request(&bus, "x", within(60)).await;
    let mut deliveries = consume(&bus, 1).await;
    let delivery = next(&mut deliveries).await;
    for index in 0_u32..3 {
        let options = ReplyOptions::default().with_index(index).with_last(index == 2);
        let part = Message::new(index.to_string());
        bus.reply(delivery.message().reply_to().unwrap(), part, options).await.unwrap();
    }
    for index in 0_u32..3 {
        let reply = next(&mut replies).await;
        assert_eq!((reply.index, reply.last, text(&reply.message)), (index, index == 2, index.to_string()));
    }
    assert!(replies.next().await.is_none());
    assert!(matches!(replies.end(), Some(End::Complete)));
}

#[tokio::test(start_paused = true)]
async fn g9_a_responder_faster_than_its_caller_waits_and_is_told() {
    let bus = queue().await;
    let mut replies = request(&bus, "x", RequestOptions::default().with_deadline(Deadline::Never)).await;
    let mut deliveries = consume(&bus, 1).await;
    let delivery = next(&mut deliveries).await;
    let reply_to = delivery.message().reply_to().unwrap().clone();
    let part = |index: u32| ReplyOptions::default().with_index(index).with_last(false);
    let mut index = 0_u32;
    let error = loop {
        match bus.reply(&reply_to, Message::new("part"), part(index)).await {
            Ok(_) => index += 1,
            Err(error) => break error,
        }
        assert!(index < 100_000, "bounded");
    };
    assert_eq!(error.kind(), Kind::Full);
    let responder = bus.clone();
    let last = ReplyOptions::default().with_index(index).with_within(Duration::from_hours(1));
    let waiting = tokio::spawn(async move { responder.reply(&reply_to, Message::new("end"), last).await });
    for expected in 0..=index {
        assert_eq!(next(&mut replies).await.index, expected);
    }
    assert!(waiting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_scatter_is_answered_by_every_subscriber() {
    let bus = bus();
    let topic = Target::Topic(name("who"));
    let nobody = RequestOptions::default().with_nobody(Nobody::Fail);
    assert_eq!(kind(bus.request(&topic, Message::new("?"), nobody).await), Some(Kind::NoResponder));
    for n in 0..3 {
        let mut stream = bus.subscribe(&name("who"), SubscribeOptions::default()).await.unwrap();
        let bus = bus.clone();
        tokio::spawn(async move {
            while let Some(Arrival::Item(message)) = stream.next().await {
                let options = ReplyOptions::default().with_responder(Some(format!("r{n}")));
                bus.reply(message.reply_to().unwrap(), Message::new("here"), options).await.unwrap();
            }
        });
    }
    for wanted in [Some(3), Some(2), None] {
        let options = within(2).with_replies(Replies::Many(wanted));
        let mut replies = bus.request(&topic, Message::new("?"), options).await.unwrap();
        let mut who = Vec::new();
        while let Some(Arrival::Item(reply)) = replies.next().await {
            who.push(reply.responder.unwrap());
        }
        assert!(matches!(replies.end(), Some(End::Complete)), "{:?}", replies.end());
        assert!(who.len() >= wanted.unwrap_or(3) as usize, "{who:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn g11_ten_thousand_calls_leave_nothing() {
    let bus = queue().await;
    let served = serve(&bus, 5000);
    for _ in 0..5000 {
        bus.call(&jobs(), Message::new("x"), RequestOptions::default()).await.unwrap();
    }
    served.await.unwrap();
    for n in 0..5000 {
        let mut replies = request(&bus, "x", within(1)).await;
        match n % 2 {
            0 => drop(replies),
            _ => assert!(replies.next().await.is_none()),
        }
        bus.admin().unwrap().purge(&intake(), polybus_contract::Place::Ready).await.unwrap();
    }
    assert_eq!(bus.health().counters.pending_requests, 0);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_not_ours_is_refused() {
    let bus = bus();
    let foreign = ReplyTo::new("elsewhere", "1");
    let refused = bus.reply(&foreign, Message::new("x"), ReplyOptions::default()).await;
    assert_eq!(kind(refused), Some(Kind::InvalidMessage));
    let forged = ReplyTo::new(bus.profile().instance, "not a number");
    let refused = bus.reply(&forged, Message::new("x"), ReplyOptions::default()).await;
    assert_eq!(kind(refused), Some(Kind::InvalidMessage));
}
