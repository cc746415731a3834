//! The engine: many queues, one journal, one time of the next event.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use crate::dead::Fallen;
use crate::entry::{Entry, Envelope};
use crate::error::{Error, Result};
use crate::inspect::Totals;
use crate::options::QueueOptions;
use crate::queue::{Queue, QueueId};
use crate::record::{Journal, NoJournal, Record};
use crate::time::{NEVER, Now, duration, ticks};
use crate::topic::{Group, GroupOf};

/// The ending of the name of a dead-letter queue.
pub(crate) const DEAD: &str = ".dead";

/// Queues, topics with durable groups, leases, delays and dead letters, in memory.
///
/// A pure state machine: it does no I/O, starts nothing, and learns the time from its caller. Every change of
/// durable state is handed to the journal `J` before the call that made it returns.
///
/// After any call the owner looks at [`Engine::next_event_at`] (one timer is enough) and at
/// [`Engine::take_stirred`] (queues whose consumers or waiting senders may have something to do).
#[derive(Debug)]
pub struct Engine<P, J = NoJournal> {
    pub(crate) queues: Slab<Queue<P>>,
    pub(crate) names: HashMap<Arc<str>, QueueId>,
    pub(crate) topics: HashMap<Arc<str>, Vec<QueueId>>,
    pub(crate) numbers: u64,
    pub(crate) alarms: BTreeSet<(u64, QueueId)>,
    pub(crate) stirred: Vec<QueueId>,
    pub(crate) past: Totals,
    pub(crate) journal: J,
}

/// What a declaration found or made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declared {
    /// The queue.
    pub queue: QueueId,
    /// Whether this call made it.
    pub created: bool,
    /// The options it has. An existing queue keeps its own: compare them with what was asked for.
    pub options: QueueOptions,
}

/// What became of a message that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// The queue has taken responsibility for it.
    Stored,
    /// The queue had accepted a message with the same key within its window; nothing was stored.
    Duplicate,
}

impl<P> Engine<P> {
    /// An engine without journal.
    #[must_use]
    pub fn new() -> Self {
        Self::with_journal(NoJournal)
    }
}

impl<P, J: Journal<P> + Default> Default for Engine<P, J> {
    fn default() -> Self {
        Self::with_journal(J::default())
    }
}

impl<P, J: Journal<P>> Engine<P, J> {
    /// An empty engine that tells `journal` what changes.
    #[must_use]
    pub fn with_journal(journal: J) -> Self {
        Self {
            queues: Slab::new(),
            names: HashMap::new(),
            topics: HashMap::new(),
            numbers: 0,
            alarms: BTreeSet::new(),
            stirred: Vec::new(),
            past: Totals::default(),
            journal,
        }
    }

    /// The journal.
    pub fn journal(&self) -> &J {
        &self.journal
    }

    /// The journal, to make what it collected durable.
    pub fn journal_mut(&mut self) -> &mut J {
        &mut self.journal
    }

    /// Makes a queue and the queue of its dead letters (`<name>.dead`), or finds it as it is.
    ///
    /// # Errors
    ///
    /// [`Error::DeadLetters`] for a name that belongs to a dead-letter queue.
    pub fn declare(&mut self, name: &str, options: QueueOptions) -> Result<Declared> {
        match self.find(name) {
            Some(queue) if self.queue(queue)?.origin.is_some() => Err(Error::DeadLetters),
            Some(queue) => self.found(queue),
            None if name.ends_with(DEAD) => Err(Error::DeadLetters),
            None => {
                let numbers = (self.number(), self.number());
                Ok(Declared { queue: self.create(name, options, None, numbers), created: true, options })
            }
        }
    }

    pub(crate) fn found(&self, queue: QueueId) -> Result<Declared> {
        Ok(Declared { queue, created: false, options: self.queue(queue)?.options })
    }

    /// The queue of this name; groups are named `topic@group`, dead letters end in `.dead`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<QueueId> {
        self.names.get(name).copied()
    }

    /// The name of a queue.
    #[must_use]
    pub fn name(&self, queue: QueueId) -> Option<&Arc<str>> {
        self.queue(queue).ok().map(|queue| &queue.name)
    }

    /// The dead letters of a queue; `None` for a queue that itself holds dead letters.
    #[must_use]
    pub fn dead_letters(&self, queue: QueueId) -> Option<QueueId> {
        self.queue(queue).ok()?.dead
    }

    /// Every queue that was declared, groups included, dead letters not.
    pub fn queues(&self) -> impl Iterator<Item = QueueId> {
        self.queues.iter().filter(|(_, queue)| queue.origin.is_none()).map(|(_, queue)| queue.id)
    }

    /// Whether a message of `size` bytes would be accepted now.
    ///
    /// # Errors
    ///
    /// As [`Engine::send`] would answer.
    pub fn room(&self, queue: QueueId, size: u64) -> Result<()> {
        self.queue(queue)?.room(size)?;
        if self.journal.has_room(size) { Ok(()) } else { Err(Error::NoSpace) }
    }

    /// Sends a message. On return the queue has taken responsibility, or an error says why not.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] at the bound, [`Error::TooLarge`] if the bound could never hold it, [`Error::NoSpace`],
    /// [`Error::DeadLetters`], [`Error::NoSuchQueue`]. The message is dropped with an error: ask [`Engine::room`] first to keep it.
    #[inline]
    pub fn send(&mut self, queue: QueueId, message: Envelope<P>, now: Now) -> Result<Accepted> {
        self.send_after(queue, message, Duration::ZERO, now)
    }

    /// Sends a message that is not handed out before `delay` has passed.
    ///
    /// # Errors
    ///
    /// As [`Engine::send`].
    pub fn send_after(
        &mut self,
        queue: QueueId,
        message: Envelope<P>,
        delay: Duration,
        now: Now,
    ) -> Result<Accepted> {
        let (state, journal) = self.parts(queue)?;
        if state.origin.is_some() {
            return Err(Error::DeadLetters);
        }
        let accepted = accept(state, journal, message, delay, now)?;
        self.tidy(queue, now);
        Ok(accepted)
    }

    /// Sends the message in `message`, which stays there if it is refused: for a sender that waits for room. A refusal
    /// is not counted, since nothing is lost by it.
    ///
    /// # Errors
    ///
    /// As [`Engine::send`].
    #[inline]
    pub fn try_send(
        &mut self,
        queue: QueueId,
        message: &mut Option<Envelope<P>>,
        delay: Duration,
        now: Now,
    ) -> Result<Option<Accepted>> {
        let (state, journal) = self.parts(queue)?;
        if state.origin.is_some() {
            return Err(Error::DeadLetters);
        }
        let Some(waits) = message else { return Ok(None) };
        if state.is_duplicate(&waits.key, now) {
            return Ok(Some(Accepted::Duplicate));
        }
        state.room(waits.size)?;
        if !journal.has_room(waits.size) {
            return Err(Error::NoSpace);
        }
        if let Some(message) = message.take() {
            store(state, journal, message, delay, now);
        }
        self.tidy(queue, now);
        Ok(Some(Accepted::Stored))
    }

    /// Removes a queue with its consumers, its messages and its dead letters; leases on them become stale.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchQueue`]; [`Error::DeadLetters`]: those go with their queue.
    pub fn remove(&mut self, queue: QueueId) -> Result<Removed> {
        let state = self.queue(queue)?;
        let Some(dead) = state.dead else { return Err(Error::DeadLetters) };
        let mut removed =
            Removed { waiting: state.waiting.messages, in_hand: state.leased.messages, dead_letters: 0 };
        if let Some(of) = state.group.as_ref().map(|group| group.of.clone())
            && let Some(groups) = self.topics.get_mut(&of.topic)
        {
            groups.retain(|group| *group != queue);
        }
        self.journal.record(Record::QueueRemoved { queue: queue.number });
        self.drop_queue(queue);
        if let Some(state) = self.drop_queue(dead) {
            removed.dead_letters = state.waiting.messages + state.leased.messages;
        }
        Ok(removed)
    }

    fn drop_queue(&mut self, queue: QueueId) -> Option<Queue<P>> {
        self.queue(queue).ok()?;
        let state = self.queues.try_remove(queue.slot)?;
        self.alarms.remove(&(state.armed, queue));
        self.names.remove(&state.name);
        self.stirred.push(queue);
        self.past.add(&state);
        Some(state)
    }

    /// Does everything that is due: leases end, delays are over, messages expire, unused groups go.
    ///
    /// Calls that touch a queue do this for that queue by themselves; this is for the owner's timer.
    pub fn advance(&mut self, now: Now) {
        while let Some(&(at, queue)) = self.alarms.first() {
            if at > now.tick() {
                return;
            }
            self.alarms.pop_first();
            self.ring(queue, now);
        }
    }

    fn ring(&mut self, queue: QueueId, now: Now) {
        let Ok((state, journal)) = self.parts(queue) else { return };
        (state.armed, state.sooner) = (NEVER, true);
        let unused = state.consumers.attached() == 0
            && state.group.as_ref().and_then(Group::ends_at).is_some_and(|at| at <= now.tick());
        if unused {
            // The queue exists and is no dead-letter queue, so this cannot be refused.
            let _ = self.remove(queue);
            return;
        }
        state.advance(now, journal);
        self.tidy(queue, now);
    }

    /// When [`Engine::advance`] should be called next, since the engine's start. It may be early (then nothing
    /// happens and the next time is later), never late. `None`: nothing is due until something else happens.
    #[must_use]
    #[inline]
    pub fn next_event_at(&self) -> Option<Duration> {
        self.alarms.first().map(|(at, _)| duration(*at))
    }

    /// The next queue in which something became ready, room was made, or which is gone, since it was last
    /// taken from here. Each is listed once, however much happened.
    #[inline]
    pub fn take_stirred(&mut self) -> Option<QueueId> {
        let queue = self.stirred.pop()?;
        if let Ok((state, _)) = self.parts(queue) {
            state.listed = false;
        }
        Some(queue)
    }

    #[inline]
    pub(crate) fn queue(&self, queue: QueueId) -> Result<&Queue<P>> {
        match self.queues.get(queue.slot) {
            Some(state) if state.id.number == queue.number => Ok(state),
            _ => Err(Error::NoSuchQueue),
        }
    }

    #[inline]
    pub(crate) fn parts(&mut self, queue: QueueId) -> Result<(&mut Queue<P>, &mut J)> {
        match self.queues.get_mut(queue.slot) {
            Some(state) if state.id.number == queue.number => Ok((state, &mut self.journal)),
            _ => Err(Error::NoSuchQueue),
        }
    }

    /// A number no queue had before.
    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Makes a queue and its dead letters, under numbers not used before.
    pub(crate) fn create(
        &mut self,
        name: &str,
        options: QueueOptions,
        group: Option<Group>,
        numbers: (u64, u64),
    ) -> QueueId {
        self.numbers = self.numbers.max(numbers.0).max(numbers.1);
        let of: Option<GroupOf> = group.as_ref().map(|group| group.of.clone());
        let (queue, dead) = (numbers.0, numbers.1);
        self.journal.record(Record::QueueCreated {
            queue,
            dead,
            name: Cow::Borrowed(name),
            options,
            group: of,
        });
        let id = self.place(name.into(), options, queue);
        let letters = self.place(format!("{name}{DEAD}").into(), options.of_dead_letters(), dead);
        self.queues[id.slot].dead = Some(letters);
        self.queues[id.slot].group = group;
        self.queues[letters.slot].origin = Some(id);
        id
    }

    fn place(&mut self, name: Arc<str>, options: QueueOptions, number: u64) -> QueueId {
        let entry = self.queues.vacant_entry();
        let id = QueueId { slot: entry.key(), number };
        entry.insert(Queue::new(id, name.clone(), options));
        self.names.insert(name, id);
        id
    }

    /// Ends every call that changed a queue: buries its dead, sets its alarm, lists it as stirred.
    #[inline]
    pub(crate) fn tidy(&mut self, queue: QueueId, now: Now) {
        let Ok((state, _)) = self.parts(queue) else { return };
        if !state.fallen.is_empty() {
            self.bury(queue, now);
        }
        let Some(state) = self.queues.get_mut(queue.slot) else { return };
        if state.stirred {
            state.stirred = false;
            if !state.listed {
                state.listed = true;
                self.stirred.push(queue);
            }
        }
        if std::mem::take(&mut state.sooner) {
            self.set_alarm(queue, now);
        }
    }

    fn set_alarm(&mut self, queue: QueueId, now: Now) {
        let Some(state) = self.queues.get_mut(queue.slot) else { return };
        let at = state.next_at(now);
        if at < state.armed {
            self.alarms.remove(&(state.armed, queue));
            self.alarms.insert((at, queue));
            state.armed = at;
        }
    }

    fn bury(&mut self, queue: QueueId, now: Now) {
        let Ok((state, _)) = self.parts(queue) else { return };
        let (fallen, origin, dead) = (std::mem::take(&mut state.fallen), state.name.clone(), state.dead);
        let Some(dead) = dead else { return };
        for one in fallen {
            self.bury_one(queue, &origin, dead, one, now);
        }
        self.tidy(dead, now);
    }

    fn bury_one(&mut self, queue: QueueId, origin: &Arc<str>, dead: QueueId, fallen: Fallen<P>, now: Now) {
        if let Ok((state, _)) = self.parts(queue) {
            state.counts.dead_lettered += 1;
        }
        let Ok((letters, journal)) = self.parts(dead) else { return };
        let last_error = fallen.entry.history.as_ref().and_then(|history| history.last_error.as_ref());
        journal.record(Record::DeadLettered {
            queue: queue.number,
            seq: fallen.entry.seq,
            dead_seq: letters.next_seq,
            at_unix_ms: now.unix_ms,
            reason: fallen.reason.clone(),
            error: crate::record::text(last_error),
            substitute: fallen.substitute.as_ref().map(|(payload, size)| (payload, *size)),
        });
        let letter = fallen.into_letter(origin, letters.next_seq, now.unix_ms);
        letters.make_room(letter.envelope.size, journal);
        if journal.tells_whole() {
            journal.record(Record::Kept { queue: dead.number, kept: letter.kept() });
        }
        letters.insert(letter);
    }
}

/// Everything that went with a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Messages that waited.
    pub waiting: u64,
    /// Messages in consumers' hands; settling them answers [`Error::NoSuchQueue`].
    pub in_hand: u64,
    /// Dead letters.
    pub dead_letters: u64,
}

/// Takes a message into a queue.
pub(crate) fn accept<P, J: Journal<P>>(
    state: &mut Queue<P>,
    journal: &mut J,
    message: Envelope<P>,
    delay: Duration,
    now: Now,
) -> Result<Accepted> {
    if state.is_duplicate(&message.key, now) {
        return Ok(Accepted::Duplicate);
    }
    if let Err(error) = state.room(message.size) {
        state.counts.refused += 1;
        return Err(error);
    }
    if !journal.has_room(message.size) {
        state.counts.refused += 1;
        return Err(Error::NoSpace);
    }
    store(state, journal, message, delay, now);
    Ok(Accepted::Stored)
}

/// Puts a message in for which there is room.
#[inline]
fn store<P, J: Journal<P>>(
    state: &mut Queue<P>,
    journal: &mut J,
    message: Envelope<P>,
    delay: Duration,
    now: Now,
) {
    state.make_room(message.size, journal);
    if let Some(dedup) = &mut state.dedup {
        dedup.remember(message.key.clone(), now.tick(), 0);
    }
    let mut entry = Entry::new(message, state.next_seq, now.unix_ms);
    let mut until = 0;
    if !delay.is_zero() {
        entry.due_unix_ms = now.unix_after(delay);
        until = now.tick().saturating_add(ticks(delay));
    }
    if journal.keeps() {
        journal.record(Record::Sent { queue: state.id.number, sent: entry.sent() });
    }
    state.insert_at(entry, until);
    state.counts.sent += 1;
}
