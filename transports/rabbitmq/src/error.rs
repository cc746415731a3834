//! The broker's errors in the words of the contract.

use std::fmt;

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use polybus_contract::{Error, Kind, MessageId, Operation, Status};

/// An error of this transport.
pub(crate) fn refuse(kind: Kind, operation: Operation, target: impl fmt::Display) -> Error {
    Error::new(kind, operation).with_target(target)
}

/// The handle was closed.
pub(crate) fn closed(operation: Operation) -> Error {
    Error::new(Kind::Closed, operation)
}

/// No connection within the bound; nothing has been sent.
pub(crate) fn down(operation: Operation, why: &str) -> Error {
    Error::new(Kind::Disconnected, operation).with_detail(why)
}

/// It is on its way, and nobody will say what became of it.
pub(crate) fn unknown(kind: Kind, operation: Operation, id: Option<&MessageId>) -> Error {
    let error = Error::new(kind, operation).with_status(Status::Unknown);
    match id {
        Some(id) => error.with_message_id(id.clone()),
        None => error,
    }
}

/// What the broker said, or what became of the connection.
pub(crate) fn of_broker(error: &lapin::Error, operation: Operation) -> Error {
    let kind = kind_of(error);
    Error::new(kind, operation).with_detail(text_of(error))
}

pub(crate) fn kind_of(error: &lapin::Error) -> Kind {
    match error.kind() {
        ErrorKind::ProtocolError(error) if is_away(error.get_message().as_str()) => Kind::Disconnected,
        ErrorKind::ProtocolError(error) => match error.kind() {
            // A vhost that is not there is "not allowed".
            AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) | AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => {
                Kind::NotFound
            }
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => Kind::Unauthorized,
            AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED | AMQPSoftError::RESOURCELOCKED) => {
                Kind::Conflict
            }
            AMQPErrorKind::Hard(AMQPHardError::CONNECTIONFORCED) => Kind::Disconnected,
            _ => Kind::Protocol,
        },
        ErrorKind::ParsingError(_)
        | ErrorKind::InvalidProtocolVersion(_)
        | ErrorKind::SerialisationError(_) => Kind::Protocol,
        ErrorKind::AuthProviderError(_) => Kind::Unauthorized,
        _ => Kind::Disconnected,
    }
}

/// Whether this tells of a queue that is there and whose member of the cluster is down: it comes back with it.
pub(crate) fn is_away(said: &str) -> bool {
    said.contains("is down or inaccessible")
}

/// The broker's reply code, if it answered with an error.
pub(crate) fn code_of(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

/// One line for people. The broker's texts name users and objects, never passwords.
pub(crate) fn text_of(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        ErrorKind::IOError(error) => error.to_string(),
        ErrorKind::MissingHeartbeatError => "the broker was silent for two heartbeats".to_owned(),
        _ => error.to_string(),
    }
}
