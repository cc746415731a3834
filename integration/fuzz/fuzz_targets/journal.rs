//! Journals: any bytes for the records of a batch are replayed or refused.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use polybus_queue::journal::{Codec, Decoder, Encoder, read_records};
use polybus_queue::{Engine, NoJournal, Now};

struct Raw;

impl Codec<Vec<u8>> for Raw {
    fn encode(&self, payload: &Vec<u8>, to: &mut Encoder<'_>) {
        to.raw(payload);
    }

    fn decode(&self, from: &mut Decoder<'_>) -> Option<Vec<u8>> {
        Some(from.rest().to_vec())
    }
}

fuzz_target!(|data: &[u8]| {
    let now = Now::new(Duration::ZERO, 1_000_000);
    let Some(records) = read_records(data, &Raw) else { return };
    let Ok(mut engine) = Engine::replay(records, NoJournal, now) else { return };
    engine.advance(Now::new(Duration::from_secs(9), 1_009_000));
    let queues: Vec<_> = engine.queues().collect();
    for queue in queues {
        let consumer = engine.attach(queue, 3, None).expect("the queue is there");
        while let Ok(Some(_)) = engine.take(consumer, now) {}
    }
});
