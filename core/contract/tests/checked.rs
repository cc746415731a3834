//! What is not declared is refused, typed, and before the transport is touched (K1).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests end at the first surprise")]

mod fake;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fake::Fake;
use polybus_contract::{
    Admin, Arrival, Body, BodyParts, Browse, Capability, Checked, Confirm, ConsumeOptions, Durability,
    Feature, Fidelity, Group, Intake, Keep, Kind, LeaseGrade, Message, Name, Nobody, Object, Outcome, Place,
    Property, PublishOptions, Queue, Reason, Redrive, ReplyOptions, ReplyTo, RequestOptions, Result,
    SettleGrade, SubscribeOptions, Target, Topic, Topology, Transport, TransportExt,
};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn able() -> Capability {
    Capability {
        queue: true,
        confirm: true,
        retry_delay: true,
        send_delay: true,
        dead_letters: true,
        set_credit: true,
        priority: true,
        topic: true,
        topic_group: true,
        topic_confirm: true,
        request: true,
        no_responder: true,
        reply_stream: true,
        scatter: true,
        large_body: true,
        inspect: true,
        browse_ready: true,
        browse_dead: true,
        purge: true,
        redrive: true,
        remove: true,
        settle: SettleGrade::Confirmed,
        lease: LeaseGrade::Timed,
        max_message: Some(100),
        ..Capability::default().surviving(Durability::Replicated)
    }
}

fn checked(fake: &Arc<Fake>) -> Checked {
    Checked::new(fake.clone())
}

/// Runs one call on a bus that can do everything but what `remove` takes away, and expects a refusal that names
/// `feature` and leaves the transport untouched.
macro_rules! refused {
    ($feature:expr, $remove:expr, |$bus:ident| $call:expr) => {{
        let mut capability = able();
        let remove: fn(&mut Capability) = $remove;
        remove(&mut capability);
        let fake = Fake::new(capability);
        let $bus = checked(&fake);
        let error = $call.await.map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported($feature));
        assert_eq!(fake.calls(), 0, "{error}");
        assert!(error.to_string().contains($feature.name()), "{error}");
    }};
}

fn topic() -> Target {
    Target::Topic(name("t"))
}

fn queue() -> Target {
    Target::Queue(name("q"))
}

fn group() -> Intake {
    Intake::Group { topic: name("t"), group: name("g") }
}

#[tokio::test]
async fn k1_undeclared_topology_is_refused() {
    let with = |queue: Queue| Topology::new().queue(queue);
    refused!(Feature::Queue, |c| c.queue = false, |bus| bus.declare(&with(Queue::new(name("q")))));
    refused!(Feature::Topic, |c| c.topic = false, |bus| bus
        .declare(&Topology::new().topic(Topic::new(name("t")))));
    refused!(Feature::TopicConfirm, |c| c.topic_confirm = false, |bus| bus
        .declare(&Topology::new().topic(Topic::durable(name("t")))));
    refused!(Feature::TopicGroup, |c| c.topic_group = false, |bus| bus
        .declare(&Topology::new().group(Group::new(name("t"), name("g")))));
    refused!(Feature::Priority, |c| c.priority = false, |bus| bus
        .declare(&with(Queue::new(name("q")).with_priorities(true))));
    refused!(Feature::SurvivesPower, |c| c.durability_disk = false, |bus| bus
        .declare(&with(Queue::new(name("q")).with_durability(Durability::Disk))));
}

#[tokio::test]
async fn k1_undeclared_verbs_are_refused() {
    let message = || Message::new("x");
    refused!(Feature::Queue, |c| c.queue = false, |bus| bus.send(&name("q"), message()));
    refused!(Feature::Confirm, |c| c.confirm = false, |bus| bus.send(&name("q"), message()));
    refused!(Feature::Topic, |c| c.topic = false, |bus| bus.announce(&name("t"), message()));
    refused!(Feature::TopicConfirm, |c| c.topic_confirm = false, |bus| bus.publish(
        &topic(),
        message(),
        PublishOptions::default()
    ));
    refused!(Feature::SendDelay, |c| c.send_delay = false, |bus| bus.publish(
        &queue(),
        message(),
        PublishOptions::default().with_delay(Duration::from_secs(1))
    ));
    refused!(Feature::Topic, |c| c.topic = false, |bus| bus
        .subscribe(&name("t"), SubscribeOptions::default()));
    refused!(Feature::TopicGroup, |c| c.topic_group = false, |bus| bus
        .consume(&group(), ConsumeOptions::default()));
    refused!(Feature::TimedLease, |c| c.lease = LeaseGrade::Connection, |bus| bus
        .consume(&Intake::Queue(name("q")), ConsumeOptions::default().with_lease(Duration::from_secs(1))));
    refused!(Feature::DeadLetters, |c| c.dead_letters = false, |bus| bus
        .consume(&Intake::Queue(name("q.dead")), ConsumeOptions::default()));
    refused!(Feature::Request, |c| c.request = false, |bus| bus.request(
        &queue(),
        message(),
        RequestOptions::default()
    ));
    refused!(Feature::Scatter, |c| c.scatter = false, |bus| bus.request(
        &topic(),
        message(),
        RequestOptions::default()
    ));
    refused!(Feature::NoResponder, |c| c.no_responder = false, |bus| bus.request(
        &queue(),
        message(),
        RequestOptions::default().with_nobody(Nobody::Fail)
    ));
    refused!(Feature::ReplyStream, |c| c.reply_stream = false, |bus| bus.reply(
        &ReplyTo::new("here", "a"),
        message(),
        ReplyOptions::default().with_last(false)
    ));
}

#[tokio::test]
async fn k1_the_desk_is_checked() {
    let q = Intake::Queue(name("q"));
    refused!(Feature::Inspect, |c| c.inspect = false, |bus| bus.inspect(&q));
    refused!(Feature::BrowseReady, |c| c.browse_ready = false, |bus| bus.browse(
        &q,
        Place::Ready,
        Browse::default()
    ));
    refused!(Feature::BrowseDead, |c| c.browse_dead = false, |bus| bus.browse(
        &q,
        Place::Dead,
        Browse::default()
    ));
    refused!(Feature::Purge, |c| c.purge = false, |bus| bus.purge(&q, Place::Dead));
    refused!(Feature::Redrive, |c| c.redrive = false, |bus| bus.redrive(&q, Redrive::default()));
    refused!(Feature::Remove, |c| c.remove = false, |bus| bus.remove(&Object::Queue(name("q"))));
    // Declared, but there is no desk inside: still typed.
    let fake = Fake::new(able());
    assert!(matches!(checked(&fake).list().await.unwrap_err().kind(), Kind::Unsupported(Feature::Inspect)));
    assert!(checked(&fake).admin().is_none());
}

#[tokio::test]
async fn bad_options_are_refused() {
    let fake = Fake::new(able());
    let bus = checked(&fake);
    let none = ConsumeOptions::default().with_credit(0_u32);
    assert_eq!(bus.consume(&Intake::Queue(name("q")), none).await.unwrap_err().kind(), Kind::InvalidOption);
    let none = SubscribeOptions::default().with_buffer(0_u32);
    assert_eq!(bus.subscribe(&name("t"), none).await.unwrap_err().kind(), Kind::InvalidOption);
    let none = Topology::new().queue(Queue::new(name("q")).with_max_attempts(0_u32));
    assert_eq!(bus.declare(&none).await.unwrap_err().kind(), Kind::InvalidOption);
    assert_eq!(fake.calls(), 0);
}

#[tokio::test]
async fn a3_too_large_names_limit_and_size() {
    let fake = Fake::new(able());
    let bus = checked(&fake);
    bus.send(&name("q"), Message::new(vec![0; 100])).await.unwrap();
    let error = bus.send(&name("q"), Message::new(vec![0; 101])).await.unwrap_err();
    assert_eq!(error.kind(), Kind::TooLarge { limit: 100, size: 101 });
    let reply =
        bus.reply(&ReplyTo::new("here", "a"), Message::new(vec![0; 101]), ReplyOptions::default()).await;
    assert!(matches!(reply.unwrap_err().kind(), Kind::TooLarge { .. }));
    assert_eq!(fake.calls(), 1);
}

#[tokio::test]
async fn a9_properties_the_bus_loses_need_consent() {
    let fake = Fake::with_fidelity(able(), Fidelity::all().without(Property::Priority));
    let bus = checked(&fake);
    let message = Message::new("x").with_priority(3);
    let error = bus.send(&name("q"), message.clone()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidMessage);
    assert!(error.to_string().contains("priority"), "{error}");
    let consent = PublishOptions::default().with_accept_loss(Fidelity::none().with(Property::Priority));
    bus.publish(&queue(), message, consent).await.unwrap();
    assert_eq!(fake.calls(), 1);
}

#[tokio::test]
async fn foreign_reply_addresses_are_refused() {
    let fake = Fake::new(able());
    let bus = checked(&fake);
    let elsewhere = ReplyTo::new("elsewhere", "a");
    let sent = bus.send(&name("q"), Message::new("x").with_reply_to(elsewhere.clone())).await;
    assert_eq!(sent.unwrap_err().kind(), Kind::InvalidMessage);
    let replied = bus.reply(&elsewhere, Message::new("x"), ReplyOptions::default()).await;
    assert_eq!(replied.unwrap_err().kind(), Kind::InvalidMessage);
    let own = Message::new("x").with_reply_to(ReplyTo::new("here", "a"));
    let asked = bus.request(&queue(), own, RequestOptions::default()).await;
    assert_eq!(asked.unwrap_err().kind(), Kind::InvalidMessage);
    assert_eq!(fake.calls(), 0);
}

#[tokio::test]
async fn dead_letters_are_consumed_never_written() {
    let fake = Fake::new(able());
    let bus = checked(&fake);
    let dead = name("q.dead");
    assert_eq!(bus.send(&dead, Message::new("x")).await.unwrap_err().kind(), Kind::InvalidName);
    let declare = bus.declare(&Topology::new().queue(Queue::new(dead.clone()))).await;
    assert_eq!(declare.unwrap_err().kind(), Kind::InvalidName);
    assert_eq!(fake.calls(), 0);
    bus.consume(&Intake::Queue(dead), ConsumeOptions::default()).await.unwrap();
}

#[derive(Debug)]
struct Large;

#[async_trait::async_trait]
impl BodyParts for Large {
    fn len(&self) -> u64 {
        1 << 40
    }
    async fn part(&self, _offset: u64, _max: usize) -> Result<Bytes> {
        Ok(Bytes::new())
    }
}

#[tokio::test]
async fn large_bodies_lie_beside_the_limit_where_declared() {
    let message = || Message::new(Body::parts(Arc::new(Large)));
    refused!(Feature::LargeBody, |c| c.large_body = false, |bus| bus.send(&name("q"), message()));
    let fake = Fake::new(able());
    let bus = checked(&fake);
    let error = bus.announce(&name("t"), message()).await.unwrap_err();
    assert_eq!((error.kind(), fake.calls()), (Kind::InvalidMessage, 0), "a topic's copies would share it");
    let head = Message::new(Body::headed(vec![0; 101], Arc::new(Large)));
    assert!(matches!(
        bus.send(&name("q"), head).await.unwrap_err().kind(),
        Kind::TooLarge { limit: 100, .. }
    ));
}

/// A refused settle has consumed the delivery already: it must go back, or the refusal loses a message.
#[tokio::test]
async fn a_refused_settle_gives_the_message_back() {
    let fake = Fake::new(Capability { retry_delay: false, dead_letters: false, ..able() });
    let bus = checked(&fake);
    let mut incoming = bus.consume(&Intake::Queue(name("q")), ConsumeOptions::default()).await.unwrap();
    let reject = Outcome::Reject { reason: Reason::Decode, error: None, keep: Keep::Body };
    let outcomes = [
        (Outcome::Retry { after: Duration::from_secs(1), error: None }, Some(Feature::RetryDelay), "Release"),
        (reject, Some(Feature::DeadLetters), "Release"),
        (Outcome::Retry { after: Duration::ZERO, error: None }, None, "Retry"),
        (Outcome::Ack, None, "Ack"),
    ];
    for (outcome, missing, seen) in outcomes {
        let Some(Arrival::Item(delivery)) = incoming.next().await else { panic!("no delivery") };
        let result = delivery.settle(outcome).await;
        match missing {
            Some(feature) => assert_eq!(result.unwrap_err().kind(), Kind::Unsupported(feature)),
            None => result.unwrap(),
        }
        assert_eq!(fake.last_outcome(), seen);
    }
    let Some(Arrival::Item(delivery)) = incoming.next().await else { panic!("no delivery") };
    drop(delivery);
    assert_eq!(fake.last_outcome(), "Dropped");
}

#[tokio::test]
async fn weak_verbs_say_what_they_are_worth() {
    let fake = Fake::new(Capability { confirm: false, ..able() });
    let bus = checked(&fake);
    let handed = bus.send_unconfirmed(&name("q"), Message::new("x")).await.unwrap();
    assert!(handed.confirmed().is_none());
    let able_only = PublishOptions::default().with_confirm(Confirm::WhereAble);
    bus.publish(&queue(), Message::new("x"), able_only).await.unwrap();
    assert_eq!(fake.calls(), 2);
}
