//! Looking at a queue from outside, and the operator's hand: browse, purge, redrive.

use crate::dead::Death;
use crate::engine::Engine;
use crate::entry::{Entry, MessageId, Place};
use crate::error::{Error, Result};
use crate::options::QueueOptions;
use crate::queue::{Queue, QueueId, is_delayed, is_ready};
use crate::ready::Mark;
use crate::record::{Journal, Record};
use crate::time::Now;

/// Messages and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Messages.
    pub messages: u64,
    /// Bytes, by the sizes given when they were sent.
    pub bytes: u64,
}

impl Load {
    pub(crate) fn add(&mut self, size: u64) {
        self.messages += 1;
        self.bytes += size;
    }

    pub(crate) fn sub(&mut self, size: u64) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(size);
    }

    /// What is left of `whole` without this part.
    pub(crate) fn rest_of(self, whole: Self) -> Self {
        Self {
            messages: whole.messages.saturating_sub(self.messages),
            bytes: whole.bytes.saturating_sub(self.bytes),
        }
    }
}

/// What happened in a queue since the engine started (not since its creation: a replay starts at 0).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages accepted.
    pub sent: u64,
    /// Sends that were known already.
    pub duplicates: u64,
    /// Sends refused at the bound.
    pub refused: u64,
    /// Hand-outs.
    pub handed_out: u64,
    /// Messages acknowledged.
    pub acked: u64,
    /// Retries asked for.
    pub retried: u64,
    /// Messages rejected.
    pub rejected: u64,
    /// Hand-outs given back unseen.
    pub released: u64,
    /// Hand-outs dropped unsettled.
    pub dropped: u64,
    /// Leases that ended unsettled.
    pub leases_ended: u64,
    /// Messages whose expiry passed.
    pub expired: u64,
    /// Messages that fell out at the bound.
    pub dropped_at_bound: u64,
    /// Messages that went to the dead letters.
    pub dead_lettered: u64,
    /// Messages that came back from the dead letters.
    pub redriven: u64,
    /// Messages purged.
    pub purged: u64,
    /// Rejected messages of which nothing was to be kept, and dead letters rejected by a consumer.
    pub discarded: u64,
}

/// The state of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Messages ready to be handed out.
    pub ready: u64,
    /// Messages waiting for a delay.
    pub delayed: u64,
    /// Everything the bound counts: ready and delayed.
    pub waiting: Load,
    /// Messages in consumers' hands.
    pub leased: Load,
    /// Dead letters that wait, and their bytes.
    pub dead: Load,
    /// When the oldest ready message was accepted, in Unix milliseconds.
    pub oldest_unix_ms: Option<u64>,
    /// Consumers attached.
    pub consumers: u32,
    /// De-duplication keys remembered.
    pub keys: usize,
    /// Messages missed that its consumers have not been told of (groups only).
    pub gap: u64,
    /// What happened so far.
    pub counts: Counts,
    /// The options in force.
    pub options: QueueOptions,
}

/// One message as an operator sees it.
#[derive(Debug)]
pub struct Seen<'a, P> {
    /// Its number in the queue: where the next page may start.
    pub seq: u64,
    /// What was sent.
    pub payload: &'a P,
    /// Its identity.
    pub id: &'a MessageId,
    /// Bytes it counts for.
    pub size: u64,
    /// Its priority.
    pub priority: u8,
    /// Hand-outs so far.
    pub attempts: u32,
    /// Ready or delayed.
    pub place: Place,
    /// When the queue accepted it, in Unix milliseconds.
    pub accepted_unix_ms: u64,
    /// When its delay is over, in Unix milliseconds.
    pub due_unix_ms: Option<u64>,
    /// What it died of, where it is a dead letter.
    pub death: Option<&'a Death>,
}

/// Which dead letters a redrive moves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Select<'a> {
    /// Only these; empty: all.
    pub ids: &'a [MessageId],
    /// At most so many; `None`: no limit.
    pub limit: Option<u64>,
}

/// Sums over all queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages that fell out at the bound of a queue or group.
    pub dropped_at_bound: u64,
    /// Dead letters that fell out at their bound.
    pub dead_dropped: u64,
    /// Messages whose expiry passed.
    pub expired: u64,
}

impl Totals {
    pub(crate) fn add<P>(&mut self, state: &Queue<P>) {
        let dropped = state.counts.dropped_at_bound;
        if state.origin.is_some() {
            self.dead_dropped += dropped;
        } else {
            self.dropped_at_bound += dropped;
        }
        self.expired += state.counts.expired;
    }
}

/// What a redrive did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redriven {
    /// Dead letters moved back.
    pub moved: u64,
    /// Dead letters meant but not whole, so they stay.
    pub refused: u64,
    /// Dead letters that are left, those in consumers' hands included.
    pub left: u64,
    /// Whether it stopped because the queue is at its bound. Call again later: what was moved is moved.
    pub full: bool,
}

impl<P, J: Journal<P>> Engine<P, J> {
    /// The figures of a queue.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchQueue`].
    pub fn figures(&self, queue: QueueId) -> Result<Figures> {
        let state = self.queue(queue)?;
        let dead = state.dead.and_then(|dead| self.queue(dead).ok()).map(|dead| dead.waiting);
        let oldest = state.ready.oldest(|mark| is_ready(&state.entries, mark));
        Ok(Figures {
            ready: state.ready_count(),
            delayed: state.delayed,
            waiting: state.waiting,
            leased: state.leased,
            dead: dead.unwrap_or_default(),
            oldest_unix_ms: oldest.map(|mark| state.entries[mark.slot].accepted_unix_ms),
            consumers: state.consumers.attached(),
            keys: state.dedup.as_ref().map_or(0, crate::dedup::Dedup::len),
            gap: state.gap,
            counts: state.counts,
            options: state.options,
        })
    }

    /// Up to `limit` waiting messages after number `after` (0: from the start), in the order of sending.
    /// The number of the last one starts the next page. Nothing is changed, no attempt is counted.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchQueue`].
    pub fn browse(&self, queue: QueueId, after: u64, limit: usize) -> Result<Vec<Seen<'_, P>>> {
        let state = self.queue(queue)?;
        let mut marks = state.ready.after(after, limit);
        marks.retain(|mark| is_ready(&state.entries, *mark));
        let delayed = state.delays.marks().filter(|mark| mark.seq > after);
        marks.extend(delayed.filter(|mark| is_delayed(&state.entries, *mark)));
        marks.sort_unstable();
        marks.truncate(limit);
        Ok(marks.into_iter().filter_map(|mark| state.entries.get(mark.slot)).map(Entry::seen).collect())
    }

    /// Deletes everything that waits in a queue; what is in consumers' hands stays. Answers how many went.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchQueue`].
    pub fn purge(&mut self, queue: QueueId, now: Now) -> Result<u64> {
        let (state, journal) = self.parts(queue)?;
        journal.record(Record::Purged { queue: queue.number });
        let purged = state.purge();
        self.tidy(queue, now);
        Ok(purged)
    }

    /// Moves dead letters back to the queue they died in, the oldest first: same identity, attempts and errors
    /// forgotten, send number one higher. An expiry that has passed is forgotten as well, since the move would be
    /// in vain otherwise. Each move is whole: an interrupted redrive is continued by another call.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchQueue`]; [`Error::DeadLetters`] when asked of the dead letters themselves.
    pub fn redrive(&mut self, queue: QueueId, select: &Select<'_>, now: Now) -> Result<Redriven> {
        let dead = self.queue(queue)?.dead.ok_or(Error::DeadLetters)?;
        let letters = self.queue(dead)?;
        let mut marks = letters.ready.after(0, usize::MAX);
        marks.retain(|mark| is_ready(&letters.entries, *mark));
        marks.sort_unstable();
        let mut redriven = Redriven::default();
        for mark in marks {
            if select.limit.is_some_and(|limit| redriven.moved >= limit) {
                break;
            }
            if !self.redrive_one(queue, dead, mark, select, now, &mut redriven)? {
                break;
            }
        }
        self.tidy(dead, now);
        self.tidy(queue, now);
        let letters = self.queue(dead)?;
        redriven.left = letters.waiting.messages + letters.leased.messages;
        Ok(redriven)
    }

    /// Moves one dead letter, if it is meant; false: stop, the queue is full.
    fn redrive_one(
        &mut self,
        queue: QueueId,
        dead: QueueId,
        mark: Mark,
        select: &Select<'_>,
        now: Now,
        redriven: &mut Redriven,
    ) -> Result<bool> {
        let Some(letter) = self.queue(dead)?.entries.get(mark.slot) else { return Ok(true) };
        if !select.ids.is_empty() && !select.ids.contains(&letter.envelope.key.id) {
            return Ok(true);
        }
        if !letter.death().is_none_or(|death| death.whole) {
            redriven.refused += 1;
            return Ok(true);
        }
        if !self.queue(queue)?.fits(letter.envelope.size) {
            redriven.full = true;
            return Ok(false);
        }
        let Some(letter) = self.parts(dead)?.0.pull_out(mark) else { return Ok(true) };
        let (state, journal) = self.parts(queue)?;
        let (seq, at_unix_ms, dead_seq) = (state.next_seq, now.unix_ms, letter.seq);
        journal.record(Record::Redriven { queue: queue.number, dead_seq, seq, at_unix_ms });
        let revived = letter.revived(seq, at_unix_ms);
        if journal.tells_whole() {
            journal.record(Record::Kept { queue: queue.number, kept: revived.kept() });
        }
        state.insert(revived);
        state.counts.redriven += 1;
        redriven.moved += 1;
        Ok(true)
    }

    /// What happened in all queues together, those that are gone included.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = self.past;
        for (_, state) in &self.queues {
            totals.add(state);
        }
        totals
    }
}

impl<P> Queue<P> {
    fn purge(&mut self) -> u64 {
        let purged = self.waiting.messages;
        self.entries.retain(|_, entry| entry.place == Place::Leased);
        self.ready.clear();
        self.delays.clear();
        let entries = &self.entries;
        self.expiries.retain(|mark| entries.get(mark.slot).is_some_and(|entry| entry.seq == mark.seq));
        (self.waiting, self.fresh, self.delayed) = (Load::default(), Load::default(), 0);
        self.counts.purged += purged;
        self.stirred = true;
        purged
    }

    /// Whether a message fits without pushing out another one.
    fn fits(&self, size: u64) -> bool {
        let (bound, waiting) = (self.options.bound, self.waiting);
        waiting.messages < bound.messages && waiting.bytes.saturating_add(size) <= bound.bytes
    }
}

impl<P> Entry<P> {
    /// A dead letter as a new message of the queue it died in.
    pub(crate) fn revived(self, seq: u64, unix_ms: u64) -> Self {
        let mut envelope = self.envelope;
        envelope.key.send = envelope.key.send.saturating_add(1);
        envelope.expires_unix_ms = envelope.expires_unix_ms.filter(|at| *at > unix_ms);
        Self::new(envelope, seq, unix_ms)
    }

    fn seen(&self) -> Seen<'_, P> {
        Seen {
            seq: self.seq,
            payload: &self.envelope.payload,
            id: &self.envelope.key.id,
            size: self.envelope.size,
            priority: self.envelope.priority,
            attempts: self.attempts,
            place: self.place,
            accepted_unix_ms: self.accepted_unix_ms,
            due_unix_ms: (self.place == Place::Delayed).then_some(self.due_unix_ms),
            death: self.death(),
        }
    }
}
