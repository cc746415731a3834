//! The URL and its options.

use std::time::Duration;

use polybus_contract::{Error, Kind, Name, Operation, Result};

/// The scheme of the embedded bus.
pub const SCHEME: &str = "embedded";

/// What an embedded bus is made with.
///
/// As a URL: `embedded:` is a fresh bus of its own, `embedded:NAME` the one bus of that name in this process.
/// Options follow a question mark, joined by `&`:
///
/// - `max_message=BYTES`: the largest message; default 256 MiB;
/// - `dedup_window=SECONDS`: how long a repeated send of one id is recognised; default 0, not at all;
/// - `dedup_keys=NUMBER`: how many ids a queue remembers for that at most; default 100,000.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The name under which the bus is shared in this process; `None`: it is not shared.
    pub name: Option<Name>,
    /// The largest message in bytes.
    pub max_message: u64,
    /// How long a repeated send is recognised; `None`: it is not.
    pub dedup_window: Option<Duration>,
    /// Ids that a queue remembers at most.
    pub dedup_keys: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { name: None, max_message: 256 << 20, dedup_window: None, dedup_keys: 100_000 }
    }
}

impl Config {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`Kind::Configuration`] naming the part that is not understood; [`Kind::InvalidName`].
    pub fn from_url(url: &str) -> Result<Self> {
        let rest = url.strip_prefix(SCHEME).and_then(|rest| rest.strip_prefix(':'));
        let rest = rest.ok_or_else(|| wrong(url, "it does not begin with \"embedded:\""))?;
        let (name, options) = rest.split_once('?').unwrap_or((rest, ""));
        let mut config = Self::default();
        if !name.is_empty() {
            config.name = Some(Name::new(name)?);
        }
        for option in options.split('&').filter(|option| !option.is_empty()) {
            config.set(option)?;
        }
        Ok(config)
    }

    fn set(&mut self, option: &str) -> Result<()> {
        let (key, value) = option.split_once('=').ok_or_else(|| wrong(option, "an option is KEY=VALUE"))?;
        let number: u64 = value.parse().map_err(|_| wrong(option, "the value is not a whole number"))?;
        match key {
            "max_message" if number > 0 => self.max_message = number,
            "dedup_window" => self.dedup_window = (number > 0).then(|| Duration::from_secs(number)),
            "dedup_keys" if number > 0 => self.dedup_keys = usize::try_from(number).unwrap_or(usize::MAX),
            "max_message" | "dedup_keys" => return Err(wrong(option, "the value must not be zero")),
            _ => return Err(wrong(option, "known are max_message, dedup_window and dedup_keys")),
        }
        Ok(())
    }
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
        assert_eq!(Config::from_url("embedded:").unwrap(), Config::default());
        let config = Config::from_url("embedded:lab-1?max_message=10&dedup_window=60&dedup_keys=5").unwrap();
        assert_eq!(config.name.unwrap().as_str(), "lab-1");
        assert_eq!((config.max_message, config.dedup_keys), (10, 5));
        assert_eq!(config.dedup_window, Some(Duration::from_mins(1)));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (url, word) in [
            ("amqp://mq.example.org", "embedded:"),
            ("embedded:?speed=9", "speed"),
            ("embedded:?max_message=0", "zero"),
            ("embedded:?max_message=ten", "ten"),
            ("embedded:?max_message", "KEY=VALUE"),
        ] {
            let error = Config::from_url(url).unwrap_err();
            assert_eq!(error.kind(), Kind::Configuration, "{url}");
            assert!(error.to_string().contains(word), "{error}");
        }
        assert_eq!(Config::from_url("embedded:a b").unwrap_err().kind(), Kind::InvalidName);
    }
}
