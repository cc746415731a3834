//! What `ipgrep` prints (7.1).

use std::fs::File;
use std::io::{self, BufWriter, Write};

use polybus_ipgrep::{
    Count, LabelCounts, Map, Masker, Output, Report, RunOptions, Select, Shown, Tally, write_classification,
};
use serde::Serialize;

use super::options::Options;
use crate::console::{Failure, Notices, Outcome, ResultOutput, write_result};
use crate::tools::inputs::Inputs;
use crate::tools::maps;

/// Reads the inputs and prints what the options select.
pub(super) fn run(mut options: Options, notices: &Notices) -> Outcome {
    options.check()?;
    let map = load(&options, notices)?;
    let masker =
        if options.anonymize { Some(Masker::new(&map, options.mask.options(notices)?)) } else { None };
    let grammar = options.grammar.grammar(options.dns)?;
    let mut stats_to = StatsTo::new(&options)?;
    let inputs = Inputs::new(std::mem::take(&mut options.file))?;
    let (output, count) = (output(&options, masker.as_ref()), count(&options));
    let mut out = ResultOutput::new();
    let report =
        inputs.run(&mut out, &map, RunOptions { grammar, output, count, ..RunOptions::default() })?;
    drop(out);
    print_rest(&options, &report, &map)?;
    stats_to.write(&LabelCounts::new(&report.tally, &map))
}

/// The map, or none where none is needed.
fn load(options: &Options, notices: &Notices) -> Outcome<Map> {
    let Some(map) = options.map.load(notices)? else {
        return if options.needs_no_map() { Ok(Map::empty()) } else { Err(maps::no_map()) };
    };
    if map.is_empty() {
        if options.refuses_empty_map() {
            return Err(maps::empty_map());
        }
        notices.warning("the map has no valid rule: nothing matches");
    }
    Ok(map)
}

/// What is written while the text is read.
fn output<'m>(options: &Options, masker: Option<&'m Masker>) -> Output<'m> {
    let listing = !options.json_lines;
    match options {
        Options { json: true, .. } | Options { quiet: true, .. } => Output::Nothing,
        Options { list: true, revert_match, .. } if listing => {
            if *revert_match {
                Output::NonMatching
            } else {
                Output::Matching
            }
        }
        Options { list: true, .. } => Output::Nothing,
        Options { context: true, .. } => Output::Lines(Select::All, masker),
        Options { revert_match: true, .. } => Output::Lines(Select::NonMatching, masker),
        _ => Output::Lines(Select::Matching, masker),
    }
}

/// What is counted for later.
fn count(options: &Options) -> Count {
    if options.json || options.json_lines {
        Count::All
    } else if options.counts() {
        Count::Matching
    } else {
        Count::Nothing
    }
}

/// Prints what can be known only at the end.
fn print_rest(options: &Options, report: &Report, map: &Map) -> Outcome {
    let tally = &report.tally;
    if options.json {
        let shown = if options.anonymize { Shown::Numbers } else { Shown::Values };
        return write_result(|out| write_classification(out, tally, map, shown));
    }
    write_result(|out| {
        if options.json_lines && !options.quiet {
            write_json_lines(out, tally, map, !options.revert_match)?;
        }
        if options.stats && options.stats_to.is_none() {
            let lf: &[u8] = if report.unfinished_line { b"\n" } else { b"" };
            out.write_all(lf)?;
            out.write_all(LabelCounts::SEPARATOR)?;
            LabelCounts::new(tally, map).write_block(out)?;
        }
        Ok(())
    })
}

/// One identifier of a list (11.1).
#[derive(Serialize)]
struct Listed<'a> {
    value: &'a str,
    kind: &'a str,
    label: Option<&'a str>,
}

fn write_json_lines(out: &mut impl Write, tally: &Tally, map: &Map, matching: bool) -> io::Result<()> {
    let mut value = Vec::new();
    for entry in tally.entries().filter(|entry| entry.label().is_some() == matching) {
        value.clear();
        entry.write_value(&mut value);
        let label = entry.label().map(|id| map.label(id));
        let listed = Listed { value: &String::from_utf8_lossy(&value), kind: entry.kind().as_str(), label };
        serde_json::to_writer(&mut *out, &listed)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// Where `--stats-to` writes.
enum StatsTo {
    Nowhere,
    Stderr,
    File(String, BufWriter<File>),
}

impl StatsTo {
    /// Creates the file, so that a wrong name is known before anything is printed.
    fn new(options: &Options) -> Outcome<Self> {
        match &options.stats_to {
            None => Ok(Self::Nowhere),
            Some(path) if path.as_os_str() == "stderr" => Ok(Self::Stderr),
            Some(path) => {
                let name = path.display().to_string();
                let file = File::create(path).map_err(Failure::writing(&name))?;
                Ok(Self::File(name, BufWriter::new(file)))
            }
        }
    }

    fn write(&mut self, counts: &LabelCounts<'_>) -> Outcome {
        match self {
            Self::Nowhere => Ok(()),
            Self::Stderr => {
                counts.write_block(&mut io::stderr().lock()).map_err(Failure::writing("standard error"))
            }
            Self::File(name, file) => {
                counts.write_block(file).and_then(|()| file.flush()).map_err(Failure::writing(name))
            }
        }
    }
}
