//! The local tools, under their old names (PRISEM services specification, 0).

mod break_report;
mod compat;
mod crosscor;
mod cumdist;
mod grammar;
mod inputs;
mod ipgrep;
mod keys;
mod maps;
mod masks;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::console::{Failure, Notices, finish};

/// A program of the suite: takes the name that it was called by, and its words.
pub(crate) type Tool = fn(&str, Vec<OsString>) -> ExitCode;

const TOOLS: [(&str, Tool); 3] =
    [("crosscor", crosscor::run), ("cumdist", cumdist::run), ("ipgrep", ipgrep::run)];

/// The tool with this name.
pub(crate) fn by_name(name: &str) -> Option<Tool> {
    TOOLS.iter().find(|(known, _)| *known == name).map(|(_, tool)| *tool)
}

/// Runs the tool that the first word names.
pub(crate) fn by_first_word(program: &str, words: Vec<OsString>) -> ExitCode {
    let mut words = words.into_iter();
    let first = words.next().unwrap_or_default();
    match first.to_str().and_then(|name| Some((name, by_name(name)?))) {
        Some((name, tool)) => tool(name, words.collect()),
        None => {
            let names: Vec<&str> = TOOLS.iter().map(|(name, _)| *name).collect();
            let text = format!("the first word must be one of: {}", names.join(", "));
            finish(Err(Failure::usage(text)), &Notices::new(program, false))
        }
    }
}
