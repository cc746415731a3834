//! Which records a monitor shows (PRISEM services specification, 9.4).

use regex::Regex;
use thiserror::Error;

use super::{Level, Record};

/// How large a compiled expression may be, in bytes.
const MAX_EXPRESSION: usize = 1 << 20;

/// A choice of records; an empty one chooses all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    level: Option<Level>,
    host: Option<Regex>,
    program: Option<Regex>,
    grep: Option<Regex>,
}

/// An expression that cannot be used.
#[derive(Debug, Clone, Error)]
#[error("{option}: {reason}")]
pub struct BadExpression {
    /// The option that gave it, such as `--grep`.
    pub option: &'static str,
    reason: String,
}

impl Filter {
    /// Chooses all records.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only records of this level and more urgent ones. Records without a known level are left out.
    #[must_use]
    pub fn level(mut self, level: Level) -> Self {
        self.level = Some(level);
        self
    }

    /// Only records whose host matches `expression` somewhere.
    ///
    /// # Errors
    ///
    /// [`BadExpression`] if it is no regular expression, or too large a one.
    pub fn host(mut self, expression: &str) -> Result<Self, BadExpression> {
        self.host = Some(compiled("--host", expression)?);
        Ok(self)
    }

    /// Only records whose program matches `expression` somewhere.
    ///
    /// # Errors
    ///
    /// As [`host`](Self::host).
    pub fn program(mut self, expression: &str) -> Result<Self, BadExpression> {
        self.program = Some(compiled("--program", expression)?);
        Ok(self)
    }

    /// Only records whose body matches `expression` somewhere.
    ///
    /// # Errors
    ///
    /// As [`host`](Self::host).
    pub fn grep(mut self, expression: &str) -> Result<Self, BadExpression> {
        self.grep = Some(compiled("--grep", expression)?);
        Ok(self)
    }

    /// True for a record that is chosen.
    #[must_use]
    pub fn accepts(&self, record: &Record) -> bool {
        let urgent = self.level.is_none_or(|wanted| record.level.is_some_and(|level| level <= wanted));
        urgent
            && fits(self.host.as_ref(), record.host.as_deref())
            && fits(self.program.as_ref(), record.program.as_deref())
            && fits(self.grep.as_ref(), Some(&record.body))
    }
}

fn fits(expression: Option<&Regex>, text: Option<&str>) -> bool {
    expression.is_none_or(|expression| text.is_some_and(|text| expression.is_match(text)))
}

fn compiled(option: &'static str, expression: &str) -> Result<Regex, BadExpression> {
    let built = regex::RegexBuilder::new(expression).size_limit(MAX_EXPRESSION).build();
    built.map_err(|error| BadExpression {
        option,
        reason: error.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(line: &str) -> Record {
        Record::read(line.as_bytes())
    }

    const LINE: &str = "2014-11-05T17:01:53Z h1.example.org 431270e5-b42a-4625-801d-1777dd9eff81 anon_client [-] [1] WARN slow disk";

    #[test]
    fn all_conditions_hold_together() {
        let line = record(LINE);
        assert!(Filter::new().accepts(&line));
        assert!(Filter::new().level(Level::Warning).accepts(&line));
        assert!(!Filter::new().level(Level::Error).accepts(&line));
        let filter = Filter::new().host(r"^h1\.").unwrap().program("anon").unwrap().grep("slow").unwrap();
        assert!(filter.accepts(&line));
        assert!(!filter.grep("fast").unwrap().accepts(&line));
        assert!(!Filter::new().host("^x").unwrap().accepts(&line));
    }

    #[test]
    fn what_is_unknown_does_not_match() {
        let opaque = record("just text");
        assert!(Filter::new().grep("text").unwrap().accepts(&opaque));
        assert!(!Filter::new().host("").unwrap().accepts(&opaque));
        assert!(!Filter::new().level(Level::Debug).accepts(&opaque));
    }

    #[test]
    fn bad_expressions_name_their_option() {
        let error = Filter::new().grep("(").unwrap_err().to_string();
        assert!(error.starts_with("--grep: ") && !error.contains('\n'), "{error}");
        assert!(Filter::new().host(&"(a{999}){999}".repeat(9)).is_err());
    }
}
