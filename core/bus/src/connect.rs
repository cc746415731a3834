//! From a URL to a bus. The only place that lists the transports.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use polybus_contract::{
    Capability, Checked, Diagnosis, DrainReport, Error, Feature, Kind, Needs, Operation, Result, Transport,
    Unmet,
};

use crate::config::redact_url;

/// How long [`connect`] waits.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// A kind of bus that this build can speak.
#[derive(Clone, Copy, Debug)]
pub struct BusKind {
    /// The URL's scheme.
    pub scheme: &'static str,
    /// One line for people: what it is and how its URL is written.
    pub about: &'static str,
    /// Whether such a bus, by this URL, lives in this process only.
    pub local: fn(url: &str) -> bool,
    /// The most it can do.
    pub capability: fn() -> Capability,
    /// What [`Transport::examine`] looks for on it.
    pub diagnoses: &'static [&'static Diagnosis],
    open: fn(url: &str) -> Result<Arc<dyn Transport>>,
}

/// Every kind of bus in this build, by its Cargo features.
pub const BUSES: &[BusKind] = &[
    #[cfg(feature = "embedded")]
    BusKind {
        scheme: "embedded",
        about: "in this process: `embedded:` is private, `embedded:NAME` shared by that name, `embedded:///DIR` kept on disk",
        local: |_| true,
        capability: polybus_embedded::capability,
        diagnoses: polybus_embedded::DIAGNOSES,
        open: |url| polybus_embedded::Embedded::from_url(url).map(|bus| Arc::new(bus) as Arc<dyn Transport>),
    },
    #[cfg(feature = "rabbitmq")]
    BusKind {
        scheme: "amqp",
        about: "RabbitMQ: `amqp://USER@HOST:PORT/VHOST`, without encryption",
        local: |_| false,
        capability: polybus_rabbitmq::capability,
        diagnoses: polybus_rabbitmq::DIAGNOSES,
        open: open_rabbitmq,
    },
    #[cfg(feature = "rabbitmq")]
    BusKind {
        scheme: "amqps",
        about: "RabbitMQ with TLS: `amqps://USER@HOST:PORT/VHOST?ca=FILE`",
        local: |_| false,
        capability: polybus_rabbitmq::capability,
        diagnoses: polybus_rabbitmq::DIAGNOSES,
        open: open_rabbitmq,
    },
    #[cfg(feature = "nats")]
    BusKind {
        scheme: polybus_nats::SCHEME,
        about: "NATS with JetStream: `nats://USER:PASSWORD@HOST:PORT`, several hosts separated by commas",
        local: |_| false,
        capability: polybus_nats::capability,
        diagnoses: polybus_nats::DIAGNOSES,
        open: open_nats,
    },
    #[cfg(feature = "nats")]
    BusKind {
        scheme: polybus_nats::TLS_SCHEME,
        about: "NATS with TLS: `nats+tls://USER:PASSWORD@HOST:PORT?ca=FILE`",
        local: |_| false,
        capability: polybus_nats::capability,
        diagnoses: polybus_nats::DIAGNOSES,
        open: open_nats,
    },
    #[cfg(feature = "zeromq")]
    BusKind {
        scheme: polybus_zeromq::SCHEME,
        about: "a broker of our own over ZeroMQ (`polybus broker`): `zmq://USER:SECRET@HOST:PORT`, without encryption",
        local: |_| false,
        capability: polybus_zeromq::capability,
        diagnoses: polybus_zeromq::DIAGNOSES,
        open: open_zeromq,
    },
    #[cfg(feature = "zeromq")]
    BusKind {
        scheme: polybus_zeromq::IPC_SCHEME,
        about: "the same on this machine: `zmq+ipc:///PATH`",
        local: |_| false,
        capability: polybus_zeromq::capability,
        diagnoses: polybus_zeromq::DIAGNOSES,
        open: open_zeromq,
    },
];

#[cfg(feature = "rabbitmq")]
fn open_rabbitmq(url: &str) -> Result<Arc<dyn Transport>> {
    polybus_rabbitmq::RabbitMq::from_url(url).map(|bus| Arc::new(bus) as Arc<dyn Transport>)
}

#[cfg(feature = "nats")]
fn open_nats(url: &str) -> Result<Arc<dyn Transport>> {
    polybus_nats::Nats::from_url(url).map(|bus| Arc::new(bus) as Arc<dyn Transport>)
}

#[cfg(feature = "zeromq")]
fn open_zeromq(url: &str) -> Result<Arc<dyn Transport>> {
    polybus_zeromq::ZeroMq::from_url(url).map(|bus| Arc::new(bus) as Arc<dyn Transport>)
}

/// A handle on a bus. Cheap to clone; all clones share one connection.
#[derive(Clone)]
pub struct Bus {
    transport: Arc<dyn Transport>,
    url: Arc<str>,
    kind: &'static BusKind,
}

/// Builds the bus that `url` names and connects to it within 10 s.
///
/// # Errors
/// As [`Bus::open`], and as [`Transport::connect`].
pub async fn connect(url: &str) -> Result<Bus> {
    let bus = Bus::open(url)?;
    bus.transport.connect(CONNECT_WITHIN).await.map_err(|error| error.with_target(&bus))?;
    Ok(bus)
}

impl Bus {
    /// Builds the bus that `url` names, without any I/O (I1).
    ///
    /// # Errors
    /// [`Kind::Configuration`] for a URL that is not understood, naming the schemes of this build.
    pub fn open(url: &str) -> Result<Self> {
        let kind = BusKind::of(url)?;
        let transport = (kind.open)(url)?;
        Ok(Self { transport: Arc::new(Checked::new(transport)), url: redact_url(url).into(), kind })
    }

    /// The bus itself, behind the always-on checks.
    #[must_use]
    pub fn transport(&self) -> &Arc<dyn Transport> {
        &self.transport
    }

    /// The URL, without its password.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether the bus lives in this process only, so that no other process can serve it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        (self.kind.local)(&self.url)
    }

    /// The directory that holds the bus, if a directory does. It need not exist yet: connecting makes it.
    #[must_use]
    pub fn directory(&self) -> Option<PathBuf> {
        #[cfg(feature = "embedded")]
        if self.kind.scheme == polybus_embedded::SCHEME {
            return polybus_embedded::Config::from_url(&self.url).ok()?.directory;
        }
        None
    }

    /// Refuses if the bus does not meet `needs`, naming each unmet need and the buses of this build that meet it.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] with the first missing feature, or [`Kind::TooLarge`].
    pub fn require(&self, needs: &Needs) -> Result<()> {
        let profile = self.transport.profile();
        let unmet = needs.unmet(&profile.capability);
        let Some(first) = unmet.first() else { return Ok(()) };
        let lines: Vec<_> = unmet.iter().map(|unmet| format!("{unmet} ({})", met_elsewhere(unmet))).collect();
        let kind = match *first {
            Unmet::Feature(feature) => Kind::Unsupported(feature),
            Unmet::MessageSize { size, limit } => Kind::TooLarge { limit, size },
            _ => Kind::Unsupported(Feature::Queue),
        };
        Err(Error::new(kind, Operation::Connect).with_target(self).with_detail(lines.join("; ")))
    }

    /// Drains the bus: see [`Transport::drain`].
    pub async fn drain(&self, within: Duration) -> DrainReport {
        self.transport.drain(within).await
    }
}

#[cfg(all(test, feature = "embedded"))]
impl Bus {
    /// The same bus with something in front of it.
    pub(crate) fn behind(mut self, wall: impl FnOnce(Arc<dyn Transport>) -> Arc<dyn Transport>) -> Self {
        self.transport = wall(self.transport);
        self
    }
}

impl BusKind {
    /// The kind of bus that `url` names.
    ///
    /// # Errors
    /// [`Kind::Configuration`], naming the schemes of this build.
    pub fn of(url: &str) -> Result<&'static Self> {
        let known = || BUSES.iter().map(|kind| format!("{}:", kind.scheme)).collect::<Vec<_>>().join(", ");
        let Some((scheme, _)) = url.split_once(':') else {
            let detail = format!("\"{}\" is not a bus URL; this build speaks {}", redact_url(url), known());
            return Err(Error::new(Kind::Configuration, Operation::Connect).with_detail(detail));
        };
        BUSES.iter().find(|kind| kind.scheme == scheme).ok_or_else(|| {
            let detail = format!("no transport for \"{scheme}:\" in this build; it speaks {}", known());
            Error::new(Kind::Configuration, Operation::Connect).with_detail(detail)
        })
    }
}

fn met_elsewhere(unmet: &Unmet) -> String {
    let able: Vec<_> =
        BUSES.iter().filter(|kind| unmet.met_by(&(kind.capability)())).map(|kind| kind.scheme).collect();
    if able.is_empty() {
        "no bus of this build meets it".to_owned()
    } else {
        format!("met by {}", able.join(", "))
    }
}

impl fmt::Display for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bus({})", self.url)
    }
}

#[cfg(all(test, feature = "embedded"))]
mod tests {
    use super::*;

    #[test]
    fn a_bus_on_disk_knows_its_directory() {
        let directory = |url| Bus::open(url).unwrap().directory();
        assert_eq!(directory("embedded:///tmp/a%20bus?sync=50"), Some(PathBuf::from("/tmp/a bus")));
        assert_eq!((directory("embedded:"), directory("embedded:name")), (None, None));
    }

    #[test]
    fn unknown_schemes_name_the_known_ones() {
        for url in ["warp://u:secret@broker.example.org/", "nonsense", "", "://"] {
            let error = Bus::open(url).unwrap_err();
            assert_eq!(error.kind(), Kind::Configuration);
            assert!(error.to_string().contains("embedded:"), "{error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
