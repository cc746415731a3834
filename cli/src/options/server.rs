//! Options of programs that serve.

use std::net::{Ipv4Addr, SocketAddr};

use clap::Args;
use clap::builder::NonEmptyStringValueParser as Text;
use polybus::Feature;

use super::{BusOptions, Flags, FrameOptions, General, Shared};

/// How requests are served.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Serving")]
pub(crate) struct ServerOptions {
    /// Exchange of an AMQP broker that the queue is bound to. Default: its default exchange.
    #[arg(short = 'e', long, value_name = "NAME")]
    exchange: Option<String>,
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
    /// Say on the topic health each minute that the service is served.
    #[arg(long)]
    pub(crate) health: bool,
    /// Show `/health`, `/ready` and `/metrics` on a port: `PORT` of the loopback, or `ADDRESS:PORT`. There is no password:
    /// name an address whose network may read figures.
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address)]
    pub(crate) http: Option<SocketAddr>,
    /// Serve plain NATS requests too: to the subject that is called as the queue, such as `anon_0.5.5`, and answer the
    /// discovery of NATS services (`$SRV.PING`, `$SRV.INFO`, `$SRV.STATS`). Refused on other buses.
    #[arg(long)]
    pub(crate) nats_door: bool,
    /// Refuse to start on a bus that lacks one of these; `polybus check` shows their names.
    #[arg(long, value_name = "FEATURE[,FEATURE]", value_delimiter = ',')]
    pub(crate) require: Vec<Feature>,
    #[command(flatten)]
    pub(crate) frames: FrameOptions,
}

impl ServerOptions {
    /// How services are served where everything else is said by the settings.
    pub(super) fn shown(health: bool, http: Option<SocketAddr>) -> Self {
        Self { health, http, ..Self::default() }
    }

    fn flags(&self, flags: &mut Flags) {
        self.frames.flags(flags);
        let texts = [
            ("--exchange", "amqp.request_exchange", &self.exchange),
            ("--map", "map", &self.map),
            ("--jobs", "service.jobs", &self.jobs),
            ("--max-attempts", "service.max_attempts", &self.max_attempts),
            ("--job-seconds", "service.job_seconds", &self.job_seconds),
            ("--drain-seconds", "service.drain_seconds", &self.drain_seconds),
            ("--dead-letter", "service.dead_letter", &self.dead_letter),
        ];
        for (option, key, value) in texts {
            flags.take(option, key, value.as_ref());
        }
    }
}

/// A port alone is one of the loopback.
pub(super) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    match text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
        Ok(port) => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        Err(_) => text.parse().map_err(|_| {
            format!("\"{text}\" is neither a port nor an address with a port, such as 127.0.0.1:9464")
        }),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_one_of_the_loopback() {
        for (text, found) in [
            ("9464", "127.0.0.1:9464"),
            (":0", "127.0.0.1:0"),
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
        ] {
            assert_eq!(listen_address(text).unwrap().to_string(), found);
        }
        for text in ["", "192.0.2.1", "65536", "mq.example.org:80", "-1"] {
            assert!(listen_address(text).unwrap_err().contains("127.0.0.1:9464"), "{text}");
        }
    }
}
