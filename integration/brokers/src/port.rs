//! Ports for servers of tests.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::Error;

/// Below the range from which systems take ports for outgoing connections. A port from that range could be taken while
/// its server is down, even by a client that tries to reach the server there and so connects to itself.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port of 127.0.0.1 on which nobody listens. Processes begin at different places, and no process tries one twice
/// before it has tried all. A server may be started on it again after a while: no outgoing connection takes it.
///
/// # Errors
/// [`Error::Setting`] if all are taken.
pub fn free() -> Result<u16, Error> {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let next = NEXT.get_or_init(|| AtomicU16::new(fastrand::u16(..COUNT)));
    (0..COUNT)
        .map(|_| FIRST + next.fetch_add(1, Ordering::Relaxed) % COUNT)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .ok_or_else(|| Error::Setting(format!("no free port from {FIRST} on")))
}
