//! Any bytes in place of records: refused or replayed, never a panic.

use std::time::Duration;

use polybus_queue::journal::{Disk, DiskFile, read_records};
use polybus_queue::{Engine, NoJournal, Now};
use proptest::prelude::*;

use crate::disk::{Memory, Random};
use crate::ward::{Texts, Ward, options};

/// The records of a life, batch by batch, as they lie in the segments.
fn history(seed: u64) -> Vec<Vec<u8>> {
    let mut random = Random::new(seed);
    let mut ward = Ward::open(Memory::default(), options()).unwrap();
    for _ in 0..120 {
        ward.step(&mut random);
    }
    assert!(ward.commit(true));
    let mut batches = Vec::new();
    for name in ward.disk.names().into_iter().filter(|name| name.ends_with(".journal")) {
        let bytes = ward.disk.open(&name).unwrap().read_from(64).unwrap();
        let mut rest = &bytes[..];
        while rest.starts_with(b"PBjb") {
            let length = u32::from_le_bytes(rest[4..8].try_into().unwrap()) as usize;
            batches.push(rest[40..40 + length].to_vec());
            rest = &rest[40 + length..];
        }
    }
    batches
}

fn replay(bytes: &[u8]) -> bool {
    let now = Now::new(Duration::ZERO, 1_000_000);
    let Some(records) = read_records(bytes, &Texts) else { return false };
    let Ok(mut engine) = Engine::replay(records, NoJournal, now) else { return false };
    // What was replayed can be used.
    let later = Now::new(Duration::from_secs(9), 1_009_000);
    engine.advance(later);
    let queues: Vec<_> = engine.queues().collect();
    for queue in queues {
        let consumer = engine.attach(queue, 3, None).unwrap();
        while let Ok(Some(_)) = engine.take(consumer, later) {}
    }
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        replay(&bytes);
    }

    #[test]
    fn histories_with_other_bytes_in_them(
        seed in 0..20_u64,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = history(seed).concat();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        replay(&bytes);
    }

    #[test]
    fn histories_with_batches_missing_twice_or_in_another_order(
        seed in 0..20_u64,
        order in prop::collection::vec(any::<prop::sample::Index>(), 1..40),
    ) {
        let batches = history(seed);
        let bytes: Vec<u8> = order.iter().flat_map(|at| batches[at.index(batches.len())].clone()).collect();
        replay(&bytes);
    }
}

#[test]
fn whole_histories_are_replayed() {
    for seed in 0..20 {
        assert!(replay(&history(seed).concat()), "seed {seed}");
    }
}
