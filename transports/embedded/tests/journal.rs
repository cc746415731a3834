//! A bus that keeps a journal: what outlives it, who may open it, what it says of itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{bus_at, consume, declare, intake, jobs, kind, name, next, send, text};
use polybus_contract::{
    Arrival, AttemptGrade, Browse, Confirm, ConsumeOptions, Durability, Group, Incoming, Intake, Kind, Link,
    Message, MessageId, Place, PublishOptions, Queue, Reason, Receipt, Redrive, Status, Target, Topic,
    Topology, Transport, TransportExt, WhenFull,
};
use polybus_embedded::Embedded;
use tempfile::TempDir;

fn url(directory: &TempDir) -> String {
    format!("embedded://{}?segment=65536", directory.path().display())
}

fn fresh() -> TempDir {
    tempfile::tempdir().unwrap()
}

async fn all_texts(incoming: &mut Incoming<polybus_contract::Delivery>, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..count {
        texts.push(text(next(incoming).await.message()));
    }
    texts
}

#[tokio::test]
async fn h1_confirmed_messages_outlive_the_bus() {
    let directory = fresh();
    let bus = bus_at(&url(&directory));
    declare(&bus, Queue::new(jobs())).await;
    for body in ["a", "b", "c"] {
        send(&bus, body).await;
    }
    let mut deliveries = consume(&bus, 1).await;
    next(&mut deliveries).await.ack().await.unwrap();
    assert!(bus.drain(Duration::from_secs(5)).await.is_clean());
    drop((deliveries, bus));

    let bus = bus_at(&url(&directory));
    let mut deliveries = consume(&bus, 9).await;
    assert_eq!(all_texts(&mut deliveries, 2).await, ["b", "c"]);
}

#[tokio::test]
async fn a8_attempts_survive_and_leases_end_with_the_bus() {
    let directory = fresh();
    let bus = bus_at(&url(&directory));
    declare(&bus, Queue::new(jobs())).await;
    send(&bus, "x").await;
    for attempt in 1..4 {
        let bus = bus_at(&url(&directory));
        let mut deliveries = consume(&bus, 1).await;
        let delivery = next(&mut deliveries).await;
        assert_eq!(delivery.attempt(), attempt);
        delivery.retry(Duration::ZERO).await.unwrap();
        drop(deliveries);
    }
    drop(bus);
    let bus = bus_at(&url(&directory));
    let mut deliveries = consume(&bus, 1).await;
    let delivery = next(&mut deliveries).await;
    assert_eq!(delivery.attempt(), 4);
    // Neither settled nor dropped in an orderly way: as a crash leaves it.
    std::mem::forget(delivery);
    drop((deliveries, bus));
}

#[tokio::test]
async fn e1_dead_letters_keep_reason_and_id_and_can_be_redriven_later() {
    let directory = fresh();
    let id = MessageId::from("job-7");
    {
        let bus = bus_at(&url(&directory));
        declare(&bus, Queue::new(jobs())).await;
        bus.send(&jobs(), Message::new("x").with_id(id.clone())).await.unwrap();
        let mut deliveries = consume(&bus, 1).await;
        next(&mut deliveries).await.reject(Reason::Decode, "no JSON").await.unwrap();
    }
    let bus = bus_at(&url(&directory));
    let desk = bus.admin().unwrap();
    let page = desk.browse(&intake(), Place::Dead, Browse::default()).await.unwrap();
    let message = &page.messages[0].message;
    let death = message.death().unwrap();
    assert_eq!(
        (message.id(), &death.reason, death.error.as_deref()),
        (Some(&id), &Reason::Decode, Some("no JSON"))
    );
    assert_eq!(desk.redrive(&intake(), Redrive::default()).await.unwrap().moved, 1);
    drop(bus);
    let bus = bus_at(&url(&directory));
    let mut deliveries = consume(&bus, 1).await;
    let delivery = next(&mut deliveries).await;
    assert_eq!((delivery.message().id(), delivery.attempt()), (Some(&id), 1));
}

#[tokio::test]
async fn groups_and_topics_come_back() {
    let directory = fresh();
    let topology =
        Topology::new().topic(Topic::durable(name("news"))).group(Group::new(name("news"), name("desk")));
    let group = Intake::Group { topic: name("news"), group: name("desk") };
    {
        let bus = bus_at(&url(&directory));
        bus.declare(&topology).await.unwrap();
        let receipt =
            bus.publish(&Target::Topic(name("news")), Message::new("n"), PublishOptions::default()).await;
        assert_eq!(receipt.unwrap().confirmed().unwrap().durability, Durability::Disk);
    }
    let bus = bus_at(&url(&directory));
    assert!(bus.declare(&topology).await.unwrap().created.is_empty());
    let mut deliveries = bus.consume(&group, ConsumeOptions::default()).await.unwrap();
    assert_eq!(text(next(&mut deliveries).await.message()), "n");
}

#[tokio::test]
async fn it_says_what_it_survives() {
    let directory = fresh();
    let path = directory.path().display();
    for (url, durability) in [
        (format!("embedded://{path}"), Durability::Disk),
        (format!("embedded://{path}?sync=50"), Durability::Process),
    ] {
        let bus = bus_at(&url);
        let capability = bus.profile().capability;
        assert_eq!((capability.durability(), capability.attempts), (durability, AttemptGrade::Counted));
        declare(&bus, Queue::new(jobs()).with_durability(Durability::Process)).await;
        let disk = Topology::new().queue(Queue::new(name("d")).with_durability(Durability::Disk));
        assert_eq!(bus.declare(&disk).await.is_ok(), durability == Durability::Disk);
        let confirmed = bus.send(&jobs(), Message::new("x")).await.unwrap();
        assert_eq!(confirmed.durability, durability);
    }
}

#[tokio::test]
async fn synced_from_time_to_time_it_still_survives_the_process() {
    let directory = fresh();
    let url = format!("embedded://{}?sync=3600000", directory.path().display());
    let bus = bus_at(&url);
    declare(&bus, Queue::new(jobs())).await;
    send(&bus, "x").await;
    // Read as another process would, without an end of this one.
    let copy = fresh();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let other = bus_at(&format!("embedded://{}", copy.path().display()));
    let mut deliveries = consume(&other, 1).await;
    assert_eq!(all_texts(&mut deliveries, 1).await, ["x"]);
}

#[tokio::test]
async fn one_directory_is_one_bus_and_one_process() {
    let directory = fresh();
    let (first, second) = (bus_at(&url(&directory)), bus_at(&url(&directory)));
    declare(&first, Queue::new(jobs())).await;
    send(&second, "x").await;
    let mut deliveries = consume(&first, 1).await;
    assert_eq!(all_texts(&mut deliveries, 1).await, ["x"]);

    let other = Embedded::from_url(&format!("embedded://{}", directory.path().display()));
    assert_eq!(kind(other.map(drop)), Some(Kind::Conflict), "the same directory with other options");

    let link = fresh();
    let alias = link.path().join("alias");
    std::os::unix::fs::symlink(directory.path(), &alias).unwrap();
    let other = bus_at(&format!("embedded://{}", alias.display()));
    let error = other.connect(Duration::from_secs(30)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict, "{error}");
    let text = error.to_string();
    assert!(text.contains("alias") && text.contains(&std::process::id().to_string()), "{text}");
    drop((first, second, deliveries));
    other.connect(Duration::from_secs(30)).await.unwrap();
}

#[tokio::test]
async fn a_bus_that_was_dropped_can_be_opened_at_once() {
    let directory = fresh();
    for turn in 0..20_u32 {
        let bus = bus_at(&url(&directory));
        declare(&bus, Queue::new(jobs())).await;
        send(&bus, &turn.to_string()).await;
    }
    let bus = bus_at(&url(&directory));
    let info = bus.admin().unwrap().inspect(&intake()).await.unwrap();
    assert_eq!(info.ready, Some(20));
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_named() {
    let directory = fresh();
    let file = directory.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let bus = bus_at(&format!("embedded://{}", file.display()));
    let error = bus.send(&jobs(), Message::new("x")).await.unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
}

#[tokio::test]
async fn damage_is_named_and_set_aside_only_on_demand() {
    let directory = fresh();
    {
        let bus = bus_at(&url(&directory));
        declare(&bus, Queue::new(jobs())).await;
        for number in 0..50_u32 {
            send(&bus, &number.to_string()).await;
        }
    }
    let segment = directory.path().join("0000000000000001.journal");
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.len() / 30;
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let error = bus_at(&url(&directory)).connect(Duration::from_secs(30)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Protocol);
    for word in ["0000000000000001.journal", "damaged at byte", "messages", "set-aside"] {
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
    let bus = Embedded::from_url(&format!("{}&damaged=set-aside", url(&directory))).unwrap();
    bus.connect(Duration::from_secs(30)).await.unwrap();
    let recovered = bus.recovered().unwrap();
    let damage = recovered.set_aside.unwrap();
    let info = bus.admin().unwrap().inspect(&intake()).await.unwrap();
    assert_eq!(info.ready, Some(damage.messages));
    assert!(damage.messages > 0 && damage.messages < 50, "{damage}");
    assert!(directory.path().join("0000000000000001.journal.damaged").exists());
    // Whoever runs the program is told what was kept and what was not, once.
    let notes = bus.health().notes;
    for word in [format!("kept {} messages", damage.messages), "cannot be used".to_owned()] {
        assert!(notes.len() == 1 && notes[0].contains(&word), "{word}: {notes:?}");
    }
    drop(bus);
    let again = bus_at(&url(&directory));
    again.connect(Duration::from_secs(30)).await.unwrap();
    assert!(again.health().notes.is_empty());
}

#[tokio::test]
async fn unconfirmed_sends_are_handed_over() {
    let directory = fresh();
    let bus = bus_at(&url(&directory));
    declare(&bus, Queue::new(jobs())).await;
    let options = PublishOptions::default().with_confirm(Confirm::No);
    let receipt = bus.publish(&Target::Queue(jobs()), Message::new("x"), options).await.unwrap();
    assert!(matches!(receipt, Receipt::Handed(_)), "{receipt:?}");
    assert!(bus.drain(Duration::from_secs(30)).await.is_clean());
    drop(bus);
    let bus = bus_at(&url(&directory));
    let mut deliveries = consume(&bus, 1).await;
    assert_eq!(all_texts(&mut deliveries, 1).await, ["x"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c1_many_senders_and_consumers_lose_nothing_over_restarts() {
    let directory = fresh();
    let mut seen = std::collections::BTreeSet::new();
    for turn in 0..4_u32 {
        let bus = bus_at(&url(&directory));
        declare(&bus, Queue::new(jobs())).await;
        let senders: Vec<_> = (0..8_u32)
            .map(|sender| {
                let bus = bus.clone();
                tokio::spawn(async move {
                    for number in 0..100_u32 {
                        send(&bus, &format!("{turn} {sender} {number}")).await;
                    }
                })
            })
            .collect();
        let mut deliveries = consume(&bus, 32).await;
        // Half of them now, the rest in the next life.
        for _ in 0..400 {
            let delivery = next(&mut deliveries).await;
            assert!(seen.insert(text(delivery.message())), "twice");
            delivery.ack().await.unwrap();
        }
        for sender in senders {
            sender.await.unwrap();
        }
    }
    let bus = bus_at(&url(&directory));
    let mut deliveries = consume(&bus, 32).await;
    while seen.len() < 4 * 800 {
        let delivery = next(&mut deliveries).await;
        seen.insert(text(delivery.message()));
        delivery.ack().await.unwrap();
    }
    let info = bus.admin().unwrap().inspect(&intake()).await.unwrap();
    assert_eq!((info.ready, info.leased), (Some(0), Some(0)));
}

/// A real file system without room, where this process may mount one.
#[tokio::test]
async fn h2_j8_a_full_disk_holds_senders_back_and_recovers() {
    let directory = fresh();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
        .arg(directory.path())
        .stderr(std::process::Stdio::null())
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        // Without the right to mount there is no disk to fill; the same is proven on a disk in memory.
        return;
    }
    let mounted = Mounted(directory);
    full_disk(&url(&mounted.0)).await;
}

struct Mounted(TempDir);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0.path()).status();
    }
}

async fn full_disk(url: &str) {
    let bus = bus_at(url);
    declare(&bus, Queue::new(jobs())).await;
    let body = vec![7_u8; 8000];
    let mut confirmed = 0;
    let error = loop {
        match bus.send(&jobs(), Message::new(body.clone())).await {
            Ok(_) => confirmed += 1,
            Err(error) => break error,
        }
        assert!(confirmed < 1000);
    };
    assert_eq!((error.kind(), error.status()), (Kind::Full, Status::Temporary), "{error}");
    assert!(confirmed > 50, "{confirmed}");
    assert_eq!(bus.health().link, Link::Blocked);

    let waiting = {
        let (bus, body) = (bus.clone(), body.clone());
        let wait =
            PublishOptions::default().with_when_full(WhenFull::Wait).with_within(Duration::from_mins(1));
        tokio::spawn(async move { bus.publish(&Target::Queue(jobs()), Message::new(body), wait).await })
    };
    let mut deliveries = consume(&bus, 8).await;
    for _ in 0..confirmed {
        next(&mut deliveries).await.ack().await.unwrap();
    }
    waiting.await.unwrap().unwrap();
    let delivery = next(&mut deliveries).await;
    assert_eq!(delivery.message().body().len(), 8000);
    drop((delivery, deliveries, bus));
    let bus = bus_at(url);
    let info = bus.admin().unwrap().inspect(&intake()).await.unwrap();
    assert_eq!(info.ready, Some(1), "what was acked is gone, what was confirmed is there");
}

#[tokio::test]
async fn requests_are_answered_over_a_journal() {
    let directory = fresh();
    let bus = bus_at(&url(&directory));
    declare(&bus, Queue::new(jobs())).await;
    let server = {
        let bus = bus.clone();
        tokio::spawn(async move {
            let mut deliveries = consume(&bus, 1).await;
            let delivery = next(&mut deliveries).await;
            let to = delivery.message().reply_to().unwrap().clone();
            bus.reply(&to, Message::new("pong"), polybus_contract::ReplyOptions::default()).await.unwrap();
            delivery.ack().await.unwrap();
        })
    };
    let mut replies = bus
        .request(&Target::Queue(jobs()), Message::new("ping"), polybus_contract::RequestOptions::default())
        .await
        .unwrap();
    let Some(Arrival::Item(reply)) = replies.next().await else { panic!("{:?}", replies.end()) };
    assert_eq!(text(&reply.message), "pong");
    server.await.unwrap();
    let _ = Arc::strong_count(&bus);
}
