//! Loss of power and of the process at any moment.

use crate::disk::{Memory, Random};
use crate::ward::{Ward, options};

/// A life of several runs, each ended by a loss of power or of the process.
fn live(seed: u64) -> (u64, u64) {
    let mut random = Random::new(seed);
    let mut ward = Ward::open(Memory::default(), options()).unwrap();
    let mut cuts = 0;
    for run in 0..4 {
        for _ in 0..random.below(1200) {
            ward.step(&mut random);
        }
        let powerless = random.below(2) == 0;
        let disk = if powerless { ward.disk.after_power_loss(&mut random) } else { ward.disk.after_kill() };
        ward = ward.reopen(disk).unwrap_or_else(|error| panic!("seed {seed} run {run}: {error}"));
        cuts += u64::from(ward.recovered.cut.is_some());
        ward.check(&format!("seed {seed} run {run} power {powerless}: {}", ward.recovered));
    }
    (ward.snapshots, cuts)
}

#[test]
fn h1_j2_whatever_was_confirmed_survives_any_loss_of_power() {
    let (mut snapshots, mut cuts) = (0, 0);
    for seed in 0..500 {
        let (told, cut) = live(seed);
        snapshots += told;
        cuts += cut;
    }
    assert!(snapshots > 100 && cuts > 20, "{snapshots} snapshots, {cuts} cut ends: the runs prove little");
}

#[test]
fn the_size_on_disk_follows_what_is_held_not_what_went_through() {
    let mut ward = Ward::open(Memory::default(), options()).unwrap();
    let mut random = Random::new(5);
    let mut most = 0;
    for _ in 0..20_000 {
        ward.step(&mut random);
        let held = ward.engine.load().bytes;
        let bound = 5 * held + 8 * options().segment + 2 * 4096;
        most = most.max(ward.disk.bytes());
        assert!(ward.disk.bytes() <= bound, "{} bytes on disk for {held} held", ward.disk.bytes());
    }
    assert!(ward.snapshots > 3 && most > options().segment, "{} snapshots", ward.snapshots);
}

#[test]
fn a_failed_sync_ends_the_writer_and_confirms_nothing() {
    let mut ward = Ward::open(Memory::default(), options()).unwrap();
    ward.send(10).unwrap();
    assert!(ward.commit(true));
    ward.disk.set_broken();
    let second = ward.send(10).unwrap();
    assert!(!ward.commit(true));
    assert!(!ward.commit(true), "a second try is no better");
    assert!(!ward.told.contains_key(&second));
}

#[test]
fn what_was_in_hand_is_ready_again_with_its_attempt_counted() {
    let mut ward = Ward::open(Memory::default(), options()).unwrap();
    ward.send(10).unwrap();
    assert!(ward.take());
    assert!(ward.commit(true));
    let disk = ward.disk.after_kill();
    let mut ward = ward.reopen(disk).unwrap();
    let seen = ward.engine.browse(ward.queue, 0, 9).unwrap();
    assert_eq!((seen.len(), seen[0].attempts), (1, 1));
    ward.check("after a hand-out");
    ward.leave();
}
