//! Message bodies: shared bytes, or parts that lie beside the queue.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use crate::error::{Error, Kind, Operation, Result};
use crate::parts::StoredParts;

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

    /// The parts as they lie in the store of a bus already, if they do: what is sent on there is not sent anew.
    fn stored(&self) -> Option<&StoredParts> {
        None
    }
}

/// Bytes in memory, to be sent as parts where one message would be too large.
#[async_trait]
impl BodyParts for Bytes {
    fn len(&self) -> u64 {
        Self::len(self) as u64
    }

    async fn part(&self, offset: u64, max: usize) -> Result<Bytes> {
        let length = Self::len(self);
        let from = usize::try_from(offset).map_or(length, |offset| offset.min(length));
        Ok(self.slice(from..from.saturating_add(max).min(length)))
    }
}

/// The body of a message. Cloning shares the bytes.
#[derive(Clone)]
pub struct Body(Repr);

#[derive(Clone)]
enum Repr {
    Bytes(Bytes),
    /// Boxed: most messages have none, and are moved several times per hop.
    Parts(Box<Beside>),
}

/// What travels in the message itself, and what lies beside the queue.
#[derive(Clone)]
struct Beside {
    head: Bytes,
    parts: Arc<dyn BodyParts>,
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
        Self::headed(Bytes::new(), parts)
    }

    /// A large body whose beginning, `head`, travels in the message itself: there it must fit. Needs
    /// [`Feature::LargeBody`](crate::Feature::LargeBody).
    #[must_use]
    pub fn headed(head: impl Into<Bytes>, parts: Arc<dyn BodyParts>) -> Self {
        Self(Repr::Parts(Box::new(Beside { head: head.into(), parts })))
    }

    /// Its length in bytes.
    #[must_use]
    #[inline]
    pub fn len(&self) -> u64 {
        match &self.0 {
            Repr::Bytes(bytes) => bytes.len() as u64,
            Repr::Parts(beside) => (beside.head.len() as u64).saturating_add(beside.parts.len()),
        }
    }

    /// What travels in the message itself: all of it, or the head of a large body.
    #[must_use]
    #[inline]
    pub fn head(&self) -> &Bytes {
        match &self.0 {
            Repr::Bytes(bytes) => bytes,
            Repr::Parts(beside) => &beside.head,
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
            Repr::Parts(..) => None,
        }
    }

    /// The parts of a large body, without its head.
    #[must_use]
    pub fn as_parts(&self) -> Option<&Arc<dyn BodyParts>> {
        match &self.0 {
            Repr::Bytes(_) => None,
            Repr::Parts(beside) => Some(&beside.parts),
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
            Repr::Parts(beside) => read_parts(&beside.head, &*beside.parts, size).await,
        }
    }
}

const PART: usize = 1 << 20;

async fn read_parts(head: &Bytes, parts: &dyn BodyParts, size: u64) -> Result<Bytes> {
    let mut whole = BytesMut::from(&head[..]);
    while (whole.len() as u64) < size {
        let part = parts.part((whole.len() - head.len()) as u64, PART).await?;
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
        let headed = Body::headed("xy", Arc::new(Halves { claimed: 6 }));
        assert_eq!(
            (headed.len(), &headed.head()[..], &headed.read(8).await.unwrap()[..]),
            (8, &b"xy"[..], &b"xyabcdef"[..])
        );
        let short = Body::parts(Arc::new(Halves { claimed: 7 }));
        assert_eq!(short.read(7).await.unwrap_err().kind(), Kind::Protocol);
    }

    #[tokio::test]
    async fn bytes_are_parts_of_themselves() {
        let bytes = Bytes::from_static(b"abcdef");
        assert_eq!(&bytes.part(2, 3).await.unwrap()[..], b"cde");
        assert!(
            bytes.part(6, 3).await.unwrap().is_empty() && bytes.part(u64::MAX, 3).await.unwrap().is_empty()
        );
        assert_eq!(&Body::parts(Arc::new(bytes)).read(6).await.unwrap()[..], b"abcdef");
    }

    #[test]
    fn debug_hides_the_payload() {
        assert_eq!(format!("{:?}", Body::from("secret")), "Body(6 bytes)");
    }
}
