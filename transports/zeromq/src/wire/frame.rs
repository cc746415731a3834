//! Packets: what one ZeroMQ message of the protocol is.
//!
//! One to three frames: ten bytes of version, kind and number; a header in JSON; a body of raw bytes.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The version of the protocol that is spoken.
pub const VERSION: u8 = 1;

/// Bytes of the first frame.
pub const HEAD: usize = 10;

/// The letters of the first frame. From the client: what it wants.
pub mod kind {
    /// The client says who it is.
    pub const HELLO: u8 = b'H';
    /// Declare a topology.
    pub const DECLARE: u8 = b'D';
    /// Publish.
    pub const PUBLISH: u8 = b'P';
    /// Consume: the number names the stream from now on.
    pub const CONSUME: u8 = b'C';
    /// Subscribe: the number names the stream from now on.
    pub const SUBSCRIBE: u8 = b'S';
    /// Ask: the number names the stream of replies from now on.
    pub const REQUEST: u8 = b'Q';
    /// Answer a request.
    pub const REPLY: u8 = b'R';
    /// Settle a delivery.
    pub const SETTLE: u8 = b'Y';
    /// Renew a lease.
    pub const RENEW: u8 = b'N';
    /// Change the credit of a stream. Not answered.
    pub const CREDIT: u8 = b'V';
    /// End a stream.
    pub const STOP: u8 = b'Z';
    /// Something at the desk.
    pub const DESK: u8 = b'J';
    /// Parts of a large body.
    pub const PARTS: u8 = b'U';
    /// Farewell: what is in hand goes back.
    pub const BYE: u8 = b'B';

    /// From the broker: a new connection begins.
    pub const GREETING: u8 = b'G';
    /// The hello was fine.
    pub const WELCOME: u8 = b'W';
    /// It is done.
    pub const OK: u8 = b'K';
    /// It is not.
    pub const ERROR: u8 = b'E';
    /// A delivery of a stream.
    pub const DELIVERY: u8 = b'M';
    /// A message of a subscription.
    pub const TOPIC: u8 = b'T';
    /// A reply.
    pub const ANSWER: u8 = b'A';
    /// Something was lost.
    pub const GAP: u8 = b'L';
    /// A stream ended.
    pub const END: u8 = b'F';
    /// How the broker is.
    pub const INFO: u8 = b'I';
}

/// One message of the protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// The version of the protocol.
    pub version: u8,
    /// What it is, one of [`kind`].
    pub kind: u8,
    /// The number of the request, or of the stream.
    pub number: u64,
    /// JSON; empty: none.
    pub header: Bytes,
    /// Raw bytes.
    pub body: Option<Bytes>,
}

impl Packet {
    /// A packet without header.
    pub(crate) fn bare(kind: u8, number: u64) -> Self {
        Self { version: VERSION, kind, number, ..Self::default() }
    }

    /// A packet with a header.
    pub(crate) fn new(kind: u8, number: u64, header: &impl Serialize) -> Self {
        // What is written here has text for keys and finite numbers.
        let header = serde_json::to_vec(header).unwrap_or_default();
        Self { header: header.into(), ..Self::bare(kind, number) }
    }

    /// The same with a body.
    pub(crate) fn with_body(mut self, body: Bytes) -> Self {
        self.body = Some(body);
        self
    }

    /// The first frame.
    #[must_use]
    pub fn head(&self) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[0] = self.version;
        head[1] = self.kind;
        head[2..].copy_from_slice(&self.number.to_be_bytes());
        head
    }

    /// Reads the frames of a ZeroMQ message.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub fn from_frames(frames: Vec<Bytes>) -> Result<Self, &'static str> {
        let mut frames = frames.into_iter();
        let head = frames.next().unwrap_or_default();
        let Ok(head) = <[u8; HEAD]>::try_from(&head[..]) else {
            return Err("the first frame has not ten bytes");
        };
        let [version, kind, number @ ..] = head;
        if version != VERSION {
            return Err("the version is not spoken here");
        }
        let (header, body) = (frames.next().unwrap_or_default(), frames.next());
        if frames.next().is_some() {
            return Err("there are more than three frames");
        }
        Ok(Self { version, kind, number: u64::from_be_bytes(number), header, body })
    }

    /// The header; an empty one is an empty object.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, String> {
        let text = if self.header.is_empty() { &b"{}"[..] } else { &self.header };
        // A list would be read as the fields in their order, which nobody means.
        if text.trim_ascii_start().first() != Some(&b'{') {
            return Err("the header is no object".to_owned());
        }
        serde_json::from_slice(text).map_err(|error| format!("the header cannot be read: {error}"))
    }

    /// The body; none is an empty one. A small one is copied out of what it was read with, so that it keeps no more memory
    /// than it is long.
    pub(crate) fn take_body(&mut self) -> Bytes {
        let body = self.body.take().unwrap_or_default();
        if body.len() < COPIED { Bytes::copy_from_slice(&body) } else { body }
    }
}

/// Below this a body is copied.
const COPIED: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_they_are_written() {
        let packet = Packet::new(kind::PUBLISH, 0x0102_0304_0506_0708, &serde_json::json!({"to": 1}));
        let packet = packet.with_body(Bytes::from_static(b"\0\xff"));
        assert_eq!(packet.head(), *b"\x01P\x01\x02\x03\x04\x05\x06\x07\x08");
        let frames = vec![
            Bytes::copy_from_slice(&packet.head()),
            packet.header.clone(),
            Bytes::from_static(b"\0\xff"),
        ];
        assert_eq!(Packet::from_frames(frames).unwrap(), packet);
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        let head = || Bytes::from_static(b"\x01P\0\0\0\0\0\0\0\x01");
        for frames in [
            vec![],
            vec![Bytes::new()],
            vec![Bytes::from_static(b"\x02P\0\0\0\0\0\0\0\x01")],
            vec![Bytes::from_static(b"\x01P\0\0\0\0\0\0\0\x01\x02")],
            vec![head(), Bytes::new(), Bytes::new(), Bytes::new()],
        ] {
            assert!(Packet::from_frames(frames.clone()).is_err(), "{frames:?}");
        }
        let list =
            Packet { header: Bytes::from_static(b"[1]"), ..Packet::from_frames(vec![head()]).unwrap() };
        assert!(list.read::<serde_json::Value>().is_err());
    }
}
