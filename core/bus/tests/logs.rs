//! What clients and servers log on the fanout: identity, sizes, outcome, and never a payload.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests end at the first surprise")]

use std::sync::Arc;
use std::time::Duration;

use polybus::frame::{Answer, Appdata, Identity, Refusal};
use polybus::log::{Level, LogOptions, LogPublisher, Record};
use polybus::{
    Arrival, Bus, Call, Client, Incoming, Message, Name, Server, Service, ServiceRequest, Shutdown,
    SubscribeOptions, async_trait,
};

struct Echo;

#[async_trait]
impl Service for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    async fn serve(&self, _request: ServiceRequest) -> Result<Answer, Refusal> {
        Ok(Answer::ok("secret-answer"))
    }
}

fn publisher(bus: &Bus, identity: &Identity) -> Arc<LogPublisher> {
    let logs = Name::new("logs").unwrap();
    let options = LogOptions::default().with_least(Level::Debug);
    Arc::new(LogPublisher::start(bus.transport(), &logs, identity, options))
}

async fn lines(incoming: &mut Incoming<Message>, until: usize) -> Vec<(String, Record)> {
    let mut lines = Vec::new();
    while lines.iter().filter(|(text, _): &&(String, _)| text.contains(" call service=")).count() < until {
        match incoming.next().await {
            Some(Arrival::Item(message)) => {
                let body = message.body().as_bytes().unwrap();
                lines.push((String::from_utf8(body.to_vec()).unwrap(), Record::read(body)));
            }
            other => panic!("{other:?}"),
        }
    }
    lines
}

#[tokio::test]
async fn both_sides_log_identity_and_outcome_but_no_payload() {
    let bus = Bus::open("embedded:").unwrap();
    let logs = Name::new("logs").unwrap();
    let mut incoming = bus.transport().subscribe(&logs, SubscribeOptions::default()).await.unwrap();

    let server_side = Identity::new("echo_server", "example.org");
    let server_log = publisher(&bus, &server_side);
    let server = Server::new(&bus, server_side, Echo).with_log(server_log.clone());
    let (_trigger, shutdown) = Shutdown::manual();
    // Declared first, so that the call finds its queue.
    let queue = polybus::Queue::new(server.queue().unwrap());
    bus.transport().declare(&polybus::Topology::new().queue(queue)).await.unwrap();
    tokio::spawn(server.run(shutdown));

    let client_side = Identity::new("echo_client", "example.org");
    let client_log = publisher(&bus, &client_side);
    let client = Client::new(&bus, client_side).with_log(client_log.clone());
    let call = Call::new("echo", Appdata::new().bytes("data", "secret-question"));
    let called = client.call(call).await.unwrap();

    let lines = tokio::time::timeout(Duration::from_secs(30), lines(&mut incoming, 2)).await.unwrap();
    for program in ["echo_server", "echo_client"] {
        let of: Vec<_> =
            lines.iter().filter(|(_, record)| record.program.as_deref() == Some(program)).collect();
        assert!(of[0].0.contains(&format!("{program} program=echo pika_version=polybus-")), "{}", of[0].0);
        let side = program.trim_start_matches("echo_");
        let outcome = of.iter().find(|(text, _)| text.contains(" call service=echo")).unwrap();
        assert!(outcome.0.contains(&format!("side={side} retcode=0 ")), "{}", outcome.0);
        assert!(outcome.0.ends_with(&format!("correlation_id={}", called.id)), "{}", outcome.0);
        assert!(outcome.0.contains(&format!("request_bytes={} ", called.request_bytes)));
        assert!(outcome.0.contains(&format!("reply_bytes={} ", called.reply_bytes)));
    }
    for (text, record) in &lines {
        assert_eq!(record.format, polybus::log::Format::Full, "{text}");
        assert!(!text.contains("secret") && !text.contains("c2VjcmV0"), "{text}");
    }
    let terse =
        lines.iter().any(|(text, _)| text.contains(" DEBUG request {") && text.contains("bytes; SHA1: "));
    assert!(terse, "the request is logged in terse form");
    for log in [server_log, client_log] {
        assert_eq!(log.finish(Duration::from_secs(30)).await.dropped, 0);
    }
}
