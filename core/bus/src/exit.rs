//! Exit codes of programs (PRISEM services specification, 3.3; most are those of `sysexits.h`).

use polybus_contract::{Error, Kind};

/// Done.
pub const OK: u8 = 0;
/// Refused or failed.
pub const FAILED: u8 = 1;
/// Usage error.
pub const USAGE: u8 = 2;
/// Input data wrong.
pub const DATA: u8 = 65;
/// Nobody serves this.
pub const UNAVAILABLE: u8 = 69;
/// Internal error.
pub const INTERNAL: u8 = 70;
/// Deadline passed, or the bus refused for now.
pub const TEMPORARY: u8 = 75;
/// Version or name mismatch, reply not understood.
pub const PROTOCOL: u8 = 76;
/// Not permitted.
pub const NOT_PERMITTED: u8 = 77;
/// Configuration wrong.
pub const CONFIGURATION: u8 = 78;
/// Ended by SIGINT.
pub const INTERRUPTED: u8 = 130;
/// Ended by SIGTERM, or by a drain that had to give up jobs.
pub const TERMINATED: u8 = 143;

/// The exit code for an error of the bus.
#[must_use]
pub fn code(error: &Error) -> u8 {
    match error.kind() {
        Kind::InvalidName | Kind::InvalidOption => USAGE,
        Kind::TooLarge { .. } | Kind::InvalidMessage => DATA,
        Kind::Unroutable | Kind::NoResponder | Kind::NotFound | Kind::Disconnected => UNAVAILABLE,
        Kind::DeadlineExceeded | Kind::Full | Kind::Stale => TEMPORARY,
        Kind::Protocol | Kind::Remote => PROTOCOL,
        Kind::Unauthorized => NOT_PERMITTED,
        Kind::Configuration | Kind::Conflict | Kind::Unsupported(_) => CONFIGURATION,
        _ => INTERNAL,
    }
}
