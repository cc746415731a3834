//! What a run is to do.

use std::num::NonZeroUsize;

use crate::mask::Masker;
use crate::scan::Grammar;

/// Which lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Select {
    /// Lines with at least one matching identifier.
    #[default]
    Matching,
    /// Lines without one (`-v`).
    NonMatching,
    /// All lines (`--context`).
    All,
}

/// What is written while the text is read.
#[derive(Clone, Copy, Debug, Default)]
pub enum Output<'m> {
    /// Nothing (`--quiet`, `--json`).
    #[default]
    Nothing,
    /// Lines, with identifiers replaced if there is a masker (`-a`). It must be one for the map of the run.
    Lines(Select, Option<&'m Masker>),
    /// Matching identifiers, each once, as values, one a line, in order of first appearance (`-l`).
    Matching,
    /// Identifiers that do not match, likewise (`-v -l`).
    NonMatching,
}

/// What is counted for a later report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Count {
    /// Nothing.
    #[default]
    Nothing,
    /// Different matching identifiers, but not how often they occur: enough for the statistics block.
    Matching,
    /// All identifiers and how often they occur: for the classification object.
    All,
    /// The same, and which of them stand beside a match: for the correlation document.
    Beside,
}

/// What a run is to do (PRISEM services specification, 7.1).
#[derive(Clone, Debug)]
pub struct RunOptions<'m> {
    /// What to seek.
    pub grammar: Grammar,
    /// What to write.
    pub output: Output<'m>,
    /// What to count. What a list writes is always in the tally as well.
    pub count: Count,
    /// How many threads scan. With one, everything happens in the thread of the caller.
    pub threads: NonZeroUsize,
    /// How many bytes are read at a time. Memory is taken for a few times as much for each thread, and for the longest
    /// line.
    pub chunk: NonZeroUsize,
}

impl RunOptions<'_> {
    /// Bytes that are read at a time by default: as much as stays in the second-level cache with what comes of it.
    pub const CHUNK: NonZeroUsize = NonZeroUsize::MIN.saturating_add(64 * 1024 - 1);
}

impl Default for RunOptions<'_> {
    fn default() -> Self {
        Self {
            grammar: Grammar::default(),
            output: Output::default(),
            count: Count::default(),
            threads: NonZeroUsize::MIN,
            chunk: Self::CHUNK,
        }
    }
}

impl Output<'_> {
    pub(super) fn is_list(&self) -> bool {
        matches!(self, Self::Matching | Self::NonMatching)
    }

    /// Whether an identifier, matching or not, belongs into the list.
    pub(super) fn lists(&self, matching: bool) -> bool {
        matches!((self, matching), (Self::Matching, true) | (Self::NonMatching, false))
    }
}

impl Count {
    pub(super) fn counts(self, matching: bool) -> bool {
        match self {
            Self::Nothing => false,
            Self::Matching => matching,
            Self::All | Self::Beside => true,
        }
    }
}
