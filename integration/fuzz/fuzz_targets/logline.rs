//! Log lines: reading never fails, and what is shown cannot move a terminal's cursor.
#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use polybus::log::{Record, Zone};
use serde::de::IgnoredAny;

fuzz_target!(|data: &[u8]| {
    let record = Record::read(data);
    let json = record.to_json().compact();
    assert!(serde_json::from_str::<IgnoredAny>(&json).is_ok(), "no JSON: {json}");
    let lines = [
        record.shown(Timestamp::UNIX_EPOCH, Zone::Utc),
        record.shown_as_received(Timestamp::UNIX_EPOCH, Zone::Utc),
    ];
    for shown in lines {
        assert!(shown.ends_with('\n'));
        assert!(!shown.contains(|sign: char| sign.is_control() && sign != '\n' && sign != '\t'), "{shown:?}");
    }
});
