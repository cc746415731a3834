//! `polybus up`: bus, services and log file in one process.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::console::{Notices, Outcome};
use crate::options::Standing;
use crate::program::Called;
use crate::session::{begin, up};

/// Run a bus, the services on it and a log file in one process, as polybus.toml says, until SIGTERM or SIGINT.
///
/// The table up of polybus.toml names the bus, the services and the log file; the other settings hold as for `polybus serve`.
/// The first signal stops the intake, finishes the requests in hand, writes the last log lines and reports; a second one, or the
/// end of the setting `service.drain_seconds`, gives them back to the bus and ends with 143. A bus in a directory is there again,
/// with all that waits, when the process starts next.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Short names of the services. Default: those of the setting `up.services`, else all of this program.
    #[arg(value_name = "NAME")]
    services: Vec<String>,
    #[command(flatten)]
    standing: Standing,
}

#[cfg(test)]
impl Options {
    pub(crate) fn standing(&self) -> &Standing {
        &self.standing
    }
}

const EXAMPLES: &str = "\
Examples:
  {program}                                                       all as polybus.toml says
  {program} anon --bus embedded:///var/lib/polybus -m map.txt     one service, its bus on disk
  {program} --log /var/log/polybus.log --http 9464                log lines in a file, figures for Prometheus
";

pub(crate) fn run(called: &Called, words: Vec<OsString>) -> ExitCode {
    begin::<Options, _>(called, words, |options| &options.standing, stand)
}

fn stand(called: &Called, options: &Options, notices: &Notices) -> Outcome {
    up(called, &options.services, &options.standing, notices)
}
