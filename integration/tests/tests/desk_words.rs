//! `polybus queues` and `polybus dead` say the same on every bus: the same words, figures and exit codes.

use std::process::Command;
use std::time::Instant;

use polybus_brokers::Kind;
use polybus_tests::{Error, House, Nats, PATIENCE, examined};
use serde_json::{Value, json};

const QUEUE: &str = "anon_0.5.5";

/// Puts a body that is no frame into the queue.
type Send = fn(&House) -> Result<(), Error>;

fn by_pika(house: &House) -> Result<(), Error> {
    let code = "import os, pika\n\
                bus = pika.BlockingConnection(pika.URLParameters(os.environ['URL']))\n\
                bus.channel().basic_publish('', 'anon_0.5.5', b'no frame')\n\
                bus.close()";
    let output = Command::new("python3").args(["-c", code]).env("URL", house.broker.url()).output()?;
    assert!(output.status.success(), "pika is needed: {output:?}");
    Ok(())
}

fn by_nats(house: &House) -> Result<(), Error> {
    let (user, password) = house.broker.login();
    Nats::connect(&house.broker.address(), user, password)?
        .ask("polybus.q.anon_0.5.5", &json!("no frame"))
        .map(drop)
}

fn json_of(house: &House, words: &str) -> Result<Value, Error> {
    let output = house.desk.run(&format!("polybus {words} --json {}", house.flag()), "")?;
    assert!(output.status.success(), "{words}: {output:?}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What waits, and what is dead, as soon as it is this.
fn until(house: &House, ready: u64, dead: u64) -> Result<Value, Error> {
    let began = Instant::now();
    loop {
        let figures = json_of(house, &format!("queues {QUEUE}"))?[0].take();
        if (&figures["ready"], &figures["dead"]) == (&json!(ready), &json!(dead)) {
            return Ok(figures);
        }
        assert!(began.elapsed() < PATIENCE, "{ready} ready and {dead} dead are expected: {figures}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// Runs a command that must end with this code, with this word on standard error.
fn ends(house: &House, words: &str, code: i32, word: &str) -> Result<(), Error> {
    let output = house.desk.run(&format!("polybus {words} {}", house.flag()), "")?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{words}: {told}");
    assert!(told.contains(word), "{words}: {told}");
    Ok(())
}

fn speaks(kind: Kind, send: Send) -> Result<(), Error> {
    let house = House::new(kind)?;
    ends(&house, "queues nothing_here", 1, "not found")?;
    let server =
        house.serve(&format!("polybus serve anon --dead-letter full {}", house.flag()), "anon", "anon")?;
    for _ in 0..3 {
        send(&house)?;
    }
    let figures = until(&house, 0, 3)?;
    let found = examined(&house.desk, &format!("anon {}", house.flag()))?;
    found.names("dead-letters-waiting", "notice", "dead letters of queue anon_0.5.5", "3 messages")?;
    let keys: Vec<_> = figures.as_object().ok_or("an object")?.keys().cloned().collect();
    let mut wanted =
        ["queue", "ready", "delayed", "leased", "dead", "bytes", "consumers", "oldest"].map(str::to_owned);
    wanted.sort();
    assert_eq!(keys, wanted);
    assert_eq!(server.terminate()?.0, Some(0));
    letters(&house)?;
    let moved = json_of(&house, &format!("dead redrive {QUEUE} --max 1"))?;
    assert_eq!((&moved["moved"], &moved["left"]), (&json!(1), &json!(2)), "{moved}");
    until(&house, 1, 2)?;
    ends(&house, &format!("dead purge {QUEUE}"), 1, "--yes")?;
    until(&house, 1, 2)?;
    ends(&house, &format!("dead purge {QUEUE} --yes"), 0, "")?;
    until(&house, 1, 0)?;
    ends(&house, "dead purge nothing_here --yes", 1, "not found")
}

/// The dead letters as they are listed and shown.
fn letters(house: &House) -> Result<(), Error> {
    let output = house.desk.run(&format!("polybus dead list {QUEUE} --json {}", house.flag()), "")?;
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout)?;
    let letters = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    assert_eq!(letters.len(), 3, "{text}");
    for letter in &letters {
        assert_eq!(
            (&letter["death"]["reason"], &letter["death"]["queue"]),
            (&json!("decode"), &json!(QUEUE)),
            "{letter}"
        );
        let id = letter["id"].as_str().ok_or("an id")?;
        let shown = json_of(house, &format!("dead show {QUEUE} {id}"))?;
        assert_eq!(shown["id"], letter["id"]);
    }
    Ok(())
}

#[test]
fn rabbitmq() -> Result<(), Error> {
    speaks(Kind::RABBITMQ, by_pika)
}

#[test]
fn nats() -> Result<(), Error> {
    speaks(Kind::NATS, by_nats)
}
