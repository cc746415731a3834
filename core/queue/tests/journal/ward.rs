//! An engine with its journal, and a ledger of what was promised to those outside.

use std::collections::BTreeMap;
use std::time::Duration;

use polybus_queue::journal::{Codec, Decoder, Encoder, Log, OpenError, Options, Recovered, Writer, open};
use polybus_queue::{
    ConsumerId, Engine, Envelope, Keep, Leaving, MessageId, Now, Outcome, QueueId, QueueOptions, Reason,
    Select, Snapshot, Token,
};

use crate::disk::{Memory, Random};

/// Payloads of any size that know their number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Texts;

impl Codec<(u64, usize)> for Texts {
    fn encode(&self, payload: &(u64, usize), to: &mut Encoder<'_>) {
        to.number(payload.0);
        to.bytes(&vec![payload.0.to_le_bytes()[0]; payload.1]);
    }

    fn decode(&self, from: &mut Decoder<'_>) -> Option<(u64, usize)> {
        Some((from.number()?, from.bytes()?.len()))
    }
}

/// What became of a message, as far as those outside were told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) sent: bool,
    /// Gone: acked, or discarded by a consumer.
    pub(crate) gone: bool,
    pub(crate) dead: bool,
    pub(crate) attempts: u32,
}

/// A promise that counts once the journal has got so far.
#[derive(Clone, Copy, Debug)]
struct Promise {
    at: u64,
    number: u64,
    change: Change,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Sent,
    Gone,
    Dead,
    Attempt(u32),
    Redriven,
}

pub(crate) struct Ward {
    pub(crate) engine: Engine<(u64, usize), Log<Texts>>,
    pub(crate) writer: Writer<Memory>,
    pub(crate) disk: Memory,
    pub(crate) recovered: Recovered,
    pub(crate) queue: QueueId,
    consumer: ConsumerId,
    hands: Vec<(u64, u32, Token)>,
    snapshot: Option<Snapshot>,
    promises: Vec<Promise>,
    pub(crate) told: BTreeMap<u64, Told>,
    /// What has happened whether anybody was told or not.
    pub(crate) done: BTreeMap<u64, Told>,
    pub(crate) numbers: u64,
    pub(crate) snapshots: u64,
    ticks: u64,
}

pub(crate) fn options() -> Options {
    Options { segment: 4096, ..Options::default() }
}

impl Ward {
    pub(crate) fn open(disk: Memory, options: Options) -> Result<Self, OpenError> {
        let opened = open(disk.clone(), Texts, options, 77, Now::new(Duration::ZERO, 1_000))?;
        let mut engine = opened.engine.with(opened.log);
        let queue_options =
            QueueOptions { max_attempts: std::num::NonZeroU32::new(3), ..QueueOptions::default() };
        let queue = engine.declare("jobs", queue_options).unwrap().queue;
        let consumer = engine.attach(queue, 20, None).unwrap();
        Ok(Self {
            engine,
            writer: opened.writer,
            disk,
            recovered: opened.recovered,
            queue,
            consumer,
            hands: Vec::new(),
            snapshot: None,
            promises: Vec::new(),
            told: BTreeMap::new(),
            done: BTreeMap::new(),
            numbers: 0,
            snapshots: 0,
            ticks: 0,
        })
    }

    /// The next life on another disk, with the same ledger.
    pub(crate) fn reopen(self, disk: Memory) -> Result<Self, OpenError> {
        let mut next = Self::open(disk, options())?;
        (next.told, next.numbers, next.snapshots) = (self.told, self.numbers, self.snapshots);
        next.done = self.done;
        Ok(next)
    }

    fn now(&self) -> Now {
        Now::new(Duration::from_millis(self.ticks), 1_000 + self.ticks)
    }

    fn promise(&mut self, number: u64, change: Change) {
        let at = self.engine.journal_mut().position();
        apply(&mut self.done, number, change);
        self.promises.push(Promise { at, number, change });
    }

    pub(crate) fn send(&mut self, size: usize) -> Result<u64, polybus_queue::Error> {
        let number = self.numbers;
        let envelope = Envelope::new(id(number), (number, size), size as u64);
        self.engine.send(self.queue, envelope, self.now())?;
        self.numbers += 1;
        self.promise(number, Change::Sent);
        Ok(number)
    }

    pub(crate) fn take(&mut self) -> bool {
        let now = self.now();
        let Some(handed) = self.engine.take(self.consumer, now).unwrap() else {
            self.note_spent();
            return false;
        };
        let (number, attempt, token) = (handed.payload.0, handed.attempt, handed.token);
        self.hands.push((number, attempt, token));
        self.promise(number, Change::Attempt(attempt));
        self.note_spent();
        true
    }

    /// Messages that were handed out too often fell out at a take.
    fn note_spent(&mut self) {
        let dead = self.engine.dead_letters(self.queue).unwrap();
        let letters = self.engine.browse(dead, 0, usize::MAX).unwrap();
        let numbers: Vec<u64> = letters.iter().map(|letter| letter.payload.0).collect();
        for number in numbers {
            if !self.done[&number].dead {
                self.promise(number, Change::Dead);
            }
        }
    }

    pub(crate) fn settle(&mut self, random: &mut Random) {
        if self.hands.is_empty() {
            return;
        }
        let at = random.below(self.hands.len() as u64) as usize;
        let (number, _, token) = self.hands.swap_remove(at);
        let reject = |keep| Outcome::Reject { reason: Reason::Rejected("bad".into()), error: None, keep };
        let error = Some("again".to_owned());
        let (outcome, change) = match random.below(60) {
            0..4 => (Outcome::Retry { after: Duration::ZERO, error }, None),
            4..8 => (Outcome::Retry { after: Duration::from_millis(3), error }, None),
            8..10 => (reject(Keep::Whole), Some(Change::Dead)),
            10 => (reject(Keep::Substitute((number, 3), 3)), Some(Change::Dead)),
            11..14 => (reject(Keep::Nothing), Some(Change::Gone)),
            14..18 => (Outcome::Dropped, None),
            _ => (Outcome::Ack, Some(Change::Gone)),
        };
        self.engine.settle(token, outcome, self.now()).unwrap();
        if let Some(change) = change {
            self.promise(number, change);
        }
    }

    pub(crate) fn redrive(&mut self) {
        let dead = self.engine.dead_letters(self.queue).unwrap();
        let letters = self.engine.browse(dead, 0, 1).unwrap();
        let Some(first) = letters.first() else { return };
        let (number, id) = (first.payload.0, first.id.clone());
        let select = Select { ids: &[id], limit: Some(1) };
        if self.engine.redrive(self.queue, &select, self.now()).unwrap().moved == 1 {
            self.promise(number, Change::Redriven);
        }
    }

    /// One step of a random life.
    pub(crate) fn step(&mut self, random: &mut Random) {
        self.ticks += 1;
        match random.below(20) {
            0..5 => drop(self.send(random.below(120) as usize)),
            5..11 => drop(self.take()),
            11..18 => self.settle(random),
            18 => self.redrive(),
            _ => {
                self.engine.advance(self.now());
                self.note_spent();
            }
        }
        if random.below(3) == 0 {
            self.commit(random.below(3) > 0);
        }
        self.tell_more(random);
    }

    fn tell_more(&mut self, random: &mut Random) {
        let now = self.now();
        if let Some(mut snapshot) = self.snapshot.take() {
            if self.engine.continue_snapshot(&mut snapshot, 1 + random.below(600), now) {
                self.snapshots += 1;
            } else {
                self.snapshot = Some(snapshot);
            }
        } else if self.writer.wants_snapshot(|| self.engine.load()) {
            self.snapshot = Some(self.engine.begin_snapshot());
        }
    }

    pub(crate) fn ack(&mut self) {
        let Some((number, _, token)) = self.hands.pop() else { return };
        self.engine.ack(token, self.now()).unwrap();
        self.promise(number, Change::Gone);
    }

    /// A step of a snapshot, if one is due.
    pub(crate) fn more(&mut self) {
        self.tell_more(&mut Random::new(9));
    }

    /// Commits; those outside are told what is on disk.
    pub(crate) fn commit(&mut self, sync: bool) -> bool {
        let committed = self.writer.commit(sync);
        let durable = self.writer.reached().durable;
        let told = &mut self.told;
        self.promises.retain(|promise| {
            if promise.at <= durable {
                apply(told, promise.number, promise.change);
            }
            promise.at > durable
        });
        committed.is_ok()
    }

    /// Whether what is here now is what was told.
    pub(crate) fn check(&mut self, context: &str) {
        let mut here = BTreeMap::new();
        let dead = self.engine.dead_letters(self.queue).unwrap();
        for (queue, is_dead) in [(self.queue, false), (dead, true)] {
            for seen in self.engine.browse(queue, 0, usize::MAX).unwrap() {
                let attempts = seen.death.map_or(seen.attempts, |death| death.attempts);
                assert_eq!(*seen.id, id(seen.payload.0), "{context}");
                assert_eq!(seen.death.is_some(), is_dead, "{context}: a death without its record");
                let twice = here.insert(seen.payload.0, (is_dead, attempts));
                assert_eq!(twice, None, "{context}: {} is there twice", seen.payload.0);
            }
        }
        for (number, told) in &self.told {
            let found = here.get(number);
            let done = self.done[number];
            assert!(!(told.gone && found.is_some()), "{context}: {number} was settled and is back");
            if told.sent && !done.gone {
                assert!(found.is_some(), "{context}: {number} was confirmed and is lost, {told:?} {done:?}");
            }
            if let Some((is_dead, attempts)) = found {
                assert!(*is_dead || !(told.dead && done.dead), "{context}: {number} is dead and back");
                let redriven = done.attempts < told.attempts;
                assert!(redriven || *attempts >= told.attempts, "{context}: {number} {attempts} {told:?}");
            }
        }
        // From here on what is there counts, told or not.
        let known: Vec<u64> = self.told.keys().chain(self.done.keys()).copied().collect();
        for number in known {
            let told =
                here.get(&number).map_or(Told { gone: true, sent: true, ..Told::default() }, |found| Told {
                    sent: true,
                    gone: false,
                    dead: found.0,
                    attempts: found.1,
                });
            self.told.insert(number, told);
            self.done.insert(number, told);
        }
    }

    /// Lets go of everything in hand, as the end of a process does.
    pub(crate) fn leave(&mut self) {
        self.engine.detach(self.consumer, Leaving::Drop, self.now()).unwrap();
        self.hands.clear();
    }
}

fn apply(told: &mut BTreeMap<u64, Told>, number: u64, change: Change) {
    let told = told.entry(number).or_default();
    match change {
        Change::Sent => told.sent = true,
        Change::Gone => told.gone = true,
        Change::Dead => told.dead = true,
        Change::Attempt(attempt) => told.attempts = attempt,
        Change::Redriven => (told.dead, told.attempts) = (false, 0),
    }
}

pub(crate) fn id(number: u64) -> MessageId {
    if number.is_multiple_of(3) {
        MessageId::Text(format!("m{number}").into())
    } else {
        MessageId::Uuid(u128::from(number).to_le_bytes())
    }
}
