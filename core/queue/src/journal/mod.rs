//! A journal on disk for the engine's records.
//!
//! Records are collected by a [`Log`] as they happen, written in batches by a [`Writer`], and read back by [`open`].
//! The format is described byte for byte in the book (`docs/src/wire-journal.md`).
//!
//! - *Group commit*: whatever happened while one batch was on its way to the disk is the next batch. Whoever needs a
//!   change on disk notes [`Log::position`] and waits until [`Written::durable`] has reached it.
//! - *Torn end*: a batch that was not written whole was never confirmed; reading ends before it and says so.
//! - *Damage*: a batch that was on disk and cannot be read any more is never skipped. [`open`] names file and
//!   offset and refuses, or, if told to, sets what cannot be read aside and goes on with what is whole before it.
//! - *Snapshots*: when the journal has grown to more than twice what the engine holds, the state is told again in
//!   steps between other records ([`crate::Engine::begin_snapshot`]), and what is older goes.
//! - *Full disk*: the next segment is reserved before it is needed. While that fails no message is taken
//!   ([`crate::Error::NoSpace`]) and the rest of the present segment serves acks and hand-outs.
//!
//! It does I/O only in [`open`] and [`Writer::commit`], starts no thread and has no clock.

mod batch;
mod code;
mod disk;
mod log;
mod read;
mod recover;
mod segment;
mod statement;
mod wire;
mod writer;

pub use code::{Codec, read_records};
pub use disk::{Directory, DirectoryError, Disk, DiskFile};
pub use log::Log;
pub use recover::{Opened, open};
pub use segment::VERSION;
pub use statement::{Cut, Damage, OpenError, Recovered};
pub use wire::{Decoder, Encoder};
pub use writer::{WriteError, Writer, Written};

/// Options of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes of a segment; one that must hold a larger batch is larger. At least two are on the disk.
    pub segment: u64,
    /// Bytes that may wait to be written before sends are refused ([`crate::Error::NoSpace`]).
    pub waiting: u64,
    /// What to do about damage.
    pub damaged: Damaged,
}

/// What [`open`] does about a journal that cannot be read to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Damaged {
    /// It refuses and changes nothing.
    #[default]
    Refuse,
    /// It goes on with what is whole before the damage and renames the files with the rest to `*.damaged`. Messages
    /// that were sent after it are lost to this bus, messages that were settled after it come back.
    SetAside,
}

impl Default for Options {
    /// Segments of 16 MiB, at most 128 MiB waiting, damage refused.
    fn default() -> Self {
        Self { segment: 16 << 20, waiting: 128 << 20, damaged: Damaged::Refuse }
    }
}

/// The smallest segment: room for a few batches.
pub const MIN_SEGMENT: u64 = 64 << 10;
