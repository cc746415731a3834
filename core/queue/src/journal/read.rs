//! Reading batches in order, and telling the end from damage.

use std::collections::{BTreeSet, VecDeque};
use std::io;

use crate::journal::batch::{HEADER, Header, MAGIC};
use crate::journal::code::{Codec, read_records};
use crate::journal::disk::{Disk, DiskFile};
use crate::journal::segment::{self, Fault, START, Start};
use crate::journal::statement::{Cut, OpenError};
use crate::record::Record;

/// Why reading ended.
#[derive(Debug)]
pub(crate) enum End {
    /// Everything was read.
    Whole,
    /// The last batch is not whole. What follows it has to be wiped out if `wipe`.
    Cut { cut: Cut, wipe: bool },
    /// Something that was there is not.
    Damage { what: &'static str },
    /// It cannot be opened at all.
    Error(OpenError),
}

pub(crate) fn failed(file: &str) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Io { file: file.to_owned(), source }
}

/// The slot that counts; `None`: neither is whole.
pub(crate) fn read_start<F: DiskFile>(file: &F) -> Result<Option<Start>, OpenError> {
    let bytes = file.read_from(0).map_err(failed(START))?;
    let slots = [bytes.get(..segment::HEADER), bytes.get(segment::SLOT..)];
    let mut best: Option<Start> = None;
    for slot in slots.into_iter().flatten() {
        match Start::decode(slot) {
            Ok(start) if best.is_none_or(|best| best.turn < start.turn) => best = Some(start),
            Ok(_) | Err(Fault::Damaged) => {}
            Err(Fault::Version(version)) => {
                return Err(OpenError::Version { file: START.to_owned(), version });
            }
        }
    }
    Ok(best)
}

/// Yields the records of a journal from its start. When it yields no more, [`Records::end`] says why.
pub(crate) struct Records<'a, D: Disk, C, P> {
    disk: &'a D,
    codec: &'a C,
    id: u64,
    segments: &'a BTreeSet<u64>,
    /// The segment being read.
    pub(crate) segment: u64,
    pub(crate) file: Option<D::File>,
    bytes: Vec<u8>,
    /// Offset of `bytes` in the file, and of the next batch in `bytes`.
    base: u64,
    at: usize,
    /// Number and chain of the batch that is expected.
    pub(crate) next: u64,
    pub(crate) previous: u32,
    /// Where the batch began whose records are being yielded.
    pub(crate) batch_at: (u64, u64, u64),
    previous_of_batch: u32,
    decoded: VecDeque<Record<'static, P>>,
    /// Nothing is yielded before the beginning of the first snapshot.
    begun: bool,
    /// That snapshot was seen to its end.
    pub(crate) done: bool,
    pub(crate) batches: u64,
    pub(crate) yielded: u64,
    /// Segments read to their end, with the bytes used.
    pub(crate) read: VecDeque<(u64, u64)>,
    pub(crate) end: Option<End>,
}

impl<'a, D: Disk, C: Codec<P>, P> Records<'a, D, C, P> {
    pub(crate) fn new(disk: &'a D, codec: &'a C, segments: &'a BTreeSet<u64>, start: &Start) -> Self {
        let mut records = Self {
            disk,
            codec,
            id: start.id,
            segments,
            segment: start.segment,
            file: None,
            bytes: Vec::new(),
            base: start.offset,
            at: 0,
            next: start.batch,
            previous: start.previous,
            batch_at: (start.segment, start.offset, start.batch),
            previous_of_batch: start.previous,
            decoded: VecDeque::new(),
            begun: false,
            done: false,
            batches: 0,
            yielded: 0,
            read: VecDeque::new(),
            end: None,
        };
        if segments.contains(&start.segment) {
            records.end = records.open(start.segment, start.offset).err();
        } else {
            records.end = Some(End::Damage { what: "the file is missing" });
        }
        records
    }

    /// Back to the batch whose records are being yielded.
    pub(crate) fn rewind(&mut self) {
        let (segment, offset, batch) = self.batch_at;
        (self.segment, self.base, self.at, self.next) = (segment, offset, 0, batch);
        self.previous = self.previous_of_batch;
    }

    /// Where the next batch is expected.
    pub(crate) fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// Opens a segment and checks its header; it goes on at `offset`.
    fn open(&mut self, number: u64, offset: u64) -> Result<segment::Header, End> {
        let name = segment::name(number);
        let error = |source| End::Error(OpenError::Io { file: name.clone(), source });
        let file = self.disk.open(&name).map_err(error)?;
        let mut bytes = file.read_from(0).map_err(error)?;
        let header = match segment::Header::decode(&bytes) {
            Ok(header) if header.id == self.id && header.number == number => header,
            Err(Fault::Version(version)) => {
                return Err(End::Error(OpenError::Version { file: name, version }));
            }
            _ => return Err(End::Damage { what: "the header of the segment is not whole" }),
        };
        let offset_in = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        bytes.drain(..offset_in);
        (self.file, self.bytes, self.segment) = (Some(file), bytes, number);
        (self.base, self.at) = (offset, 0);
        Ok(header)
    }

    /// Reads the next batch, in the next segment if need be.
    fn batch(&mut self) -> Result<(), End> {
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let header = Header::decode(rest, self.id);
            let expected =
                header.filter(|header| header.number == self.next && header.previous == self.previous);
            let Some((header, records)) = expected.and_then(|header| Some((header, header.records(rest)?)))
            else {
                self.next_segment()?;
                continue;
            };
            let decoded = decode_all(records, header.records, self.codec).ok_or(End::Damage {
                what: "its checksum is right, but its records are none that this version knows",
            })?;
            self.batch_at = (self.segment, self.offset(), self.next);
            self.previous_of_batch = self.previous;
            (self.next, self.previous) = (self.next + 1, header.check);
            self.at += header.whole();
            self.batches += 1;
            self.decoded = decoded;
            return Ok(());
        }
    }

    /// Goes on in the next segment, which exists only if everything before it was synced; without one, this is
    /// the end.
    fn next_segment(&mut self) -> Result<(), End> {
        let Some(next) = self.segments.range(self.segment + 1..).next().copied() else {
            return Err(self.tail());
        };
        let used = self.offset();
        if next != self.segment + 1 {
            return Err(End::Damage { what: "batches are missing, and the segment after this one" });
        }
        // The state of the reader stays that of the place where it stopped.
        let header = self.peek(next)?;
        if header.first != self.next || header.previous != self.previous {
            return Err(End::Damage { what: "the batch is not whole, although later ones were written" });
        }
        self.read.push_back((self.segment, used));
        self.open(next, segment::HEADER as u64).map(drop)
    }

    fn peek(&self, number: u64) -> Result<segment::Header, End> {
        let name = segment::name(number);
        let error = |source| End::Error(OpenError::Io { file: name.clone(), source });
        let bytes = self.disk.open(&name).and_then(|file| file.read_from(0)).map_err(error)?;
        match segment::Header::decode(&bytes) {
            Ok(header) if header.id == self.id && header.number == number => Ok(header),
            Err(Fault::Version(version)) => Err(End::Error(OpenError::Version { file: name, version })),
            _ => Err(End::Damage { what: "the header of the segment after this one is not whole" }),
        }
    }

    /// What the end of the last segment means.
    fn tail(&self) -> End {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let torn = Header::decode(rest, self.id).filter(|header| header.number == self.next);
        let later = later(rest, self.id, self.next);
        if later.is_some_and(|synced| synced >= self.next) {
            return End::Damage { what: "the batch is not whole, although later ones were written" };
        }
        let blank = rest.iter().take(HEADER).all(|byte| *byte == 0);
        if blank && later.is_none() {
            return End::Whole;
        }
        let (file, offset) = (segment::name(self.segment), self.offset());
        let cut = Cut { file, offset, records: torn.map(|header| header.records) };
        End::Cut { cut, wipe: later.is_some() }
    }
}

/// The highest number of a synced batch that a batch after number `expected` speaks of.
fn later(bytes: &[u8], id: u64, expected: u64) -> Option<u64> {
    let found = memchr::memmem::find_iter(bytes, &MAGIC).filter_map(|at| {
        let rest = bytes.get(at..)?;
        let header = Header::decode(rest, id).filter(|header| header.number > expected)?;
        header.records(rest).map(|_| header.synced)
    });
    found.max()
}

fn decode_all<P>(bytes: &[u8], count: u32, codec: &impl Codec<P>) -> Option<VecDeque<Record<'static, P>>> {
    let records = read_records(bytes, codec)?;
    (u32::try_from(records.len()) == Ok(count)).then(|| records.into())
}

impl<D: Disk, C: Codec<P>, P> Iterator for Records<'_, D, C, P> {
    type Item = Record<'static, P>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            while let Some(record) = self.decoded.pop_front() {
                self.begun |= matches!(record, Record::SnapshotBegun { .. });
                if self.begun {
                    self.done |= matches!(record, Record::SnapshotDone);
                    self.yielded += 1;
                    return Some(record);
                }
            }
            if self.end.is_some() {
                return None;
            }
            if let Err(end) = self.batch() {
                self.end = Some(end);
                return None;
            }
        }
    }
}
