//! Which brokers there are.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// A make of broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Product {
    /// RabbitMQ, spoken to by AMQP 0-9-1.
    RabbitMq,
    /// NATS with JetStream.
    Nats,
}

impl Product {
    /// The word for it in images and settings: `rabbitmq`, `nats`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::RabbitMq => "rabbitmq",
            Self::Nats => "nats",
        }
    }

    pub(crate) const fn program(self) -> &'static str {
        match self {
            Self::RabbitMq => "rabbitmq-server",
            Self::Nats => "nats-server",
        }
    }

    pub(crate) const fn package(self) -> &'static str {
        self.program()
    }

    /// The scheme of its URLs, without and with TLS, as Polybus writes them.
    pub(crate) const fn scheme(self, tls: bool) -> &'static str {
        match (self, tls) {
            (Self::RabbitMq, false) => "amqp",
            (Self::RabbitMq, true) => "amqps",
            (Self::Nats, false) => "nats",
            (Self::Nats, true) => "nats+tls",
        }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::RabbitMq => "RabbitMQ",
            Self::Nats => "NATS",
        })
    }
}

/// A broker of a version: what [`Broker::start`](crate::Broker::start) starts.
///
/// A version is `MAJOR.MINOR`; any patch level of it will do. Without a version, whatever is found first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind {
    product: Product,
    version: Option<&'static str>,
}

impl Kind {
    /// RabbitMQ of whatever version is at hand.
    pub const RABBITMQ: Self = Self { product: Product::RabbitMq, version: None };
    /// NATS of whatever version is at hand.
    pub const NATS: Self = Self { product: Product::Nats, version: None };
    /// RabbitMQ 3.10.
    pub const RABBITMQ_3_10: Self = Self::rabbitmq("3.10");
    /// RabbitMQ 4.0.
    pub const RABBITMQ_4_0: Self = Self::rabbitmq("4.0");
    /// NATS 2.9.
    pub const NATS_2_9: Self = Self::nats("2.9");
    /// NATS 2.10.
    pub const NATS_2_10: Self = Self::nats("2.10");
    /// NATS 2.15.
    pub const NATS_2_15: Self = Self::nats("2.15");

    /// The versions that Polybus itself is tested on.
    pub const ALL: [Self; 5] =
        [Self::RABBITMQ_3_10, Self::RABBITMQ_4_0, Self::NATS_2_9, Self::NATS_2_10, Self::NATS_2_15];

    /// RabbitMQ of this version.
    #[must_use]
    pub const fn rabbitmq(version: &'static str) -> Self {
        Self { product: Product::RabbitMq, version: Some(version) }
    }

    /// NATS of this version.
    #[must_use]
    pub const fn nats(version: &'static str) -> Self {
        Self { product: Product::Nats, version: Some(version) }
    }

    /// Its make.
    #[must_use]
    pub const fn product(self) -> Product {
        self.product
    }

    /// Its version, if a certain one is wanted.
    #[must_use]
    pub const fn version(self) -> Option<&'static str> {
        self.version
    }

    /// A word for it that may stand in names of tests: `rabbitmq_3_10`.
    #[must_use]
    pub fn word(self) -> String {
        let version = self.version.map(|version| format!("_{}", version.replace('.', "_")));
        format!("{}{}", self.product.word(), version.unwrap_or_default())
    }

    /// The image that is used if nothing else was set and no local one exists.
    #[must_use]
    pub fn official_image(self) -> String {
        format!("{}:{}", self.product.word(), self.tag())
    }

    /// The image that `integration/brokers/images.sh` builds.
    #[must_use]
    pub fn local_image(self) -> String {
        format!("polybus-test/{}", self.official_image())
    }

    fn tag(self) -> &'static str {
        self.version.unwrap_or(match self.product {
            Product::RabbitMq => "4.0",
            Product::Nats => "2.10",
        })
    }

    /// The environment variable that names an image: `POLYBUS_IMAGE_RABBITMQ_3_10`.
    #[must_use]
    pub fn image_setting(self) -> String {
        format!("POLYBUS_IMAGE_{}", self.word().to_ascii_uppercase())
    }

    /// The environment variable that names a program: `POLYBUS_PROGRAM_NATS_2_15`.
    #[must_use]
    pub fn program_setting(self) -> String {
        format!("POLYBUS_PROGRAM_{}", self.word().to_ascii_uppercase())
    }

    /// Whether a server that says this of itself is one of these.
    pub(crate) fn accepts(self, version: &str) -> bool {
        let Some(wanted) = self.version else { return true };
        version == wanted || version.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('.'))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Some(version) => write!(f, "{} {version}", self.product),
            None => write!(f, "{}", self.product),
        }
    }
}

impl FromStr for Kind {
    type Err = Error;

    /// Reads `rabbitmq`, `nats`, or one of [`Kind::ALL`] as `rabbitmq:3.10` or `rabbitmq_3_10`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let all = || Self::ALL.into_iter().chain([Self::RABBITMQ, Self::NATS]);
        all().find(|kind| text == kind.word() || text == kind.official_image()).ok_or_else(|| {
            let known: Vec<_> = all().map(Self::word).collect();
            Error::Setting(format!("no broker \"{text}\"; there are {}", known.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_whole_numbers_with_dots() {
        assert!(Kind::NATS_2_9.accepts("2.9.10"));
        assert!(Kind::NATS_2_9.accepts("2.9"));
        assert!(!Kind::NATS_2_9.accepts("2.90.1"));
        assert!(!Kind::NATS_2_10.accepts("2.1"));
        assert!(Kind::NATS.accepts("2.1"));
    }

    #[test]
    fn kinds_are_read_as_they_are_written() {
        for kind in Kind::ALL {
            assert_eq!(kind.word().parse::<Kind>().unwrap(), kind);
            assert_eq!(kind.official_image().parse::<Kind>().unwrap(), kind);
        }
        assert_eq!("nats".parse::<Kind>().unwrap(), Kind::NATS);
        let error = "kafka".parse::<Kind>().unwrap_err().to_string();
        assert!(error.contains("rabbitmq_3_10"), "{error}");
    }
}
