//! A small line protocol over standard input and output, so that a transport in any language can be judged (K9).
//!
//! One JSON object on each line. The kit sends requests, the process answers them, and tells what arrives. The book
//! describes it with examples (`docs/src/wire-kit.md`).
//!
//! * [`Process`] starts such a process (or speaks to one over any pair of streams) and makes handles on its bus, which
//!   are [`Transport`](polybus_contract::Transport)s like any other.
//! * [`serve_process`] is the other side: it serves any transport. The pair proves itself: a bus behind it passes the
//!   kit as it does without.
//!
//! What the protocol does not carry: large bodies beside the queue, messages above [`MAX_MESSAGE`], times below one
//! millisecond (they are rounded up).

mod admin;
mod child;
mod client;
mod figures;
mod lines;
mod link;
mod message;
mod options;
mod profile;
mod server;
mod stream;
mod wire;

pub use child::Process;
pub use client::ProcessTransport;
pub use server::serve_process;

/// The version of the protocol.
pub const PROTOCOL: u32 = 1;

/// The longest line in bytes, its end included. A longer one is skipped whole and counted as garbage.
pub const MAX_LINE: usize = 64 << 20;

/// The largest message in bytes that fits on a line for certain, encoded as base64 with its properties.
pub const MAX_MESSAGE: u64 = 40 << 20;
