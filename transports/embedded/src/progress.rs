//! How far the journal has got, and who waits for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use polybus_contract::{Error, Kind, Operation, Status};
use slab::Slab;

/// Positions are counted in records since the bus was opened.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    reached: AtomicU64,
    waits: Mutex<Waits>,
}

#[derive(Debug, Default)]
struct Waits {
    waiters: Slab<(u64, Waker)>,
    failed: Option<Arc<str>>,
}

impl Progress {
    /// The position that is safe by now.
    pub(crate) fn reached(&self) -> u64 {
        self.reached.load(Ordering::Acquire)
    }

    /// Why nothing more will become safe.
    pub(crate) fn failed(&self) -> Option<Arc<str>> {
        self.waits().failed.clone()
    }

    /// Everything up to `position` is safe: wakes who waits for it, and answers how many those are.
    pub(crate) fn advance(&self, position: u64) -> usize {
        let mut waits = self.waits();
        self.reached.store(position, Ordering::Release);
        let due: Vec<usize> =
            waits.waiters.iter().filter(|(_, (at, _))| *at <= position).map(|(key, _)| key).collect();
        let wakers: Vec<Waker> = due.into_iter().map(|key| waits.waiters.remove(key).1).collect();
        drop(waits);
        let woken = wakers.len();
        wakers.into_iter().for_each(Waker::wake);
        woken
    }

    /// Nothing more will become safe: wakes everybody.
    pub(crate) fn fail(&self, why: &str) {
        let mut waits = self.waits();
        waits.failed = Some(why.into());
        let wakers: Vec<Waker> = waits.waiters.drain().map(|(_, waker)| waker).collect();
        drop(waits);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ready once `position` is safe.
    pub(crate) fn wait(self: &Arc<Self>, position: u64) -> Reached {
        Reached { progress: self.clone(), position, key: None }
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait for a position; `Err` says why it will never be safe. Dropping it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Reached {
    progress: Arc<Progress>,
    position: u64,
    key: Option<usize>,
}

impl Future for Reached {
    type Output = Result<(), Arc<str>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.progress.reached() >= self.position {
            return Poll::Ready(Ok(()));
        }
        let progress = self.progress.clone();
        let mut waits = progress.waits();
        if progress.reached() >= self.position {
            return Poll::Ready(Ok(()));
        }
        if let Some(why) = &waits.failed {
            return Poll::Ready(Err(why.clone()));
        }
        // A key is ours as long as the position is not safe and nothing failed: only then are keys given back.
        match self.key.and_then(|key| waits.waiters.get_mut(key)) {
            Some((_, waker)) => waker.clone_from(context.waker()),
            None => self.key = Some(waits.waiters.insert((self.position, context.waker().clone()))),
        }
        Poll::Pending
    }
}

impl Drop for Reached {
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        let mut waits = self.progress.waits();
        let ours = self.progress.reached() < self.position && waits.failed.is_none();
        if ours {
            waits.waiters.try_remove(key);
        }
    }
}

/// The journal has failed: what was not safe then may be lost.
pub(crate) fn broken(operation: Operation, why: &str) -> Error {
    let detail = format!("the journal failed ({why}); open the bus again to go on with what is on disk");
    Error::new(Kind::Disconnected, operation).with_status(Status::Unknown).with_detail(detail)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_are_woken_when_it_is_their_turn() {
        let progress = Arc::new(Progress::default());
        let (first, second) = (tokio::spawn(progress.wait(3)), tokio::spawn(progress.wait(5)));
        let dropped = tokio::time::timeout(Duration::from_millis(1), progress.wait(4)).await;
        assert!(dropped.is_err());
        progress.advance(3);
        assert_eq!(first.await.unwrap(), Ok(()));
        assert!(!second.is_finished());
        progress.fail("rot");
        assert_eq!(second.await.unwrap(), Err("rot".into()));
        assert_eq!(progress.wait(3).await, Ok(()), "what was safe stays so");
        assert!(progress.waits().waiters.is_empty());
    }
}
