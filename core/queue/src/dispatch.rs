//! Handing messages to consumers, by pull or in turn.

use std::time::Duration;

use crate::consumer::{ConsumerId, Leaving};
use crate::dead::Death;
use crate::engine::Engine;
use crate::entry::MessageId;
use crate::error::{Error, Result};
use crate::queue::{Queue, QueueId};
use crate::record::Journal;
use crate::time::Now;

/// Proof of one hand-out: good for one settlement while its lease lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    pub(crate) queue: QueueId,
    pub(crate) slot: usize,
    pub(crate) lease: u64,
}

impl Token {
    /// The queue the message was handed out from.
    #[must_use]
    pub const fn queue(&self) -> QueueId {
        self.queue
    }
}

/// A message in a consumer's hand.
#[derive(Debug)]
pub struct Handed<'a, P> {
    /// What settles it.
    pub token: Token,
    /// The consumer it was given to.
    pub consumer: ConsumerId,
    /// What was sent.
    pub payload: &'a P,
    /// Its identity.
    pub id: &'a MessageId,
    /// Its send number: one higher after each redrive.
    pub send: u32,
    /// Hand-outs so far, this one included: 1 the first time.
    pub attempt: u32,
    /// When the queue accepted it, in Unix milliseconds.
    pub accepted_unix_ms: u64,
    /// How long the lease lasts from now; `None`: as long as the consumer is attached.
    pub lease: Option<Duration>,
    /// What it died of, where it is a dead letter.
    pub death: Option<&'a Death>,
}

impl<P, J: Journal<P>> Engine<P, J> {
    /// Attaches a consumer that may hold `credit` messages, each for `lease` if it asks for a term of its own.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchQueue`].
    pub fn attach(&mut self, queue: QueueId, credit: u32, lease: Option<Duration>) -> Result<ConsumerId> {
        let (state, _) = self.parts(queue)?;
        Ok(state.consumers.attach(queue, credit, lease))
    }

    /// Sets a consumer's credit. A raise counts at once; a cut takes effect as messages are settled.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchConsumer`], [`Error::NoSuchQueue`].
    pub fn set_credit(&mut self, consumer: ConsumerId, credit: u32) -> Result<()> {
        let (state, _) = self.parts(consumer.queue)?;
        if state.consumers.set_credit(consumer, credit) { Ok(()) } else { Err(Error::NoSuchConsumer) }
    }

    /// Detaches a consumer; `leaving` says what becomes of what it holds. Returns how many messages came back.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchConsumer`], [`Error::NoSuchQueue`].
    pub fn detach(&mut self, consumer: ConsumerId, leaving: Leaving, now: Now) -> Result<u64> {
        let (state, _) = self.parts(consumer.queue)?;
        if !state.consumers.leave(consumer, leaving == Leaving::Keep) {
            return Err(Error::NoSuchConsumer);
        }
        if state.consumers.attached() == 0
            && let Some(group) = &mut state.group
        {
            group.unused_since = now.tick();
            state.sooner = true;
        }
        self.recall(consumer, leaving, now)
    }

    /// Takes back what a consumer holds, also what it kept when it left. Returns how many messages came back.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchQueue`]. A consumer that holds nothing, or is gone, is no error.
    pub fn recall(&mut self, consumer: ConsumerId, leaving: Leaving, now: Now) -> Result<u64> {
        let (state, journal) = self.parts(consumer.queue)?;
        let held = state.held_by(consumer, leaving);
        for slot in &held {
            state.give_back(*slot, leaving == Leaving::Release, now, journal);
        }
        state.consumers.forget(consumer);
        self.tidy(consumer.queue, now);
        Ok(held.len() as u64)
    }

    /// Hands the next message to this consumer, if there is one and its credit allows.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchConsumer`], [`Error::NoSuchQueue`].
    #[inline]
    pub fn take(&mut self, consumer: ConsumerId, now: Now) -> Result<Option<Handed<'_, P>>> {
        let (state, journal) = self.parts(consumer.queue)?;
        if !state.consumers.may_take(consumer).ok_or(Error::NoSuchConsumer)? {
            return Ok(None);
        }
        state.advance(now, journal);
        let next = state.pop_ready(now, journal);
        if let Some(slot) = next {
            state.lease(slot, consumer.slot, now, journal);
        }
        self.tidy(consumer.queue, now);
        Ok(next.and_then(|slot| self.handed(consumer, slot)))
    }

    /// Hands up to `most` messages to this consumer, as its credit allows, and shows each to `see`, together with the
    /// journal that has its hand-out. Answers how many: what is due is looked at once for all of them.
    ///
    /// # Errors
    ///
    /// As [`Engine::take`].
    pub fn take_up_to(
        &mut self,
        consumer: ConsumerId,
        most: usize,
        now: Now,
        mut see: impl FnMut(Handed<'_, P>, &J),
    ) -> Result<usize> {
        let (state, journal) = self.parts(consumer.queue)?;
        let credit = state.consumers.room(consumer).ok_or(Error::NoSuchConsumer)?;
        let most = most.min(credit);
        if most == 0 {
            return Ok(0);
        }
        state.advance(now, journal);
        let mut taken = 0;
        while taken < most
            && let Some(slot) = state.pop_ready(now, journal)
        {
            state.lease(slot, consumer.slot, now, journal);
            taken += 1;
            if let Some(handed) = state.handed(consumer, slot) {
                see(handed, journal);
            }
        }
        self.tidy(consumer.queue, now);
        Ok(taken)
    }

    /// Hands the next message of a queue to the consumer whose turn it is: round robin among those with credit.
    /// `None`: nothing is ready, or nobody has credit.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchQueue`].
    pub fn dispatch(&mut self, queue: QueueId, now: Now) -> Result<Option<Handed<'_, P>>> {
        let (state, journal) = self.parts(queue)?;
        state.advance(now, journal);
        let Some(turn) = state.consumers.turn() else {
            self.tidy(queue, now);
            return Ok(None);
        };
        let next = state.pop_ready(now, journal);
        if let Some(slot) = next {
            state.lease(slot, turn, now, journal);
            state.consumers.enlist(turn);
        } else {
            state.consumers.keep_turn(turn);
        }
        let consumer = state.consumers.id(queue, turn);
        self.tidy(queue, now);
        Ok(next.zip(consumer).and_then(|(slot, consumer)| self.handed(consumer, slot)))
    }

    fn handed(&self, consumer: ConsumerId, slot: usize) -> Option<Handed<'_, P>> {
        self.queues.get(consumer.queue.slot)?.handed(consumer, slot)
    }

    /// Whether this consumer is attached, and how many messages it holds.
    #[must_use]
    pub fn in_hand(&self, consumer: ConsumerId) -> Option<u32> {
        Some(self.queue(consumer.queue).ok()?.consumers.get(consumer)?.in_hand)
    }

    /// The message this token holds.
    ///
    /// # Errors
    ///
    /// [`Error::Stale`] once the lease has ended; [`Error::NoSuchQueue`].
    pub fn peek(&self, token: Token, now: Now) -> Result<&P> {
        let state = self.queue(token.queue)?;
        state.held(token, now)?;
        state.entries.get(token.slot).map(|entry| &entry.envelope.payload).ok_or(Error::Stale)
    }

    /// Whether this consumer could be given a message, if there was one; `None`: it is not attached.
    #[must_use]
    pub fn has_credit(&self, consumer: ConsumerId) -> Option<bool> {
        self.queue(consumer.queue).ok()?.consumers.may_take(consumer)
    }

    /// How many messages of a queue are ready; `None`: no such queue.
    #[must_use]
    pub fn ready(&self, queue: QueueId) -> Option<u64> {
        self.queue(queue).ok().map(Queue::ready_count)
    }

    /// How many consumers are attached to a queue; `None`: no such queue.
    #[must_use]
    pub fn consumers(&self, queue: QueueId) -> Option<u32> {
        self.queue(queue).ok().map(|state| state.consumers.attached())
    }

    /// Whether a consumer holds a message, also one that left and kept what it had.
    #[must_use]
    pub fn holds(&self, consumer: ConsumerId) -> bool {
        self.queue(consumer.queue).is_ok_and(|state| state.consumers.holds(consumer))
    }

    /// A fair share of what is ready for one of the consumers that wait for it: at least 1.
    #[must_use]
    pub fn fair_share(&self, queue: QueueId) -> usize {
        let Ok(state) = self.queue(queue) else { return 1 };
        let ready = usize::try_from(state.ready_count()).unwrap_or(usize::MAX);
        ready.div_ceil(state.consumers.waiting().max(1)).max(1)
    }
}

impl<P> Queue<P> {
    #[inline]
    fn handed(&self, consumer: ConsumerId, slot: usize) -> Option<Handed<'_, P>> {
        let entry = self.entries.get(slot)?;
        Some(Handed {
            token: Token { queue: consumer.queue, slot, lease: entry.lease },
            consumer,
            payload: &entry.envelope.payload,
            id: &entry.envelope.key.id,
            send: entry.envelope.key.send,
            attempt: entry.attempts,
            accepted_unix_ms: entry.accepted_unix_ms,
            lease: self.consumers.lease(consumer.slot).or(self.options.lease),
            death: entry.death(),
        })
    }

    /// Slots of the messages a consumer holds, unless it may keep them.
    fn held_by(&self, consumer: ConsumerId, leaving: Leaving) -> Vec<usize> {
        if leaving == Leaving::Keep || !self.consumers.holds(consumer) {
            return Vec::new();
        }
        let live = self.leases.iter().filter(|end| crate::queue::is_leased(&self.entries, end));
        live.filter(|end| self.entries[end.slot].consumer == consumer.slot).map(|end| end.slot).collect()
    }

    pub(crate) fn ready_count(&self) -> u64 {
        self.waiting.messages - self.delayed
    }
}
