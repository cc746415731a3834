//! The engine against an obvious model: vectors, linear search, no cleverness.
//!
//! Generated histories run on both; after each step every answer, every message's place and every figure agree, and
//! replaying the records gives the same durable state.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod reference;

use std::num::NonZeroU32;
use std::time::Duration;

use polybus_queue::{
    Bound, ConsumerId, DedupWindow, Engine, Envelope, Error, Keep, Key, Leaving, MessageId, Now, OnExpiry,
    Outcome, QueueId, QueueOptions, Reason, Record, Select, Token, WhenFull,
};
use proptest::prelude::*;
use reference::{Answer, Model, Who};

type Log = Vec<Record<'static, u32>>;

#[derive(Clone, Debug)]
enum Step {
    Send { group: bool, id: u8, size: u8, priority: u8, expires: Option<u16>, delay: u16 },
    Take { consumer: u8 },
    Dispatch { dead: bool },
    Settle { held: u8, how: How },
    Renew { held: u8 },
    Pass { ms: u16, exactly: bool },
    Attach { queue: u8, credit: u8, lease: Option<u16> },
    Detach { consumer: u8, leaving: u8 },
    Credit { consumer: u8, credit: u8 },
    Purge { queue: u8 },
    Redrive { limit: u8, id: Option<u8> },
    TellGap,
}

#[derive(Clone, Debug)]
enum How {
    Ack,
    Retry(u16),
    Reject(u8),
    Release,
    Dropped,
}

fn step() -> impl Strategy<Value = Step> {
    let how = prop_oneof![
        4 => Just(How::Ack),
        3 => (0_u16..300).prop_map(|ms| How::Retry(if ms < 100 { 0 } else { ms })),
        2 => (0_u8..3).prop_map(How::Reject),
        1 => Just(How::Release),
        3 => Just(How::Dropped),
    ];
    prop_oneof![
        10 => (any::<bool>(), 0_u8..12, 0_u8..40, 0_u8..3, proptest::option::weighted(0.3, 0_u16..800), 0_u16..200)
            .prop_map(|(group, id, size, priority, expires, delay)| {
                let delay = if group || delay < 150 { 0 } else { delay };
                Step::Send { group, id, size, priority, expires, delay }
            }),
        10 => any::<u8>().prop_map(|consumer| Step::Take { consumer }),
        4 => any::<bool>().prop_map(|dead| Step::Dispatch { dead }),
        12 => (any::<u8>(), how).prop_map(|(held, how)| Step::Settle { held, how }),
        2 => any::<u8>().prop_map(|held| Step::Renew { held }),
        5 => (0_u16..400, any::<bool>()).prop_map(|(ms, exactly)| Step::Pass { ms, exactly }),
        3 => (any::<u8>(), 0_u8..5, proptest::option::weighted(0.3, 20_u16..300))
            .prop_map(|(queue, credit, lease)| Step::Attach { queue, credit, lease }),
        2 => (any::<u8>(), 0_u8..3).prop_map(|(consumer, leaving)| Step::Detach { consumer, leaving }),
        2 => (any::<u8>(), 0_u8..5).prop_map(|(consumer, credit)| Step::Credit { consumer, credit }),
        1 => any::<u8>().prop_map(|queue| Step::Purge { queue }),
        2 => (0_u8..5, proptest::option::weighted(0.3, 0_u8..12))
            .prop_map(|(limit, id)| Step::Redrive { limit, id }),
        1 => Just(Step::TellGap),
    ]
}

prop_compose! {
    fn options()(
        lease in proptest::option::weighted(0.8, 50_u64..300),
        most in proptest::option::weighted(0.8, 1_u32..4),
        messages in 1_u64..6,
        bytes in 30_u64..150,
        drop in any::<bool>(),
        priorities in any::<bool>(),
        expiry in 0_u8..3,
        dedup in proptest::option::weighted(0.5, (50_u64..400, 1_usize..6)),
        dead in (1_u64..4, 40_u64..100),
    ) -> QueueOptions {
        QueueOptions {
            lease: lease.map(Duration::from_millis),
            max_attempts: most.and_then(NonZeroU32::new),
            bound: Bound::new(messages, bytes),
            when_full: if drop { WhenFull::DropOldest } else { WhenFull::Refuse },
            priorities,
            on_expiry: [None, Some(OnExpiry::Drop), Some(OnExpiry::DeadLetter)][usize::from(expiry)],
            dedup: dedup.map(|(ms, keys)| DedupWindow { window: Duration::from_millis(ms), keys }),
            dead_bound: Bound::new(dead.0, dead.1),
        }
    }
}

/// The engine and the model side by side. Queues: 0 the queue, 1 its dead letters, 2 the group, 3 its dead letters.
struct Pair {
    engine: Engine<u32, Log>,
    model: Model,
    queues: [QueueId; 4],
    consumers: Vec<(ConsumerId, Who)>,
    held: Vec<(Token, u64)>,
    now: Now,
    sent: u32,
}

fn at(ms: u64) -> Now {
    Now::new(Duration::from_millis(ms), 1_000_000 + ms)
}

impl Pair {
    fn new(queue: QueueOptions, group: QueueOptions) -> Self {
        let mut engine = Engine::with_journal(Log::new());
        let now = at(0);
        let a = engine.declare("q", queue).unwrap().queue;
        engine.declare_topic("t");
        let b = engine.declare_group("t", "g", group, None, now).unwrap().queue;
        let queues = [a, engine.dead_letters(a).unwrap(), b, engine.dead_letters(b).unwrap()];
        let model = Model::new(queue, group);
        Self { engine, model, queues, consumers: Vec::new(), held: Vec::new(), now, sent: 0 }
    }

    fn run(&mut self, step: &Step) {
        self.model.time(self.now.unix_ms);
        match *step {
            Step::Send { group, id, size, priority, expires, delay } => {
                self.send(group, id, size, priority, expires, delay);
            }
            Step::Take { consumer } => self.take(consumer),
            Step::Dispatch { dead } => self.dispatch(usize::from(dead)),
            Step::Settle { held, ref how } => self.settle(held, how),
            Step::Renew { held } => self.renew(held),
            Step::Pass { ms, exactly } => self.pass(u64::from(ms), exactly),
            Step::Attach { queue, credit, lease } => self.attach(queue, credit, lease),
            Step::Detach { consumer, leaving } => self.detach(consumer, leaving),
            Step::Credit { consumer, credit } => self.credit(consumer, credit),
            Step::Purge { queue } => {
                let queue = usize::from(queue % 4);
                let purged = self.engine.purge(self.queues[queue], self.now).unwrap();
                assert_eq!(purged, self.model.purge(queue));
            }
            Step::Redrive { limit, id } => self.redrive(limit, id),
            Step::TellGap => {
                let gap = self.engine.take_gap(self.queues[2]).unwrap();
                assert_eq!(gap, std::mem::take(&mut self.model.gap));
            }
        }
        self.compare();
    }

    fn send(&mut self, group: bool, id: u8, size: u8, priority: u8, expires: Option<u16>, delay: u16) {
        self.sent += 1;
        let id = MessageId::Uuid([id; 16]);
        let mut envelope = Envelope::new(id, self.sent, size.into()).priority(priority);
        envelope.expires_unix_ms = expires.map(|ms| self.now.unix_ms + u64::from(ms));
        let answer = self.model.send(if group { 2 } else { 0 }, envelope.clone(), delay.into());
        if group {
            let published = self.engine.publish("t", &envelope, self.now).unwrap();
            let refused = published.refused.first().map(|(_, error)| *error);
            match answer {
                Answer::Stored | Answer::Duplicate => assert_eq!(published.stored, 1),
                Answer::Missed => assert_eq!(published.missed, 1),
                Answer::Full => assert!(matches!(refused, Some(Error::Full { .. }))),
                Answer::TooLarge => assert!(matches!(refused, Some(Error::TooLarge { .. }))),
            }
            return;
        }
        let delay = Duration::from_millis(delay.into());
        let found = match self.engine.send_after(self.queues[0], envelope, delay, self.now) {
            Ok(polybus_queue::Accepted::Stored) => Answer::Stored,
            Ok(polybus_queue::Accepted::Duplicate) => Answer::Duplicate,
            Err(Error::Full { .. }) => Answer::Full,
            Err(Error::TooLarge { .. }) => Answer::TooLarge,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(found, answer);
    }

    fn take(&mut self, consumer: u8) {
        if self.consumers.is_empty() {
            return;
        }
        let (id, who) = self.consumers[usize::from(consumer) % self.consumers.len()];
        let expected = self.model.take(who);
        let found = self.engine.take(id, self.now).unwrap();
        let found = found.map(|handed| (*handed.payload, handed.attempt, handed.token));
        assert_eq!(found.map(|(payload, attempt, _)| (payload, attempt)), expected.map(|(p, a, _)| (p, a)));
        if let (Some((_, _, token)), Some((_, _, lease))) = (found, expected) {
            self.held.push((token, lease));
        }
    }

    /// Whose turn it is is the engine's choice; the model checks that the choice had credit.
    fn dispatch(&mut self, queue: usize) {
        let found = self.engine.dispatch(self.queues[queue], self.now).unwrap();
        let Some(handed) = found else {
            self.model.settle_time(queue);
            let idle = self.model.room_for_all(queue) == 0;
            if !idle {
                assert_eq!(self.model.next_ready(queue), None, "a message waits, a consumer has credit");
            }
            return;
        };
        let (consumer, token) = (handed.consumer, handed.token);
        let found = (*handed.payload, handed.attempt);
        let who = self.consumers.iter().find(|(id, _)| *id == consumer).expect("a consumer we know").1;
        let (payload, attempt, lease) = self.model.take(who).expect("credit and a message");
        assert_eq!(found, (payload, attempt));
        self.held.push((token, lease));
    }

    fn settle(&mut self, held: u8, how: &How) {
        if self.held.is_empty() {
            return;
        }
        let (token, lease) = self.held[usize::from(held) % self.held.len()];
        let outcome = match *how {
            How::Ack => Outcome::Ack,
            How::Retry(ms) => {
                Outcome::Retry { after: Duration::from_millis(ms.into()), error: Some(format!("e{ms}")) }
            }
            How::Reject(keep) => Outcome::Reject {
                reason: Reason::Rejected("no".into()),
                error: None,
                keep: [Keep::Whole, Keep::Substitute(0, 1), Keep::Nothing][usize::from(keep)].clone(),
            },
            How::Release => Outcome::Release,
            How::Dropped => Outcome::Dropped,
        };
        let expected = self.model.settle(lease, &outcome);
        let found = self.engine.settle(token, outcome, self.now);
        assert_eq!(found.is_ok(), expected, "{found:?}");
    }

    fn renew(&mut self, held: u8) {
        if self.held.is_empty() {
            return;
        }
        let (token, lease) = self.held[usize::from(held) % self.held.len()];
        let expected = self.model.renew(lease);
        assert_eq!(self.engine.renew(token, self.now).is_ok(), expected);
    }

    /// Time passes: to the next event only, through every event on the way as with a timer, or in one jump.
    fn pass(&mut self, ms: u64, exactly: bool) {
        let to = at(u64::try_from(self.now.since_start.as_millis()).unwrap() + ms);
        // Which of two queues is served first after a jump decides what falls out of full dead letters.
        let timeless = |queue| matches!(self.model.figures(queue), (_, 0, 0, ..));
        let jump = ms.is_multiple_of(2) && timeless(1) && timeless(3);
        while let Some(next) = self.engine.next_event_at().filter(|next| !jump && *next < to.since_start) {
            self.arrive(at(u64::try_from(next.as_millis()).unwrap()));
            if exactly {
                return;
            }
        }
        self.arrive(to);
    }

    fn arrive(&mut self, now: Now) {
        self.now = now;
        self.engine.advance(now);
        self.model.time(now.unix_ms);
        (0..4).for_each(|queue| self.model.settle_time(queue));
        if let Some(next) = self.engine.next_event_at() {
            assert!(next > now.since_start, "no hot loop");
        }
    }

    fn attach(&mut self, queue: u8, credit: u8, lease: Option<u16>) {
        if self.consumers.len() > 6 {
            return;
        }
        let queue = usize::from(queue % 4);
        let own = lease.map(|ms| Duration::from_millis(ms.into()));
        let id = self.engine.attach(self.queues[queue], credit.into(), own).unwrap();
        let who = self.model.attach(queue, credit.into(), lease.map(u64::from));
        self.consumers.push((id, who));
    }

    fn detach(&mut self, consumer: u8, leaving: u8) {
        if self.consumers.is_empty() {
            return;
        }
        let at = usize::from(consumer) % self.consumers.len();
        let (id, who) = self.consumers.remove(at);
        let leaving = [Leaving::Keep, Leaving::Release, Leaving::Drop][usize::from(leaving)];
        let expected = self.model.detach(who, leaving);
        assert_eq!(self.engine.detach(id, leaving, self.now), Ok(expected));
    }

    fn credit(&mut self, consumer: u8, credit: u8) {
        if self.consumers.is_empty() {
            return;
        }
        let (id, who) = self.consumers[usize::from(consumer) % self.consumers.len()];
        self.engine.set_credit(id, credit.into()).unwrap();
        self.model.set_credit(who, credit.into());
    }

    fn redrive(&mut self, limit: u8, id: Option<u8>) {
        let id = id.map(|id| MessageId::Uuid([id; 16]));
        let select = Select { ids: id.as_slice(), limit: Some(limit.into()) };
        let found = self.engine.redrive(self.queues[0], &select, self.now).unwrap();
        let expected = self.model.redrive(limit.into(), id.as_ref());
        assert_eq!((found.moved, found.refused, found.left), expected);
    }

    fn compare(&mut self) {
        for queue in 0..4 {
            let figures = self.engine.figures(self.queues[queue]).unwrap();
            let expected = self.model.figures(queue);
            assert_eq!(
                (
                    figures.ready,
                    figures.delayed,
                    figures.leased.messages,
                    figures.waiting.bytes,
                    figures.leased.bytes
                ),
                expected,
                "queue {queue}"
            );
            let seen: Vec<_> = self
                .engine
                .browse(self.queues[queue], 0, 1000)
                .unwrap()
                .iter()
                .map(|seen| *seen.payload)
                .collect();
            assert_eq!(seen, self.model.waiting(queue), "queue {queue}");
        }
        for (id, who) in &self.consumers {
            assert_eq!(self.engine.in_hand(*id), Some(self.model.in_hand(*who)));
        }
        if let Some(next) = self.model.next_event() {
            let found = self.engine.next_event_at().expect("an event is due");
            assert!(at(0).unix_ms + u64::try_from(found.as_millis()).unwrap() <= next, "never late");
        }
    }

    /// What survives: everything but leases and counts.
    fn compare_replayed(&mut self) {
        self.engine.advance(self.now);
        let records = self.engine.journal_mut().clone();
        let mut replayed: Engine<u32> =
            Engine::replay(records, polybus_queue::NoJournal, self.now).expect("records that fit");
        // A delay read back from wall time is rounded up by two milliseconds, never down.
        replayed.advance(Now::new(self.now.since_start + Duration::from_millis(2), self.now.unix_ms));
        // A dead letter in hand cannot fall out here, but after a restart, when it waits again, it can.
        let in_hand = |queue: usize| self.engine.figures(self.queues[queue]).unwrap().leased.messages > 0;
        let dead_in_hand = [in_hand(1), in_hand(3)];
        let consumers: Vec<_> = self.consumers.drain(..).collect();
        for (id, who) in consumers {
            self.engine.detach(id, Leaving::Drop, self.now).unwrap();
            self.model.detach(who, Leaving::Drop);
        }
        // What consumers kept when they left is leased here and ready there: such a queue cannot be compared.
        let later = at(u64::try_from(self.now.since_start.as_millis()).unwrap() + 100_000);
        for (at, names) in [(0, ["q", "q.dead"]), (2, ["t@g", "t@g.dead"])] {
            let held = |queue: usize| self.engine.figures(self.queues[queue]).unwrap().leased.messages > 0;
            if held(at) || held(at + 1) || dead_in_hand[at / 2] {
                continue;
            }
            for name in names {
                let mine = self.engine.find(name).unwrap();
                let theirs = replayed.find(name).unwrap();
                assert_eq!(durable(&self.engine, mine), durable(&replayed, theirs), "{name}");
                let left = drain(&mut self.engine, mine, later);
                assert_eq!(left, drain(&mut replayed, theirs, later), "{name}");
            }
        }
        assert_eq!(self.engine.take_gap(self.queues[2]), replayed.take_gap(replayed.find("t@g").unwrap()));
    }
}

/// Every durable property of every waiting message.
fn durable<J: polybus_queue::Journal<u32>>(engine: &Engine<u32, J>, queue: QueueId) -> Vec<String> {
    let line = |seen: &polybus_queue::Seen<'_, u32>| format!("{seen:?}");
    engine.browse(queue, 0, 1000).unwrap().iter().map(line).collect()
}

/// Hands everything out: the order, the attempts and the send numbers.
fn drain<J: polybus_queue::Journal<u32>>(
    engine: &mut Engine<u32, J>,
    queue: QueueId,
    now: Now,
) -> Vec<(u32, u32, Key)> {
    let consumer = engine.attach(queue, u32::MAX, Some(Duration::from_secs(1000))).unwrap();
    let mut all = Vec::new();
    while let Some(handed) = engine.take(consumer, now).unwrap() {
        all.push((*handed.payload, handed.attempt, Key { id: handed.id.clone(), send: handed.send }));
    }
    all
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(400)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_does_what_the_model_does(
        queue in options(),
        group in options(),
        steps in proptest::collection::vec(step(), 1..160),
    ) {
        let mut pair = Pair::new(queue, group);
        for step in &steps {
            pair.run(step);
        }
        prop_assert!(pair.model.everything_in_one_place());
        pair.compare_replayed();
    }
}
