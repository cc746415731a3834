//! What a bus has confirmed and not handed out yet: how long to wait for the next message depends on it.

use std::collections::HashSet;

use crate::ledger::{Entry, Event};

type Key = (String, u64);

/// The messages that are still to come, by what the ledger was told so far.
#[derive(Debug, Default)]
pub(crate) struct Outstanding {
    confirmed: HashSet<Key>,
    /// Received before the sender learned that they are confirmed.
    early: HashSet<Key>,
}

impl Outstanding {
    pub(crate) fn note(&mut self, entry: &Entry) {
        let key = || (entry.producer.clone(), entry.sequence);
        match entry.event {
            Event::Confirmed if !self.early.remove(&key()) => drop(self.confirmed.insert(key())),
            Event::Received if !self.confirmed.remove(&key()) => drop(self.early.insert(key())),
            _ => {}
        }
    }

    /// Whether everything that was confirmed has come.
    pub(crate) fn is_empty(&self) -> bool {
        self.confirmed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::Stamp;

    fn note(outstanding: &mut Outstanding, event: Event, sequence: u64) {
        outstanding.note(&Entry::now(event, &Stamp::new("run", "p", sequence, b"")));
    }

    #[test]
    fn what_is_confirmed_is_to_come_until_it_came_in_either_order() {
        let mut outstanding = Outstanding::default();
        note(&mut outstanding, Event::Sent, 1);
        assert!(outstanding.is_empty());
        note(&mut outstanding, Event::Confirmed, 1);
        assert!(!outstanding.is_empty());
        note(&mut outstanding, Event::Received, 1);
        assert!(outstanding.is_empty());
        note(&mut outstanding, Event::Received, 2);
        note(&mut outstanding, Event::Confirmed, 2);
        assert!(outstanding.is_empty());
    }
}
