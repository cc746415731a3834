//! Segments: the files that batches are appended to, and the file that says where to begin.

use crate::journal::batch::{header_check, int, long};
use crate::journal::wire::Decoder;

/// The version of the format that is written. A reader refuses any other.
pub const VERSION: u32 = 1;

/// Bytes of a segment's header; its first batch follows.
pub(crate) const HEADER: usize = 64;

/// The start of the names under which segments wait for their turn.
pub(crate) const SPARE: &str = "spare-";

/// The file that says where to begin.
pub(crate) const START: &str = "start";

/// Bytes from one slot of the start file to the other: no sector of a disk holds both.
pub(crate) const SLOT: usize = 4096;

const MAGIC: [u8; 8] = *b"POLYBUSJ";
const START_MAGIC: [u8; 8] = *b"POLYBUSS";

/// The name of the file of a segment.
pub(crate) fn name(number: u64) -> String {
    format!("{number:016x}.journal")
}

/// The number of the segment in a file of this name.
pub(crate) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".journal").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok().filter(|number| self::name(*number) == name)
}

/// What stands at the start of a segment, numbers with the lowest byte first:
///
/// | bytes | what |
/// | --- | --- |
/// | 0..8 | `POLYBUSJ` |
/// | 8..12 | version |
/// | 12..16 | checksum of the records of the last batch of the segment before |
/// | 16..24 | id of the journal |
/// | 24..32 | number of the segment |
/// | 32..40 | number of its first batch |
/// | 40..60 | zero |
/// | 60..64 | checksum of the 60 bytes before |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) id: u64,
    pub(crate) number: u64,
    pub(crate) first: u64,
    pub(crate) previous: u32,
}

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Version(u32),
    Damaged,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let fields: [&[u8]; 6] = [
            &MAGIC,
            &VERSION.to_le_bytes(),
            &self.previous.to_le_bytes(),
            &self.id.to_le_bytes(),
            &self.number.to_le_bytes(),
            &self.first.to_le_bytes(),
        ];
        checked(&fields)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let mut from = open(bytes, MAGIC)?;
        let mut read = || {
            let previous = int(&mut from)?;
            let id = long(&mut from)?;
            Some(Self { id, number: long(&mut from)?, first: long(&mut from)?, previous })
        };
        read().ok_or(Fault::Damaged)
    }
}

/// Where a reader begins: at the batch that holds the beginning of the last whole snapshot. It lies in a file of
/// its own, in two slots that are written in turn, so that one of them is whole at any time:
///
/// | bytes | what |
/// | --- | --- |
/// | 0..8 | `POLYBUSS` |
/// | 8..12 | version |
/// | 12..16 | checksum of the records of the batch before |
/// | 16..24 | id of the journal |
/// | 24..32 | how often this was written: the higher slot counts |
/// | 32..40 | number of the segment |
/// | 40..48 | offset of the batch in it |
/// | 48..56 | number of the batch |
/// | 56..60 | zero |
/// | 60..64 | checksum of the 60 bytes before |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) id: u64,
    pub(crate) turn: u64,
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) batch: u64,
    pub(crate) previous: u32,
}

impl Start {
    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let fields: [&[u8]; 8] = [
            &START_MAGIC,
            &VERSION.to_le_bytes(),
            &self.previous.to_le_bytes(),
            &self.id.to_le_bytes(),
            &self.turn.to_le_bytes(),
            &self.segment.to_le_bytes(),
            &self.offset.to_le_bytes(),
            &self.batch.to_le_bytes(),
        ];
        checked(&fields)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let mut from = open(bytes, START_MAGIC)?;
        let mut read = || {
            let previous = int(&mut from)?;
            let (id, turn) = (long(&mut from)?, long(&mut from)?);
            let (segment, offset) = (long(&mut from)?, long(&mut from)?);
            Some(Self { id, turn, segment, offset, batch: long(&mut from)?, previous })
        };
        read().ok_or(Fault::Damaged)
    }

    /// The slot this is written to.
    pub(crate) const fn place(&self) -> u64 {
        if self.turn.is_multiple_of(2) { 0 } else { SLOT as u64 }
    }
}

fn checked(fields: &[&[u8]]) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    let mut at = 0;
    for field in fields {
        bytes[at..at + field.len()].copy_from_slice(field);
        at += field.len();
    }
    let check = header_check(0, &bytes[..HEADER - 4]);
    bytes[HEADER - 4..].copy_from_slice(&check.to_le_bytes());
    bytes
}

/// Checks magic, version and checksum; what follows is the rest of the fields.
fn open(bytes: &[u8], magic: [u8; 8]) -> Result<Decoder<'_>, Fault> {
    let (header, check) =
        bytes.get(..HEADER).and_then(|all| all.split_at_checked(HEADER - 4)).ok_or(Fault::Damaged)?;
    let mut from = Decoder::new(header);
    if from.raw(8) != Some(&magic) || int(&mut Decoder::new(check)) != Some(header_check(0, header)) {
        return Err(Fault::Damaged);
    }
    match int(&mut from) {
        Some(VERSION) => Ok(from),
        Some(other) => Err(Fault::Version(other)),
        None => Err(Fault::Damaged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_round_trip_and_flipped_bits_are_found() {
        let header = Header { id: 1, number: 2, first: 3, previous: 4 };
        let start = Start { id: 1, turn: 2, segment: 3, offset: 4, batch: 5, previous: 6 };
        assert_eq!(Header::decode(&header.encode()), Ok(header));
        assert_eq!(Start::decode(&start.encode()), Ok(start));
        assert_eq!(Header::decode(&start.encode()), Err(Fault::Damaged));
        for bit in 0..HEADER * 8 {
            let mut bytes = header.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bytes), Err(Fault::Damaged), "bit {bit}");
        }
    }

    #[test]
    fn another_version_is_named() {
        let mut bytes = Header { id: 1, number: 2, first: 3, previous: 4 }.encode();
        bytes[8] = 9;
        let check = header_check(0, &bytes[..HEADER - 4]);
        bytes[HEADER - 4..].copy_from_slice(&check.to_le_bytes());
        assert_eq!(Header::decode(&bytes), Err(Fault::Version(9)));
    }

    #[test]
    fn names_round_trip() {
        assert_eq!(number(&name(0xab)), Some(0xab));
        for other in ["ab.journal", "00000000000000AB.journal", "spare-1", "00000000000000ab.journal.bak"] {
            assert_eq!(number(other), None, "{other}");
        }
    }
}
