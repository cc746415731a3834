//! Numbered messages (K3).

use std::fmt;

use data_encoding::HEXLOWER;
use polybus_contract::Message;
use sha2::{Digest, Sha256};

/// The mark at the beginning of every numbered body.
const MARK: &str = "polybus-kit/1";

/// Who sent a message in which run, as its how-manieth, and the digest of it all.
///
/// It lies in the body, before the filler, since a body is the one thing that every bus carries.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stamp {
    /// The run.
    pub run: String,
    /// The producer, of its own within the run.
    pub producer: String,
    /// Counts the producer's messages from 0.
    pub sequence: u64,
    /// Digest of the other three and the filler.
    pub digest: String,
}

impl Stamp {
    /// The stamp of the `sequence`-th message of `producer` with this filler.
    #[must_use]
    pub fn new(run: &str, producer: &str, sequence: u64, filler: &[u8]) -> Self {
        let head = format!("{run} {producer} {sequence} ");
        let digest = digest_parts(&[head.as_bytes(), filler]);
        Self { run: run.to_owned(), producer: producer.to_owned(), sequence, digest }
    }

    /// The body: a line with the stamp, and the filler behind it.
    #[must_use]
    pub fn body(&self, filler: &[u8]) -> Vec<u8> {
        let mut body = format!("{MARK} {self}\n").into_bytes();
        body.extend_from_slice(filler);
        body
    }

    /// Reads and verifies the stamp of a message.
    ///
    /// # Errors
    /// What is wrong: not numbered, cut short, or not what was sent.
    pub fn read(message: &Message) -> Result<Self, String> {
        let body = message.body().as_bytes().ok_or("a large body, not a numbered message")?;
        Self::from_body(body)
    }

    /// As [`Stamp::read`], of a body.
    ///
    /// # Errors
    /// As there.
    pub fn from_body(body: &[u8]) -> Result<Self, String> {
        let end = body.iter().position(|byte| *byte == b'\n').ok_or("no stamp: not a numbered message")?;
        let (line, filler) = body.split_at(end);
        let line = std::str::from_utf8(line).map_err(|_| "no stamp: its line is not text")?;
        let words: Vec<_> = line.split(' ').collect();
        let [MARK, run, producer, sequence, digest] = words[..] else {
            return Err("no stamp: not a numbered message".to_owned());
        };
        let sequence = sequence.parse().map_err(|_| "no stamp: its number is none")?;
        let stamp = Self::new(run, producer, sequence, filler.get(1..).unwrap_or_default());
        if stamp.digest == digest {
            return Ok(stamp);
        }
        Err(format!("{producer}/{sequence} was changed on its way: digest {}, sent {digest}", stamp.digest))
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.run, self.producer, self.sequence, self.digest)
    }
}

/// The digest of some bytes: the first half of SHA-256, in lower-case hexadecimal.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> String {
    digest_parts(&[bytes])
}

fn digest_parts(parts: &[&[u8]]) -> String {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update(part);
    }
    let digest = sha.finalize();
    HEXLOWER.encode(digest.get(..16).unwrap_or(&digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k3_any_change_of_a_numbered_body_shows() {
        let stamp = Stamp::new("r1", "p0", 7, b"filler\n");
        let body = stamp.body(b"filler\n");
        assert_eq!(Stamp::from_body(&body).unwrap(), stamp);
        for at in 0..body.len() {
            let mut changed = body.clone();
            changed[at] ^= 1;
            assert!(Stamp::from_body(&changed).is_err(), "byte {at}");
            assert!(Stamp::from_body(&body[..at]).is_err(), "cut at {at}");
        }
    }
}
