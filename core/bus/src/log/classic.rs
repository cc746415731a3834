//! The forms of log lines that are plain text.

use uuid::Uuid;

use super::time::SentTime;
use super::{Format, Level, Record};

/// Length of a UUID with its dashes.
const UUID_LENGTH: usize = 36;

/// `TIME HOST UUID PROGRAM [COMPONENT] [PID] LEVEL MESSAGE`
pub(super) fn full(line: &str) -> Option<Record> {
    let (head, rest) = head(line)?;
    let (program, rest) = word(rest)?;
    let (component, rest) = bracketed(rest)?;
    let (pid, rest) = bracketed(rest.strip_prefix(' ')?)?;
    let is_pid = pid == "-" || (!pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()));
    let (level, message) = level(rest.strip_prefix(' ')?).filter(|_| is_pid)?;
    Some(Record {
        program: Some(program.to_owned()),
        component: named(component),
        pid: pid.parse().ok(),
        level: Some(level),
        ..head.record(Format::Full, message, line)
    })
}

/// `TIME HOST UUID COMPONENT LEVEL MESSAGE`
pub(super) fn short(line: &str) -> Option<Record> {
    let (head, rest) = head(line)?;
    let (component, rest) = word(rest)?;
    let (level, message) = level(rest)?;
    Some(Record {
        component: named(component),
        level: Some(level),
        ..head.record(Format::Short, message, line)
    })
}

/// `UUID: MESSAGE`
pub(super) fn server(line: &str) -> Option<Record> {
    let (id, rest) = line.split_at_checked(UUID_LENGTH)?;
    let message = rest.strip_prefix(": ").or_else(|| (rest == ":").then_some(""))?;
    Some(Record { id: Some(uuid(id)?), ..Record::bare(Format::Server, message, line) })
}

/// A text that names something: `-` and nothing do not.
pub(super) fn named(text: &str) -> Option<String> {
    Some(text).filter(|text| !matches!(*text, "" | "-")).map(str::to_owned)
}

/// What full and short lines begin with.
struct Head<'a> {
    time: &'a str,
    sent: SentTime<'a>,
    host: &'a str,
    id: String,
}

fn head(line: &str) -> Option<(Head<'_>, &str)> {
    let (time, rest) = word(line)?;
    let sent = SentTime::read(time)?;
    let (host, rest) = word(rest)?;
    let (id, rest) = word(rest)?;
    Some((Head { time, sent, host, id: uuid(id)? }, rest))
}

impl Head<'_> {
    fn record(self, format: Format, message: &str, line: &str) -> Record {
        Record {
            time: Some(self.time.to_owned()),
            moment: self.sent.moment,
            host: Some(self.host.to_owned()),
            id: Some(self.id),
            ..Record::bare(format, message, line)
        }
    }
}

/// The word before a single blank, and what follows.
fn word(text: &str) -> Option<(&str, &str)> {
    text.split_once(' ').filter(|(word, _)| !word.is_empty() && !word.contains(char::is_whitespace))
}

/// What stands in brackets, without brackets inside.
fn bracketed(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix('[')?;
    let end = inside.find(['[', ']'])?;
    Some((&inside[..end], inside[end..].strip_prefix(']')?))
}

/// The level, and the message behind one blank; without a message the blank may be missing.
fn level(text: &str) -> Option<(Level, &str)> {
    let (level, message) = text.split_once(' ').unwrap_or((text, ""));
    Level::of_word(level).map(|level| (level, message))
}

/// A UUID with dashes, in lower case.
fn uuid(text: &str) -> Option<String> {
    let id = Uuid::try_parse(text).ok().filter(|_| text.len() == UUID_LENGTH)?;
    Some(id.hyphenated().to_string())
}
