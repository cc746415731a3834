//! The pages for probes and Prometheus, over real sockets.

#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests end at the first surprise")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use polybus::{
    Bus, Handler, Job, Message, Name, Queue, RequestOptions, ServiceStatus, Shutdown, StatusPages, Topology,
    TransportExt, Verdict, Worker, async_trait,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Echo;

#[async_trait]
impl Handler for Echo {
    async fn handle(&self, job: Job) -> Verdict {
        Verdict::Reply(Box::new(Message::new(job.message.body().as_bytes().unwrap().clone())))
    }
}

async fn pages(status: &ServiceStatus) -> SocketAddr {
    let pages = StatusPages::bind((Ipv4Addr::LOCALHOST, 0).into(), status.clone()).await.unwrap();
    let address = pages.address().unwrap();
    tokio::spawn(pages.serve());
    address
}

async fn asked(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn got(address: SocketAddr, path: &str) -> (u16, String) {
    let answer = asked(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    let code = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (code, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[tokio::test]
async fn probes_follow_the_life_of_a_worker() {
    let status = ServiceStatus::new("test");
    let address = pages(&status).await;
    let (code, text) = got(address, "/health").await;
    assert!(code == 200 && text.contains("\"waiting\""), "{code} {text}");
    assert_eq!(got(address, "/ready").await.0, 503);

    let bus = Bus::open("embedded:").unwrap();
    bus.transport().connect(Duration::from_secs(5)).await.unwrap();
    let queue = Name::new("q").unwrap();
    bus.transport().declare(&Topology::new().queue(Queue::new(queue.clone()))).await.unwrap();
    status.serving(&bus, [queue.clone()]);
    let (code, text) = got(address, "/ready").await;
    assert!(code == 503 && text.contains("\"q\":\"absent\""), "{code} {text}");

    let (trigger, shutdown) = Shutdown::manual();
    let worker = Worker::new(&bus, queue.clone(), Echo).with_observer(status.observer());
    let running = tokio::spawn(worker.run(shutdown));
    bus.transport().call(&queue, Message::new("x"), RequestOptions::default()).await.unwrap();
    let (code, text) = got(address, "/ready").await;
    assert!(code == 200 && text.contains("\"q\":\"live\""), "{code} {text}");
    let (code, text) = got(address, "/metrics").await;
    assert_eq!(code, 200);
    for line in [
        "polybus_jobs_ended_total{queue=\"q\",how=\"done\"} 1",
        "polybus_jobs_in_flight{queue=\"q\"} 0",
        "polybus_link_up 1",
        "polybus_subscription_live{queue=\"q\"} 1",
        "polybus_queue_messages{queue=\"q\",state=\"ready\"} 0",
        "polybus_job_attempt_bucket{le=\"1.0\",queue=\"q\"} 1",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    status.draining();
    trigger.drain();
    running.await.unwrap().unwrap();
    assert_eq!((got(address, "/ready").await.0, got(address, "/health").await.0), (503, 200));
}

#[tokio::test]
async fn what_is_no_question_gets_its_answer() {
    let address = pages(&ServiceStatus::new("test")).await;
    assert_eq!(got(address, "/nothing").await.0, 404);
    let head = asked(address, "HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    let posted = asked(address, "POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx").await;
    assert!(posted.starts_with("HTTP/1.1 405"), "{posted}");
    assert!(asked(address, "nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    let long = format!("GET /health HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    assert!(asked_rudely(address, &long).await.is_none_or(|answer| answer.starts_with("HTTP/1.1 431")));
}

/// The answer, if the connection was not cut before.
async fn asked_rudely(address: SocketAddr, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

#[tokio::test]
async fn readers_that_never_ask_hold_nobody_up_for_long() {
    let address = pages(&ServiceStatus::new("test")).await;
    let mut idle = Vec::new();
    for _ in 0..40 {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    // They are more than are served at a time; each is cut off, and then it is our turn.
    assert_eq!(got(address, "/health").await.0, 200);
    for mut stream in idle.drain(..16) {
        let mut nothing = Vec::new();
        stream.read_to_end(&mut nothing).await.unwrap();
        assert_eq!(nothing, b"");
    }
}
