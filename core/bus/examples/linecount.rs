//! A service and a client of it, in one process on the embedded bus: `cargo run -p polybus --example linecount`.
#![allow(clippy::print_stdout, reason = "an example shows its results")]

use std::error::Error;

// ANCHOR: service
use polybus::frame::{Answer, Json, Refusal, RefusalCode, base64};
use polybus::{Service, ServiceRequest, async_trait};

/// Counts the lines of a text.
struct LineCount;

#[async_trait]
impl Service for LineCount {
    fn name(&self) -> &'static str {
        "linecount"
    }

    async fn serve(&self, request: ServiceRequest) -> Result<Answer, Refusal> {
        let encoded = request.frame.appdata().get("data").and_then(Json::as_str).unwrap_or_default();
        let text = base64::decode(encoded).ok_or_else(|| Refusal::bad_field("data", "base64"))?;
        if text.is_empty() {
            return Err(Refusal::new(RefusalCode::NoData, "there is no text to count"));
        }
        let lines = text.split_inclusive(|byte| *byte == b'\n').count();
        Ok(Answer::ok(format!("{lines} lines\n")))
    }
}
// ANCHOR_END: service

// ANCHOR: server
use polybus::frame::Identity;
use polybus::{Bus, DrainReport, Queue, Server, Shutdown, Topology};

/// Serves until `shutdown`, two requests at a time.
async fn serve(bus: Bus, shutdown: Shutdown) -> polybus::Result<DrainReport> {
    Server::new(&bus, Identity::new("linecount_server", "example.org"), LineCount)
        .with_jobs(2)
        .run(shutdown)
        .await
}
// ANCHOR_END: server

// ANCHOR: client
use polybus::frame::Appdata;
use polybus::{Call, Client};

/// Asks, and prints what came: the result, or the reason why there is none.
async fn ask(client: &Client, text: &'static str) -> Result<(), Box<dyn Error>> {
    let call = Call::new("linecount", Appdata::new().bytes("data", text));
    let called = client.call(call).await?;
    print!("{}", String::from_utf8_lossy(&called.reply.stdout));
    print!("{}", String::from_utf8_lossy(&called.reply.stderr));
    println!("retcode {}", called.reply.retcode);
    Ok(())
}
// ANCHOR_END: client

// ANCHOR: main
#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let bus = polybus::connect("embedded:").await?;
    let client = Client::new(&bus, Identity::new("linecount_client", "example.org"));

    // Calls to a queue that nobody has declared fail at once. Here the server may be slower than the first call.
    let queue = Queue::new(client.queue("linecount")?);
    bus.transport().declare(&Topology::new().queue(queue)).await?;

    let (trigger, shutdown) = Shutdown::manual();
    let server = tokio::spawn(serve(bus, shutdown));

    ask(&client, "one\ntwo\nthree\n").await?;
    ask(&client, "").await?;

    trigger.drain();
    let report = server.await??;
    println!("drained, clean: {}", report.is_clean());
    Ok(())
}
// ANCHOR_END: main
