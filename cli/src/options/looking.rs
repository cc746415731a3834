//! Options of programs that look at queues and services.

use std::time::Duration;

use clap::Args;
use polybus::Intake;

use super::{BusOptions, Flags, General, Shared};
use crate::session::BuiltIn;
use crate::session::desk::intake;

/// What is looked at, on which bus.
#[derive(Clone, Debug, Args)]
pub(crate) struct Looking {
    /// Queues, or TOPIC@GROUP. Default: all that the bus lists. The queues of the services are looked at in any case.
    #[arg(value_name = "QUEUE", value_parser = intake)]
    pub(crate) queues: Vec<Intake>,
    /// Services that are, or will be, served there. Default: those of the setting `up.services`, else all of this program.
    #[arg(short, long, value_name = "NAME[,NAME]", value_parser = services)]
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

/// Names of services with commas between them, as the setting has them.
fn services(text: &str) -> Result<String, String> {
    let unknown = text.split(',').map(str::trim).find(|name| BuiltIn::find(name).is_none());
    match unknown {
        Some(name) => Err(format!("no service \"{name}\" in this program; it has {}", BuiltIn::names())),
        None => Ok(text.to_owned()),
    }
}

/// Seconds of an option: from a tenth of a second to an hour.
///
/// # Errors
/// A line that says so.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let expected = || format!("\"{text}\" is no number of seconds from 0.1 to 3600");
    let number: f64 = text.parse().map_err(|_| expected())?;
    let fits = (0.1..=3600.0).contains(&number);
    fits.then(|| Duration::from_secs_f64(number)).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_those_of_the_program_and_seconds_have_bounds() {
        assert_eq!(services("anon, crosscor").unwrap(), "anon, crosscor");
        for text in ["", "anon,", "anno"] {
            assert!(services(text).unwrap_err().contains("it has anon, crosscor"), "{text}");
        }
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for text in ["0", "-1", "3601", "nan", "inf", "soon", ""] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
