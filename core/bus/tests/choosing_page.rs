//! The table of the page about choosing a bus is generated from the code, and this test keeps it so.
//!
//! `UPDATE_DOCS=1 cargo test -p polybus --test choosing_page` writes it anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests end at the first surprise")]
#![cfg(all(feature = "embedded", feature = "nats", feature = "rabbitmq", feature = "zeromq"))]

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;
use std::{env, fs};

use polybus::{AttemptGrade, BUSES, BusKind, Capability, LeaseGrade, SettleGrade};

/// What people ask before they choose, and how a capability answers.
type Question = (&'static str, fn(&Capability) -> String);

const QUESTIONS: &[Question] = &[
    ("queues survive at best", |can| can.durability().to_string()),
    ("and the loss of power, of all machines at once", |can| yes(can.durability_disk)),
    ("a send is confirmed", |can| yes(can.confirm)),
    ("a repeated send is recognised for", |can| time(can.dedup_window, "not at all")),
    ("`Ok` from a settle means", |can| settle(can.settle).to_owned()),
    ("attempts are counted", |can| attempts(can.attempts).to_owned()),
    ("a delivery is kept", |can| lease(can.lease).to_owned()),
    ("at most for", |can| time(can.lease_limit, "as long as it is renewed")),
    ("retries come back after their delay", |can| yes(can.retry_delay)),
    ("sends may be delayed", |can| yes(can.send_delay)),
    ("dead letters can be looked at and sent back", |can| yes(can.browse_dead && can.redrive)),
    ("a reply is known to have arrived", |can| yes(can.reply_confirm)),
    ("nobody serving is known at once", |can| yes(can.no_responder)),
    ("topics have durable groups", |can| yes(can.topic_group)),
    ("a gap says how much was missed", |can| yes(can.gap_count)),
    ("priorities are obeyed", |can| yes(can.priority)),
    ("largest message", |can| can.max_message.map_or_else(|| "not known".to_owned(), size)),
];

fn yes(can: bool) -> String {
    if can { "yes" } else { "no" }.to_owned()
}

fn settle(grade: SettleGrade) -> &'static str {
    match grade {
        SettleGrade::None => "nothing",
        SettleGrade::Sent => "sent; if it gets lost, the message comes back",
        SettleGrade::Confirmed => "consumed",
    }
}

fn attempts(grade: AttemptGrade) -> &'static str {
    match grade {
        AttemptGrade::None => "no",
        AttemptGrade::Volatile => "until the bus restarts",
        AttemptGrade::Counted => "never too low",
    }
}

fn lease(grade: LeaseGrade) -> &'static str {
    match grade {
        LeaseGrade::None => "no lease",
        LeaseGrade::Connection => "as long as the connection lasts",
        LeaseGrade::Timed => "for a time, renewed while the work goes on",
    }
}

fn time(time: Option<Duration>, none: &str) -> String {
    time.map_or_else(|| none.to_owned(), |time| format!("{} s", time.as_secs()))
}

fn size(bytes: u64) -> String {
    if bytes.is_multiple_of(1 << 20) { format!("{} MiB", bytes >> 20) } else { format!("{bytes} bytes") }
}

/// One column for each bus; schemes that differ in encryption only share one.
fn columns() -> Vec<(String, Capability, &'static BusKind)> {
    let mut columns: Vec<(String, Capability, &'static BusKind)> = Vec::new();
    for bus in BUSES {
        let can = (bus.capability)();
        match columns.last_mut() {
            Some((schemes, same, _)) if *same == can => {
                let _ = write!(schemes, ", `{}:`", bus.scheme);
            }
            _ => columns.push((format!("`{}:`", bus.scheme), can, bus)),
        }
    }
    columns
}

fn table() -> String {
    let columns = columns();
    let mut table =
        String::from("<!-- Generated from the code by core/bus/tests/choosing_page.rs: do not edit. -->\n\n");
    let heads: Vec<_> = columns.iter().map(|(schemes, ..)| schemes.clone()).collect();
    let _ = writeln!(table, "| | {} |\n|---|{}", heads.join(" | "), "---|".repeat(heads.len()));
    let shared = columns.iter().map(|(.., bus)| yes(!(bus.local)(bus.scheme))).collect::<Vec<_>>();
    let _ = writeln!(table, "| workers and clients in different processes | {} |", shared.join(" | "));
    for (question, answer) in QUESTIONS {
        let answers: Vec<_> = columns.iter().map(|(_, can, _)| answer(can)).collect();
        let _ = writeln!(table, "| {question} | {} |", answers.join(" | "));
    }
    table
}

#[test]
fn the_table_shows_what_the_code_declares() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/choosing-table.md");
    let want = table();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &want).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == want, "{} is out of date; write it anew with UPDATE_DOCS=1", path.display());
}
