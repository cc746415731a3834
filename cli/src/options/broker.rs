//! Which bus, and how to reach it.

use clap::Args;
use clap::builder::NonEmptyStringValueParser as Text;
use polybus::BUSES;

use super::Flags;

/// Which bus is used.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Bus")]
pub(crate) struct BusOptions {
    #[arg(long, value_name = "URL", value_parser = Text::new(), help = about_bus())]
    bus: Option<String>,
    /// AMQP broker, instead of a URL: `host`, `host:port` or `[v6]:port`.
    #[arg(long, value_name = "HOST", value_parser = Text::new())]
    server: Option<String>,
    /// Port of the broker. Default: 5672, with TLS 5671.
    #[arg(long, value_name = "PORT", value_parser = Text::new())]
    port: Option<String>,
    /// Virtual host of the broker. Default: `/`.
    #[arg(long, value_name = "NAME", value_parser = Text::new())]
    vhost: Option<String>,
    /// Account on the broker. Its password comes from `RPC_PWD`, `RPC_PWD_FILE` or a configuration file, never from
    /// an option.
    #[arg(long, value_name = "NAME", value_parser = Text::new())]
    user: Option<String>,
    /// Speak TLS 1.2 or later with the broker. Its name is checked; no switch skips that.
    #[arg(long)]
    tls: bool,
    /// Certificates that sign the broker's, in PEM form. Default: the system's.
    #[arg(long, value_name = "FILE", value_parser = Text::new())]
    tls_ca: Option<String>,
    /// Certificate of this program, in PEM form.
    #[arg(long, value_name = "FILE", value_parser = Text::new())]
    tls_cert: Option<String>,
    /// Key of that certificate.
    #[arg(long, value_name = "FILE", value_parser = Text::new())]
    tls_key: Option<String>,
    /// Make missing queues and topics durable. `polybus serve` makes its queues so without being told; the old names make
    /// queues that do not survive the broker, as they always did.
    #[arg(long)]
    durable: bool,
}

impl BusOptions {
    pub(crate) fn flags(&self, flags: &mut Flags) {
        let texts = [
            ("--server", "amqp.server", &self.server),
            ("--port", "amqp.port", &self.port),
            ("--vhost", "amqp.vhost", &self.vhost),
            ("--user", "amqp.user", &self.user),
            ("--tls-ca", "amqp.tls_ca", &self.tls_ca),
            ("--tls-cert", "amqp.tls_cert", &self.tls_cert),
            ("--tls-key", "amqp.tls_key", &self.tls_key),
            // Last: of URL and server the URL counts, if both are options.
            ("--bus", "bus", &self.bus),
        ];
        for (option, key, value) in texts {
            flags.take(option, key, value.as_ref());
        }
        flags.switch("--tls", "amqp.tls", self.tls);
        flags.switch("--durable", "durable", self.durable);
    }
}

/// The forms of URLs in this build.
fn about_bus() -> String {
    let forms: Vec<_> = BUSES.iter().map(|kind| kind.about).collect();
    format!(
        "The bus, as a URL. In this build: {}. Also from `POLYBUS_BUS`, `RPC_BUS` or a configuration file.",
        forms.join("; ")
    )
}
