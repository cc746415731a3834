//! Errors.

use polybus_contract::{Error, Kind, MessageId, Operation, RemoteError, Status};
use serde::{Deserialize, Serialize};

use crate::words::{operation_of, operation_word, plain_kind_of, plain_kind_word, status_of, status_word};

/// An error: `kind`, the kinds of the contract in lower case with underscores, and what else there is: `feature` (of
/// `unsupported`), `limit` and `size` (of `too_large`), `status`, `operation`, `target`, `message_id`, `detail`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorLine {
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    feature: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl From<&Error> for ErrorLine {
    fn from(error: &Error) -> Self {
        let mut line = Self {
            kind: plain_kind_word(error.kind()).to_owned(),
            status: Some(status_word(error.status()).to_owned()),
            operation: Some(operation_word(error.operation()).to_owned()),
            target: error.target().map(str::to_owned),
            message_id: error.message_id().map(MessageId::to_string),
            detail: error.detail().map(str::to_owned),
            ..Self::default()
        };
        match error.kind() {
            Kind::Unsupported(feature) => {
                "unsupported".clone_into(&mut line.kind);
                line.feature = Some(feature.name().to_owned());
            }
            Kind::TooLarge { limit, size } => {
                "too_large".clone_into(&mut line.kind);
                (line.limit, line.size) = (Some(limit), Some(size));
            }
            _ => {}
        }
        line
    }
}

impl ErrorLine {
    fn kind(&self) -> Option<Kind> {
        match self.kind.as_str() {
            "unsupported" => self.feature.as_deref()?.parse().ok().map(Kind::Unsupported),
            "too_large" => Some(Kind::TooLarge { limit: self.limit?, size: self.size? }),
            word => plain_kind_of(word),
        }
    }

    /// The error, of this operation if it names none. One of unknown kind is itself a fault of the protocol
    /// ([`Kind::Protocol`], of unknown status); other words that are not known are passed over.
    #[must_use]
    pub fn error(&self, during: Operation) -> Error {
        let operation = self.operation.as_deref().and_then(operation_of).unwrap_or(during);
        let Some(kind) = self.kind() else {
            let detail = format!("the other side answered with an error of unknown kind {:?}", self.kind);
            return Error::new(Kind::Protocol, operation).with_status(Status::Unknown).with_detail(detail);
        };
        let mut error = Error::new(kind, operation);
        if let Some(status) = self.status.as_deref().and_then(status_of) {
            error = error.with_status(status);
        }
        if let Some(target) = &self.target {
            error = error.with_target(target);
        }
        if let Some(id) = &self.message_id {
            error = error.with_message_id(MessageId::from(id.as_str()));
        }
        match &self.detail {
            Some(detail) => error.with_detail(detail.as_str()),
            None => error,
        }
    }
}

/// A failure that a responder reports: `code` and `text`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RemoteErrorLine {
    code: String,
    text: String,
}

impl From<&RemoteError> for RemoteErrorLine {
    fn from(error: &RemoteError) -> Self {
        Self { code: error.code.clone(), text: error.text.clone() }
    }
}

impl From<RemoteErrorLine> for RemoteError {
    fn from(line: RemoteErrorLine) -> Self {
        Self { code: line.code, text: line.text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polybus_contract::Feature;

    #[test]
    fn errors_are_the_same_on_both_sides() {
        let kinds = [Kind::Full, Kind::Unsupported(Feature::Scatter), Kind::TooLarge { limit: 5, size: 7 }];
        for kind in kinds {
            let error = Error::new(kind, Operation::Publish)
                .with_target("jobs")
                .with_status(Status::Unknown)
                .with_detail("why")
                .with_message_id(MessageId::fresh());
            let again = ErrorLine::from(&error).error(Operation::Drain);
            assert_eq!(format!("{again:?}"), format!("{error:?}"));
        }
        let strange = ErrorLine { kind: "warp".to_owned(), ..ErrorLine::default() };
        assert_eq!(strange.error(Operation::Drain).kind(), Kind::Protocol);
    }
}
