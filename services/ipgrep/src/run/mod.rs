//! Running over texts of any size: selection of lines, masking, lists and counts (PRISEM services specification, 7.1).

mod batch;
mod lines;
mod parallel;
mod plan;
mod source;
pub(crate) mod tally;
#[cfg(test)]
mod tests;
mod work;

use std::io::{self, Read, Write};

pub use plan::{Count, Output, RunOptions, Select};
pub use tally::{Entry, Tally};

use crate::map::Map;
use source::Source;
use work::{Seen, Worker};

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An input could not be read.
    #[error("cannot read input {input}: {error}")]
    Read {
        /// Which one, counting from 1.
        input: usize,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The output could not be written.
    #[error("cannot write: {0}")]
    Write(#[source] io::Error),
    /// A scanning thread could not be started or broke down.
    #[error("a scanning thread failed: {0}")]
    Thread(String),
}

/// The account of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What was counted or listed.
    pub tally: Tally,
    /// Bytes read, supplied newlines included.
    pub bytes: u64,
    /// Bytes written.
    pub written: u64,
    /// Identifiers found, each occurrence counted.
    pub identifiers: u64,
    /// Identifiers with a label, each occurrence counted.
    pub matches: u64,
    /// Whether the output is not empty and does not end in LF.
    pub unfinished_line: bool,
}

/// Reads the inputs in order as one text, writes what the options select, and counts.
///
/// A missing final newline is supplied between inputs, but not at the very end. Output appears as lines are complete
/// and is flushed whenever an input has nothing more at the moment. Memory does not depend on the length of the
/// text, only on its longest line, on the chunk size, and on the different identifiers that are counted. The result
/// is the same for any number of threads.
///
/// # Errors
/// [`RunError`]; everything before the place of a read error has been written by then.
pub fn run<I>(
    inputs: I,
    out: &mut impl Write,
    map: &Map,
    options: &RunOptions<'_>,
) -> Result<Report, RunError>
where
    I: IntoIterator<IntoIter: Send, Item: Read + Send>,
{
    let source = Source::new(inputs.into_iter(), options.chunk.get());
    let sink = Sink { out, options, report: Report::default(), listed: 0, scratch: Vec::new() };
    if options.threads.get() == 1 {
        in_sequence(source, sink, Worker::new(map, options))
    } else {
        parallel::run(source, sink, map, options)
    }
}

fn in_sequence<I>(
    mut source: Source<I>,
    mut sink: Sink<'_, impl Write>,
    mut worker: Worker<'_>,
) -> Result<Report, RunError>
where
    I: Iterator<Item: Read>,
{
    let (mut text, mut lines) = (Vec::new(), Vec::new());
    while source.read(&mut text)? {
        lines.clear();
        let seen = worker.work(&text, &mut lines, &mut sink.report.tally);
        sink.take(text.len(), &lines, seen)?;
    }
    Ok(sink.report)
}

/// Where the results of the chunks come together in order.
struct Sink<'a, W> {
    out: &'a mut W,
    options: &'a RunOptions<'a>,
    report: Report,
    /// How much of the tally has been listed.
    listed: usize,
    scratch: Vec<u8>,
}

impl<W: Write> Sink<'_, W> {
    /// Writes the lines of a chunk, or what is new in the list; the tally has been brought up to date.
    fn take(&mut self, bytes: usize, lines: &[u8], seen: Seen) -> Result<(), RunError> {
        self.report.bytes += bytes as u64;
        self.report.identifiers += seen.identifiers;
        self.report.matches += seen.matches;
        if !self.options.output.is_list() {
            return self.write(lines);
        }
        let mut list = std::mem::take(&mut self.scratch);
        list.clear();
        for entry in self.report.tally.entries_from(self.listed) {
            if self.options.output.lists(entry.label().is_some()) {
                entry.write_value(&mut list);
                list.push(b'\n');
            }
        }
        self.listed = self.report.tally.len();
        let result = self.write(&list);
        self.scratch = list;
        result
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), RunError> {
        let Some(last) = bytes.last() else { return Ok(()) };
        self.report.unfinished_line = *last != b'\n';
        self.report.written += bytes.len() as u64;
        self.out.write_all(bytes).and_then(|()| self.out.flush()).map_err(RunError::Write)
    }
}
