//! The parts of large bodies: a file for each body, beside the journal or, for a bus in memory, in the system's folder
//! for temporary files, without a name and gone with this process.
//!
//! A file is a row of parts, each behind its length (four bytes, little endian) and its SHA-256 digest. See
//! `docs/src/wire-parts.md`.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use polybus_contract::{
    Error, Kind, Manifest, Operation, PARTS_LIVE, Part, PartSink, PartSource, PartStore, PartsId, Result,
    Status,
};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until};

use crate::config::{Config, Sync};

/// The size of a part.
const PART: u32 = 1 << 20;

/// Length and digest before each part.
const HEAD: usize = 36;

/// The folder beside the journal.
const FOLDER: &str = "parts";

/// Bodies of which nobody has taken a part for their time are looked for so often, at least.
const SWEEP: Duration = Duration::from_mins(1);

/// Bodies of an earlier process that are counted at the same time: each is read from its beginning.
const COUNTS: usize = 4;

/// Where the parts of one bus lie.
#[derive(Debug)]
pub(crate) struct Parts {
    folder: Option<PathBuf>,
    sync: bool,
    bound: u64,
    /// Bytes of all bodies.
    used: Arc<AtomicU64>,
    bodies: Mutex<HashMap<PartsId, Arc<Place>>>,
    swept: AtomicBool,
    found: tokio::sync::OnceCell<()>,
    counts: Arc<Semaphore>,
}

/// Nothing until it is over.
type Counted = Option<Result<()>>;

/// The file of one body.
#[derive(Debug)]
struct Place {
    file: File,
    path: Option<PathBuf>,
    size: AtomicU64,
    used: Arc<AtomicU64>,
    /// How many parts are there, whole and in order; of a file of an earlier process this is counted when it matters.
    written: AtomicU32,
    counting: Mutex<Option<watch::Receiver<Counted>>>,
    /// How long it lives untouched, and since when it is.
    live: Duration,
    touched: Mutex<Instant>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Parts {
    pub(crate) fn new(config: &Config) -> Arc<Self> {
        Arc::new(Self {
            folder: config.directory.as_ref().map(|directory| directory.join(FOLDER)),
            sync: config.sync == Sync::Always,
            bound: config.parts,
            used: Arc::default(),
            bodies: Mutex::default(),
            swept: AtomicBool::new(false),
            found: tokio::sync::OnceCell::new(),
            counts: Arc::new(Semaphore::new(COUNTS)),
        })
    }

    /// Counts what an earlier process left behind, and removes what is too old. Done once, before anything else.
    async fn look_around(self: &Arc<Self>) -> Result<()> {
        let Some(folder) = self.folder.clone() else { return Ok(()) };
        let own = self.clone();
        let look = || blocking("look for parts", move || own.take_over(&folder));
        self.found.get_or_try_init(look).await?;
        self.sweep_later();
        Ok(())
    }

    fn take_over(&self, folder: &Path) -> io::Result<()> {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            let id = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            let Some(id) = id else { continue };
            let file = OpenOptions::new().read(true).write(true).open(&path)?;
            let metadata = file.metadata()?;
            let age = metadata.modified()?.elapsed().unwrap_or_default();
            if age >= PARTS_LIVE {
                fs::remove_file(&path)?;
                continue;
            }
            let place = self.place(file, Some(path), PARTS_LIVE.saturating_sub(age));
            place.cover(metadata.size());
            locked(&self.bodies).insert(id, Arc::new(place));
        }
        Ok(())
    }

    fn place(&self, file: File, path: Option<PathBuf>, live: Duration) -> Place {
        Place {
            file,
            path,
            size: AtomicU64::new(0),
            used: self.used.clone(),
            written: AtomicU32::new(0),
            counting: Mutex::default(),
            live,
            touched: Mutex::new(Instant::now()),
        }
    }

    fn make(&self, id: PartsId, live: Duration) -> io::Result<Place> {
        let Some(folder) = &self.folder else { return Ok(self.place(tempfile::tempfile()?, None, live)) };
        fs::create_dir_all(folder)?;
        let path = folder.join(id.to_string());
        // Whoever made it before may have been dropped meanwhile, and have left it behind empty.
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        if file.metadata()?.size() > 0 {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if self.sync {
            File::open(folder)?.sync_all()?;
        }
        Ok(self.place(file, Some(path), live))
    }

    /// The place of a body that was made, if nothing was put there yet.
    fn find_empty(&self, id: PartsId) -> Result<Option<Arc<Place>>> {
        let place = locked(&self.bodies).get(&id).cloned();
        match place {
            Some(place) if place.size.load(Ordering::Acquire) > 0 => {
                Err(conflict(id, "it has parts already"))
            }
            place => Ok(place),
        }
    }

    fn find(&self, id: PartsId) -> Result<Arc<Place>> {
        let place = locked(&self.bodies).get(&id).cloned();
        place.ok_or_else(|| Error::new(Kind::NotFound, Operation::Consume).with_target(id))
    }

    /// Takes away what nobody has touched for its time, and says when it is next to be done; `None`: nothing is left.
    fn sweep(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut bodies = locked(&self.bodies);
        bodies.retain(|_, place| place.ends() > now || !place.forget());
        bodies.values().map(|place| place.ends()).min()
    }

    /// Has somebody sweep as long as there are bodies.
    fn sweep_later(self: &Arc<Self>) {
        if locked(&self.bodies).is_empty() || self.swept.swap(true, Ordering::AcqRel) {
            return;
        }
        tokio::spawn(sweeping(Arc::downgrade(self)));
    }
}

async fn sweeping(parts: Weak<Parts>) {
    loop {
        let Some(own) = parts.upgrade() else { return };
        let Some(next) = own.sweep() else {
            own.swept.store(false, Ordering::Release);
            // A body may have come between the two lines.
            own.sweep_later();
            return;
        };
        drop(own);
        sleep_until(next.min(Instant::now() + SWEEP)).await;
    }
}

impl Place {
    fn touch(&self) {
        *locked(&self.touched) = Instant::now();
    }

    fn ends(&self) -> Instant {
        *locked(&self.touched) + self.live
    }

    /// How much it grows by a part that ends there.
    fn growth(&self, end: u64) -> u64 {
        end.saturating_sub(self.size.load(Ordering::Acquire))
    }

    /// Notes that its file goes that far; done again, as for a part that is written again, it is done.
    fn cover(&self, end: u64) {
        let before = self.size.fetch_max(end, Ordering::AcqRel);
        self.used.fetch_add(end.saturating_sub(before), Ordering::AcqRel);
    }

    /// How many parts are there, whole and in order. A process that was killed may have left half a part at the end, and a loss
    /// of power may have left holes.
    async fn count(self: &Arc<Self>, turns: &Arc<Semaphore>) -> Result<u32> {
        if self.size.load(Ordering::Acquire) > 0 && self.written.load(Ordering::Acquire) == 0 {
            let mut counting = locked(&self.counting).get_or_insert_with(|| self.counting(turns)).clone();
            let counted = counting.wait_for(Option::is_some).await.map(|counted| counted.clone());
            let failed = || Err(Error::new(Kind::Internal, Operation::Publish).with_detail("nobody counts"));
            if let Err(error) = counted.ok().flatten().unwrap_or_else(failed) {
                // Whoever comes next tries again.
                *locked(&self.counting) = None;
                return Err(error);
            }
        }
        Ok(self.written.load(Ordering::Acquire))
    }

    /// Counts, to the end: it is done once, however often those who wait for it come and go.
    fn counting(self: &Arc<Self>, turns: &Arc<Semaphore>) -> watch::Receiver<Counted> {
        let (tell, counted) = watch::channel(None);
        let (place, turns) = (self.clone(), turns.clone());
        tokio::spawn(async move {
            // Closed by nobody.
            let _turn = turns.acquire_owned().await;
            let counting = place.clone();
            let whole = blocking("count parts", move || counting.whole()).await;
            tell.send_replace(Some(whole.map(|whole| {
                place.written.fetch_max(whole, Ordering::AcqRel);
            })));
        });
        counted
    }

    fn whole(&self) -> io::Result<u32> {
        for index in 0.. {
            match self.read(index) {
                Ok(part) if part.is_whole() => {}
                Err(error) if !is_no_part(&error) => return Err(error),
                _ => return Ok(index),
            }
        }
        Ok(u32::MAX)
    }

    /// Whether this part is the one that is there.
    fn has(&self, part: &Part) -> io::Result<bool> {
        let mut digest = [0; 32];
        self.file.read_exact_at(&mut digest, place_of(part.index) + 4)?;
        Ok(digest == part.sha256)
    }

    /// Removes its name; the room is free when the last reader has gone. False: it could not be, try again.
    fn forget(&self) -> bool {
        match self.path.as_ref().map(fs::remove_file) {
            Some(Err(error)) => error.kind() == io::ErrorKind::NotFound,
            _ => true,
        }
    }

    fn write(&self, part: &Part) -> io::Result<()> {
        let at = place_of(part.index);
        let length = u32::try_from(part.bytes.len()).map_err(io::Error::other)?;
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&length.to_le_bytes());
        head[4..].copy_from_slice(&part.sha256);
        self.file.write_all_at(&part.bytes, at + HEAD as u64)?;
        self.file.write_all_at(&head, at)
    }

    fn read(&self, index: u32) -> io::Result<Part> {
        let at = place_of(index);
        let mut head = [0; HEAD];
        self.file.read_exact_at(&mut head, at)?;
        let (length, digest) = head.split_at(4);
        let length = u32::from_le_bytes(length.try_into().map_err(io::Error::other)?);
        if length > PART {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a part is too long"));
        }
        let mut content = vec![0; length as usize];
        self.file.read_exact_at(&mut content, at + HEAD as u64)?;
        Ok(Part::found(index, content.into(), digest.try_into().map_err(io::Error::other)?))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.used.fetch_sub(self.size.load(Ordering::Acquire), Ordering::AcqRel);
    }
}

/// What is read there is no part, or the end.
fn is_no_part(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
}

fn conflict(id: PartsId, why: &str) -> Error {
    Error::new(Kind::Conflict, Operation::Publish).with_target(id).with_detail(why)
}

/// All parts but the last one have the same size.
fn place_of(index: u32) -> u64 {
    u64::from(index) * (HEAD as u64 + u64::from(PART))
}

#[async_trait]
impl PartStore for Store {
    fn part_size(&self) -> u32 {
        PART
    }

    async fn create(&self, id: PartsId, live: Duration) -> Result<Box<dyn PartSink>> {
        let parts = self.0.clone();
        parts.look_around().await?;
        if parts.find_empty(id)?.is_none() {
            let made = parts.clone();
            let place = blocking("make a file for parts", move || made.make(id, live)).await?;
            locked(&parts.bodies).entry(id).or_insert_with(|| Arc::new(place));
            parts.sweep_later();
        }
        Ok(Box::new(Sink { parts, id }))
    }

    async fn resume(&self, id: PartsId) -> Result<(Box<dyn PartSink>, u32)> {
        self.0.look_around().await?;
        let place = self.0.find(id)?;
        place.touch();
        let written = place.count(&self.0.counts).await?;
        Ok((Box::new(Sink { parts: self.0.clone(), id }), written))
    }

    async fn open(&self, manifest: &Manifest, from: u32) -> Result<Box<dyn PartSource>> {
        self.0.look_around().await?;
        let place = self.0.find(manifest.id)?;
        place.touch();
        Ok(Box::new(Reading { place, id: manifest.id, next: from }))
    }

    async fn remove(&self, id: PartsId) -> Result<()> {
        self.0.look_around().await?;
        let Some(place) = locked(&self.0.bodies).remove(&id) else { return Ok(()) };
        blocking(
            "remove parts",
            move || if place.forget() { Ok(()) } else { Err(io::Error::other("denied")) },
        )
        .await
    }
}

/// The place beside the queues of an embedded bus.
#[derive(Clone, Debug)]
pub(crate) struct Store(pub(crate) Arc<Parts>);

#[derive(Debug)]
struct Sink {
    parts: Arc<Parts>,
    id: PartsId,
}

impl Sink {
    /// Refuses what there is no room for.
    fn room(&self, place: &Place, end: u64) -> Result<()> {
        let used = self.parts.used.load(Ordering::Acquire);
        if used.saturating_add(place.growth(end)) <= self.parts.bound {
            return Ok(());
        }
        let detail = format!("large bodies have {used} bytes, the bound is {}", self.parts.bound);
        Err(Error::new(Kind::Full, Operation::Publish).with_target(self.id).with_detail(detail))
    }
}

#[async_trait]
impl PartSink for Sink {
    async fn put(&mut self, part: Part) -> Result<()> {
        // What the sweep has taken away must not come back without a name.
        let place = self.parts.find(self.id)?;
        place.touch();
        let (index, size) = (part.index, part.bytes.len() as u64);
        if size > u64::from(PART) {
            let kind = Kind::TooLarge { limit: PART.into(), size };
            return Err(Error::new(kind, Operation::Publish).with_target(self.id));
        }
        match index.cmp(&place.written.load(Ordering::Acquire)) {
            std::cmp::Ordering::Equal => {}
            std::cmp::Ordering::Greater => {
                let gone = Error::new(Kind::NotFound, Operation::Publish).with_target(self.id);
                return Err(gone.with_detail(format!("parts before number {index} are not there")));
            }
            std::cmp::Ordering::Less => {
                let same = blocking("look at a part", move || place.has(&part)).await?;
                return if same { Ok(()) } else { Err(conflict(self.id, "another part has this number")) };
            }
        }
        let end = place_of(index) + HEAD as u64 + size;
        self.room(&place, end)?;
        place.cover(end);
        let written = place.clone();
        blocking("write a part", move || written.write(&part)).await?;
        place.written.fetch_max(index.saturating_add(1), Ordering::AcqRel);
        Ok(())
    }

    async fn finish(&mut self) -> Result<()> {
        let place = self.parts.find(self.id)?;
        if !self.parts.sync || self.parts.folder.is_none() {
            return Ok(());
        }
        blocking("sync parts", move || place.file.sync_data()).await
    }
}

#[derive(Debug)]
struct Reading {
    place: Arc<Place>,
    id: PartsId,
    next: u32,
}

#[async_trait]
impl PartSource for Reading {
    async fn next(&mut self) -> Result<Part> {
        self.place.touch();
        let (place, index) = (self.place.clone(), self.next);
        self.next += 1;
        let read = blocking("read a part", move || place.read(index)).await;
        read.map_err(|error| error.with_target(self.id))
    }
}

/// Work on files, off the threads of the runtime.
async fn blocking<T, F>(what: &'static str, work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> io::Result<T> + Send + 'static,
{
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.unwrap_or_else(|_| Err(io::Error::other("the process is ending")));
    done.map_err(|error| {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Full,
            io::ErrorKind::PermissionDenied => Kind::Unauthorized,
            io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => Kind::NotFound,
            io::ErrorKind::InvalidData => Kind::Protocol,
            _ => Kind::Internal,
        };
        let error = Error::new(kind, Operation::Publish).with_detail(format!("cannot {what}: {error}"));
        if kind == Kind::Full { error.with_status(Status::Temporary) } else { error }
    })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;

    use super::*;

    fn config(directory: Option<PathBuf>) -> Config {
        Config { directory, parts: 4 << 20, ..Config::default() }
    }

    /// Sources do not look at more than the name.
    fn named(id: PartsId) -> Manifest {
        Manifest { id, parts: 2, part: PART, bytes: 0, sha256: [0; 32] }
    }

    async fn put(store: &Store, live: Duration, contents: &[&[u8]]) -> PartsId {
        let id = PartsId::fresh();
        let mut sink = store.create(id, live).await.unwrap();
        for (index, content) in (0..).zip(contents) {
            sink.put(Part::new(index, Bytes::copy_from_slice(content))).await.unwrap();
        }
        sink.finish().await.unwrap();
        id
    }

    #[tokio::test(start_paused = true)]
    async fn abandoned_parts_go_when_their_time_has_passed() {
        let folder = tempfile::tempdir().unwrap();
        for directory in [None, Some(folder.path().to_owned())] {
            let store = Store(Parts::new(&config(directory)));
            let id = put(&store, Duration::from_secs(100), &[&vec![7; 1 << 20], b"rest"]).await;
            let mut source = store.open(&named(id), 1).await.unwrap();
            assert_eq!(&source.next().await.unwrap().bytes[..], b"rest");
            assert_eq!(source.next().await.unwrap_err().kind(), Kind::NotFound);
            drop(source);
            tokio::time::sleep(Duration::from_secs(99)).await;
            drop(store.open(&named(id), 0).await.unwrap());
            tokio::time::sleep(Duration::from_secs(99)).await;
            assert!(store.0.used.load(Ordering::Acquire) > 1 << 20, "a look kept it");
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(store.open(&named(id), 0).await.unwrap_err().kind(), Kind::NotFound);
            assert_eq!(store.0.used.load(Ordering::Acquire), 0);
        }
        assert_eq!(fs::read_dir(folder.path().join(FOLDER)).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn beside_a_journal_they_outlive_the_process_but_not_their_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store(Parts::new(&config(Some(folder.path().to_owned()))));
        let id = put(&store, PARTS_LIVE, &[b"abc"]).await;
        let old = put(&store, PARTS_LIVE, &[b"old"]).await;
        drop(store);
        let path = folder.path().join(FOLDER).join(old.to_string());
        File::options().write(true).open(path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let store = Store(Parts::new(&config(Some(folder.path().to_owned()))));
        let part = store.open(&named(id), 0).await.unwrap().next().await.unwrap();
        assert!(part.is_whole() && &part.bytes[..] == b"abc");
        assert_eq!(store.open(&named(old), 0).await.unwrap_err().kind(), Kind::NotFound);
        assert_eq!(store.0.used.load(Ordering::Acquire), HEAD as u64 + 3);
        store.remove(id).await.unwrap();
        store.remove(id).await.unwrap();
        assert_eq!(fs::read_dir(folder.path().join(FOLDER)).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_body_that_broke_off_goes_on_with_its_first_part_that_is_not_whole() {
        let folder = tempfile::tempdir().unwrap();
        let store = || Store(Parts::new(&config(Some(folder.path().to_owned()))));
        let full = vec![7; PART as usize];
        let id = put(&store(), PARTS_LIVE, &[&full, &full, b"half of it is lost"]).await;
        let path = folder.path().join(FOLDER).join(id.to_string());
        let file = File::options().write(true).open(path).unwrap();
        file.set_len(place_of(2) + HEAD as u64 + 9).unwrap();
        let store = store();
        let (mut sink, there) = store.resume(id).await.unwrap();
        assert_eq!(there, 2);
        for part in [Part::new(1, full.clone().into()), Part::new(2, "rest".into())] {
            sink.put(part.clone()).await.unwrap();
            sink.put(part).await.unwrap();
        }
        let hole = sink.put(Part::new(4, "hole".into())).await.unwrap_err();
        let other = sink.put(Part::new(1, "other".into())).await.unwrap_err();
        assert_eq!((hole.kind(), other.kind()), (Kind::NotFound, Kind::Conflict));
        sink.finish().await.unwrap();
        let rest = store.open(&named(id), 2).await.unwrap().next().await.unwrap();
        assert!(rest.is_whole() && &rest.bytes[..] == b"rest");
        // A loss of power may leave a hole in the middle.
        file.write_all_at(&[0; 100], place_of(1)).unwrap();
        let again = Store(Parts::new(&config(Some(folder.path().to_owned()))));
        assert_eq!(again.resume(id).await.unwrap().1, 1);
        assert_eq!(again.resume(PartsId::fresh()).await.unwrap_err().kind(), Kind::NotFound);
    }

    #[tokio::test]
    async fn a_body_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        for directory in [None, Some(folder.path().to_owned())] {
            let (store, id) = (Store(Parts::new(&config(directory))), PartsId::fresh());
            let mut one = store.create(id, PARTS_LIVE).await.unwrap();
            store.create(id, PARTS_LIVE).await.unwrap();
            one.put(Part::new(0, "a".into())).await.unwrap();
            assert_eq!(store.create(id, PARTS_LIVE).await.unwrap_err().kind(), Kind::Conflict);
            let large = Part::new(1, vec![0; PART as usize + 1].into());
            assert!(matches!(one.put(large).await.unwrap_err().kind(), Kind::TooLarge { .. }));
        }
    }

    #[tokio::test]
    async fn the_room_is_bounded_and_comes_back() {
        let store = Store(Parts::new(&config(None)));
        let full = vec![0; 1 << 20];
        let id = put(&store, PARTS_LIVE, &[&full, &full, &full]).await;
        let mut sink = store.create(PartsId::fresh(), PARTS_LIVE).await.unwrap();
        let error = sink.put(Part::new(0, full.clone().into())).await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (Kind::Full, Status::Temporary));
        store.remove(id).await.unwrap();
        sink.put(Part::new(0, full.into())).await.unwrap();
    }
}
