//! The line protocol when the other side misbehaves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests end at the first surprise")]

use std::sync::Arc;
use std::time::Duration;

use polybus_contract::{
    Arrival, ConsumeOptions, End, Intake, Kind, Message, Name, PublishOptions, Status, Target, Transport,
};
use polybus_kit::Subject;
use polybus_kit::process::{Process, serve_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf};

const WITHIN: Duration = Duration::from_secs(20);

/// A process that does what the test says.
struct Puppet {
    requests: Lines<BufReader<ReadHalf<DuplexStream>>>,
    out: WriteHalf<DuplexStream>,
}

fn puppet() -> (Arc<Process>, Puppet) {
    let (kit, process) = tokio::io::duplex(1 << 16);
    let (input, out) = tokio::io::split(process);
    let puppet = Puppet { requests: BufReader::new(input).lines(), out };
    let (input, output) = tokio::io::split(kit);
    (Process::over(input, output), puppet)
}

impl Puppet {
    async fn next(&mut self) -> Value {
        let line = tokio::time::timeout(WITHIN, self.requests.next_line()).await.unwrap().unwrap();
        serde_json::from_str(&line.expect("a request")).unwrap()
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.out.write_all(bytes).await.unwrap();
    }

    async fn answer(&mut self, request: &Value, ok: Value) {
        let line = json!({"id": request["id"], "ok": ok});
        self.write(format!("{line}\n").as_bytes()).await;
    }

    /// Answers what opens a handle.
    async fn open(&mut self) {
        let request = self.next().await;
        assert_eq!((&request["op"], &request["protocol"]), (&json!("open"), &json!(1)));
        self.answer(&request, profile()).await;
    }
}

fn profile() -> Value {
    json!({"instance": "puppet", "features": ["queue", "confirm", "settle"], "durability": "volatile",
           "settle": "sent", "attempts": "none", "lease": "connection", "fidelity": ["id"]})
}

fn queue() -> Name {
    Name::new("jobs").unwrap()
}

#[tokio::test]
async fn k9_garbage_is_skipped_and_counted() {
    let (process, mut puppet) = puppet();
    let handle = process.handle();
    let connected = tokio::spawn(async move { handle.connect(WITHIN).await.map(|()| handle.profile()) });
    puppet.write(b"Listening on 192.0.2.1\n\xff\xfe\n\n{\"id\": 999, \"ok\": 1}\n{}\n[1]\n").await;
    puppet.open().await;
    let request = puppet.next().await;
    puppet.answer(&request, profile()).await;
    let profile = connected.await.unwrap().unwrap();
    assert!(profile.capability.queue && !profile.capability.topic);
    assert_eq!(&*profile.instance, "puppet");
    assert_eq!(process.garbage_lines(), 4);
}

#[tokio::test]
async fn k9_an_answer_that_cannot_be_read_is_a_typed_error() {
    let (process, mut puppet) = puppet();
    for answer in [json!("no profile"), json!({"features": ["warp_drive"]}), json!({"durability": "eternal"})]
    {
        let handle = process.handle();
        let connected = tokio::spawn(async move { handle.connect(WITHIN).await });
        let request = puppet.next().await;
        puppet.answer(&request, answer).await;
        assert_eq!(connected.await.unwrap().unwrap_err().kind(), Kind::Protocol);
    }
}

#[tokio::test]
async fn k9_a_process_that_dies_is_disconnected() {
    let (process, mut puppet) = puppet();
    let handle = process.handle();
    let other = handle.clone();
    let consumed = tokio::spawn(async move {
        other.consume(&Intake::Queue(queue()), ConsumeOptions::default()).await.unwrap()
    });
    puppet.open().await;
    let request = puppet.next().await;
    puppet.answer(&request, Value::Null).await;
    let mut deliveries = consumed.await.unwrap();
    let to = Target::Queue(queue());
    let sending = handle.clone();
    let sent = tokio::spawn(async move {
        let message = Message::new("x").with_id("m-1");
        sending.publish(&to, message, PublishOptions::default()).await
    });
    let request = puppet.next().await;
    assert_eq!(request["op"], "publish");
    drop(puppet);
    let error = sent.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.status()), (Kind::Disconnected, Status::Unknown));
    assert_eq!(error.message_id().unwrap().to_string(), "m-1");
    assert!(deliveries.next().await.is_none());
    assert!(matches!(deliveries.end(), Some(End::Failed(error)) if error.kind() == Kind::Disconnected));
    let later = handle.connect(WITHIN).await.unwrap_err();
    assert_eq!((later.kind(), later.status()), (Kind::Disconnected, Status::Temporary));
    let report = handle.drain(WITHIN).await;
    assert!(!report.is_clean(), "a drain that nobody saw end well: {report}");
}

#[tokio::test]
async fn k9_what_cannot_be_started_is_disconnected_and_named() {
    let process = Process::new(["/no/such/transport", "--bus"]);
    let error = process.handle().connect(WITHIN).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Disconnected);
    assert!(error.to_string().contains("/no/such/transport"), "{error}");
}

#[tokio::test]
async fn k9_what_arrives_for_nobody_is_given_back() {
    let (process, mut puppet) = puppet();
    let handle = process.handle();
    let other = handle.clone();
    let consumed = tokio::spawn(async move {
        other.consume(&Intake::Queue(queue()), ConsumeOptions::default()).await.unwrap()
    });
    puppet.open().await;
    let request = puppet.next().await;
    puppet.answer(&request, Value::Null).await;
    drop(consumed.await.unwrap());
    assert_eq!(puppet.next().await["op"], "close");
    let item = json!({"delivery": 7, "queue": "jobs", "attempt": 1, "message": {"body": ""}});
    let line = json!({"stream": request["stream"], "item": item});
    puppet.write(format!("{line}\n").as_bytes()).await;
    let settle = puppet.next().await;
    assert_eq!(
        (&settle["op"], &settle["delivery"], &settle["outcome"]["kind"]),
        (&json!("settle"), &json!(7), &json!("release"))
    );
}

/// A served bus, and this test as a kit that speaks to it in lines of its own.
fn served() -> Puppet {
    let bus = Subject::from_url("embedded:kit-served").unwrap();
    let (kit, process) = tokio::io::duplex(1 << 16);
    let (input, output) = tokio::io::split(process);
    tokio::spawn(serve_process(move || bus.open(), input, output));
    let (input, out) = tokio::io::split(kit);
    Puppet { requests: BufReader::new(input).lines(), out }
}

impl Puppet {
    /// The answer to the request of this id; events in between are left out.
    async fn answer_to(&mut self, id: u64) -> Value {
        loop {
            let line = self.next().await;
            if line["id"] == json!(id) {
                return line;
            }
        }
    }
}

#[tokio::test]
async fn k9_the_server_answers_garbage_and_goes_on() {
    let mut kit = served();
    kit.write(b"garbage\n{\"id\": 5, \"op\": \"warp\"}\n\xff\n").await;
    assert_eq!(kit.answer_to(0).await["error"]["kind"], "protocol");
    assert_eq!(kit.answer_to(5).await["error"]["kind"], "protocol");
    kit.write(b"{\"id\": 6, \"handle\": 1, \"op\": \"open\", \"protocol\": 2}\n").await;
    assert_eq!(kit.answer_to(6).await["error"]["kind"], "protocol");
    kit.write(b"{\"id\": 7, \"handle\": 1, \"op\": \"open\", \"protocol\": 1}\n").await;
    assert_eq!(kit.answer_to(7).await["ok"]["durability"], "volatile");
    kit.write(b"{\"id\": 8, \"handle\": 9, \"op\": \"connect\", \"within_ms\": 10}\n").await;
    let error = kit.answer_to(8).await["error"].clone();
    assert!(error["detail"].as_str().unwrap().contains("handle 9"), "{error}");
    kit.write(b"{\"id\": 9, \"op\": \"settle\", \"delivery\": 3, \"outcome\": {\"kind\": \"ack\"}}\n").await;
    assert_eq!(kit.answer_to(9).await["error"]["operation"], "settle");
}

/// Every block of the book's page that is marked `json` is spoken here, in order: the page is true.
#[tokio::test]
async fn k9_the_page_shows_what_is_spoken() {
    let page = include_str!("../../../docs/src/wire-kit.md");
    let mut kit = served();
    let mut spoken = 0;
    let blocks = page.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next());
    for line in blocks.flat_map(str::lines) {
        let (arrow, text) = line.split_at(2);
        let wanted: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        match arrow {
            "> " => kit.write(format!("{text}\n").as_bytes()).await,
            "< " => {
                let told = kit.next_but_health().await;
                assert!(covers(&told, &wanted), "the page says {wanted}, spoken was {told}");
            }
            _ => panic!("a line of the page begins neither with > nor with <: {line}"),
        }
        spoken += 1;
    }
    assert!(spoken > 20, "{spoken} lines");
}

impl Puppet {
    async fn next_but_health(&mut self) -> Value {
        loop {
            let line = self.next().await;
            if line.get("health").is_none() {
                return line;
            }
        }
    }
}

/// Whether everything of `wanted` is in `told`; what differs each time is written as "...".
fn covers(told: &Value, wanted: &Value) -> bool {
    match (told, wanted) {
        (_, Value::String(text)) if text == "..." => true,
        (Value::Object(told), Value::Object(wanted)) => {
            wanted.iter().all(|(name, wanted)| told.get(name).is_some_and(|told| covers(told, wanted)))
        }
        (Value::Array(told), Value::Array(wanted)) if wanted.last() == Some(&json!("...")) => {
            wanted[..wanted.len() - 1].iter().all(|wanted| told.contains(wanted))
        }
        _ => told == wanted,
    }
}

#[tokio::test]
async fn k9_a_dropped_next_loses_nothing() {
    let bus = Subject::from_url("embedded:kit-dropped").unwrap();
    let direct = bus.open();
    let (kit, process) = tokio::io::duplex(1 << 16);
    let (input, output) = tokio::io::split(process);
    tokio::spawn(serve_process(move || bus.open(), input, output));
    let (input, output) = tokio::io::split(kit);
    let handle: Arc<dyn Transport> = Process::over(input, output).handle();
    let topology = polybus_contract::Topology::new().queue(polybus_contract::Queue::new(queue()));
    handle.declare(&topology).await.unwrap();
    let mut deliveries = handle.consume(&Intake::Queue(queue()), ConsumeOptions::default()).await.unwrap();
    for number in 0..50 {
        // Asked for, and given up at once: what was on its way must come to the next one who asks.
        assert!(tokio::time::timeout(Duration::ZERO, deliveries.next()).await.is_err());
        let message = Message::new(number.to_string());
        direct.publish(&Target::Queue(queue()), message, PublishOptions::default()).await.unwrap();
        let arrival = tokio::time::timeout(WITHIN, deliveries.next()).await.unwrap();
        let Some(Arrival::Item(delivery)) = arrival else { panic!("{arrival:?}") };
        assert_eq!(delivery.message().body().as_bytes().unwrap(), number.to_string().as_bytes());
        delivery.ack().await.unwrap();
    }
}
