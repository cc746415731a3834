//! One queue: its messages, the order they wait in, and how they move.
//!
//! A message lies in one slot from acceptance to its end; the side structures hold marks that go stale rather
//! than being searched. The functions here move one message each and keep the loads exact; which moves a call
//! makes is decided in `settle.rs`, `dispatch.rs` and `engine.rs`.

use std::sync::Arc;

use slab::Slab;

use crate::consumer::Consumers;
use crate::dead::{Fallen, Reason};
use crate::dedup::Dedup;
use crate::entry::{Entry, Key, Place};
use crate::error::{Error, Result};
use crate::inspect::{Counts, Load};
use crate::lease::{LeaseEnd, Leases};
use crate::options::{OnExpiry, QueueOptions, WhenFull};
use crate::ready::{Mark, Ready};
use crate::record::{Discard, Journal, Record};
use crate::time::{NEVER, Now, ticks};
use crate::timer::Timers;
use crate::topic::Group;

/// A queue, as long as it exists; a queue declared later under the same name is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId {
    pub(crate) slot: usize,
    pub(crate) number: u64,
}

#[derive(Debug)]
pub(crate) struct Queue<P> {
    pub(crate) id: QueueId,
    pub(crate) name: Arc<str>,
    /// Its dead letters; `None` for a queue of dead letters.
    pub(crate) dead: Option<QueueId>,
    /// Whose dead letters these are.
    pub(crate) origin: Option<QueueId>,
    pub(crate) group: Option<Group>,
    pub(crate) options: QueueOptions,
    pub(crate) entries: Slab<Entry<P>>,
    pub(crate) ready: Ready,
    pub(crate) leases: Leases,
    pub(crate) delays: Timers,
    pub(crate) expiries: Timers,
    pub(crate) dedup: Option<Dedup>,
    pub(crate) consumers: Consumers,
    pub(crate) next_seq: u64,
    pub(crate) next_lease: u64,
    /// Ready or delayed.
    pub(crate) waiting: Load,
    /// The part of `waiting` that was never handed out.
    pub(crate) fresh: Load,
    pub(crate) leased: Load,
    pub(crate) delayed: u64,
    pub(crate) counts: Counts,
    pub(crate) gap: u64,
    /// Messages that left and must be put among the dead letters before the call ends.
    pub(crate) fallen: Vec<Fallen<P>>,
    /// Tick for which the engine's alarm is set.
    pub(crate) armed: u64,
    /// Something may be due sooner than before.
    pub(crate) sooner: bool,
    /// Something became ready, or room was made, since the owner last asked.
    pub(crate) stirred: bool,
    pub(crate) listed: bool,
}

impl<P> Queue<P> {
    pub(crate) fn new(id: QueueId, name: Arc<str>, options: QueueOptions) -> Self {
        Self {
            id,
            name,
            dead: None,
            origin: None,
            group: None,
            options,
            entries: Slab::new(),
            ready: Ready::new(options.priorities),
            leases: Leases::default(),
            delays: Timers::default(),
            expiries: Timers::default(),
            dedup: options.dedup.as_ref().map(Dedup::new),
            consumers: Consumers::default(),
            next_seq: 1,
            next_lease: 1,
            waiting: Load::default(),
            fresh: Load::default(),
            leased: Load::default(),
            delayed: 0,
            counts: Counts::default(),
            gap: 0,
            fallen: Vec::new(),
            armed: NEVER,
            sooner: false,
            stirred: false,
            listed: false,
        }
    }

    /// Whether a message with this key was accepted within the window; counted.
    #[inline]
    pub(crate) fn is_duplicate(&mut self, key: &Key, now: Now) -> bool {
        let Some(dedup) = &mut self.dedup else { return false };
        let seen = dedup.seen(key, now.tick());
        self.counts.duplicates += u64::from(seen);
        seen
    }

    /// Whether a message of `size` bytes could be accepted now, making room if the queue does that.
    #[inline]
    pub(crate) fn room(&self, size: u64) -> Result<()> {
        let bound = self.options.bound;
        if size > bound.bytes {
            return Err(Error::TooLarge { size, limit: bound.bytes });
        }
        let fixed = match self.options.when_full {
            WhenFull::Refuse => self.waiting,
            WhenFull::DropOldest => self.evictable().rest_of(self.waiting),
        };
        if fixed.messages < bound.messages && fixed.bytes.saturating_add(size) <= bound.bytes {
            Ok(())
        } else {
            Err(Error::Full { messages: self.waiting.messages, bytes: self.waiting.bytes })
        }
    }

    /// What may be dropped at the bound. Retries and returns are never lost to it, except among dead letters.
    fn evictable(&self) -> Load {
        if self.origin.is_some() { self.waiting } else { self.fresh }
    }

    /// Drops the oldest until a message of `size` bytes fits. Call after [`Self::room`] said it can.
    #[inline]
    pub(crate) fn make_room<J: Journal<P>>(&mut self, size: u64, journal: &mut J) {
        let bound = self.options.bound;
        while self.waiting.messages >= bound.messages || self.waiting.bytes.saturating_add(size) > bound.bytes
        {
            let Some(slot) = self.pop_oldest() else { return };
            self.counts.dropped_at_bound += 1;
            self.gap_grew(1, journal);
            self.discard(slot, Discard::Bound, journal);
        }
    }

    fn pop_oldest(&mut self) -> Option<usize> {
        let entries = &self.entries;
        let live = |mark| is_ready(entries, mark);
        if self.origin.is_none() {
            return self.ready.pop_fresh(live).map(|mark| mark.slot);
        }
        if let Some(mark) = self.ready.pop(live) {
            return Some(mark.slot);
        }
        // Only dead letters with a delay are left: one of them goes.
        self.delays.marks().find(|mark| is_delayed(entries, *mark)).map(|mark| mark.slot)
    }

    pub(crate) fn gap_grew<J: Journal<P>>(&mut self, missed: u64, journal: &mut J) {
        if self.group.is_some() {
            self.gap += missed;
            journal.record(Record::GapGrew { queue: self.id.number, missed });
        }
    }

    /// Puts a message in, to be ready at tick `until`; 0: at once.
    #[inline]
    pub(crate) fn insert_at(&mut self, mut entry: Entry<P>, until: u64) {
        if until == 0 {
            self.insert(entry);
            return;
        }
        entry.fresh = false;
        let slot = self.enter(entry).slot;
        self.set_aside(slot, until);
    }

    /// Puts a message in, ready.
    #[inline]
    pub(crate) fn insert(&mut self, entry: Entry<P>) {
        let priority = entry.envelope.priority;
        self.fresh.add(entry.envelope.size);
        let mark = self.enter(entry);
        self.ready.push_fresh(priority, mark);
        self.stirred = true;
    }

    #[inline]
    fn enter(&mut self, entry: Entry<P>) -> Mark {
        let expires = entry.envelope.expires_unix_ms.filter(|_| self.options.on_expiry.is_some());
        let seq = entry.seq;
        self.next_seq = self.next_seq.max(seq + 1);
        self.waiting.add(entry.envelope.size);
        let mark = Mark { seq, slot: self.entries.insert(entry) };
        if let Some(at) = expires {
            self.sooner = true;
            self.expiries.push(at, mark);
        }
        mark
    }

    /// The next message to hand out. Those that are spent or expired fall out on the way.
    #[inline]
    pub(crate) fn pop_ready<J: Journal<P>>(&mut self, now: Now, journal: &mut J) -> Option<usize> {
        let most = self.options.max_attempts.map_or(u32::MAX, std::num::NonZeroU32::get);
        loop {
            let entries = &self.entries;
            let slot = self.ready.pop(|mark| is_ready(entries, mark))?.slot;
            let entry = self.entries.get(slot)?;
            if self.options.on_expiry.is_some() && entry.expired(now.unix_ms) {
                self.expire(slot, journal);
            } else if entry.attempts >= most {
                self.fall(slot, Reason::Spent);
            } else {
                return Some(slot);
            }
        }
    }

    /// Puts a popped message in a consumer's hand: the attempt counts from here.
    #[inline]
    pub(crate) fn lease<J: Journal<P>>(&mut self, slot: usize, consumer: u32, now: Now, journal: &mut J) {
        let term = self.consumers.lease(consumer).or(self.options.lease);
        let until = term.map_or(NEVER, |term| now.tick().saturating_add(ticks(term)));
        let lease = self.next_lease;
        let Some(entry) = self.entries.get_mut(slot) else { return };
        self.next_lease += 1;
        let size = entry.envelope.size;
        if std::mem::take(&mut entry.fresh) {
            self.fresh.sub(size);
        }
        entry.first_unix_ms.get_or_insert(now.unix_ms);
        entry.attempts += 1;
        entry.place = Place::Leased;
        (entry.consumer, entry.lease, entry.until) = (consumer, lease, until);
        self.waiting.sub(size);
        self.leased.add(size);
        self.sooner |= self.leases.push(LeaseEnd { until, lease, slot });
        self.consumers.took(consumer);
        self.counts.handed_out += 1;
        let (queue, seq) = (self.id.number, entry.seq);
        if journal.keeps() {
            journal.record(Record::HandedOut { queue, seq, at_unix_ms: now.unix_ms });
        }
    }

    /// Takes a message out of its consumer's hand; it is nowhere until the caller puts it somewhere.
    pub(crate) fn unlease(&mut self, slot: usize) {
        let Some(entry) = self.entries.get_mut(slot) else { return };
        entry.place = Place::Ready;
        self.leased.sub(entry.envelope.size);
        self.consumers.gave_back(entry.consumer);
        let entries = &self.entries;
        self.leases.forget(|end| is_leased(entries, end));
    }

    /// Puts a message that was in hand back among the ready ones.
    pub(crate) fn come_back<J: Journal<P>>(&mut self, slot: usize, now: Now, journal: &mut J) {
        let Some(entry) = self.entries.get_mut(slot) else { return };
        entry.place = Place::Ready;
        self.waiting.add(entry.envelope.size);
        if self.options.on_expiry.is_some() && entry.expired(now.unix_ms) {
            self.expire(slot, journal);
            return;
        }
        self.ready.push_returned(entry.envelope.priority, Mark { seq: entry.seq, slot });
        self.stirred = true;
    }

    /// Puts a message that was in hand aside until `until`.
    pub(crate) fn delay<J: Journal<P>>(
        &mut self,
        slot: usize,
        until: u64,
        due_unix_ms: u64,
        now: Now,
        journal: &mut J,
    ) {
        let Some(entry) = self.entries.get_mut(slot) else { return };
        entry.due_unix_ms = due_unix_ms;
        self.waiting.add(entry.envelope.size);
        if self.options.on_expiry.is_some() && entry.expired(now.unix_ms) {
            self.expire(slot, journal);
        } else {
            self.set_aside(slot, until);
        }
    }

    fn set_aside(&mut self, slot: usize, until: u64) {
        let Some(entry) = self.entries.get_mut(slot) else { return };
        (entry.place, entry.until) = (Place::Delayed, until);
        self.delayed += 1;
        self.sooner = true;
        self.delays.push(until, Mark { seq: entry.seq, slot });
    }

    /// Takes a ready message out of the middle.
    pub(crate) fn pull_out(&mut self, mark: Mark) -> Option<Entry<P>> {
        let entry = self.lift(mark.slot)?;
        let entries = &self.entries;
        self.ready.forget(entry.envelope.priority, |mark| is_ready(entries, mark));
        Some(entry)
    }

    /// Takes a waiting message out that no ready list holds any more.
    pub(crate) fn lift(&mut self, slot: usize) -> Option<Entry<P>> {
        let entry = self.entries.try_remove(slot)?;
        let size = entry.envelope.size;
        self.waiting.sub(size);
        if entry.fresh {
            self.fresh.sub(size);
        }
        if entry.place == Place::Delayed {
            self.delayed -= 1;
            let entries = &self.entries;
            self.delays.forget(|mark| is_delayed(entries, mark));
        }
        self.forget_expiry(&entry);
        self.stirred = true;
        Some(entry)
    }

    /// Takes a message out that was in hand.
    #[inline]
    pub(crate) fn lift_leased(&mut self, slot: usize) -> Option<Entry<P>> {
        let entry = self.entries.try_remove(slot)?;
        self.leased.sub(entry.envelope.size);
        self.consumers.gave_back(entry.consumer);
        let entries = &self.entries;
        self.leases.forget(|end| is_leased(entries, end));
        self.forget_expiry(&entry);
        Some(entry)
    }

    #[inline]
    fn forget_expiry(&mut self, entry: &Entry<P>) {
        if entry.envelope.expires_unix_ms.is_some() && self.options.on_expiry.is_some() {
            let entries = &self.entries;
            self.expiries.forget(|mark| entries.get(mark.slot).is_some_and(|entry| entry.seq == mark.seq));
        }
    }

    pub(crate) fn discard<J: Journal<P>>(&mut self, slot: usize, cause: Discard, journal: &mut J) {
        if let Some(entry) = self.lift(slot) {
            journal.record(Record::Discarded { queue: self.id.number, seq: entry.seq, cause });
        }
    }

    fn fall(&mut self, slot: usize, reason: Reason) {
        if let Some(entry) = self.lift(slot) {
            self.fallen.push(Fallen { entry, reason, substitute: None });
        }
    }

    /// Ends a waiting message whose expiry has passed.
    fn expire<J: Journal<P>>(&mut self, slot: usize, journal: &mut J) {
        self.counts.expired += 1;
        match self.options.on_expiry {
            Some(OnExpiry::DeadLetter) => self.fall(slot, Reason::Expired),
            _ => self.discard(slot, Discard::Expired, journal),
        }
    }

    /// Does what time has made due: leases end, delays are over, messages expire.
    #[inline]
    pub(crate) fn advance<J: Journal<P>>(&mut self, now: Now, journal: &mut J) {
        let tick = now.tick();
        if self.leases.next().is_some_and(|at| at <= tick) {
            self.end_leases(now, journal);
        }
        while let Some(mark) = self.delays.pop_due(tick) {
            self.end_delay(mark);
        }
        while let Some(mark) = self.expiries.pop_due(now.unix_ms) {
            self.end_life(mark, journal);
        }
    }

    fn end_leases<J: Journal<P>>(&mut self, now: Now, journal: &mut J) {
        while let Some(end) = self.leases.pop_due(now.tick()) {
            let Some(entry) = self.entries.get(end.slot).filter(|_| is_leased(&self.entries, &end)) else {
                continue;
            };
            let seq = entry.seq;
            self.counts.leases_ended += 1;
            self.unlease(end.slot);
            journal.record(Record::Returned { queue: self.id.number, seq });
            self.come_back(end.slot, now, journal);
        }
    }

    fn end_delay(&mut self, mark: Mark) {
        if !is_delayed(&self.entries, mark) {
            return;
        }
        let Some(entry) = self.entries.get_mut(mark.slot) else { return };
        entry.place = Place::Ready;
        self.delayed -= 1;
        self.ready.push_returned(entry.envelope.priority, mark);
        self.stirred = true;
    }

    /// A message in hand keeps its life: expiry is looked at again when it comes back.
    fn end_life<J: Journal<P>>(&mut self, mark: Mark, journal: &mut J) {
        let Some(entry) = self.entries.get(mark.slot).filter(|entry| entry.seq == mark.seq) else { return };
        let (place, priority) = (entry.place, entry.envelope.priority);
        if place == Place::Leased {
            return;
        }
        self.expire(mark.slot, journal);
        if place == Place::Ready {
            let entries = &self.entries;
            self.ready.forget(priority, |mark| is_ready(entries, mark));
        }
    }

    /// The tick at which something here becomes due; it may be early, never late.
    pub(crate) fn next_at(&self, now: Now) -> u64 {
        let expiry = self.expiries.next().map(|unix_ms| now.tick_at_unix(unix_ms));
        let unused = self.group.as_ref().filter(|_| self.consumers.attached() == 0).and_then(Group::ends_at);
        [self.leases.next(), self.delays.next(), expiry, unused].into_iter().flatten().min().unwrap_or(NEVER)
    }
}

pub(crate) fn is_ready<P>(entries: &Slab<Entry<P>>, mark: Mark) -> bool {
    entries.get(mark.slot).is_some_and(|entry| entry.seq == mark.seq && entry.place == Place::Ready)
}

pub(crate) fn is_delayed<P>(entries: &Slab<Entry<P>>, mark: Mark) -> bool {
    entries.get(mark.slot).is_some_and(|entry| entry.seq == mark.seq && entry.place == Place::Delayed)
}

pub(crate) fn is_leased<P>(entries: &Slab<Entry<P>>, end: &LeaseEnd) -> bool {
    entries.get(end.slot).is_some_and(|entry| {
        entry.place == Place::Leased && entry.lease == end.lease && entry.until == end.until
    })
}
