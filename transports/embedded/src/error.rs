//! The engine's refusals in the words of the contract.

use std::fmt;

use polybus_contract::{Error, Kind, Operation, Status};
use polybus_queue::Error as Refusal;

/// An error of this transport.
pub(crate) fn refuse(kind: Kind, operation: Operation, target: impl fmt::Display) -> Error {
    Error::new(kind, operation).with_target(target)
}

/// The handle was closed.
pub(crate) fn closed(operation: Operation) -> Error {
    Error::new(Kind::Closed, operation)
}

/// What the engine refused. In this process every answer is definite: nothing has happened.
pub(crate) fn refused(refusal: Refusal, operation: Operation, target: impl fmt::Display) -> Error {
    let kind = match refusal {
        Refusal::NoSuchQueue if operation == Operation::Settle || operation == Operation::Renew => {
            Kind::Stale
        }
        Refusal::NoSuchQueue if operation == Operation::Publish => Kind::Unroutable,
        Refusal::NoSuchQueue | Refusal::NoSuchTopic | Refusal::NoSuchConsumer => Kind::NotFound,
        Refusal::Full { .. } | Refusal::NoSpace => Kind::Full,
        Refusal::TooLarge { size, limit } => Kind::TooLarge { limit, size },
        Refusal::Stale => Kind::Stale,
        Refusal::DeadLetters => Kind::InvalidName,
        _ => Kind::Internal,
    };
    let error = refuse(kind, operation, target).with_detail(refusal.to_string());
    if kind == Kind::Stale { error.with_status(Status::Unknown) } else { error }
}
