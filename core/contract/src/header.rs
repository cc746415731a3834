//! Headers: unique names, typed values, order not kept.

use bytes::Bytes;

use crate::error::{Error, Kind, Operation, Result};
use crate::time::UnixMillis;

/// What only Polybus may write. A caller's header in it is refused (A6).
pub const RESERVED_PREFIXES: [&str; 2] = ["polybus-", "x-polybus-"];

/// A header's value. Types are kept end to end; what a bus cannot carry natively is encoded by its transport (A4).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// No value.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer above the signed range (R-56: never narrowed).
    UInt(u64),
    /// A double.
    Float(f64),
    /// A decimal: `digits` divided by ten to the power of `scale`.
    Decimal {
        /// The digits.
        digits: i64,
        /// How many of them stand behind the point.
        scale: u8,
    },
    /// UTF-8 text.
    Text(String),
    /// Any bytes (A5).
    Bytes(Bytes),
    /// A point in time.
    Time(UnixMillis),
    /// A list.
    List(Vec<Value>),
    /// A table; names are unique, order is kept.
    Map(Vec<(String, Value)>),
}

impl Value {
    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, if it is one and fits.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            Self::UInt(value) => i64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// Its size in bytes for the purposes of limits.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) => 1,
            Self::Int(_) | Self::UInt(_) | Self::Float(_) | Self::Decimal { .. } | Self::Time(_) => 9,
            Self::Text(text) => text.len() + 5,
            Self::Bytes(bytes) => bytes.len() + 5,
            Self::List(items) => 5 + items.iter().map(Self::size).sum::<usize>(),
            Self::Map(entries) => 5 + entries.iter().map(|(k, v)| k.len() + 1 + v.size()).sum::<usize>(),
        }
    }
}

macro_rules! value_from {
    ($($type:ty => $make:expr),* $(,)?) => {
        $(impl From<$type> for Value {
            fn from(value: $type) -> Self {
                let make: fn($type) -> Self = $make;
                make(value)
            }
        })*
    };
}

value_from! {
    bool => Self::Bool,
    i64 => Self::Int,
    i32 => |value| Self::Int(value.into()),
    u32 => |value| Self::Int(value.into()),
    u64 => |value| i64::try_from(value).map_or(Self::UInt(value), Self::Int),
    f64 => Self::Float,
    String => Self::Text,
    &str => |value| Self::Text(value.into()),
    Bytes => Self::Bytes,
    UnixMillis => Self::Time,
}

/// Headers of a message. Names are compared byte for byte; `A` and `a` are two headers.
#[derive(Clone, Debug, Default)]
pub struct Headers(Vec<(Box<str>, Value)>);

impl Headers {
    /// No headers.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a header.
    ///
    /// # Errors
    /// [`Kind::InvalidMessage`] if the name is empty, longer than 255 bytes, reserved, or there already.
    pub fn push(&mut self, name: impl AsRef<str>, value: impl Into<Value>) -> Result<()> {
        let name = name.as_ref();
        if let Some(fault) = name_fault(name) {
            return Err(invalid(name, fault));
        }
        self.insert_new(name, value.into())
    }

    /// Adds a header of our own. For transports, workers and bridges: it belongs in
    /// [`Message::carried`](crate::Message::carried), apart from the caller's headers, so that reserved names are
    /// refused by construction.
    ///
    /// # Errors
    /// [`Kind::InvalidMessage`] if the name is there already.
    pub fn push_carried(&mut self, name: impl AsRef<str>, value: impl Into<Value>) -> Result<()> {
        self.insert_new(name.as_ref(), value.into())
    }

    /// Sets a header of our own, replacing an older value.
    pub fn set_carried(&mut self, name: impl AsRef<str>, value: impl Into<Value>) {
        let name = name.as_ref();
        self.0.retain(|(known, _)| &**known != name);
        self.0.push((name.into(), value.into()));
    }

    /// Takes out a header of our own; without effect if it is not there.
    pub fn remove_carried(&mut self, name: &str) {
        self.0.retain(|(known, _)| &**known != name);
    }

    fn insert_new(&mut self, name: &str, value: Value) -> Result<()> {
        if self.get(name).is_some() {
            return Err(invalid(name, "the name is there already"));
        }
        self.0.push((name.into(), value));
        Ok(())
    }

    /// The value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| &**known == name).map(|(_, value)| value)
    }

    /// All headers, in no promised order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their size in bytes for the purposes of limits.
    #[must_use]
    #[inline]
    pub fn size(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + 1 + value.size()).sum()
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|(name, value)| other.get(name) == Some(value))
    }
}

fn name_fault(name: &str) -> Option<&'static str> {
    let lower = name.get(..10).unwrap_or(name).to_ascii_lowercase();
    if name.is_empty() {
        Some("the name is empty")
    } else if name.len() > 255 {
        Some("the name is longer than 255 bytes")
    } else if RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
        Some("the prefix is reserved")
    } else {
        None
    }
}

fn invalid(name: &str, fault: &str) -> Error {
    let shown: String = name.chars().take(64).flat_map(char::escape_default).collect();
    Error::new(Kind::InvalidMessage, Operation::Publish).with_detail(format!("header \"{shown}\": {fault}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a4_unique_typed_case_sensitive() {
        let mut headers = Headers::new();
        headers.push("a", "").unwrap();
        headers.push("A", 7_i64).unwrap();
        headers.push("ü", Bytes::from_static(b"\xff\x00")).unwrap();
        assert_eq!(headers.push("a", true).unwrap_err().kind(), Kind::InvalidMessage);
        assert_eq!(headers.get("A").and_then(Value::as_int), Some(7));
        let mut other = Headers::new();
        other.push("ü", Bytes::from_static(b"\xff\x00")).unwrap();
        other.push("A", 7_i64).unwrap();
        assert_ne!(headers, other);
        other.push("a", "").unwrap();
        assert_eq!(headers, other);
    }

    #[test]
    fn a6_reserved_prefix_is_refused_in_any_case() {
        let mut headers = Headers::new();
        for name in ["polybus-id", "x-polybus-attempt", "X-Polybus-Attempt", "POLYBUS-x", ""] {
            assert_eq!(headers.push(name, 1_i64).unwrap_err().kind(), Kind::InvalidMessage, "{name}");
        }
        headers.push_carried("x-polybus-attempt", 2_i64).unwrap();
        headers.set_carried("x-polybus-attempt", 3_i64);
        assert_eq!(headers.get("x-polybus-attempt").and_then(Value::as_int), Some(3));
    }

    #[test]
    fn r56_integers_are_never_narrowed() {
        assert_eq!(Value::from(u64::MAX), Value::UInt(u64::MAX));
        assert_eq!(Value::from(5_u64), Value::Int(5));
    }
}
