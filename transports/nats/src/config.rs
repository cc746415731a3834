//! The URL and its options.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use polybus_contract::{Error, Kind, Name, Operation, Result};

/// The scheme of NATS.
pub const SCHEME: &str = "nats";

/// The scheme of NATS over TLS: without it, TLS is used where the server demands it.
pub const TLS_SCHEME: &str = "nats+tls";

/// The port of a server that names none.
pub const PORT: u16 = 4222;

/// What a NATS bus is made with.
///
/// As a URL: `nats://[USER:PASSWORD@|TOKEN@]HOST[:PORT][,HOST[:PORT]...]`, or `nats+tls://` to refuse a server
/// without TLS. In user, password and token a byte may be written as `%` and two hexadecimal digits. The servers
/// of a list belong to one cluster; they are tried in turn. Options follow a question mark, joined by `&`:
///
/// - `prefix=WORD`: the tenant: in front of all subjects and streams, so that tenants with the same names do not
///   meet; letters, digits, `_` and `-`, at most 40. Default none;
/// - `storage=file|memory`: where queues that are declared here lie; default `file`;
/// - `replicas=1|2|3|4|5`: on how many servers of the cluster; default 1;
/// - `sync=always`: the servers run with `sync_interval: always`, which they do not tell: what they confirm is on their
///   disks, and [`durability_disk`](polybus_contract::Capability::durability_disk) is declared. Default: not assumed;
/// - `parts=BYTES`: the room for large bodies, all together, if this is the first to need it; default 8 GiB;
/// - `dedup_window=SECONDS`: how long a repeated send of one id is recognised by what is declared here; default 120;
/// - `creds=FILE`: a credentials file (JWT and `NKey`);
/// - `nkey=FILE`: a file with an `NKey` seed;
/// - `ca=FILE`, `cert=FILE`, `key=FILE`: the authority that signed the server's certificate (default: those of the
///   system), and our own certificate and key, in PEM; they need `nats+tls`;
/// - `server_name=NAME`: the name that the server's certificate must have; default the host; it needs `nats+tls`;
/// - `ping=SECONDS`: how often a silent server is asked whether it lives; after three questions without an answer
///   it counts as lost; default 2;
/// - `inbox=WORD`: the first word of the subjects on which replies arrive, for accounts that restrict it; all who
///   answer each other must agree on it; default `_INBOX`;
/// - `domain=WORD`: the JetStream domain; default that of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The servers, each with its port.
    pub servers: Vec<(String, u16)>,
    /// Whether a server without TLS is refused.
    pub tls: bool,
    /// User and password.
    pub login: Option<(String, Secret)>,
    /// A token instead of them.
    pub token: Option<Secret>,
    /// A credentials file.
    pub creds: Option<PathBuf>,
    /// A file with an `NKey` seed.
    pub nkey: Option<PathBuf>,
    /// The authority of the server's certificate.
    pub ca: Option<PathBuf>,
    /// Our own certificate.
    pub cert: Option<PathBuf>,
    /// The key of our own certificate.
    pub key: Option<PathBuf>,
    /// The name in the server's certificate.
    pub server_name: Option<String>,
    /// The tenant.
    pub prefix: Option<Name>,
    /// Where queues lie.
    pub storage: Storage,
    /// On how many servers.
    pub replicas: u8,
    /// Whether the servers sync their files before they confirm.
    pub synced: bool,
    /// How long a repeated send is recognised.
    pub dedup_window: Duration,
    /// The room for large bodies in bytes, all together, if this handle is the first to need it.
    pub parts: u64,
    /// How often a silent server is asked.
    pub ping: Duration,
    /// The first word of reply subjects.
    pub inbox: String,
    /// The JetStream domain.
    pub domain: Option<Name>,
}

/// A text that `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where a queue lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// In files: what was confirmed survives a kill of the server, but a loss of power may take the last seconds.
    #[default]
    File,
    /// In memory.
    Memory,
}

impl Storage {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Memory => "memory",
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            servers: vec![("localhost".to_owned(), PORT)],
            tls: false,
            login: None,
            token: None,
            creds: None,
            nkey: None,
            ca: None,
            cert: None,
            key: None,
            server_name: None,
            prefix: None,
            storage: Storage::File,
            replicas: 1,
            synced: false,
            dedup_window: Duration::from_mins(2),
            parts: 8 << 30,
            ping: Duration::from_secs(2),
            inbox: "_INBOX".to_owned(),
            domain: None,
        }
    }
}

impl Config {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`Kind::Configuration`] naming the part that is not understood, never a secret.
    pub fn from_url(url: &str) -> Result<Self> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("URL", SHAPE))?;
        let mut config = Self { tls: scheme == TLS_SCHEME, ..Self::default() };
        if scheme != SCHEME && scheme != TLS_SCHEME {
            return Err(wrong(scheme, SHAPE));
        }
        let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
        let place = place.strip_suffix('/').unwrap_or(place);
        let (login, hosts) = match place.rsplit_once('@') {
            Some((login, hosts)) => (Some(login), hosts),
            None => (None, place),
        };
        if let Some(login) = login {
            config.log_in(login)?;
        }
        config.servers = hosts.split(',').map(server).collect::<Result<_>>()?;
        for option in options.split('&').filter(|option| !option.is_empty()) {
            config.set(option)?;
        }
        config.check()?;
        Ok(config)
    }

    fn log_in(&mut self, login: &str) -> Result<()> {
        match login.split_once(':') {
            Some((user, password)) => self.login = Some((unescaped(user)?, unescaped(password)?.into())),
            None => self.token = Some(unescaped(login)?.into()),
        }
        Ok(())
    }

    fn set(&mut self, option: &str) -> Result<()> {
        let (key, value) = option.split_once('=').ok_or_else(|| wrong(option, "an option is KEY=VALUE"))?;
        let file = || unescaped(value).map(PathBuf::from).map(Some);
        match key {
            "prefix" => self.prefix = Some(word(option, value)?),
            "domain" => self.domain = Some(word(option, value)?),
            "inbox" => self.inbox = inbox(option, value)?,
            "storage" => self.storage = storage(option, value)?,
            "replicas" => self.replicas = replicas(option, value)?,
            "sync" => self.synced = synced(option, value)?,
            "dedup_window" => self.dedup_window = seconds(option, value)?,
            "parts" => self.parts = bytes(option, value)?,
            "ping" => self.ping = seconds(option, value)?,
            "creds" => self.creds = file()?,
            "nkey" => self.nkey = file()?,
            "ca" => self.ca = file()?,
            "cert" => self.cert = file()?,
            "key" => self.key = file()?,
            "server_name" => self.server_name = Some(unescaped(value)?),
            _ => return Err(wrong(key, "there is no such option")),
        }
        Ok(())
    }

    /// Refuses what does not go together.
    pub(crate) fn check(&self) -> Result<()> {
        let ways = [self.login.is_some(), self.token.is_some(), self.creds.is_some(), self.nkey.is_some()];
        if ways.into_iter().filter(|way| *way).count() > 1 {
            return Err(wrong("credentials", "user, token, creds and nkey exclude each other"));
        }
        let of_tls = [self.ca.is_some(), self.cert.is_some(), self.server_name.is_some()];
        if !self.tls && of_tls.contains(&true) {
            return Err(wrong("ca, cert, server_name", "these are for nats+tls://"));
        }
        if self.cert.is_some() != self.key.is_some() {
            return Err(wrong("cert, key", "one needs the other"));
        }
        Ok(())
    }

    /// Who this bus is: no secret, and the same for all who share it.
    pub(crate) fn instance(&self) -> String {
        let servers: Vec<_> = self.servers.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        let prefix = self.prefix.as_ref().map(|prefix| format!("#{prefix}")).unwrap_or_default();
        format!("{SCHEME}:{}{prefix}", servers.join(","))
    }
}

const SHAPE: &str = "a NATS bus is nats://HOST:PORT or nats+tls://HOST:PORT";

fn server(text: &str) -> Result<(String, u16)> {
    let (host, port) = match text.rsplit_once(':') {
        // A colon inside of brackets belongs to an IPv6 address.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/') {
        return Err(wrong(text, SHAPE));
    }
    let port =
        port.map_or(Ok(PORT), str::parse).map_err(|_| wrong(text, "the port is no number up to 65535"))?;
    Ok((host.to_owned(), port))
}

/// One segment of a name.
fn word(option: &str, value: &str) -> Result<Name> {
    let name = Name::new(value).ok().filter(|_| value.len() <= 40 && !value.contains('.'));
    name.filter(|name| name.as_str() != "polybus")
        .ok_or_else(|| wrong(option, "it is one word of at most 40 letters, digits, '_' and '-'"))
}

fn inbox(option: &str, value: &str) -> Result<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    let whole = value.split('.').all(|segment| !segment.is_empty());
    if value.len() <= 60 && whole && value.bytes().all(plain) {
        return Ok(value.to_owned());
    }
    Err(wrong(option, "it is at most 60 letters, digits, '_', '-' and single dots"))
}

fn storage(option: &str, value: &str) -> Result<Storage> {
    match value {
        "file" => Ok(Storage::File),
        "memory" => Ok(Storage::Memory),
        _ => Err(wrong(option, "it is file or memory")),
    }
}

fn synced(option: &str, value: &str) -> Result<bool> {
    match value {
        "always" => Ok(true),
        _ => Err(wrong(option, "it is always, or left out")),
    }
}

fn replicas(option: &str, value: &str) -> Result<u8> {
    let count = value.parse().ok().filter(|count| (1..=5).contains(count));
    count.ok_or_else(|| wrong(option, "it is a number from 1 to 5"))
}

fn bytes(option: &str, value: &str) -> Result<u64> {
    let bytes = value.parse().ok().filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| wrong(option, "it is a number of bytes above zero"))
}

fn seconds(option: &str, value: &str) -> Result<Duration> {
    let seconds = value.parse().ok().filter(|seconds| (1..=86_400).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| wrong(option, "it is a number of seconds from 1 to 86400"))
}

/// Text in which a byte may be written as a percent sign and two digits. What is refused is not shown: it may be a
/// password.
fn unescaped(text: &str) -> Result<String> {
    let bad =
        || wrong("URL", "behind a percent sign there are two hexadecimal digits, and all of it is UTF-8");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || char::from(rest.next()?).to_digit(16);
        bytes.push(match byte {
            b'%' => digit()
                .zip(digit())
                .and_then(|(high, low)| u8::try_from(high * 16 + low).ok())
                .ok_or_else(bad)?,
            plain => plain,
        });
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

fn wrong(part: &str, why: &str) -> Error {
    let shown: String = part.chars().take(80).flat_map(char::escape_default).collect();
    Error::new(Kind::Configuration, Operation::Configure).with_detail(format!("\"{shown}\": {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let config = Config::from_url("nats://mq.example.org").unwrap();
        assert_eq!(config.servers, [("mq.example.org".to_owned(), PORT)]);
        let url = "nats+tls://u%40x:p%3Aw@192.0.2.1:5,[2001:db8::1]:6,[2001:db8::2]?prefix=lab&replicas=3&storage=memory&ca=%2Fa";
        let config = Config::from_url(url).unwrap();
        assert!(config.tls && config.servers.len() == 3);
        assert_eq!(config.servers[1], ("[2001:db8::1]".to_owned(), 6));
        assert_eq!(config.servers[2].1, PORT);
        let (user, password) = config.login.clone().unwrap();
        assert_eq!((user.as_str(), password.expose()), ("u@x", "p:w"));
        assert_eq!((config.replicas, config.storage), (3, Storage::Memory));
        assert_eq!(config.ca.as_deref(), Some(std::path::Path::new("/a")));
        assert!(!format!("{config:?}{}", config.instance()).contains("p:w"));
        assert!(Config::from_url("nats://secret@mq.example.org").unwrap().token.is_some());
    }

    #[test]
    fn what_is_not_understood_is_named_and_secrets_are_not() {
        for (url, word) in [
            ("amqp://mq.example.org", "nats://"),
            ("nats:mq.example.org", "nats://"),
            ("nats://u:secret@", "nats://"),
            ("nats://h:port", "port"),
            ("nats://h?speed=9", "speed"),
            ("nats://h?prefix=a.b", "prefix=a.b"),
            ("nats://h?prefix=polybus", "prefix"),
            ("nats://h?replicas=6", "1 to 5"),
            ("nats://h?storage=tape", "memory"),
            ("nats://h?ca=x", "nats+tls"),
            ("nats://h?server_name=x", "nats+tls"),
            ("nats://h?sync=60", "always"),
            ("nats+tls://h?cert=x", "key"),
            ("nats://u:secret@h?creds=x", "exclude"),
            ("nats://u:secret%0@h", "hexadecimal"),
            ("nats://h?ping=0", "86400"),
            ("nats://h?inbox=a..b", "inbox"),
        ] {
            let error = Config::from_url(url).unwrap_err();
            assert_eq!(error.kind(), Kind::Configuration, "{url}");
            assert!(error.to_string().contains(word), "{url}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
