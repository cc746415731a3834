//! `polybus anon` and `anon_client`: who is in a text, or hide them (PRISEM services specification, 6.2).

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use polybus::frame::Appdata;

use crate::console::{Notices, Outcome};
use crate::options::Calling;
use crate::program::Called;
use crate::session::{Errand, Input, begin, read_input, read_or_stream};

/// Have the identifiers of a text masked by a network map, or classified, by the service anon.
///
/// Standard output, standard error and the exit code are those of the service's reply.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Text to send; `-` or none is standard input, if that is not a terminal.
    #[arg(short = 'r', long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Map to send: networks and domains with their labels. Without it the map of the server counts.
    #[arg(short, long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// Ask for the classification as a JSON object instead of the masked text.
    #[arg(short = 'J', long)]
    json: bool,
    /// Ask for the counts per label behind the masked text.
    #[arg(short, long)]
    stats: bool,
    #[command(flatten)]
    calling: Calling,
}

const EXAMPLES: &str = "\
Examples:
  {program} -r report.txt -m map.txt         the report with the networks of the map masked
  {program} -s -m map.txt < report.txt       the same from standard input, with statistics
  {program} -J -r report.txt -m map.txt      who is in it, as JSON
";

pub(crate) fn run(called: &Called, words: Vec<OsString>) -> ExitCode {
    begin::<Options, _>(called, words, |options| &options.calling, ask)
}

fn ask(called: &Called, options: &Options, notices: &Notices) -> Outcome {
    let Options { file, map, json, stats, calling } = options;
    let errand = Errand::new(called, calling, notices)?;
    let netmap =
        map.as_ref().map_or_else(|| Ok(Vec::new()), |map| read_input(Some(map), errand.max_bytes()))?;
    let input = if errand.streams() {
        read_or_stream(file.as_deref(), errand.in_one_frame(netmap.len()))?
    } else {
        Input::Whole(read_input(file.as_deref(), errand.max_bytes())?)
    };
    let (data, content) = match input {
        Input::Whole(data) => (data, None),
        Input::Stream(stream) => (Vec::new(), Some(("data", stream))),
    };
    let appdata = Appdata::new()
        .bytes("data", data)
        .bytes("netmap", netmap)
        .flag("json", *json)
        .flag("stats", *stats)
        .flag("usage", false);
    errand.run_with("anon", appdata, content)
}
