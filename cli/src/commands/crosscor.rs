//! `polybus crosscor`: who of ours talked to whom (PRISEM services specification, 6.5).

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser};
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
/// With --local the local tool of the same name does this without a service, as it does when called `crosscor`; its
/// own options then hold, and -r and -m of the service are understood.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Text to send; `-` or none is standard input, if that is not a terminal.
    #[arg(short = 'r', long = "file", value_name = "FILE", conflicts_with = "files")]
    file: Option<PathBuf>,
    /// Texts to send as one; a line never goes on in the next file.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    question: Question,
}

/// What is asked about the text.
#[derive(Debug, Args)]
pub(crate) struct Question {
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
    pub(crate) calling: Calling,
}

const EXAMPLES: &str = "\
Examples:
  {program} -m friends.txt -I friend -r masked.txt   which of ours are in the text, and with whom
  {program} -n foes.txt -I foe report.txt more.txt   two files as one text
  crosscor -n friends.txt report.txt                 the local tool, without a service
";

pub(crate) fn run(called: &Called, words: Vec<OsString>) -> ExitCode {
    let own = words.split(|word| word == "--").next().unwrap_or_default();
    match own.iter().position(|word| word == "--local") {
        Some(at) => tools::crosscor::run(&format!("{} --local", called.name), local(&words, at)),
        None => begin::<Options, _>(called, words, |options| &options.question.calling, ask),
    }
}

/// The words of the local tool: without `--local`, which stands at `at`, and with map and text as that tool has them.
fn local(words: &[OsString], at: usize) -> Vec<OsString> {
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let (own, rest) = words.split_at(end);
    let own = own.iter().enumerate().filter(|(place, _)| *place != at);
    own.filter_map(|(_, word)| renamed(word)).chain(rest.iter().cloned()).collect()
}

fn renamed(word: &OsString) -> Option<OsString> {
    let Some(text) = word.to_str() else { return Some(word.clone()) };
    let renamed = match text {
        "-r" | "--file" => return None,
        "-m" | "--map" => "-n".to_owned(),
        _ => match text.split_once('=') {
            Some(("--file", file)) => file.to_owned(),
            Some(("--map", map)) => format!("--networks={map}"),
            _ if text.starts_with("-r") => text[2..].to_owned(),
            _ if text.starts_with("-m") => format!("-n{}", &text[2..]),
            _ => return Some(word.clone()),
        },
    };
    Some(renamed.into())
}

fn ask(called: &Called, options: &Options, notices: &Notices) -> Outcome {
    let paths: Vec<&Path> = options.file.iter().chain(&options.files).map(PathBuf::as_path).collect();
    options.question.ask(called, &paths, notices)
}

impl Question {
    /// Asks it about the text in these files, or on standard input.
    ///
    /// # Errors
    /// As [`read_text`] and [`Errand::run`].
    pub(crate) fn ask(&self, called: &Called, paths: &[&Path], notices: &Notices) -> Outcome {
        let errand = Errand::new(called, &self.calling, notices)?;
        let data = read_text(paths, errand.max_bytes())?;
        let map = self.map.as_ref().map(|map| read_input(Some(map), errand.max_bytes()));
        let appdata = Appdata::new()
            .bytes("data", data)
            .bytes("netmap", map.transpose()?.unwrap_or_default())
            .text("iff", self.iff.map(Iff::as_str))
            .flag("stats", self.stats)
            .flag("usage", false);
        errand.run("crosscor", appdata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_local_tool_understands_the_words_of_the_service() {
        for (words, want) in [
            ("--local -n map text", "-n map text"),
            ("-m map --local -r text", "-n map text"),
            ("-mmap -rtext --local --map=map --file=text -I foe", "-nmap text --networks=map text -I foe"),
            ("--local -- -m -r --local", "-- -m -r --local"),
        ] {
            let words: Vec<OsString> = words.split(' ').map(OsString::from).collect();
            let at = words.iter().position(|word| word == "--local").unwrap();
            assert_eq!(local(&words, at).join(" ".as_ref()), want);
        }
    }
}
