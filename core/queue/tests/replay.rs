//! Records that do not fit are refused, with their position.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use polybus_queue::{Engine, Envelope, Error, MessageId, NoJournal, Now, Outcome, QueueOptions, Record};

type Log = Vec<Record<'static, u32>>;

fn history() -> (Log, Now) {
    let now = Now::new(Duration::from_secs(5), 1_000_000);
    let mut engine = Engine::with_journal(Log::new());
    let queue = engine.declare("jobs", QueueOptions::default()).unwrap().queue;
    engine.send(queue, Envelope::new(MessageId::Text("a".into()), 1, 1), now).unwrap();
    let consumer = engine.attach(queue, 1, None).unwrap();
    let token = engine.take(consumer, now).unwrap().unwrap().token;
    let retry = Outcome::Retry { after: Duration::from_mins(1), error: None };
    engine.settle(token, retry, now).unwrap();
    (engine.journal_mut().clone(), now)
}

#[test]
fn a_delay_outlives_a_restart() {
    let (records, now) = history();
    // The new process has a younger monotonic clock; wall time went on by ten seconds.
    let restarted = Now::new(Duration::ZERO, now.unix_ms + 10_000);
    let mut engine = Engine::replay(records, NoJournal, restarted).unwrap();
    let queue = engine.find("jobs").unwrap();
    let consumer = engine.attach(queue, 1, None).unwrap();
    let due = engine.next_event_at().unwrap();
    assert!(due >= Duration::from_secs(50) && due < Duration::from_secs(51), "{due:?}");
    let early = Now::new(Duration::from_secs(49), restarted.unix_ms + 49_000);
    assert!(engine.take(consumer, early).unwrap().is_none());
    let late = Now::new(due, restarted.unix_ms + 51_000);
    assert_eq!(engine.take(consumer, late).unwrap().unwrap().attempt, 2);
}

#[test]
fn a_missing_record_is_found() {
    let (records, now) = history();
    for left_out in [0, 1] {
        let mut broken = records.clone();
        broken.remove(left_out);
        let error = Engine::replay(broken, NoJournal, now).err();
        assert_eq!(error, Some(Error::Corrupt { record: left_out as u64 }));
    }
}

#[test]
fn the_journal_goes_on_where_it_was() {
    let (records, now) = history();
    let engine = Engine::replay(records.clone(), Log::new(), now);
    let mut engine = engine.unwrap();
    assert!(engine.journal_mut().is_empty(), "the replay itself is not recorded");
    let queue = engine.find("jobs").unwrap();
    engine.send(queue, Envelope::new(MessageId::Text("b".into()), 2, 1), now).unwrap();
    let mut all = records;
    all.append(engine.journal_mut());
    let twice: Engine<u32> = Engine::replay(all, NoJournal, now).unwrap();
    assert_eq!(twice.figures(twice.find("jobs").unwrap()).unwrap().waiting.messages, 2);
}
