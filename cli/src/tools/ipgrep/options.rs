//! The options of `ipgrep`.

use std::path::PathBuf;

use clap::Parser;
use polybus_ipgrep::{Dns, Feed};

use crate::console::{Failure, Outcome};
use crate::tools::grammar::GrammarArguments;
use crate::tools::maps::MapArguments;
use crate::tools::masks::MaskArguments;

/// Find, mask, list and count the addresses and names of texts.
///
/// An identifier matches if the map gives it a label. Without other options, lines with a match are printed. Files
/// are read in order as one text; without files, or for `-`, standard input is read. Exit is 0 also when nothing
/// matches.
#[derive(Debug, Parser)]
#[allow(clippy::struct_excessive_bools)] // each is an option of the old program
pub(crate) struct Options {
    /// Replace matching identifiers by masks that show their labels.
    #[arg(short, long)]
    pub(super) anonymize: bool,
    /// Print all lines, not only those selected.
    #[arg(long)]
    pub(super) context: bool,
    /// Select what does not match.
    #[arg(short = 'v', long)]
    pub(super) revert_match: bool,
    /// Print identifiers instead of lines, each once, in order of first appearance.
    #[arg(short, long)]
    pub(super) list: bool,
    /// Append the number of different matching identifiers of each label.
    #[arg(short, long)]
    pub(super) stats: bool,
    /// Print no lines and no list.
    #[arg(long)]
    pub(super) quiet: bool,
    /// Print one JSON object with all identifiers and counts, whatever else is selected.
    #[arg(long)]
    pub(super) json: bool,
    /// With -l: print each identifier as an object with value, kind and label.
    #[arg(long, requires = "list")]
    pub(super) json_lines: bool,
    /// Write the counts of -s to this file, or to `stderr`, instead of appending them.
    #[arg(long, value_name = "FILE|stderr")]
    pub(super) stats_to: Option<PathBuf>,
    /// Names that end in a file suffix: strict (they do not count) or loose (they count where nothing else does; not
    /// with -a).
    #[arg(long, value_name = "HOW", default_value = "strict")]
    pub(super) dns: Dns,
    /// Make a text map from a feed table with `|` between its columns: labels from asn, or from rir and cc.
    #[arg(long, value_name = "asn|rir", conflicts_with_all = ["anonymize", "json", "list", "stats", "networks"])]
    pub(super) build_map: Option<Feed>,
    /// Print usage with examples.
    #[arg(long)]
    pub(super) usage: bool,
    /// Write each line of standard error as an object with program, code and text.
    #[arg(long)]
    json_errors: bool,
    /// Texts to read.
    pub(super) file: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) map: MapArguments,
    #[command(flatten)]
    pub(super) grammar: GrammarArguments,
    #[command(flatten)]
    pub(super) mask: MaskArguments,
}

impl Options {
    /// Refuses what excludes each other.
    ///
    /// # Errors
    /// Exit 2.
    pub(super) fn check(&self) -> Outcome {
        if self.list && self.anonymize && !self.json {
            return Err(Failure::usage("-l and -a exclude each other"));
        }
        if self.dns == Dns::Loose && self.anonymize {
            return Err(Failure::usage("--dns loose is for lists, not for -a"));
        }
        Ok(())
    }

    /// Whether it makes sense to run without any map (7.3.1).
    pub(super) fn needs_no_map(&self) -> bool {
        (self.revert_match && self.list && !self.json) || self.mask.encrypt_all()
    }

    /// Whether a map without rules would give clear text that looks finished (7.3.6).
    pub(super) fn refuses_empty_map(&self) -> bool {
        self.anonymize && !self.json
    }

    /// Whether matching identifiers are counted for a block of statistics.
    pub(super) fn counts(&self) -> bool {
        self.stats || self.stats_to.is_some()
    }
}
