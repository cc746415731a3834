//! Standard output, which carries the result and nothing else.

use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};
use std::process;

use super::{Failure, Outcome};

/// Standard output. When its reader goes away the program ends at once, quietly, with exit 0 (3.3): threads that
/// wait for an input which never comes would hold it up otherwise.
#[derive(Debug)]
pub(crate) struct ResultOutput(StdoutLock<'static>);

impl ResultOutput {
    pub(crate) fn new() -> Self {
        Self(io::stdout().lock())
    }
}

impl Write for ResultOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).inspect_err(end_if_closed)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().inspect_err(end_if_closed)
    }
}

fn end_if_closed(error: &io::Error) {
    if error.kind() == ErrorKind::BrokenPipe {
        process::exit(0);
    }
}

/// Writes a result as a whole.
///
/// # Errors
/// Exit 1 if it cannot be written.
pub(crate) fn write_result(write: impl FnOnce(&mut BufWriter<ResultOutput>) -> io::Result<()>) -> Outcome {
    let mut out = BufWriter::with_capacity(1 << 16, ResultOutput::new());
    write(&mut out).and_then(|()| out.flush()).map_err(Failure::writing("standard output"))
}
