//! `polybus log`: watch log lines, and send some.

pub(crate) mod send;
pub(crate) mod tail;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::program::{Called, begin};
use crate::session;

/// Watch the log lines of a bus, or send some.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Tail(tail::Options),
    Send(send::Options),
}

const EXAMPLES: &str = "\
Examples:
  {program} tail --bus URL --level warning          what goes wrong
  {program} send --bus URL -l devops -m deployed    one line
";

pub(crate) fn run(called: &Called, words: Vec<OsString>) -> ExitCode {
    let verb = words.first().and_then(|word| word.to_str()).unwrap_or_default();
    let inner = Called { name: format!("{} {verb}", called.name), ..called.clone() };
    match verb {
        "tail" => session::begin(&inner, words[1..].to_vec(), tail::Options::shared, tail::run),
        "send" => session::begin(&inner, words[1..].to_vec(), send::Options::shared, send::run),
        // Help, or what is wrong: a verb has been seen to by now.
        _ => begin::<Options>(called, words, |_, _| Ok(())),
    }
}
