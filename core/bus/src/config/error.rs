//! What is wrong with a configuration, and where.

use thiserror::Error;

use super::Origin;

/// Exit code for a wrong configuration (PRISEM services specification, 3.3).
const CONFIGURATION: u8 = 78;

/// Exit code for a wrong command line.
const USAGE: u8 = 2;

/// A value that cannot be used. Names the source, the key, and what is expected there; never the value, which may
/// be a secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{origin}: {}{problem}", .key.as_ref().map(|key| format!("{key}: ")).unwrap_or_default())]
pub struct ConfigError {
    /// Where it was found.
    pub origin: Origin,
    /// The key as it is spelled there; none if the whole source is at fault.
    pub key: Option<String>,
    /// What is wrong, or expected instead.
    pub problem: String,
}

impl ConfigError {
    pub(super) fn new(origin: &Origin, problem: impl Into<String>) -> Self {
        Self { origin: origin.clone(), key: None, problem: problem.into() }
    }

    pub(super) fn expected(origin: &Origin, key: &str, expected: &str) -> Self {
        Self { key: Some(key.to_owned()), ..Self::new(origin, format!("expected {expected}")) }
    }

    /// The code the program exits with: 2 for flags, else 78.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.origin {
            Origin::Flag(_) => USAGE,
            _ => CONFIGURATION,
        }
    }
}
