//! Packets of the protocol over ZeroMQ: whatever the frames hold is read or refused.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use polybus_zeromq::wire::check;
use polybus_zeromq::wire::frame::Packet;

// The letter of the kind, then the header up to a zero byte, then the body.
fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    let mut parts = rest.splitn(2, |byte| *byte == 0);
    let mut head = vec![1, *kind];
    head.extend(7_u64.to_be_bytes());
    let mut frames = vec![Bytes::from(head)];
    frames.extend(parts.next().map(Bytes::copy_from_slice));
    frames.extend(parts.next().map(Bytes::copy_from_slice));
    let packet = Packet::from_frames(frames).expect("these are frames of a packet");
    assert_eq!((packet.kind, packet.number), (*kind, 7));
    let _ = check(&packet);
    // And as they are, in frames of any sizes.
    let frames = data.chunks(usize::from(*kind).max(1)).take(5).map(Bytes::copy_from_slice).collect();
    if let Ok(packet) = Packet::from_frames(frames) {
        let _ = check(&packet);
    }
});
