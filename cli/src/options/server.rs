//! Options of programs that serve.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use polybus::frame::ProtocolVersion;
use polybus::{DeadLetterPolicy, Feature};

use super::{Compat, values};

/// How requests are served.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Serving")]
pub(crate) struct ServerOptions {
    /// First part of the queue's name. Default: the service.
    #[arg(short, long, value_name = "NAME")]
    pub(crate) queue_base: Option<String>,
    /// Second part of the queue's name.
    #[arg(long, value_name = "V", default_value_t)]
    pub(crate) protocol_version: ProtocolVersion,
    /// Exchange that the queue is bound to. Default: the broker's default exchange.
    #[arg(short = 'e', long, value_name = "NAME")]
    pub(crate) exchange: Option<String>,
    /// Topic of log lines. Default: logs.
    #[arg(long, value_name = "NAME")]
    pub(crate) log_exchange: Option<String>,
    /// Map for requests that bring none.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) map: Option<PathBuf>,
    /// Requests of one service that are served at the same time.
    #[arg(long, value_name = "N", default_value = "1", value_parser = values::positive)]
    pub(crate) jobs: u32,
    /// Attempts that a request gets before it becomes a dead letter.
    #[arg(long, value_name = "N", default_value = "5", value_parser = values::positive)]
    pub(crate) max_attempts: u32,
    /// Time limit of one request.
    #[arg(long, value_name = "SECONDS", default_value = "1500", value_parser = values::seconds)]
    pub(crate) job_seconds: Duration,
    /// How long the first signal waits for requests in hand; then, or on a second signal, they are given back.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = values::seconds)]
    pub(crate) drain_seconds: Duration,
    /// What dead letters keep of an unreadable request: terse (sizes and digests), full or off.
    #[arg(long, value_name = "POLICY", default_value = "terse")]
    pub(crate) dead_letter: DeadLetterPolicy,
    /// Largest frame accepted or sent.
    #[arg(long, value_name = "N", default_value = "67108864", value_parser = values::bytes)]
    pub(crate) max_bytes: u64,
    /// Refuse to start on a bus that lacks one of these; `polybus check` names them all.
    #[arg(long, value_name = "FEATURE[,FEATURE]", value_delimiter = ',')]
    pub(crate) require: Vec<Feature>,
    /// Write the last request and response to this folder, contents by size and digest only.
    #[arg(long, value_name = "DIR")]
    pub(crate) dump: Option<PathBuf>,
    /// With --dump: whole frames.
    #[arg(long, requires = "dump")]
    pub(crate) dump_full: bool,
    /// Old behaviours: gen0, short-site, receipt-time, server-lines.
    #[arg(long, value_name = "WORD[,WORD]", value_delimiter = ',', hide_possible_values = true)]
    pub(crate) compat: Vec<Compat>,
}
