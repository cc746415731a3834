//! Refusals: what a server answers when it cannot serve a request (PRISEM services specification, 4.6).

use std::fmt;

use thiserror::Error;

use super::{Answer, Object};

/// Why a request is refused. The codes are fixed, other programs act on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalCode {
    /// `data` is empty.
    NoData,
    /// `searchfile` is empty, or holds no usable item.
    NoSearch,
    /// No map given and no default map, or a map without a valid rule where that is refused.
    NoMap,
    /// A subordinate program failed, with this code.
    Failed(u8),
    /// The frame cannot be read; `detail.error` is the reader's code.
    BadFrame,
    /// A field cannot be read; `field` names it.
    BadField,
    /// Request or reply are above the limit.
    TooLarge,
    /// A back end is missing or down.
    Unavailable,
    /// Anything unforeseen.
    Internal,
    /// The request's deadline passed, or the job's time limit.
    Deadline,
    /// Too many attempts.
    Poison,
    /// `detail` has the version got and those wanted.
    VersionMismatch,
    /// `detail` has the name got and the one wanted.
    NameMismatch,
    /// The policy denies it.
    NotPermitted,
}

impl RefusalCode {
    /// The code as it stands in replies and texts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoData => "no-data",
            Self::NoSearch => "no-search",
            Self::NoMap => "no-map",
            Self::Failed(_) => "failed",
            Self::BadFrame => "bad-frame",
            Self::BadField => "bad-field",
            Self::TooLarge => "too-large",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
            Self::Deadline => "deadline",
            Self::Poison => "poison",
            Self::VersionMismatch => "version-mismatch",
            Self::NameMismatch => "name-mismatch",
            Self::NotPermitted => "not-permitted",
        }
    }

    /// The reply's retcode, and so the client's exit code.
    #[must_use]
    pub fn retcode(self) -> u8 {
        match self {
            Self::NoData | Self::NoSearch | Self::NoMap => 1,
            Self::Failed(retcode) => retcode,
            Self::BadFrame | Self::BadField | Self::TooLarge => 65,
            Self::Unavailable => 69,
            Self::Internal => 70,
            Self::Deadline | Self::Poison => 75,
            Self::VersionMismatch | Self::NameMismatch => 76,
            Self::NotPermitted => 77,
        }
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refused request: code for programs, text for people.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{code}: {text}")]
pub struct Refusal {
    /// The fixed code.
    pub code: RefusalCode,
    /// One readable line.
    pub text: String,
    /// The request field at fault.
    pub field: Option<String>,
    /// More for programs.
    pub detail: Option<Object>,
}

impl Refusal {
    /// A refusal without field and detail. Line ends in `text` become blanks.
    #[must_use]
    pub fn new(code: RefusalCode, text: impl Into<String>) -> Self {
        let text = text.into().trim_end().replace(['\n', '\r'], " ");
        Self { code, text, field: None, detail: None }
    }

    /// `bad-field`: `field` is not `expected`.
    #[must_use]
    pub fn bad_field(field: &str, expected: &str) -> Self {
        let refusal = Self::new(RefusalCode::BadField, format!("field {field} is not {expected}"));
        Self { field: Some(field.to_owned()), ..refusal }
    }

    /// `version-mismatch`: what came and what is served.
    #[must_use]
    pub fn version_mismatch(got: &str, want: &[&str]) -> Self {
        let text = format!("protocol version {got} is not served, only {}", want.join(", "));
        let want = want.iter().map(|version| (*version).into()).collect::<Vec<_>>();
        let detail = Object::new().with("got", got).with("want", want);
        Self { detail: Some(detail), ..Self::new(RefusalCode::VersionMismatch, text) }
    }

    /// `name-mismatch`: whom the request names and who we are.
    #[must_use]
    pub fn name_mismatch(got: &str, want: &str) -> Self {
        let detail = Object::new().with("got", got).with("want", want);
        let text = format!("the request is for {got}, this is {want}");
        Self { detail: Some(detail), ..Self::new(RefusalCode::NameMismatch, text) }
    }

    /// The same refusal with the field at fault.
    #[must_use]
    pub fn with_field(mut self, field: &str) -> Self {
        self.field = Some(field.to_owned());
        self
    }

    /// The same refusal with more for programs.
    #[must_use]
    pub fn with_detail(mut self, detail: Object) -> Self {
        self.detail = Some(detail);
        self
    }

    /// The line people see: `<service>: refused: <code>: <text>`, without line end.
    #[must_use]
    pub fn line(&self, service: &str) -> String {
        format!("{service}: refused: {self}")
    }

    /// The reply that says it: empty `stdout`, the line on `stderr`, the `error` object.
    #[must_use]
    pub fn answer(&self, service: &str) -> Answer {
        Answer {
            retcode: self.code.retcode(),
            stderr: format!("{}\n", self.line(service)).into(),
            error: Some(self.error_object()),
            ..Answer::default()
        }
    }

    fn error_object(&self) -> Object {
        let mut error = Object::new().with("code", self.code.as_str()).with("text", self.text.as_str());
        if let Some(field) = &self.field {
            error.insert("field", field.as_str());
        }
        if let Some(detail) = &self.detail {
            error.insert("detail", detail.clone());
        }
        error
    }
}
