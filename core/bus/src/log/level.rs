//! Levels of log lines.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// How urgent a line is (PRISEM services specification, 9.1). The order is that of urgency, most urgent first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the words are those of the specification")]
pub enum Level {
    Emergency,
    Alert,
    Critical,
    Error,
    Warning,
    Notice,
    #[default]
    Info,
    Debug,
}

/// A word that is no level.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{0}\" is no level: EMERGENCY, ALERT, CRITICAL, ERROR, WARNING, NOTICE, INFO or DEBUG")]
pub struct UnknownLevel(pub String);

/// No level word is longer; longer ones need not be looked at.
const LONGEST: usize = 13;

impl Level {
    /// All levels, most urgent first.
    pub const ALL: [Self; 8] = [
        Self::Emergency,
        Self::Alert,
        Self::Critical,
        Self::Error,
        Self::Warning,
        Self::Notice,
        Self::Info,
        Self::Debug,
    ];

    /// 0 for emergencies up to 7 for debug lines, as syslog counts.
    #[must_use]
    pub const fn severity(self) -> u8 {
        self as u8
    }

    /// The word as it is written in lines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Emergency => "EMERGENCY",
            Self::Alert => "ALERT",
            Self::Critical => "CRITICAL",
            Self::Error => "ERROR",
            Self::Warning => "WARNING",
            Self::Notice => "NOTICE",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
        }
    }

    /// The level of a word in any case, or of one of the aliases that old programs use.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        if word.len() > LONGEST {
            return None;
        }
        Some(match word.to_ascii_uppercase().as_str() {
            "EMERGENCY" | "EMERG" | "PANIC" => Self::Emergency,
            "ALERT" => Self::Alert,
            "CRITICAL" | "CRIT" | "FATAL" => Self::Critical,
            "ERROR" | "ERR" => Self::Error,
            "WARNING" | "WARN" => Self::Warning,
            "NOTICE" => Self::Notice,
            "INFO" | "INFORMATION" | "INFORMATIONAL" => Self::Info,
            "DEBUG" | "VERBOSE" | "TRACE" | "SILLY" => Self::Debug,
            _ => return None,
        })
    }
}

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(word: &str) -> Result<Self, UnknownLevel> {
        Self::of_word(word).ok_or_else(|| UnknownLevel(word.to_owned()))
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_are_those_of_syslog() {
        for (severity, level) in (0..).zip(Level::ALL) {
            assert_eq!(level.severity(), severity);
            assert_eq!(level.as_str().parse(), Ok(level));
            assert_eq!(level.as_str().to_lowercase().parse(), Ok(level));
        }
    }

    #[test]
    fn aliases() {
        for (word, level) in [
            ("emerg", Level::Emergency),
            ("PANIC", Level::Emergency),
            ("Crit", Level::Critical),
            ("FATAL", Level::Critical),
            ("err", Level::Error),
            ("warn", Level::Warning),
            ("informational", Level::Info),
            ("INFORMATION", Level::Info),
            ("verbose", Level::Debug),
            ("trace", Level::Debug),
            ("silly", Level::Debug),
        ] {
            assert_eq!(Level::of_word(word), Some(level), "{word}");
        }
        assert_eq!("LOUD".parse::<Level>(), Err(UnknownLevel("LOUD".to_owned())));
    }
}
