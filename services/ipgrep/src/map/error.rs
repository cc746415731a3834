//! What can be wrong with a map: the whole file, or single rows.

use thiserror::Error;

/// A map file that cannot be used at all.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum MapError {
    /// The file is of the YAML form but is not YAML.
    #[error("line {line}: not YAML: {why}")]
    NotYaml {
        /// Line of the fault, counted from 1.
        line: usize,
        /// The reader's reason.
        why: String,
    },
    /// The document is not a mapping.
    #[error("line {line}: a YAML map must be a mapping of entries")]
    NotAMapping {
        /// Line on which the document begins, counted from 1.
        line: usize,
    },
    /// The file holds a second document, whose rules would be lost.
    #[error("line {line}: a map must be one YAML document, here begins another")]
    SecondDocument {
        /// Line on which the second document begins, counted from 1.
        line: usize,
    },
    /// Nesting beyond what any map needs.
    #[error("line {line}: nested deeper than {limit} levels")]
    TooDeep {
        /// Line of the node that goes too far, counted from 1.
        line: usize,
        /// The limit.
        limit: usize,
    },
    /// Aliases that multiply a small file into a huge map.
    #[error("line {line}: aliases expand to more than {limit} rules")]
    TooManyAliases {
        /// Line of the alias that goes too far, counted from 1.
        line: usize,
        /// The limit.
        limit: usize,
    },
}

/// A row or an entry that gave no rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenRow {
    /// Line in the file, counted from 1.
    pub line: usize,
    /// What is wrong with it, in one line of text.
    pub why: String,
}

/// The account of skipped rows: an exact count, and the first few by name (3.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Broken {
    rows: Vec<BrokenRow>,
    count: usize,
}

impl Broken {
    /// How many rows are named.
    pub const NAMED: usize = 10;

    /// The first skipped rows, at most [`Broken::NAMED`], in the order of the file.
    #[must_use]
    pub fn rows(&self) -> &[BrokenRow] {
        &self.rows
    }

    /// How many rows were skipped in all.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn add(&mut self, line: usize, why: impl FnOnce() -> String) {
        if self.rows.len() < Self::NAMED {
            self.rows.push(BrokenRow { line, why: why() });
        }
        self.count += 1;
    }
}

/// Text of the file as it is shown in a notice: on one line, not too long.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push_str("...");
    }
    shown
}
