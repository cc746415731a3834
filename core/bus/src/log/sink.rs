//! Where clients and servers put their log lines.

use std::fmt;

use super::Level;

/// Takes log lines. Never blocks and never fails: logging must not touch the work.
pub trait LogSink: Send + Sync + fmt::Debug {
    /// One line. Sizes and digests, never payloads or secrets.
    fn log(&self, level: Level, message: &str);

    /// One line of a part of the program. A sink that knows no parts takes it as its own.
    fn log_of(&self, _component: Option<&str>, level: Level, message: &str) {
        self.log(level, message);
    }
}

/// Forgets every line.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLog;

impl LogSink for NoLog {
    fn log(&self, _level: Level, _message: &str) {}
}
