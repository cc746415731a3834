//! `cumdist`: counts per label, ranked and accumulated (PRISEM services specification, 8.4).

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use polybus_ipgrep::Distribution;

use super::inputs;
use super::talk::Talk;
use crate::console::{Failure, Notices, Outcome, Parsed, finish, parse, print, write_result};

/// Rank the labels of a statistic and show what share the first ones have together.
///
/// Reads `matchingstats` or `matching_stats` from JSON, as `ipgrep --json` and crosscor write them, and prints
/// one line a label: name, count, percentage, cumulative percentage. The last line is the total.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// Read this file; `-` or none is standard input.
    #[arg(short = 'r', long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print one JSON object: rows of site, count, percent, cumulative, and the total.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    talk: Talk,
}

const USAGE: &str = "\
usage: cumdist [-r|--file FILE] [-d] [-u] [-v] [--json]

  cumdist -r crosscor.json             distribution of a correlation document
  ipgrep --json -n map.txt log | cumdist
                                       distribution of the identifiers of a log
  cumdist --json -r crosscor.json      the same for programs
";

pub(crate) fn run(program: &str, words: Vec<OsString>) -> ExitCode {
    let notices = Notices::for_command_line(program, &words);
    finish(tool(program, words, &notices), &notices)
}

fn tool(program: &str, words: Vec<OsString>, notices: &Notices) -> Outcome {
    let Parsed::Run(options) = parse::<Options>(program, words)? else { return Ok(()) };
    if options.talk.usage {
        return print(USAGE);
    }
    let notices = notices.clone().with_progress(options.talk.is_wanted());
    let content = inputs::read_all(options.file.as_deref())?;
    notices.progress(|| format!("{} bytes read", content.len()));
    let distribution = Distribution::parse(&content).map_err(|error| Failure::data(error.to_string()))?;
    if let Some(warning) = distribution.warning() {
        notices.warning(&warning);
    }
    write_result(|out| if options.json { distribution.write_json(out) } else { distribution.write_text(out) })
}
