//! Headers of messages and their values.

use bytes::Bytes;
use data_encoding::BASE64;
use polybus_contract::{Headers, UnixMillis, Value};
use serde::{Deserialize, Serialize};

/// A header. Numbers are text: not every language keeps 64 bits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HeaderLine {
    name: String,
    #[serde(flatten)]
    value: ValueLine,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "snake_case")]
enum ValueLine {
    Null,
    Bool(bool),
    Int(String),
    Uint(String),
    Float(String),
    Decimal { digits: String, scale: u8 },
    Text(String),
    Bytes(String),
    Time(i64),
    List(Vec<ValueLine>),
    Map(Vec<HeaderLine>),
}

impl From<&Value> for ValueLine {
    fn from(value: &Value) -> Self {
        match value {
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) => Self::Int(value.to_string()),
            Value::UInt(value) => Self::Uint(value.to_string()),
            Value::Float(value) => Self::Float(format!("{value:?}")),
            Value::Decimal { digits, scale } => Self::Decimal { digits: digits.to_string(), scale: *scale },
            Value::Text(text) => Self::Text(text.clone()),
            Value::Bytes(bytes) => Self::Bytes(BASE64.encode(bytes)),
            Value::Time(at) => Self::Time(at.0),
            Value::List(items) => Self::List(items.iter().map(Self::from).collect()),
            Value::Map(entries) => {
                Self::Map(entries.iter().map(|(name, value)| header(name, value)).collect())
            }
            _ => Self::Null,
        }
    }
}

impl ValueLine {
    fn value(&self, left: usize) -> Result<Value, String> {
        let left = left.checked_sub(1).ok_or("headers are nested too deep")?;
        Ok(match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(text) => Value::Int(number(text)?),
            Self::Uint(text) => Value::UInt(number(text)?),
            Self::Float(text) => Value::Float(number(text)?),
            Self::Decimal { digits, scale } => Value::Decimal { digits: number(digits)?, scale: *scale },
            Self::Text(text) => Value::Text(text.clone()),
            Self::Bytes(text) => Value::Bytes(bytes(text)?),
            Self::Time(at) => Value::Time(UnixMillis(*at)),
            Self::List(items) => {
                Value::List(items.iter().map(|item| item.value(left)).collect::<Result<_, _>>()?)
            }
            Self::Map(entries) => {
                let entry = |entry: &HeaderLine| Ok((entry.name.clone(), entry.value.value(left)?));
                Value::Map(entries.iter().map(entry).collect::<Result<_, String>>()?)
            }
        })
    }
}

/// How deep lists and maps in headers may be nested; what is deeper is not read.
pub const DEPTH: usize = 64;

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} is no number of its type"))
}

fn bytes(text: &str) -> Result<Bytes, String> {
    BASE64.decode(text.as_bytes()).map(Bytes::from).map_err(|error| format!("base64: {error}"))
}

fn header(name: &str, value: &Value) -> HeaderLine {
    HeaderLine { name: name.to_owned(), value: value.into() }
}

/// How the names of a message's headers are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// As those of a foreign peer: malformed and reserved ones are refused.
    Checked,
    /// As they stand there: they were checked where the message was made, or are our own.
    Carried,
}

pub(crate) fn header_lines(headers: &Headers) -> Vec<HeaderLine> {
    headers.iter().map(|(name, value)| header(name, value)).collect()
}

pub(crate) fn headers_of(lines: &[HeaderLine], names: Names) -> Result<Headers, String> {
    let mut headers = Headers::new();
    for line in lines {
        let value = line.value.value(DEPTH)?;
        let pushed = match names {
            Names::Checked => headers.push(&line.name, value),
            Names::Carried => headers.push_carried(&line.name, value),
        };
        pushed.map_err(|error| error.to_string())?;
    }
    Ok(headers)
}
