//! Options of programs that look at queues and services.

use clap::Args;
use clap::builder::NonEmptyStringValueParser as Text;
use polybus::Intake;

use super::{BusOptions, Flags, General, Shared};
use crate::session::desk::intake;

/// What is looked at, on which bus.
#[derive(Clone, Debug, Args)]
pub(crate) struct Looking {
    /// Queues, or TOPIC@GROUP. Default: all that the bus lists. The queues of the services are looked at in any case.
    #[arg(value_name = "QUEUE", value_parser = intake)]
    pub(crate) queues: Vec<Intake>,
    /// Services that are, or will be, served there. Default: those of the setting up.services, else all of this program.
    #[arg(short, long, value_name = "NAME[,NAME]", value_parser = Text::new())]
    services: Option<String>,
    #[command(flatten)]
    bus: BusOptions,
    #[command(flatten)]
    general: General,
}

impl Shared for Looking {
    fn general(&self) -> &General {
        &self.general
    }

    fn flags(&self, flags: &mut Flags) {
        flags.take("--services", "up.services", self.services.as_ref());
        self.bus.flags(flags);
        self.general.flags(flags);
    }
}

/// Seconds of an option: 0, or from a tenth of a second to an hour.
///
/// # Errors
/// A line that says so.
pub(crate) fn seconds(text: &str) -> Result<std::time::Duration, String> {
    let expected = || format!("\"{text}\" is no number of seconds from 0.1 to 3600");
    let number: f64 = text.parse().map_err(|_| expected())?;
    let fits = (0.1..=3600.0).contains(&number);
    fits.then(|| std::time::Duration::from_secs_f64(number)).ok_or_else(expected)
}
