//! Errors of this transport, in the words of the contract.

use std::fmt;

use polybus_contract::{Error, Kind, Operation, Status};

/// The connection ended while something was under way.
pub(crate) const LOST: &str = "the connection to the broker was lost";

pub(crate) fn refuse(kind: Kind, operation: Operation, target: impl fmt::Display) -> Error {
    Error::new(kind, operation).with_target(target)
}

/// The handle was closed.
pub(crate) fn closed(operation: Operation) -> Error {
    Error::new(Kind::Closed, operation)
}

/// There is no connection; nothing has left.
pub(crate) fn down(operation: Operation, why: impl Into<String>) -> Error {
    Error::new(Kind::Disconnected, operation).with_detail(why)
}

/// The connection ended, or no answer came in time, after bytes may have left.
pub(crate) fn unknown(operation: Operation, why: &str) -> Error {
    Error::new(Kind::Disconnected, operation).with_status(Status::Unknown).with_detail(why)
}

/// What the broker said cannot be understood.
pub(crate) fn unreadable(operation: Operation, fault: impl fmt::Display) -> Error {
    Error::new(Kind::Protocol, operation)
        .with_status(Status::Unknown)
        .with_detail(format!("the broker: {fault}"))
}

/// The delivery is of a time before the broker forgot this client.
pub(crate) fn stale(operation: Operation) -> Error {
    Error::new(Kind::Stale, operation).with_detail("the broker has begun anew since, or the lease has ended")
}

/// The same refusal, said of another operation.
pub(crate) fn again_as(error: &Error, operation: Operation) -> Error {
    let mut again = Error::new(error.kind(), operation).with_status(error.status());
    if let Some(target) = error.target() {
        again = again.with_target(target);
    }
    match error.detail() {
        Some(detail) => again.with_detail(detail),
        None => again,
    }
}
