//! `polybus crosscor` and `crosscor_client`: who of ours talked to whom (PRISEM services specification, 6.5).

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use polybus::frame::Appdata;
use polybus_ipgrep::Iff;

use crate::console::{Notices, Outcome};
use crate::options::Calling;
use crate::program::Called;
use crate::session::{Errand, begin, read_input, read_text};
use crate::tools;

/// Have a text correlated by the service crosscor: which identifiers of the map occur in it, and with whom.
///
/// Standard output, standard error and the exit code are those of the service's reply.
///
/// The local tool of the same name does this without a service: call it as `crosscor`, or with --local as the first
/// word behind `polybus crosscor`; its own options then hold.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Text to send; `-` or none is standard input, if that is not a terminal.
    #[arg(short = 'r', long = "file", value_name = "FILE", conflicts_with = "files")]
    file: Option<PathBuf>,
    /// Texts to send as one; a line never goes on in the next file.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Map to send: networks and domains with their labels. Without it the map of the server counts.
    #[arg(short, long, value_name = "FILE", visible_short_alias = 'n', visible_alias = "networks")]
    map: Option<PathBuf>,
    /// What the map stands for: friend or foe. A tag in the result, nothing more.
    #[arg(short = 'I', long, value_name = "WHICH")]
    iff: Option<Iff>,
    /// Accepted, and sent; the statistics are always in the result.
    #[arg(short, long)]
    stats: bool,
    #[command(flatten)]
    calling: Calling,
}

const EXAMPLES: &str = "\
Examples:
  {program} -m friends.txt -I friend -r masked.txt   which of ours are in the text, and with whom
  {program} -n foes.txt -I foe report.txt more.txt   two files as one text
  crosscor -n friends.txt report.txt                 the local tool, without a service
";

pub(crate) fn run(called: &Called, words: Vec<OsString>) -> ExitCode {
    match words.split_first() {
        Some((first, rest)) if first == OsStr::new("--local") && !called.by_old_name => {
            tools::crosscor::run(&format!("{} --local", called.name), rest.to_vec())
        }
        _ => begin::<Options, _>(called, words, |options| &options.calling, ask),
    }
}

fn ask(called: &Called, options: &Options, notices: &Notices) -> Outcome {
    let Options { file, files, map, iff, stats, calling } = options;
    let errand = Errand::new(called, calling, notices)?;
    let paths: Vec<&Path> = file.iter().chain(files).map(PathBuf::as_path).collect();
    let data = read_text(&paths, errand.max_bytes())?;
    let netmap =
        map.as_ref().map_or_else(|| Ok(Vec::new()), |map| read_input(Some(map), errand.max_bytes()))?;
    let appdata = Appdata::new()
        .bytes("data", data)
        .bytes("netmap", netmap)
        .text("iff", iff.map(Iff::as_str))
        .flag("stats", *stats)
        .flag("usage", false);
    errand.run("crosscor", appdata)
}
