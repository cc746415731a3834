//! The settings a program works with.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::{BusUrl, ConfigError, Origin, Secret};
use crate::DeadLetterPolicy;
use crate::frame::ProtocolVersion;
use crate::log::{Level, Zone};

/// All settings of a program. Its Debug text holds no secrets.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Settings {
    /// The bus to use; none if the AMQP settings say which.
    #[serde(default)]
    pub bus: Option<BusUrl>,
    /// The management interface of the broker.
    #[serde(default)]
    pub management: Option<BusUrl>,
    /// Tenant prefix of all names on the bus.
    #[serde(default)]
    pub prefix: Option<String>,
    /// Appended to a host name without a dot.
    pub domain: String,
    /// Protocol version of frames and queue names.
    #[serde(deserialize_with = "parsed")]
    pub protocol_version: ProtocolVersion,
    /// How long a call waits; none for ever.
    #[serde(deserialize_with = "unless_zero")]
    pub timeout: Option<Duration>,
    /// How long a client waits for a bus that is not there.
    #[serde(rename = "connect_seconds", deserialize_with = "seconds")]
    pub connect: Duration,
    /// Largest frame sent or accepted, in bytes.
    pub max_bytes: u64,
    /// Declare missing queues and exchanges durable; none: as the program does by itself.
    #[serde(default)]
    pub durable: Option<bool>,
    /// Default map of servers.
    #[serde(default)]
    pub map: Option<PathBuf>,
    /// Level of results in the Traffic Light Protocol: `red`, `amber+strict`, `amber`, `green` or `white`.
    #[serde(default)]
    pub tlp: Option<String>,
    /// User word that old rwfind servers ask for.
    #[serde(default)]
    pub rwfind_user: Option<String>,
    /// Log lines.
    pub log: LogSettings,
    /// Servers.
    pub service: ServiceSettings,
    /// A bus and its services in one process.
    #[serde(default)]
    pub up: UpSettings,
    /// The broker, where no bus URL is given.
    pub amqp: AmqpSettings,
}

/// Settings of log lines.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct LogSettings {
    /// Fanout of log lines.
    pub exchange: String,
    /// Least urgent lines that are logged.
    #[serde(deserialize_with = "parsed")]
    pub level: Level,
    /// Whether logmon shows UTC.
    pub display_utc: bool,
}

impl LogSettings {
    /// The zone in which logmon shows times.
    #[must_use]
    pub fn zone(&self) -> Zone {
        if self.display_utc { Zone::Utc } else { Zone::Local }
    }
}

/// Settings of servers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct ServiceSettings {
    /// First part of the queue's name; none for the service's name.
    #[serde(default)]
    pub queue_base: Option<String>,
    /// Requests served at the same time.
    pub jobs: u32,
    /// Time limit of one job.
    #[serde(rename = "job_seconds", deserialize_with = "seconds")]
    pub job_limit: Duration,
    /// How long a shutdown waits for running jobs.
    #[serde(rename = "drain_seconds", deserialize_with = "seconds")]
    pub drain: Duration,
    /// Attempts before a request is poison.
    pub max_attempts: u32,
    /// What dead letters keep of a request.
    #[serde(deserialize_with = "parsed")]
    pub dead_letter: DeadLetterPolicy,
}

/// Settings of a bus and its services in one process.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct UpSettings {
    /// The bus; none for one in memory.
    #[serde(default)]
    pub bus: Option<BusUrl>,
    /// The services; none for all that the program has.
    #[serde(default)]
    pub services: Option<Vec<String>>,
    /// File to which the lines of the log topic are appended; none for nowhere.
    #[serde(default)]
    pub log: Option<PathBuf>,
    /// Where other processes reach the bus; none for nowhere.
    #[serde(default)]
    pub listen: Option<Vec<String>>,
    /// File with the users, secrets and rights of those processes; none if nobody has to say who it is.
    #[serde(default)]
    pub identities: Option<PathBuf>,
}

/// Settings of the AMQP broker (PRISEM services specification, 3.1).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct AmqpSettings {
    /// The broker's host, without brackets.
    #[serde(rename = "server")]
    pub host: String,
    /// The broker's port.
    #[serde(default)]
    pub port: u16,
    /// Virtual host.
    pub vhost: String,
    /// Account on the broker.
    pub user: String,
    /// Its password, also if a file held it.
    #[serde(default)]
    pub password: Option<Secret>,
    /// File whose first line is the password.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Exchange of requests; empty for the default one.
    pub request_exchange: String,
    /// Use TLS.
    pub tls: bool,
    /// Certificates that sign the broker's.
    #[serde(default)]
    pub tls_ca: Option<PathBuf>,
    /// Client certificate.
    #[serde(default)]
    pub tls_cert: Option<PathBuf>,
    /// Key of the client certificate.
    #[serde(default)]
    pub tls_key: Option<PathBuf>,
    /// Time between heartbeats.
    #[serde(deserialize_with = "whole_seconds")]
    pub heartbeat: Duration,
}

impl Settings {
    /// Refuses to go on towards an AMQP broker with neither password nor client certificate, before anything
    /// connects. Other buses ask for their own.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with exit code 78.
    pub fn require_credentials(&self) -> Result<(), ConfigError> {
        let in_url = match &self.bus {
            None => false,
            Some(url) if matches!(url.scheme().as_str(), "amqp" | "amqps") => url.has_password(),
            Some(_) => return Ok(()),
        };
        let password = self.amqp.password.as_ref().is_some_and(|secret| !secret.expose().is_empty());
        if in_url || password || self.amqp.has_certificate() {
            return Ok(());
        }
        let problem = "expected a password (RPC_PWD, RPC_PWD_FILE) or a client certificate with its key";
        let key = Some("amqp.password".to_owned());
        Err(ConfigError { key, ..ConfigError::new(&Origin::Default, problem) })
    }
}

impl AmqpSettings {
    fn has_certificate(&self) -> bool {
        self.tls_cert.is_some() && self.tls_key.is_some()
    }
}

fn parsed<'de, D: Deserializer<'de>, T: std::str::FromStr<Err: std::fmt::Display>>(
    from: D,
) -> Result<T, D::Error> {
    String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
}

fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    Duration::try_from_secs_f64(f64::deserialize(from)?).map_err(serde::de::Error::custom)
}

fn unless_zero<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    seconds(from).map(|waited| Some(waited).filter(|waited| !waited.is_zero()))
}

fn whole_seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    u64::deserialize(from).map(Duration::from_secs)
}
