//! Batches: what is written at once, behind a header with checksums.

use crate::journal::wire::Decoder;

/// Bytes of a batch's header.
pub(crate) const HEADER: usize = 40;

/// The first bytes of a batch.
pub(crate) const MAGIC: [u8; 4] = *b"PBjb";

/// What stands before the records of a batch, numbers with the lowest byte first:
///
/// | bytes | what |
/// | --- | --- |
/// | 0..4 | `PBjb` |
/// | 4..8 | bytes of the records |
/// | 8..16 | number of the batch, one higher than that of the batch before it |
/// | 16..24 | highest number of a batch that was known to be synced when this one was written |
/// | 24..28 | count of the records |
/// | 28..32 | checksum of the records of the batch before this one |
/// | 32..36 | checksum of the records |
/// | 36..40 | checksum of the journal's id and the 36 bytes before |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) length: u32,
    pub(crate) number: u64,
    pub(crate) synced: u64,
    pub(crate) records: u32,
    pub(crate) previous: u32,
    pub(crate) check: u32,
}

impl Header {
    pub(crate) fn encode(&self, id: u64) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let fields: [&[u8]; 7] = [
            &MAGIC,
            &self.length.to_le_bytes(),
            &self.number.to_le_bytes(),
            &self.synced.to_le_bytes(),
            &self.records.to_le_bytes(),
            &self.previous.to_le_bytes(),
            &self.check.to_le_bytes(),
        ];
        let mut at = 0;
        for field in fields {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        }
        let check = header_check(id, &bytes[..at]);
        bytes[at..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// The header at the start of `bytes`; `None`: there is none of this journal.
    pub(crate) fn decode(bytes: &[u8], id: u64) -> Option<Self> {
        let header = bytes.get(..HEADER)?;
        let mut from = Decoder::new(header);
        if from.raw(4)? != MAGIC {
            return None;
        }
        let found = Self {
            length: int(&mut from)?,
            number: long(&mut from)?,
            synced: long(&mut from)?,
            records: int(&mut from)?,
            previous: int(&mut from)?,
            check: int(&mut from)?,
        };
        (int(&mut from)? == header_check(id, &header[..HEADER - 4])).then_some(found)
    }

    /// Bytes of the whole batch.
    pub(crate) fn whole(&self) -> usize {
        HEADER + self.length as usize
    }

    /// The records of this batch, which begins at the start of `bytes`; `None`: they are cut or damaged.
    pub(crate) fn records<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let records = bytes.get(HEADER..self.whole())?;
        (crc32c::crc32c(records) == self.check).then_some(records)
    }
}

pub(crate) fn int(from: &mut Decoder<'_>) -> Option<u32> {
    Some(u32::from_le_bytes(from.raw(4)?.try_into().ok()?))
}

pub(crate) fn long(from: &mut Decoder<'_>) -> Option<u64> {
    Some(u64::from_le_bytes(from.raw(8)?.try_into().ok()?))
}

pub(crate) fn header_check(id: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&id.to_le_bytes()), bytes)
}

/// Fills in the header of a batch whose records stand behind the room for it.
pub(crate) fn seal(batch: &mut [u8], id: u64, number: u64, synced: u64, records: u32, previous: u32) -> u32 {
    let Some((header, body)) = batch.split_at_mut_checked(HEADER) else { return previous };
    let check = crc32c::crc32c(body);
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    header.copy_from_slice(&Header { length, number, synced, records, previous, check }.encode(id));
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_read_back_and_every_flipped_bit_is_found() {
        let mut batch = vec![0; HEADER];
        batch.extend_from_slice(b"records");
        seal(&mut batch, 7, 3, 2, 1, 99);
        let header = Header::decode(&batch, 7).unwrap();
        assert_eq!((header.number, header.synced, header.records, header.previous), (3, 2, 1, 99));
        assert_eq!(header.records(&batch), Some(&b"records"[..]));
        assert_eq!(Header::decode(&batch, 8), None, "another journal");
        for bit in 0..batch.len() * 8 {
            let mut flipped = batch.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let found =
                Header::decode(&flipped, 7).and_then(|header| header.records(&flipped).map(<[u8]>::len));
            assert_eq!(found, None, "bit {bit}");
        }
        assert_eq!(header.records(&batch[..batch.len() - 1]), None, "cut");
    }
}
