//! Opening a journal: reading it back, and making a new one.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use crate::engine::Engine;
use crate::error::Error;
use crate::journal::batch::HEADER;
use crate::journal::code::Codec;
use crate::journal::disk::{Disk, DiskFile};
use crate::journal::log::{Log, Pending};
use crate::journal::read::{End, Records, failed, read_start};
use crate::journal::segment::{self, SLOT, SPARE, START, Start};
use crate::journal::statement::{Damage, OpenError, Recovered};
use crate::journal::writer::{Position, Tail, WriteError, Writer, name_segment};
use crate::journal::{Damaged, Options};
use crate::record::NoJournal;
use crate::time::Now;

/// Names the first segment that is being set aside, until all of them are.
const SET_ASIDE: &str = "set-aside";

/// The start file of a journal that is being made: under its own name it is whole from the first moment.
const START_NEW: &str = "start.new";

/// Bytes of a snapshot that are told at once while nobody waits.
const STEP: u64 = 4 << 20;

/// An opened journal.
pub struct Opened<P, C, D: Disk> {
    /// The engine as it was; give it the log with [`Engine::with`].
    pub engine: Engine<P>,
    /// Its journal from now on.
    pub log: Log<C>,
    /// What writes it.
    pub writer: Writer<D>,
    /// What was found.
    pub recovered: Recovered,
}

impl<P, C, D: Disk> fmt::Debug for Opened<P, C, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("recovered", &self.recovered).finish_non_exhaustive()
    }
}

/// Opens the journal on `disk`, or makes one. `id` names a new journal: a random number, so that the files of
/// another one are never taken for its own.
///
/// Everything that was read is on disk when this returns. Messages that were in hand are ready again, their
/// attempts counted.
///
/// # Errors
/// [`OpenError`], see there; with [`Damaged::SetAside`] not for damage.
pub fn open<P, C: Codec<P> + Clone, D: Disk>(
    disk: D,
    codec: C,
    options: Options,
    id: u64,
    now: Now,
) -> Result<Opened<P, C, D>, OpenError> {
    let names: BTreeSet<String> = disk.list().map_err(failed("the directory"))?.into_iter().collect();
    let segments: BTreeSet<u64> = names.iter().filter_map(|name| segment::number(name)).collect();
    let pending = Arc::new(Pending::new(options.waiting));
    if !names.contains(START) {
        let unfinished = segments.iter().all(|number| *number == 1)
            && (names.contains(START_NEW) || is_unused(&disk, &segments));
        if !unfinished {
            return Err(no_start("it is missing", segments.len() as u64));
        }
        return create(disk, codec, options, id, pending).map_err(|error| failed("the directory")(error));
    }
    let start_file = disk.open(START).map_err(failed(START))?;
    let Some(start) = read_start(&start_file)? else {
        return Err(no_start("neither of its two halves is whole", segments.len() as u64));
    };
    finish_set_aside(&disk, &segments, &start).map_err(failed(SET_ASIDE))?;
    recover(disk, codec, options, pending, (&names, &segments), (start, start_file), now)
}

/// Whether the making of a journal was interrupted before anything was written to it.
fn is_unused<D: Disk>(disk: &D, segments: &BTreeSet<u64>) -> bool {
    segments.iter().all(|number| {
        let bytes =
            disk.open(&segment::name(*number)).and_then(|file| file.read_from(segment::HEADER as u64));
        bytes.is_ok_and(|bytes| bytes.iter().all(|byte| *byte == 0))
    })
}

fn no_start(what: &'static str, segments: u64) -> OpenError {
    let file = START.to_owned();
    OpenError::Damaged(Box::new(Damage {
        file,
        offset: 0,
        batch: 0,
        what,
        records: 0,
        messages: 0,
        segments,
    }))
}

/// Makes a journal: a segment, then the start file, then a snapshot of nothing.
fn create<P, C: Codec<P> + Clone, D: Disk>(
    disk: D,
    codec: C,
    options: Options,
    id: u64,
    pending: Arc<Pending>,
) -> Result<Opened<P, C, D>, std::io::Error> {
    let tail =
        first_segment(&disk, options.segment, &segment::Header { id, number: 1, first: 1, previous: 0 })?;
    let start = Start { id, turn: 0, segment: 1, offset: tail.at, batch: 1, previous: 0 };
    let start_file = disk.create(START_NEW, 2 * SLOT as u64)?;
    start_file.write_at(&start.encode(), start.place())?;
    start_file.sync()?;
    let log = Log::new(codec, pending.clone());
    let mut engine = Engine::new().with(log.clone());
    let mut snapshot = engine.begin_snapshot();
    while !engine.continue_snapshot(&mut snapshot, STEP, Now::default()) {}
    let position = Position { tail, older: VecDeque::new(), start, start_file, next: 1, previous: 0 };
    let mut writer = Writer::new(disk, options, pending, position);
    writer.commit(true).map_err(std::io::Error::other)?;
    writer.disk().rename(START_NEW, START)?;
    writer.disk().sync()?;
    let engine = engine.with(NoJournal);
    Ok(Opened { engine, log: log.settled(), writer, recovered: Recovered::default() })
}

fn first_segment<D: Disk>(
    disk: &D,
    size: u64,
    header: &segment::Header,
) -> Result<Tail<D::File>, std::io::Error> {
    let spare = format!("{SPARE}0");
    let file = disk.create(&spare, size)?;
    name_segment(disk, &spare, &file, header)?;
    Ok(Tail { file, number: header.number, size, at: segment::HEADER as u64 })
}

/// Reads a journal back.
fn recover<P, C: Codec<P> + Clone, D: Disk>(
    disk: D,
    codec: C,
    options: Options,
    pending: Arc<Pending>,
    (names, segments): (&BTreeSet<String>, &BTreeSet<u64>),
    (start, start_file): (Start, D::File),
    now: Now,
) -> Result<Opened<P, C, D>, OpenError> {
    let needed: BTreeSet<u64> = segments.range(start.segment..).copied().collect();
    let mut records = Records::new(&disk, &codec, &needed, &start);
    let replayed = Engine::replay(&mut records, NoJournal, now);
    let (engine, end) =
        settle_end(replayed, &mut records, || Records::new(&disk, &codec, &needed, &start), now);
    let mut recovered = Recovered {
        segments: records.read.len() as u64 + 1,
        batches: records.batches,
        records: records.yielded,
        messages: engine.load().messages,
        ..Recovered::default()
    };
    let damage = match end {
        End::Error(error) => return Err(error),
        End::Whole => None,
        End::Cut { cut, wipe } => {
            recovered.cut = Some(cut);
            if let Some(file) = records.file.as_ref().filter(|_| wipe) {
                wipe_out(file, records.offset()).map_err(failed(&segment::name(records.segment)))?;
            }
            None
        }
        End::Damage { what } => Some(damage(&records, what, &recovered, &needed)),
    };
    let (next, previous, older) = (records.next, records.previous, std::mem::take(&mut records.read));
    let (number, at, file) = (records.segment, records.offset(), records.file.take());
    drop(records);
    if let Some(damage) = damage {
        if options.damaged == Damaged::Refuse {
            return Err(OpenError::Damaged(Box::new(damage)));
        }
        recovered.set_aside = Some(damage);
        let first = if file.is_some() { number } else { start.segment };
        let at = SetAside { start, start_file, first, next, previous };
        return at.go_on(disk, codec, options, pending, segments, engine, recovered);
    }
    let name = segment::name(number);
    let Some(file) = file else { return Err(no_start("it names a segment that is not there", 0)) };
    file.sync().map_err(failed(&name))?;
    let size = file.size().map_err(failed(&name))?;
    let tail = Tail { file, number, size, at };
    let position = Position { tail, older, start, start_file, next, previous };
    clean(&disk, segments, start.segment).map_err(failed("the directory"))?;
    let mut writer = Writer::new(disk, options, pending.clone(), position);
    adopt_spares(&mut writer, names, options.segment).map_err(failed("the directory"))?;
    pending.set_messages(recovered.messages);
    Ok(Opened { engine, log: Log::new(codec, pending), writer, recovered })
}

/// The engine that the whole records give, and why there are no more of them.
fn settle_end<'a, P, C: Codec<P>, D: Disk>(
    replayed: Result<Engine<P>, Error>,
    records: &mut Records<'a, D, C, P>,
    again: impl FnOnce() -> Records<'a, D, C, P>,
    now: Now,
) -> (Engine<P>, End) {
    let end = records.end.take().unwrap_or(End::Whole);
    match replayed {
        Ok(engine) if matches!(end, End::Error(_) | End::Damage { .. }) || records.done => (engine, end),
        Ok(engine) => (engine, End::Damage { what: "it ends before the snapshot that it begins with" }),
        Err(error) => {
            let fitting = match error {
                Error::Corrupt { record } => usize::try_from(record).unwrap_or(usize::MAX),
                _ => 0,
            };
            // The batch is whole, so this is a fault of the program that wrote it: keep what fits.
            let mut once_more = again();
            let engine = Engine::replay(once_more.by_ref().take(fitting), NoJournal, now).unwrap_or_default();
            *records = once_more;
            records.rewind();
            (engine, End::Damage { what: "it holds a record that does not fit the state before it" })
        }
    }
}

fn damage<P, C: Codec<P>, D: Disk>(
    records: &Records<'_, D, C, P>,
    what: &'static str,
    recovered: &Recovered,
    needed: &BTreeSet<u64>,
) -> Damage {
    Damage {
        file: segment::name(records.segment),
        offset: records.offset(),
        batch: records.next,
        what,
        records: recovered.records,
        messages: recovered.messages,
        segments: needed.range(records.segment..).count() as u64,
    }
}

/// Overwrites what may look like batches after the end.
fn wipe_out<F: DiskFile>(file: &F, from: u64) -> std::io::Result<()> {
    let length = usize::try_from(file.size()?.saturating_sub(from)).unwrap_or(HEADER);
    file.write_at(&vec![0; length], from)?;
    file.sync()
}

/// Where to go on after damage.
struct SetAside<F> {
    start: Start,
    start_file: F,
    /// The damaged segment.
    first: u64,
    next: u64,
    previous: u32,
}

impl<F: DiskFile> SetAside<F> {
    /// Writes what is whole to a new segment, then renames the damaged one and all after it. If this is interrupted,
    /// the next opening finds either the old state with its damage or the new one with some names to change.
    #[expect(clippy::too_many_arguments, reason = "everything that an opening has gathered")]
    fn go_on<P, C: Codec<P> + Clone, D: Disk<File = F>>(
        self,
        disk: D,
        codec: C,
        options: Options,
        pending: Arc<Pending>,
        segments: &BTreeSet<u64>,
        engine: Engine<P>,
        recovered: Recovered,
    ) -> Result<Opened<P, C, D>, OpenError> {
        let Self { start, start_file, first, next, previous } = self;
        // A number is left out: until the new start counts, nobody takes the new segment for the next one.
        let number = segments.last().copied().unwrap_or(first) + 2;
        let header = segment::Header { id: start.id, number, first: next, previous };
        let tail = first_segment(&disk, options.segment, &header).map_err(failed(SPARE))?;
        let marker = disk.create(SET_ASIDE, 8).map_err(failed(SET_ASIDE))?;
        marker.write_at(&first.to_le_bytes(), 0).and_then(|()| marker.sync()).map_err(failed(SET_ASIDE))?;
        disk.sync().map_err(failed(SET_ASIDE))?;
        let older = segments.range(start.segment..first).map(|number| (*number, 0)).collect();
        pending.set_messages(recovered.messages);
        let position = Position { tail, older, start, start_file, next, previous };
        let mut writer = Writer::new(disk, options, pending.clone(), position);
        let log = Log::new(codec, pending);
        let mut engine = engine.with(log.clone());
        let mut snapshot = engine.begin_snapshot();
        let full = |error: WriteError| failed(&segment::name(number))(std::io::Error::other(error));
        while !engine.continue_snapshot(&mut snapshot, STEP, Now::default()) {
            writer.commit(true).map_err(full)?;
        }
        writer.commit(true).map_err(full)?;
        let now_at = Start { segment: number, ..start };
        finish_set_aside(writer.disk(), segments, &now_at).map_err(failed(SET_ASIDE))?;
        Ok(Opened { engine: engine.with(NoJournal), log: log.settled(), writer, recovered })
    }
}

/// Renames the segments that a marker speaks of, once the start is behind them.
fn finish_set_aside<D: Disk>(disk: &D, segments: &BTreeSet<u64>, start: &Start) -> std::io::Result<()> {
    let Ok(marker) = disk.open(SET_ASIDE) else { return Ok(()) };
    let bytes = marker.read_from(0)?;
    if let Some(first) = bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
        && first < start.segment
    {
        for number in segments.range(first..start.segment) {
            let name = segment::name(*number);
            if disk.open(&name).is_ok() {
                disk.rename(&name, &format!("{name}.damaged"))?;
            }
        }
        disk.sync()?;
    }
    disk.remove(SET_ASIDE)?;
    disk.sync()
}

/// Removes segments that are older than the start: their removal was interrupted.
fn clean<D: Disk>(disk: &D, segments: &BTreeSet<u64>, start: u64) -> std::io::Result<()> {
    segments.range(..start).try_for_each(|number| disk.remove(&segment::name(*number)))
}

/// Takes in the segments that wait, and removes those of another size.
fn adopt_spares<D: Disk>(writer: &mut Writer<D>, names: &BTreeSet<String>, size: u64) -> std::io::Result<()> {
    for name in names.iter().filter(|name| name.starts_with(SPARE)) {
        let file = writer.disk().open(name)?;
        if file.size()? == size {
            writer.add_spare(name.clone(), file, size);
        } else {
            writer.disk().remove(name)?;
        }
    }
    Ok(())
}
