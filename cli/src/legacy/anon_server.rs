//! `anon_server`: the service anon under its old name (PRISEM services specification, 3.2 and 5.2).

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::options::Serving;
use crate::program::Called;
use crate::session::{begin, serve};

/// Serve the service anon on a bus, until SIGTERM or SIGINT.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(flatten)]
    serving: Serving,
}

const EXAMPLES: &str = "\
Examples:
  {program} --server mq.example.org -m map.txt
  {program} -v -q anon_test --bus URL
";

pub(crate) fn run(called: &Called, words: Vec<OsString>) -> ExitCode {
    begin::<Options, _>(
        called,
        words,
        |options| &options.serving,
        |called, options, notices| serve(called, &["anon".to_owned()], &options.serving, notices),
    )
}
