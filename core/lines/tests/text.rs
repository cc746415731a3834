//! Lines to the byte: what is written here is spoken by both wires that use them.

#![allow(clippy::unwrap_used, reason = "tests end at the first surprise")]

use std::time::Duration;

use polybus_contract::{
    Capability, Confirm, Deadline, Declared, Difference, Durability, Error, Feature, Fidelity, Gap, GapCause,
    Group, Intake, Kind, LeaseGrade, MessageId, Name, Object, Operation, Place, Profile, PublishOptions,
    Queue, QueueInfo, Redriven, RemoteError, Replies, ReplyOptions, RequestOptions, SettleGrade, Status,
    Target, Topic, Topology, UnixMillis,
};
use polybus_lines::{
    AnswerLine, AskLine, DeclaredLine, ErrorLine, GapLine, InfoLine, IntakeLine, ObjectLine, PlaceLine,
    ProfileLine, PublishLine, RedrivenLine, TargetLine, TopologyLine,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Written so, and the same after it was read.
fn is<T: Serialize + DeserializeOwned>(line: &T, text: &str) {
    assert_eq!(serde_json::to_string(line).unwrap(), text);
    let again: T = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&again).unwrap(), text);
}

#[test]
fn places() {
    is(&TargetLine::from(&Target::Queue(name("q"))), r#"{"queue":"q"}"#);
    is(&TargetLine::from(&Target::Topic(name("t"))), r#"{"topic":"t"}"#);
    is(&IntakeLine::from(&Intake::Queue(name("q"))), r#"{"queue":"q"}"#);
    let intake = Intake::Group { topic: name("t"), group: name("g") };
    is(&IntakeLine::from(&intake), r#"{"group":{"topic":"t","group":"g"}}"#);
    is(&ObjectLine::from(&Object::Queue(name("q"))), r#"{"queue":"q"}"#);
    is(&ObjectLine::from(&Object::Topic(name("t"))), r#"{"topic":"t"}"#);
    let object = Object::Group { topic: name("t"), group: name("g") };
    is(&ObjectLine::from(&object), r#"{"group":{"topic":"t","group":"g"}}"#);
    is(&[PlaceLine::from(Place::Ready), PlaceLine::from(Place::Dead)], r#"["ready","dead"]"#);
}

const QUEUE: &str = concat!(
    r#"{"name":"jobs","durability":"disk","bounds":{"messages":1000000,"bytes":1073741824,"drop_oldest":false},"#,
    r#""dead_bounds":{"messages":1000,"bytes":67108864,"drop_oldest":true},"lease_ms":1501,"max_attempts":5,"#,
    r#""priorities":true,"keep_expired":false}"#,
);

#[test]
fn topology() {
    let queue = || {
        let queue = Queue::new(name("jobs")).with_durability(Some(Durability::Disk)).with_priorities(true);
        queue.with_lease(Duration::from_micros(1_500_500))
    };
    let group =
        Group::new(name("t"), name("g")).with_queue(queue()).with_unused(Some(Duration::from_secs(5)));
    let topology = Topology::new()
        .queue(queue())
        .topic(Topic::durable(name("t")))
        .topic(Topic::new(name("u")))
        .group(group);
    let text = format!(
        r#"{{"queues":[{QUEUE}],"topics":[{{"name":"t","durable":true}},{{"name":"u","durable":false}}],{}}}"#,
        format_args!(r#""groups":[{{"topic":"t","name":"g","queue":{QUEUE},"unused_ms":5000}}]"#),
    );
    let line = TopologyLine::from(&topology);
    is(&line, &text);
    assert_eq!(format!("{:?}", TopologyLine::from(&line.topology().unwrap())), format!("{line:?}"));

    let mut declared = Declared::default();
    declared.created.push("queue q".into());
    let (wanted, found) = ("1".into(), "2".into());
    declared.differences.push(Difference { object: "queue q".into(), setting: "lease", wanted, found });
    let text = r#"{"created":["queue q"],"differences":[["queue q","lease","1","2"]]}"#;
    is(&DeclaredLine::from(declared), text);
}

#[test]
fn a_queue_needs_no_more_than_its_name() {
    let line: TopologyLine = serde_json::from_str(r#"{"queues":[{"name":"jobs","later":1}]}"#).unwrap();
    let plain = Topology::new().queue(Queue::new(name("jobs")));
    assert_eq!(format!("{:?}", line.topology().unwrap()), format!("{plain:?}"));
}

#[test]
fn options() {
    let text =
        r#"{"confirm":"where_able","within_ms":10000,"wait_when_full":false,"delay_ms":1,"send_number":0}"#;
    let delay = Some(Duration::from_micros(10));
    is(
        &PublishLine::from(&PublishOptions::default().with_confirm(Confirm::WhereAble).with_delay(delay)),
        text,
    );
    let text = r#"{"deadline_ms":null,"fail_if_nobody":false,"many":true,"count":3,"send_number":0,"at_most_once":false}"#;
    let options =
        RequestOptions::default().with_deadline(Deadline::Never).with_replies(Replies::Many(Some(3)));
    is(&AskLine::from(&options), text);
    let text = concat!(
        r#"{"within_ms":10000,"index":2,"last":false,"attempt":1,"responder":"r","#,
        r#""error":{"code":"c","text":"t"}}"#
    );
    let error = RemoteError { code: "c".into(), text: "t".into() };
    let options = ReplyOptions::default().with_index(2_u32).with_last(false).with_attempt(Some(1_u32));
    is(&AnswerLine::from(&options.with_responder(Some("r".into())).with_error(Some(error))), text);
}

#[test]
fn options_that_are_left_out_are_the_usual_ones() {
    let publish: PublishLine = serde_json::from_str("{}").unwrap();
    assert_eq!(format!("{:?}", publish.options().unwrap()), format!("{:?}", PublishOptions::default()));
    let ask: AskLine = serde_json::from_str("{}").unwrap();
    assert_eq!(format!("{:?}", ask.options()), format!("{:?}", RequestOptions::default()));
    let answer: AnswerLine = serde_json::from_str("{}").unwrap();
    assert_eq!(format!("{:?}", answer.options()), format!("{:?}", ReplyOptions::default()));
}

#[test]
fn figures_and_gaps() {
    let info = QueueInfo { ready: Some(1), oldest: Some(UnixMillis(5)), ..QueueInfo::default() };
    let text = concat!(
        r#"{"ready":1,"delayed":null,"leased":null,"dead":null,"bytes":null,"consumers":null,"oldest":5,"#,
        r#""sent":null,"handed_out":null,"settled":null}"#,
    );
    is(&InfoLine::from(info), text);
    is(&RedrivenLine::from(Redriven::new(1, 2, 3)), r#"{"moved":1,"refused":2,"left":3}"#);
    let words = [
        (GapCause::SlowReader, "slow_reader"),
        (GapCause::Outage, "outage"),
        (GapCause::Bound, "bound"),
        (GapCause::Network, "network"),
    ];
    for (cause, word) in words {
        let line = GapLine::from(Gap { missed: Some(1), cause });
        is(&line, &format!(r#"{{"missed":1,"cause":"{word}"}}"#));
        assert_eq!(Gap::from(line).cause, cause);
    }
    let unknown = Gap { missed: None, cause: GapCause::Network };
    is(&GapLine::from(unknown), r#"{"missed":null,"cause":"network"}"#);
}

#[test]
fn errors() {
    let texts = [
        (Kind::Full, r#""full""#),
        (Kind::Unsupported(Feature::Scatter), r#""unsupported","feature":"scatter""#),
        (Kind::TooLarge { limit: 5, size: 7 }, r#""too_large","limit":5,"size":7"#),
    ];
    let rest = r#""status":"unknown","operation":"publish","target":"jobs","message_id":"m","detail":"why""#;
    for (kind, text) in texts {
        let error = Error::new(kind, Operation::Publish).with_target("jobs").with_status(Status::Unknown);
        let error = error.with_detail("why").with_message_id(MessageId::from("m"));
        is(&ErrorLine::from(&error), &format!(r#"{{"kind":{text},{rest}}}"#));
    }
}

#[test]
fn a_profile() {
    let capability = Capability {
        queue: true,
        priority: true,
        settle: SettleGrade::Confirmed,
        lease: LeaseGrade::Timed,
        max_priority: 9,
        max_message: Some(1 << 30),
        dedup_window: Some(Duration::from_secs(5)),
        ..Capability::default().surviving(Durability::Disk)
    };
    let profile = Profile::new("kind", "here", capability, Fidelity::all());
    let text = concat!(
        r#"{"instance":"here","features":["queue","priority","durability_process","durability_disk","settle","#,
        r#""settle_confirmed","lease_timed","dedup"],"durability":"disk","settle":"confirmed","attempts":"none","#,
        r#""lease":"timed","lease_limit_ms":null,"max_message":1073741824,"max_priority":9,"dedup_window_ms":5000,"#,
        r#""fidelity":["id","content_type","content_encoding","headers","header_types","correlation_id","reply_to","#,
        r#""created","expires","priority","sender","deadline"]}"#,
    );
    is(&ProfileLine::from(&profile), text);
}
