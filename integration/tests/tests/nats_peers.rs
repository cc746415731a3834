//! NATS programs at the other end: nats-py, and the text protocol alone. They know frames, and nothing else of Polybus.

use std::process::{Command, Output};

use polybus_brokers::Kind;
use polybus_tests::{Background, Error, House};

const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/nats_peer.py");

const MAP: &str = "192.0.2.0/24|ALPHA|CITYA\n";

fn house() -> Result<House, Error> {
    let found = Command::new("python3").args(["-c", "import nats"]).output()?;
    assert!(found.status.success(), "NOT RUN: install the Python package nats-py, for example with pip");
    let house = House::new(Kind::NATS)?;
    house.desk.file("map.txt", MAP)?;
    house.desk.file("text", "192.0.2.1 and more\n")?;
    Ok(house)
}

fn peer(house: &House, words: &str) -> Command {
    let mut command = Command::new("python3");
    command.arg(PEER).args(words.split(' ')).current_dir(house.desk.path("."));
    command.env("NATS_PEER_URL", house.broker.url());
    command
}

/// Asks until there is an answer: a door opens beside its worker, perhaps a moment later.
fn answered(house: &House, words: &str) -> Result<Output, Error> {
    for _ in 0..50 {
        let output = peer(house, words).output()?;
        if output.status.success() {
            return Ok(output);
        }
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains("NoRespondersError") || told.contains("Connection"), "{told}");
    }
    Err("no door was opened".into())
}

#[test]
fn a_plain_request_gets_its_answer_at_the_door() -> Result<(), Error> {
    let house = house()?;
    let server =
        house.serve(&format!("polybus serve anon crosscor --nats-door {}", house.flag()), "anon", "anon")?;
    house.desk.until_success(&format!("polybus call crosscor --field usage=true {}", house.flag()), "")?;
    // The door opens beside the worker.
    let mut monitor = house.desk.start(&format!("polybus log tail {}", house.flag()))?;
    monitor.tells("Waiting for logs")?;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let output = answered(&house, &format!("request anon text map.txt {parent}"))?;
    assert_eq!(output.stdout, b"[_CITYA_] and more\n");
    let line = monitor.prints("side=server")?;
    assert!(line.contains("trace_id=0af7651916cd43dd8448eb211c80319c"), "{line}");

    // No frame, and not even a library: an answer all the same.
    let output = peer(&house, "raw anon_0.5.5").output()?;
    let text = String::from_utf8(output.stdout)?;
    assert!(output.status.success() && text.contains("retcode"), "{text} {:?}", output.stderr);
    discovered(&house)?;
    let (code, told) = server.terminate()?;
    assert_eq!(code, Some(0), "{told}");
    // With the server its door is gone, which NATS says itself.
    let output = peer(&house, "request anon text map.txt").output()?;
    let told = String::from_utf8(output.stderr)?;
    assert!(!output.status.success() && told.contains("NoRespondersError"), "{told}");
    Ok(())
}

fn discovered(house: &House) -> Result<(), Error> {
    let output = peer(house, "discover anon").output()?;
    let told = String::from_utf8(output.stdout)?;
    assert!(output.status.success(), "{told} {}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<_> = told.lines().collect();
    assert_eq!((lines.len(), lines.last()), (5, Some(&"one instance")), "{told}");
    let said = |line: usize| serde_json::from_str::<serde_json::Value>(lines[line]);
    assert_eq!(said(0)?, said(1)?, "of all and by name the same");
    let (ping, info, stats) = (said(1)?, said(2)?, said(3)?);
    for (answer, kind) in [(&ping, "ping"), (&info, "info"), (&stats, "stats")] {
        assert_eq!(answer["type"], format!("io.nats.micro.v1.{kind}_response"));
        assert_eq!((&answer["name"], &answer["id"]), (&"anon".into(), &ping["id"]));
        assert_eq!(answer["metadata"]["protocol"], "0.5.5");
        assert_eq!(answer["version"].as_str().map(|version| version.split('.').count()), Some(3));
    }
    assert_eq!(info["endpoints"][0]["subject"], "anon_0.5.5");
    assert_eq!(info["endpoints"][0]["queue_group"], "q");
    let endpoint = &stats["endpoints"][0];
    assert!(endpoint["num_requests"].as_u64() >= Some(2), "{stats}");
    assert!(endpoint["average_processing_time"].as_u64() > Some(0), "{stats}");
    assert!(endpoint["num_errors"].as_u64() >= Some(1), "the request that was no frame: {stats}");
    assert!(stats["started"].as_str().is_some_and(|started| started.ends_with('Z')), "{stats}");
    Ok(())
}

#[test]
fn the_door_opens_again_after_the_server_was_away() -> Result<(), Error> {
    let house = house()?;
    let line = format!("polybus serve anon --nats-door {}", house.flag());
    let _server = house.serve(&line, "anon", "anon")?;
    house.kill()?;
    house.restart()?;
    house.desk.until_success(&format!("polybus call anon --field usage=true {}", house.flag()), "")?;
    let output = answered(&house, "request anon text map.txt")?;
    assert_eq!(output.stdout, b"[_CITYA_] and more\n");
    Ok(())
}

/// What a Polybus client gets in parts, a program that knows nothing of them cannot read: it is told, and the worker goes on.
#[test]
fn an_answer_that_does_not_fit_is_told_at_the_door() -> Result<(), Error> {
    let house = house()?;
    house.desk.file("sites.txt", "2001:db8::/32|ALPHA|CITYA\n")?;
    // It fits into a message of 1 MiB, and what comes of it does not.
    let addresses: Vec<String> = (0x1000..0xc800).map(|number| format!("2001:db8::{number:x}\n")).collect();
    house.desk.file("many", addresses.concat())?;
    let _server = house.serve(&format!("polybus serve anon --nats-door {}", house.flag()), "anon", "anon")?;
    assert_eq!(answered(&house, "request anon text map.txt")?.stdout, b"[_CITYA_] and more\n");

    let output = peer(&house, "classify anon many sites.txt").output()?;
    let told = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(65), "{told}");
    assert!(
        output.stdout.is_empty() && told.contains("too-large") && told.contains("the limit is"),
        "{told}"
    );

    assert_eq!(answered(&house, "request anon text map.txt")?.stdout, b"[_CITYA_] and more\n");
    let output = house.desk.run(&format!("polybus anon -J -r many -m sites.txt {}", house.flag()), "")?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.len() > 1 << 19 && output.stdout.starts_with(b"{\"matching\":{\"CITYA\":{"));
    Ok(())
}

#[test]
fn a_nats_program_serves_a_polybus_client_and_shares_the_log() -> Result<(), Error> {
    let house = house()?;
    let flag = house.flag();
    let listener = Background::start(peer(&house, "logs 1000"))?;
    listener.prints("listening")?;
    // The queue is made by a server of ours, which then leaves it to another.
    assert_eq!(house.serve(&format!("polybus serve anon {flag}"), "anon", "anon")?.terminate()?.0, Some(0));
    listener.prints("side=server")?;
    let server = Background::start(peer(&house, "server anon"))?;
    server.prints("serving anon_0.5.5")?;
    let output = house.desk.run(&format!("polybus anon -r text -m map.txt {flag} --timeout 60"), "")?;
    assert_eq!(output.stdout, b"192.0.2.1 AND MORE\n", "{}", String::from_utf8_lossy(&output.stderr));
    listener.prints("side=client")?;

    let mut ours = house.desk.start(&format!("polybus log tail {flag}"))?;
    ours.tells("Waiting for logs")?;
    assert!(peer(&house, "say a-line-of-a-stranger").output()?.status.success());
    ours.prints("a-line-of-a-stranger")?;
    Ok(())
}

#[test]
fn a_door_is_refused_on_other_buses() -> Result<(), Error> {
    let desk = polybus_tests::Desk::new()?;
    let output = desk.run("polybus serve anon --nats-door --bus amqp://mq.example.org:1", "")?;
    let told = String::from_utf8(output.stderr)?;
    assert!(output.status.code() == Some(78) && told.contains("no NATS bus"), "{told}");
    Ok(())
}
