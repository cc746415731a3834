//! ZMTP: any bytes, in pieces of any size, come out the same as at once, and nothing is kept beyond the limits.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use polybus_zeromq::zmtp::{Command, Decoder, Event, Fault, Limits, read_ready};

const LIMITS: Limits = Limits { frame: 2000, message: 3000, frames: 4 };

/// Everything that is said in these pieces, and the fault that ends it.
fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>, most: usize) -> (Vec<Event>, Option<Fault>) {
    let (mut decoder, mut buffer, mut events) = (Decoder::new(LIMITS), BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.next(&mut buffer) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(fault) => return (events, Some(fault)),
            }
        }
        assert!(buffer.len() <= 4096 + 9 + most, "{} bytes are kept", buffer.len());
        assert!(decoder.missing(buffer.len()) <= 4096);
    }
    (events, None)
}

fuzz_target!(|data: &[u8]| {
    let Some((size, said)) = data.split_first() else { return };
    let size = usize::from(*size).max(1);
    let at_once = decode(std::iter::once(said), said.len());
    let (events, fault) = decode(said.chunks(size), size);
    assert_eq!(at_once, (events, fault));
    for event in at_once.0 {
        match event {
            Event::Command(Command::Ready(data)) => drop(read_ready(&data)),
            Event::Message(frames) => {
                assert!(frames.len() <= LIMITS.frames);
                assert!(frames.iter().map(|frame| frame.len() as u64).sum::<u64>() <= LIMITS.message);
            }
            _ => {}
        }
    }
});
