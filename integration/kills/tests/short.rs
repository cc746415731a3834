//! A short run of kills, as part of every check; the long one is run by hand, see the book.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

fn kills(arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_polybus-kills")).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("no violation"), "{text}");
    assert!(!text.contains(" sent 0 "), "nothing was sent: {text}");
}

#[test]
fn j2_h1_d11_nothing_confirmed_is_lost_over_80_kills() {
    kills(&["--kills", "80", "--seed", "20261121"]);
}

#[test]
fn j2_synced_from_time_to_time_nothing_is_lost_to_kills_either() {
    kills(&["--kills", "20", "--seed", "7", "--sync", "5"]);
}
