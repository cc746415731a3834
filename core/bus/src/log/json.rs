//! Log records that are JSON objects.

use super::classic::named;
use super::time::{SentTime, of_number};
use super::{Format, Level, Record};
use crate::frame::{Json, Object, integer};

pub(super) fn record(line: &str) -> Option<Record> {
    if !line.trim_start().starts_with('{') {
        return None;
    }
    let json = Json::parse(line).ok()?;
    let object = json.as_object()?;
    let time = scalar(object, &["timestamp", "@timestamp", "time", "timeMillis"]);
    let message = scalar(object, &["message", "msg"]).map(text).unwrap_or_default();
    Some(Record {
        moment: time.and_then(moment),
        time: time.map(text),
        host: scalar(object, &["host", "hostname", "source_host"]).map(text),
        id: scalar(object, &["id", "uuid", "guid"]).map(text),
        program: scalar(object, &["program", "app"]).map(text),
        component: scalar(object, &["component", "loggerName", "logger", "name"])
            .and_then(|value| named(&text(value))),
        pid: scalar(object, &["pid", "process"]).and_then(integer),
        level: scalar(object, &["level", "severity"]).and_then(|value| Level::of_word(&text(value))),
        ..Record::bare(Format::Json, &message, line)
    })
}

/// The first of these keys that holds a text or a number.
fn scalar<'a>(object: &'a Object, keys: &[&str]) -> Option<&'a Json> {
    let values = keys.iter().filter_map(|key| object.get(key));
    values.into_iter().find(|value| matches!(value, Json::String(_) | Json::Number(_)))
}

fn text(value: &Json) -> String {
    match value {
        Json::Number(number) => number.shortest_text(),
        other => other.as_str().unwrap_or_default().to_owned(),
    }
}

/// A written time, or a number of seconds or milliseconds; a text of digits alone is such a number too.
fn moment(value: &Json) -> Option<jiff::Timestamp> {
    match value {
        Json::Number(number) => of_number(&number.as_written()),
        Json::String(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            of_number(text)
        }
        other => SentTime::read(other.as_str()?)?.moment,
    }
}
