//! One test per rule of the engine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod groups;

use std::num::NonZeroU32;
use std::time::Duration;

use polybus_queue::{
    Accepted, Bound, ConsumerId, DedupWindow, Engine, Envelope, Error, Keep, Leaving, MessageId, Now,
    OnExpiry, Outcome, Place, QueueId, QueueOptions, Reason, Select, Token, WhenFull,
};

fn ms(ms: u64) -> Now {
    Now::new(Duration::from_millis(ms), 1_000_000 + ms)
}

fn id(n: u32) -> MessageId {
    MessageId::Text(n.to_string().into())
}

fn message(n: u32) -> Envelope<u32> {
    Envelope::new(id(n), n, 10)
}

fn queue(options: QueueOptions) -> (Engine<u32>, QueueId, ConsumerId) {
    let mut engine = Engine::new();
    let queue = engine.declare("jobs", options).unwrap().queue;
    let consumer = engine.attach(queue, 100, None).unwrap();
    (engine, queue, consumer)
}

fn send(engine: &mut Engine<u32>, queue: QueueId, n: u32, now: Now) {
    assert_eq!(engine.send(queue, message(n), now).unwrap(), Accepted::Stored);
}

fn take(engine: &mut Engine<u32>, consumer: ConsumerId, now: Now) -> Option<(u32, u32, Token)> {
    let handed = engine.take(consumer, now).unwrap()?;
    Some((*handed.payload, handed.attempt, handed.token))
}

fn taken(engine: &mut Engine<u32>, consumer: ConsumerId, now: Now) -> (u32, u32, Token) {
    take(engine, consumer, now).expect("a message is ready")
}

fn retry(after: u64) -> Outcome<u32> {
    Outcome::Retry { after: Duration::from_millis(after), error: Some(format!("after {after}")) }
}

fn reject(word: &'static str) -> Outcome<u32> {
    Outcome::Reject { reason: Reason::Rejected(word.into()), error: Some("bad".into()), keep: Keep::Whole }
}

fn attempts(most: u32) -> QueueOptions {
    QueueOptions { max_attempts: NonZeroU32::new(most), ..QueueOptions::default() }
}

fn bounded(messages: u64, bytes: u64, when_full: WhenFull) -> QueueOptions {
    QueueOptions { bound: Bound::new(messages, bytes), when_full, ..QueueOptions::default() }
}

#[test]
fn c9_first_in_first_out() {
    let (mut engine, queue, consumer) = queue(QueueOptions::default());
    (0..5).for_each(|n| send(&mut engine, queue, n, ms(0)));
    let order: Vec<_> = (0..5).map(|_| taken(&mut engine, consumer, ms(0)).0).collect();
    assert_eq!(order, [0, 1, 2, 3, 4]);
}

#[test]
fn d1_ack_consumes() {
    let (mut engine, queue, consumer) = queue(QueueOptions::default());
    send(&mut engine, queue, 1, ms(0));
    let (_, _, token) = taken(&mut engine, consumer, ms(0));
    engine.ack(token, ms(1)).unwrap();
    engine.advance(ms(100_000));
    assert!(take(&mut engine, consumer, ms(100_000)).is_none());
    assert_eq!(engine.ack(token, ms(1)), Err(Error::Stale));
}

#[test]
fn d2_drop_counts_release_does_not() {
    let (mut engine, queue, consumer) = queue(QueueOptions::default());
    send(&mut engine, queue, 1, ms(0));
    let (_, attempt, token) = taken(&mut engine, consumer, ms(0));
    assert_eq!(attempt, 1);
    engine.settle(token, Outcome::Dropped, ms(0)).unwrap();
    let (_, attempt, token) = taken(&mut engine, consumer, ms(0));
    assert_eq!(attempt, 2);
    engine.settle(token, Outcome::Release, ms(0)).unwrap();
    assert_eq!(taken(&mut engine, consumer, ms(0)).1, 2);
}

#[test]
fn d3_retry_is_not_earlier_than_its_delay() {
    let (mut engine, queue, consumer) = queue(QueueOptions::default());
    send(&mut engine, queue, 1, ms(0));
    let (_, _, token) = taken(&mut engine, consumer, ms(5));
    engine.settle(token, retry(100), ms(5)).unwrap();
    assert_eq!(engine.next_event_at(), Some(Duration::from_millis(105)));
    assert!(take(&mut engine, consumer, ms(104)).is_none());
    assert_eq!(taken(&mut engine, consumer, ms(105)).1, 2);
}

#[test]
fn d4_reject_goes_to_the_dead_letters() {
    let (mut engine, queue, consumer) = queue(QueueOptions::default());
    send(&mut engine, queue, 1, ms(0));
    let (_, _, token) = taken(&mut engine, consumer, ms(3));
    engine.settle(token, reject("decode"), ms(9)).unwrap();
    let dead = engine.dead_letters(queue).unwrap();
    let seen = engine.browse(dead, 0, 10).unwrap();
    let death = seen[0].death.unwrap();
    assert_eq!((death.reason.as_str(), death.attempts, &*death.origin), ("decode", 1, "jobs"));
    assert_eq!((death.first_unix_ms, death.died_unix_ms), (Some(1_000_003), 1_000_009));
    assert_eq!(death.last_error.as_deref(), Some("bad"));
    assert!(engine.browse(queue, 0, 10).unwrap().is_empty());
}

#[test]
fn d4_rejected_bodies_can_be_replaced_or_left_out() {
    let (mut engine, queue, consumer) = queue(QueueOptions::default());
    let dead = engine.dead_letters(queue).unwrap();
    for keep in [Keep::Substitute(77, 3), Keep::Nothing] {
        send(&mut engine, queue, 1, ms(0));
        let (_, _, token) = taken(&mut engine, consumer, ms(0));
        let outcome = Outcome::Reject { reason: Reason::Rejected("private".into()), error: None, keep };
        engine.settle(token, outcome, ms(0)).unwrap();
    }
    let seen = engine.browse(dead, 0, 10).unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!((*seen[0].payload, seen[0].size, seen[0].death.unwrap().whole), (77, 3, false));
    let redriven = engine.redrive(queue, &Select::default(), ms(0)).unwrap();
    assert_eq!((redriven.moved, redriven.refused, redriven.left), (0, 1, 1));
    assert_eq!(engine.figures(queue).unwrap().counts.discarded, 1);
}

#[test]
fn d6_a_lease_that_ends_returns_once() {
    let (mut engine, queue, consumer) = queue(QueueOptions::default());
    send(&mut engine, queue, 1, ms(0));
    let (_, _, token) = taken(&mut engine, consumer, ms(0));
    assert!(take(&mut engine, consumer, ms(29_999)).is_none());
    engine.advance(ms(30_000));
    assert_eq!(taken(&mut engine, consumer, ms(30_000)).1, 2);
    assert!(take(&mut engine, consumer, ms(30_000)).is_none());
    assert_eq!(engine.settle(token, Outcome::Dropped, ms(30_000)), Err(Error::Stale));
}

#[test]
fn d9_a_renewed_lease_lasts() {
    let (mut engine, queue, consumer) = queue(QueueOptions::default());
    send(&mut engine, queue, 1, ms(0));
    let (_, _, token) = taken(&mut engine, consumer, ms(0));
    for at in [20_000, 40_000, 60_000] {
        assert_eq!(engine.renew(token, ms(at)), Ok(Some(Duration::from_secs(30))));
        engine.advance(ms(at));
    }
    engine.advance(ms(89_999));
    assert!(take(&mut engine, consumer, ms(89_999)).is_none());
    engine.ack(token, ms(89_999)).unwrap();
}

#[test]
fn d10_a_lost_lease_is_stale_even_before_anyone_noticed() {
    let (mut engine, queue, consumer) = queue(QueueOptions::default());
    send(&mut engine, queue, 1, ms(0));
    let (_, _, token) = taken(&mut engine, consumer, ms(0));
    assert_eq!(engine.renew(token, ms(30_000)), Err(Error::Stale));
    assert_eq!(engine.ack(token, ms(30_000)), Err(Error::Stale));
    assert_eq!(taken(&mut engine, consumer, ms(30_000)).1, 2);
}

#[test]
fn a_consumer_may_have_a_lease_of_its_own() {
    let (mut engine, queue, slow) = queue(QueueOptions::default());
    let quick = engine.attach(queue, 1, Some(Duration::from_millis(50))).unwrap();
    send(&mut engine, queue, 1, ms(0));
    send(&mut engine, queue, 2, ms(0));
    taken(&mut engine, slow, ms(0));
    assert_eq!(taken(&mut engine, quick, ms(0)).0, 2);
    assert_eq!(engine.next_event_at(), Some(Duration::from_millis(50)));
    engine.advance(ms(50));
    let (payload, attempt, _) = taken(&mut engine, quick, ms(50));
    assert_eq!((payload, attempt), (2, 2));
    assert_eq!(engine.figures(queue).unwrap().leased.messages, 2);
}

#[test]
fn e1_attempts_are_capped_at_the_next_hand_out() {
    let (mut engine, queue, consumer) = queue(attempts(3));
    send(&mut engine, queue, 1, ms(0));
    for attempt in 1..=3 {
        let (_, found, token) = taken(&mut engine, consumer, ms(attempt.into()));
        assert_eq!(found, attempt);
        engine.settle(token, retry(0), ms(attempt.into())).unwrap();
    }
    assert_eq!(engine.figures(queue).unwrap().ready, 1);
    assert!(take(&mut engine, consumer, ms(9)).is_none());
    let dead = engine.dead_letters(queue).unwrap();
    let seen = engine.browse(dead, 0, 10).unwrap();
    let death = seen[0].death.unwrap();
    assert_eq!((&death.reason, death.attempts, death.died_unix_ms), (&Reason::Spent, 3, 1_000_009));
    assert_eq!(death.first_error.as_deref(), Some("after 0"));
}

#[test]
fn e1_the_oldest_dead_letters_fall_out() {
    let options = QueueOptions { dead_bound: Bound::new(2, 1000), ..QueueOptions::default() };
    let (mut engine, queue, consumer) = queue(options);
    for n in 1..=4 {
        send(&mut engine, queue, n, ms(0));
        let (_, _, token) = taken(&mut engine, consumer, ms(0));
        engine.settle(token, reject("no"), ms(0)).unwrap();
    }
    let dead = engine.dead_letters(queue).unwrap();
    let left: Vec<_> = engine.browse(dead, 0, 10).unwrap().iter().map(|seen| *seen.payload).collect();
    assert_eq!(left, [3, 4]);
    assert_eq!(engine.totals().dead_dropped, 2);
    assert_eq!(engine.totals().dropped_at_bound, 0);
}

#[test]
fn e1_dead_letters_can_be_consumed() {
    let (mut engine, queue, consumer) = queue(QueueOptions::default());
    send(&mut engine, queue, 1, ms(0));
    let (_, _, token) = taken(&mut engine, consumer, ms(0));
    engine.settle(token, reject("no"), ms(0)).unwrap();
    let dead = engine.dead_letters(queue).unwrap();
    assert_eq!(engine.find("jobs.dead"), Some(dead));
    let reader = engine.attach(dead, 1, None).unwrap();
    let handed = engine.take(reader, ms(0)).unwrap().unwrap();
    assert_eq!((handed.attempt, handed.death.unwrap().attempts), (1, 1));
    let token = handed.token;
    engine.settle(token, reject("again"), ms(0)).unwrap();
    assert_eq!(engine.figures(dead).unwrap().waiting.messages, 0);
    assert_eq!(engine.figures(dead).unwrap().counts.discarded, 1);
}

#[test]
fn nothing_is_sent_to_or_declared_as_dead_letters() {
    let (mut engine, queue, _) = queue(QueueOptions::default());
    let dead = engine.dead_letters(queue).unwrap();
    assert_eq!(engine.send(dead, message(1), ms(0)), Err(Error::DeadLetters));
    assert_eq!(engine.declare("jobs.dead", QueueOptions::default()), Err(Error::DeadLetters));
    assert_eq!(engine.declare("other.dead", QueueOptions::default()), Err(Error::DeadLetters));
    assert_eq!(engine.redrive(dead, &Select::default(), ms(0)), Err(Error::DeadLetters));
    assert_eq!(engine.remove(dead), Err(Error::DeadLetters));
}

#[test]
fn e3_redrive_keeps_ids_resets_counters_and_can_be_resumed() {
    let dedup = Some(DedupWindow { window: Duration::from_secs(9), keys: 100 });
    let options = QueueOptions { dedup, bound: Bound::new(3, 1000), ..QueueOptions::default() };
    let (mut engine, queue, consumer) = queue(options);
    for n in 1..=5 {
        send(&mut engine, queue, n, ms(0));
        let (_, _, token) = taken(&mut engine, consumer, ms(0));
        engine.settle(token, reject("no"), ms(0)).unwrap();
    }
    let one = engine.redrive(queue, &Select { limit: Some(1), ids: &[] }, ms(1)).unwrap();
    assert_eq!((one.moved, one.left, one.full), (1, 4, false));
    let chosen = engine.redrive(queue, &Select { limit: None, ids: &[id(4)] }, ms(1)).unwrap();
    assert_eq!((chosen.moved, chosen.left), (1, 3));
    let rest = engine.redrive(queue, &Select::default(), ms(1)).unwrap();
    assert_eq!((rest.moved, rest.left, rest.full), (1, 2, true));
    let handed = engine.take(consumer, ms(2)).unwrap().unwrap();
    assert_eq!((handed.id.clone(), handed.attempt, handed.send), (id(1), 1, 1));
    assert!(handed.death.is_none());
    assert_eq!(taken(&mut engine, consumer, ms(2)).0, 4);
    assert_eq!(engine.figures(queue).unwrap().counts.redriven, 3);
}

#[test]
fn e4_expired_messages_are_not_handed_out() {
    for (on_expiry, dead) in [(OnExpiry::Drop, 0), (OnExpiry::DeadLetter, 1)] {
        let options = QueueOptions { on_expiry: Some(on_expiry), ..QueueOptions::default() };
        let (mut engine, queue, consumer) = queue(options);
        engine.send(queue, message(1).expires(1_000_050), ms(0)).unwrap();
        assert_eq!(engine.next_event_at(), Some(Duration::from_millis(50)));
        assert!(take(&mut engine, consumer, ms(50)).is_none());
        let figures = engine.figures(queue).unwrap();
        assert_eq!((figures.waiting.messages, figures.dead.messages, figures.counts.expired), (0, dead, 1));
    }
}

#[test]
fn e4_expiry_is_carried_not_obeyed_by_default() {
    let (mut engine, queue, consumer) = queue(QueueOptions::default());
    engine.send(queue, message(1).expires(1_000_050), ms(0)).unwrap();
    assert_eq!(taken(&mut engine, consumer, ms(60)).0, 1);
}

#[test]
fn e4_a_message_in_hand_does_not_expire_until_it_comes_back() {
    let options = QueueOptions { on_expiry: Some(OnExpiry::Drop), ..QueueOptions::default() };
    let (mut engine, queue, consumer) = queue(options);
    engine.send(queue, message(1).expires(1_000_050), ms(0)).unwrap();
    engine.send(queue, message(2).expires(1_000_050), ms(0)).unwrap();
    let (_, _, first) = taken(&mut engine, consumer, ms(0));
    let (_, _, second) = taken(&mut engine, consumer, ms(0));
    engine.advance(ms(60));
    engine.ack(first, ms(60)).unwrap();
    engine.settle(second, Outcome::Release, ms(60)).unwrap();
    assert!(take(&mut engine, consumer, ms(60)).is_none());
    assert_eq!(engine.figures(queue).unwrap().counts.expired, 1);
}

#[test]
fn e5_a_delayed_send_waits_and_keeps_its_place() {
    let (mut engine, queue, consumer) = queue(QueueOptions::default());
    engine.send_after(queue, message(1), Duration::from_millis(10), ms(0)).unwrap();
    send(&mut engine, queue, 2, ms(0));
    send(&mut engine, queue, 3, ms(0));
    assert_eq!(taken(&mut engine, consumer, ms(9)).0, 2);
    assert_eq!(taken(&mut engine, consumer, ms(10)).0, 1);
    assert_eq!(taken(&mut engine, consumer, ms(10)).0, 3);
}

#[test]
fn e6_higher_priority_first() {
    let options = QueueOptions { priorities: true, ..QueueOptions::default() };
    let (mut engine, queue, consumer) = queue(options);
    for (n, priority) in [(1, 0), (2, 9), (3, 5), (4, 9)] {
        engine.send(queue, message(n).priority(priority), ms(0)).unwrap();
    }
    let order: Vec<_> = (0..4).map(|_| taken(&mut engine, consumer, ms(0)).0).collect();
    assert_eq!(order, [2, 4, 3, 1]);
}

#[test]
fn h2_a_full_queue_refuses() {
    let (mut engine, queue, consumer) = queue(bounded(2, 25, WhenFull::Refuse));
    send(&mut engine, queue, 1, ms(0));
    send(&mut engine, queue, 2, ms(0));
    let full = Error::Full { messages: 2, bytes: 20 };
    assert_eq!(engine.send(queue, message(3), ms(0)), Err(full));
    assert_eq!(engine.room(queue, 1), Err(full));
    let large = Envelope::new(id(4), 4, 26);
    assert_eq!(engine.send(queue, large, ms(0)), Err(Error::TooLarge { size: 26, limit: 25 }));
    let (_, _, token) = taken(&mut engine, consumer, ms(0));
    send(&mut engine, queue, 5, ms(0));
    engine.settle(token, Outcome::Dropped, ms(0)).unwrap();
    assert_eq!(engine.figures(queue).unwrap().waiting.messages, 3, "a return is never lost to the bound");
    assert_eq!(engine.figures(queue).unwrap().counts.refused, 2);
}

#[test]
fn h2_the_oldest_makes_room_but_never_a_return() {
    let (mut engine, queue, consumer) = queue(bounded(2, 1000, WhenFull::DropOldest));
    send(&mut engine, queue, 1, ms(0));
    let (_, _, token) = taken(&mut engine, consumer, ms(0));
    engine.settle(token, Outcome::Release, ms(0)).unwrap();
    (2..=4).for_each(|n| send(&mut engine, queue, n, ms(0)));
    let left: Vec<_> = engine.browse(queue, 0, 10).unwrap().iter().map(|seen| *seen.payload).collect();
    assert_eq!(left, [1, 4]);
    let (_, _, token) = taken(&mut engine, consumer, ms(0));
    let (_, _, other) = taken(&mut engine, consumer, ms(0));
    engine.settle(token, retry(10), ms(0)).unwrap();
    engine.settle(other, Outcome::Dropped, ms(0)).unwrap();
    assert!(matches!(engine.send(queue, message(5), ms(0)), Err(Error::Full { .. })));
    assert_eq!(engine.totals().dropped_at_bound, 2);
}

#[test]
fn a_repeated_key_is_a_duplicate_within_the_window() {
    let dedup = Some(DedupWindow { window: Duration::from_millis(100), keys: 10 });
    let (mut engine, queue, consumer) = queue(QueueOptions { dedup, ..QueueOptions::default() });
    send(&mut engine, queue, 1, ms(0));
    let (_, _, token) = taken(&mut engine, consumer, ms(0));
    engine.ack(token, ms(0)).unwrap();
    assert_eq!(engine.send(queue, message(1), ms(99)), Ok(Accepted::Duplicate));
    let mut again = message(1);
    again.key.send = 1;
    assert_eq!(engine.send(queue, again, ms(99)), Ok(Accepted::Stored), "a new send number is a new message");
    assert_eq!(engine.send(queue, message(1), ms(100)), Ok(Accepted::Stored));
}

#[test]
fn c2_credit_is_never_exceeded_and_reached() {
    let (mut engine, queue, consumer) = queue(QueueOptions::default());
    engine.set_credit(consumer, 2).unwrap();
    (0..9).for_each(|n| send(&mut engine, queue, n, ms(0)));
    let (_, _, first) = taken(&mut engine, consumer, ms(0));
    taken(&mut engine, consumer, ms(0));
    assert!(take(&mut engine, consumer, ms(0)).is_none());
    engine.set_credit(consumer, 3).unwrap();
    taken(&mut engine, consumer, ms(0));
    engine.set_credit(consumer, 1).unwrap();
    engine.ack(first, ms(0)).unwrap();
    assert!(take(&mut engine, consumer, ms(0)).is_none(), "a cut holds as messages are settled");
    assert_eq!(engine.in_hand(consumer), Some(2));
}

#[test]
fn c6_dispatch_is_round_robin_among_those_with_credit() {
    let (mut engine, queue, first) = queue(QueueOptions::default());
    engine.set_credit(first, 2).unwrap();
    let second = engine.attach(queue, 10, None).unwrap();
    let third = engine.attach(queue, 0, None).unwrap();
    (0..6).for_each(|n| send(&mut engine, queue, n, ms(0)));
    let mut order = Vec::new();
    while let Some(handed) = engine.dispatch(queue, ms(0)).unwrap() {
        order.push(handed.consumer);
    }
    assert_eq!(order, [first, second, first, second, second, second]);
    engine.set_credit(third, 1).unwrap();
    send(&mut engine, queue, 7, ms(0));
    send(&mut engine, queue, 8, ms(0));
    let next: Vec<_> = (0..2).map(|_| engine.dispatch(queue, ms(0)).unwrap().unwrap().consumer).collect();
    assert!(next.contains(&third), "nobody starves");
}

#[test]
fn a_leaving_consumer_gives_back_what_it_holds() {
    for (leaving, attempt) in [(Leaving::Release, 1), (Leaving::Drop, 2)] {
        let (mut engine, queue, first) = queue(QueueOptions::default());
        let second = engine.attach(queue, 9, None).unwrap();
        send(&mut engine, queue, 1, ms(0));
        let (_, _, token) = taken(&mut engine, first, ms(0));
        assert_eq!(engine.detach(first, leaving, ms(0)), Ok(1));
        assert_eq!(engine.ack(token, ms(0)), Err(Error::Stale));
        assert_eq!(taken(&mut engine, second, ms(0)).1, attempt);
        assert_eq!(engine.take(first, ms(0)).err(), Some(Error::NoSuchConsumer));
        assert_eq!(engine.detach(first, leaving, ms(0)), Err(Error::NoSuchConsumer));
    }
}

#[test]
fn what_a_departed_consumer_keeps_can_still_be_settled() {
    let (mut engine, queue, consumer) = queue(QueueOptions::default());
    send(&mut engine, queue, 1, ms(0));
    send(&mut engine, queue, 2, ms(0));
    let (_, _, token) = taken(&mut engine, consumer, ms(0));
    assert_eq!(engine.detach(consumer, Leaving::Keep, ms(0)), Ok(0));
    assert_eq!(engine.take(consumer, ms(0)).err(), Some(Error::NoSuchConsumer));
    assert_eq!(engine.figures(queue).unwrap().consumers, 0);
    engine.ack(token, ms(0)).unwrap();
    let next = engine.attach(queue, 1, None).unwrap();
    assert_ne!(next, consumer);
    assert_eq!(taken(&mut engine, next, ms(0)).0, 2);
}

#[test]
fn what_a_departed_consumer_keeps_can_be_taken_back() {
    let (mut engine, queue, consumer) = queue(QueueOptions::default());
    send(&mut engine, queue, 1, ms(0));
    let (_, _, token) = taken(&mut engine, consumer, ms(0));
    assert_eq!(engine.peek(token, ms(0)), Ok(&1));
    engine.detach(consumer, Leaving::Keep, ms(0)).unwrap();
    assert_eq!(engine.recall(consumer, Leaving::Drop, ms(0)), Ok(1));
    assert_eq!(engine.recall(consumer, Leaving::Drop, ms(0)), Ok(0));
    assert_eq!(engine.peek(token, ms(0)), Err(Error::Stale));
    let next = engine.attach(queue, 1, None).unwrap();
    assert_eq!(taken(&mut engine, next, ms(0)).1, 2);
}

#[test]
fn j9_a_stepped_wall_clock_does_not_touch_leases() {
    let (mut engine, queue, consumer) = queue(QueueOptions::default());
    send(&mut engine, queue, 1, ms(0));
    let (_, _, token) = taken(&mut engine, consumer, ms(0));
    let stepped = Now::new(Duration::from_secs(1), 9_000_000_000);
    engine.advance(stepped);
    engine.ack(token, stepped).unwrap();
}

#[test]
fn an_existing_queue_is_used_as_it_is() {
    let (mut engine, queue, _) = queue(attempts(2));
    let found = engine.declare("jobs", attempts(9)).unwrap();
    assert_eq!((found.queue, found.created, found.options), (queue, false, attempts(2)));
}

#[test]
fn a_removed_queue_takes_everything_with_it() {
    let (mut engine, queue, consumer) = queue(QueueOptions::default());
    for n in 0..3 {
        send(&mut engine, queue, n, ms(0));
    }
    let (_, _, token) = taken(&mut engine, consumer, ms(0));
    engine.settle(token, reject("no"), ms(0)).unwrap();
    let (_, _, token) = taken(&mut engine, consumer, ms(0));
    let removed = engine.remove(queue).unwrap();
    assert_eq!((removed.waiting, removed.in_hand, removed.dead_letters), (1, 1, 1));
    assert_eq!(engine.ack(token, ms(0)), Err(Error::NoSuchQueue));
    assert_eq!((engine.find("jobs"), engine.find("jobs.dead")), (None, None));
    let again = engine.declare("jobs", QueueOptions::default()).unwrap();
    assert!(again.created && again.queue != queue);
    assert_eq!(engine.ack(token, ms(0)), Err(Error::NoSuchQueue));
}

#[test]
fn purge_counts_and_leaves_what_is_in_hand() {
    let (mut engine, queue, consumer) = queue(QueueOptions::default());
    for n in 0..4 {
        send(&mut engine, queue, n, ms(0));
    }
    let (_, _, held) = taken(&mut engine, consumer, ms(0));
    let (_, _, token) = taken(&mut engine, consumer, ms(0));
    engine.settle(token, retry(1000), ms(0)).unwrap();
    assert_eq!(engine.purge(queue, ms(0)), Ok(3));
    assert!(take(&mut engine, consumer, ms(2000)).is_none());
    engine.settle(held, Outcome::Dropped, ms(2000)).unwrap();
    assert_eq!(taken(&mut engine, consumer, ms(2000)).0, 0);
}

#[test]
fn browse_pages_in_order_without_counting() {
    let (mut engine, queue, consumer) = queue(QueueOptions::default());
    for n in 0..7 {
        send(&mut engine, queue, n, ms(0));
    }
    let (_, _, token) = taken(&mut engine, consumer, ms(0));
    engine.settle(token, retry(50), ms(0)).unwrap();
    let (_, _, token) = taken(&mut engine, consumer, ms(0));
    engine.settle(token, Outcome::Dropped, ms(0)).unwrap();
    let (mut after, mut all) = (0, Vec::new());
    loop {
        let page = engine.browse(queue, after, 3).unwrap();
        let Some(last) = page.last() else { break };
        after = last.seq;
        all.extend(page.iter().map(|seen| (*seen.payload, seen.attempts, seen.place)));
    }
    let payloads: Vec<_> = all.iter().map(|seen| seen.0).collect();
    assert_eq!(payloads, [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!((all[0].2, all[1].2), (Place::Delayed, Place::Ready));
    assert_eq!(all[2].1, 0);
}

#[test]
fn c5_one_poison_message_does_not_harm_its_neighbours() {
    let (mut engine, queue, consumer) = queue(attempts(3));
    for n in 0..10 {
        send(&mut engine, queue, n, ms(0));
    }
    let mut done = Vec::new();
    while let Some((n, attempt, token)) = take(&mut engine, consumer, ms(0)) {
        if n == 4 {
            engine.settle(token, Outcome::Dropped, ms(0)).unwrap();
        } else {
            assert_eq!(attempt, 1);
            engine.ack(token, ms(0)).unwrap();
            done.push(n);
        }
    }
    assert_eq!(done, [0, 1, 2, 3, 5, 6, 7, 8, 9]);
    assert_eq!(engine.figures(queue).unwrap().dead.messages, 1);
}
