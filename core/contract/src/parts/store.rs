//! What a transport implements so that large bodies can lie beside its queues.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{Manifest, PartsId};
use crate::error::{Error, Kind, Operation, Result};
use crate::name::Name;

/// One part of a body, with its digest.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// Counts from 0.
    pub index: u32,
    /// Its content.
    pub bytes: Bytes,
    /// SHA-256 of the content, as its sender had it.
    pub sha256: [u8; 32],
}

impl Part {
    /// A part to be sent: its digest is taken here.
    #[must_use]
    pub fn new(index: u32, bytes: Bytes) -> Self {
        let sha256 = Sha256::digest(&bytes).into();
        Self { index, bytes, sha256 }
    }

    /// A part as it was found: whether the digest fits is not looked at.
    #[must_use]
    pub const fn found(index: u32, bytes: Bytes, sha256: [u8; 32]) -> Self {
        Self { index, bytes, sha256 }
    }

    /// Whether the content is that of its digest.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        <[u8; 32]>::from(Sha256::digest(&self.bytes)) == self.sha256
    }
}

impl fmt::Debug for Part {
    /// The size only: payloads stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Part({}, {} bytes)", self.index, self.bytes.len())
    }
}

/// Where the parts of large bodies lie: on the bus, beside its queues, in bounded room, for a bounded time.
///
/// Every wait has a bound of the store's own, with a typed end. A connection that is lost meanwhile is waited for, and
/// the work goes on where it was, up to that bound.
#[async_trait]
pub trait PartStore: Send + Sync + fmt::Debug {
    /// The size of the parts of a new body in bytes; at least 1. It is looked at when the body begins.
    fn part_size(&self) -> u32;

    /// A place for the parts of a new body. They live at least `live` after they were written, and not for ever.
    ///
    /// # Errors
    /// [`Full`](crate::Kind::Full), [`Unauthorized`](crate::Kind::Unauthorized),
    /// [`Disconnected`](crate::Kind::Disconnected).
    async fn create(&self, id: PartsId, live: Duration) -> Result<Box<dyn PartSink>>;

    /// The place of a body whose writing broke off, to go on with it, and how many of its parts are there, whole and in order.
    /// The next part to be put is the one of that number; one before it that is put again is not there twice. Default: a store
    /// that sees to lost connections by itself has none.
    ///
    /// # Errors
    /// [`NotFound`](crate::Kind::NotFound) if the place is gone, [`Disconnected`](crate::Kind::Disconnected).
    async fn resume(&self, id: PartsId) -> Result<(Box<dyn PartSink>, u32)> {
        Err(Error::new(Kind::NotFound, Operation::Publish).with_target(id))
    }

    /// The parts of the body of this manifest from the part `from` on, which are not taken away by being read. Several may
    /// read, where need be one after the other.
    ///
    /// # Errors
    /// [`NotFound`](crate::Kind::NotFound), here or at the first part, [`Disconnected`](crate::Kind::Disconnected).
    async fn open(&self, manifest: &Manifest, from: u32) -> Result<Box<dyn PartSource>>;

    /// Takes the parts away. Done again, or where there are none, it is done.
    ///
    /// # Errors
    /// [`Disconnected`](crate::Kind::Disconnected) and the like: they then go when their time has passed.
    async fn remove(&self, id: PartsId) -> Result<()>;

    /// Whether those who serve `queue` read parts. A store answers no where programs that know nothing of them may share
    /// the bus and nobody has said otherwise. Default: yes.
    ///
    /// # Errors
    /// [`Disconnected`](crate::Kind::Disconnected).
    async fn reaches(&self, queue: &Name) -> Result<bool> {
        let _ = queue;
        Ok(true)
    }
}

/// Takes the parts of a new body. Dropped before its end, what was put lives until its time has passed.
#[async_trait]
pub trait PartSink: Send + fmt::Debug {
    /// Takes the next part: they come in order, without a hole. It may return before the bus has it; few are kept in hand.
    ///
    /// # Errors
    /// [`Full`](crate::Kind::Full), [`Disconnected`](crate::Kind::Disconnected), [`NotFound`](crate::Kind::NotFound) if
    /// the place is gone. After an error the sink is of no use. Dropped: put again or not at all, do not go on.
    async fn put(&mut self, part: Part) -> Result<()>;

    /// Returns when the bus has taken responsibility for all parts.
    ///
    /// # Errors
    /// As [`PartSink::put`].
    async fn finish(&mut self) -> Result<()>;
}

/// Gives the parts of a body in order.
#[async_trait]
pub trait PartSource: Send + fmt::Debug {
    /// The next part, each once. It is not asked beyond the last one. Few are fetched ahead.
    ///
    /// # Errors
    /// [`NotFound`](crate::Kind::NotFound) if it is not there, [`Disconnected`](crate::Kind::Disconnected),
    /// [`Protocol`](crate::Kind::Protocol) for what is no part. After an error, or dropped, the source is of no use.
    async fn next(&mut self) -> Result<Part>;
}
