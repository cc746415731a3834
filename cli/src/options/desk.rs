//! Options of programs that look into queues.

use clap::Args;

use super::{BusOptions, Flags, General, Shared};

/// Which bus, and how what is found is shown.
#[derive(Clone, Debug, Args)]
pub(crate) struct DeskOptions {
    /// Print JSON instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    bus: BusOptions,
    #[command(flatten)]
    general: General,
}

impl Shared for DeskOptions {
    fn general(&self) -> &General {
        &self.general
    }

    fn flags(&self, flags: &mut Flags) {
        self.bus.flags(flags);
        self.general.flags(flags);
    }
}
