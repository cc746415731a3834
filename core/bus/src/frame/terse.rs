//! Frames as logs show them: contents by size and digest only (PRISEM services specification, 4.7).

use data_encoding::HEXLOWER;
use sha1::{Digest, Sha1};

use super::keys::Keys;
use super::{Json, Object};

/// Texts of appdata with more characters than this are shortened.
const LONG: usize = 128;

/// Outside appdata the specification shortens nothing; a log line needs a bound all the same.
const VERY_LONG: usize = 1024;

/// Fields of appdata that are shortened whatever their length.
const CONTENTS: [&str; 5] = ["data", "netmap", "searchfile", "stdout", "stderr"];

/// The same in a `command` of generation 0.
const OLD_CONTENTS: [&str; 2] = ["data", "map"];

/// The ending of fields whose content is compressed.
const COMPRESSED: &str = "_zb64";

/// The terse form of a frame.
#[must_use]
pub fn terse_frame(frame: &Object) -> Json {
    let keys = Keys::of(frame);
    let [appdata, command, result] = ["appdata", "command", "result"].map(|name| keys.spelling(name));
    let entries = frame.iter().map(|(key, value)| {
        let shown = match value {
            Json::Object(fields) if appdata == Some(key) => fields_of(fields, &CONTENTS),
            Json::Object(fields) if command == Some(key) => fields_of(fields, &OLD_CONTENTS),
            Json::String(text) if result == Some(key) => content(text),
            other => shortened(other, VERY_LONG),
        };
        (key, shown)
    });
    entries.collect::<Object>().into()
}

/// The terse form of a message that may be no frame at all.
#[must_use]
pub fn terse_body(body: &[u8]) -> String {
    let text = std::str::from_utf8(body).ok().map(|text| text.strip_prefix('\u{feff}').unwrap_or(text));
    match text.map(Json::parse) {
        Some(Ok(Json::Object(frame))) => terse_frame(&frame).compact(),
        _ => digest(body),
    }
}

/// A text as logs show it: by size and digest if it has more than 128 characters.
#[must_use]
pub fn terse_text(text: &str) -> String {
    if is_longer(text, LONG) { digest(text.as_bytes()) } else { text.to_owned() }
}

/// Any value with its long texts shortened.
pub(super) fn value(value: &Json) -> Json {
    shortened(value, LONG)
}

fn fields_of(fields: &Object, contents: &[&str]) -> Json {
    let is_content = |key: &str| contents.contains(&key) || key.ends_with(COMPRESSED);
    let entries = fields.iter().map(|(key, value)| match value {
        Json::String(text) if is_content(key) => (key, content(text)),
        other => (key, shortened(other, LONG)),
    });
    entries.collect::<Object>().into()
}

fn content(text: &str) -> Json {
    if text.is_empty() { Json::from("") } else { digest(text.as_bytes()).into() }
}

fn shortened(value: &Json, longest: usize) -> Json {
    match value {
        Json::String(text) if is_longer(text, longest) => digest(text.as_bytes()).into(),
        Json::Array(items) => items.iter().map(|item| shortened(item, longest)).collect::<Vec<_>>().into(),
        Json::Object(object) => {
            object.iter().map(|(key, value)| (key, shortened(value, longest))).collect::<Object>().into()
        }
        other => other.clone(),
    }
}

fn is_longer(text: &str, longest: usize) -> bool {
    text.len() > longest && text.chars().nth(longest).is_some()
}

fn digest(bytes: &[u8]) -> String {
    format!("<<{} bytes; SHA1: {}>>", bytes.len(), HEXLOWER.encode(&Sha1::digest(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_and_long_texts_are_replaced() {
        let long = "x".repeat(129);
        let body = format!(
            r#"{{"name":"anon","AppData":{{"data":"aGk=","netmap":"","note":"{long}","short":"{}","n":1.50,"list":["{long}"]}}}}"#,
            "é".repeat(128)
        );
        let shown = terse_body(body.as_bytes());
        assert!(shown.starts_with(r#"{"name":"anon","AppData":{"data":"<<4 bytes; SHA1: "#), "{shown}");
        assert!(shown.contains(r#""netmap":"","note":"<<129 bytes; SHA1: "#), "{shown}");
        assert!(shown.contains(r#""n":1.50,"list":["<<129 bytes"#), "{shown}");
        assert!(shown.contains(&"é".repeat(128)), "{shown}");
    }

    #[test]
    fn the_digest_is_of_the_text_in_the_frame() {
        // printf aGk= | sha1sum
        assert_eq!(
            terse_body(br#"{"command":{"data":"aGk="},"result":"aGk="}"#),
            r#"{"command":{"data":"<<4 bytes; SHA1: 2c2e6fa14ec2a30daecac87c51665ad70eb4412a>>"},"result":"<<4 bytes; SHA1: 2c2e6fa14ec2a30daecac87c51665ad70eb4412a>>"}"#
        );
    }

    #[test]
    fn what_is_no_frame_is_one_digest() {
        assert!(terse_body(b"secret").starts_with("<<6 bytes; SHA1: "));
        assert!(terse_body(&[0xff; 3]).starts_with("<<3 bytes; SHA1: "));
    }
}
