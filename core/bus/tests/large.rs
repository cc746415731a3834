//! Frames larger than a message, over a bus with small ones: transparent to services and callers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests end at the first surprise")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use polybus::frame::{Answer, Appdata, Identity, Refusal, base64};
use polybus::{
    Arrival, Body, Bus, Call, CallError, Client, ConsumeOptions, Content, Intake, Message, Name, Queue,
    Server, Service, ServiceRequest, Shutdown, ShutdownTrigger, Topology, TransportExt, async_trait,
};

/// Gives back what it gets, as a whole or part by part; hangs at the first attempt if it is told to.
struct Echo {
    streams: bool,
    hangs: Arc<AtomicU32>,
}

#[async_trait]
impl Service for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn streams(&self) -> Option<&str> {
        self.streams.then_some("data")
    }

    async fn serve(&self, request: ServiceRequest) -> Result<Answer, Refusal> {
        let Some(content) = request.content else {
            let data = request.frame.appdata().get("data").and_then(|data| data.as_str());
            return Ok(Answer::ok(base64::decode(data.unwrap_or_default()).unwrap()));
        };
        let outbox = request.outbox.expect("Polybus callers read parts");
        let mut upload = outbox.begin().await.unwrap();
        let mut offset = 0;
        while offset < content.parts.len() {
            let piece = content.parts.part(offset, 100_000).await.unwrap();
            offset += piece.len() as u64;
            upload.write(&piece).await.unwrap();
            if offset > content.parts.len() / 2 && self.hangs.load(Ordering::SeqCst) > 0 {
                self.hangs.fetch_sub(1, Ordering::SeqCst);
                std::future::pending::<()>().await;
            }
        }
        outbox.set_stdout(upload.finish().await.unwrap());
        Ok(Answer { stderr: "streamed".into(), ..Answer::default() })
    }
}

fn identity() -> Identity {
    Identity::new("echo_client", "example.org")
}

fn serve(bus: &Bus, streams: bool, hangs: &Arc<AtomicU32>) -> ShutdownTrigger {
    let (trigger, shutdown) = Shutdown::manual();
    let server = Server::new(bus, identity(), Echo { streams, hangs: hangs.clone() });
    tokio::spawn(server.run(shutdown));
    trigger
}

fn bus_in(folder: &Path) -> Bus {
    Bus::open(&format!("embedded://{}?max_message=65536", folder.display())).unwrap()
}

fn data() -> Vec<u8> {
    (0..=250_u8).cycle().take((2 << 20) + 5).collect()
}

fn nothing_left(folder: &Path) {
    assert_eq!(std::fs::read_dir(folder.join("parts")).unwrap().count(), 0, "parts were left behind");
}

async fn declared(bus: &Bus) {
    let queue = Queue::new(Name::new("echo_0.5.5").unwrap());
    bus.transport().declare(&Topology::new().queue(queue)).await.unwrap();
}

#[tokio::test]
async fn g7_a_service_that_knows_nothing_of_parts_is_asked_and_answers_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let bus = bus_in(folder.path());
    declared(&bus).await;
    let _server = serve(&bus, false, &Arc::default());
    let client = Client::new(&bus, identity());
    let called = client.call(Call::new("echo", Appdata::new().bytes("data", data()))).await.unwrap();
    assert!(called.reply.stdout == data() && called.content.is_none());
    nothing_left(folder.path());
    let small = client.call(Call::new("echo", Appdata::new().bytes("data", "x"))).await.unwrap();
    assert_eq!(small.reply.stdout, b"x");
    let error =
        client.with_max_bytes(1 << 20).call(Call::new("echo", Appdata::new().bytes("data", data()))).await;
    assert!(matches!(error, Err(CallError::Unwritable(_))), "the frame has a limit of its own");
}

#[tokio::test]
async fn a_streaming_service_and_a_streaming_caller_never_hold_it_whole() {
    let folder = tempfile::tempdir().unwrap();
    let bus = bus_in(folder.path());
    declared(&bus).await;
    let _server = serve(&bus, true, &Arc::default());
    let client = Client::new(&bus, identity());
    let call = Call::new("echo", Appdata::new().bytes("data", "")).with_streamed(true);
    let mut upload = client.begin_content(&call).await.unwrap();
    for piece in data().chunks(70_001) {
        upload.write(piece).await.unwrap();
    }
    let content = Content::new("data", upload.finish().await.unwrap());
    let called = client.call(call.with_content(content)).await.unwrap();
    assert_eq!((called.reply.stdout.len(), &called.reply.stderr[..]), (0, &b"streamed"[..]));
    let content = called.content.unwrap();
    assert_eq!(content.field, "stdout");
    assert!(content.read(u64::MAX).await.unwrap() == data());
    nothing_left(folder.path());
    // A caller that does not stream gets the same.
    let called = client.call(Call::new("echo", Appdata::new().bytes("data", data()))).await.unwrap();
    assert!(called.reply.stdout == data());
    nothing_left(folder.path());
}

#[tokio::test]
async fn g5_the_worker_after_a_dead_one_gets_the_whole_body() {
    let folder = tempfile::tempdir().unwrap();
    let bus = bus_in(folder.path());
    declared(&bus).await;
    let hangs = Arc::new(AtomicU32::new(1));
    let first = serve(&bus, true, &hangs);
    let client = Client::new(&bus, identity());
    let call = Call::new("echo", Appdata::new().bytes("data", data()));
    let calling = tokio::spawn(async move { client.call(call).await });
    while hangs.load(Ordering::SeqCst) > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    first.abort();
    let _second = serve(&bus, true, &hangs);
    let called = calling.await.unwrap().unwrap();
    assert!(called.reply.stdout == data());
}

#[tokio::test]
async fn j1_a_large_message_outlives_its_process_beside_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let queue = Name::new("jobs").unwrap();
    let bus = bus_in(folder.path());
    bus.transport().declare(&Topology::new().queue(Queue::new(queue.clone()))).await.unwrap();
    let body = Body::headed("head", Arc::new(bytes::Bytes::from(data())));
    bus.transport().send(&queue, Message::new(body)).await.unwrap();
    assert!(bus.drain(Duration::from_secs(5)).await.is_clean());
    drop(bus);
    let bus = bus_in(folder.path());
    let intake = Intake::Queue(queue);
    let mut deliveries = bus.transport().consume(&intake, ConsumeOptions::default()).await.unwrap();
    let Some(Arrival::Item(delivery)) = deliveries.next().await else { panic!("no delivery") };
    let whole = delivery.message().body().read(u64::MAX).await.unwrap();
    assert!(whole.starts_with(b"head") && whole[4..] == data());
    delivery.ack().await.unwrap();
    nothing_left(folder.path());
}
