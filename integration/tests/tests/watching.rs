//! A server watched from outside: probes, metrics, heartbeats, and the trace that a call belongs to.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use polybus_brokers::Kind;
use polybus_tests::{Error, House, PATIENCE};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Status and body.
fn got(address: &str, path: &str) -> Result<(u16, String), Error> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let code = answer.split(' ').nth(1).ok_or("a status")?.parse()?;
    Ok((code, answer.split_once("\r\n\r\n").ok_or("a body")?.1.to_owned()))
}

/// Asks again until the answer is as wanted.
fn until(address: &str, path: &str, wanted: impl Fn(u16, &str) -> bool) -> Result<String, Error> {
    let began = Instant::now();
    loop {
        let (code, body) = got(address, path)?;
        if wanted(code, &body) {
            return Ok(body);
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("{path} stays {code}: {body}").into());
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

fn watched(kind: Kind) -> Result<(), Error> {
    let house = House::new(kind)?;
    let flag = house.flag();
    let beats = format!("polybus log tail --log-exchange health {flag}");
    let mut server = house.desk.start(&format!("polybus serve anon --http :0 --health {flag}"))?;
    let told = server.tells("status pages on http://127.0.0.1:")?;
    let address = told.rsplit_once("http://").ok_or("an address")?.1.trim_end_matches('/').to_owned();
    until(&address, "/ready", |code, body| code == 200 && body.contains("\"anon_0.5.5\":\"live\""))?;

    let mut monitor = house.desk.start(&format!("polybus log tail {flag}"))?;
    monitor.tells("Waiting for logs")?;
    let mut client = house.desk.command(&format!("polybus call anon --field usage=true {flag}"))?;
    assert!(client.env("TRACEPARENT", PARENT).output()?.status.success());
    for side in ["side=server", "side=client"] {
        let line = monitor.prints(side)?;
        assert!(line.contains("trace_id=0af7651916cd43dd8448eb211c80319c"), "{line}");
    }
    assert!(house.desk.run(&format!("polybus call anon --field usage=true {flag}"), "")?.status.success());
    let line = monitor.prints("side=server")?;
    assert!(!line.contains("trace_id"), "{line}");

    // The figures of queues may be some seconds old.
    let text = until(&address, "/metrics", |_, body| {
        body.contains("polybus_jobs_ended_total{queue=\"anon_0.5.5\",how=\"done\"} 2")
            && body.contains("polybus_queue_messages{queue=\"anon_0.5.5\",state=\"ready\"} 0")
    })?;
    for line in [
        "polybus_link_up 1",
        "polybus_subscription_live{queue=\"anon_0.5.5\"} 1",
        "polybus_job_seconds_count{queue=\"anon_0.5.5\"} 2",
        "polybus_job_wait_seconds_count{queue=\"anon_0.5.5\"} 2",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }

    // The broker is away: nothing is served, and a restart of the server would not help.
    house.kill()?;
    until(&address, "/ready", |code, _| code == 503)?;
    assert_eq!(got(&address, "/health")?.0, 200);
    assert!(got(&address, "/metrics")?.1.contains("polybus_link_up 0"));
    house.restart()?;
    until(&address, "/ready", |code, _| code == 200)?;
    let (code, told) = server.terminate()?;
    assert_eq!(code, Some(0), "{told}");

    // The heartbeat comes with the first consumption.
    let mut listener = house.desk.start(&beats)?;
    listener.tells("Waiting for logs")?;
    let _server = house.desk.start(&format!("polybus serve anon --health {flag}"))?;
    listener.prints("anon healthy")?;
    Ok(())
}

#[test]
fn rabbitmq_servers_are_watched() -> Result<(), Error> {
    watched(Kind::RABBITMQ)
}

#[test]
fn nats_servers_are_watched() -> Result<(), Error> {
    watched(Kind::NATS)
}

#[test]
fn a_port_that_is_taken_is_an_error_at_once() -> Result<(), Error> {
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let desk = polybus_tests::Desk::new()?;
    let line = format!("polybus serve anon --http {} --bus amqp://mq.example.org:1", taken.local_addr()?);
    let output = desk.run(&line, "")?;
    let told = String::from_utf8(output.stderr)?;
    assert!(output.status.code() == Some(78) && told.contains("cannot listen on"), "{told}");
    Ok(())
}
