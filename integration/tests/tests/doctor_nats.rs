//! `polybus doctor` on NATS: each of these misconfigurations is made on a real server, and named with its consequence and
//! remedy.

use polybus_brokers::{Kind, Options, Tls};
use polybus_tests::{Error, Examined, House, Mirror, Nats, Wanted, examined};
use serde_json::{Value, json};

fn client(house: &House) -> Result<Nats, Error> {
    let (user, password) = house.broker.login();
    Nats::connect(&house.broker.address(), user, password)
}

fn doctor(house: &House, words: &str) -> Result<Examined, Error> {
    examined(&house.desk, &format!("anon {} {words}", house.flag()))
}

fn told(name: &str, checked: Result<(), Error>) -> Option<String> {
    checked.err().map(|error| format!("{name}: {error}"))
}

/// Streams that somebody made who does not know Polybus, with one setting other than Polybus would have it.
fn streams() -> Vec<(&'static str, Value, Wanted)> {
    vec![
        ("s1", json!({"storage": "memory"}), ("queue-not-durable", "fault", "queue s1", "memory")),
        ("s2", json!({"retention": "limits"}), ("queue-retention", "fault", "s2", "limits")),
        ("s3", json!({"retention": "interest"}), ("queue-retention", "fault", "s3", "interest")),
        ("s4", json!({"discard": "old"}), ("overflow-drops", "fault", "s4", "discard old")),
        (
            "s5",
            json!({"max_age": 60_000_000_000_i64, "duplicate_window": 1_000_000_000}),
            ("messages-expire", "fault", "s5", "60 s"),
        ),
        ("s6", json!({"max_msgs": 10}), ("queue-bound", "notice", "s6", "max_msgs 10")),
        ("s7", json!({"max_msgs": -1, "max_bytes": -1}), ("queue-unbounded", "notice", "s7", "max_msgs -1")),
        ("s8", json!({"no_ack": true}), ("stream-no-ack", "fault", "s8", "no_ack")),
        ("s9", json!({"max_msg_size": 1000}), ("message-limit", "warning", "s9", "1000")),
        ("s10", json!({"duplicate_window": 1_000_000_000}), ("dedup-window", "notice", "s10", "1 s")),
        ("s11", json!({"deny_purge": true}), ("stream-sealed", "fault", "s11", "deny_purge")),
    ]
}

fn consumers() -> Vec<(&'static str, &'static str, Value, Wanted)> {
    vec![
        (
            "c1",
            "workers",
            json!({"max_deliver": 3}),
            ("delivery-limit", "fault", "queue c1", "max_deliver is 3"),
        ),
        ("c2", "workers", json!({"ack_wait": 1_000_000_000}), ("lease-short", "warning", "c2", "1 s")),
        (
            "c3",
            "workers",
            json!({"ack_wait": 3_600_000_000_000_i64}),
            ("lease-long", "notice", "c3", "3600 s"),
        ),
        (
            "c4",
            "workers",
            json!({"max_ack_pending": 1}),
            ("pending-limit", "warning", "c4", "max_ack_pending is 1"),
        ),
        ("c5", "workers", json!({"headers_only": true}), ("consumer-partial", "fault", "c5", "headers_only")),
        (
            "c6",
            "workers",
            json!({"inactive_threshold": 60_000_000_000_i64}),
            ("consumer-expires", "warning", "c6", "60 s"),
        ),
        ("c7", "mine", json!({}), ("consumer-foreign", "fault", "c7", "mine")),
    ]
}

fn settings_of_streams(house: &House, faults: &mut Vec<String>) -> Result<(), Error> {
    let mut nats = client(house)?;
    for (base, changes, (code, grade, object, observed)) in streams() {
        nats.stream(&format!("{base}_0.5.5"), &changes)?;
        let found = doctor(house, &format!("-q {base}"))?;
        faults.extend(told(base, found.names(code, grade, object, observed)));
    }
    for (base, name, changes, (code, grade, object, observed)) in consumers() {
        let queue = format!("{base}_0.5.5");
        nats.stream(&queue, &json!({}))?;
        nats.consumer(&queue, name, &changes)?;
        let found = doctor(house, &format!("-q {base}"))?;
        faults.extend(told(base, found.names(code, grade, object, observed)));
    }
    // A consumer that takes silence for an ack cannot be on a work queue.
    nats.stream("c8_0.5.5", &json!({"retention": "limits"}))?;
    nats.consumer("c8_0.5.5", "workers", &json!({"ack_policy": "all"}))?;
    faults.extend(told("c8", doctor(house, "-q c8")?.names("consumer-acks", "fault", "c8", "all")));
    let all = json!({"name": "greedy", "subjects": ["polybus.q.taken_0.>"], "max_bytes": 1 << 20});
    nats.ask("$JS.API.STREAM.CREATE.greedy", &all)?;
    let found = doctor(house, "-q taken")?;
    faults.extend(told("taken", found.names("subject-taken", "fault", "taken", "greedy")));
    let lines = json!({"name": "polybus+t+lines", "subjects": ["lines"], "retention": "interest", "storage": "memory", "max_bytes": 1 << 20});
    nats.ask("$JS.API.STREAM.CREATE.polybus+t+lines", &lines)?;
    let found = doctor(house, "--durable --log-exchange lines")?;
    faults.extend(told("lines", found.names("topic-not-durable", "fault", "topic lines", "memory")));
    let replicas = format!("{}?replicas=3", house.flag());
    let found = examined(&house.desk, &format!("anon {replicas} -q s6"))?;
    faults.extend(told("replicas", found.names("replicas-fewer", "warning", "s6", "1 replicas, 3")));
    Ok(())
}

/// A server and a queue as they should be.
fn sound(house: &House, of_version: &[&str]) -> Result<(), Error> {
    let codes = |found: &Examined| -> Vec<String> {
        found.bad().lines().filter_map(|line| line.split('"').nth(3).map(str::to_owned)).collect()
    };
    let before = doctor(house, "-q sound")?;
    assert_eq!(
        (codes(&before), before.code),
        (of_version.iter().map(ToString::to_string).collect(), Some(0)),
        "{}",
        before.bad()
    );
    let server = house.serve(&format!("polybus serve anon -q sound {}", house.flag()), "anon", "sound")?;
    let during = doctor(house, "-q sound")?;
    assert_eq!(
        (codes(&during), during.code),
        (of_version.iter().map(ToString::to_string).collect(), Some(0)),
        "{}",
        during.bad()
    );
    assert!(!during.text.contains(house.broker.login().1), "no password is shown");
    assert_eq!(server.terminate()?.0, Some(0));
    Ok(())
}

fn examines(kind: Kind, of_version: &[&str]) -> Result<House, Error> {
    let house = House::new(kind)?;
    sound(&house, of_version)?;
    let mut faults = Vec::new();
    settings_of_streams(&house, &mut faults)?;
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(house)
}

#[test]
fn nats_2_9() -> Result<(), Error> {
    let house = examines(Kind::NATS_2_9, &["server-old", "message-limit"])?;
    doctor(&house, "-q sound")?.names("clock-skew", "unknown", "server", "")
}

#[test]
fn nats_2_10() -> Result<(), Error> {
    let house = examines(Kind::NATS_2_10, &["message-limit"])?;
    clocks(&house)
}

#[test]
fn nats_2_15() -> Result<(), Error> {
    let house = examines(Kind::NATS_2_15, &["message-limit"])?;
    clocks(&house)?;
    let mut nats = client(&house)?;
    nats.stream("paused_0.5.5", &json!({}))?;
    nats.consumer("paused_0.5.5", "workers", &json!({"pause_until": "2100-01-01T00:00:00Z"}))?;
    doctor(&house, "-q paused")?.names("consumer-paused", "fault", "paused", "2100")
}

/// A server whose clock is a year ahead, as its answers tell.
fn clocks(house: &House) -> Result<(), Error> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let year = 1970 + since.as_secs() / 31_556_952;
    let (from, to) = (format!("\"ts\":\"{year}"), format!("\"ts\":\"{}", year + 1));
    let mirror = Mirror::new(&house.broker.address(), &from, &to)?;
    let bus = house.broker.url_at(&mirror.address());
    examined(&house.desk, &format!("anon -q sound --bus {bus}"))?.names(
        "clock-skew",
        "warning",
        "server",
        "ahead of ours",
    )
}

/// A server with these lines in its configuration, and what is found there.
fn with_config(settings: &str, words: &str, found: &[Wanted]) -> Result<House, Error> {
    let house = House::with(Kind::NATS_2_10, &Options::default().with_config(settings))?;
    let examined = doctor(&house, words)?;
    for (code, grade, object, observed) in found {
        examined.names(code, grade, object, observed)?;
    }
    Ok(house)
}

#[test]
fn small_payloads() -> Result<(), Error> {
    let small: Wanted = ("message-limit", "warning", "server", "max_payload is 65536");
    let house = with_config("max_payload: 65536", "", &[small])?;
    let stated = doctor(&house, "--max-bytes 1000000")?;
    stated.names("message-limit", "fault", "server", "max_bytes is 1000000")
}

#[test]
fn no_jetstream() -> Result<(), Error> {
    let accounts = "accounts: {plain: {users: [{user: plain, password: plain}]}, SYS: {}}";
    let house = House::with(Kind::NATS_2_10, &Options::default().with_config(accounts))?;
    let bus = format!("nats://plain:plain@{}", house.broker.address());
    examined(&house.desk, &format!("anon --bus {bus}"))?.names(
        "jetstream-off",
        "fault",
        "server",
        "not enabled",
    )
}

/// An account with these limits, or a user with these permissions.
fn limited(account: &str, user: &str) -> Result<(House, String), Error> {
    let accounts = format!(
        "accounts: {{lab: {{jetstream: {account}, users: [{{user: lab, password: lab{user}}}]}}, SYS: {{}}}}"
    );
    let house = House::with(Kind::NATS_2_10, &Options::default().with_config(accounts))?;
    let bus = format!("--bus nats://lab:lab@{}", house.broker.address());
    Ok((house, bus))
}

#[test]
fn limits_of_the_account() -> Result<(), Error> {
    let (house, bus) =
        limited("{max_file: 100000000, max_streams: 1, max_consumers: 1, max_ack_pending: 5}", "")?;
    let found = examined(&house.desk, &format!("anon {bus}"))?;
    found.names("stream-limit", "fault", "account", "0 of 1 streams")?;
    found.names("consumer-limit", "fault", "account", "0 of 1 consumers")?;
    found.names("storage-limit", "warning", "account", "100000000")?;
    let (house, bus) = limited("{max_file: 1}", "")?;
    let found = examined(&house.desk, &format!("anon {bus}"))?;
    found.names("storage-limit", "warning", "account", "of 1 (max_storage)")
}

/// What waits already is more than the account may store from now on.
#[test]
fn an_account_that_may_store_no_more() -> Result<(), Error> {
    let house = House::new(Kind::NATS)?;
    let mut nats = client(&house)?;
    nats.stream("full_0.5.5", &json!({"max_bytes": 1 << 20}))?;
    nats.ask("polybus.q.full_0.5.5", &json!("a request"))?;
    house.fill()?;
    doctor(&house, "-q full")?.names("storage-full", "fault", "account", "of 1 (max_storage)")?;
    house.relieve()?;
    doctor(&house, "-q full")?.names("storage-limit", "fine", "account", "")
}

#[test]
fn permissions() -> Result<(), Error> {
    let publish = ", permissions: {publish: {deny: [\"$JS.API.STREAM.CREATE.>\", \"polybus.q.>\"]}}";
    let (house, bus) = limited("enabled", publish)?;
    let found = examined(&house.desk, &format!("anon {bus}"))?;
    found.names("permission-publish", "fault", "queue anon_0.5.5", "STREAM.CREATE.polybus+q+anon_0=5=5")?;
    found.names("permission-publish", "fault", "queue anon_0.5.5", "polybus.q.anon_0.5.5")?;
    let listen = ", permissions: {subscribe: {deny: [\"polybus.s.>\", \"logs\"]}}";
    let (house, bus) = limited("enabled", listen)?;
    let found = examined(&house.desk, &format!("anon {bus}"))?;
    found.names("permission-subscribe", "fault", "queue anon_0.5.5", "polybus.s.anon_0.5.5")?;
    found.names("permission-subscribe", "fault", "topic logs", "logs")?;
    let no_looks = ", permissions: {publish: {deny: [\"$JS.API.STREAM.INFO.>\"]}}";
    let (house, bus) = limited("enabled", no_looks)?;
    Nats::connect(&house.broker.address(), "lab", "lab")?.stream("shy_0.5.5", &json!({}))?;
    let found = examined(&house.desk, &format!("anon -q shy {bus}"))?;
    found.names("permission-publish", "fault", "queue shy_0.5.5", "STREAM.INFO")?;
    found.names("no-leader", "unknown", "queue shy_0.5.5", "the stream is there")?;
    let no_replies = ", permissions: {subscribe: {deny: [\"_INBOX.>\"]}}";
    let (house, bus) = limited("enabled", no_replies)?;
    examined(&house.desk, &format!("anon {bus}"))?.names("permission-subscribe", "fault", "replies", "_INBOX")
}

#[test]
fn who_cannot_connect_is_told_why() -> Result<(), Error> {
    let house = House::new(Kind::NATS)?;
    let (user, password) = house.broker.login();
    let address = house.broker.address();
    for (bus, code, observed) in [
        (house.broker.stranger_url(), "credentials-refused", ""),
        (format!("nats+tls://{user}:{password}@{address}"), "tls-missing", "nothing of TLS"),
        (format!("amqp://{user}:{password}@{address}/main"), "other-protocol", "NATS"),
    ] {
        let found = examined(&house.desk, &format!("anon --bus {bus}"))?;
        found.names(code, "fault", "", observed).map_err(|error| format!("{code}: {error}"))?;
        assert!(!found.text.contains(password) && !found.text.contains("not-the-password"), "{}", found.text);
    }
    let house = House::with(Kind::NATS, &Options::default().with_tls(Tls::Mutual))?;
    let url = house.broker.tls_url();
    let without = url.split("&cert=").next().unwrap_or_default();
    examined(&house.desk, &format!("anon --bus {without}"))?.names("tls-failed", "fault", "127.0.0.1", "")
}
