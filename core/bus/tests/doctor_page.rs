//! The table of everything that `polybus doctor` looks for is generated from the code, and this test keeps it so.
//!
//! `UPDATE_DOCS=1 cargo test -p polybus --test doctor_page` writes it anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests end at the first surprise")]
#![cfg(all(feature = "embedded", feature = "nats", feature = "rabbitmq", feature = "zeromq"))]

use std::fmt::Write;
use std::path::PathBuf;
use std::{env, fs};

use polybus::examine::catalogue;

const HEAD: &str = "<!-- Generated from the code by core/bus/tests/doctor_page.rs: do not edit. -->\n";

fn table() -> String {
    let mut table = String::from(HEAD);
    let mut last = "";
    for (bus, diagnosis) in catalogue() {
        if bus != last {
            let _ = write!(
                table,
                "\n### {}\n\n| word | usually | means | remedy |\n|---|---|---|---|\n",
                title(bus)
            );
            last = bus;
        }
        let cell = |text: &str| text.replace('<', "&lt;").replace('*', "\\*");
        let (meaning, remedy) = (cell(diagnosis.meaning), cell(diagnosis.remedy));
        let _ = writeln!(table, "| `{}` | {} | {meaning} | {remedy} |", diagnosis.code, diagnosis.grade);
    }
    table
}

fn title(scheme: &str) -> &str {
    match scheme {
        "embedded" => "A directory of an embedded bus",
        "amqp" => "RabbitMQ",
        "nats" => "NATS",
        "zmq" => "The broker over ZeroMQ",
        _ => "Every bus",
    }
}

#[test]
fn the_table_shows_everything_that_is_looked_for() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/doctor-table.md");
    let want = table();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &want).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == want, "{} is out of date; write it anew with UPDATE_DOCS=1", path.display());
}
