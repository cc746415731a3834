//! Options of programs that send or receive frames.

use std::path::PathBuf;

use clap::Args;
use clap::builder::NonEmptyStringValueParser as Text;

use super::{Compat, Flags};

/// Where frames go, how large they may be, and what is written of them elsewhere. Shown under the heading of the
/// options that these stand with.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct FrameOptions {
    /// First part of the queue's name. Default: the service.
    #[arg(short, long, value_name = "NAME", value_parser = Text::new())]
    queue_base: Option<String>,
    /// Second part of the queue's name, and what frames say of themselves. Default: 0.5.5.
    #[arg(long, value_name = "V", value_parser = Text::new())]
    protocol_version: Option<String>,
    /// Topic of log lines. Default: logs.
    #[arg(long, value_name = "NAME", value_parser = Text::new())]
    log_exchange: Option<String>,
    /// Largest frame sent or accepted, in bytes. Default: 67108864.
    #[arg(long, value_name = "N", value_parser = Text::new())]
    max_bytes: Option<String>,
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

impl FrameOptions {
    pub(super) fn flags(&self, flags: &mut Flags) {
        flags.take("--queue-base", "service.queue_base", self.queue_base.as_ref());
        flags.take("--protocol-version", "protocol_version", self.protocol_version.as_ref());
        flags.take("--log-exchange", "log.exchange", self.log_exchange.as_ref());
        flags.take("--max-bytes", "max_bytes", self.max_bytes.as_ref());
    }
}
