//! Options of programs that call a service.

use std::path::PathBuf;

use clap::Args;
use clap::builder::NonEmptyStringValueParser as Text;
use polybus::Nobody;

use super::{BusOptions, Compat, Flags, General, Shared};

/// How a call is made.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Call")]
pub(crate) struct ClientOptions {
    /// First part of the queue's name. Default: the service.
    #[arg(short, long, value_name = "NAME", value_parser = Text::new())]
    queue_base: Option<String>,
    /// Second part of the queue's name, and what requests say of themselves. Default: 0.5.5.
    #[arg(long, value_name = "V", value_parser = Text::new())]
    protocol_version: Option<String>,
    /// Exchange of an AMQP broker that requests are published to. Default: its default exchange.
    #[arg(short = 'e', long, value_name = "NAME")]
    rpc_exchange: Option<String>,
    /// Topic of log lines. Default: logs.
    #[arg(long, value_name = "NAME", value_parser = Text::new())]
    log_exchange: Option<String>,
    /// How long to wait for the reply; 0 is for ever. Default: 1800.
    #[arg(long, value_name = "SECONDS", value_parser = Text::new())]
    timeout: Option<String>,
    /// Largest frame sent or accepted, in bytes. Default: 67108864.
    #[arg(long, value_name = "N", value_parser = Text::new())]
    max_bytes: Option<String>,
    /// Do not send a request again when the connection is lost while waiting.
    #[arg(long)]
    pub(crate) no_retry: bool,
    /// Give up at once if nobody serves the queue, instead of waiting for somebody.
    #[arg(long)]
    require_server: bool,
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

impl ClientOptions {
    /// What to do if nobody serves the queue.
    pub(crate) const fn nobody(&self) -> Nobody {
        if self.require_server { Nobody::Fail } else { Nobody::Wait }
    }

    fn flags(&self, flags: &mut Flags) {
        flags.take("--queue-base", "service.queue_base", self.queue_base.as_ref());
        flags.take("--protocol-version", "protocol_version", self.protocol_version.as_ref());
        flags.take("--rpc-exchange", "amqp.request_exchange", self.rpc_exchange.as_ref());
        flags.take("--log-exchange", "log.exchange", self.log_exchange.as_ref());
        flags.take("--timeout", "timeout", self.timeout.as_ref());
        flags.take("--max-bytes", "max_bytes", self.max_bytes.as_ref());
    }
}

/// Everything a client is told beside its question.
#[derive(Clone, Debug, Args)]
pub(crate) struct Calling {
    #[command(flatten)]
    pub(crate) client: ClientOptions,
    #[command(flatten)]
    pub(crate) bus: BusOptions,
    #[command(flatten)]
    general: General,
}

impl Shared for Calling {
    fn general(&self) -> &General {
        &self.general
    }

    fn flags(&self, flags: &mut Flags) {
        self.client.flags(flags);
        self.bus.flags(flags);
        self.general.flags(flags);
    }
}
