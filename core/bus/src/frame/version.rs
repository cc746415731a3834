//! Protocol versions: which we write, which we serve (PRISEM services specification, 2, 4.2 and 4.4).

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The versions whose queues exist in the field, newest first.
pub const KNOWN_VERSIONS: [&str; 3] = ["0.5.5", "0.5", "0.4"];

/// True if a frame of this `protocolver` is served: none given, or its first two dotted parts are `0` and `4` or `5`.
#[must_use]
pub fn is_compatible(protocolver: Option<&str>) -> bool {
    let Some(version) = protocolver else { return true };
    let mut parts = version.split('.').map(str::trim);
    parts.next() == Some("0") && matches!(parts.next(), Some("4" | "5"))
}

/// The protocol version a program writes into frames and queue names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtocolVersion(String);

/// A version that cannot be part of a queue name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a protocol version is 1 to 32 letters, digits, dots, `_` or `-`, such as 0.5.5")]
pub struct InvalidVersion;

impl ProtocolVersion {
    /// The version as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The request queue of a queue base: `<queuebase>_<protocolver>`.
    #[must_use]
    pub fn queue(&self, base: &str) -> String {
        format!("{base}_{self}")
    }
}

/// `0.5.5`, the last version.
impl Default for ProtocolVersion {
    fn default() -> Self {
        Self(KNOWN_VERSIONS[0].to_owned())
    }
}

impl FromStr for ProtocolVersion {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let fits = (1..=32).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        fits.then(|| Self(text.to_owned())).ok_or(InvalidVersion)
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compatibility() {
        for good in ["0.5.5", "0.4", "0.5.9.x", " 0 . 5 .1", "0.4.0"] {
            assert!(is_compatible(Some(good)), "{good}");
        }
        for bad in ["1.0", "0", "0.55", "00.5", "", "0.3.0", "0,5", "0.05"] {
            assert!(!is_compatible(Some(bad)), "{bad}");
        }
        assert!(is_compatible(None));
    }

    #[test]
    fn queue_names_hold_the_full_version() {
        assert_eq!(ProtocolVersion::default().queue("anon"), "anon_0.5.5");
        assert_eq!("0.4".parse::<ProtocolVersion>().unwrap().queue("rwfind_test"), "rwfind_test_0.4");
        assert_eq!("".parse::<ProtocolVersion>(), Err(InvalidVersion));
        assert_eq!("0.5 5".parse::<ProtocolVersion>(), Err(InvalidVersion));
    }
}
