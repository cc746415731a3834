//! The end of a hand-out: acknowledged, tried again, rejected, given back, dropped; or renewed.

use std::borrow::Cow;
use std::time::Duration;

use crate::dead::{Fallen, Reason};
use crate::dispatch::Token;
use crate::engine::Engine;
use crate::entry::Place;
use crate::error::{Error, Result};
use crate::lease::LeaseEnd;
use crate::queue::{Queue, is_leased};
use crate::record::{Discard, Journal, Record};
use crate::time::{NEVER, Now, ticks};

/// What a consumer decided about a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<P> {
    /// Done: the message is gone.
    Ack,
    /// Another attempt, not before `after` has passed.
    Retry {
        /// The delay; zero: at once.
        after: Duration,
        /// What went wrong, for the dead letters.
        error: Option<String>,
    },
    /// To the dead letters. Among the dead letters themselves: deleted, and counted.
    Reject {
        /// Why.
        reason: Reason,
        /// What went wrong.
        error: Option<String>,
        /// What the dead letters keep.
        keep: Keep<P>,
    },
    /// Given back unseen: ready again at once, the hand-out does not count.
    Release,
    /// Given back by a handler that ended without a word: ready again at once, the attempt counts.
    Dropped,
}

/// What the dead letters keep of a rejected message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep<P> {
    /// The message as it is.
    Whole,
    /// This instead of its payload, of so many bytes. It cannot be redriven.
    Substitute(P, u64),
    /// Nothing: the message is gone, and counted.
    Nothing,
}

impl<P, J: Journal<P>> Engine<P, J> {
    /// Settles a message as [`Outcome::Ack`].
    ///
    /// # Errors
    ///
    /// [`Error::Stale`] once the lease has ended: the message is, or will be, someone else's.
    #[inline]
    pub fn ack(&mut self, token: Token, now: Now) -> Result<()> {
        let (state, journal) = self.parts(token.queue)?;
        let seq = state.held(token, now)?;
        state.lift_leased(token.slot);
        state.counts.acked += 1;
        if journal.keeps() {
            journal.record(Record::Acked { queue: token.queue.number, seq });
        }
        Ok(())
    }

    /// Settles a message.
    ///
    /// # Errors
    ///
    /// [`Error::Stale`] once the lease has ended; [`Error::NoSuchQueue`] once the queue has been removed.
    pub fn settle(&mut self, token: Token, outcome: Outcome<P>, now: Now) -> Result<()> {
        let (state, journal) = self.parts(token.queue)?;
        state.held(token, now)?;
        match outcome {
            Outcome::Ack => return self.ack(token, now),
            Outcome::Release => state.give_back(token.slot, true, now, journal),
            Outcome::Dropped => state.give_back(token.slot, false, now, journal),
            Outcome::Retry { after, error } => state.retry(token.slot, after, error.as_deref(), now, journal),
            Outcome::Reject { reason, error, keep } => {
                state.reject(token.slot, reason, error.as_deref(), keep, journal);
            }
        }
        self.tidy(token.queue, now);
        Ok(())
    }

    /// Lets the lease last its full time from now again; answers how long that is (`None`: no end).
    ///
    /// # Errors
    ///
    /// [`Error::Stale`] once the lease has ended; [`Error::NoSuchQueue`].
    pub fn renew(&mut self, token: Token, now: Now) -> Result<Option<Duration>> {
        let (state, _) = self.parts(token.queue)?;
        state.held(token, now)?;
        let lease = state.term(token.slot);
        if let Some(lease) = lease {
            state.extend(token, now.tick().saturating_add(ticks(lease)));
        }
        Ok(lease)
    }
}

impl<P> Queue<P> {
    /// The number of the message this token still holds. A lease that has ended by `now` holds nothing, even if
    /// nobody noticed yet.
    #[inline]
    pub(crate) fn held(&self, token: Token, now: Now) -> Result<u64> {
        let entry = self.entries.get(token.slot).ok_or(Error::Stale)?;
        let held = entry.place == Place::Leased && entry.lease == token.lease;
        if held && (entry.until > now.tick() || entry.until == NEVER) {
            Ok(entry.seq)
        } else {
            Err(Error::Stale)
        }
    }

    fn reject<J: Journal<P>>(
        &mut self,
        slot: usize,
        reason: Reason,
        error: Option<&str>,
        keep: Keep<P>,
        journal: &mut J,
    ) {
        let Some(mut entry) = self.lift_leased(slot) else { return };
        self.counts.rejected += 1;
        let substitute = match keep {
            Keep::Nothing => return self.discard_rejected(entry.seq, journal),
            _ if self.origin.is_some() => return self.discard_rejected(entry.seq, journal),
            Keep::Whole => None,
            Keep::Substitute(payload, size) => Some((payload, size)),
        };
        entry.note_error(error);
        self.fallen.push(Fallen { entry, reason, substitute });
    }

    fn discard_rejected<J: Journal<P>>(&mut self, seq: u64, journal: &mut J) {
        self.counts.discarded += 1;
        journal.record(Record::Discarded { queue: self.id.number, seq, cause: Discard::Rejected });
    }

    fn term(&self, slot: usize) -> Option<Duration> {
        let consumer = self.entries.get(slot).map(|entry| entry.consumer)?;
        self.consumers.lease(consumer).or(self.options.lease)
    }

    fn extend(&mut self, token: Token, until: u64) {
        let Some(entry) = self.entries.get_mut(token.slot) else { return };
        if until <= entry.until {
            return;
        }
        entry.until = until;
        self.sooner |= self.leases.push(LeaseEnd { until, lease: token.lease, slot: token.slot });
        let entries = &self.entries;
        self.leases.forget(|end| is_leased(entries, end));
    }

    /// Puts a message in hand back, at once; `unseen` takes the attempt back too.
    pub(crate) fn give_back<J: Journal<P>>(&mut self, slot: usize, unseen: bool, now: Now, journal: &mut J) {
        self.unlease(slot);
        let Some(entry) = self.entries.get_mut(slot) else { return };
        let (queue, seq) = (self.id.number, entry.seq);
        if unseen {
            entry.attempts = entry.attempts.saturating_sub(1);
            self.counts.released += 1;
            journal.record(Record::Released { queue, seq });
        } else {
            self.counts.dropped += 1;
            journal.record(Record::Returned { queue, seq });
        }
        self.come_back(slot, now, journal);
    }

    fn retry<J: Journal<P>>(
        &mut self,
        slot: usize,
        after: Duration,
        error: Option<&str>,
        now: Now,
        journal: &mut J,
    ) {
        self.unlease(slot);
        let Some(entry) = self.entries.get_mut(slot) else { return };
        entry.note_error(error);
        self.counts.retried += 1;
        let due_unix_ms = if after.is_zero() { 0 } else { now.unix_after(after) };
        let (queue, seq) = (self.id.number, entry.seq);
        journal.record(Record::Retried { queue, seq, due_unix_ms, error: error.map(Cow::Borrowed) });
        if after.is_zero() {
            self.come_back(slot, now, journal);
        } else {
            self.delay(slot, now.tick().saturating_add(ticks(after)), due_unix_ms, now, journal);
        }
    }
}
