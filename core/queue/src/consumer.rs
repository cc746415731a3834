//! Consumers of one queue, their credit, and whose turn it is.

use std::collections::VecDeque;
use std::time::Duration;

use slab::Slab;

use crate::queue::QueueId;

/// A consumer attached to a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConsumerId {
    pub(crate) queue: QueueId,
    pub(crate) slot: u32,
    pub(crate) stamp: u64,
}

impl ConsumerId {
    /// The queue it consumes.
    #[must_use]
    pub const fn queue(&self) -> QueueId {
        self.queue
    }
}

/// What becomes of the messages in the hand of a consumer that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leaving {
    /// They stay in its hand: each can still be settled, and comes back when its lease ends.
    Keep,
    /// They come back at once and were never seen: the hand-out does not count.
    Release,
    /// They come back at once, their attempt counted.
    Drop,
}

#[derive(Debug)]
pub(crate) struct Consumer {
    stamp: u64,
    pub(crate) credit: u32,
    pub(crate) in_hand: u32,
    lease: Option<Duration>,
    /// In the ring of those that may be served.
    ringed: bool,
    /// Left with [`Leaving::Keep`]; its place is freed with its last message.
    left: bool,
}

impl Consumer {
    fn has_room(&self) -> bool {
        !self.left && self.in_hand < self.credit
    }
}

#[derive(Debug, Default)]
pub(crate) struct Consumers {
    all: Slab<Consumer>,
    ring: VecDeque<u32>,
    stamps: u64,
    attached: u32,
}

impl Consumers {
    pub(crate) fn attach(&mut self, queue: QueueId, credit: u32, lease: Option<Duration>) -> ConsumerId {
        self.stamps += 1;
        self.attached += 1;
        let stamp = self.stamps;
        let slot = self.all.insert(Consumer { stamp, credit, in_hand: 0, lease, ringed: false, left: false });
        // A slab of consumers larger than u32 would need more memory than there is address space for.
        let slot = u32::try_from(slot).unwrap_or(u32::MAX);
        self.enlist(slot);
        ConsumerId { queue, slot, stamp }
    }

    pub(crate) fn get(&self, id: ConsumerId) -> Option<&Consumer> {
        self.all.get(id.slot as usize).filter(|consumer| consumer.stamp == id.stamp && !consumer.left)
    }

    fn get_mut(&mut self, id: ConsumerId) -> Option<&mut Consumer> {
        self.all.get_mut(id.slot as usize).filter(|consumer| consumer.stamp == id.stamp && !consumer.left)
    }

    pub(crate) fn id(&self, queue: QueueId, slot: u32) -> Option<ConsumerId> {
        self.all.get(slot as usize).map(|consumer| ConsumerId { queue, slot, stamp: consumer.stamp })
    }

    /// Sets the credit: a raise counts at once, a cut as messages are settled. False: no such consumer.
    pub(crate) fn set_credit(&mut self, id: ConsumerId, credit: u32) -> bool {
        let Some(consumer) = self.get_mut(id) else { return false };
        consumer.credit = credit;
        self.enlist(id.slot);
        true
    }

    /// The consumer's own term, where it asked for one.
    pub(crate) fn lease(&self, slot: u32) -> Option<Duration> {
        self.all.get(slot as usize).and_then(|consumer| consumer.lease)
    }

    pub(crate) fn may_take(&self, id: ConsumerId) -> Option<bool> {
        self.get(id).map(Consumer::has_room)
    }

    /// How many messages more this consumer may be given; `None`: it is not attached.
    pub(crate) fn room(&self, id: ConsumerId) -> Option<usize> {
        self.get(id).map(|consumer| consumer.credit.saturating_sub(consumer.in_hand) as usize)
    }

    /// Whose turn it is: the one with room for a message that waited longest.
    pub(crate) fn turn(&mut self) -> Option<u32> {
        while let Some(slot) = self.ring.pop_front() {
            let Some(consumer) = self.all.get_mut(slot as usize) else { continue };
            consumer.ringed = false;
            if consumer.has_room() {
                return Some(slot);
            }
        }
        None
    }

    /// Puts a consumer with room at the end of the ring; to the front if its turn came and nothing was there.
    pub(crate) fn enlist(&mut self, slot: u32) {
        if let Some(consumer) = self.all.get_mut(slot as usize)
            && !consumer.ringed
            && consumer.has_room()
        {
            consumer.ringed = true;
            self.ring.push_back(slot);
        }
    }

    pub(crate) fn keep_turn(&mut self, slot: u32) {
        if let Some(consumer) = self.all.get_mut(slot as usize) {
            consumer.ringed = true;
            self.ring.push_front(slot);
        }
    }

    pub(crate) fn took(&mut self, slot: u32) {
        if let Some(consumer) = self.all.get_mut(slot as usize) {
            consumer.in_hand += 1;
        }
    }

    /// A message left its consumer's hand: credit comes back.
    pub(crate) fn gave_back(&mut self, slot: u32) {
        let Some(consumer) = self.all.get_mut(slot as usize) else { return };
        consumer.in_hand = consumer.in_hand.saturating_sub(1);
        if consumer.left && consumer.in_hand == 0 {
            self.all.remove(slot as usize);
        } else {
            self.enlist(slot);
        }
    }

    /// Whether a consumer, gone or not, has something in its hand.
    pub(crate) fn holds(&self, id: ConsumerId) -> bool {
        self.all
            .get(id.slot as usize)
            .is_some_and(|consumer| consumer.stamp == id.stamp && consumer.in_hand > 0)
    }

    /// Frees the place of a consumer that left with an empty hand.
    pub(crate) fn forget(&mut self, id: ConsumerId) {
        let idle = |consumer: &Consumer| consumer.stamp == id.stamp && consumer.left && consumer.in_hand == 0;
        if self.all.get(id.slot as usize).is_some_and(idle) {
            self.all.remove(id.slot as usize);
        }
    }

    /// Takes a consumer out of turn. Its place stays until it is forgotten or, if it keeps what it has, until its
    /// hand is empty.
    pub(crate) fn leave(&mut self, id: ConsumerId, keep: bool) -> bool {
        let Some(consumer) = self.get_mut(id) else { return false };
        consumer.left = true;
        let (ringed, empty) = (consumer.ringed, keep && consumer.in_hand == 0);
        if ringed {
            self.ring.retain(|slot| *slot != id.slot);
        }
        if empty {
            self.all.remove(id.slot as usize);
        }
        self.attached -= 1;
        true
    }

    pub(crate) fn attached(&self) -> u32 {
        self.attached
    }

    /// Consumers that wait for a message, at most.
    pub(crate) fn waiting(&self) -> usize {
        self.ring.len()
    }
}
