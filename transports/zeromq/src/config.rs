//! The URL and its options.

use std::fmt;
use std::time::Duration;

use polybus_contract::Result;

use crate::socket::{IPC_SCHEME, Place, SCHEME, wrong};

/// What a client of a broker is made with.
///
/// As a URL: `zmq://[USER:SECRET@]HOST[:PORT]` over TCP, `zmq+ipc://[USER:SECRET@]/PATH` over a socket of this machine. In
/// user, secret and path a byte may be written as `%` and two hexadecimal digits. Options follow a question mark, joined
/// by `&`:
///
/// - `heartbeat=SECONDS`: how often something is said at least; a broker that is silent for three times as long counts as
///   lost; default 2.
///
/// The secret is never sent: both sides prove that they know it. Nothing is encrypted; see the book on what that means.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Where the broker listens.
    pub place: Place,
    /// User and secret.
    pub login: Option<(String, Secret)>,
    /// How often something is said at least.
    pub heartbeat: Duration,
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

impl Config {
    /// A client of the broker that listens there.
    #[must_use]
    pub const fn new(place: Place) -> Self {
        Self { place, login: None, heartbeat: Duration::from_secs(2) }
    }

    /// Reads a URL.
    ///
    /// # Errors
    /// [`Configuration`](polybus_contract::Kind::Configuration) naming the part that is not understood, never a secret.
    pub fn from_url(url: &str) -> Result<Self> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("URL", SHAPE))?;
        let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (login, place) = match (scheme, place.rsplit_once('@')) {
            // A path may have an at sign; a login stands before the first slash.
            (IPC_SCHEME, _) => match place.find('/').map(|slash| place.split_at(slash)) {
                Some(("", path)) => (None, path),
                Some((login, path)) => {
                    (Some(login.strip_suffix('@').ok_or_else(|| wrong("URL", SHAPE))?), path)
                }
                None => return Err(wrong("URL", SHAPE)),
            },
            (_, Some((login, place))) => (Some(login), place),
            (_, None) => (None, place),
        };
        let place = match scheme {
            SCHEME => Place::host(place.strip_suffix('/').unwrap_or(place))?,
            IPC_SCHEME => Place::path(&unescaped(place)?)?,
            other => return Err(wrong(other, SHAPE)),
        };
        let mut config = Self::new(place);
        config.login = login.map(self::login).transpose()?;
        for option in options.split('&').filter(|option| !option.is_empty()) {
            config.set(option)?;
        }
        Ok(config)
    }

    fn set(&mut self, option: &str) -> Result<()> {
        let (key, value) = option.split_once('=').ok_or_else(|| wrong(option, "an option is KEY=VALUE"))?;
        match key {
            "heartbeat" => self.heartbeat = seconds(option, value)?,
            _ => return Err(wrong(key, "there is no such option")),
        }
        Ok(())
    }

    /// Who this bus is until the broker has said it: no secret.
    pub(crate) fn instance(&self) -> String {
        self.place.to_string()
    }
}

const SHAPE: &str = "a broker is zmq://HOST:PORT or zmq+ipc:///PATH";

fn login(text: &str) -> Result<(String, Secret)> {
    let (user, secret) = text.split_once(':').ok_or_else(|| wrong("user", "it is USER:SECRET"))?;
    let user = unescaped(user)?;
    if user.is_empty() {
        return Err(wrong("user", "it is USER:SECRET"));
    }
    Ok((user, unescaped(secret)?.into()))
}

fn seconds(option: &str, value: &str) -> Result<Duration> {
    let seconds = value.parse::<f64>().ok().filter(|seconds| (0.1..=300.0).contains(seconds));
    let seconds = seconds.ok_or_else(|| wrong(option, "it is a number of seconds from 0.1 to 300"))?;
    Ok(Duration::from_secs_f64(seconds))
}

/// Text in which a byte may be written as a percent sign and two digits. What is refused is not shown: it may be a
/// secret.
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use polybus_contract::Kind;

    use super::*;
    use crate::socket::PORT;

    #[test]
    fn urls() {
        let place = |url: &str| Config::from_url(url).unwrap().place;
        assert_eq!(place("zmq://mq.example.org"), Place::Tcp("mq.example.org".to_owned(), PORT));
        assert_eq!(place("zmq://[2001:db8::1]:7/"), Place::Tcp("[2001:db8::1]".to_owned(), 7));
        assert_eq!(place("zmq+ipc:///run/a%20b@c.sock"), Place::Ipc(PathBuf::from("/run/a b@c.sock")));
        let config = Config::from_url("zmq://u%40x:p%3Aw@192.0.2.1:5?heartbeat=0.5").unwrap();
        let (user, secret) = config.login.clone().unwrap();
        assert_eq!((user.as_str(), secret.expose()), ("u@x", "p:w"));
        assert_eq!(config.heartbeat, Duration::from_millis(500));
        assert!(!format!("{config:?}{}", config.instance()).contains("p:w"));
        let ipc = Config::from_url("zmq+ipc://u:s@/run/polybus.sock").unwrap();
        assert_eq!((ipc.login.unwrap().0.as_str(), ipc.place.is_local()), ("u", true));
    }

    #[test]
    fn what_is_not_understood_is_named_and_secrets_are_not() {
        for (url, word) in [
            ("nats://mq.example.org", "zmq://"),
            ("zmq:mq.example.org", "zmq://"),
            ("zmq://u:secret@", "zmq://"),
            ("zmq://h:port", "port"),
            ("zmq://h?speed=9", "speed"),
            ("zmq://secret@h", "USER:SECRET"),
            ("zmq://u:secret%0@h", "hexadecimal"),
            ("zmq://h?heartbeat=0", "300"),
            ("zmq+ipc://run/secret", "zmq+ipc:///"),
        ] {
            let error = Config::from_url(url).unwrap_err();
            assert_eq!(error.kind(), Kind::Configuration, "{url}");
            assert!(error.to_string().contains(word), "{url}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn who_is_beyond_this_machine() {
        for (url, local) in [
            ("zmq://127.0.0.1:1", true),
            ("zmq://[::1]:1", true),
            ("zmq://localhost", true),
            ("zmq://0.0.0.0:1", false),
            ("zmq://192.0.2.1:1", false),
            ("zmq+ipc:///run/x", true),
        ] {
            assert_eq!(Place::from_url(url).unwrap().is_local(), local, "{url}");
        }
    }
}
