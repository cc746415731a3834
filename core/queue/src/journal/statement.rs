//! What an opening found, for people.

use std::fmt;
use std::io;

/// The journal ended in a batch that was not whole.
///
/// A batch is cut by an end in the middle of its writing; it was never confirmed then. The very last batch can
/// also have been damaged on the disk after it was confirmed: that cannot be told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The file.
    pub file: String,
    /// Where the batch begins.
    pub offset: u64,
    /// How many records it had, if its header is whole.
    pub records: Option<u32>,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, records } = self;
        write!(f, "the last batch, at byte {offset} of {file}, is not whole and was left out (")?;
        match records {
            Some(records) => write!(f, "{records} records"),
            None => f.write_str("its header is not whole"),
        }?;
        f.write_str("): a batch that was being written when the end came was never confirmed")
    }
}

/// Something that was on disk cannot be read any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// Where in it reading ended.
    pub offset: u64,
    /// The number of the batch that was expected there.
    pub batch: u64,
    /// What is wrong.
    pub what: &'static str,
    /// Whole records before it.
    pub records: u64,
    /// Messages that these leave, waiting, delayed or dead.
    pub messages: u64,
    /// Segments from there on, the damaged one included.
    pub segments: u64,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, batch, what, records, messages, segments } = self;
        write!(
            f,
            "{file} is damaged at byte {offset} (batch {batch}): {what}; the {records} records before it are whole \
             and leave {messages} messages; what follows, in {segments} file(s), cannot be used"
        )
    }
}

/// What an opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Segments read; 0: the journal is new.
    pub segments: u64,
    /// Whole batches read.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Messages that are there now, waiting, delayed or dead.
    pub messages: u64,
    /// The end was not whole.
    pub cut: Option<Cut>,
    /// Damage that was set aside, as the options said.
    pub set_aside: Option<Damage>,
}

impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segments, batches, records, messages, cut, set_aside } = self;
        write!(
            f,
            "kept {messages} messages from {records} records in {batches} batches and {segments} segments"
        )?;
        if let Some(cut) = cut {
            write!(f, "; {cut}")?;
        }
        if let Some(damage) = set_aside {
            write!(f, "; set aside as *.damaged: {damage}")?;
        }
        Ok(())
    }
}

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The system refused.
    #[error("{file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// It was written by another version.
    #[error("{file} has version {version} of the format, this program reads version {}", super::VERSION)]
    Version {
        /// The file.
        file: String,
        /// Its version.
        version: u32,
    },
    /// It cannot be read to its end. Nothing was changed.
    #[error("{0}; nothing was changed")]
    Damaged(Box<Damage>),
}
