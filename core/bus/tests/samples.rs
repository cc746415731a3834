//! The frames that the book shows are frames that we would write.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests end at the first surprise")]

use std::fs;
use std::path::PathBuf;

use polybus::frame::{DEFAULT_MAX_BYTES, Received, check_strict};

fn sample(name: &str) -> Vec<u8> {
    fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../integration/samples").join(name)).unwrap()
}

#[test]
fn shown_frames_are_strict_and_read_back() {
    for (name, is_reply) in [("request.json", false), ("reply.json", true)] {
        let body = sample(name);
        assert_eq!(check_strict(&body), Vec::<String>::new(), "{name}");
        let frame = Received::read(&body.into(), DEFAULT_MAX_BYTES).unwrap();
        assert_eq!((frame.name(), frame.generation()), (Some("anon"), Some("0.5.5")), "{name}");
        assert_eq!(frame.reply().is_some(), is_reply, "{name}");
    }
}
