//! The URL and its options.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use polybus_contract::{Error, Kind, Name, Operation, Result};
use polybus_queue::journal::{Damaged, MIN_SEGMENT, Options};

/// The scheme of the embedded bus.
pub const SCHEME: &str = "embedded";

/// What an embedded bus is made with.
///
/// As a URL: `embedded:` is a fresh bus of its own, `embedded:NAME` the one bus of that name in this process,
/// `embedded:///DIR` the one bus in this directory, which keeps a journal there: one process at a time (a byte of
/// the path may be written as `%` and two hexadecimal digits). Options follow a question mark, joined by `&`:
///
/// - `max_message=BYTES`: the largest message; default 256 MiB;
/// - `dedup_window=SECONDS`: how long a repeated send of one id is recognised; default 0, not at all;
/// - `dedup_keys=NUMBER`: how many ids a queue remembers for that at most; default 100,000;
/// - `parts=BYTES`: the room for large bodies, all together; default 16 GiB;
/// - `sync=always|MILLISECONDS`: when the journal is synced to the disk, see [`Sync`]; default `always`;
/// - `segment=BYTES`: the size of the journal's files, of which there are at least two; default 16 MiB;
/// - `damaged=refuse|set-aside`: what to do about a journal that cannot be read to its end, see [`Damaged`];
///   default `refuse`.
///
/// The last three are for a bus with a directory.
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
    /// The room for large bodies in bytes, all together.
    pub parts: u64,
    /// The directory of the journal; `None`: everything is in memory.
    pub directory: Option<PathBuf>,
    /// When the journal is synced.
    pub sync: Sync,
    /// Bytes of a file of the journal.
    pub segment: u64,
    /// What to do about damage.
    pub damaged: Damaged,
}

/// When the journal is synced to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sync {
    /// Before anything is confirmed: what was confirmed survives a loss of power
    /// ([`Disk`](polybus_contract::Durability::Disk)).
    #[default]
    Always,
    /// So often. What was confirmed survives the end of the process, however it ends, but a loss of power or a crash
    /// of the system may take what was confirmed within that time: messages may be lost, and settled ones come back
    /// ([`Process`](polybus_contract::Durability::Process)).
    Every(Duration),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: None,
            max_message: 256 << 20,
            dedup_window: None,
            dedup_keys: 100_000,
            parts: 16 << 30,
            directory: None,
            sync: Sync::Always,
            segment: Options::default().segment,
            damaged: Damaged::Refuse,
        }
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
        if let Some(path) = name.strip_prefix("//") {
            config.directory = Some(directory(path)?);
        } else if !name.is_empty() {
            config.name = Some(Name::new(name)?);
        }
        for option in options.split('&').filter(|option| !option.is_empty()) {
            config.set(option)?;
        }
        config.check()?;
        Ok(config)
    }

    /// Refuses what does not go together.
    pub(crate) fn check(&self) -> Result<()> {
        if self.directory.is_some() && self.max_message > MAX_SEGMENT {
            return Err(wrong("max_message", "a bus with a journal takes at most 1073741824"));
        }
        Ok(())
    }

    /// Sets an option whose value is a word; false: it is none.
    fn set_word(&mut self, key: &str, value: &str) -> bool {
        match (key, value) {
            ("sync", "always") => self.sync = Sync::Always,
            ("damaged", "refuse") => self.damaged = Damaged::Refuse,
            ("damaged", "set-aside") => self.damaged = Damaged::SetAside,
            _ => return false,
        }
        true
    }

    fn set(&mut self, option: &str) -> Result<()> {
        let (key, value) = option.split_once('=').ok_or_else(|| wrong(option, "an option is KEY=VALUE"))?;
        if matches!(key, "sync" | "segment" | "damaged") && self.directory.is_none() {
            return Err(wrong(option, "this is for embedded:///DIRECTORY"));
        }
        if self.set_word(key, value) {
            return Ok(());
        }
        if key == "damaged" {
            return Err(wrong(option, "it is refuse or set-aside"));
        }
        let number: u64 = value.parse().map_err(|_| wrong(option, "the value is not a whole number"))?;
        match key {
            "max_message" if number > 0 => self.max_message = number,
            "dedup_window" => self.dedup_window = (number > 0).then(|| Duration::from_secs(number)),
            "dedup_keys" if number > 0 => self.dedup_keys = usize::try_from(number).unwrap_or(usize::MAX),
            "parts" if number > 0 => self.parts = number,
            "sync" if number > 0 => self.sync = Sync::Every(Duration::from_millis(number)),
            "segment" if (MIN_SEGMENT..=MAX_SEGMENT).contains(&number) => self.segment = number,
            "segment" => return Err(wrong(option, "it is from 65536 to 1073741824")),
            "max_message" | "dedup_keys" | "parts" | "sync" => {
                return Err(wrong(option, "the value must not be zero"));
            }
            _ => {
                return Err(wrong(
                    option,
                    "known are max_message, dedup_window, dedup_keys, parts, sync, segment and damaged",
                ));
            }
        }
        Ok(())
    }
}

/// The largest file of a journal that is made on purpose, and the largest message in one.
const MAX_SEGMENT: u64 = 1 << 30;

/// The directory in the path of a URL.
fn directory(path: &str) -> Result<PathBuf> {
    if !path.starts_with('/') {
        return Err(wrong(path, "a directory is written embedded:///DIRECTORY, from the root"));
    }
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' { escaped(&mut rest).ok_or_else(|| bad_escape(path))? } else { byte });
    }
    if bytes.contains(&0) {
        return Err(bad_escape(path));
    }
    Ok(PathBuf::from(OsString::from_vec(bytes)))
}

fn bad_escape(path: &str) -> Error {
    wrong(path, "behind a percent sign there are two hexadecimal digits, and not two zeros")
}

fn escaped(rest: &mut std::str::Bytes<'_>) -> Option<u8> {
    let mut digit = || char::from(rest.next()?).to_digit(16);
    u8::try_from(digit()? * 16 + digit()?).ok()
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
    fn directories() {
        let config =
            Config::from_url("embedded:///var/lib/a%20b?sync=20&segment=65536&damaged=set-aside").unwrap();
        assert_eq!(config.directory.as_deref(), Some(std::path::Path::new("/var/lib/a b")));
        assert_eq!(config.sync, Sync::Every(Duration::from_millis(20)));
        assert_eq!((config.segment, config.damaged), (65536, Damaged::SetAside));
        let config = Config::from_url("embedded:///d?sync=always").unwrap();
        assert_eq!((config.name, config.sync), (None, Sync::Always));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (url, word) in [
            ("amqp://mq.example.org", "embedded:"),
            ("embedded:?speed=9", "speed"),
            ("embedded:?max_message=0", "zero"),
            ("embedded:?max_message=ten", "ten"),
            ("embedded:?max_message", "KEY=VALUE"),
            ("embedded:?sync=always", "DIRECTORY"),
            ("embedded://host/dir", "embedded:///"),
            ("embedded:///%0", "hexadecimal"),
            ("embedded:///d?sync=0", "zero"),
            ("embedded:///d?sync=often", "often"),
            ("embedded:///d?segment=5", "65536"),
            ("embedded:///d?damaged=ignore", "set-aside"),
            ("embedded:///d?max_message=9999999999", "1073741824"),
        ] {
            let error = Config::from_url(url).unwrap_err();
            assert_eq!(error.kind(), Kind::Configuration, "{url}");
            assert!(error.to_string().contains(word), "{error}");
        }
        assert_eq!(Config::from_url("embedded:a b").unwrap_err().kind(), Kind::InvalidName);
    }
}
