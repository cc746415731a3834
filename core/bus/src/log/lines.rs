//! The lines that every program writes alike (PRISEM services specification, 5.7, 9.1 and 9.5).

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use super::Level;
use super::escape::one_line;
use super::time::utc_micros;
use crate::frame::Identity;

/// One line for the log fanout, in the form all programs write.
#[derive(Clone, Copy, Debug)]
pub struct LogLine<'a> {
    /// When it was written.
    pub time: Timestamp,
    /// Who writes.
    pub identity: &'a Identity,
    /// A part of the program.
    pub component: Option<&'a str>,
    /// How urgent it is.
    pub level: Level,
    /// What happened. Line ends and control signs are written as escapes.
    pub message: &'a str,
}

/// `<time> <host> <id> <program> [<component>] [<pid>] <LEVEL> <message>`, without line end.
impl fmt::Display for LogLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Identity { hostname, id, program, pid, .. } = self.identity;
        write!(f, "{}+00:00 {} {id} {} ", utc_micros(self.time), word(hostname), word(program))?;
        let component = self.component.map_or_else(|| "-".to_owned(), component);
        write!(f, "[{component}] [{pid}] {} {}", self.level, one_line(self.message))
    }
}

/// A name as one word of a line.
fn word(text: &str) -> String {
    one_line(text).replace(char::is_whitespace, "_")
}

/// A component may hold blanks but no brackets.
fn component(text: &str) -> String {
    one_line(text).replace('[', "(").replace(']', ")")
}

/// The identity line: first line of every process, and again of a server for each request.
#[must_use]
pub fn identity_line(identity: &Identity) -> String {
    let Identity { program, library, release, hostname, pid, build, .. } = identity;
    format!(
        "{script} program={} pika_version={} release={} host={} pid={pid} date={}+00:00 build={}",
        word(service_of(program)),
        word(library),
        word(release),
        word(hostname),
        utc_micros(Timestamp::now()),
        word(build),
        script = word(program),
    )
}

/// `anon` for `anon_client` and `anon_server`, as the old programs wrote; any other name as it is.
fn service_of(program: &str) -> &str {
    let base = program.strip_suffix("_client").or_else(|| program.strip_suffix("_server"));
    base.filter(|base| !base.is_empty()).unwrap_or(program)
}

/// The line that ends a call, on both sides. Time estimates read it, so its form is fixed.
#[derive(Clone, Copy, Debug)]
pub struct CallLine<'a> {
    /// The service's short name.
    pub service: &'a str,
    /// `client` or `server`.
    pub side: &'a str,
    /// The retcode, or the exit code of a call without reply.
    pub retcode: i64,
    /// How long it took.
    pub elapsed: Duration,
    /// Bytes of the request frame.
    pub request_bytes: u64,
    /// Bytes of the reply frame.
    pub reply_bytes: u64,
    /// The call's correlation id, `-` without one.
    pub correlation_id: &'a str,
    /// The id of the trace it belongs to, if there is one.
    pub trace_id: Option<&'a str>,
}

impl fmt::Display for CallLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, side, retcode, elapsed, request_bytes, reply_bytes, correlation_id, trace_id } =
            self;
        write!(
            f,
            "call service={service} side={side} retcode={retcode} seconds={:.3} request_bytes={request_bytes} \
             reply_bytes={reply_bytes} correlation_id={}",
            elapsed.as_secs_f64(),
            word(correlation_id),
        )?;
        trace_id.map_or(Ok(()), |id| write!(f, " trace_id={}", word(id)))
    }
}

impl CallLine<'_> {
    /// The line with what a server knows beside: the seconds that the request's window spans, and how many items it
    /// asked for.
    #[must_use]
    pub fn with_scope(&self, span_seconds: Option<i64>, items: Option<u64>) -> String {
        let span = span_seconds.map_or_else(String::new, |seconds| format!(" span_seconds={seconds}"));
        let items = items.map_or_else(String::new, |items| format!(" items={items}"));
        format!("{self}{span}{items}")
    }
}

/// A [`CallLine`] that was read, for time estimates (PRISEM services specification, 11.5).
#[derive(Clone, Debug, PartialEq)]
pub struct CallFigures {
    /// The service's short name.
    pub service: String,
    /// `client` or `server`.
    pub side: String,
    /// The retcode.
    pub retcode: i64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Bytes of the request frame.
    pub request_bytes: u64,
    /// Bytes of the reply frame.
    pub reply_bytes: u64,
    /// The call's correlation id.
    pub correlation_id: String,
    /// Seconds of the request's window.
    pub span_seconds: Option<i64>,
    /// How many items were asked for.
    pub items: Option<u64>,
}

impl CallFigures {
    /// Reads a message that is a call line; unknown words are passed over.
    #[must_use]
    pub fn read(message: &str) -> Option<Self> {
        let words = message.strip_prefix("call ")?;
        let value = |key: &str| words.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        Some(Self {
            service: value("service")?.to_owned(),
            side: value("side")?.to_owned(),
            retcode: value("retcode")?.parse().ok()?,
            seconds: value("seconds")?.parse().ok().filter(|seconds: &f64| seconds.is_finite())?,
            request_bytes: value("request_bytes")?.parse().ok()?,
            reply_bytes: value("reply_bytes")?.parse().ok()?,
            correlation_id: value("correlation_id")?.to_owned(),
            span_seconds: value("span_seconds").and_then(|seconds| seconds.parse().ok()),
            items: value("items").and_then(|items| items.parse().ok()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: CallLine<'static> = CallLine {
        service: "anon",
        side: "client",
        retcode: 0,
        elapsed: Duration::from_micros(1_234_567),
        request_bytes: 10,
        reply_bytes: 20,
        correlation_id: "-",
        trace_id: None,
    };

    #[test]
    fn call_line_has_the_fixed_form() {
        assert_eq!(
            LINE.to_string(),
            "call service=anon side=client retcode=0 seconds=1.235 request_bytes=10 reply_bytes=20 correlation_id=-"
        );
        let traced = CallLine { trace_id: Some("0af7"), ..LINE }.to_string();
        assert_eq!(traced, format!("{LINE} trace_id=0af7"));
    }

    #[test]
    fn call_lines_read_back() {
        let figures = CallFigures::read(&LINE.with_scope(Some(86_400), Some(3))).unwrap();
        assert_eq!((figures.service.as_str(), figures.retcode, figures.seconds), ("anon", 0, 1.235));
        assert_eq!((figures.span_seconds, figures.items), (Some(86_400), Some(3)));
        assert_eq!(CallFigures::read(&LINE.to_string()).unwrap().items, None);
        assert_eq!(CallFigures::read("call service=anon"), None);
        assert_eq!(CallFigures::read("callous"), None);
    }

    #[test]
    fn identity_line_names_script_and_program() {
        let mut identity = Identity::new("anon_client", "example.org");
        identity.build = "a b".to_owned();
        let line = identity_line(&identity);
        assert!(line.starts_with("anon_client program=anon pika_version=polybus-"), "{line}");
        assert!(line.ends_with("+00:00 build=a_b"), "{line}");
        assert_eq!(service_of("rwfind_server"), "rwfind");
        assert_eq!(service_of("logmon"), "logmon");
        assert_eq!(service_of("_client"), "_client");
    }
}
