//! Large bodies: parts out, parts in, and when they go.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests end at the first surprise")]
#![allow(dead_code, reason = "the fake has more for other tests")]

mod fake;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fake::Fake;
use polybus_contract::{
    Arrival, Body, BodyParts, Capability, Checked, ConsumeOptions, Delivery, Intake, Keep, Kind, LeaseGrade,
    Message, Name, Outcome, PARTS, Part, Reason, Result, SettleGrade, Transport, TransportExt, Upload,
};

const CONTENT: &[u8] = b"content of ten";

fn bus() -> (Arc<Fake>, Checked) {
    let fake = Fake::new(Capability {
        queue: true,
        confirm: true,
        retry_delay: true,
        dead_letters: true,
        set_credit: true,
        large_body: true,
        settle: SettleGrade::Confirmed,
        lease: LeaseGrade::Timed,
        max_message: Some(1000),
        ..Capability::default()
    });
    (fake.clone(), Checked::new(fake))
}

fn queue() -> Name {
    Name::new("q").unwrap()
}

fn large() -> Body {
    Body::headed("head ", Arc::new(Bytes::from_static(CONTENT)))
}

async fn received(bus: &Checked) -> Delivery {
    let mut deliveries = bus.consume(&Intake::Queue(queue()), ConsumeOptions::default()).await.unwrap();
    let Some(Arrival::Item(delivery)) = deliveries.next().await else { panic!("no delivery") };
    delivery
}

#[tokio::test]
async fn parts_lie_beside_the_queue_and_come_back_as_one_body() {
    let (fake, bus) = bus();
    bus.send(&queue(), Message::new(large())).await.unwrap();
    let sent = fake.sent.lock().unwrap().clone().unwrap();
    assert_eq!(
        sent.body().as_bytes().map(|head| &head[..]),
        Some(&b"head "[..]),
        "the transport sees the head only"
    );
    let delivery = received(&bus).await;
    let body = delivery.message().body();
    assert_eq!((body.len(), &body.head()[..]), (19, &b"head "[..]));
    assert_eq!(&body.read(19).await.unwrap()[..], b"head content of ten");
    let parts = body.as_parts().unwrap();
    for offset in [0, 3, 9, 4, 13, 0] {
        let read = parts.part(offset, 2).await.unwrap();
        assert!(
            !read.is_empty() && CONTENT[usize::try_from(offset).unwrap()..].starts_with(&read),
            "{offset} {read:?}"
        );
    }
    assert!(parts.part(14, 2).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_was_received_is_sent_on_as_it_lies() {
    let (fake, bus) = bus();
    bus.send(&queue(), Message::new(large())).await.unwrap();
    let message = received(&bus).await.message().clone();
    bus.send(&queue(), message.clone()).await.unwrap();
    assert_eq!(fake.memory.bodies(), 1);
    bus.send(&queue(), message.with_body("small")).await.unwrap();
    let sent = fake.sent.lock().unwrap().clone().unwrap();
    assert!(sent.carried().get(PARTS).is_none(), "another body has no parts");
}

#[tokio::test]
async fn checks_around_checks_change_nothing() {
    let (fake, bus) = bus();
    let bus = Checked::new(Arc::new(bus));
    bus.send(&queue(), Message::new(large())).await.unwrap();
    let delivery = received(&bus).await;
    assert_eq!(&delivery.message().body().read(19).await.unwrap()[..], b"head content of ten");
    delivery.ack().await.unwrap();
    assert_eq!(fake.memory.bodies(), 0);
}

#[tokio::test]
async fn parts_go_with_the_settle_that_is_for_good() {
    let reject = |keep| Outcome::Reject { reason: Reason::Decode, error: None, keep };
    for (outcome, left) in [
        (Outcome::Ack, 0),
        (reject(Keep::Nothing), 0),
        (reject(Keep::Substitute(Body::from("x"))), 0),
        (reject(Keep::Body), 1),
        (Outcome::Release, 1),
        (Outcome::Retry { after: Duration::ZERO, error: None }, 1),
    ] {
        let (fake, bus) = bus();
        bus.send(&queue(), Message::new(large())).await.unwrap();
        let shown = format!("{outcome:?}");
        received(&bus).await.settle(outcome).await.unwrap();
        assert_eq!(fake.memory.bodies(), left, "{shown}");
    }
    let (fake, bus) = bus();
    bus.send(&queue(), Message::new(large())).await.unwrap();
    let delivery = received(&bus).await;
    delivery.message().body().as_parts().unwrap().stored().unwrap().keep();
    delivery.ack().await.unwrap();
    assert_eq!(fake.memory.bodies(), 1, "kept");
}

#[tokio::test]
async fn damage_has_a_type() {
    type Change = fn(&mut Vec<Part>);
    let changes: [(Kind, Change); 4] = [
        (Kind::Protocol, |parts| parts[1].bytes = Bytes::from_static(b"worn")),
        (Kind::Protocol, |parts| parts[1] = Part::new(1, Bytes::from_static(b"evil"))),
        (Kind::Protocol, |parts| parts.swap(1, 2)),
        (Kind::NotFound, |parts| parts.truncate(2)),
    ];
    for (kind, change) in changes {
        let (fake, bus) = bus();
        bus.send(&queue(), Message::new(large())).await.unwrap();
        fake.memory.change(change);
        let read: Result<_> = received(&bus).await.message().body().read(100).await;
        assert_eq!(read.unwrap_err().kind(), kind);
    }
    let (fake, bus) = bus();
    let mut broken = Message::new("head");
    broken.carried_mut().set_carried(PARTS, "v=9");
    *fake.sent.lock().unwrap() = Some(broken);
    let read = received(&bus).await.message().body().read(100).await;
    assert_eq!(read.unwrap_err().kind(), Kind::Protocol);
}

#[tokio::test]
async fn those_who_cannot_read_parts_are_sent_none() {
    let (fake, bus) = bus();
    let error = bus.send(&Name::new("old").unwrap(), Message::new(large())).await.unwrap_err();
    assert_eq!(error.kind(), Kind::TooLarge { limit: 1000, size: 19 });
    assert_eq!((fake.calls(), fake.memory.bodies()), (0, 0));
}

#[tokio::test]
async fn an_upload_is_sent_as_often_as_need_be_or_abandoned() {
    let (fake, bus) = bus();
    let mut upload = Upload::begin(&bus, Duration::from_secs(9)).await.unwrap();
    for piece in CONTENT.chunks(3) {
        upload.write(piece).await.unwrap();
    }
    assert_eq!(upload.bytes(), 14);
    let stored = upload.finish().await.unwrap();
    assert_eq!((stored.len(), stored.manifest().parts), (14, 4));
    for _ in 0..2 {
        bus.send(&queue(), Message::new(Body::parts(stored.clone()))).await.unwrap();
        assert_eq!(&received(&bus).await.message().body().read(14).await.unwrap()[..], CONTENT);
    }
    assert_eq!(fake.memory.bodies(), 1);
    stored.remove().await.unwrap();
    let mut upload = Upload::begin(&bus, Duration::from_secs(9)).await.unwrap();
    upload.write(CONTENT).await.unwrap();
    upload.abandon().await;
    assert_eq!(fake.memory.bodies(), 0);
    let empty = Upload::begin(&bus, Duration::from_secs(9)).await.unwrap().finish().await.unwrap();
    bus.send(&queue(), Message::new(Body::parts(empty))).await.unwrap();
    assert!(received(&bus).await.message().body().read(0).await.unwrap().is_empty());
}
