//! Frames: any bytes are read or refused, and what was read comes back the same.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use polybus::frame::{DEFAULT_MAX_BYTES, Json, Received, check_strict, terse_body};
use serde::de::IgnoredAny;

fuzz_target!(|data: &[u8]| {
    let _ = terse_body(data);
    let faults = check_strict(data);
    let Ok(frame) = Received::read(&Bytes::copy_from_slice(data), DEFAULT_MAX_BYTES) else {
        assert!(!faults.is_empty(), "a strict frame was refused");
        return;
    };
    let written = Json::from(frame.whole().clone()).compact();
    assert!(serde_json::from_str::<IgnoredAny>(&written).is_ok(), "what we write is no JSON: {written}");
    let again = Received::read(&Bytes::from(written), u64::MAX).expect("what we write can be read");
    assert_eq!(again.normalised().compact(), frame.normalised().compact());
    let _ = frame.terse().pretty_sorted();
});
