//! The vectors, and what must hold for any bytes.

mod fake;
mod fanout;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::frame::Identity;
use crate::frame::tests::{bytes_of, id, vectors};

fn identity() -> Identity {
    Identity::new("anon_client", "example.org")
}

fn received() -> Timestamp {
    Timestamp::from_microsecond(1_415_235_136_000_005).unwrap()
}

#[test]
fn lines_are_read_as_the_vectors_say() {
    for vector in vectors("loglines.jsonl") {
        let record = Record::read(&bytes_of(&vector, "line")).to_json();
        assert_eq!(record.compact(), vector.get("expect").unwrap().compact(), "{}", id(&vector));
    }
}

#[test]
fn edges_of_the_forms() {
    let uuid = "431270E5-B42A-4625-801D-1777DD9EFF81";
    let format = |line: &str| Record::read(line.replace("ID", uuid).as_bytes()).format;
    for (line, want) in [
        ("2014-11-05T17:01:53Z h ID p [-] [-] INFO", Format::Full),
        ("2014-11-05T17:01:53Z h ID p [] [1] info m", Format::Full),
        ("2014-11-05T17:01:53Z h ID p [a [b] [1] INFO m", Format::Opaque),
        ("2014-11-05T17:01:53Z  h ID p [-] [1] INFO m", Format::Opaque),
        ("2014-11-05T17:01:53Z h ID p [-] [] INFO m", Format::Opaque),
        ("2014-11-05T17:01:53Z h ID p [-] [1] INFO\nm", Format::Opaque),
        ("2014-11-05T17:01:53Z h ID [x] INFO m", Format::Short),
        ("2014-11-05T17:01:53Z h {ID} c INFO m", Format::Opaque),
        (" {\"message\":1}", Format::Json),
        ("{\"message\":NaN}", Format::Opaque),
        ("ID:", Format::Server),
        ("ID:m", Format::Opaque),
        ("", Format::Opaque),
    ] {
        assert_eq!(format(line), want, "{line}");
    }
    assert_eq!(Record::read(format!("{uuid}: m").as_bytes()).id.unwrap(), uuid.to_lowercase());
}

#[test]
fn json_records_take_the_first_scalar() {
    let record = Record::read(
        br#"{"timestamp":true,"@timestamp":null,"time":"1415235136123","component":"-",
        "host":{},"hostname":7.50,"id":"A","pid":"42","severity":"err","msg":"m","message":null}"#,
    );
    assert_eq!(record.time.as_deref(), Some("1415235136123"));
    assert_eq!(record.moment.unwrap().as_millisecond(), 1_415_235_136_123);
    assert_eq!((record.host.as_deref(), record.id.as_deref()), (Some("7.5"), Some("A")));
    assert_eq!((record.component, record.pid, record.level), (None, Some(42), Some(Level::Error)));
    assert_eq!(record.message, "m");
}

#[test]
fn a_monitor_shows_the_senders_time() {
    let line =
        "2014-11-05T17:01:53,62-08:00 h 431270e5-b42a-4625-801d-1777dd9eff81 p [-] [1] INFO a\u{1b}\r\nb\r\n";
    let record = Record::read(line.as_bytes());
    let rest = "h 431270e5-b42a-4625-801d-1777dd9eff81 p [-] [1] INFO a\\x1b\\x0d\nb\n";
    assert_eq!(record.shown(received(), Zone::Utc), format!("2014-11-06T01:01:53.62+00:00 {rest}"));
    assert_eq!(
        record.shown_as_received(received(), Zone::Utc),
        format!("2014-11-06T00:52:16.000005+00:00 2014-11-05T17:01:53,62-08:00 {rest}")
    );
    let opaque = Record::read(b"");
    assert_eq!(opaque.shown(received(), Zone::Utc), "2014-11-06T00:52:16.000005+00:00 \n");
}

#[test]
fn a_written_line_has_six_digits_and_one_line() {
    let mut identity = identity();
    identity.hostname = "h 1".to_owned();
    let line = LogLine {
        time: received(),
        identity: &identity,
        component: Some("a[b]"),
        level: Level::Notice,
        message: "two\nlines\t\u{7}",
    };
    let want = format!(
        "2014-11-06T00:52:16.000005+00:00 h_1 {} anon_client [a(b)] [{}] NOTICE two\\nlines\t\\x07",
        identity.id, identity.pid
    );
    assert_eq!(line.to_string(), want);
}

proptest! {
    #[test]
    fn any_bytes_are_a_record(body: Vec<u8>) {
        let record = Record::read(&body);
        let _ = record.to_json().compact();
        prop_assert!(record.shown(received(), Zone::Local).ends_with('\n'));
    }

    #[test]
    fn any_json_object_is_a_record(key in "timestamp|time|pid|level|message", text in "[0-9eE.+\\-]{1,12}") {
        let _ = Record::read(format!("{{\"{key}\":{text}}}").as_bytes()).to_json();
        let record = Record::read(format!("{{\"{key}\":\"{text}\"}}").as_bytes());
        prop_assert_eq!(record.format, Format::Json);
    }

    #[test]
    fn what_is_written_reads_back(message: String, component in "[^\\[\\]\\p{C}-]{1,9}", level in 0..8_usize) {
        let identity = identity();
        let level = Level::ALL[level];
        let line = LogLine {
            time: received(), identity: &identity, component: Some(&component), level, message: &message,
        };
        let record = Record::read(line.to_string().as_bytes());
        prop_assert_eq!(record.format, Format::Full);
        prop_assert_eq!(record.message, super::escape::one_line(&message));
        prop_assert_eq!(record.component, Some(component));
        prop_assert_eq!((record.level, record.pid), (Some(level), Some(i64::from(identity.pid))));
        prop_assert_eq!(record.moment, Some(received()));
    }
}
