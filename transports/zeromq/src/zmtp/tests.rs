use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::zmtp::{GREETING, Socket, ping, read_ready, ready};

const LIMITS: Limits = Limits { frame: 1000, message: 1500, frames: 3 };

fn decode(bytes: &[u8]) -> Result<Vec<Event>, Fault> {
    let mut buffer = BytesMut::from(bytes);
    let mut decoder = Decoder::new(LIMITS);
    let mut events = Vec::new();
    while let Some(event) = decoder.next(&mut buffer)? {
        events.push(event);
    }
    Ok(events)
}

fn after_greeting(bytes: &[u8]) -> Result<Vec<Event>, Fault> {
    decode(&[&GREETING[..], bytes].concat())
}

#[test]
fn what_others_say_is_understood() {
    let mut said = ready(Socket::Dealer);
    said.extend([1, 1, b'a', 0, 2, b'b', b'c']);
    said.extend(ping(std::time::Duration::from_secs(3)));
    let events = after_greeting(&said).unwrap();
    assert_eq!(events.len(), 4);
    let Event::Command(Command::Ready(data)) = &events[1] else { panic!("{events:?}") };
    let ready = read_ready(data).unwrap();
    assert!(Socket::Router.meets(&ready).is_ok() && Socket::Dealer.meets(&ready).is_err());
    assert_eq!(events[2], Event::Message(vec![Bytes::from_static(b"a"), Bytes::from_static(b"bc")]));
    assert_eq!(events[3], Event::Command(Command::Ping(Bytes::new())));
}

#[test]
fn what_is_claimed_is_refused_before_it_is_waited_for() {
    let huge = [2, 0, 0, 0, 16, 0, 0, 0, 0];
    assert_eq!(after_greeting(&huge).unwrap_err(), Fault::TooLarge { claimed: 64 << 30, limit: 1000 });
    let command = [6, 0, 0, 0, 16, 0, 0, 0, 0];
    assert_eq!(after_greeting(&command).unwrap_err(), Fault::TooLarge { claimed: 64 << 30, limit: 4096 });
    let endless = [1, 0].repeat(9);
    assert_eq!(after_greeting(&endless).unwrap_err(), Fault::TooManyFrames);
    let two = [&[3, 0, 0, 0, 0, 0, 0, 3, 0xe8][..], &[0; 1000], &[2, 0, 0, 0, 0, 0, 0, 3, 0xe8]].concat();
    assert_eq!(after_greeting(&two).unwrap_err(), Fault::TooLarge { claimed: 2000, limit: 1500 });
    for flags in [8, 255, 5] {
        assert_eq!(after_greeting(&[flags, 1]).unwrap_err(), Fault::Flags(flags));
    }
    for command in [&[4, 0][..], &[4, 2, 9, b'x'], &[4, 5, 4, b'P', b'I', b'N', b'G']] {
        assert_eq!(after_greeting(command).unwrap_err(), Fault::Command);
    }
}

#[test]
fn who_speaks_something_else_is_told_at_once() {
    for first in [&b"GET / HTTP/1.1"[..], b"\xff\0\0\0\0\0\0\0\x01\x7f\x01", b"\xff\0\0\0\0\0\0\0\x01\x01"] {
        assert!(matches!(decode(first), Err(Fault::Greeting(_))), "{first:?}");
    }
    let mut curve = GREETING;
    curve[12..17].copy_from_slice(b"CURVE");
    assert!(matches!(decode(&curve), Err(Fault::Greeting(_))));
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_come_out_the_same(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        cuts in prop::collection::vec(1_usize..40, 1..20),
    ) {
        let whole = [&GREETING[..], &bytes].concat();
        let at_once = decode(&whole);
        let (mut decoder, mut buffer) = (Decoder::new(LIMITS), BytesMut::new());
        let (mut events, mut fault, mut rest) = (Vec::new(), None, &whole[..]);
        let mut cuts = cuts.into_iter().cycle();
        while fault.is_none() && !rest.is_empty() {
            let (piece, behind) = rest.split_at(cuts.next().unwrap_or(1).min(rest.len()));
            buffer.extend_from_slice(piece);
            rest = behind;
            loop {
                match decoder.next(&mut buffer) {
                    Ok(Some(event)) => events.push(event),
                    Ok(None) => break,
                    Err(found) => { fault = Some(found); break }
                }
            }
            // Nothing is kept beyond what may be.
            prop_assert!(buffer.len() <= 4096 + 40);
        }
        match (at_once, fault) {
            (Ok(at_once), None) => prop_assert_eq!(at_once, events),
            (Err(at_once), Some(fault)) => prop_assert_eq!(at_once, fault),
            (at_once, fault) => prop_assert!(false, "{:?} {:?}", at_once, fault),
        }
    }
}
