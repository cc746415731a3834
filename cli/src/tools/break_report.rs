//! `crosscor --break`: who of ours met whom of the others (PRISEM services specification, 11.7).

use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use polybus_ipgrep::{BreakMaps, BreakOptions, BreakReport, Earlier, Grammar, Map};

use super::inputs::{Inputs, unreadable};
use super::maps::{MapArguments, empty_map};
use crate::console::{Failure, Notices, Outcome, write_result};

/// Options of the break report.
#[derive(Debug, Args)]
#[command(
    next_help_heading = "Break report",
    group(ArgGroup::new("others").args(["foe", "cif"]).multiple(true))
)]
pub(super) struct BreakArguments {
    /// Instead of a correlation document, report which friends and foes stand on the same lines, which friends are
    /// foes themselves, and who else is there.
    #[arg(long = "break", requires_all = ["friend", "others"], conflicts_with_all = ["networks", "iff", "compat"])]
    pub(super) wanted: bool,
    /// Map of ours.
    #[arg(long, value_name = "MAP", requires = "wanted")]
    friend: Option<PathBuf>,
    /// Map of the others; may be left out where --cif names them.
    #[arg(long, value_name = "MAP", requires = "wanted")]
    foe: Option<PathBuf>,
    /// A cifbulk result: items with hits are foes too.
    #[arg(long, value_name = "FILE", requires = "wanted")]
    cif: Option<PathBuf>,
    /// Longest list; the number of entries cut off is given under `more`.
    #[arg(long, value_name = "N", requires = "wanted", default_value_t = 50)]
    top: usize,
    /// Add the identifiers of each site.
    #[arg(long, requires = "wanted")]
    identifiers: bool,
    /// An earlier break report: mark what it does not list as new.
    #[arg(long, value_name = "FILE", requires = "wanted")]
    since: Option<PathBuf>,
}

impl BreakArguments {
    /// Reads the inputs once and prints the report.
    ///
    /// # Errors
    /// Exit 1 if something cannot be read or a map has no rule, 65 if a document beside the text is faulty.
    pub(super) fn run(
        &self,
        maps: &MapArguments,
        grammar: Grammar,
        inputs: &Inputs,
        notices: &Notices,
    ) -> Outcome {
        let options = BreakOptions {
            top: self.top,
            identifiers: self.identifiers,
            since: self.since.as_deref().map(|path| read(path, Earlier::parse)).transpose()?,
        };
        let mut report = BreakReport::new(self.maps(maps, notices)?, grammar);
        for input in inputs.readers() {
            let path = input.path().to_owned();
            let read = report.read(BufReader::with_capacity(1 << 16, input));
            read.map_err(|error| unreadable(Some(&path), &error))?;
        }
        inputs.finish();
        write_result(|out| report.write(out, &options))
    }

    fn maps(&self, arguments: &MapArguments, notices: &Notices) -> Outcome<BreakMaps> {
        let load = |path: &Option<PathBuf>| match path {
            Some(path) => arguments.load_file(path, notices),
            None => Ok(Map::empty()),
        };
        let hits = self.cif.as_deref().map(|path| read(path, BreakMaps::read_hits)).transpose()?;
        let maps = BreakMaps {
            friend: load(&self.friend)?,
            foe: load(&self.foe)?,
            hits: hits.unwrap_or_else(Map::empty),
        };
        if maps.friend.is_empty() || (maps.foe.is_empty() && maps.hits.is_empty()) {
            return Err(empty_map());
        }
        Ok(maps)
    }
}

fn read<T, E: std::fmt::Display>(path: &Path, parse: impl Fn(&[u8]) -> Result<T, E>) -> Outcome<T> {
    let content = fs::read(path).map_err(|error| unreadable(Some(path), &error))?;
    parse(&content).map_err(|error| Failure::data(format!("{}: {error}", path.display())))
}
