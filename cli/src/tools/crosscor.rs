//! `crosscor`: which of ours stand in a text, and who stands beside them (PRISEM services specification, 8.1).

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use polybus_ipgrep::{Correlation, Count, Dns, Iff, RunOptions};

use super::break_report::BreakArguments;
use super::compat::Compat;
use super::grammar::GrammarArguments;
use super::inputs::Inputs;
use super::maps::{self, MapArguments};
use super::talk::Talk;
use crate::console::{Notices, Outcome, Parsed, finish, output_time, parse, print, write_result};

/// Correlate the identifiers of a text with a map.
///
/// Prints a JSON document: identifiers with a label and their sites, the other identifiers on the same lines, and
/// how many different identifiers each site has. Files are read in order as one text; without files, or for `-`,
/// standard input is read.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// Whose map it is: friend or foe. A tag in the document, nothing more.
    #[arg(short = 'I', long, value_name = "friend|foe")]
    iff: Option<Iff>,
    /// Old behaviours by name; short-site cuts and cleans labels as the old program did.
    #[arg(long, value_name = "WORD[,WORD]")]
    compat: Option<Compat>,
    /// Texts to read.
    file: Vec<PathBuf>,
    #[command(flatten)]
    map: MapArguments,
    #[command(flatten)]
    grammar: GrammarArguments,
    #[command(flatten)]
    break_report: BreakArguments,
    #[command(flatten)]
    talk: Talk,
}

const USAGE: &str = "\
usage: crosscor [-d] [-I friend|foe] [-n FILE] [-u] [-v] [-V] [file...]

  crosscor --iff friend -n participants.txt report.json > friend.json
                                       which participants are in a flow report
  crosscor -I foe -n foe.txt a.log b.log
                                       which of the others are in two logs
  crosscor --break --friend participants.txt --foe foe.txt report.txt
                                       who met whom
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
    let grammar = options.grammar.grammar(Dns::Strict)?;
    if options.break_report.wanted {
        let inputs = Inputs::new(options.file)?;
        return options.break_report.run(&options.map, grammar, &inputs, &notices);
    }
    let map = options.map.load(&notices)?.ok_or_else(maps::no_map)?;
    if map.is_empty() {
        return Err(maps::empty_map());
    }
    let date = output_time()?;
    let inputs = Inputs::new(options.file)?;
    let plan = RunOptions { grammar, count: Count::Beside, ..RunOptions::default() };
    let report = inputs.run(&mut std::io::sink(), &map, plan)?;
    notices.progress(|| {
        format!("{} bytes, {} identifiers, {} matches", report.bytes, report.identifiers, report.matches)
    });
    let short_site = options.compat.unwrap_or_default().short_site;
    let document = Correlation { tally: &report.tally, map: &map, iff: options.iff, short_site };
    write_result(|out| document.write(out, &date))
}
