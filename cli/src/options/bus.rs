//! Which bus, and how to reach it.

use std::path::PathBuf;

use clap::Args;
use polybus::BUSES;

/// Which bus is used.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Bus")]
pub(crate) struct BusOptions {
    #[arg(long, value_name = "URL", help = about_bus())]
    pub(crate) bus: Option<String>,
    #[command(flatten)]
    pub(crate) broker: BrokerOptions,
}

/// How a RabbitMQ broker is reached when no URL is given.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "RabbitMQ broker, instead of a URL")]
pub(crate) struct BrokerOptions {
    /// Broker: `host`, `host:port` or `[v6]:port`.
    #[arg(long, value_name = "HOST")]
    pub(crate) server: Option<String>,
    /// Port of the broker. Default: 5672, with TLS 5671.
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Virtual host. Default: `/`.
    #[arg(long)]
    pub(crate) vhost: Option<String>,
    /// Account. Its password comes from `RPC_PWD`, `RPC_PWD_FILE` or the configuration file, never from an option.
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Encrypt with TLS 1.2 or later. The host's name is checked; there is no switch to skip that.
    #[arg(long)]
    pub(crate) tls: bool,
    /// Authorities to trust, in PEM form, instead of the system's.
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// Certificate of this client, in PEM form.
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Key of that certificate.
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Make missing queues and exchanges durable.
    #[arg(long)]
    pub(crate) durable: bool,
}

/// The forms of URLs in this build.
fn about_bus() -> String {
    let forms: Vec<_> = BUSES.iter().map(|kind| format!("`{}:` is {}", kind.scheme, kind.about)).collect();
    format!(
        "The bus, as a URL. In this build: {}. Also from `POLYBUS_BUS`, `RPC_BUS` or `polybus.toml`.",
        forms.join("; ")
    )
}
