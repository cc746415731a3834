//! The first 64 bytes of a connection.

use super::Fault;

/// How long a greeting is.
pub const GREETING_LENGTH: usize = 64;

/// The mechanism at its place.
const MECHANISM: std::ops::Range<usize> = 12..32;

/// What both sides say first: ZMTP 3.1, NULL.
pub(crate) const GREETING: [u8; GREETING_LENGTH] = greeting();

/// The greeting of this implementation.
const fn greeting() -> [u8; GREETING_LENGTH] {
    let mut bytes = [0; GREETING_LENGTH];
    bytes[0] = 0xff;
    bytes[8] = 1;
    bytes[9] = 0x7f;
    bytes[10] = 3;
    bytes[11] = 1;
    bytes[12] = b'N';
    bytes[13] = b'U';
    bytes[14] = b'L';
    bytes[15] = b'L';
    bytes
}

/// Refuses as early as the bytes that are there allow: who speaks something else is not waited for.
///
/// # Errors
/// [`Fault::Greeting`] with what is wrong.
pub fn check_greeting(bytes: &[u8]) -> Result<(), Fault> {
    let at = |index: usize| bytes.get(index).copied();
    if at(0).is_some_and(|byte| byte != 0xff) || at(9).is_some_and(|byte| byte != 0x7f) {
        return Err(Fault::Greeting("this is not ZMTP"));
    }
    if at(10).is_some_and(|major| major < 3) {
        return Err(Fault::Greeting("ZMTP before version 3 is not spoken here"));
    }
    if bytes.get(MECHANISM).is_some_and(|mechanism| *mechanism != GREETING[MECHANISM]) {
        return Err(Fault::Greeting("the mechanism is not NULL; CURVE and PLAIN are not spoken here"));
    }
    Ok(())
}
