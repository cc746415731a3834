//! The published vector tables, for the tests of single functions.

use std::env;
use std::fs;
use std::path::PathBuf;

/// The folder of the PRISEM vectors; `POLYBUS_VECTORS` names another one.
pub(crate) fn folder() -> PathBuf {
    env::var_os("POLYBUS_VECTORS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../integration/vectors/prisem")),
        PathBuf::from,
    )
}

/// Every line of a table, at least one.
pub(crate) fn table(name: &str) -> Vec<serde_json::Value> {
    let path = folder().join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let rows: Vec<_> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!rows.is_empty(), "{} is empty", path.display());
    rows
}
