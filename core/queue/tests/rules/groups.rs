//! Topic groups: who gets what, and what one that is full or unused does to the others.

use super::*;

#[test]
fn f_each_group_gets_everything_and_its_members_compete() {
    let mut engine = Engine::new();
    engine.declare_topic("news");
    let groups = ["a", "b"].map(|group| {
        engine.declare_group("news", group, QueueOptions::default(), None, ms(0)).unwrap().queue
    });
    let members = [groups[0], groups[0], groups[1]].map(|queue| engine.attach(queue, 1, None).unwrap());
    let published = engine.publish("news", &message(1), ms(0)).unwrap();
    assert_eq!((published.stored, published.missed, published.refused.len()), (2, 0, 0));
    let got = members.map(|member| take(&mut engine, member, ms(0)).map(|found| found.0));
    assert_eq!(got, [Some(1), None, Some(1)]);
    assert_eq!(engine.find("news@b"), Some(groups[1]));
    assert_eq!(engine.publish("nothing", &message(1), ms(0)), Err(Error::NoSuchTopic));
}

#[test]
fn f_a_full_group_refuses_while_others_have_the_message() {
    let mut engine = Engine::new();
    engine.declare_topic("news");
    let dedup = Some(DedupWindow { window: Duration::from_secs(1), keys: 10 });
    let tight = QueueOptions { dedup, ..bounded(1, 1000, WhenFull::Refuse) };
    let tight = engine.declare_group("news", "tight", tight, None, ms(0)).unwrap().queue;
    let wide = QueueOptions { dedup, ..QueueOptions::default() };
    let wide = engine.declare_group("news", "wide", wide, None, ms(0)).unwrap().queue;
    engine.publish("news", &message(1), ms(0)).unwrap();
    let published = engine.publish("news", &message(2), ms(0)).unwrap();
    assert_eq!(published.stored, 1);
    assert_eq!(published.refused, [(tight, Error::Full { messages: 1, bytes: 10 })]);
    engine.purge(tight, ms(0)).unwrap();
    assert_eq!(engine.publish("news", &message(2), ms(0)).unwrap().stored, 2);
    assert_eq!(engine.figures(wide).unwrap().ready, 2, "the second try is a duplicate here");
}

#[test]
fn f_a_group_that_drops_is_told_how_many_it_missed() {
    let mut engine = Engine::new();
    engine.declare_topic("news");
    let options = bounded(2, 1000, WhenFull::DropOldest);
    let group = engine.declare_group("news", "g", options, None, ms(0)).unwrap().queue;
    for n in 0..5 {
        assert_eq!(engine.publish("news", &message(n), ms(0)).unwrap().stored, 1);
    }
    assert_eq!(engine.take_gap(group), Ok(3));
    assert_eq!(engine.take_gap(group), Ok(0));
    let consumer = engine.attach(group, 9, None).unwrap();
    for _ in 0..2 {
        let (_, _, token) = taken(&mut engine, consumer, ms(0));
        engine.settle(token, Outcome::Dropped, ms(0)).unwrap();
        let (_, _, token) = taken(&mut engine, consumer, ms(0));
        engine.settle(token, retry(1000), ms(0)).unwrap();
    }
    assert_eq!(engine.publish("news", &message(9), ms(0)).unwrap().missed, 1);
    assert_eq!(engine.take_gap(group), Ok(1));
}

#[test]
fn f_an_unused_group_ends() {
    let mut engine = Engine::<u32>::new();
    engine.declare_topic("news");
    let unused = Some(Duration::from_mins(1));
    let group = engine.declare_group("news", "g", QueueOptions::default(), unused, ms(0)).unwrap().queue;
    let consumer = engine.attach(group, 1, None).unwrap();
    engine.advance(ms(100_000));
    assert_eq!(engine.groups("news").unwrap(), [group], "it is used");
    engine.detach(consumer, Leaving::Release, ms(100_000)).unwrap();
    assert_eq!(engine.next_event_at(), Some(Duration::from_secs(160)));
    engine.advance(ms(159_999));
    assert_eq!(engine.groups("news").unwrap(), [group]);
    while engine.take_stirred().is_some() {}
    engine.advance(ms(160_000));
    assert!(engine.groups("news").unwrap().is_empty());
    assert!(std::iter::from_fn(|| engine.take_stirred()).any(|queue| queue == group));
    assert_eq!(engine.figures(group), Err(Error::NoSuchQueue));
    assert_eq!(engine.next_event_at(), None);
}
