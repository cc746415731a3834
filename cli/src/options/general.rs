//! What every program understands.

use clap::Args;

/// Options of every program that speaks to a bus.
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
