//! The READY command: what kind of socket the other side has.

use super::{Fault, command};

/// The kinds of sockets that meet here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Socket {
    Dealer,
    Router,
}

impl Socket {
    const fn name(self) -> &'static str {
        match self {
            Self::Dealer => "DEALER",
            Self::Router => "ROUTER",
        }
    }

    /// Refuses a peer that this kind has nothing to say to.
    pub(crate) fn meets(self, ready: &Ready) -> Result<(), Fault> {
        let fits = match self {
            Self::Router => ready.socket == "DEALER",
            Self::Dealer => ready.socket == "ROUTER",
        };
        if fits { Ok(()) } else { Err(Fault::Socket(ready.socket.clone())) }
    }
}

/// What a READY command says, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// The kind of the peer's socket.
    pub socket: String,
}

/// The command of this socket.
pub(crate) fn ready(socket: Socket) -> Vec<u8> {
    let mut data = Vec::new();
    property("Socket-Type", socket.name().as_bytes(), &mut data);
    property("Identity", b"", &mut data);
    command("READY", &data)
}

fn property(name: &str, value: &[u8], to: &mut Vec<u8>) {
    to.push(u8::try_from(name.len()).unwrap_or(0));
    to.extend_from_slice(name.as_bytes());
    to.extend_from_slice(&u32::try_from(value.len()).unwrap_or(0).to_be_bytes());
    to.extend_from_slice(value);
}

/// Reads the properties of a READY command. The identity that a peer gives its socket is not used: who somebody is, the
/// protocol above finds out.
///
/// # Errors
/// [`Fault::Ready`] if the lengths do not fit.
pub fn read_ready(mut data: &[u8]) -> Result<Ready, Fault> {
    let mut ready = Ready::default();
    while !data.is_empty() {
        let (name, rest) = take(data, 1).ok_or(Fault::Ready)?;
        let (value, rest) = take(rest, 4).ok_or(Fault::Ready)?;
        if name.eq_ignore_ascii_case(b"Socket-Type") {
            ready.socket = String::from_utf8_lossy(value).chars().take(32).collect();
        }
        if name.eq_ignore_ascii_case(b"Identity") && value.len() > 255 {
            return Err(Fault::Ready);
        }
        data = rest;
    }
    Ok(ready)
}

/// Takes a length of so many bytes and what it counts.
fn take(data: &[u8], width: usize) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_at_checked(width)?;
    let length = length.iter().fold(0_u64, |length, byte| length << 8 | u64::from(*byte));
    rest.split_at_checked(usize::try_from(length).ok()?)
}
