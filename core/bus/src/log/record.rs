//! Log lines as they are read: four old forms and anything else (PRISEM services specification, 9.2).

use std::fmt;

use jiff::Timestamp;

use super::escape::visible;
use super::json;
use super::time::{SentTime, Zone, shown, shown_micros, utc_micros};
use super::{Level, classic};
use crate::frame::{Json, Object};

/// In which form a line was written, in the order in which they are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// `TIME HOST UUID PROGRAM [COMPONENT] [PID] LEVEL MESSAGE`
    Full,
    /// `TIME HOST UUID COMPONENT LEVEL MESSAGE`
    Short,
    /// A JSON object.
    Json,
    /// `UUID: MESSAGE`, of old servers.
    Server,
    /// Anything.
    Opaque,
}

impl Format {
    /// The word for it in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Short => "short",
            Self::Json => "json",
            Self::Server => "server",
            Self::Opaque => "opaque",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One message of a log fanout.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// In which form it was written.
    pub format: Format,
    /// The time as sent.
    pub time: Option<String>,
    /// The same moment; none if it cannot be told.
    pub moment: Option<Timestamp>,
    /// The sender's host.
    pub host: Option<String>,
    /// The sender's process, as a UUID.
    pub id: Option<String>,
    /// The sender's program.
    pub program: Option<String>,
    /// The part of the program.
    pub component: Option<String>,
    /// The sender's process id.
    pub pid: Option<i64>,
    /// How urgent it is.
    pub level: Option<Level>,
    /// What it says.
    pub message: String,
    /// The whole body, bad bytes replaced, without its final line end.
    pub body: String,
}

impl Record {
    /// Reads the body of a message. Never fails: what fits no form is opaque.
    #[must_use]
    pub fn read(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = line.strip_suffix('\r').filter(|_| line.len() < text.len()).unwrap_or(line);
        classic::full(line)
            .or_else(|| classic::short(line))
            .or_else(|| json::record(line))
            .or_else(|| classic::server(line))
            .unwrap_or_else(|| Self::opaque(line))
    }

    /// A record of `format` that holds nothing but its message.
    pub(super) fn bare(format: Format, message: &str, body: &str) -> Self {
        Self {
            format,
            time: None,
            moment: None,
            host: None,
            id: None,
            program: None,
            component: None,
            pid: None,
            level: None,
            message: message.to_owned(),
            body: body.to_owned(),
        }
    }

    fn opaque(line: &str) -> Self {
        Self::bare(Format::Opaque, line, line)
    }

    /// The record for programs: the keys of the specification in their order, unknown ones null.
    #[must_use]
    pub fn to_json(&self) -> Json {
        Object::new()
            .with("format", self.format.as_str())
            .with("time", self.time.as_deref())
            .with("time_utc", self.moment.map(|moment| format!("{}Z", utc_micros(moment))))
            .with("host", self.host.as_deref())
            .with("id", self.id.as_deref())
            .with("program", self.program.as_deref())
            .with("component", self.component.as_deref())
            .with("pid", self.pid)
            .with("level", self.level.map(Level::as_str))
            .with("severity", self.level.map(|level| i64::from(level.severity())))
            .with("message", self.message.as_str())
            .into()
    }

    /// The line that a monitor shows, with its final line end: the time of the sender where the form has one, else
    /// that of receipt; a blank; the rest as sent, control signs made visible.
    #[must_use]
    pub fn shown(&self, received: Timestamp, zone: Zone) -> String {
        match self.sent() {
            Some((time, rest)) => format!("{} {}\n", time.in_zone(zone), visible(rest)),
            None => self.shown_as_received(received, zone),
        }
    }

    /// Like [`shown`](Self::shown), but always the whole body behind the time of receipt, as the old monitor did.
    #[must_use]
    pub fn shown_as_received(&self, received: Timestamp, zone: Zone) -> String {
        format!("{} {}\n", shown_micros(received, zone), visible(&self.body))
    }

    /// The sender's time and what stands behind it.
    fn sent(&self) -> Option<(Moment<'_>, &str)> {
        if !matches!(self.format, Format::Full | Format::Short) {
            return None;
        }
        let (time, rest) = self.body.split_once(' ')?;
        let fraction = SentTime::read(time)?.fraction;
        Some((Moment { at: self.moment?, fraction }, rest))
    }
}

struct Moment<'a> {
    at: Timestamp,
    fraction: &'a str,
}

impl Moment<'_> {
    fn in_zone(&self, zone: Zone) -> String {
        shown(self.at, self.fraction, zone)
    }
}
