//! Publishing, the tracing layer, and monitoring, over a bus that does as it is told.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use polybus_contract::{
    Arrival, End, Feature, Gap, GapCause, Kind, Message, Name, Status, SubscribeOptions, Topic, Transport,
};
use tracing_subscriber::layer::SubscriberExt;

use super::fake::Fake;
use super::*;

const SOON: Duration = Duration::from_mins(1);

fn logs() -> Name {
    Name::new("logs").unwrap()
}

fn start(fake: Fake, options: LogOptions) -> (Arc<Fake>, LogPublisher) {
    let fake = Arc::new(fake);
    let transport: Arc<dyn Transport> = fake.clone();
    let publisher = LogPublisher::start(&transport, &logs(), &identity(), options);
    (fake, publisher)
}

fn quiet() -> LogOptions {
    LogOptions::default().with_introduce(false)
}

#[tokio::test(start_paused = true)]
async fn the_identity_comes_first_then_lines_in_order() {
    let (fake, publisher) = start(Fake::new(), LogOptions::default());
    publisher.log(Level::Info, "one");
    publisher.log_of(Some("part"), Level::Notice, "two");
    publisher.log(Level::Debug, "not asked for");
    assert_eq!(publisher.finish(SOON).await, LogReport::default());
    let messages = fake.messages();
    assert!(messages[0].starts_with("anon_client program=anon pika_version="), "{}", messages[0]);
    assert_eq!(messages[1..], ["one", "two"]);
    let record = Record::read(fake.lines.lock().unwrap()[2].as_bytes());
    assert_eq!((record.component.as_deref(), record.level), (Some("part"), Some(Level::Notice)));
    publisher.log(Level::Info, "too late");
    assert_eq!(publisher.finish(SOON).await.dropped, 1);
}

#[tokio::test(start_paused = true)]
async fn a_burst_drops_the_oldest_and_says_how_many() {
    let (fake, publisher) = start(Fake::new(), LogOptions::default());
    for number in 0..1500 {
        publisher.log(Level::Info, &number.to_string());
    }
    assert_eq!(publisher.finish(SOON).await, LogReport { waiting: 0, dropped: 500 });
    let messages = fake.messages();
    assert_eq!(messages.len(), 1002);
    assert!(messages[0].starts_with("anon_client "), "the identity line is not dropped");
    assert_eq!((messages[1].as_str(), messages[1000].as_str()), ("500", "1499"));
    assert_eq!(messages[1001], "log lines dropped: 500");
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_hangs_is_left_at_the_deadline() {
    let (fake, publisher) = start(Fake::new().shut(), quiet());
    for _ in 0..3 {
        publisher.log(Level::Info, "x");
    }
    let report = publisher.finish(Duration::from_secs(2)).await;
    assert_eq!((report, fake.messages().len()), (LogReport { waiting: 2, dropped: 0 }, 0));
}

#[tokio::test(start_paused = true)]
async fn temporary_failures_are_tried_again_others_are_counted() {
    let fake = Fake::new()
        .fail(Kind::Disconnected, Status::Temporary)
        .fail(Kind::Disconnected, Status::Temporary)
        .fail(Kind::Disconnected, Status::Unknown);
    let (fake, publisher) = start(fake, quiet());
    publisher.log(Level::Info, "maybe sent");
    publisher.log(Level::Info, "sent");
    while fake.lines.lock().unwrap().len() < 2 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(fake.messages(), ["sent", "log lines dropped: 1"]);
    assert_eq!(publisher.trouble().unwrap().kind(), Kind::Disconnected);
    assert_eq!(publisher.finish(SOON).await, LogReport { waiting: 0, dropped: 1 });
}

#[tokio::test(start_paused = true)]
async fn a_bus_without_topics_gets_no_lines_and_nobody_waits() {
    let fake = Fake::new().fail(Kind::Unsupported(Feature::Topic), Status::Permanent);
    let (fake, publisher) = start(fake, quiet());
    publisher.log(Level::Info, "one");
    publisher.log(Level::Info, "two");
    assert_eq!(publisher.finish(SOON).await, LogReport { waiting: 0, dropped: 2 });
    assert!(fake.messages().is_empty());
    assert_eq!(publisher.trouble().unwrap().kind(), Kind::Unsupported(Feature::Topic));
}

#[tokio::test(start_paused = true)]
async fn old_servers_form_and_the_bound_of_a_message() {
    let (fake, publisher) = start(Fake::new(), quiet().with_form(LineForm::Server));
    publisher.log(Level::Info, &"é".repeat(20_000));
    publisher.finish(SOON).await;
    let line = fake.lines.lock().unwrap()[0].clone();
    assert_eq!(Record::read(line.as_bytes()).format, Format::Server);
    assert!(line.ends_with("é... (7232 bytes more)"), "{}", &line[line.len() - 40..]);
}

#[tokio::test(start_paused = true)]
async fn events_become_lines_and_publishing_causes_none() {
    let (fake, publisher) = start(Fake::new(), quiet().with_least(Level::Debug));
    let publisher = Arc::new(publisher);
    let layer = LogLayer::new(publisher.clone());
    let subscriber = tracing_subscriber::registry().with(layer);
    {
        let _guard = tracing::subscriber::set_default(subscriber);
        let payload = "x".repeat(500);
        tracing::info_span!(target: "polybus", "worker").in_scope(|| {
            tracing::info!(target: "polybus", attempt = 2, reason = "two words", %payload, "job done");
        });
        tracing::trace!(target: "polybus::frame", empty = "", quote = "\"");
        tracing::info!(target: "other", "chatter");
        tracing::error!(target: "lapin::channel", "trouble with a log line");
        tracing::error!(target: "other", "trouble");
        publisher.finish(SOON).await;
    }
    let lines = fake.lines.lock().unwrap();
    let records: Vec<_> = lines.iter().map(|line| Record::read(line.as_bytes())).collect();
    assert_eq!(records.len(), 3, "{records:?}");
    assert_eq!((records[0].component.as_deref(), records[0].level), (Some("worker"), Some(Level::Info)));
    let start = "job done attempt=2 reason=\"two words\" payload=\"<<500 bytes; SHA1: ";
    assert!(records[0].message.starts_with(start), "{}", records[0].message);
    assert_eq!(
        (records[1].message.as_str(), records[1].level),
        ("empty=\"\" quote=\"\\\"\"", Some(Level::Debug))
    );
    assert_eq!((records[2].message.as_str(), records[2].level), ("trouble", Some(Level::Error)));
}

#[tokio::test]
async fn a_monitor_reads_lines_and_shows_gaps() {
    let fake = Fake::new();
    let gap = Gap { missed: Some(3), cause: GapCause::SlowReader };
    fake.arrivals.lock().unwrap().extend([
        Arrival::Item(Message::new("just text\n")),
        Arrival::Gap(gap),
        Arrival::Item(Message::new(vec![b'x'; 2 << 20])),
    ]);
    let mut monitor =
        LogMonitor::subscribe(&fake, &Topic::new(logs()), SubscribeOptions::default()).await.unwrap();
    let Some(Observed::Line { record, .. }) = monitor.next().await else { panic!("no line") };
    assert_eq!((record.format, record.message.as_str()), (Format::Opaque, "just text"));
    assert_eq!(monitor.next().await, Some(Observed::Gap(gap)));
    let Some(Observed::Line { record, .. }) = StreamExt::next(&mut monitor).await else { panic!("no line") };
    assert_eq!(record.message, "<<2097152 bytes>>");
    assert!(monitor.end().is_none());
    assert_eq!(monitor.next().await, None);
    assert!(matches!(monitor.end(), Some(End::Drained)));
}
