//! PRISEM frames over the embedded bus: refusals are answered at once, junk becomes a dead letter.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests end at the first surprise")]

use std::time::Duration;

use polybus::frame::{Answer, Appdata, Frame, Identity, ProtocolVersion, Received, Refusal, RefusalCode};
use polybus::{
    Browse, Bus, Call, CallError, Client, DeadLetterPolicy, Intake, Kind, Message, Name, Nobody, Place,
    RequestOptions, Seen, Server, Service, ServiceRequest, Shutdown, ShutdownTrigger, TransportExt,
    async_trait,
};

struct Echo;

#[async_trait]
impl Service for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    async fn serve(&self, request: ServiceRequest) -> Result<Answer, Refusal> {
        match request.frame.appdata().get("text").and_then(|text| text.as_str()) {
            Some("crash") => panic!("as asked"),
            Some("large") => Ok(Answer::ok(vec![b'x'; 2000])),
            Some(text) => Ok(Answer::ok(text.to_owned())),
            None => Err(Refusal::new(RefusalCode::NoData, "nothing to say")),
        }
    }
}

fn identity() -> Identity {
    Identity::new("echo_client", "example.org")
}

struct Stage {
    bus: Bus,
    _trigger: ShutdownTrigger,
}

impl Stage {
    async fn new(adjust: impl FnOnce(Server) -> Server) -> Self {
        let bus = Bus::open("embedded:").unwrap();
        let (trigger, shutdown) = Shutdown::manual();
        let server = adjust(Server::new(&bus, identity(), Echo));
        tokio::spawn(server.run(shutdown));
        let stage = Self { bus, _trigger: trigger };
        while stage.desk_count(Place::Ready).await.is_none() {
            tokio::task::yield_now().await;
        }
        stage
    }

    fn queue() -> Name {
        Name::new("echo_0.5.5").unwrap()
    }

    async fn desk_count(&self, place: Place) -> Option<u64> {
        let desk = self.bus.transport().admin().unwrap();
        let figures = desk.inspect(&Intake::Queue(Self::queue())).await.ok()?;
        if place == Place::Dead { figures.dead } else { figures.ready }
    }

    fn client(&self) -> Client {
        Client::new(&self.bus, identity())
    }

    async fn raw(&self, body: impl Into<polybus::Body>) -> Received {
        let reply =
            self.bus.transport().call(&Self::queue(), Message::new(body), RequestOptions::default()).await;
        Received::read(reply.unwrap().message.body().as_bytes().unwrap(), 1 << 20).unwrap()
    }

    async fn refused(&self, body: impl Into<polybus::Body>) -> (i64, String) {
        let reply = self.raw(body).await.reply().unwrap().unwrap();
        assert!(reply.stdout.is_empty());
        let line = String::from_utf8(reply.stderr).unwrap();
        let error = reply.error.unwrap();
        assert!(line.starts_with(&format!("echo: refused: {}: ", error.code)), "{line}");
        (reply.retcode, error.code)
    }
}

fn say(text: &str) -> Call {
    Call::new("echo", Appdata::new().text("text", Some(text)))
}

#[tokio::test]
async fn g1_many_calls_in_flight_each_their_own_reply() {
    let stage = Stage::new(|server| server.with_jobs(8)).await;
    let calls: Vec<_> = (0..200)
        .map(|n| {
            let client = stage.client();
            tokio::spawn(async move { client.call(say(&format!("call {n}"))).await })
        })
        .collect();
    for (n, call) in calls.into_iter().enumerate() {
        let called = call.await.unwrap().unwrap();
        assert_eq!(called.reply.stdout, format!("call {n}").into_bytes());
        assert_eq!(called.reply.retcode, 0);
    }
}

#[tokio::test]
async fn refusals_have_code_and_retcode() {
    let stage = Stage::new(|server| server).await;
    assert_eq!(stage.refused("{\"appdata\":{}}").await, (1, "no-data".to_owned()));
    assert_eq!(
        stage.refused("{\"appdata\":{},\"protocolver\":\"0.9\"}").await,
        (76, "version-mismatch".to_owned())
    );
    assert_eq!(stage.refused("{\"appdata\":{},\"name\":\"anon\"}").await, (76, "name-mismatch".to_owned()));
    assert_eq!(stage.desk_count(Place::Dead).await, Some(0));
    // Null or missing passes, and so does another case.
    let frame = "{\"appdata\":{\"text\":\"hi\"},\"name\":\"ECHO\",\"protocolver\":null}";
    assert_eq!(stage.raw(frame).await.reply().unwrap().unwrap().stdout, b"hi");
}

#[tokio::test]
async fn a10_junk_is_answered_and_kept_with_its_reason() {
    let stage = Stage::new(|server| server).await;
    for junk in ["not json", "[1]", "", "{\"command\":1}"] {
        assert_eq!(stage.refused(junk).await, (65, "bad-frame".to_owned()), "{junk}");
    }
    assert_eq!(stage.refused(vec![0xff, 0xfe]).await.1, "bad-frame");
    // Nobody can be answered: it is kept all the same, and the worker lives.
    stage.bus.transport().send(&Stage::queue(), Message::new("secret-payload")).await.unwrap();
    while stage.desk_count(Place::Dead).await != Some(6) {
        tokio::task::yield_now().await;
    }
    let desk = stage.bus.transport().admin().unwrap();
    let page = desk.browse(&Intake::Queue(Stage::queue()), Place::Dead, Browse::default()).await.unwrap();
    for browsed in &page.messages {
        let death = browsed.message.death().unwrap();
        assert_eq!(death.reason.as_str(), "decode");
        assert!(!death.whole, "a terse entry is not the message");
        let kept = browsed.message.body().as_bytes().unwrap();
        assert!(!String::from_utf8_lossy(kept).contains("secret-payload"));
    }
    assert_eq!(stage.client().call(say("still here")).await.unwrap().reply.stdout, b"still here");
}

#[tokio::test]
async fn dead_letters_keep_what_the_policy_says() {
    let stage = Stage::new(|server| server.with_dead_letters(DeadLetterPolicy::Full)).await;
    stage.refused("junk").await;
    let desk = stage.bus.transport().admin().unwrap();
    let intake = Intake::Queue(Stage::queue());
    while stage.desk_count(Place::Dead).await != Some(1) {
        tokio::task::yield_now().await;
    }
    let page = desk.browse(&intake, Place::Dead, Browse::default()).await.unwrap();
    assert_eq!(&page.messages[0].message.body().as_bytes().unwrap()[..], b"junk");

    let stage = Stage::new(|server| server.with_dead_letters(DeadLetterPolicy::Off)).await;
    stage.refused("junk").await;
    stage.refused("junk").await;
    assert_eq!(stage.desk_count(Place::Dead).await, Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_crash_is_answered_as_internal_at_the_end() {
    let stage = Stage::new(|server| server.with_max_attempts(3)).await;
    let called = stage.client().call(say("crash")).await.unwrap();
    assert_eq!(called.reply.retcode, 70);
    assert_eq!(called.reply.error.unwrap().code, "internal");
}

#[tokio::test]
async fn limits_are_told_on_both_sides() {
    let stage = Stage::new(|server| server.with_max_bytes(1000)).await;
    let called = stage.client().call(say("large")).await.unwrap();
    assert_eq!((called.reply.retcode, called.reply.error.unwrap().code.as_str()), (65, "too-large"));
    let called = stage.client().call(say(&"x".repeat(1000))).await.unwrap();
    assert_eq!(called.reply.error.unwrap().code, "too-large");
    let error = stage.client().with_max_bytes(500).call(say(&"x".repeat(1000))).await.unwrap_err();
    assert!(matches!(error, CallError::Unwritable(_)));
    assert_eq!(error.exit_code(), 65);
}

#[tokio::test]
async fn exit_codes_of_calls_without_reply() {
    let stage = Stage::new(|server| server).await;
    let elsewhere = say("x").with_queue_base("other");
    let error = stage.client().call(elsewhere).await.unwrap_err();
    assert_eq!((error.kind(), error.exit_code()), (Some(Kind::Unroutable), 69));

    let other = ProtocolVersion::default();
    assert_eq!(other.as_str(), "0.5.5");
    let bad = stage.client().call(say("x").with_queue_base("a b")).await.unwrap_err();
    assert_eq!((bad.kind(), bad.exit_code()), (Some(Kind::InvalidName), 2));
}

#[tokio::test]
async fn a_look_tells_who_is_there_and_which_versions_are() {
    let stage = Stage::new(|server| server).await;
    assert_eq!(stage.client().look("echo").await.unwrap(), Seen::Served);
    let other = stage.client().with_protocol("0.4".parse().unwrap());
    let error = other.look("echo").await.unwrap_err();
    assert_eq!((error.kind(), error.exit_code()), (Some(Kind::Unroutable), 69));
    let line = error.to_string();
    assert!(line.contains("echo_0.4") && line.contains("there is echo_0.5.5"), "{line}");
    // The call itself says the same.
    assert_eq!(other.call(say("x")).await.unwrap_err().to_string(), line);
    let nothing = stage.client().look("other").await.unwrap_err().to_string();
    assert!(nothing.contains("other_0.5.5") && nothing.contains("nor is there"), "{nothing}");

    let bus = Bus::open("embedded:").unwrap();
    let queue = polybus::Queue::new(Stage::queue());
    bus.transport().declare(&polybus::Topology::new().queue(queue)).await.unwrap();
    assert_eq!(Client::new(&bus, identity()).look("echo").await.unwrap(), Seen::Unserved);
}

/// Takes a minute and a half.
struct Long;

#[async_trait]
impl Service for Long {
    fn name(&self) -> &'static str {
        "echo"
    }

    async fn serve(&self, _request: ServiceRequest) -> Result<Answer, Refusal> {
        tokio::time::sleep(Duration::from_secs(95)).await;
        Ok(Answer::ok("done"))
    }
}

/// Keeps every line.
#[derive(Debug, Default)]
struct Lines(std::sync::Mutex<Vec<String>>);

impl polybus::log::LogSink for Lines {
    fn log(&self, _level: polybus::log::Level, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_job_is_spoken_of_every_30_s() {
    let bus = Bus::open("embedded:").unwrap();
    let (_trigger, shutdown) = Shutdown::manual();
    let lines = std::sync::Arc::new(Lines::default());
    let server = Server::new(&bus, identity(), Long).with_log(lines.clone());
    server.declare().await.unwrap();
    tokio::spawn(server.run(shutdown));
    let call = say("x").with_deadline(Duration::from_secs(200));
    assert_eq!(Client::new(&bus, identity()).call(call).await.unwrap().reply.stdout, b"done");
    let lines = lines.0.lock().unwrap();
    let progress: Vec<_> = lines.iter().filter(|line| line.starts_with("progress ")).collect();
    assert_eq!(progress, ["progress seconds=30", "progress seconds=60", "progress seconds=90"]);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_call() {
    let bus = Bus::open("embedded:").unwrap();
    let queue = polybus::Queue::new(Stage::queue());
    bus.transport().declare(&polybus::Topology::new().queue(queue)).await.unwrap();
    let client = Client::new(&bus, identity());
    let error = client.call(say("x").with_deadline(Duration::from_secs(2))).await.unwrap_err();
    assert_eq!((error.kind(), error.exit_code()), (Some(Kind::DeadlineExceeded), 75));
    let error = client.call(say("x").with_nobody(Nobody::Fail)).await.unwrap_err();
    assert_eq!((error.kind(), error.exit_code()), (Some(Kind::NoResponder), 69));
}

/// Answers with something else than a frame.
struct Wrong;

#[async_trait]
impl polybus::Handler for Wrong {
    async fn handle(&self, _job: polybus::Job) -> polybus::Verdict {
        polybus::Verdict::Reply(Box::new(Message::new("nonsense")))
    }
}

#[tokio::test]
async fn a_reply_that_is_no_frame_is_told() {
    let bus = Bus::open("embedded:").unwrap();
    let queue = polybus::Queue::new(Stage::queue());
    bus.transport().declare(&polybus::Topology::new().queue(queue)).await.unwrap();
    let (_trigger, shutdown) = Shutdown::manual();
    tokio::spawn(polybus::Worker::new(&bus, Stage::queue(), Wrong).run(shutdown));
    let error = Client::new(&bus, identity()).call(say("x")).await.unwrap_err();
    assert_eq!(error.exit_code(), 76);
}

#[tokio::test]
async fn generation_0_is_served_only_on_request() {
    let frame = "{\"protocol_version\":\"0.3.0\",\"client_name\":\"c\",\"time\":1,\
                 \"command\":{\"program\":\"echo\",\"starttime\":\"0\",\"endtime\":\"0\",\"data\":\"aGk=\"}}";
    let stage = Stage::new(|server| server).await;
    assert_eq!(stage.refused(frame).await, (76, "version-mismatch".to_owned()));
    let stage = Stage::new(|server| server.with_generation0(true)).await;
    let reply = stage.raw(frame).await;
    assert!(reply.is_generation0(), "answered in its own shape");
    assert!(Frame::request("echo", Appdata::new(), &identity()).write(1 << 20).is_ok());
}
