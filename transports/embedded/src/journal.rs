//! A bus that keeps a journal: opening its directory, the thread that writes, waiting for the disk.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use polybus_contract::{Error, Kind, Message, Name, Operation, Result, Status, TopicGrade};
use polybus_queue::Snapshot;
use polybus_queue::journal::{
    Directory, DirectoryError, Log, OpenError, Opened, Options, Recovered, WriteError, Writer,
};
use tokio::time::timeout;

use crate::bus::{Bus, State};
use crate::codec::Messages;
use crate::config::{Config, Sync};
use crate::error::refuse;
use crate::progress::{Progress, broken};

/// How long a settle, a declaration or the desk waits for the disk.
pub(crate) const WITHIN: Duration = Duration::from_secs(30);

/// How often a full disk is looked at again.
const RETRY: Duration = Duration::from_millis(50);

/// Bytes of a snapshot that are told under the bus's lock at once.
const STEP: u64 = 256 << 10;

/// How long an opening waits for a bus of this process that is being closed.
const CLOSING: Duration = Duration::from_secs(1);

/// What a bus with a journal has beside its state.
#[derive(Debug)]
pub(crate) struct Store {
    directory: PathBuf,
    pub(crate) progress: Arc<Progress>,
    open: AtomicBool,
    opening: Mutex<Option<Recovered>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            progress: Arc::default(),
            open: AtomicBool::new(false),
            opening: Mutex::default(),
            writer: Mutex::default(),
        }
    }

    /// What the opening found; `None`: it is not open yet.
    pub(crate) fn recovered(&self) -> Option<Recovered> {
        self.opening.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was kept and what was not, if the opening did not find everything whole.
    pub(crate) fn note(&self) -> Option<String> {
        // An opening under way has found nothing yet, and nobody waits for it here.
        let opening = self.opening.try_lock().ok()?;
        let found = opening.as_ref().filter(|found| found.cut.is_some() || found.set_aside.is_some())?;
        Some(format!("the journal in {}: {found}", self.directory.display()))
    }

    /// Waits until a position is safe, at most `within`.
    pub(crate) async fn safe(&self, position: u64, within: Duration, operation: Operation) -> Result<()> {
        if self.progress.reached() >= position {
            return Ok(());
        }
        match timeout(within, self.progress.wait(position)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => Err(broken(operation, &why)),
            Err(_) => Err(Error::new(Kind::DeadlineExceeded, operation)
                .with_status(Status::Unknown)
                .with_detail("the disk has not confirmed it in time; it may still do so")),
        }
    }
}

/// A number nobody can guess.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

impl Bus {
    /// Opens the journal, if there is one and it is not open. Cancel safe: the opening goes on.
    pub(crate) async fn ready(self: &Arc<Self>, within: Duration, operation: Operation) -> Result<()> {
        let Some(store) = &self.store else { return Ok(()) };
        if store.open.load(Ordering::Acquire) {
            return match store.progress.failed() {
                Some(why) => Err(broken(operation, &why).with_status(Status::Permanent)),
                None => Ok(()),
            };
        }
        let bus = self.clone();
        let opening = tokio::task::spawn_blocking(move || bus.open_journal());
        match timeout(within, opening).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(_)) => Err(refuse(Kind::Internal, operation, store.directory.display())),
            Err(_) => Err(refuse(Kind::Disconnected, operation, store.directory.display())
                .with_detail("the journal is still being read")),
        }
    }

    /// Waits until everything done so far is safe; answers how many changes are not, by `until`.
    pub(crate) async fn flush(&self, until: tokio::time::Instant) -> u64 {
        let Some(store) = &self.store else { return 0 };
        let position = self.look(State::position);
        // Whatever came of the wait, what was reached is what counts.
        let _ = tokio::time::timeout_at(until, store.progress.wait(position)).await;
        position.saturating_sub(store.progress.reached())
    }

    /// Waits until a position is safe; at once without a journal.
    pub(crate) async fn safe(&self, position: u64, operation: Operation) -> Result<()> {
        match &self.store {
            Some(store) => store.safe(position, WITHIN, operation).await,
            None => Ok(()),
        }
    }

    fn open_journal(self: &Arc<Self>) -> Result<()> {
        let Some(store) = &self.store else { return Ok(()) };
        let mut found = store.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if store.open.load(Ordering::Acquire) {
            return Ok(());
        }
        let directory = lock(&store.directory)?;
        let now = self.now();
        let opened = polybus_queue::journal::open(directory, Messages, options(&self.config), random(), now)
            .map_err(|error| unreadable(&error, &store.directory))?;
        *found = Some(opened.recovered.clone());
        self.begin(opened);
        store.open.store(true, Ordering::Release);
        Ok(())
    }

    /// Takes in what was found, and starts to write.
    fn begin(self: &Arc<Self>, opened: Opened<Arc<Message>, Messages, Directory>) {
        let Some(store) = &self.store else { return };
        let Opened { engine, log, writer, .. } = opened;
        store.progress.advance(writer.reached().durable);
        self.with(|state, _, _| {
            state.engine = engine.with(Some(log));
            // Calls of an earlier process must not meet those of this one.
            state.calls_made = random() >> 1;
            let durable: Vec<Name> =
                state.engine.topics().filter_map(|topic| Name::new(topic).ok()).collect();
            for topic in durable {
                state.topics.entry(topic).or_default().grade = Some(TopicGrade::Durable);
            }
        });
        let hand = Hand {
            writer,
            bus: Arc::downgrade(self),
            progress: store.progress.clone(),
            sync: self.config.sync,
            synced_at: Instant::now(),
            snapshot: None,
            woken: 0,
            took: Duration::ZERO,
        };
        let thread = thread::Builder::new().name("polybus-journal".to_owned()).spawn(move || hand.run());
        match thread {
            Ok(thread) => *store.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread),
            Err(error) => store.progress.fail(&error.to_string()),
        }
    }

    /// Writes what is left and lets go of the directory. Blocks for as long as the disk needs for that.
    pub(crate) fn end_journal(&mut self) {
        if let Some(log) = self.log_mut() {
            log.close();
        }
        let Some(store) = &self.store else { return };
        let thread = store.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The writer itself may have been the last to look at the bus.
        if let Some(thread) = thread.filter(|other| other.thread().id() != thread::current().id()) {
            // A panic of the writer was seen by nobody who waits: the bus is gone.
            let _ = thread.join();
        }
    }
}

pub(crate) fn options(config: &Config) -> Options {
    let waiting = Options::default().waiting.max(config.max_message);
    Options { segment: config.segment, damaged: config.damaged, waiting }
}

/// Takes the directory for this process. A bus of this process that is being closed is waited for.
fn lock(path: &Path) -> Result<Directory> {
    let until = Instant::now() + CLOSING;
    loop {
        match Directory::open(path) {
            Ok(directory) => return Ok(directory),
            Err(DirectoryError::InUse { pid, .. })
                if pid == Some(std::process::id()) && Instant::now() < until =>
            {
                thread::sleep(Duration::from_millis(5));
            }
            Err(error @ DirectoryError::InUse { .. }) => {
                return Err(
                    refuse(Kind::Conflict, Operation::Connect, "embedded").with_detail(error.to_string())
                );
            }
            Err(DirectoryError::Io { path, source }) => return Err(io_error(&source, &path)),
            Err(error) => return Err(refuse(Kind::Internal, Operation::Connect, error)),
        }
    }
}

fn io_error(source: &std::io::Error, path: &Path) -> Error {
    let kind = match source.kind() {
        std::io::ErrorKind::PermissionDenied => Kind::Unauthorized,
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Kind::Full,
        _ => Kind::Disconnected,
    };
    refuse(kind, Operation::Connect, path.display()).with_detail(source.to_string())
}

fn unreadable(error: &OpenError, directory: &Path) -> Error {
    match error {
        OpenError::Io { file, source } => io_error(source, &directory.join(file)),
        OpenError::Damaged(_) => {
            let detail = format!(
                "{error}; damaged=set-aside goes on with what is whole and keeps the rest as *.damaged"
            );
            refuse(Kind::Protocol, Operation::Connect, directory.display()).with_detail(detail)
        }
        other => {
            refuse(Kind::Protocol, Operation::Connect, directory.display()).with_detail(other.to_string())
        }
    }
}

/// The thread that writes.
struct Hand {
    writer: Writer<Directory>,
    bus: Weak<Bus>,
    progress: Arc<Progress>,
    sync: Sync,
    synced_at: Instant,
    snapshot: Option<Snapshot>,
    /// How many waited for the last batch, and how long it took.
    woken: u64,
    took: Duration,
}

impl Hand {
    fn run(mut self) {
        while self.writer.wait(self.patience()) {
            self.gather();
            match self.commit() {
                Ok(()) => self.look_after(),
                Err(WriteError::Full(_)) => {
                    self.look_after();
                    // Whoever closes the bus does not wait for somebody to make room.
                    if self.bus.strong_count() == 0 {
                        return self.progress.fail("the disk is full");
                    }
                    thread::sleep(RETRY);
                }
                Err(error) => return self.progress.fail(&error.to_string()),
            }
        }
        if let Err(error) = self.writer.commit(true) {
            self.progress.fail(&error.to_string());
        }
    }

    /// How long there may be nothing to do.
    fn patience(&self) -> Option<Duration> {
        let reached = self.writer.reached();
        if self.snapshot.is_some() {
            return Some(Duration::ZERO);
        }
        if self.writer.is_full() {
            return Some(RETRY);
        }
        match self.sync {
            Sync::Every(every) if reached.durable < reached.written => {
                Some(every.saturating_sub(self.synced_at.elapsed()))
            }
            _ => None,
        }
    }

    /// Those who were woken by the last batch are likely to have more to do at once: they are waited for, so that
    /// they share the next batch, but not for long. Whoever is alone is not held up.
    fn gather(&self) {
        let (begun, patience) = (Instant::now(), self.took / GATHER);
        while self.writer.waiting() < self.woken && begun.elapsed() < patience {
            thread::yield_now();
        }
    }

    fn commit(&mut self) -> Result<(), WriteError> {
        let begun = Instant::now();
        let reached = match self.sync {
            Sync::Always => self.writer.commit(true)?.durable,
            Sync::Every(every) => {
                let due = self.synced_at.elapsed() >= every;
                let reached = self.writer.commit(due)?;
                if due {
                    self.synced_at = Instant::now();
                }
                reached.written
            }
        };
        self.took = begun.elapsed();
        self.woken = self.progress.advance(reached) as u64;
        Ok(())
    }

    /// Room for senders, and snapshots.
    fn look_after(&mut self) {
        let Some(bus) = self.bus.upgrade() else { return };
        if !self.writer.is_full() && bus.senders_waiting.load(Ordering::Acquire) > 0 {
            bus.room.notify_waiters();
        }
        if let Some(snapshot) = &mut self.snapshot {
            let done = bus.with(|state, now, _| state.engine.continue_snapshot(snapshot, STEP, now));
            if done {
                self.snapshot = None;
            }
        } else if self.writer.wants_snapshot(|| bus.look(|state| state.engine.load())) {
            self.snapshot = Some(bus.with(|state, _, _| state.engine.begin_snapshot()));
        }
    }
}

/// The part of the time of a batch that the next one may wait for company.
const GATHER: u32 = 4;

/// The journal of a bus, or none.
pub(crate) type BusLog = Option<Log<Messages>>;

/// What was recorded until now is safe when the journal has got this far; 0: there is none.
#[inline]
pub(crate) fn position(journal: &BusLog) -> u64 {
    journal.as_ref().map_or(0, Log::position)
}
