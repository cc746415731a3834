//! Failures of the bus as failures of a program.

use polybus::{CallError, Error, Kind, exit};

use crate::console::Failure;

/// The failure that an error of the bus is.
pub(crate) fn wrong(error: &Error) -> Failure {
    Failure::told(exit::code(error), word(error.kind()), error.to_string())
}

/// The failure of a call of `service` that brought no reply.
pub(crate) fn uncalled(service: &str, error: &CallError) -> Failure {
    let code = match (error, error.kind()) {
        (_, Some(kind)) => word(kind),
        (CallError::Unwritable(_), _) => "too-large",
        _ => "protocol",
    };
    Failure::told(error.exit_code(), code, format!("call of {service}: {error}"))
}

/// The word for a kind of error in `--json-errors`.
fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Unsupported(_) => "unsupported",
        Kind::InvalidName => "invalid-name",
        Kind::InvalidMessage => "invalid-message",
        Kind::InvalidOption => "invalid-option",
        Kind::TooLarge { .. } => "too-large",
        Kind::Unroutable => "unroutable",
        Kind::NoResponder => "no-responder",
        Kind::DeadlineExceeded => "deadline",
        Kind::Full => "full",
        Kind::Stale => "stale",
        Kind::Unauthorized => "not-permitted",
        Kind::NotFound => "not-found",
        Kind::Conflict => "conflict",
        Kind::Closed => "closed",
        Kind::Disconnected => "disconnected",
        Kind::Remote => "remote",
        Kind::Protocol => "protocol",
        Kind::Configuration => "configuration",
        _ => "internal",
    }
}
