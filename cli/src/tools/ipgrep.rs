//! `ipgrep`: find, mask, list and count identifiers (PRISEM services specification, 7).

mod modes;
mod options;

use std::ffi::OsString;
use std::process::ExitCode;

use polybus_ipgrep::{Feed, build_map};

use super::{inputs, maps};
use crate::console::{Failure, Notices, Outcome, Parsed, finish, parse, print, write_result};
pub(crate) use options::Options;

const USAGE: &str = "\
usage: ipgrep [options] [file...]

  ipgrep -n map.txt log                lines that mention somebody of the map
  ipgrep -a --context -n map.txt log   the whole text, with everybody of the map masked
  ipgrep -a --context -s -n map.txt log
                                       the same with a count for each site
  ipgrep -l -n map.txt log             who of the map is mentioned
  ipgrep -v -l log                     every address and name of a text
  ipgrep --json -n map.txt log         all of it for programs
  ipgrep -a --context --pfx ipcrypt-pfx --key key.hex --scope all log
                                       addresses encrypted, common prefixes stay common
  ipgrep --build-map asn feed.txt > map.txt
                                       a map from a feed table
";

pub(crate) fn run(program: &str, words: Vec<OsString>) -> ExitCode {
    let notices = Notices::for_command_line(program, &words);
    finish(tool(program, words, &notices), &notices)
}

fn tool(program: &str, words: Vec<OsString>, notices: &Notices) -> Outcome {
    let Parsed::Run(options) = parse::<Options>(program, words)? else { return Ok(()) };
    if options.usage {
        return print(USAGE);
    }
    match options.build_map {
        Some(feed) => new_map(feed, &options, notices),
        None => modes::run(options, notices),
    }
}

/// Builds a map from a feed table (11.10).
fn new_map(feed: Feed, options: &Options, notices: &Notices) -> Outcome {
    let [table] = options.file.as_slice() else {
        return Err(Failure::usage("--build-map reads one table"));
    };
    let content = inputs::read_all(Some(table))?;
    let named = |error| Failure::data(format!("{}: {error}", table.display()));
    let made = build_map(&content, feed).map_err(named)?;
    maps::tell_broken(table, &made.skipped, notices);
    write_result(|out| std::io::Write::write_all(out, made.text.as_bytes()))
}
