//! A full disk holds senders back, and nobody else for as long as can be.

use polybus_queue::Error;

use crate::disk::{Memory, Random};
use crate::ward::{Ward, options};

#[test]
fn h2_a_full_disk_refuses_sends_serves_the_rest_and_recovers() {
    let disk = Memory::default();
    let mut ward = Ward::open(disk.clone(), options()).unwrap();
    disk.set_room(Some(8 * options().segment));
    let mut sent = 0;
    let refused = loop {
        match ward.send(100) {
            Ok(_) => sent += 1,
            Err(error) => break error,
        }
        assert!(ward.commit(true), "the room for what was taken had been reserved");
        assert!(sent < 10_000);
    };
    assert_eq!(refused, Error::NoSpace);
    assert!(sent > 50, "{sent}");
    let mut random = Random::new(1);
    for _ in 0..10 {
        assert!(ward.take());
        ward.settle(&mut random);
        assert!(ward.commit(true), "settles go on while the disk is full");
    }
    disk.set_room(None);
    ward.commit(true);
    ward.send(100).unwrap();
    assert!(ward.commit(true));
    let disk = ward.disk.after_kill();
    let mut ward = ward.reopen(disk).unwrap();
    ward.check("after a full disk");
}

#[test]
fn consuming_makes_room_on_a_full_disk() {
    let disk = Memory::default();
    let mut ward = Ward::open(disk.clone(), options()).unwrap();
    disk.set_room(Some(8 * options().segment));
    while ward.send(100).is_ok() {
        ward.commit(true);
    }
    let mut steps = 0;
    while ward.send(100).is_err() {
        steps += 1;
        assert!(
            steps < 2000,
            "no room although everything was consumed: {:?} {:?}",
            ward.writer,
            ward.engine.load()
        );
        ward.take();
        ward.ack();
        ward.commit(true);
        ward.more();
    }
    assert!(ward.commit(true));
}

#[test]
fn batches_that_find_no_room_wait_and_are_written_later() {
    let disk = Memory::default();
    let mut ward = Ward::open(disk.clone(), options()).unwrap();
    disk.set_room(Some(0));
    // Taken before anybody knew that the disk is full, and larger than the segment.
    let numbers: Vec<u64> = (0..60).map(|_| ward.send(100).unwrap()).collect();
    assert!(!ward.commit(true));
    assert_eq!(ward.send(1), Err(Error::NoSpace));
    assert!(ward.told.is_empty(), "nothing is confirmed meanwhile");
    let killed = ward.disk.after_kill();
    disk.set_room(None);
    ward.commit(true);
    assert!(ward.commit(true));
    assert!(numbers.iter().all(|number| ward.told[number].sent));
    assert!(Ward::open(killed, options()).is_ok(), "nothing half is on the disk");
}
