//! Options of programs that serve.

use std::path::PathBuf;

use clap::Args;
use clap::builder::NonEmptyStringValueParser as Text;
use polybus::Feature;

use super::{BusOptions, Compat, Flags, General, Shared};

/// How requests are served.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Serving")]
pub(crate) struct ServerOptions {
    /// First part of the queue's name. Default: the service.
    #[arg(short, long, value_name = "NAME", value_parser = Text::new())]
    queue_base: Option<String>,
    /// Second part of the queue's name. Default: 0.5.5.
    #[arg(long, value_name = "V", value_parser = Text::new())]
    protocol_version: Option<String>,
    /// Exchange of an AMQP broker that the queue is bound to. Default: its default exchange.
    #[arg(short = 'e', long, value_name = "NAME")]
    exchange: Option<String>,
    /// Topic of log lines. Default: logs.
    #[arg(long, value_name = "NAME", value_parser = Text::new())]
    log_exchange: Option<String>,
    /// Map for requests that bring none.
    #[arg(short, long, value_name = "FILE", value_parser = Text::new())]
    map: Option<String>,
    /// Requests of one service that are served at the same time. Default: 1.
    #[arg(long, value_name = "N", value_parser = Text::new())]
    jobs: Option<String>,
    /// Attempts that a request gets before it becomes a dead letter. Default: 5.
    #[arg(long, value_name = "N", value_parser = Text::new())]
    max_attempts: Option<String>,
    /// Time limit of one request. Default: 1500.
    #[arg(long, value_name = "SECONDS", value_parser = Text::new())]
    job_seconds: Option<String>,
    /// How long the first signal waits for requests in hand; after that, or on a second signal, they are given back.
    /// Default: 30.
    #[arg(long, value_name = "SECONDS", value_parser = Text::new())]
    drain_seconds: Option<String>,
    /// What dead letters keep of an unreadable request: terse (sizes and digests), full or off. Default: terse.
    #[arg(long, value_name = "POLICY", value_parser = Text::new())]
    dead_letter: Option<String>,
    /// Largest frame accepted or sent, in bytes. Default: 67108864.
    #[arg(long, value_name = "N", value_parser = Text::new())]
    max_bytes: Option<String>,
    /// Refuse to start on a bus that lacks one of these; `polybus check` shows their names.
    #[arg(long, value_name = "FEATURE[,FEATURE]", value_delimiter = ',')]
    pub(crate) require: Vec<Feature>,
    /// Write the last request and response to this folder, contents by size and digest only.
    #[arg(long, value_name = "DIR")]
    pub(crate) dump: Option<PathBuf>,
    /// With --dump: whole frames.
    #[arg(long, requires = "dump")]
    pub(crate) dump_full: bool,
    /// Old behaviours by their names: gen0, short-site, receipt-time, server-lines.
    #[arg(long, value_name = "WORD[,WORD]", value_delimiter = ',', hide_possible_values = true)]
    pub(crate) compat: Vec<Compat>,
}

impl ServerOptions {
    fn flags(&self, flags: &mut Flags) {
        let texts = [
            ("--queue-base", "service.queue_base", &self.queue_base),
            ("--protocol-version", "protocol_version", &self.protocol_version),
            ("--exchange", "amqp.request_exchange", &self.exchange),
            ("--log-exchange", "log.exchange", &self.log_exchange),
            ("--map", "map", &self.map),
            ("--jobs", "service.jobs", &self.jobs),
            ("--max-attempts", "service.max_attempts", &self.max_attempts),
            ("--job-seconds", "service.job_seconds", &self.job_seconds),
            ("--drain-seconds", "service.drain_seconds", &self.drain_seconds),
            ("--dead-letter", "service.dead_letter", &self.dead_letter),
            ("--max-bytes", "max_bytes", &self.max_bytes),
        ];
        for (option, key, value) in texts {
            flags.take(option, key, value.as_ref());
        }
    }
}

/// Everything a server is told beside which services it serves.
#[derive(Clone, Debug, Args)]
pub(crate) struct Serving {
    #[command(flatten)]
    pub(crate) server: ServerOptions,
    #[command(flatten)]
    pub(crate) bus: BusOptions,
    #[command(flatten)]
    general: General,
}

impl Shared for Serving {
    fn general(&self) -> &General {
        &self.general
    }

    fn flags(&self, flags: &mut Flags) {
        self.server.flags(flags);
        self.bus.flags(flags);
        self.general.flags(flags);
    }
}
