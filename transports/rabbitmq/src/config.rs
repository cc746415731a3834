//! The URL and its options.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use polybus_contract::{Error, Kind, Operation, Result};

/// The schemes of this transport: without and with TLS.
pub const SCHEMES: [&str; 2] = ["amqp", "amqps"];

/// The longest name that AMQP 0-9-1 takes, for the name with prefix and endings.
const MAX_WIRE_NAME: usize = 250;

/// How replies come back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplyVia {
    /// One exclusive queue for all calls of a handle: whoever answers learns whether the caller is still connected.
    #[default]
    Queue,
    /// One exclusive queue for each call: for peers that repeat no correlation id.
    Each,
    /// The broker's direct reply-to: faster, and nobody confirms a reply.
    Direct,
}

/// How to reach a `RabbitMQ` broker.
///
/// As a URL: `amqp://USER:PASSWORD@HOST:PORT/VHOST`, with `amqps` for TLS. Several brokers of one cluster are written
/// `HOST:PORT,HOST:PORT` and tried in turn. Without a user it is `guest`, without a port 5672 or 5671, without a vhost
/// `/`; `%2F` is that slash, and user, password and vhost may hold any byte as `%XX`. Options follow a question mark,
/// joined by `&`:
///
/// - `heartbeat=SECONDS`: a peer that is silent for twice this long is given up; default 4, at most 3600;
/// - `name=TEXT`: the name of the connection in the broker's lists; default the program's;
/// - `prefix=TEXT`: stands before every name on the broker: one broker, several tenants; default none;
/// - `exchange=NAME`: requests and sends go to this direct exchange instead of the default one, and declared queues are
///   bound to it;
/// - `reply=queue|each|direct`: how replies come back, see [`ReplyVia`]; default `queue`;
/// - `durable=true`: queues that need not survive anything are made durable all the same;
/// - `replicas=NUMBER`: a quorum queue has so many members, and the broker is a cluster that can hold them; default 0:
///   the broker decides and nothing is promised;
/// - `max_message=BYTES`: the largest message; default 16 MiB, which every version takes unless it was configured
///   to take less;
/// - `tls_ca=FILE` (or `ca`): certificates of the authorities to trust instead of the system's, PEM;
/// - `tls_cert=FILE` and `tls_key=FILE` (or `cert` and `key`): a certificate and key to show, PEM;
/// - `server_name=NAME`: the name that the broker's certificate must have; default the host.
///
/// `Debug` hides the password.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// Host and port of each broker.
    pub hosts: Vec<(String, u16)>,
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
    /// The virtual host.
    pub vhost: String,
    /// The heartbeat that is asked for.
    pub heartbeat: Duration,
    /// The name of the connection.
    pub name: String,
    /// What stands before every name on the broker.
    pub prefix: String,
    /// The exchange of queues; empty: the default one.
    pub exchange: String,
    /// How replies come back.
    pub reply: ReplyVia,
    /// Whether volatile queues are made durable.
    pub durable: bool,
    /// Members of a quorum queue; 0: as the broker likes.
    pub replicas: u16,
    /// The largest message in bytes.
    pub max_message: u64,
    /// A file of authorities.
    pub ca: Option<PathBuf>,
    /// A file with a certificate to show.
    pub cert: Option<PathBuf>,
    /// A file with the key of that certificate.
    pub key: Option<PathBuf>,
    /// The name in the broker's certificate.
    pub server_name: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tls: false,
            hosts: vec![("localhost".to_owned(), 5672)],
            user: "guest".to_owned(),
            password: "guest".to_owned(),
            vhost: "/".to_owned(),
            heartbeat: Duration::from_secs(4),
            name: program(),
            prefix: String::new(),
            exchange: String::new(),
            reply: ReplyVia::Queue,
            durable: false,
            replicas: 0,
            max_message: 16 << 20,
            ca: None,
            cert: None,
            key: None,
            server_name: None,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("address", &self.address())
            .field("user", &self.user)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

fn program() -> String {
    let name = std::env::args_os().next().map(PathBuf::from);
    let name = name.as_deref().and_then(std::path::Path::file_stem).map(|name| name.to_string_lossy().into());
    name.unwrap_or_else(|| "polybus".to_owned())
}

impl Config {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`Kind::Configuration`] naming the part that is not understood, never the password.
    pub fn from_url(url: &str) -> Result<Self> {
        let (scheme, rest) =
            url.split_once("://").ok_or_else(|| wrong("the URL", "it is amqp://HOST/VHOST"))?;
        let tls = match scheme {
            "amqp" => false,
            "amqps" => true,
            other => return Err(wrong(other, "the scheme is amqp or amqps")),
        };
        let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, vhost) = place.split_once('/').unwrap_or((place, ""));
        let (user, hosts) =
            authority.rsplit_once('@').map_or((None, authority), |(user, hosts)| (Some(user), hosts));
        let mut config = Self { tls, ..Self::default() };
        config.hosts = hosts.split(',').map(|host| place_of(host, tls)).collect::<Result<_>>()?;
        if let Some(user) = user {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            config.user = decoded(name).ok_or_else(|| wrong("the user", ESCAPES))?;
            config.password = decoded(password).ok_or_else(|| wrong("the password", ESCAPES))?;
        }
        if !vhost.is_empty() {
            config.vhost = decoded(vhost).ok_or_else(|| wrong(vhost, ESCAPES))?;
        }
        for option in options.split('&').filter(|option| !option.is_empty()) {
            config.set(option)?;
        }
        config.check()?;
        Ok(config)
    }

    fn set(&mut self, option: &str) -> Result<()> {
        let (key, text) = option.split_once('=').ok_or_else(|| wrong(option, "an option is KEY=VALUE"))?;
        let value = decoded(text).ok_or_else(|| wrong(key, ESCAPES))?;
        let number = || value.parse::<u64>().map_err(|_| wrong(key, "its value is a whole number"));
        match key {
            "heartbeat" => self.heartbeat = Duration::from_secs(number()?),
            "name" => self.name = value,
            "prefix" => self.prefix = value,
            "exchange" => self.exchange = value,
            "reply" => self.reply = reply_via(&value)?,
            "durable" => self.durable = yes_or_no(key, &value)?,
            "replicas" => {
                self.replicas = u16::try_from(number()?).map_err(|_| wrong(key, "that is too many"))?;
            }
            "max_message" => self.max_message = number()?,
            "ca" | "tls_ca" => self.ca = Some(value.into()),
            "cert" | "tls_cert" => self.cert = Some(value.into()),
            "key" | "tls_key" => self.key = Some(value.into()),
            "server_name" => self.server_name = Some(value),
            _ => return Err(wrong(key, KNOWN)),
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let of_tls = [self.ca.is_some(), self.cert.is_some(), self.key.is_some(), self.server_name.is_some()];
        if !self.tls && of_tls.contains(&true) {
            return Err(wrong("tls", "certificates and server_name are for amqps://"));
        }
        if self.cert.is_some() != self.key.is_some() {
            return Err(wrong("tls_cert", "a certificate and its key go together"));
        }
        if !(1..=3600).contains(&self.heartbeat.as_secs()) {
            return Err(wrong("heartbeat", "it is from 1 to 3600 seconds"));
        }
        if self.max_message == 0 {
            return Err(wrong("max_message", "it must not be zero"));
        }
        let plain = |text: &str| text.len() <= 40 && !text.chars().any(char::is_control);
        if !plain(&self.prefix) || !plain(&self.name.chars().take(40).collect::<String>()) {
            return Err(wrong("prefix", "it has at most 40 bytes and no control characters"));
        }
        if self.exchange.len() > MAX_WIRE_NAME || self.exchange.starts_with("amq.") {
            return Err(wrong("exchange", "it has at most 250 bytes and does not begin with amq."));
        }
        Ok(())
    }

    /// Where it is, without secrets; names the bus instance.
    pub(crate) fn address(&self) -> String {
        let hosts: Vec<_> = self.hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        let scheme = SCHEMES[usize::from(self.tls)];
        let prefix = if self.prefix.is_empty() { String::new() } else { format!("#{}", self.prefix) };
        format!("{scheme}://{}/{}{prefix}", hosts.join(","), self.vhost)
    }
}

const ESCAPES: &str = "behind a percent sign there are two hexadecimal digits, and the text is UTF-8";
const KNOWN: &str = "known options are heartbeat, name, prefix, exchange, reply, durable, replicas, max_message, \
                     tls_ca, tls_cert, tls_key and server_name";

fn reply_via(value: &str) -> Result<ReplyVia> {
    match value {
        "queue" => Ok(ReplyVia::Queue),
        "each" => Ok(ReplyVia::Each),
        "direct" => Ok(ReplyVia::Direct),
        _ => Err(wrong("reply", "it is queue, each or direct")),
    }
}

fn yes_or_no(key: &str, value: &str) -> Result<bool> {
    match value {
        "true" | "yes" | "1" => Ok(true),
        "false" | "no" | "0" => Ok(false),
        _ => Err(wrong(key, "it is true or false")),
    }
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
pub(crate) fn place_of(text: &str, tls: bool) -> Result<(String, u16)> {
    let default = if tls { 5671 } else { 5672 };
    let bad = || wrong(text, "a broker is HOST, HOST:PORT or [IPv6]:PORT");
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(bad)?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(bad)?) })
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Ok(default), |port| port.parse().map_err(|_| bad()))?;
    if port == 0 || host.contains(|sign: char| sign.is_whitespace() || sign == '%') {
        return Err(bad());
    }
    Ok((if host.is_empty() { "localhost".to_owned() } else { host.to_owned() }, port))
}

pub(crate) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || char::from(rest.next()?).to_digit(16);
        bytes.push(if byte == b'%' { u8::try_from(digit()? * 16 + digit()?).ok()? } else { byte });
    }
    String::from_utf8(bytes).ok()
}

pub(crate) fn wrong(part: &str, why: &str) -> Error {
    let shown: String = part.chars().take(80).flat_map(char::escape_default).collect();
    Error::new(Kind::Configuration, Operation::Configure).with_detail(format!("\"{shown}\": {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let config =
            Config::from_url("amqp://u:p%40%2F@mq.example.org/%2F?heartbeat=60&exchange=rpc").unwrap();
        assert_eq!((config.user.as_str(), config.password.as_str()), ("u", "p@/"));
        assert_eq!(config.hosts, [("mq.example.org".to_owned(), 5672)]);
        assert_eq!((config.vhost.as_str(), config.exchange.as_str()), ("/", "rpc"));
        assert_eq!(config.heartbeat, Duration::from_mins(1));
        let config =
            Config::from_url("amqps://[2001:db8::1]:5673,mq.example.org/v?tls_ca=a%20b.pem").unwrap();
        let hosts = [("2001:db8::1".to_owned(), 5673), ("mq.example.org".to_owned(), 5671)];
        assert_eq!(config.hosts, hosts);
        assert_eq!(config.ca.as_deref(), Some(std::path::Path::new("a b.pem")));
        assert_eq!(Config::from_url("amqp://localhost/").unwrap().vhost, "/");
        assert_eq!(Config::from_url("amqp://").unwrap().hosts[0].0, "localhost");
    }

    #[test]
    fn what_is_wrong_is_named_and_secrets_are_not() {
        for (url, part) in [
            ("amqp:x", "the URL"),
            ("http://x", "http"),
            ("amqp://u:s3cret@h:0/", "h:0"),
            ("amqp://u:s3cret@[::1/", "[::1"),
            ("amqp://h/%zz", "%zz"),
            ("amqp://u:s3cret%@h/", "the password"),
            ("amqp://h/?warp=9", "warp"),
            ("amqp://h/?heartbeat=0", "heartbeat"),
            ("amqp://h/?reply=pigeon", "reply"),
            ("amqp://h/?tls_ca=x.pem", "tls"),
            ("amqps://h/?tls_cert=x.pem", "tls_cert"),
        ] {
            let error = Config::from_url(url).unwrap_err();
            assert_eq!(error.kind(), Kind::Configuration);
            assert!(error.to_string().contains(part), "{url}: {error}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
        let config = Config::from_url("amqp://u:s3cret@mq.example.org/").unwrap();
        assert!(!format!("{config:?}").contains("s3cret"));
    }
}
