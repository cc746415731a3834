//! Options of a program that has bus and services inside it.

use std::net::SocketAddr;

use clap::Args;
use clap::builder::NonEmptyStringValueParser as Text;

use super::server::listen_address;
use super::{Flags, General, ServerOptions, Shared};

/// What stands in one process. Everything else is said by the settings.
#[derive(Clone, Debug, Args)]
pub(crate) struct Standing {
    /// The bus inside this process: `embedded:///DIR` is kept on disk, `embedded:` in memory. Default: the setting `up.bus`, else
    /// in memory.
    #[arg(long, value_name = "URL", value_parser = Text::new())]
    bus: Option<String>,
    /// Append the lines of the log topic to this file. Default: the setting `up.log`, else none.
    #[arg(long = "log", value_name = "FILE", value_parser = Text::new())]
    log_file: Option<String>,
    /// Let other processes use the bus: `zmq://HOST:PORT` or `zmq+ipc:///PATH`, several with commas between them. Default: the
    /// setting `up.listen`, else nobody.
    #[arg(long, value_name = "URL[,URL]", value_parser = Text::new())]
    listen: Option<String>,
    /// Users, their secrets and rights, for who comes that way, as for `polybus broker`. Needed beyond this machine. Default: the
    /// setting `up.identities`.
    #[arg(long, value_name = "FILE", value_parser = Text::new())]
    identities: Option<String>,
    /// Map for requests that bring none.
    #[arg(short, long, value_name = "FILE", value_parser = Text::new())]
    map: Option<String>,
    /// Say on the topic health each minute that the services are served.
    #[arg(long)]
    health: bool,
    /// Show `/health`, `/ready` and `/metrics` on a port: `PORT` of the loopback, or `ADDRESS:PORT`. There is no password:
    /// name an address whose network may read figures.
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address)]
    pub(crate) http: Option<SocketAddr>,
    #[command(flatten)]
    general: General,
}

impl Standing {
    /// How its services are served.
    pub(crate) fn server(&self) -> ServerOptions {
        ServerOptions::shown(self.health, self.http)
    }
}

impl Shared for Standing {
    fn general(&self) -> &General {
        &self.general
    }

    fn flags(&self, flags: &mut Flags) {
        for (option, key, value) in [
            ("--bus", "up.bus", &self.bus),
            ("--log", "up.log", &self.log_file),
            ("--listen", "up.listen", &self.listen),
            ("--identities", "up.identities", &self.identities),
            ("--map", "map", &self.map),
        ] {
            flags.take(option, key, value.as_ref());
        }
        self.general.flags(flags);
    }
}
