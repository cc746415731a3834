//! Whether JetStream has room for what is published.
//!
//! An account or a server at the limit of what it may store refuses every publish to a stream, which is a state of the bus
//! and not the bound of one queue. It is over when a publish is taken, or when the figures of the account say so: who was
//! refused may have stopped to publish.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use polybus_contract::Operation;
use tokio::time::{Instant, sleep};

use crate::connection::{Handle, locked};
use crate::error::ApiError;

/// How often the figures are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// A limit of the whole server has no figures for its clients: without a further refusal for so long it counts as over.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// What a handle knows of it.
#[derive(Debug, Default)]
pub(crate) struct Room {
    out: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    refused: Option<Refused>,
    watched: bool,
}

/// The last publish that was refused.
#[derive(Clone, Copy, Debug)]
struct Refused {
    size: u64,
    at: Instant,
    /// Whether it was the account's limit.
    account: bool,
}

impl Room {
    pub(crate) fn is_out(&self) -> bool {
        self.out.load(Ordering::Acquire)
    }

    /// The last refusal; without one nobody has to watch any longer.
    fn refused(&self) -> Option<Refused> {
        let mut state = locked(&self.state);
        state.watched = state.refused.is_some();
        state.refused
    }

    /// Whether this is news.
    fn clear(&self) -> bool {
        let mut state = locked(&self.state);
        state.refused = None;
        self.out.swap(false, Ordering::AcqRel)
    }
}

impl Handle {
    /// A stream took what was published.
    pub(crate) fn taken(&self) {
        if self.room.is_out() && self.room.clear() {
            self.health.notify_waiters();
        }
    }

    /// A stream refused what was published.
    pub(crate) fn refused(self: &Arc<Self>, error: &ApiError, size: u64) {
        if !error.is_out_of_room() {
            return;
        }
        let mut state = locked(&self.room.state);
        state.refused = Some(Refused { size, at: Instant::now(), account: error.is_of_account() });
        let watched = std::mem::replace(&mut state.watched, true);
        let news = !self.room.out.swap(true, Ordering::AcqRel);
        drop(state);
        if !watched {
            tokio::spawn(watch(Arc::downgrade(self)));
        }
        if news {
            self.health.notify_waiters();
        }
    }

    async fn has_room(&self, refused: Refused) -> bool {
        if !refused.account {
            return refused.at.elapsed() >= FORGOTTEN;
        }
        let Some(link) = self.link_now() else { return false };
        match link.account(Operation::Inspect).await {
            Ok(account) => account.takes(refused.size),
            Err(_) => false,
        }
    }
}

/// Looks until there is room again. It does not keep the handle.
async fn watch(handle: Weak<Handle>) {
    loop {
        sleep(LOOK).await;
        let Some(handle) = handle.upgrade().filter(|handle| !handle.is_closed()) else { return };
        let Some(refused) = handle.room.refused() else { return };
        if handle.has_room(refused).await && handle.room.clear() {
            handle.health.notify_waiters();
        }
    }
}
