//! Message bodies: shared bytes, or parts that lie beside the queue.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use crate::error::{Error, Kind, Operation, Result};

/// Where the parts of a large body are read from. It can be read more than once, since a message may be retried.
#[async_trait]
pub trait BodyParts: Send + Sync + fmt::Debug {
    /// The whole length in bytes.
    fn len(&self) -> u64;

    /// Whether there is nothing in it.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Up to `max` bytes from `offset`; empty only at or behind the end.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if the parts are gone (the message was settled), [`Kind::Disconnected`].
    ///
    /// Dropping the future loses nothing: the next call starts anew.
    async fn part(&self, offset: u64, max: usize) -> Result<Bytes>;
}

/// The body of a message. Cloning shares the bytes.
#[derive(Clone)]
pub struct Body(Repr);

#[derive(Clone)]
enum Repr {
    Bytes(Bytes),
    Parts(Arc<dyn BodyParts>),
}

impl Body {
    /// A body of these bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(Repr::Bytes(bytes.into()))
    }

    /// A large body, read part by part. Needs [`Feature::LargeBody`](crate::Feature::LargeBody).
    #[must_use]
    pub fn parts(parts: Arc<dyn BodyParts>) -> Self {
        Self(Repr::Parts(parts))
    }

    /// Its length in bytes.
    #[must_use]
    #[inline]
    pub fn len(&self) -> u64 {
        match &self.0 {
            Repr::Bytes(bytes) => bytes.len() as u64,
            Repr::Parts(parts) => parts.len(),
        }
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, unless it is a large body.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match &self.0 {
            Repr::Bytes(bytes) => Some(bytes),
            Repr::Parts(_) => None,
        }
    }

    /// The parts of a large body.
    #[must_use]
    pub fn as_parts(&self) -> Option<&Arc<dyn BodyParts>> {
        match &self.0 {
            Repr::Bytes(_) => None,
            Repr::Parts(parts) => Some(parts),
        }
    }

    /// The whole body in memory, if it is not longer than `limit`.
    ///
    /// # Errors
    /// [`Kind::TooLarge`] before anything is read; otherwise as [`BodyParts::part`]. [`Kind::Protocol`] if the parts
    /// end early. Dropping the future loses nothing.
    pub async fn read(&self, limit: u64) -> Result<Bytes> {
        let size = self.len();
        if size > limit {
            return Err(Error::new(Kind::TooLarge { limit, size }, Operation::Decode));
        }
        match &self.0 {
            Repr::Bytes(bytes) => Ok(bytes.clone()),
            Repr::Parts(parts) => read_parts(&**parts, size).await,
        }
    }
}

const PART: usize = 1 << 20;

async fn read_parts(parts: &dyn BodyParts, size: u64) -> Result<Bytes> {
    let mut whole = BytesMut::new();
    while (whole.len() as u64) < size {
        let part = parts.part(whole.len() as u64, PART).await?;
        if part.is_empty() {
            let detail = format!("the body ends at byte {} of {size}", whole.len());
            return Err(Error::new(Kind::Protocol, Operation::Decode).with_detail(detail));
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole.freeze())
}

impl Default for Body {
    fn default() -> Self {
        Self::new(Bytes::new())
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self::new(bytes)
    }
}

impl fmt::Debug for Body {
    /// The size only: payloads stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Halves {
        claimed: u64,
    }

    #[async_trait]
    impl BodyParts for Halves {
        fn len(&self) -> u64 {
            self.claimed
        }
        async fn part(&self, offset: u64, _max: usize) -> Result<Bytes> {
            Ok(match offset {
                0 => Bytes::from_static(b"abc"),
                3 => Bytes::from_static(b"def"),
                _ => Bytes::new(),
            })
        }
    }

    #[tokio::test]
    async fn large_bodies_read_whole_or_say_why_not() {
        let body = Body::parts(Arc::new(Halves { claimed: 6 }));
        assert_eq!(&body.read(6).await.unwrap()[..], b"abcdef");
        assert_eq!(body.read(5).await.unwrap_err().kind(), Kind::TooLarge { limit: 5, size: 6 });
        let short = Body::parts(Arc::new(Halves { claimed: 7 }));
        assert_eq!(short.read(7).await.unwrap_err().kind(), Kind::Protocol);
    }

    #[test]
    fn debug_hides_the_payload() {
        assert_eq!(format!("{:?}", Body::from("secret")), "Body(6 bytes)");
    }
}
