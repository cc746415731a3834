//! The large bodies that one client is writing: few, and each only as long as something comes of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as Lock, MutexGuard, PoisonError};
use std::time::Duration;

use polybus_contract::{Error, Kind, Operation, PartSink, PartsId, Result};
use rustc_hash::FxHashMap;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Bodies that one client may be writing at the same time.
const UPLOADS: usize = 64;

/// How long one may get no part before it ends.
const IDLE: Duration = Duration::from_mins(10);

/// How long one may get no part before it makes room for another, when there are as many as may be.
const SPARE: Duration = Duration::from_secs(30);

/// Where the parts go. Empty while it is made, and once it is of no use.
pub(super) type Sink = Arc<Mutex<Option<Box<dyn PartSink>>>>;

struct Upload {
    sink: Sink,
    /// When something came of it last.
    touched: Instant,
}

impl Upload {
    /// For how long nothing has come of it.
    fn idle(&self) -> Duration {
        // Whoever writes a part has a share of it.
        if Arc::strong_count(&self.sink) > 1 { Duration::ZERO } else { self.touched.elapsed() }
    }
}

#[derive(Clone, Default)]
pub(super) struct Uploads {
    all: Arc<Lock<FxHashMap<PartsId, Upload>>>,
    /// Those that ended because nothing came of them.
    abandoned: Arc<AtomicU64>,
}

impl Uploads {
    pub(super) fn new(abandoned: Arc<AtomicU64>) -> Self {
        Self { all: Arc::default(), abandoned }
    }

    fn all(&self) -> MutexGuard<'_, FxHashMap<PartsId, Upload>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Work on one, which goes on where it broke off if it is not in the table.
    pub(super) fn take(&self, id: PartsId) -> Result<Work> {
        match self.go_on(id) {
            Some(work) => Ok(work),
            None => self.begin(id),
        }
    }

    /// A new one; the one that is idle for longest may have to go for it.
    pub(super) fn begin(&self, id: PartsId) -> Result<Work> {
        let mut all = self.all();
        if all.len() >= UPLOADS && !all.contains_key(&id) {
            let longest = all.iter().map(|(id, upload)| (upload.idle(), *id)).max_by_key(|(idle, _)| *idle);
            let Some((_, id)) = longest.filter(|(idle, _)| *idle >= SPARE) else {
                return Err(Error::new(Kind::Full, Operation::Publish)
                    .with_detail("so many large bodies at once are all that one client may write"));
            };
            all.remove(&id);
            self.abandoned.fetch_add(1, Ordering::Relaxed);
        }
        let sink = Sink::default();
        all.insert(id, Upload { sink: sink.clone(), touched: Instant::now() });
        drop(all);
        Ok(Work { uploads: self.clone(), id, sink, begins: true, done: false })
    }

    /// Work on one that was begun.
    fn go_on(&self, id: PartsId) -> Option<Work> {
        let sink = self.all().get(&id)?.sink.clone();
        Some(Work { uploads: self.clone(), id, sink, begins: false, done: false })
    }

    /// Takes one out of the table.
    pub(super) fn remove(&self, id: PartsId) -> Option<Sink> {
        self.all().remove(&id).map(|upload| upload.sink)
    }

    /// Ends those of which nothing came for long. What was put of them lives until its time has passed, and until then one may
    /// go on.
    pub(super) fn forget_idle(&self) {
        let mut all = self.all();
        let before = all.len();
        all.retain(|_, upload| upload.idle() < IDLE);
        self.abandoned.fetch_add((before - all.len()) as u64, Ordering::Relaxed);
    }
}

/// Work on one upload. Dropped before it is done, by a failure or with its connection, the upload is out of the table: its sink
/// is of no use any longer, and another one goes on with it.
pub(super) struct Work {
    uploads: Uploads,
    pub(super) id: PartsId,
    pub(super) sink: Sink,
    /// Whether it is the first, which makes the sink.
    pub(super) begins: bool,
    done: bool,
}

impl Work {
    pub(super) fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let mut all = self.uploads.all();
        // The client may have begun another one under its name.
        let Some(upload) = all.get_mut(&self.id).filter(|upload| Arc::ptr_eq(&upload.sink, &self.sink))
        else {
            return;
        };
        if self.done {
            upload.touched = Instant::now();
        } else {
            all.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn begun(uploads: &Uploads) -> PartsId {
        let id = PartsId::fresh();
        uploads.begin(id).unwrap().done();
        id
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_or_was_dropped_is_not_there_any_longer() {
        let uploads = Uploads::default();
        for _ in 0..UPLOADS * 2 {
            drop(uploads.begin(PartsId::fresh()).unwrap());
        }
        let id = begun(&uploads);
        uploads.go_on(id).unwrap().done();
        drop(uploads.go_on(id));
        assert!(uploads.go_on(id).is_none(), "a part was not put");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_idle_ends() {
        let uploads = Uploads::default();
        let (idle, written, busy) = (begun(&uploads), begun(&uploads), begun(&uploads));
        let part = uploads.go_on(busy).unwrap();
        advance(IDLE / 2).await;
        uploads.go_on(written).unwrap().done();
        advance(IDLE / 2).await;
        uploads.forget_idle();
        assert_eq!(uploads.abandoned.load(Ordering::Relaxed), 1);
        assert!(uploads.go_on(idle).is_none());
        uploads.go_on(written).unwrap().done();
        part.done();
        assert!(uploads.remove(busy).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_that_is_idle_for_longest_makes_room() {
        let uploads = Uploads::default();
        let mut all = Vec::new();
        for _ in 0..UPLOADS {
            all.push(begun(&uploads));
            advance(Duration::from_millis(1)).await;
        }
        assert_eq!(uploads.begin(PartsId::fresh()).err().map(|error| error.kind()), Some(Kind::Full));
        advance(SPARE).await;
        uploads.go_on(all[0]).unwrap().done();
        begun(&uploads);
        assert!(uploads.remove(all[0]).is_some() && uploads.remove(all[2]).is_some());
        assert!(uploads.remove(all[1]).is_none());
        assert_eq!(uploads.abandoned.load(Ordering::Relaxed), 1);
    }
}
