//! Options of programs that call a service.

use clap::Args;
use clap::builder::NonEmptyStringValueParser as Text;
use polybus::Nobody;

use super::{BusOptions, Flags, FrameOptions, General, Shared};

/// How a call is made.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Call")]
pub(crate) struct ClientOptions {
    /// Exchange of an AMQP broker that requests are published to. Default: its default exchange.
    #[arg(short = 'e', long, value_name = "NAME")]
    rpc_exchange: Option<String>,
    /// How long to wait for the reply; 0 is for ever. Default: 1800.
    #[arg(long, value_name = "SECONDS", value_parser = Text::new())]
    timeout: Option<String>,
    /// How long to wait for a bus that is not there; 0 is one attempt. Default: 30.
    #[arg(long, value_name = "SECONDS", value_parser = Text::new())]
    connect_seconds: Option<String>,
    /// Do not wait for a bus that is not there, and do not send a request again when the connection is lost.
    #[arg(long)]
    pub(crate) no_retry: bool,
    /// Give up at once if nobody serves the queue, instead of waiting for somebody.
    #[arg(long)]
    require_server: bool,
    #[command(flatten)]
    pub(crate) frames: FrameOptions,
}

impl ClientOptions {
    /// What to do if nobody serves the queue.
    pub(crate) const fn nobody(&self) -> Nobody {
        if self.require_server { Nobody::Fail } else { Nobody::Wait }
    }

    fn flags(&self, flags: &mut Flags) {
        self.frames.flags(flags);
        flags.take("--rpc-exchange", "amqp.request_exchange", self.rpc_exchange.as_ref());
        flags.take("--timeout", "timeout", self.timeout.as_ref());
        flags.take("--connect-seconds", "connect_seconds", self.connect_seconds.as_ref());
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
