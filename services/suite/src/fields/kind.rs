//! The kinds of request fields. A missing or null field has its default.

use std::fmt;

use bytes::Bytes;
use polybus::frame::{Json, Object, Refusal, base64, unsigned};

/// Whose addresses the map of a crosscor request holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Iff {
    /// Those of participants.
    Friend,
    /// Those of the others.
    Foe,
}

impl Iff {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Friend => "friend",
            Self::Foe => "foe",
        }
    }
}

impl fmt::Display for Iff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A yes or no: JSON booleans, the integers 0 and 1, or the texts `true`, `false`, `1`, `0` in any case with blanks
/// around; an empty text is no.
///
/// # Errors
///
/// `bad-field` for anything else.
pub fn flag(appdata: &Object, field: &str, default: bool) -> Result<bool, Refusal> {
    read(appdata, field, "true or false", as_flag).map(|value| value.unwrap_or(default))
}

/// An integer from 0 to 2^63-1: also as a number without fraction, or as decimal text of at most 18 digits.
///
/// # Errors
///
/// `bad-field` for anything else.
pub fn int(appdata: &Object, field: &str, default: i64) -> Result<i64, Refusal> {
    read(appdata, field, "an integer from 0 on", unsigned).map(|value| value.unwrap_or(default))
}

/// A file's content, from base64 in any form that peers write; empty by default.
///
/// # Errors
///
/// `bad-field` for anything else.
pub fn content(appdata: &Object, field: &str) -> Result<Bytes, Refusal> {
    let decode = |value: &Json| value.as_str().and_then(base64::decode).map(Bytes::from);
    read(appdata, field, "base64", decode).map(Option::unwrap_or_default)
}

/// A text, unset by default.
///
/// # Errors
///
/// `bad-field` for anything else.
pub fn text(appdata: &Object, field: &str) -> Result<Option<String>, Refusal> {
    read(appdata, field, "a text", |value| value.as_str().map(str::to_owned))
}

/// `friend` or `foe`; an empty text is unset.
///
/// # Errors
///
/// `bad-field` for anything else.
pub fn iff(appdata: &Object, field: &str) -> Result<Option<Iff>, Refusal> {
    let convert = |value: &Json| match value.as_str()? {
        "friend" => Some(Some(Iff::Friend)),
        "foe" => Some(Some(Iff::Foe)),
        "" => Some(None),
        _ => None,
    };
    read(appdata, field, "friend or foe", convert).map(Option::flatten)
}

fn read<T>(
    appdata: &Object,
    field: &str,
    expected: &str,
    convert: impl Fn(&Json) -> Option<T>,
) -> Result<Option<T>, Refusal> {
    match appdata.get(field) {
        None | Some(Json::Null) => Ok(None),
        Some(value) => convert(value).map(Some).ok_or_else(|| Refusal::bad_field(field, expected)),
    }
}

fn as_flag(value: &Json) -> Option<bool> {
    match value {
        Json::Bool(value) => Some(*value),
        Json::Number(number) if number.is_integer_token() => match number.as_integer() {
            Some(0) => Some(false),
            Some(1) => Some(true),
            _ => None,
        },
        Json::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" => Some(true),
            "false" | "0" | "" => Some(false),
            _ => None,
        },
        _ => None,
    }
}
