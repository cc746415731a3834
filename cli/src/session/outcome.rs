//! Failures of the bus as failures of a program.

use std::time::Duration;

use polybus::{CallError, Error, Kind, exit};

use crate::console::Failure;

/// The failure that an error of the bus is.
pub(crate) fn wrong(error: &Error) -> Failure {
    Failure::told(exit::code(error), word(error.kind()), error.to_string())
}

/// The failure of a call of `service` that brought no reply in this time.
pub(crate) fn uncalled(service: &str, error: &CallError, elapsed: Duration) -> Failure {
    let code = match (error, error.kind()) {
        (_, Some(kind)) => word(kind),
        (CallError::Unwritable(_), _) => "too-large",
        _ => "protocol",
    };
    let waited = match error.kind() {
        Some(Kind::DeadlineExceeded) => format!(" after {:.3} s", elapsed.as_secs_f64()),
        _ => String::new(),
    };
    Failure::told(error.exit_code(), code, format!("call of {service}: {error}{waited}"))
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
