//! Building an engine from the records of another.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::dead::Fallen;
use crate::engine::Engine;
use crate::entry::{Entry, Envelope, History, Key, Place};
use crate::error::{Error, Result};
use crate::queue::{Queue, QueueId};
use crate::ready::Mark;
use crate::record::{Journal, Kept, Record, Sent};
use crate::time::Now;

/// An engine under construction: the records say where each message went, this knows where it lies.
struct Replay<P> {
    engine: Engine<P>,
    queues: HashMap<u64, QueueId>,
    messages: HashMap<(u64, u64), usize>,
    /// The first record was the beginning of a snapshot that is not done: what is not known yet may still be told.
    partial: bool,
    now: Now,
}

impl<P, J: Journal<P>> Engine<P, J> {
    /// Builds the engine that wrote these records, as it is durable: messages in consumers' hands are ready again
    /// with their attempt counted, delays end when they would have ended by the wall clock, consumers are gone,
    /// counts start at 0. From then on changes go to `journal`, which gets no record of the replay itself.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] with the position of the first record that does not fit the state before it.
    pub fn replay(
        records: impl IntoIterator<Item = Record<'static, P>>,
        journal: J,
        now: Now,
    ) -> Result<Self> {
        let mut replay = Replay {
            engine: Engine::new(),
            queues: HashMap::new(),
            messages: HashMap::new(),
            partial: false,
            now,
        };
        for (record, position) in records.into_iter().zip(0_u64..) {
            replay.partial |= position == 0 && matches!(record, Record::SnapshotBegun { .. });
            let known = replay.apply(record).is_some() || replay.partial;
            known.then_some(()).ok_or(Error::Corrupt { record: position })?;
        }
        Ok(replay.finish().with(journal))
    }
}

impl<P, J> Engine<P, J> {
    /// The same engine with another journal, which gets every change from here on.
    #[must_use]
    pub fn with<K: Journal<P>>(self, journal: K) -> Engine<P, K> {
        let Self { queues, names, topics, numbers, alarms, stirred, past, journal: _ } = self;
        Engine { queues, names, topics, numbers, alarms, stirred, past, journal }
    }
}

impl<P> Replay<P> {
    /// `None`: the record names something that is not there.
    fn apply(&mut self, record: Record<'static, P>) -> Option<()> {
        match record {
            Record::QueueCreated { .. }
            | Record::QueueRemoved { .. }
            | Record::TopicCreated { .. }
            | Record::TopicRemoved { .. } => self.apply_topology(record),
            Record::Sent { queue, sent } => self.sent(queue, sent),
            Record::HandedOut { queue, seq, at_unix_ms } => self.handed_out(queue, seq, at_unix_ms),
            Record::Acked { queue, seq } | Record::Discarded { queue, seq, .. } => {
                self.lift(queue, seq).map(drop)
            }
            Record::Retried { queue, seq, due_unix_ms, error } => {
                self.entry(queue, seq)?.note_error(error.as_deref());
                self.waits(queue, seq, due_unix_ms)
            }
            Record::Returned { queue, seq } => self.waits(queue, seq, 0),
            Record::Released { queue, seq } => {
                let entry = self.entry(queue, seq)?;
                entry.attempts = entry.attempts.saturating_sub(1);
                self.waits(queue, seq, 0)
            }
            Record::DeadLettered { queue, seq, dead_seq, at_unix_ms, reason, error, substitute } => {
                let mut entry = self.lift(queue, seq)?;
                // A reject brings its error with it; for the others it is the last one, noted already.
                let last = entry.history.as_ref().and_then(|history| history.last_error.as_deref());
                if last != error.as_deref() {
                    entry.note_error(error.as_deref());
                }
                self.bury(queue, Fallen { entry, reason, substitute }, dead_seq, at_unix_ms)
            }
            Record::Redriven { queue, dead_seq, seq, at_unix_ms } => {
                self.redriven(queue, dead_seq, seq, at_unix_ms)
            }
            Record::Purged { queue } => self.purged(queue),
            Record::GapGrew { queue, missed } => {
                let state = self.state(queue)?;
                state.gap = state.gap.saturating_add(missed);
                Some(())
            }
            Record::GapTold { queue } => {
                self.state(queue)?.gap = 0;
                Some(())
            }
            Record::SnapshotBegun { .. }
            | Record::QueueState { .. }
            | Record::Kept { .. }
            | Record::Remembered { .. }
            | Record::SnapshotDone => self.apply_snapshot(record),
        }
    }

    fn apply_snapshot(&mut self, record: Record<'static, P>) -> Option<()> {
        match record {
            Record::SnapshotBegun { numbers } => self.engine.numbers = self.engine.numbers.max(numbers),
            Record::QueueState { queue, next_seq, gap } => {
                let state = self.state(queue)?;
                (state.next_seq, state.gap) = (state.next_seq.max(next_seq), gap);
            }
            Record::Kept { queue, kept } => {
                let known = self.messages.get(&(queue, kept.sent.seq)).copied();
                match known {
                    Some(slot) => *self.state(queue)?.entries.get_mut(slot)? = kept.into_entry(),
                    None => self.put(queue, kept.into_entry())?,
                }
            }
            Record::Remembered { queue, id, send, left, at_unix_ms } => {
                let key = Key { id: id.into_owned(), send };
                let age = self.now.unix_ms.saturating_sub(at_unix_ms).saturating_mul(1_000_000);
                let tick = self.now.tick();
                self.state(queue)?.dedup.as_mut()?.remember_for(key, tick, left.saturating_sub(age));
            }
            _ => self.partial = false,
        }
        Some(())
    }

    fn apply_topology(&mut self, record: Record<'static, P>) -> Option<()> {
        match record {
            // A snapshot tells of queues that are known.
            Record::QueueCreated { queue, .. } if self.queues.contains_key(&queue) => {}
            Record::QueueCreated { queue, dead, name, options, group } => {
                let numbers = (queue, dead);
                let id = match group {
                    Some(of) => self.engine.create_group(&name, options, of, numbers, self.now),
                    None => self.engine.create(&name, options, None, numbers),
                };
                self.queues.insert(queue, id);
                self.queues.insert(dead, self.engine.dead_letters(id)?);
            }
            Record::QueueRemoved { queue } => {
                let id = self.queues.remove(&queue)?;
                let dead = self.engine.dead_letters(id)?.number;
                self.queues.remove(&dead);
                self.messages.retain(|(number, _), _| *number != queue && *number != dead);
                self.engine.remove(id).ok()?;
            }
            Record::TopicCreated { topic } => self.engine.declare_topic(&topic),
            Record::TopicRemoved { topic } => {
                self.engine.remove_topic(&topic).ok()?;
            }
            _ => return None,
        }
        Some(())
    }

    fn state(&mut self, queue: u64) -> Option<&mut Queue<P>> {
        let id = *self.queues.get(&queue)?;
        self.engine.parts(id).ok().map(|(state, _)| state)
    }

    fn entry(&mut self, queue: u64, seq: u64) -> Option<&mut Entry<P>> {
        let slot = *self.messages.get(&(queue, seq))?;
        self.state(queue)?.entries.get_mut(slot)
    }

    fn put(&mut self, queue: u64, entry: Entry<P>) -> Option<()> {
        let seq = entry.seq;
        let state = self.state(queue)?;
        state.next_seq = state.next_seq.max(seq + 1);
        let slot = state.entries.insert(entry);
        self.messages.insert((queue, seq), slot).is_none().then_some(())
    }

    fn lift(&mut self, queue: u64, seq: u64) -> Option<Entry<P>> {
        let slot = self.messages.remove(&(queue, seq))?;
        self.state(queue)?.entries.try_remove(slot)
    }

    fn sent(&mut self, queue: u64, sent: Sent<'static, P>) -> Option<()> {
        let key = Key { id: sent.id.into_owned(), send: sent.send };
        let now = self.now;
        if let Some(dedup) = &mut self.state(queue)?.dedup {
            let age = now.unix_ms.saturating_sub(sent.at_unix_ms).saturating_mul(1_000_000);
            dedup.remember(key.clone(), now.tick(), age);
        }
        let Sent { payload, size, priority, expires_unix_ms, .. } = sent;
        let envelope = Envelope { payload, key, size, priority, expires_unix_ms };
        let mut entry = Entry::new(envelope, sent.seq, sent.at_unix_ms);
        if sent.due_unix_ms > 0 {
            (entry.fresh, entry.place, entry.due_unix_ms) = (false, Place::Delayed, sent.due_unix_ms);
        }
        self.put(queue, entry)
    }

    fn handed_out(&mut self, queue: u64, seq: u64, at_unix_ms: u64) -> Option<()> {
        let entry = self.entry(queue, seq)?;
        entry.attempts += 1;
        entry.first_unix_ms.get_or_insert(at_unix_ms);
        (entry.place, entry.fresh) = (Place::Leased, false);
        Some(())
    }

    fn waits(&mut self, queue: u64, seq: u64, due_unix_ms: u64) -> Option<()> {
        let entry = self.entry(queue, seq)?;
        entry.place = if due_unix_ms == 0 { Place::Ready } else { Place::Delayed };
        entry.due_unix_ms = due_unix_ms;
        Some(())
    }

    fn bury(&mut self, queue: u64, fallen: Fallen<P>, dead_seq: u64, unix_ms: u64) -> Option<()> {
        let state = self.state(queue)?;
        let (origin, dead) = (state.name.clone(), state.dead?.number);
        self.put(dead, fallen.into_letter(&origin, dead_seq, unix_ms))
    }

    fn redriven(&mut self, queue: u64, dead_seq: u64, seq: u64, unix_ms: u64) -> Option<()> {
        let dead = self.state(queue)?.dead?.number;
        let letter = self.lift(dead, dead_seq)?;
        self.put(queue, letter.revived(seq, unix_ms))
    }

    fn purged(&mut self, queue: u64) -> Option<()> {
        let state = self.state(queue)?;
        state.entries.retain(|_, entry| entry.place == Place::Leased);
        let left: HashMap<u64, usize> = state.entries.iter().map(|(slot, entry)| (entry.seq, slot)).collect();
        self.messages.retain(|(number, seq), slot| *number != queue || left.get(seq) == Some(slot));
        Some(())
    }

    fn finish(mut self) -> Engine<P> {
        let queues: Vec<QueueId> = self.queues.values().copied().collect();
        for queue in queues {
            if let Ok((state, _)) = self.engine.parts(queue) {
                state.index(self.now);
            }
            self.engine.tidy(queue, self.now);
        }
        self.engine
    }
}

impl<P> Kept<'static, P> {
    fn into_entry(self) -> Entry<P> {
        let Self { sent, attempts, first_unix_ms, fresh, place, errors, death } = self;
        let key = Key { id: sent.id.into_owned(), send: sent.send };
        let Sent { payload, size, priority, expires_unix_ms, .. } = sent;
        let envelope = Envelope { payload, key, size, priority, expires_unix_ms };
        let mut entry = Entry::new(envelope, sent.seq, sent.at_unix_ms);
        (entry.attempts, entry.first_unix_ms) = (attempts, first_unix_ms);
        (entry.fresh, entry.place, entry.due_unix_ms) = (fresh, place, sent.due_unix_ms);
        let [first_error, last_error] = errors.map(|error| error.map(|text| Arc::from(&*text)));
        let death = death.map(Cow::into_owned);
        if first_error.is_some() || last_error.is_some() || death.is_some() {
            entry.history = Some(Box::new(History { first_error, last_error, death }));
        }
        entry
    }
}

impl<P> Queue<P> {
    /// Builds the side structures from the messages.
    fn index(&mut self, now: Now) {
        let mut marks: Vec<Mark> =
            self.entries.iter().map(|(slot, entry)| Mark { seq: entry.seq, slot }).collect();
        marks.sort_unstable();
        for mark in marks {
            self.index_one(mark, now);
        }
        (self.stirred, self.sooner) = (true, true);
    }

    fn index_one(&mut self, mark: Mark, now: Now) {
        let Some(entry) = self.entries.get_mut(mark.slot) else { return };
        let size = entry.envelope.size;
        self.waiting.add(size);
        if let Some(at) = entry.envelope.expires_unix_ms.filter(|_| self.options.on_expiry.is_some()) {
            self.expiries.push(at, mark);
        }
        match entry.place {
            Place::Delayed => {
                entry.until = now.tick_at_unix(entry.due_unix_ms);
                self.delayed += 1;
                self.delays.push(entry.until, mark);
            }
            Place::Ready if entry.fresh => {
                self.fresh.add(size);
                self.ready.push_fresh(entry.envelope.priority, mark);
            }
            Place::Ready | Place::Leased => {
                entry.place = Place::Ready;
                self.ready.push_returned(entry.envelope.priority, mark);
            }
        }
    }
}
