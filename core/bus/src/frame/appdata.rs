//! The fields of a service, as they are put into a frame.

use bytes::Bytes;
use bytestring::ByteString;
use indexmap::IndexMap;

use super::{Json, Object};

/// What is sent to or from a service: `appdata` of a frame to be written. Booleans become the texts `"true"` and
/// `"false"`, contents become base64 when the frame is written, not before.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Appdata {
    pub(super) fields: IndexMap<ByteString, Field>,
}

#[derive(Clone, PartialEq)]
pub(super) enum Field {
    Content(Bytes),
    Plain(Json),
}

/// Contents by their size only.
impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Content(content) => write!(f, "<<{} bytes>>", content.len()),
            Self::Plain(value) => value.fmt(f),
        }
    }
}

impl Appdata {
    /// No fields.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A file's content, sent as base64.
    #[must_use]
    pub fn bytes(self, key: impl Into<ByteString>, content: impl Into<Bytes>) -> Self {
        self.set(key.into(), Field::Content(content.into()))
    }

    /// A yes or no.
    #[must_use]
    pub fn flag(self, key: impl Into<ByteString>, value: bool) -> Self {
        self.json(key, value)
    }

    /// An integer.
    #[must_use]
    pub fn int(self, key: impl Into<ByteString>, value: i64) -> Self {
        self.json(key, value)
    }

    /// A text, or null for none.
    #[must_use]
    pub fn text(self, key: impl Into<ByteString>, value: Option<&str>) -> Self {
        self.json(key, value)
    }

    /// Any value, for services whose fields have a structure of their own. A boolean becomes a text here too.
    #[must_use]
    pub fn json(self, key: impl Into<ByteString>, value: impl Into<Json>) -> Self {
        self.set(key.into(), Field::Plain(spelled_out(value.into())))
    }

    /// The largest content and its field, and the fields with that one left empty; none if there is no content.
    pub(crate) fn without_largest(&self) -> Option<(String, Bytes, Self)> {
        let contents = self.fields.iter().filter_map(|(key, field)| match field {
            Field::Content(content) => Some((key, content)),
            Field::Plain(_) => None,
        });
        let (key, content) = contents.max_by_key(|(_, content)| content.len())?;
        let rest = self.clone().set(key.clone(), Field::Content(Bytes::new()));
        Some((key.to_string(), content.clone(), rest))
    }

    fn set(mut self, key: ByteString, field: Field) -> Self {
        self.fields.insert(key, field);
        self
    }
}

/// `appdata` of a frame that was read, to be sent on.
impl From<&Object> for Appdata {
    fn from(object: &Object) -> Self {
        object.iter().fold(Self::new(), |appdata, (key, value)| appdata.json(key, value.clone()))
    }
}

/// In appdata a boolean is a text.
fn spelled_out(value: Json) -> Json {
    match value {
        Json::Bool(true) => Json::String(ByteString::from_static("true")),
        Json::Bool(false) => Json::String(ByteString::from_static("false")),
        other => other,
    }
}
