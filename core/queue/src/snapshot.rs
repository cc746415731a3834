//! Telling the whole state again, in steps, so that a journal can forget what came before.

use std::borrow::Cow;

use crate::engine::Engine;
use crate::entry::Entry;
use crate::inspect::Load;
use crate::queue::{Queue, QueueId};
use crate::record::{Journal, Kept, Record, text};
use crate::time::Now;

/// What a message costs in a journal beside its size, about.
const MESSAGE_OVERHEAD: u64 = 128;

/// Places looked at in one step at most: most of a large queue may be empty places.
const PLACES: u64 = 4096;

/// How far a snapshot has got: see [`Engine::begin_snapshot`].
#[derive(Debug)]
pub struct Snapshot {
    queues: Vec<QueueId>,
    /// Index of the queue being told.
    queue: usize,
    /// The next place in it, and the place behind the last one it had when the snapshot began. What came later
    /// is in the journal already.
    slot: usize,
    end: usize,
    /// Keys of it told so far, those that were forgotten since the queue was made included; `None`: not begun.
    keys: Option<u64>,
}

impl<P, J: Journal<P>> Engine<P, J> {
    /// Begins to tell the journal the whole state: topics, queues and their options at once, messages in the steps
    /// that follow. The engine may be used between the steps.
    pub fn begin_snapshot(&mut self) -> Snapshot {
        self.journal.record(Record::SnapshotBegun { numbers: self.numbers });
        for topic in self.topics.keys() {
            self.journal.record(Record::TopicCreated { topic: Cow::Borrowed(topic) });
        }
        let mut queues: Vec<QueueId> = self.queues.iter().map(|(_, queue)| queue.id).collect();
        queues.sort_unstable_by_key(|queue| queue.number);
        for queue in &queues {
            self.tell_queue(*queue);
        }
        let end = queues.first().map_or(0, |queue| self.places(*queue));
        Snapshot { queues, queue: 0, slot: 0, end, keys: None }
    }

    fn tell_queue(&mut self, queue: QueueId) {
        let Some(state) = self.queues.get(queue.slot) else { return };
        if let Some(dead) = state.dead {
            self.journal.record(Record::QueueCreated {
                queue: queue.number,
                dead: dead.number,
                name: Cow::Borrowed(&state.name),
                options: state.options,
                group: state.group.as_ref().map(|group| group.of.clone()),
            });
        }
        let (next_seq, gap) = (state.next_seq, state.gap);
        self.journal.record(Record::QueueState { queue: queue.number, next_seq, gap });
    }

    fn places(&self, queue: QueueId) -> usize {
        self.queue(queue).map_or(0, |state| state.entries.capacity())
    }

    /// Tells more of the state, of about `bytes` bytes; true: all is told.
    pub fn continue_snapshot(&mut self, snapshot: &mut Snapshot, bytes: u64, now: Now) -> bool {
        let mut budget = Budget { bytes, places: PLACES };
        while let Some(queue) = snapshot.queues.get(snapshot.queue).copied() {
            if let Ok((state, journal)) = self.parts(queue)
                && !state.tell(snapshot, &mut budget, now, journal)
            {
                return false;
            }
            snapshot.queue += 1;
            (snapshot.slot, snapshot.keys) = (0, None);
            snapshot.end = snapshot.queues.get(snapshot.queue).map_or(0, |next| self.places(*next));
        }
        self.journal.record(Record::SnapshotDone);
        true
    }

    /// Everything the engine holds, waiting or in hand, with what a journal adds to each message.
    #[must_use]
    pub fn load(&self) -> Load {
        let mut load = Load::default();
        for (_, state) in &self.queues {
            load.messages += state.waiting.messages + state.leased.messages;
            load.bytes += state.waiting.bytes + state.leased.bytes;
        }
        load.bytes += load.messages * MESSAGE_OVERHEAD;
        load
    }
}

struct Budget {
    bytes: u64,
    places: u64,
}

impl Budget {
    /// Takes one place and what was told of it; false: that was the last.
    fn spend(&mut self, bytes: u64) -> bool {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.places = self.places.saturating_sub(1);
        self.bytes > 0 && self.places > 0
    }
}

impl<P> Queue<P> {
    /// Tells more of this queue; true: it is told.
    fn tell<J: Journal<P>>(
        &self,
        snapshot: &mut Snapshot,
        budget: &mut Budget,
        now: Now,
        journal: &mut J,
    ) -> bool {
        while snapshot.slot < snapshot.end {
            let entry = self.entries.get(snapshot.slot);
            snapshot.slot += 1;
            if let Some(entry) = entry {
                journal.record(Record::Kept { queue: self.id.number, kept: entry.kept() });
            }
            if !budget.spend(entry.map_or(0, |entry| entry.envelope.size + MESSAGE_OVERHEAD)) {
                return false;
            }
        }
        self.tell_keys(snapshot, budget, now, journal)
    }

    fn tell_keys<J: Journal<P>>(
        &self,
        snapshot: &mut Snapshot,
        budget: &mut Budget,
        now: Now,
        journal: &mut J,
    ) -> bool {
        let Some(dedup) = &self.dedup else { return true };
        let from = snapshot.keys.unwrap_or(0).max(dedup.forgotten());
        snapshot.keys = Some(from);
        for (end, key) in dedup.since(from) {
            snapshot.keys = snapshot.keys.map(|told| told + 1);
            journal.record(Record::Remembered {
                queue: self.id.number,
                id: Cow::Borrowed(&key.id),
                send: key.send,
                left: end.saturating_sub(now.tick()),
                at_unix_ms: now.unix_ms,
            });
            if !budget.spend(MESSAGE_OVERHEAD) {
                return false;
            }
        }
        true
    }
}

impl<P> Entry<P> {
    pub(crate) fn kept(&self) -> Kept<'_, &P> {
        let history = self.history.as_deref();
        Kept {
            sent: self.sent(),
            attempts: self.attempts,
            first_unix_ms: self.first_unix_ms,
            fresh: self.fresh,
            place: self.place,
            errors: [
                text(history.and_then(|history| history.first_error.as_ref())),
                text(history.and_then(|history| history.last_error.as_ref())),
            ],
            death: self.death().map(Cow::Borrowed),
        }
    }
}
