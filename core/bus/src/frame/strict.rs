//! What a strictly written frame is (PRISEM services specification, 4.3).

use super::{Json, Number, Object, base64};

/// The nine keys.
const KEYS: [&str; 9] =
    ["name", "release", "protocolver", "hostname", "platform", "pika_version", "pid", "time", "appdata"];

/// Fields whose text is base64.
const CONTENTS: [&str; 5] = ["data", "netmap", "searchfile", "stdout", "stderr"];

/// Fields whose text is `true` or `false`.
const FLAGS: [&str; 5] = ["usage", "json", "stats", "noheader", "window"];

/// The sorted fault codes of a frame: `bad-utf8`, `bad-json`, `not-object`, `missing:K`, `extra:K`, `type:K`,
/// `base64:K`, `bool:K`. Empty for a frame that keeps the rule.
#[must_use]
pub fn check_strict(body: &[u8]) -> Vec<String> {
    let Ok(text) = std::str::from_utf8(body) else { return vec!["bad-utf8".to_owned()] };
    match Json::parse(text) {
        Err(_) => vec!["bad-json".to_owned()],
        Ok(Json::Object(frame)) => faults_of(&frame),
        Ok(_) => vec!["not-object".to_owned()],
    }
}

fn faults_of(frame: &Object) -> Vec<String> {
    let missing = KEYS.into_iter().filter(|key| frame.get(key).is_none());
    let mut faults: Vec<String> = missing.map(|key| format!("missing:{key}")).collect();
    for (key, value) in frame.iter() {
        if !KEYS.contains(&key) {
            faults.push(format!("extra:{key}"));
        } else if !has_its_type(key, value) {
            faults.push(format!("type:{key}"));
        }
    }
    if let Some(appdata) = frame.get("appdata").and_then(Json::as_object) {
        faults.extend(missing_streams(appdata));
        faults.extend(appdata.iter().flat_map(|(key, value)| field_fault(key, value)));
    }
    faults.sort_unstable();
    faults.dedup();
    faults
}

fn has_its_type(key: &str, value: &Json) -> bool {
    match (key, value) {
        ("appdata", Json::Object(_)) => true,
        ("pid" | "time", Json::Number(number)) => is_positive_integer(number),
        ("appdata" | "pid" | "time", _) => false,
        (_, value) => value.as_str().is_some_and(|text| !text.is_empty()),
    }
}

fn is_positive_integer(number: &Number) -> bool {
    let text = number.as_written();
    number.is_integer_token() && !text.starts_with('-') && text != "0"
}

fn missing_streams(appdata: &Object) -> Vec<String> {
    if appdata.get("retcode").is_none() {
        return Vec::new();
    }
    let streams = ["stdout", "stderr"].into_iter().filter(|key| appdata.get(key).is_none());
    streams.map(|key| format!("missing:{key}")).collect()
}

/// The faults of one field of appdata.
pub(super) fn field_fault(key: &str, value: &Json) -> Vec<String> {
    let mut faults = Vec::new();
    if key == "retcode" && !is_retcode(value) {
        faults.push(format!("type:{key}"));
    }
    if CONTENTS.contains(&key) && !value.as_str().is_some_and(base64::is_canonical) {
        faults.push(format!("base64:{key}"));
    }
    let spelled_out = matches!(value.as_str(), Some("true" | "false"));
    if matches!(value, Json::Bool(_)) || (FLAGS.contains(&key) && !spelled_out) {
        faults.push(format!("bool:{key}"));
    }
    faults
}

/// The fault of a field that is to be written as base64: it may have a name that promises something else.
pub(super) fn content_fault(key: &str) -> Option<String> {
    match key {
        "retcode" => Some(format!("type:{key}")),
        flag if FLAGS.contains(&flag) => Some(format!("bool:{key}")),
        _ => None,
    }
}

fn is_retcode(value: &Json) -> bool {
    match value {
        Json::Number(number) => number.is_integer_token() && matches!(number.as_integer(), Some(0..=255)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(appdata: &str, rest: &str) -> Vec<String> {
        check_strict(
            format!(
                r##"{{"name":"anon","release":"1","protocolver":"0.5.5","hostname":"h.example","platform":"#1",
                "pika_version":"x","pid":1,"time":1,"appdata":{appdata}{rest}}}"##
            )
            .as_bytes(),
        )
    }

    #[test]
    fn every_rule_has_its_code() {
        assert!(with("{}", "").is_empty());
        assert_eq!(with("null", ""), ["type:appdata"]);
        assert_eq!(
            with("{}", r#","Name":"x","pid":1.0,"time":0,"release":"""#),
            ["extra:Name", "type:pid", "type:release", "type:time"]
        );
        assert_eq!(
            with(r#"{"retcode":true,"stdout":""}"#, ""),
            ["bool:retcode", "missing:stderr", "type:retcode"]
        );
        assert_eq!(
            with(r#"{"data":"aGl=","other":false,"window":null}"#, ""),
            ["base64:data", "bool:other", "bool:window"]
        );
        assert_eq!(with(r#"{"retcode":255,"stdout":"","stderr":"","error":{"x":true}}"#, ""), [""; 0]);
    }

    #[test]
    fn a_byte_order_mark_is_not_json() {
        assert_eq!(check_strict("\u{feff}{}".as_bytes()), ["bad-json"]);
        assert_eq!(check_strict(b"\"\xff\""), ["bad-utf8"]);
    }
}
