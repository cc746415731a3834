//! The writer's side of a journal: batches go to segments, segments to the disk.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::inspect::Load;
use crate::journal::Options;
use crate::journal::batch::{self, HEADER};
use crate::journal::disk::{Disk, DiskFile, is_full};
use crate::journal::log::{Collected, Pending};
use crate::journal::segment::{self, SPARE, Start};

/// How far the journal has got, in records since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Handed to the system: survives the end of the process, however it ends.
    pub written: u64,
    /// On disk: survives a loss of power.
    pub durable: u64,
}

/// Why records were not written. They are kept, in order, and the next commit tries again unless it says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// There is no room on the disk. This passes when somebody makes room.
    #[error("the disk is full: {0}")]
    Full(io::Error),
    /// The disk failed. What was written and not synced may be lost, so nothing more is written: the journal has
    /// to be opened again, which finds what is there.
    #[error("the disk failed: {0}")]
    Failed(io::Error),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        if is_full(&error) { Self::Full(error) } else { Self::Failed(error) }
    }
}

/// The segment that is appended to.
#[derive(Debug)]
pub(crate) struct Tail<F> {
    pub(crate) file: F,
    pub(crate) number: u64,
    pub(crate) size: u64,
    /// Where the next batch goes.
    pub(crate) at: u64,
}

/// A segment that waits for its turn.
#[derive(Debug)]
struct Spare<F> {
    name: String,
    file: F,
    size: u64,
}

/// Bytes that a message still needs once it is in the journal: a hand-out and a settle, each in a batch of its own.
const ROOM_TO_SETTLE: u64 = 128;

/// Where a writer goes on.
#[derive(Debug)]
pub(crate) struct Position<D: Disk> {
    pub(crate) tail: Tail<D::File>,
    /// Segments before the tail that are still needed: number and bytes used.
    pub(crate) older: VecDeque<(u64, u64)>,
    pub(crate) start: Start,
    pub(crate) start_file: D::File,
    pub(crate) next: u64,
    pub(crate) previous: u32,
}

/// Writes what a [`crate::journal::Log`] collects.
///
/// One thread owns it: it waits for records, commits them, and tells whoever waits how far that got.
pub struct Writer<D: Disk> {
    disk: D,
    options: Options,
    pending: Arc<Pending>,
    batch: Collected,
    tail: Tail<D::File>,
    spares: Vec<Spare<D::File>>,
    /// Number of the next spare segment's name.
    spare_names: u64,
    older: VecDeque<(u64, u64)>,
    start: Start,
    start_file: D::File,
    /// Where the snapshot began that is being written.
    begun: Option<Start>,
    /// Bytes that were expected of it.
    expected: u64,
    /// The position at which it is done.
    done_at: Option<u64>,
    next: u64,
    previous: u32,
    synced: u64,
    reached: Written,
    /// Bytes in use at which it is asked again whether a snapshot is due.
    ask_at: u64,
    failed: bool,
}

impl<D: Disk> fmt::Debug for Writer<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("segment", &self.tail.number)
            .field("at", &self.tail.at)
            .field("batch", &self.next)
            .field("reached", &self.reached)
            .finish_non_exhaustive()
    }
}

impl<D: Disk> Writer<D> {
    pub(crate) fn new(disk: D, options: Options, pending: Arc<Pending>, at: Position<D>) -> Self {
        let Position { tail, older, start, start_file, next, previous } = at;
        Self {
            disk,
            options,
            pending,
            batch: Collected::default(),
            tail,
            spares: Vec::new(),
            spare_names: 0,
            older,
            start,
            start_file,
            begun: None,
            expected: 0,
            done_at: None,
            next,
            previous,
            synced: next - 1,
            reached: Written::default(),
            ask_at: 0,
            failed: false,
        }
    }

    /// The directory.
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// Takes in a segment that waits under this name.
    pub(crate) fn add_spare(&mut self, name: String, file: D::File, size: u64) {
        let number = name.strip_prefix(SPARE).and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
        self.spare_names = self.spare_names.max(number.saturating_add(1));
        self.spares.push(Spare { name, file, size });
    }

    /// Waits until there is something to write, at most `within`; false: the journal was closed and everything is
    /// written.
    #[must_use]
    pub fn wait(&self, within: Option<Duration>) -> bool {
        self.batch.records > 0 || self.pending.wait(within)
    }

    /// Records that wait to be written.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.pending.position().saturating_sub(self.reached.written)
    }

    /// Whether sends are refused for want of room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.pending.is_full()
    }

    /// How far it has got.
    #[must_use]
    pub const fn reached(&self) -> Written {
        self.reached
    }

    /// Bytes that the journal takes on disk, about: segments in use and those that wait.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.used() + self.reserved()
    }

    /// Writes everything that waits as one batch; with `sync` it is on disk when this returns.
    ///
    /// # Errors
    /// [`WriteError`]; what was not written is kept.
    pub fn commit(&mut self, sync: bool) -> Result<Written, WriteError> {
        if self.failed {
            return Err(WriteError::Failed(io::Error::other("an earlier write failed")));
        }
        let done = self.write().and_then(|()| if sync { self.sync() } else { Ok(()) });
        let prepared = self.prepare();
        if let Err(WriteError::Failed(error)) = done.and(prepared) {
            self.failed = true;
            return Err(WriteError::Failed(error));
        }
        if self.batch.records > 0 {
            self.pending.set_full(true);
            return Err(WriteError::Full(io::ErrorKind::StorageFull.into()));
        }
        Ok(self.reached)
    }

    fn write(&mut self) -> Result<(), WriteError> {
        if self.batch.records == 0 {
            self.pending.take(&mut self.batch);
        }
        if self.batch.records == 0 {
            return Ok(());
        }
        let records = self.batch.bytes.len();
        if self.tail.at + records as u64 > self.tail.size {
            self.rotate(records as u64)?;
        }
        let check = batch::seal(
            &mut self.batch.bytes,
            self.start.id,
            self.next,
            self.synced,
            self.batch.records,
            self.previous,
        );
        // Zeros behind the batch say that nothing follows: a reader can tell the end from damage.
        let end = self.tail.size - self.tail.at - records as u64;
        self.batch.bytes.resize(records + HEADER.min(usize::try_from(end).unwrap_or(HEADER)), 0);
        let written = self.tail.file.write_at(&self.batch.bytes, self.tail.at);
        self.batch.bytes.truncate(records);
        written?;
        self.note_written(check);
        Ok(())
    }

    fn note_written(&mut self, check: u32) {
        self.reached.written += u64::from(self.batch.records);
        if self.batch.begun {
            self.begun = Some(Start {
                turn: self.start.turn + 1,
                segment: self.tail.number,
                offset: self.tail.at,
                batch: self.next,
                previous: self.previous,
                ..self.start
            });
        }
        if self.batch.done {
            self.done_at = Some(self.reached.written);
        }
        self.tail.at += self.batch.bytes.len() as u64;
        self.next += 1;
        self.previous = check;
        self.batch.clear();
    }

    fn sync(&mut self) -> Result<(), WriteError> {
        if self.reached.durable < self.reached.written {
            // A sync that failed is never tried again: the system may have dropped what it could not write.
            self.tail.file.sync().map_err(WriteError::Failed)?;
            self.reached.durable = self.reached.written;
            self.synced = self.next - 1;
        }
        self.finish_snapshot()
    }

    /// Goes on in the next segment. Everything in this one is on disk before.
    fn rotate(&mut self, room: u64) -> Result<(), WriteError> {
        self.sync()?;
        let needed = segment::HEADER as u64 + room;
        if !self.spares.iter().any(|spare| spare.size >= needed) {
            self.reserve(self.options.segment.max(needed))?;
        }
        let Some(at) = self.spares.iter().position(|spare| spare.size >= needed) else { return Ok(()) };
        let number = self.tail.number + 1;
        let header = segment::Header { id: self.start.id, number, first: self.next, previous: self.previous };
        name_segment(&self.disk, &self.spares[at].name, &self.spares[at].file, &header)?;
        let Spare { file, size, .. } = self.spares.remove(at);
        self.older.push_back((self.tail.number, self.tail.at));
        self.tail = Tail { file, number, size, at: segment::HEADER as u64 };
        Ok(())
    }

    /// Makes a spare segment.
    fn reserve(&mut self, size: u64) -> io::Result<()> {
        let name = format!("{SPARE}{}", self.spare_names);
        let file = self.disk.create(&name, size)?;
        self.add_spare(name, file, size);
        Ok(())
    }

    /// Room that is reserved on the disk: in this segment and in those that wait.
    fn reserved(&self) -> u64 {
        (self.tail.size - self.tail.at) + self.spares.iter().map(|spare| spare.size).sum::<u64>()
    }

    /// Sees to it that there is room for every message to be handed out and settled. While there is not, no message
    /// is taken: so a full disk can always be emptied by those who consume.
    fn prepare(&mut self) -> Result<(), WriteError> {
        let reserved = self.reserve_up_to(self.needed()).map_err(WriteError::Failed)?;
        if !reserved || self.batch.records == 0 {
            self.pending.set_full(!reserved);
        }
        Ok(())
    }

    /// Room for everything that is not a message.
    fn needed(&self) -> u64 {
        let snapshot = self.expected.saturating_sub(self.pending.told());
        self.pending.messages() * ROOM_TO_SETTLE + self.options.segment / 2 + snapshot
    }

    /// Reserves this much; false: there is no room for it.
    fn reserve_up_to(&mut self, bytes: u64) -> io::Result<bool> {
        while self.reserved() < bytes {
            match self.reserve(self.options.segment) {
                Err(error) if is_full(&error) => return Ok(false),
                other => other?,
            }
        }
        Ok(true)
    }

    fn used(&self) -> u64 {
        let older: u64 = self.older.iter().map(|(_, used)| used).sum();
        (older + self.tail.at).saturating_sub(self.start.offset)
    }

    /// Whether a snapshot should begin, for an engine that holds so much: when what a reader would have to read is
    /// more than twice that and two segments, or the disk is full; and there is room for it. If this says so, it
    /// has to begin.
    pub fn wants_snapshot(&mut self, load: impl FnOnce() -> Load) -> bool {
        let (used, full) = (self.used(), self.is_full());
        if self.failed || self.begun.is_some() || self.expected > 0 || (used < self.ask_at && !full) {
            return false;
        }
        self.ask_at = used + self.options.segment / 4;
        let load = load();
        self.pending.set_messages(load.messages);
        let most = load.bytes.saturating_mul(2).saturating_add(2 * self.options.segment);
        let due = used > most || (full && !self.older.is_empty());
        // Told again, messages take a little more or less than they are counted for.
        let expected = load.bytes + load.bytes / 4 + self.options.segment / 16;
        if !due || !self.reserve_up_to(self.needed() + expected).unwrap_or(false) {
            // What is left over is given back; if even that fails, the next commit meets the same disk and says so.
            let _ = self.trim();
            return false;
        }
        self.expected = expected;
        true
    }

    /// Once a snapshot is on disk, a reader begins there and what is older goes.
    fn finish_snapshot(&mut self) -> Result<(), WriteError> {
        if self.done_at.is_none_or(|at| at > self.reached.durable) {
            return Ok(());
        }
        self.done_at = None;
        self.expected = 0;
        let Some(start) = self.begun.take() else { return Ok(()) };
        self.start_file.write_at(&start.encode(), start.place()).map_err(WriteError::Failed)?;
        self.start_file.sync().map_err(WriteError::Failed)?;
        self.start = start;
        self.ask_at = 0;
        while let Some((number, _)) =
            self.older.front().copied().filter(|(number, _)| *number < start.segment)
        {
            self.older.pop_front();
            self.forget(number).map_err(WriteError::Failed)?;
        }
        self.trim().map_err(WriteError::Failed)
    }

    /// Gives back what was reserved for a snapshot and not used.
    fn trim(&mut self) -> io::Result<()> {
        let enough = self.needed() + self.options.segment;
        while let Some(spare) = self.spares.last().filter(|spare| self.reserved() - spare.size >= enough) {
            self.disk.remove(&spare.name)?;
            self.spares.pop();
        }
        Ok(())
    }

    /// A segment that is not needed any more becomes a spare one if there is none, or goes: blocks that were
    /// written before are cheaper to sync than fresh ones.
    fn forget(&mut self, number: u64) -> io::Result<()> {
        let name = segment::name(number);
        if self.spares.is_empty() {
            let file = self.disk.open(&name)?;
            if file.size()? == self.options.segment {
                let spare = format!("{SPARE}{}", self.spare_names);
                self.disk.rename(&name, &spare)?;
                self.add_spare(spare, file, self.options.segment);
                return Ok(());
            }
        }
        self.disk.remove(&name)
    }
}

/// Makes the spare file a segment: header first, name after, so that a file of that name is whole.
pub(crate) fn name_segment<D: Disk>(
    disk: &D,
    spare: &str,
    file: &D::File,
    header: &segment::Header,
) -> io::Result<()> {
    // A segment that had another life ends where it begins.
    let mut bytes = header.encode().to_vec();
    bytes.resize(segment::HEADER + HEADER, 0);
    file.write_at(&bytes, 0)?;
    file.sync()?;
    disk.rename(spare, &segment::name(header.number))?;
    disk.sync()
}
