//! `crosscor_client`: who of ours talked to whom, under its old name (PRISEM services specification, 6.5).

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::commands::crosscor::Question;
use crate::program::Called;
use crate::session::begin;

/// Have a text correlated by the service crosscor: which identifiers of the map occur in it, and with whom.
///
/// Standard output, standard error and the exit code are those of the service's reply.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Text to send; `-` or none is standard input, if that is not a terminal.
    #[arg(short = 'r', long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    question: Question,
}

const EXAMPLES: &str = "\
Examples:
  {program} -m friends.txt -I friend -r masked.txt   which of ours are in the text, and with whom
  {program} -m foes.txt -I foe < report.txt          the same of the others, from standard input
";

pub(crate) fn run(called: &Called, words: Vec<OsString>) -> ExitCode {
    begin::<Options, _>(
        called,
        words,
        |options| &options.question.calling,
        |called, options, notices| {
            let path: Vec<_> = options.file.as_deref().into_iter().collect();
            options.question.ask(called, &path, notices)
        },
    )
}
