//! Typed header values as JSON, without loss.
//!
//! Null, booleans, integers, texts and lists are what they are in JSON. Everything else is an object with one letter:
//! `{"f": BITS}` a double, `{"d": [DIGITS, SCALE]}` a decimal, `{"b": BASE64}` bytes, `{"t": MILLISECONDS}` a time,
//! `{"m": [[NAME, VALUE], ...]}` a table, `{"u": NUMBER}` an unsigned integer within the signed range.

use data_encoding::BASE64;
use polybus_contract::{UnixMillis, Value};
use serde_json::{Value as Json, json};

/// Lists within lists at most.
const DEPTH: usize = 32;

/// A value as JSON; `None`: it is nested too deep.
pub(crate) fn to_json(value: &Value, depth: usize) -> Option<Json> {
    if depth > DEPTH {
        return None;
    }
    Some(match value {
        Value::Null => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::UInt(value) if i64::try_from(*value).is_ok() => json!({ "u": value }),
        Value::UInt(value) => json!(value),
        Value::Float(value) => json!({ "f": value.to_bits() }),
        Value::Decimal { digits, scale } => json!({ "d": [digits, scale] }),
        Value::Text(text) => json!(text),
        Value::Bytes(bytes) => json!({ "b": BASE64.encode(bytes) }),
        Value::Time(at) => json!({ "t": at.0 }),
        Value::List(items) => {
            Json::Array(items.iter().map(|item| to_json(item, depth + 1)).collect::<Option<_>>()?)
        }
        Value::Map(entries) => {
            let pair = |(name, value): &(String, Value)| Some(json!([name, to_json(value, depth + 1)?]));
            json!({ "m": entries.iter().map(pair).collect::<Option<Vec<_>>>()? })
        }
        _ => return None,
    })
}

/// The value of such JSON; `None`: it is not what we write.
pub(crate) fn from_json(json: Json) -> Option<Value> {
    Some(match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(number) => {
            number.as_i64().map(Value::Int).or_else(|| number.as_u64().map(Value::UInt))?
        }
        Json::String(text) => Value::Text(text),
        Json::Array(items) => Value::List(items.into_iter().map(from_json).collect::<Option<_>>()?),
        Json::Object(object) => {
            let mut entries = object.into_iter();
            let (letter, value) = entries.next().filter(|_| entries.next().is_none())?;
            tagged(&letter, value)?
        }
    })
}

fn tagged(letter: &str, json: Json) -> Option<Value> {
    Some(match letter {
        "u" => Value::UInt(json.as_u64()?),
        "f" => Value::Float(f64::from_bits(json.as_u64()?)),
        "d" => {
            let (digits, scale) = serde_json::from_value(json).ok()?;
            Value::Decimal { digits, scale }
        }
        "b" => Value::Bytes(BASE64.decode(json.as_str()?.as_bytes()).ok()?.into()),
        "t" => Value::Time(UnixMillis(json.as_i64()?)),
        "m" => {
            let entries: Vec<(String, Json)> = serde_json::from_value(json).ok()?;
            let entry = |(name, value)| Some((name, from_json(value)?));
            Value::Map(entries.into_iter().map(entry).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}
