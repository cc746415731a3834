//! The engine's side of a journal: records are encoded as they happen and wait to be written.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::journal::batch::HEADER;
use crate::journal::code::{self, Codec};
use crate::journal::wire::Encoder;
use crate::record::{Journal, Record};

/// Takes the records of an engine. See [`crate::journal`].
#[derive(Clone)]
pub struct Log<C> {
    codec: C,
    queue: Arc<Pending>,
    snapshotting: bool,
}

/// What waits to be written, shared by the engine's side and the writer's.
#[derive(Debug)]
pub(crate) struct Pending {
    collected: Mutex<Collected>,
    arrived: Condvar,
    /// Records taken in since the journal was opened.
    position: AtomicU64,
    /// Bytes that wait.
    waiting: AtomicU64,
    limit: u64,
    /// Messages that the engine holds, about: those that went with a queue or a purge may still be counted.
    messages: AtomicU64,
    /// Bytes of the snapshot that is being told.
    told: AtomicU64,
    /// There is no room for more segments: sends are refused.
    full: AtomicBool,
}

/// Records of one batch.
#[derive(Debug)]
pub(crate) struct Collected {
    /// The room for the header, then the records.
    pub(crate) bytes: Vec<u8>,
    pub(crate) records: u32,
    /// A snapshot begins, or is done, in it.
    pub(crate) begun: bool,
    pub(crate) done: bool,
    /// Nothing more will come.
    closed: bool,
}

impl Default for Collected {
    fn default() -> Self {
        Self { bytes: vec![0; HEADER], records: 0, begun: false, done: false, closed: false }
    }
}

impl Collected {
    pub(crate) fn clear(&mut self) {
        self.bytes.truncate(HEADER);
        (self.records, self.begun, self.done) = (0, false, false);
    }
}

impl Pending {
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            collected: Mutex::default(),
            arrived: Condvar::new(),
            position: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            limit,
            messages: AtomicU64::new(0),
            told: AtomicU64::new(0),
            full: AtomicBool::new(false),
        }
    }

    /// Encoding cannot leave half a record: it panics nowhere, so a poisoned lock is whole.
    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.collected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Exchanges what was collected for an empty one.
    pub(crate) fn take(&self, empty: &mut Collected) {
        let mut collected = self.lock();
        empty.closed = collected.closed;
        std::mem::swap(&mut *collected, empty);
        self.waiting.store(0, Ordering::Relaxed);
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    pub(crate) fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    pub(crate) fn told(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }

    pub(crate) fn set_messages(&self, messages: u64) {
        self.messages.store(messages, Ordering::Relaxed);
    }

    /// Called under the lock: nobody else changes the count meanwhile, except to set it right.
    fn count(&self, sent: bool) {
        let messages = self.messages();
        self.set_messages(if sent { messages + 1 } else { messages.saturating_sub(1) });
    }

    pub(crate) fn position(&self) -> u64 {
        self.position.load(Ordering::Acquire)
    }

    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Waits until there is something to write, or the journal is closed (false), at most `within`.
    pub(crate) fn wait(&self, within: Option<Duration>) -> bool {
        let mut collected = self.lock();
        while collected.records == 0 && !collected.closed {
            let Some(within) = within else {
                collected = self.arrived.wait(collected).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let waited = self.arrived.wait_timeout(collected, within);
            collected = waited.unwrap_or_else(PoisonError::into_inner).0;
            break;
        }
        collected.records > 0 || !collected.closed
    }
}

impl<C> Log<C> {
    pub(crate) fn new(codec: C, queue: Arc<Pending>) -> Self {
        Self { codec, queue, snapshotting: false }
    }

    /// Records taken in since the journal was opened. What was recorded until now is on disk when
    /// [`crate::journal::Written::durable`] has reached this.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.queue.position()
    }

    /// The same log, when a copy of it has told a whole snapshot.
    pub(crate) fn settled(mut self) -> Self {
        self.snapshotting = false;
        self
    }

    /// Whether messages are refused for want of room on the disk.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.queue.is_full()
    }

    /// Nothing more will be recorded: the writer writes what is left and ends.
    pub fn close(&self) {
        self.queue.close();
    }
}

impl<C> fmt::Debug for Log<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("position", &self.position()).finish_non_exhaustive()
    }
}

impl<P, C: Codec<P>> Journal<P> for Log<C> {
    fn record(&mut self, record: Record<'_, &P>) {
        let mut collected = self.queue.lock();
        let before = collected.bytes.len();
        match record {
            Record::SnapshotBegun { .. } => {
                (self.snapshotting, collected.begun) = (true, true);
                self.queue.told.store(0, Ordering::Relaxed);
            }
            Record::SnapshotDone => (self.snapshotting, collected.done) = (false, true),
            Record::Sent { .. } => self.queue.count(true),
            Record::Acked { .. } | Record::Discarded { .. } => self.queue.count(false),
            _ => {}
        }
        code::encode(&record, &self.codec, &mut Encoder::new(&mut collected.bytes));
        if matches!(record, Record::Kept { .. }) {
            self.queue.told.fetch_add((collected.bytes.len() - before) as u64, Ordering::Relaxed);
        }
        collected.records += 1;
        self.queue.waiting.store(collected.bytes.len() as u64, Ordering::Relaxed);
        self.queue.position.fetch_add(1, Ordering::Release);
        let first = collected.records == 1;
        drop(collected);
        if first {
            self.queue.arrived.notify_one();
        }
    }

    fn has_room(&self, size: u64) -> bool {
        let waiting = self.queue.waiting.load(Ordering::Relaxed);
        !self.queue.is_full() && (waiting == 0 || waiting.saturating_add(size) <= self.queue.limit)
    }

    fn tells_whole(&self) -> bool {
        self.snapshotting
    }
}
