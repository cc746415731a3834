//! `polybus log send`: lines for a log topic (PRISEM services specification, 9.4).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use clap::Parser;
use jiff::Timestamp;
use polybus::frame::Identity;
use polybus::log::{Level, LogLine};
use polybus::{Bus, Confirm, Error, Fidelity, Kind, Message, PublishOptions, Target, Topic, Topology, exit};
use tokio::sync::mpsc;

use crate::console::{Failure, Notices, Outcome};
use crate::options::LogTopic;
use crate::program::Called;
use crate::session::{Patience, Place, until_signal, wrong};

/// A longer line is no log line.
const MAX_LINE: u64 = 1 << 20;

/// How many lines are read ahead.
const AHEAD: usize = 64;

/// Publish one line, or each line of files, to a log topic.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Publish this line; with files it stands, and a blank, before each of their lines.
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Files to publish line by line; `-` or, without -m, none is standard input.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    topic: LogTopic,
}

const EXAMPLES: &str = "\
Examples:
  {program} --bus URL -l devops -m deployed      one line
  make 2>&1 | {program} --bus URL -l devops      every line of an output
  {program} --bus URL -m host1 messages.txt      lines of a file, each with a word before it
";

impl Options {
    pub(super) fn shared(&self) -> &LogTopic {
        &self.topic
    }
}

pub(super) fn run(called: &Called, options: &Options, notices: &Notices) -> Outcome {
    let Options { message, files, topic } = options;
    let files = (message.is_none() || !files.is_empty()).then_some(&**files);
    publish(called, topic, message.as_deref(), files, notices)
}

/// Publishes `message`, or each line of `files` behind it.
///
/// # Errors
/// Exit 78 if no bus is named, 69 if the bus does not take a line, 1 if a file cannot be read.
pub(crate) fn publish(
    called: &Called,
    topic: &LogTopic,
    message: Option<&str>,
    files: Option<&[PathBuf]>,
    notices: &Notices,
) -> Outcome {
    let place = Place::find(called, topic, notices)?;
    warn_if_local(&place, notices)?;
    let topic = place.log_topic()?;
    let lines = match files {
        Some(files) => read_ahead(message, files),
        None => one(message.unwrap_or_default()),
    };
    until_signal(async {
        let bus = place.connect(Patience::For(place.settings.connect), notices).await?.bus;
        notices.progress(|| format!("connected to {bus}"));
        let count = publish_all(&bus, topic, &place.identity, lines).await?;
        notices.progress(|| format!("{count} lines published on {bus}"));
        Ok(())
    })
}

/// Lines on a bus inside this process reach nobody. That is only done if it was asked for.
fn warn_if_local(place: &Place, notices: &Notices) -> Outcome {
    let bus = place.open()?;
    if !bus.is_local() {
        return Ok(());
    }
    let text = format!("the bus {bus} is inside this process, where nobody listens");
    if !place.is_named() {
        return Err(Failure::configuration(format!(
            "no bus is named, and {text}: name a shared one with --bus"
        )));
    }
    notices.warning(&text);
    Ok(())
}

/// Lines to be published, or why there are no more.
type Lines = mpsc::Receiver<Outcome<String>>;

fn one(message: &str) -> Lines {
    let (sender, lines) = mpsc::channel(1);
    // There is room for one.
    let _sent = sender.try_send(Ok(message.trim().to_owned()));
    lines
}

/// Reads on a thread of its own: standard input may be silent for long, and signals must count meanwhile.
fn read_ahead(prefix: Option<&str>, files: &[PathBuf]) -> Lines {
    let (sender, lines) = mpsc::channel(AHEAD);
    let prefix = prefix.map(|prefix| format!("{} ", prefix.trim())).unwrap_or_default();
    let files = if files.is_empty() { vec![PathBuf::from("-")] } else { files.to_vec() };
    std::thread::spawn(move || {
        for file in files {
            // Nobody receives any more once publishing has failed.
            let send = |line: String| sender.blocking_send(Ok(format!("{prefix}{line}"))).is_ok();
            if let Err(failure) = each_line(&file, send) {
                let _gone = sender.blocking_send(Err(failure));
                return;
            }
        }
    });
    lines
}

fn each_line(path: &Path, mut send: impl FnMut(String) -> bool) -> Outcome {
    let standard = path.as_os_str() == "-";
    let place = if standard { "standard input".to_owned() } else { path.display().to_string() };
    let unreadable = |error: io::Error| Failure::refused("unreadable", format!("{place}: {error}"));
    let from: Box<dyn Read> =
        if standard { Box::new(io::stdin()) } else { Box::new(File::open(path).map_err(unreadable)?) };
    let mut from = BufReader::new(from);
    for number in 1_u64.. {
        let mut line = Vec::new();
        if from.by_ref().take(MAX_LINE + 1).read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
            break;
        }
        if line.len() as u64 > MAX_LINE {
            return Err(Failure::data(format!("{place}:{number}: the line is longer than {MAX_LINE} bytes")));
        }
        if !send(String::from_utf8_lossy(&line).trim().to_owned()) {
            break;
        }
    }
    Ok(())
}

async fn publish_all(bus: &Bus, topic: Topic, identity: &Identity, mut lines: Lines) -> Outcome<u64> {
    let topology = Topology::new().topic(topic.clone());
    bus.transport().declare(&topology).await.map_err(|error| untaken(&error))?;
    let target = Target::Topic(topic.name);
    let options =
        PublishOptions::default().with_confirm(Confirm::WhereAble).with_accept_loss(Fidelity::all());
    let mut count = 0;
    while let Some(line) = lines.recv().await {
        let line = LogLine {
            time: Timestamp::now(),
            identity,
            component: None,
            level: Level::Info,
            message: &line?,
        };
        let message = Message::new(line.to_string()).with_content_type("text/plain");
        let sent = bus.transport().publish(&target, message, options.clone()).await;
        sent.map_err(|error| untaken(&error))?;
        count += 1;
    }
    Ok(count)
}

/// A line that nobody took is never a success (D-31).
fn untaken(error: &Error) -> Failure {
    match error.kind() {
        Kind::InvalidName | Kind::Unsupported(_) | Kind::Unauthorized => wrong(error),
        _ => Failure::told(exit::UNAVAILABLE, "unavailable", error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use polybus::log::{LogMonitor, Observed, Record};
    use polybus::{Name, SubscribeOptions, connect};

    use super::*;

    async fn published(lines: Lines) -> Vec<Record> {
        let bus = connect("embedded:").await.unwrap();
        let topic = Topic::new(Name::new("devops").unwrap());
        let mut monitor =
            LogMonitor::subscribe(&**bus.transport(), &topic, SubscribeOptions::default()).await.unwrap();
        let count = publish_all(&bus, topic, &Identity::new("logmon", "example.org"), lines).await.unwrap();
        let mut records = Vec::new();
        for _ in 0..count {
            match monitor.next().await {
                Some(Observed::Line { record, .. }) => records.push(*record),
                other => panic!("{other:?}"),
            }
        }
        records
    }

    #[tokio::test]
    async fn one_message_is_one_line_of_the_common_form() {
        let records = published(one("  deployed\nnow ")).await;
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].program.as_deref(), Some("logmon"));
        assert_eq!((records[0].level, &*records[0].message), (Some(Level::Info), "deployed\\nnow"));
    }

    #[tokio::test]
    async fn each_line_of_the_files_comes_with_its_prefix() {
        let mut first = tempfile::NamedTempFile::new().unwrap();
        first.write_all(b"a \n\n b\xff").unwrap();
        let mut second = tempfile::NamedTempFile::new().unwrap();
        second.write_all(b"c\r\n").unwrap();
        let files = [first.path().to_owned(), second.path().to_owned()];
        let records = published(read_ahead(Some("host1"), &files)).await;
        let messages: Vec<_> = records.iter().map(|record| record.message.as_str()).collect();
        assert_eq!(messages, ["host1 a", "host1 ", "host1 b\u{fffd}", "host1 c"]);
    }

    #[tokio::test]
    async fn a_missing_file_and_an_endless_line_are_failures() {
        let mut missing = read_ahead(None, &[PathBuf::from("/nonexistent/lines")]);
        assert!(missing.recv().await.unwrap().is_err());
        let mut endless = read_ahead(None, &[PathBuf::from("/dev/zero")]);
        assert!(endless.recv().await.unwrap().is_err());
    }
}
