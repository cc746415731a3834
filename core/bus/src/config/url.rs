//! Bus URLs, shown without what is secret in them.

use std::fmt;

use serde::Deserialize;

use super::secret::HIDDEN;

/// Query parameters whose name holds one of these are secret.
const SECRET_WORDS: [&str; 6] = ["pass", "pwd", "secret", "token", "seed", "key"];

/// The URL of a bus. Debug and Display hide passwords and tokens in it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct BusUrl(String);

impl BusUrl {
    /// Takes a URL as it is.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The whole URL, for the one place that connects.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The part before the first colon, in lower case.
    #[must_use]
    pub fn scheme(&self) -> String {
        self.0.split(':').next().unwrap_or_default().to_ascii_lowercase()
    }

    /// True if a password, not an empty one, stands before the host.
    #[must_use]
    pub fn has_password(&self) -> bool {
        let authority = self.0.split_once("://").map_or("", |(_, rest)| authority(rest).0);
        let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
        user.split_once(':').is_some_and(|(_, password)| !password.is_empty())
    }
}

impl fmt::Display for BusUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact_url(&self.0))
    }
}

impl fmt::Debug for BusUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BusUrl({self})")
    }
}

/// `url` with `(hidden)` for the password before the host, for a token that stands there alone, and for query
/// parameters whose name says that they are secret. Lists of URLs, joined by commas, are treated one by one.
#[must_use]
pub fn redact_url(url: &str) -> String {
    let mut pieces = url.split("://");
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for rest in pieces {
        let scheme = out.rsplit(',').next().unwrap_or_default().to_owned();
        let (authority, path) = authority(rest);
        out.push_str("://");
        out.push_str(&without_password(&scheme, authority));
        out.push_str(&without_secrets(path));
    }
    out
}

/// The user, host and port of what follows `://`, and the rest from the path on.
fn authority(rest: &str) -> (&str, &str) {
    // A secret may hold `/`, `?` or `#` where it should have been encoded: better to hide too much.
    let hosts = rest.rfind('@').map_or(0, |at| at + 1);
    let end = rest[hosts..].find(['/', '?', '#']).map_or(rest.len(), |end| hosts + end);
    rest.split_at(end)
}

fn without_password(scheme: &str, authority: &str) -> String {
    let Some((user, host)) = authority.rsplit_once('@') else { return authority.to_owned() };
    match user.split_once(':') {
        Some((name, _)) => format!("{name}:{HIDDEN}@{host}"),
        // Where a user has no password it is a token.
        None if matches!(scheme, "nats" | "nats+tls" | "tls" | "ws" | "wss") => format!("{HIDDEN}@{host}"),
        None => format!("{user}@{host}"),
    }
}

fn without_secrets(path: &str) -> String {
    let Some((path, query)) = path.split_once('?') else { return path.to_owned() };
    let shown: Vec<String> = query.split('&').map(without_value).collect();
    format!("{path}?{}", shown.join("&"))
}

fn without_value(parameter: &str) -> String {
    let lower = parameter.to_ascii_lowercase();
    match parameter.split_once('=') {
        Some((name, _)) if SECRET_WORDS.iter().any(|word| lower[..name.len()].contains(word)) => {
            format!("{name}={HIDDEN}")
        }
        _ => parameter.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden() {
        for (url, want) in [
            ("embedded:", "embedded:"),
            ("amqp://rpc_user@mq.example.org/", "amqp://rpc_user@mq.example.org/"),
            ("amqp://u:s3cret@mq.example.org:5672/v", "amqp://u:(hidden)@mq.example.org:5672/v"),
            ("amqp://u:s3@cret/x@mq.example.org/v", "amqp://u:(hidden)@mq.example.org/v"),
            (
                "nats://s3cret@n1.example.org,nats://u:s3cret@n2.example.org",
                "nats://(hidden)@n1.example.org,nats://u:(hidden)@n2.example.org",
            ),
            (
                "hpfeeds://192.0.2.1:10000?ident=i&Secret=s3cret&a",
                "hpfeeds://192.0.2.1:10000?ident=i&Secret=(hidden)&a",
            ),
            ("", ""),
        ] {
            assert_eq!(redact_url(url), want);
            assert!(!format!("{:?}", BusUrl::new(url)).contains("s3"));
        }
    }

    #[test]
    fn passwords_are_found() {
        assert!(BusUrl::new("amqp://u:p@mq.example.org").has_password());
        for url in
            ["amqp://u:@mq.example.org", "amqp://u@mq.example.org", "amqp://mq.example.org:5672", "embedded:"]
        {
            assert!(!BusUrl::new(url).has_password(), "{url}");
        }
        assert_eq!(BusUrl::new("AMQPS://mq.example.org").scheme(), "amqps");
    }
}
