//! Messages to the byte, and what is read of them.

#![allow(clippy::unwrap_used, reason = "tests end at the first surprise")]

use bytes::Bytes;
use polybus_contract::{Death, Message, Name, Reason, ReplyTo, UnixMillis, Value};
use polybus_lines::{DEPTH, MessageLine, Names};
use serde_json::json;

fn message() -> Message {
    let values = [
        Value::Null,
        Value::Bool(true),
        Value::Int(i64::MIN),
        Value::UInt(u64::MAX),
        Value::Float(-0.1),
        Value::Decimal { digits: -5, scale: 3 },
        Value::Bytes(Bytes::from_static(b"\xff\x00")),
        Value::Time(UnixMillis(-7)),
        Value::Map(vec![("k".into(), Value::List(vec![Value::Text("\u{e9}\n".into())]))]),
    ];
    let death = Death {
        reason: Reason::Decode,
        error: Some("e".into()),
        attempts: 3,
        first: None,
        at: UnixMillis(9),
        queue: Name::new("q").unwrap(),
        whole: true,
    };
    let mut message = Message::new(&b"\x00\xffbody"[..])
        .with_id("m-1")
        .with_content_type("a/b")
        .with_content_encoding("zlib")
        .with_correlation_id("c")
        .with_reply_to(ReplyTo::new("here", "7"))
        .with_created(UnixMillis(1))
        .with_expires(UnixMillis(2))
        .with_deadline(UnixMillis(3))
        .with_priority(4)
        .with_sender("s")
        .with_death(death);
    for (number, value) in values.into_iter().enumerate() {
        message = message.with_header(format!("h{number}"), value).unwrap();
    }
    message.carried_mut().set_carried("x-polybus-at-most-once", true);
    message
}

const TEXT: &str = concat!(
    r#"{"id":"m-1","content_type":"a/b","content_encoding":"zlib","#,
    r#""headers":[{"name":"h0","type":"null"},{"name":"h1","type":"bool","value":true},"#,
    r#"{"name":"h2","type":"int","value":"-9223372036854775808"},"#,
    r#"{"name":"h3","type":"uint","value":"18446744073709551615"},{"name":"h4","type":"float","value":"-0.1"},"#,
    r#"{"name":"h5","type":"decimal","value":{"digits":"-5","scale":3}},"#,
    r#"{"name":"h6","type":"bytes","value":"/wA="},{"name":"h7","type":"time","value":-7},"#,
    r#"{"name":"h8","type":"map","value":[{"name":"k","type":"list","value":[{"type":"text","value":"é\n"}]}]}],"#,
    r#""carried":[{"name":"x-polybus-at-most-once","type":"bool","value":true}],"#,
    r#""correlation_id":"c","reply_to":"7","created":1,"expires":2,"deadline":3,"priority":4,"sender":"s","#,
    r#""death":{"reason":"decode","error":"e","attempts":3,"first":null,"at":9,"queue":"q","whole":true}}"#,
);

fn read(line: &MessageLine, names: Names) -> Result<Message, String> {
    line.message(&b"\x00\xffbody"[..], names, |address| ReplyTo::new("here", address.as_str()))
}

#[test]
fn a_message_is_written_to_the_byte() {
    let line = MessageLine::of(&message(), ReplyTo::to_string);
    assert_eq!(serde_json::to_string(&line).unwrap(), TEXT);
    let nothing = MessageLine::of(&Message::new("body"), ReplyTo::to_string);
    assert_eq!(serde_json::to_string(&nothing).unwrap(), "{}");
}

#[test]
fn messages_are_the_same_on_both_sides() {
    let message = message();
    let line: MessageLine = serde_json::from_str(TEXT).unwrap();
    for names in [Names::Checked, Names::Carried] {
        let again = read(&line, names).unwrap();
        assert_eq!(format!("{again:?}"), format!("{message:?}"));
        assert_eq!(again.body().as_bytes(), message.body().as_bytes());
        assert_eq!(again.headers(), message.headers());
        assert_eq!(again.carried(), message.carried());
        assert_eq!(again.properties(), message.properties());
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    for (line, part) in [
        (r#"{"headers":[{"name":"h","type":"int","value":"1.5"}]}"#, "1.5"),
        (r#"{"headers":[{"name":"h","type":"bytes","value":"?"}]}"#, "base64"),
        (r#"{"headers":[{"name":"x-polybus-h","type":"null"}]}"#, "reserved"),
        (r#"{"headers":[{"name":"h","type":"null"},{"name":"h","type":"null"}]}"#, "already"),
    ] {
        let line: MessageLine = serde_json::from_str(line).unwrap();
        let fault = read(&line, Names::Checked).unwrap_err();
        assert!(fault.contains(part), "{fault}");
    }
}

#[test]
fn reserved_names_pass_where_names_are_carried() {
    let line: MessageLine =
        serde_json::from_str(r#"{"headers":[{"name":"x-polybus-h","type":"null"}]}"#).unwrap();
    assert_eq!(read(&line, Names::Carried).unwrap().headers().len(), 1);
}

#[test]
fn headers_are_nested_so_deep_and_no_deeper() {
    let nested = |depth| {
        let value =
            (1..depth).fold(json!({"type": "null"}), |value, _| json!({"type": "list", "value": [value]}));
        let mut header = json!({"name": "h"});
        header.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        let line: MessageLine = serde_json::from_value(json!({"headers": [header]})).unwrap();
        read(&line, Names::Checked).map(drop)
    };
    assert_eq!(nested(DEPTH), Ok(()));
    assert!(nested(DEPTH + 1).unwrap_err().contains("too deep"));
}
