//! Options of programs that call a service.

use std::path::PathBuf;

use clap::Args;
use polybus::frame::ProtocolVersion;
use polybus::{Deadline, Nobody};

use super::{Compat, values};

/// How a call is made.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Call")]
pub(crate) struct ClientOptions {
    /// First part of the queue's name. Default: the service.
    #[arg(short, long, value_name = "NAME")]
    pub(crate) queue_base: Option<String>,
    /// Second part of the queue's name, and what requests say of themselves.
    #[arg(long, value_name = "V", default_value_t)]
    pub(crate) protocol_version: ProtocolVersion,
    /// Exchange that requests are published to. Default: the broker's default exchange.
    #[arg(short = 'e', long, value_name = "NAME")]
    pub(crate) rpc_exchange: Option<String>,
    /// Topic of log lines. Default: logs.
    #[arg(long, value_name = "NAME")]
    pub(crate) log_exchange: Option<String>,
    /// How long to wait for the reply; 0 is for ever. Default: 1800.
    #[arg(long, value_name = "SECONDS", value_parser = values::deadline)]
    pub(crate) timeout: Option<Deadline>,
    /// Largest frame sent or accepted.
    #[arg(long, value_name = "N", default_value = "67108864", value_parser = values::bytes)]
    pub(crate) max_bytes: u64,
    /// Do not send a request again when the connection is lost while waiting.
    #[arg(long)]
    pub(crate) no_retry: bool,
    /// Give up at once if nobody serves the queue, instead of waiting for somebody.
    #[arg(long)]
    pub(crate) require_server: bool,
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

impl ClientOptions {
    /// What to do if nobody serves the queue.
    pub(crate) const fn nobody(&self) -> Nobody {
        if self.require_server { Nobody::Fail } else { Nobody::Wait }
    }
}
