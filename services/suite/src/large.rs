//! Large contents between the bus, which is asynchronous, and the engine, which reads and writes.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use polybus::frame::{Refusal, RefusalCode};
use polybus::{BodyParts, Content, Error, Kind, Upload};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// How much is asked for at a time.
const PIECE: usize = 1 << 20;

/// A large content as an input of the engine, for a thread that may block. Reading fails once the job is given up.
pub(crate) struct LargeText {
    runtime: Handle,
    parts: Arc<dyn BodyParts>,
    offset: u64,
    piece: Bytes,
    cancelled: CancellationToken,
}

impl LargeText {
    /// Within a runtime.
    pub(crate) fn new(content: &Content, cancelled: CancellationToken) -> Self {
        let (runtime, parts) = (Handle::current(), content.parts.clone());
        Self { runtime, parts, offset: 0, piece: Bytes::new(), cancelled }
    }

    fn fetch(&mut self) -> io::Result<()> {
        // A job that was given up must not keep the parts from the next one while it waits for a connection.
        let reading = self.cancelled.run_until_cancelled(self.parts.part(self.offset, PIECE));
        let part = self.runtime.block_on(reading).ok_or_else(|| io::Error::other("the job was given up"))?;
        let part = part.map_err(io::Error::other)?;
        if part.is_empty() && self.offset < self.parts.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += part.len() as u64;
        self.piece = part;
        Ok(())
    }
}

impl Read for LargeText {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            self.fetch()?;
        }
        let count = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// A large result as an output of the engine, for a thread that may block.
pub(crate) struct LargeResult {
    runtime: Handle,
    pub(crate) upload: Upload,
}

impl LargeResult {
    /// Within a runtime.
    pub(crate) fn new(upload: Upload) -> Self {
        Self { runtime: Handle::current(), upload }
    }
}

impl Write for LargeResult {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.runtime.block_on(self.upload.write(bytes)).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A result in memory that may not become longer than a frame may be.
pub(crate) struct Bounded {
    pub(crate) bytes: Vec<u8>,
    pub(crate) limit: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let size = self.bytes.len() + bytes.len();
        if size > self.limit {
            let kind = Kind::TooLarge { limit: self.limit as u64, size: size as u64 };
            return Err(io::Error::other(Error::new(kind, polybus::Operation::Reply)));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The refusal for an error of the bus.
pub(crate) fn unavailable(error: &Error) -> Refusal {
    let code = match error.kind() {
        Kind::TooLarge { .. } => RefusalCode::TooLarge,
        _ => RefusalCode::Unavailable,
    };
    Refusal::new(code, error.to_string())
}
