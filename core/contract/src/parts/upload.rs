//! Writing a large body part by part.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};

use super::{Manifest, Part, PartSink, PartStore, PartsId, StoredParts};
use crate::body::BodyParts;
use crate::capability::Feature;
use crate::error::{Error, Kind, Operation, Result};
use crate::transport::Transport;

/// A large body on its way to the bus, in bounded memory: one part, and what the store keeps in hand.
///
/// Dropped before its end, what was written is removed by the bus when its time has passed; [`Upload::abandon`] does it
/// at once.
#[derive(Debug)]
pub struct Upload {
    store: Arc<dyn PartStore>,
    instance: Arc<str>,
    sink: Box<dyn PartSink>,
    id: PartsId,
    size: u32,
    waiting: BytesMut,
    parts: u32,
    bytes: u64,
    digests: Sha256,
}

impl Upload {
    /// Begins one on this bus, to live at least `live` after it was written.
    ///
    /// # Errors
    /// [`Unsupported`](Kind::Unsupported) before any I/O; as [`PartStore::create`].
    pub async fn begin(bus: &dyn Transport, live: Duration) -> Result<Self> {
        let profile = bus.profile();
        let store = bus.parts().filter(|_| profile.capability.large_body);
        let store =
            store.ok_or_else(|| Error::unsupported(Feature::LargeBody, Operation::Publish, profile.bus))?;
        let (id, size) = (PartsId::fresh(), store.part_size().max(1));
        let sink = store.create(id, live).await?;
        let waiting = BytesMut::new();
        Ok(Self {
            store,
            instance: profile.instance,
            sink,
            id,
            size,
            waiting,
            parts: 0,
            bytes: 0,
            digests: Sha256::new(),
        })
    }

    /// How many bytes have been written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes + self.waiting.len() as u64
    }

    /// Writes more of it.
    ///
    /// # Errors
    /// As [`PartSink::put`], and [`TooLarge`](Kind::TooLarge) beyond 2^32 parts. After an error, and when the future was
    /// dropped, the upload is of no use.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        let size = self.size as usize;
        while !bytes.is_empty() {
            if self.waiting.is_empty() {
                self.waiting.reserve(size);
            }
            let (now, later) = bytes.split_at(bytes.len().min(size - self.waiting.len()));
            self.waiting.extend_from_slice(now);
            bytes = later;
            if self.waiting.len() == size {
                self.put().await?;
            }
        }
        Ok(())
    }

    /// Writes all of a body that is read in parts.
    ///
    /// # Errors
    /// As [`Upload::write`] and [`BodyParts::part`]; [`Protocol`](Kind::Protocol) if it ends early.
    pub async fn write_all(&mut self, parts: &dyn BodyParts) -> Result<()> {
        let mut offset = 0;
        while offset < parts.len() {
            let piece = parts.part(offset, self.size as usize).await?;
            if piece.is_empty() {
                let detail = format!("the body ends at byte {offset} of {}", parts.len());
                return Err(Error::new(Kind::Protocol, Operation::Publish).with_detail(detail));
            }
            self.write(&piece).await?;
            offset += piece.len() as u64;
        }
        Ok(())
    }

    async fn put(&mut self) -> Result<()> {
        let content: Bytes = self.waiting.split().freeze();
        let length = content.len() as u64;
        let part = Part::new(self.parts, content);
        self.digests.update(part.sha256);
        self.parts = self.parts.checked_add(1).ok_or_else(|| {
            let limit = u64::from(u32::MAX) * u64::from(self.size);
            Error::new(Kind::TooLarge { limit, size: self.bytes + length }, Operation::Publish)
        })?;
        self.bytes += length;
        self.sink.put(part).await
    }

    /// Ends it when the bus has all of it. What comes back can be sent as the body of a message on this bus, as often as
    /// need be.
    ///
    /// # Errors
    /// As [`PartSink::finish`].
    pub async fn finish(mut self) -> Result<Arc<StoredParts>> {
        if !self.waiting.is_empty() {
            self.put().await?;
        }
        self.sink.finish().await?;
        let sha256 = self.digests.finalize().into();
        let manifest =
            Manifest { id: self.id, parts: self.parts, part: self.size, bytes: self.bytes, sha256 };
        Ok(Arc::new(StoredParts::new(self.store, self.instance, manifest)))
    }

    /// Gives it up and removes what was written, as far as that can be done now.
    pub async fn abandon(self) {
        drop(self.sink);
        // What cannot be removed now goes when its time has passed.
        let _ = self.store.remove(self.id).await;
    }
}
