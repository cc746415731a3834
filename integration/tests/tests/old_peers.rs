//! Old programs at the other end: a small one of our own in Python, with the client library that they use and their
//! frames, which knows nothing of Polybus.

use std::process::Command;

use polybus_brokers::Kind;
use polybus_tests::{Background, Error, House};

const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/old_peer.py");

const MAP: &str = "192.0.2.0/24|ALPHA|CITYA\n";

fn house() -> Result<House, Error> {
    let found = Command::new("python3").args(["-c", "import pika"]).output()?;
    assert!(found.status.success(), "NOT RUN: install the Python package pika, for example with pip");
    let house = House::new(Kind::RABBITMQ)?;
    house.desk.file("map.txt", MAP)?;
    house.desk.file("text", "192.0.2.1 and more\n")?;
    Ok(house)
}

/// The peer with these words; its vhost is written as pika wants it.
fn peer(house: &House, words: &str) -> Command {
    let mut command = Command::new("python3");
    command.arg(PEER).args(words.split(' ')).current_dir(house.desk.path("."));
    command.env("OLD_PEER_URL", house.broker.url());
    command
}

#[test]
fn an_old_client_asks_a_polybus_worker() -> Result<(), Error> {
    let house = house()?;
    // The peer declares with the old flags, so the exchange must have them.
    let monitor = Background::start(peer(&house, "logs 100"))?;
    monitor.prints("listening")?;
    for server in ["polybus serve anon", "anon_server"] {
        let serving = house.serve(&format!("{server} {}", house.flag()), "anon", "anon")?;
        let output = peer(&house, "client anon text map.txt").output()?;
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"[_CITYA_] and more\n"[..]));
        assert_eq!(serving.terminate()?.0, Some(0));
    }
    // Numbers as texts, booleans as Python prints them, null for what it did not know.
    let server = house.serve(&format!("polybus serve anon {}", house.flag()), "anon", "anon")?;
    let output = peer(&house, "client anon text map.txt --loose").output()?;
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"[_CITYA_] and more\n"[..]));
    drop(server);
    // It sees our lines, and we see its own.
    monitor.prints("side=server")?;
    let mut ours = house.desk.start(&format!("polybus log tail {}", house.flag()))?;
    ours.tells("Waiting for logs")?;
    let server = house.serve(&format!("polybus serve anon {}", house.flag()), "anon", "anon")?;
    assert!(peer(&house, "client anon text map.txt").output()?.status.success());
    ours.prints("asked anon")?;
    drop(server);
    Ok(())
}

#[test]
fn a_polybus_client_asks_an_old_server() -> Result<(), Error> {
    let house = house()?;
    for options in ["", " --without-correlation", " --loose"] {
        let server = Background::start(peer(&house, &format!("server anon{options}")))?;
        server.prints("serving anon_0.5.5")?;
        for client in ["polybus anon", "anon_client"] {
            let line = format!("{client} -r text -m map.txt {} --timeout 30", house.flag());
            let output = house.desk.run(&line, "")?;
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{client}{options}");
            assert_eq!(output.stdout, b"192.0.2.1 AND MORE\n", "{client}{options}");
        }
        drop(server);
    }
    Ok(())
}

#[test]
fn an_old_server_may_come_after_an_old_name_of_ours() -> Result<(), Error> {
    let house = house()?;
    let ours = house.serve(&format!("anon_server {}", house.flag()), "anon", "anon")?;
    // Its queue has the old flags and no arguments: an old server that declares it is not refused.
    let old = Background::start(peer(&house, "server anon"))?;
    old.prints("serving anon_0.5.5")?;
    assert_eq!(ours.terminate()?.0, Some(0));
    let output = house.desk.run(&format!("polybus anon -r text -m map.txt {}", house.flag()), "")?;
    assert_eq!(output.stdout, b"192.0.2.1 AND MORE\n");
    Ok(())
}

#[test]
fn an_old_server_sees_a_trace_as_headers_and_nothing_without_one() -> Result<(), Error> {
    let house = house()?;
    let server = Background::start(peer(&house, "server anon"))?;
    server.prints("serving anon_0.5.5")?;
    let line = format!("polybus anon -r text -m map.txt {} --timeout 30", house.flag());
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for given in [None, Some(parent)] {
        let mut client = house.desk.command(&line)?;
        client.env_remove("TRACEPARENT").env_remove("TRACESTATE");
        if let Some(parent) = given {
            client.env("TRACEPARENT", parent).env("TRACESTATE", "vendor=1");
        }
        assert!(client.output()?.status.success());
        let headers = server.prints("headers ")?;
        match given {
            Some(parent) => {
                assert!(headers.contains(&format!("\"traceparent\": \"{parent}\"")), "{headers}");
                assert!(headers.contains("\"tracestate\": \"vendor=1\""), "{headers}");
            }
            None => assert!(!headers.contains("trace"), "{headers}"),
        }
    }
    Ok(())
}
