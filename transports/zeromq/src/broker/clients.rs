//! The clients of a broker: who is connected, and what is kept for those who will come back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::state::State;

/// Where somebody who comes back finds what is his.
pub(super) type Takeover = mpsc::Sender<oneshot::Sender<Box<State>>>;

/// A client, with whom it proved to be.
pub(super) type Client = (Option<Arc<str>>, Arc<str>);

pub(super) enum Slot {
    Attached(u64, Takeover),
    /// Its session, and its turn among those who are away.
    Detached(u64, u64, Box<State>),
}

impl Slot {
    const fn session(&self) -> u64 {
        match self {
            Self::Attached(session, _) | Self::Detached(session, ..) => *session,
        }
    }
}

/// Whoever removes a slot drops it when the lock is released: what is in it is given back to the bus.
#[derive(Default)]
pub(super) struct Clients {
    slots: FxHashMap<Client, Slot>,
    /// Those who are away, in the order in which they went, with the time.
    away: BTreeMap<u64, (Instant, Client)>,
    turns: u64,
}

impl Clients {
    /// Takes the place of a client; what was there before.
    pub(super) fn attach(&mut self, client: &Client, session: u64, takeover: Takeover) -> Option<Slot> {
        let before = self.slots.insert(client.clone(), Slot::Attached(session, takeover));
        if let Some(Slot::Detached(_, turn, _)) = &before {
            self.away.remove(turn);
        }
        before
    }

    fn is_of(&self, client: &Client, session: u64) -> bool {
        self.slots.get(client).is_some_and(|slot| slot.session() == session)
    }

    /// Keeps what a client has, if its place is still that of this session, else hands it back. Who has to go for it is the
    /// answer: whoever is away for longest, where more than `most` are.
    pub(super) fn detach(
        &mut self,
        client: Client,
        session: u64,
        state: Box<State>,
        most: usize,
    ) -> Result<Option<Slot>, Box<State>> {
        if !self.is_of(&client, session) {
            return Err(state);
        }
        self.turns += 1;
        self.away.insert(self.turns, (Instant::now(), client.clone()));
        self.slots.insert(client, Slot::Detached(session, self.turns, state));
        if self.away.len() <= most {
            return Ok(None);
        }
        let oldest = self.away.pop_first();
        Ok(oldest.and_then(|(_, (_, oldest))| self.slots.remove(&oldest)))
    }

    /// The client is gone, if its place is still that of this session.
    pub(super) fn remove(&mut self, client: &Client, session: u64) -> Option<Slot> {
        if !self.is_of(client, session) {
            return None;
        }
        let gone = self.slots.remove(client);
        if let Some(Slot::Detached(_, turn, _)) = &gone {
            self.away.remove(turn);
        }
        gone
    }

    /// Those who are away for this long do not come back.
    pub(super) fn remove_late(&mut self, keep: Duration) -> Vec<Slot> {
        let mut late = Vec::new();
        while let Some(first) = self.away.first_entry().filter(|first| first.get().0.elapsed() >= keep) {
            let (_, client) = first.remove();
            late.extend(self.slots.remove(&client));
        }
        late
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> (usize, usize) {
        (self.slots.len(), self.away.len())
    }
}
