//! `polybus config`: the settings in effect.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::console::{Notices, Outcome, print};
use crate::options::Calling;
use crate::program::Called;
use crate::session::{begin, loaded};

/// Show the settings that programs would use here, and where each comes from. Secrets are not shown.
///
/// Options take the place of settings, as they do for the other programs. Sources, the strongest first: options,
/// environment variables (`POLYBUS_...`, then `RPC_...`), files (`polybus.toml`, then `rpc_config.yml`), defaults.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Print one JSON object: value and origin of each setting.
    #[arg(long)]
    json: bool,
    /// As a program called by an old name sees them: `RPC_...` before `POLYBUS_...`, `rpc_config.yml` before `polybus.toml`.
    #[arg(long)]
    old: bool,
    #[command(flatten)]
    calling: Calling,
}

const EXAMPLES: &str = "\
Examples:
  {program}
  {program} --json --old
";

pub(crate) fn run(called: &Called, words: Vec<OsString>) -> ExitCode {
    begin::<Options, _>(called, words, |options| &options.calling, show)
}

fn show(called: &Called, options: &Options, _notices: &Notices) -> Outcome {
    let called = Called { by_old_name: called.by_old_name || options.old, ..called.clone() };
    let effective = loaded(&called, &options.calling)?.effective;
    print(&if options.json {
        format!("{}\n", effective.to_json().pretty_sorted())
    } else {
        effective.to_text()
    })
}
