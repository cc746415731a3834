//! What the server refuses, in the words of the contract.

use std::fmt;

use polybus_contract::{Error, Kind, Operation, Status};

/// Codes of the JetStream API that decide something here.
const STREAM_NOT_FOUND: u32 = 10_059;
const CONSUMER_NOT_FOUND: u32 = 10_014;
const NO_MESSAGE_FOUND: u32 = 10_037;
const STORE_FAILED: u32 = 10_077;
const STORE_FULL: u32 = 10_047;
const INSUFFICIENT_RESOURCES: u32 = 10_023;
const ACCOUNT_RESOURCES_EXCEEDED: u32 = 10_002;
const MESSAGE_EXCEEDS_MAXIMUM: u32 = 10_054;
const UNAVAILABLE: u32 = 10_008;
/// Too few members for so many replicas; a cluster that starts does not know all of them yet.
const NO_PEERS: u32 = 10_005;
const NOT_ENABLED: [u32; 2] = [10_076, 10_039];

/// An error of this transport.
pub(crate) fn refuse(kind: Kind, operation: Operation, target: impl fmt::Display) -> Error {
    Error::new(kind, operation).with_target(target)
}

/// The handle was closed.
pub(crate) fn closed(operation: Operation) -> Error {
    Error::new(Kind::Closed, operation)
}

/// There is no connection; nothing has left.
pub(crate) fn down(operation: Operation, why: &str) -> Error {
    Error::new(Kind::Disconnected, operation).with_detail(why)
}

/// The connection ended, or no answer came in time, after bytes may have left.
pub(crate) fn unknown(operation: Operation, why: &str) -> Error {
    Error::new(Kind::Disconnected, operation).with_status(Status::Unknown).with_detail(why)
}

/// An error of the JetStream API.
#[derive(Clone, Debug, Default, serde::Deserialize)]
pub(crate) struct ApiError {
    #[serde(default)]
    pub(crate) code: u16,
    #[serde(default)]
    pub(crate) err_code: u32,
    #[serde(default)]
    pub(crate) description: String,
}

impl ApiError {
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self.err_code, STREAM_NOT_FOUND | CONSUMER_NOT_FOUND | NO_MESSAGE_FOUND) || self.code == 404
    }

    fn is_full(&self) -> bool {
        let bound = self.err_code == STORE_FAILED && self.description.contains("maximum");
        bound || self.is_out_of_room()
    }

    /// Not the bound of one stream: nothing is stored any longer.
    pub(crate) const fn is_out_of_room(&self) -> bool {
        matches!(self.err_code, STORE_FULL | INSUFFICIENT_RESOURCES | ACCOUNT_RESOURCES_EXCEEDED)
    }

    /// Whether it is the limit of the account, for which there are figures.
    pub(crate) const fn is_of_account(&self) -> bool {
        self.err_code == ACCOUNT_RESOURCES_EXCEEDED
    }

    pub(crate) fn kind(&self) -> Kind {
        match self.err_code {
            _ if self.is_not_found() => Kind::NotFound,
            _ if self.is_full() => Kind::Full,
            MESSAGE_EXCEEDS_MAXIMUM => Kind::InvalidOption,
            UNAVAILABLE => Kind::Disconnected,
            code if NOT_ENABLED.contains(&code) => Kind::Conflict,
            _ if self.code == 503 => Kind::Disconnected,
            _ if self.code == 400 => Kind::Conflict,
            _ => Kind::Protocol,
        }
    }

    /// The server answered: nothing has happened.
    pub(crate) fn into_error(self, operation: Operation, target: impl fmt::Display) -> Error {
        let error = refuse(self.kind(), operation, target);
        if self.err_code == NO_PEERS {
            return error.with_status(Status::Temporary).with_detail(format!(
                "{} ({NO_PEERS}): the cluster has fewer members than replicas are asked for, or is still starting",
                self.description
            ));
        }
        error.with_detail(format!("{} ({})", self.description, self.err_code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_and_absence_are_told_apart() {
        let error = |code, err_code, description: &str| ApiError {
            code,
            err_code,
            description: description.to_owned(),
        };
        assert_eq!(error(503, 10_077, "maximum messages exceeded").kind(), Kind::Full);
        assert_eq!(error(503, 10_077, "maximum bytes exceeded").kind(), Kind::Full);
        assert_eq!(error(400, 10_002, "resource limits exceeded for account").kind(), Kind::Full);
        assert_eq!(error(404, 10_059, "stream not found").kind(), Kind::NotFound);
        assert_eq!(error(503, 10_008, "system temporarily unavailable").kind(), Kind::Disconnected);
        let shown =
            error(400, 10_058, "stream name already in use").into_error(Operation::Declare, "queue a");
        assert_eq!(shown.kind(), Kind::Conflict);
        assert!(shown.to_string().contains("10058"));
        let early =
            error(400, NO_PEERS, "no suitable peers for placement").into_error(Operation::Declare, "a");
        assert_eq!((early.kind(), early.status()), (Kind::Conflict, Status::Temporary));
    }
}
