//! What every program understands.

use clap::Args;
use polybus::log::Level;

use super::Flags;

/// Options of every program that speaks to a bus.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "General")]
pub(crate) struct General {
    /// Log at DEBUG: to standard error, and to the log topic.
    #[arg(short, long)]
    pub(crate) debug: bool,
    /// Say on standard error what is going on.
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Print usage with examples; no bus is needed.
    #[arg(short, long)]
    pub(crate) usage: bool,
    /// Print the settings that would be used, and where each comes from.
    #[arg(long)]
    pub(crate) show_config: bool,
    /// Write each line of standard error as an object with program, code and text.
    #[arg(long)]
    pub(crate) json_errors: bool,
}

impl General {
    /// The least urgent log lines that go to standard error, given those that do so unasked.
    pub(crate) fn to_stderr(&self, unasked: Option<Level>) -> Option<Level> {
        match (self.debug, self.verbose) {
            (true, _) => Some(Level::Debug),
            (_, true) => Some(Level::Info),
            _ => unasked,
        }
    }

    pub(crate) fn flags(&self, flags: &mut Flags) {
        if self.debug {
            flags.take("--debug", "log.level", Some(&"DEBUG".to_owned()));
        }
    }
}
