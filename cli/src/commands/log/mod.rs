//! `polybus log`: watch log lines, and send some.

pub(crate) mod send;
pub(crate) mod tail;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::options::{Flags, General, Shared};
use crate::program::Called;
use crate::session::begin;

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
  polybus log tail --bus URL --level warning       what goes wrong
  polybus log send --bus URL -l devops -m deployed one line
";

impl Shared for Verb {
    fn general(&self) -> &General {
        match self {
            Self::Tail(options) => options.watching.general(),
            Self::Send(options) => options.watching.general(),
        }
    }

    fn flags(&self, flags: &mut Flags) {
        match self {
            Self::Tail(options) => options.watching.flags(flags),
            Self::Send(options) => options.watching.flags(flags),
        }
    }
}

pub(crate) fn run(called: &Called, words: Vec<OsString>) -> ExitCode {
    begin::<Options, _>(
        called,
        words,
        |options| &options.verb,
        |called, options, notices| match &options.verb {
            Verb::Tail(options) => options.run(called, notices),
            Verb::Send(options) => options.run(called, notices),
        },
    )
}
