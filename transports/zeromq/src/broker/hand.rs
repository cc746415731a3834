//! What a client has in hand, in sum over its consumers: the bound on what it costs while it settles nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::feed::Control;

/// Bytes in the hands of one client, beyond which nothing is handed out to it. One delivery always is.
pub(super) const IN_HAND: u64 = 64 << 20;

/// From there on something is handed out again: not for each single settle.
const AGAIN: u64 = IN_HAND / 8 * 7;

/// What a delivery costs besides its message.
const EACH: u64 = 512;

#[derive(Debug, Default)]
pub(super) struct Hand(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    bytes: u64,
    full: bool,
    /// Streams that wait for less to be in hand; each once.
    waiting: Vec<Weak<Control>>,
}

impl Hand {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message of this size is handed out.
    pub(super) fn take(&self, size: u64) {
        let mut held = self.held();
        held.bytes = held.bytes.saturating_add(size.saturating_add(EACH));
        held.full |= held.bytes >= IN_HAND;
    }

    /// It is out of the client's hands.
    pub(super) fn give_back(&self, size: u64) {
        let mut held = self.held();
        held.bytes = held.bytes.saturating_sub(size.saturating_add(EACH));
        if !held.full || held.bytes >= AGAIN {
            return;
        }
        held.full = false;
        let waiting = std::mem::take(&mut held.waiting);
        drop(held);
        for control in waiting.iter().filter_map(Weak::upgrade) {
            control.has_room();
        }
    }

    /// Whether no more is handed out now.
    pub(super) fn is_full(&self) -> bool {
        self.held().full
    }

    /// Has this stream woken when there is room; it asks once, until it was woken.
    pub(super) fn wait(&self, control: &Arc<Control>) {
        let mut held = self.held();
        // Streams come and go while nothing is settled.
        if held.waiting.len() == held.waiting.capacity() {
            held.waiting.retain(|control| control.strong_count() > 0);
        }
        held.waiting.push(Arc::downgrade(control));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_always_allowed_and_no_more_than_the_bound() {
        let hand = Hand::default();
        assert!(!hand.is_full());
        hand.take(u64::MAX);
        assert!(hand.is_full());
        hand.give_back(u64::MAX);
        assert!(!hand.is_full());
        let mut count = 0;
        while !hand.is_full() {
            hand.take(0);
            count += 1;
        }
        assert_eq!(count, IN_HAND / EACH);
        hand.give_back(0);
        assert!(hand.is_full(), "a settle alone changes nothing");
        for _ in 0..count / 8 {
            hand.give_back(0);
        }
        assert!(!hand.is_full());
    }

    #[test]
    fn who_comes_and_goes_leaves_nothing() {
        let hand = Hand::default();
        for _ in 0..10_000 {
            hand.wait(&Control::new(1, 0));
        }
        assert!(hand.held().waiting.capacity() < 100);
    }
}
