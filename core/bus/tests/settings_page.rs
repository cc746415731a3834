//! The table of all settings in the book is generated from the code, and this test keeps it so.
//!
//! `UPDATE_DOCS=1 cargo test -p polybus --test settings_page` writes it anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests end at the first surprise")]

use std::fmt::Write;
use std::path::PathBuf;
use std::{env, fs};

use polybus::config::{KEYS, Key};

fn table() -> String {
    let mut table =
        String::from("<!-- Generated from the code by core/bus/tests/settings_page.rs: do not edit. -->\n\n");
    table.push_str("| `polybus.toml` | environment | old names | default | what |\n|---|---|---|---|---|\n");
    for key in KEYS {
        row(&mut table, key);
    }
    table
}

fn row(table: &mut String, key: &Key) {
    let old: Vec<_> = key.old.iter().map(|name| format!("`{name}`")).collect();
    let default = match key.default {
        None => String::new(),
        Some("") => "empty".to_owned(),
        Some(text) => format!("`{text}`"),
    };
    let cells = [format!("`{}`", key.path), format!("`{}`", key.variable()), old.join(", "), default];
    let _ = writeln!(table, "| {} | {} |", cells.join(" | "), key.about);
}

#[test]
fn the_table_shows_every_setting() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/settings-table.md");
    let want = table();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &want).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == want, "{} is out of date; write it anew with UPDATE_DOCS=1", path.display());
}
