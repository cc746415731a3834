//! ZMTP 3.1 with the NULL mechanism, as much of it as a DEALER and a ROUTER need.
//!
//! Bytes go in, messages and commands come out; there is no I/O here. Every limit is checked before anything is allocated
//! for what a peer merely claims.

mod decode;
mod greeting;
mod ready;

use bytes::Bytes;

pub use decode::{Decoder, Event, Fault, Limits};
pub(crate) use greeting::GREETING;
pub use greeting::{GREETING_LENGTH, check_greeting};
pub use ready::{Ready, read_ready};
pub(crate) use ready::{Socket, ready};

/// Another frame of the same message follows.
pub(crate) const MORE: u8 = 1;
/// The length has eight bytes.
const LONG: u8 = 2;
/// It is a command of ZMTP and not of the program.
const COMMAND: u8 = 4;

/// A command of the protocol below the messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The end of the handshake.
    Ready(Bytes),
    /// The peer refuses, for this reason.
    Error(Bytes),
    /// A question whether somebody is there, with a context that is repeated in the answer.
    Ping(Bytes),
    /// The answer.
    Pong,
    /// Something that a ROUTER has no use for.
    Other,
}

/// Flags and length in front of a frame.
pub(crate) fn head(flags: u8, length: usize, to: &mut impl Extend<u8>) {
    if let Ok(short) = u8::try_from(length) {
        return to.extend([flags, short]);
    }
    to.extend([flags | LONG]);
    to.extend((length as u64).to_be_bytes());
}

/// A command with its name.
pub(crate) fn command(name: &str, data: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(name.len() + data.len() + 10);
    head(COMMAND, name.len() + 1 + data.len(), &mut frame);
    frame.push(u8::try_from(name.len()).unwrap_or(0));
    frame.extend_from_slice(name.as_bytes());
    frame.extend_from_slice(data);
    frame
}

/// A question with a time to live in tenths of a second and no context.
pub(crate) fn ping(ttl: std::time::Duration) -> Vec<u8> {
    let tenths = u16::try_from(ttl.as_millis() / 100).unwrap_or(u16::MAX);
    command("PING", &tenths.to_be_bytes())
}

pub(crate) fn pong(context: &[u8]) -> Vec<u8> {
    command("PONG", context)
}
