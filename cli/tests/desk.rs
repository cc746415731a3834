//! `polybus queues` and `polybus dead` on a directory with a journal that another process has left.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests end at the first surprise")]

use std::path::Path;
use std::process::{Command, Output};

use polybus::{Arrival, Bus, ConsumeOptions, Intake, Message, Name, Queue, Reason, Topology, TransportExt};
use serde_json::Value;

fn polybus(bus: &str, words: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_polybus"));
    command.args(words.split(' ')).args(["--bus", bus]).env_clear().output().unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(bus: &str, words: &str) -> Value {
    serde_json::from_str(&text(&polybus(bus, &format!("{words} --json")))).unwrap()
}

fn jobs() -> Name {
    Name::new("jobs").unwrap()
}

/// Five jobs, of which the first three are rejected.
#[tokio::main(flavor = "current_thread")]
async fn three_of_five_die(url: &str) {
    let bus = Bus::open(url).unwrap();
    let bus = bus.transport();
    bus.declare(&Topology::new().queue(Queue::new(jobs()))).await.unwrap();
    for number in 0..5 {
        let message = Message::new(format!("body {number}")).with_id(&*format!("m-{number}"));
        bus.send(&jobs(), message).await.unwrap();
    }
    let mut deliveries = bus.consume(&Intake::Queue(jobs()), ConsumeOptions::default()).await.unwrap();
    for _ in 0..3 {
        let Some(Arrival::Item(delivery)) = deliveries.next().await else { panic!("no job") };
        delivery.reject(Reason::Decode, "not a job").await.unwrap();
    }
    drop(deliveries);
    bus.drain(std::time::Duration::from_secs(10)).await;
}

fn figures(bus: &str) -> (u64, u64) {
    let queue = &json(bus, "queues")[0];
    (queue["ready"].as_u64().unwrap(), queue["dead"].as_u64().unwrap())
}

#[test]
fn e3_dead_letters_are_listed_shown_redriven_and_purged() {
    let folder = tempfile::tempdir().unwrap();
    let bus = &format!("embedded://{}", folder.path().join("bus").display());
    three_of_five_die(bus);
    assert_eq!(figures(bus), (2, 3));
    let list = text(&polybus(bus, "dead list jobs"));
    for word in ["m-0", "m-1", "m-2", "decode", "not a job"] {
        assert!(list.contains(word), "{word}: {list}");
    }
    assert_eq!(text(&polybus(bus, "dead show jobs m-1 --body")), "body 1");
    let shown = text(&polybus(bus, "dead show jobs m-1"));
    assert!(shown.contains("decode") && shown.contains("jobs"), "{shown}");
    let moved = json(bus, "dead redrive jobs --id m-1");
    assert_eq!((&moved["moved"], &moved["left"]), (&1.into(), &2.into()));
    assert_eq!(figures(bus), (3, 2));
    let moved = json(bus, "dead redrive jobs --max 1");
    assert_eq!((&moved["moved"], &moved["left"]), (&1.into(), &1.into()));
    let unsure = polybus(bus, "dead purge jobs");
    assert_eq!(unsure.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unsure.stderr).contains("--yes"));
    assert_eq!(figures(bus), (4, 1));
    text(&polybus(bus, "dead purge jobs --yes"));
    assert_eq!(figures(bus), (4, 0));
}

fn first_segment(folder: &Path) -> std::path::PathBuf {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|end| end == "journal")).min().unwrap()
}

#[test]
fn damage_is_told_with_what_is_kept_and_what_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("bus");
    let bus = &format!("embedded://{}", folder.display());
    three_of_five_die(bus);
    let segment = first_segment(&folder);
    let mut bytes = std::fs::read(&segment).unwrap();
    // In the middle of what is written, behind the first sends.
    let written = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[written / 2] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    for words in ["queues", "dead list jobs", "dead redrive jobs"] {
        let refused = polybus(bus, words);
        assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
        let said = String::from_utf8(refused.stderr).unwrap();
        for word in ["is damaged at byte", "messages", "cannot be used", "nothing was changed", "set-aside"] {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
    let aside = polybus(&format!("{bus}?damaged=set-aside"), "queues");
    let said = String::from_utf8_lossy(&aside.stderr).into_owned();
    assert!(aside.status.success(), "{said}");
    for word in ["kept ", "set aside as *.damaged", "cannot be used"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let after = polybus(bus, "queues");
    assert!(after.status.success() && after.stderr.is_empty(), "told once: {after:?}");
}
