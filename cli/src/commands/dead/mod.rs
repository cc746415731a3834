//! `polybus dead`: the desk of dead letters.

mod list;
mod purge;
mod redrive;
mod show;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::program::{Called, begin};
use crate::session;

/// Look into the dead letters of a queue, send them back to work, or throw them away.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(list::Options),
    Show(show::Options),
    Redrive(redrive::Options),
    Purge(purge::Options),
}

const EXAMPLES: &str = "\
Examples:
  {program} list --bus URL anon_0.5.5         what died there, and why
  {program} show --bus URL anon_0.5.5 ID      one of them
  {program} redrive --bus URL anon_0.5.5      all of them back to work, under the same ids
  {program} purge --bus URL anon_0.5.5 --yes  throw them away
";

pub(crate) fn run(called: &Called, words: Vec<OsString>) -> ExitCode {
    let verb = words.first().and_then(|word| word.to_str()).unwrap_or_default();
    let inner = Called { name: format!("{} {verb}", called.name), ..called.clone() };
    let rest = || words[1..].to_vec();
    match verb {
        "list" => session::begin(&inner, rest(), list::Options::desk, list::run),
        "show" => session::begin(&inner, rest(), show::Options::desk, show::run),
        "redrive" => session::begin(&inner, rest(), redrive::Options::desk, redrive::run),
        "purge" => session::begin(&inner, rest(), purge::Options::desk, purge::run),
        // Help, or what is wrong: a verb has been seen to by now.
        _ => begin::<Options>(called, words, |_, _| Ok(())),
    }
}
