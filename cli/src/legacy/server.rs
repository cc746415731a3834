//! `anon_server`, `crosscor_server`: one service each, under its old name (PRISEM services specification, 3.2 and
//! 5.2).

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::console::{Notices, Outcome};
use crate::options::Serving;
use crate::program::Called;
use crate::session::{begin, serve};

/// What follows the service's name in the name of its program.
const ENDING: &str = "_server";

/// Serve one service on a bus, the one that this program is named after, until SIGTERM or SIGINT.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(flatten)]
    serving: Serving,
}

const EXAMPLES: &str = "\
Examples:
  {program} --server mq.example.org -m map.txt
  {program} -v -q NAME_test --bus URL
";

pub(crate) fn run(called: &Called, words: Vec<OsString>) -> ExitCode {
    begin::<Options, _>(called, words, |options| &options.serving, serve_own)
}

fn serve_own(called: &Called, options: &Options, notices: &Notices) -> Outcome {
    let service = called.name.strip_suffix(ENDING).unwrap_or(&called.name);
    serve(called, &[service.to_owned()], &options.serving, notices)
}
