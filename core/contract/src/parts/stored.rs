//! Reading a large body where it lies.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{Manifest, PartSource, PartStore};
use crate::body::BodyParts;
use crate::error::{Error, Kind, Operation, Result};

/// The parts of a body in the store of a bus. Each part is checked against its digest, and all of them against the
/// manifest when they are read from the first byte to the last.
///
/// Read in order it costs one part of memory, and what the store fetches ahead. Going back begins anew.
#[derive(Debug)]
pub struct StoredParts {
    store: Arc<dyn PartStore>,
    instance: Arc<str>,
    manifest: Manifest,
    /// Where the last read ended; taken by a read, so that one that is dropped in its middle leaves nothing half done.
    cursor: Mutex<Option<Cursor>>,
    kept: AtomicBool,
    /// Removed when it was read to its end: nobody else is to read it.
    once: bool,
}

#[derive(Debug)]
struct Cursor {
    source: Box<dyn PartSource>,
    /// The next byte to be given.
    offset: u64,
    /// The next part to be fetched.
    index: u32,
    /// What is left of the last one.
    rest: Bytes,
    /// Of what was read so far, if that began with the first part.
    digests: Option<Sha256>,
}

impl StoredParts {
    pub(crate) fn new(store: Arc<dyn PartStore>, instance: Arc<str>, manifest: Manifest) -> Self {
        Self {
            store,
            instance,
            manifest,
            cursor: Mutex::default(),
            kept: AtomicBool::new(false),
            once: false,
        }
    }

    /// The same, removed as soon as it was read to its end.
    pub(crate) fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// What they are.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether they lie on this bus, by [`Profile::instance`](crate::Profile::instance).
    #[must_use]
    pub fn is_on(&self, instance: &str) -> bool {
        *self.instance == *instance
    }

    /// Leaves them where they are when the delivery they came with is settled: somebody may send the same request again.
    /// They then go when their time has passed.
    pub fn keep(&self) {
        self.kept.store(true, Ordering::Release);
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Acquire)
    }

    /// Removes them. For whoever sent them, when nobody can need them any more.
    ///
    /// # Errors
    /// As [`PartStore::remove`].
    pub async fn remove(&self) -> Result<()> {
        self.store.remove(self.manifest.id).await
    }

    fn cursor(&self) -> std::sync::MutexGuard<'_, Option<Cursor>> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn cursor_at(&self, offset: u64) -> Result<Cursor> {
        let last = self.cursor().take();
        if let Some(cursor) = last.filter(|cursor| cursor.offset == offset) {
            return Ok(cursor);
        }
        let part = u64::from(self.manifest.part);
        let index = u32::try_from(offset / part).map_err(|_| self.broken("it is too long"))?;
        let source = self.store.open(&self.manifest, index).await?;
        let digests = (index == 0).then(Sha256::new);
        let mut cursor =
            Cursor { source, offset: u64::from(index) * part, index, rest: Bytes::new(), digests };
        let skipped = usize::try_from(offset % part).unwrap_or(0);
        if skipped > 0 {
            self.fetch(&mut cursor).await?;
            drop(cursor.rest.split_to(skipped.min(cursor.rest.len())));
            cursor.offset = offset;
        }
        Ok(cursor)
    }

    /// Fetches the next part and checks it.
    async fn fetch(&self, cursor: &mut Cursor) -> Result<()> {
        let part = cursor.source.next().await.map_err(|error| error.with_target(self.manifest.id))?;
        let right =
            part.index == cursor.index && part.bytes.len() as u64 == self.manifest.size_of(part.index);
        if !right || !part.is_whole() {
            return Err(self.broken(&format!("part {} is not what its digest says", cursor.index)));
        }
        cursor.index += 1;
        if let Some(digests) = &mut cursor.digests {
            digests.update(part.sha256);
        }
        cursor.rest = part.bytes;
        if cursor.index == self.manifest.parts { self.check_all(cursor) } else { Ok(()) }
    }

    fn check_all(&self, cursor: &mut Cursor) -> Result<()> {
        match cursor.digests.take().map(|digests| <[u8; 32]>::from(digests.finalize())) {
            Some(found) if found != self.manifest.sha256 => {
                Err(self.broken("the parts are not those of the manifest"))
            }
            _ => Ok(()),
        }
    }

    fn broken(&self, why: &str) -> Error {
        Error::new(Kind::Protocol, Operation::Decode).with_target(self.manifest.id).with_detail(why)
    }
}

#[async_trait]
impl BodyParts for StoredParts {
    fn len(&self) -> u64 {
        self.manifest.bytes
    }

    async fn part(&self, offset: u64, max: usize) -> Result<Bytes> {
        if offset >= self.manifest.bytes || max == 0 {
            return Ok(Bytes::new());
        }
        let mut cursor = self.cursor_at(offset).await?;
        if cursor.rest.is_empty() {
            self.fetch(&mut cursor).await?;
        }
        let piece = cursor.rest.split_to(max.min(cursor.rest.len()));
        cursor.offset += piece.len() as u64;
        if cursor.offset < self.manifest.bytes {
            *self.cursor() = Some(cursor);
        } else if self.once {
            drop(cursor);
            // What cannot be removed now goes when its time has passed.
            let _ = self.remove().await;
        }
        Ok(piece)
    }

    fn stored(&self) -> Option<&StoredParts> {
        Some(self)
    }
}

/// Parts whose manifest cannot be read: they are there, and nobody can have them.
#[derive(Debug)]
pub(crate) struct Unreadable(pub(crate) Error);

#[async_trait]
impl BodyParts for Unreadable {
    fn len(&self) -> u64 {
        1
    }

    async fn part(&self, _offset: u64, _max: usize) -> Result<Bytes> {
        Err(self.0.clone())
    }
}
