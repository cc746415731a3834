//! A short storm on each broker, as part of every check; the long one is run by hand, see the book.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use polybus_tests::Programs;

fn storm(broker: &str, kills: &[&str]) {
    storm_by(&mut Command::new(env!("CARGO_BIN_EXE_polybus-storm")), broker, kills);
}

fn storm_by(command: &mut Command, broker: &str, kills: &[&str]) {
    let arguments = ["--broker", broker, "--calls", "1000", "--jobs", "500"];
    let output = command
        .args(arguments)
        .args(kills)
        .args(["--worker-kills", "6", "--seed", "20261128"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("no violation"), "{text}{said}");
    // One that could not be answered would be an error with a type; with this much patience there is none.
    assert!(text.contains("1000 calls: answered 1000;"), "{text}");
    assert!(text.contains("500 jobs: confirmed 500;"), "{text}");
}

#[test]
fn nothing_confirmed_is_lost_and_every_call_ends_on_rabbitmq() {
    storm("rabbitmq", &["--broker-kills", "1"]);
}

#[test]
fn nothing_confirmed_is_lost_and_every_call_ends_on_nats() {
    storm("nats", &["--broker-kills", "1"]);
}

#[test]
fn nothing_confirmed_is_lost_and_every_call_ends_on_zeromq() {
    let programs = Programs::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_polybus-storm"));
    command.env("POLYBUS_BIN", programs.path("polybus").unwrap());
    storm_by(&mut command, "zeromq", &["--broker-kills", "3"]);
}

/// The leader of the queue of jobs is killed, and a member that others are connected to.
#[test]
fn nothing_confirmed_is_lost_and_every_call_ends_on_a_cluster_of_rabbitmq() {
    storm("rabbitmq", &["--cluster", "--broker-kills", "2"]);
}

/// The workers declare before the cluster knows all its members.
#[test]
fn nothing_confirmed_is_lost_and_every_call_ends_on_a_cluster_of_nats() {
    storm("nats", &["--cluster", "--broker-kills", "2"]);
}
