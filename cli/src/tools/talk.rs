//! How the tools speak that have the letters of the old programs.

use clap::Args;

/// Options about what is said.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // each is an option of the old programs
pub(super) struct Talk {
    /// Say on standard error what is being done.
    #[arg(short, long)]
    debug: bool,
    /// Say on standard error what is being done.
    #[arg(short, long)]
    verbose: bool,
    /// Print usage with examples.
    #[arg(short, long)]
    pub(super) usage: bool,
    /// Write each line of standard error as an object with program, code and text.
    #[arg(long)]
    json_errors: bool,
}

impl Talk {
    /// Whether progress is to be told.
    pub(super) fn is_wanted(&self) -> bool {
        self.verbose || self.debug
    }
}
