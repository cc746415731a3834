//! JSON as PRISEM frames need it: text shared with the message body, numbers as written, order kept.
//!
//! `serde_json` reads the same grammar but turns numbers into floats, forgets which key came first and stops one
//! level early; a frame's rules (PRISEM services specification, 4.4) speak about all three. Escapes inside texts
//! are still read and written by `serde_json`.

use std::fmt;

use bytestring::ByteString;
use indexmap::IndexMap;

mod number;
mod parse;
mod render;

pub use number::Number;
pub(crate) use number::decimal;
pub use parse::{MAX_LEVELS, MAX_VALUES, ParseError};
pub(crate) use render::quoted;

/// One JSON value. Texts that were read share the bytes of the message, so a large payload is not copied; a value
/// that is kept keeps the whole message alive.
#[derive(Clone, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, kept as its text.
    Number(Number),
    /// A text, without escapes.
    String(ByteString),
    /// An array.
    Array(Vec<Json>),
    /// An object.
    Object(Object),
}

impl Json {
    /// True for `null`, which everywhere in a frame means the same as a missing value.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The text, if this is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The object, if this is one.
    #[must_use]
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The array, if this is one.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Json]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The value for a program that works with `serde_json`; integers beyond 64 bits become floats there.
    #[must_use]
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::from_str(&self.compact()).unwrap_or_default()
    }
}

/// Terse, so that a payload cannot reach a log through a debug print.
impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::frame::terse::value(self).compact())
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}

impl From<i64> for Json {
    fn from(number: i64) -> Self {
        Self::Number(number.into())
    }
}

impl From<u64> for Json {
    fn from(number: u64) -> Self {
        Self::Number(number.into())
    }
}

impl From<Object> for Json {
    fn from(object: Object) -> Self {
        Self::Object(object)
    }
}

impl From<Vec<Json>> for Json {
    fn from(items: Vec<Json>) -> Self {
        Self::Array(items)
    }
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A JSON object in the order in which it was written. Of equal keys the last value counts, at the place of the
/// first.
#[derive(Clone, Default, PartialEq)]
pub struct Object(Box<IndexMap<ByteString, Json>>);

impl Object {
    /// An object without keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of `key`, spelled exactly so.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Json> {
        self.0.get(key)
    }

    /// Sets `key`, in place if it is there already.
    pub fn insert(&mut self, key: impl Into<ByteString>, value: impl Into<Json>) {
        self.0.insert(key.into(), value.into());
    }

    /// The same object with `key` set; for building one in a single expression.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<Json>) -> Self {
        self.insert(ByteString::from_static(key), value);
        self
    }

    /// Keys and values in order.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Json)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn sorted(&self) -> Vec<(&str, &Json)> {
        let mut entries: Vec<_> = self.iter().collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        entries
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Json::Object(self.clone()).fmt(f)
    }
}

impl<K: Into<ByteString>> FromIterator<(K, Json)> for Object {
    fn from_iter<I: IntoIterator<Item = (K, Json)>>(entries: I) -> Self {
        Self(Box::new(entries.into_iter().map(|(key, value)| (key.into(), value)).collect()))
    }
}
