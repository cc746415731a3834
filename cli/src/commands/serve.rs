//! `polybus serve`: workers for the services of this executable.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::options::Serving;
use crate::program::Called;
use crate::session::{begin, serve};

/// Serve one or more services on a bus, until SIGTERM or SIGINT.
///
/// The first signal stops the intake, finishes the requests in hand and reports; a second one, or the end of
/// --drain-seconds, gives them back to the bus and ends with 143. Services of this program: anon, crosscor.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Short names of the services.
    #[arg(value_name = "NAME", required_unless_present_any = ["usage", "show_config"])]
    services: Vec<String>,
    #[command(flatten)]
    serving: Serving,
}

#[cfg(test)]
impl Options {
    pub(crate) fn serving(&self) -> &Serving {
        &self.serving
    }
}

const EXAMPLES: &str = "\
Examples:
  {program} anon crosscor --bus URL -m map.txt     both services, with a map for requests that bring none
  {program} anon --jobs 4 --job-seconds 300        four requests at a time, five minutes each at most
";

pub(crate) fn run(called: &Called, words: Vec<OsString>) -> ExitCode {
    begin::<Options, _>(
        called,
        words,
        |options| &options.serving,
        |called, options, notices| serve(called, &options.services, &options.serving, notices),
    )
}
