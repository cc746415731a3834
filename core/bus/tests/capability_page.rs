//! The page of the book that says what each bus can do is generated from the code, and this test keeps it so.
//!
//! `UPDATE_DOCS=1 cargo test -p polybus --test capability_page` writes it anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests end at the first surprise")]
#![cfg(feature = "embedded")]

use std::fmt::Write;
use std::path::PathBuf;
use std::{env, fs};

use polybus::{BUSES, Capability, Feature};

const HEAD: &str = "\
# Capabilities

<!-- Generated from the code by core/bus/tests/capability_page.rs: do not edit. -->

What each bus of this build can do. A program states what it needs; on a bus that lacks it, it is refused before
anything is sent. The words in the first column are those of `--require` and of error texts. This is the most a bus
can offer: a server may give less, which a program learns when it connects.

";

fn page() -> String {
    let mut page = String::from(HEAD);
    heading(&mut page);
    for feature in Feature::ALL {
        row(&mut page, feature.name(), feature.text(), |can| {
            if can.has(*feature) { "yes" } else { "no" }.to_owned()
        });
    }
    page.push_str("\n## Limits\n\n");
    heading(&mut page);
    row(&mut page, "max_message", "largest message, body and properties", |can| bytes(can.max_message));
    row(&mut page, "lease_limit", "longest lease, renewed or not", |can| seconds(can.lease_limit));
    row(&mut page, "dedup_window", "how long a repeated send is recognised", |can| seconds(can.dedup_window));
    row(&mut page, "max_priority", "highest priority with an effect", |can| can.max_priority.to_string());
    page
}

fn heading(page: &mut String) {
    let schemes: Vec<_> = BUSES.iter().map(|bus| format!("`{}:`", bus.scheme)).collect();
    let _ = writeln!(page, "| word | what | {} |", schemes.join(" | "));
    let _ = writeln!(page, "|---|---|{}", "---|".repeat(BUSES.len()));
}

fn row(page: &mut String, word: &str, what: &str, cell: impl Fn(&Capability) -> String) {
    let cells: Vec<_> = BUSES.iter().map(|bus| cell(&(bus.capability)())).collect();
    let _ = writeln!(page, "| `{word}` | {what} | {} |", cells.join(" | "));
}

fn bytes(limit: Option<u64>) -> String {
    limit.map_or_else(|| "none stated".to_owned(), |limit| format!("{limit} bytes"))
}

fn seconds(time: Option<std::time::Duration>) -> String {
    time.map_or_else(|| "none".to_owned(), |time| format!("{} s", time.as_secs()))
}

#[test]
fn the_page_shows_what_the_code_declares() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/capabilities.md");
    let want = page();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &want).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == want, "{} is out of date; write it anew with UPDATE_DOCS=1", path.display());
}
