//! All settings: their keys in each source, kinds and defaults. Everything else is derived from this table.

use super::Kind;

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The key in `polybus.toml`, with its table before a dot.
    pub path: &'static str,
    /// The old programs' names: first that of the environment and the file, then the file's older one.
    pub old: &'static [&'static str],
    /// What its value may be.
    pub kind: Kind,
    /// The default as text; none if it is unset then.
    pub default: Option<&'static str>,
    /// What it does, in one line.
    pub about: &'static str,
}

impl Key {
    /// The environment variable of this setting: `POLYBUS_` and the key.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("POLYBUS_{}", self.path.to_ascii_uppercase().replace('.', "_"))
    }

    /// The old programs' environment variable.
    #[must_use]
    pub fn old_variable(&self) -> Option<&'static str> {
        self.old.first().copied()
    }

    /// The setting with this key.
    #[must_use]
    pub fn find(path: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.path == path)
    }
}

/// The largest 64-bit value that every source can write.
const ANY: u64 = i64::MAX as u64;

const fn key(
    path: &'static str,
    old: &'static [&'static str],
    kind: Kind,
    default: Option<&'static str>,
    about: &'static str,
) -> Key {
    Key { path, old, kind, default, about }
}

/// All settings, in the order in which they are shown.
pub const KEYS: &[Key] = &[
    key("bus", &["RPC_BUS"], Kind::Url, None, "the bus to use; without it the AMQP settings apply"),
    key(
        "management",
        &[],
        Kind::Url,
        None,
        "management interface of the broker, for `polybus doctor`; its account may stand in it",
    ),
    key("prefix", &[], Kind::Text, None, "tenant prefix of all names on the bus"),
    key(
        "domain",
        &["RPC_DOMAIN", "DOMAIN"],
        Kind::Text,
        Some("localdomain"),
        "appended to a host name without a dot",
    ),
    key("protocol_version", &[], Kind::Version, Some("0.5.5"), "protocol version of frames and queue names"),
    key(
        "timeout",
        &["RPC_TIMEOUT"],
        Kind::Seconds,
        Some("1800"),
        "how long a call waits, in seconds; 0 for ever",
    ),
    key(
        "connect_seconds",
        &[],
        Kind::Seconds,
        Some("30"),
        "how long a client waits for a bus that is not there, in seconds; servers and monitors wait for ever",
    ),
    key(
        "max_bytes",
        &[],
        Kind::Integer(1, ANY),
        Some("67108864"),
        "largest frame sent or accepted, in bytes",
    ),
    key(
        "durable",
        &[],
        Kind::Flag,
        None,
        "declare missing queues and exchanges durable; else `polybus serve` declares its queues so, and old names do not",
    ),
    key("map", &[], Kind::File, None, "default map of servers"),
    key("tlp", &["RPC_TLP"], Kind::Tlp, None, "whom the labels of results are for; else white"),
    key("rwfind_user", &["RPC_RWFIND_USER"], Kind::Text, None, "user word that old rwfind servers ask for"),
    key("log.exchange", &["RPC_LOGEXCHANGE", "LOGEXCHANGE"], Kind::Text, Some("logs"), "fanout of log lines"),
    key("log.level", &[], Kind::Word(&LOG_LEVELS), Some("INFO"), "least urgent lines that are logged"),
    key("log.display_utc", &["RPC_DISPLAY_UTC", "DISPLAY_UTC"], Kind::Flag, Some("true"), "logmon shows UTC"),
    key(
        "service.queue_base",
        &[],
        Kind::Text,
        None,
        "first part of the queue's name; else the service's name",
    ),
    key("service.jobs", &[], Kind::Integer(1, 65_535), Some("1"), "requests served at the same time"),
    key("service.job_seconds", &[], Kind::Seconds, Some("1500"), "time limit of one job"),
    key(
        "service.drain_seconds",
        &[],
        Kind::Seconds,
        Some("30"),
        "how long a shutdown waits for running jobs",
    ),
    key(
        "service.max_attempts",
        &[],
        Kind::Integer(1, 1000),
        Some("5"),
        "attempts before a request is poison",
    ),
    key(
        "service.dead_letter",
        &[],
        Kind::Word(&DEAD_LETTERS),
        Some("terse"),
        "what dead letters keep of a request",
    ),
    key(
        "up.bus",
        &[],
        Kind::Url,
        None,
        "bus inside the process of `polybus up`, such as `embedded:///var/lib/polybus`; else in memory",
    ),
    key(
        "up.services",
        &[],
        Kind::Names,
        None,
        "services of `polybus up` and `polybus status`; else all of the program",
    ),
    key("up.log", &[], Kind::File, None, "file to which `polybus up` appends the lines of the log topic"),
    key(
        "up.listen",
        &[],
        Kind::Names,
        None,
        "where `polybus up` listens for other processes, such as `zmq://127.0.0.1:5570`; else nowhere",
    ),
    key("up.identities", &[], Kind::File, None, "users, secrets and rights of who comes over `up.listen`"),
    key(
        "amqp.server",
        &["RPC_SERVER", "SERVER"],
        Kind::Server,
        Some("localhost"),
        "broker: host or host:port",
    ),
    key(
        "amqp.port",
        &["RPC_PORT"],
        Kind::Integer(1, 65_535),
        None,
        "broker's port; else 5672, with TLS 5671",
    ),
    key("amqp.vhost", &["RPC_VHOST", "VHOST"], Kind::Text, Some("/"), "virtual host"),
    key("amqp.user", &["RPC_USER", "USER"], Kind::Text, Some("rpc_user"), "account on the broker"),
    key("amqp.password", &["RPC_PWD", "PWD"], Kind::Secret, None, "its password"),
    key("amqp.password_file", &["RPC_PWD_FILE"], Kind::File, None, "file whose first line is the password"),
    key(
        "amqp.request_exchange",
        &["RPC_RPCEXCHANGE", "RPCEXCHANGE"],
        Kind::AnyText,
        Some(""),
        "exchange of requests",
    ),
    key("amqp.tls", &["RPC_TLS"], Kind::Flag, Some("false"), "use TLS"),
    key("amqp.tls_ca", &["RPC_TLS_CA"], Kind::File, None, "certificates that sign the broker's"),
    key("amqp.tls_cert", &["RPC_TLS_CERT"], Kind::File, None, "client certificate"),
    key("amqp.tls_key", &["RPC_TLS_KEY"], Kind::File, None, "key of the client certificate"),
    key(
        "amqp.heartbeat",
        &["RPC_HEARTBEAT"],
        Kind::Integer(0, 65_535),
        Some("60"),
        "seconds between heartbeats",
    ),
];

const LOG_LEVELS: [&str; 8] =
    ["EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"];

const DEAD_LETTERS: [&str; 3] = ["terse", "full", "off"];

/// Keys of old files that are accepted and have no effect: `-q` sets the queue base.
pub(super) const WITHOUT_EFFECT: [&str; 2] = ["RPC_QUEUEBASE", "QUEUEBASE"];
