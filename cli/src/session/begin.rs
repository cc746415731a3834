//! The first steps of every program on a bus.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use super::place::loaded;
use crate::console::{Notices, Outcome, Parsed, command, finish, parse, print};
use crate::options::Shared;
use crate::program::Called;

/// Reads the command line, answers `--usage` and `--show-config`, and does the work otherwise.
pub(crate) fn begin<Options, S>(
    called: &Called,
    words: Vec<OsString>,
    shared: fn(&Options) -> &S,
    work: fn(&Called, &Options, &Notices) -> Outcome,
) -> ExitCode
where
    Options: CommandFactory + FromArgMatches,
    S: Shared,
{
    let notices = Notices::for_command_line(&called.name, &words);
    let outcome = parse::<Options>(&called.name, words).and_then(|parsed| {
        let Parsed::Run(options) = parsed else { return Ok(()) };
        let general = shared(&options).general();
        let notices = notices.clone().with_progress(general.verbose || general.debug);
        if general.usage {
            return print(&usage(command(&called.name, Options::command())));
        }
        if general.show_config {
            return print(&loaded(called, shared(&options))?.effective.to_text());
        }
        work(called, &options, &notices)
    });
    finish(outcome, &notices)
}

fn usage(mut command: clap::Command) -> String {
    let usage = command.render_usage().to_string();
    let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    format!("{}\n\n{}\n", usage.trim_end(), examples.trim_end())
}
