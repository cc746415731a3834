//! Options of programs that watch or feed a log topic (PRISEM services specification, 9.4).

use std::path::PathBuf;

use clap::Args;
use clap::builder::NonEmptyStringValueParser as Text;
use polybus::log::{Filter, Level};

use super::{BusOptions, Flags, General, Shared};
use crate::console::{Failure, Outcome};

/// Which topic, on which bus.
#[derive(Clone, Debug, Args)]
pub(crate) struct LogTopic {
    /// Topic. Default: logs.
    #[arg(short, long, value_name = "NAME", value_parser = Text::new())]
    log_exchange: Option<String>,
    #[command(flatten)]
    bus: BusOptions,
    #[command(flatten)]
    general: General,
}

impl Shared for LogTopic {
    fn general(&self) -> &General {
        &self.general
    }

    fn flags(&self, flags: &mut Flags) {
        flags.take("--log-exchange", "log.exchange", self.log_exchange.as_ref());
        self.bus.flags(flags);
        self.general.flags(flags);
    }
}

/// Which topic is watched, and in which zone its times are shown.
#[derive(Clone, Debug, Args)]
pub(crate) struct Watching {
    #[command(flatten)]
    pub(crate) topic: LogTopic,
    /// Show times in UTC, which is the default unless settings say otherwise.
    #[arg(long, overrides_with = "display_localtime", help_heading = "Monitoring")]
    display_utc: bool,
    /// Show times in local time.
    #[arg(long, overrides_with = "display_utc", help_heading = "Monitoring")]
    display_localtime: bool,
}

impl Shared for Watching {
    fn general(&self) -> &General {
        &self.topic.general
    }

    fn flags(&self, flags: &mut Flags) {
        self.topic.flags(flags);
        flags.switch("--display-utc", "log.display_utc", self.display_utc);
        if self.display_localtime {
            flags.take("--display-localtime", "log.display_utc", Some(&"false".to_owned()));
        }
    }
}

/// Which lines are shown, and how.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Monitoring")]
pub(crate) struct Showing {
    /// Only lines of this level and more urgent ones: EMERGENCY, ALERT, CRITICAL, ERROR, WARNING, NOTICE, INFO, DEBUG.
    #[arg(long, value_name = "LEVEL")]
    level: Option<Level>,
    /// Only lines of hosts that this regular expression matches.
    #[arg(long, value_name = "RE")]
    host: Option<String>,
    /// Only lines of programs that this regular expression matches.
    #[arg(long, value_name = "RE")]
    program: Option<String>,
    /// Only lines that this regular expression matches.
    #[arg(long, value_name = "RE")]
    grep: Option<String>,
    /// Show each line as a JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    /// Stop after this many lines.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max: Option<u64>,
    /// Append what is shown to a file too; without a name logmon.log.
    #[arg(long = "log", alias = "logfile", value_name = "FILE", num_args = 0..=1, default_missing_value = "logmon.log")]
    pub(crate) file: Option<PathBuf>,
}

impl Showing {
    /// Which lines are shown.
    ///
    /// # Errors
    /// Exit 2 for a bad expression.
    pub(crate) fn filter(&self) -> Outcome<Filter> {
        let mut filter = Filter::new();
        if let Some(level) = self.level {
            filter = filter.level(level);
        }
        let refused = |error: polybus::log::BadExpression| Failure::usage(error.to_string());
        if let Some(host) = &self.host {
            filter = filter.host(host).map_err(refused)?;
        }
        if let Some(program) = &self.program {
            filter = filter.program(program).map_err(refused)?;
        }
        if let Some(grep) = &self.grep {
            filter = filter.grep(grep).map_err(refused)?;
        }
        Ok(filter)
    }
}
