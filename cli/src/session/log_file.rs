//! The lines of a log topic in a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use polybus::log::{LogMonitor, Observed, Zone};
use polybus::{End, Gap};

use crate::console::{Failure, Notices, Outcome};

/// A file that log lines are appended to, as `polybus log tail --log` does. A disk that is full costs lines, which are
/// counted, and stops nothing else.
pub(super) struct LogFile<Out = File> {
    out: Out,
    name: String,
    zone: Zone,
    /// Lines since the last one that was written.
    lost: u64,
    notices: Notices,
}

impl LogFile {
    /// Opens the file, and makes it if it is not there.
    ///
    /// # Errors
    /// Exit 78 if it cannot be opened.
    pub(super) fn open(path: &Path, zone: Zone, notices: &Notices) -> Outcome<Self> {
        let name = path.display().to_string();
        let refused = |error| Failure::configuration(format!("cannot open the log file {name}: {error}"));
        let out = OpenOptions::new().append(true).create(true).open(path).map_err(refused)?;
        Ok(Self { out, name, zone, lost: 0, notices: notices.clone() })
    }
}

impl<Out: Write> LogFile<Out> {
    /// Writes what comes, until the topic ends.
    pub(super) async fn follow(mut self, mut monitor: LogMonitor) {
        while let Some(observed) = monitor.next().await {
            match observed {
                Observed::Line { record, received } => self.write(&record.shown(received, self.zone)),
                Observed::Gap(gap) => {
                    self.notices.warning(&format!("{}: {}", self.name, missed(gap)));
                    self.write(&format!("{}\n", missed(gap)));
                }
            }
        }
        if let Some(End::Failed(error)) = monitor.end() {
            self.notices.warning(&format!("{} gets no more lines: {error}", self.name));
        }
        if self.lost > 0 {
            self.notices.warning(&format!("{} lines are not in {}", self.lost, self.name));
        }
    }

    fn write(&mut self, line: &str) {
        match self.written(line) {
            Ok(()) if self.lost > 0 => {
                self.notices
                    .warning(&format!("{} takes lines again; {} are not in it", self.name, self.lost));
                self.lost = 0;
            }
            Ok(()) => {}
            Err(error) => {
                if self.lost == 0 {
                    self.notices.warning(&format!("{} takes no lines: {error}", self.name));
                }
                self.lost += 1;
            }
        }
    }

    fn written(&mut self, line: &str) -> io::Result<()> {
        // The line before may have been cut off.
        let start = if self.lost > 0 { "\n" } else { "" };
        self.out.write_all(format!("{start}{line}").as_bytes())
    }
}

/// What is told of lines that were missed.
pub(crate) fn missed(gap: Gap) -> String {
    let count = gap.missed.map_or_else(|| "some".to_owned(), |count| count.to_string());
    format!("{count} lines were missed here: {:?}", gap.cause)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use polybus::{Message, Name, SubscribeOptions, Topic, TransportExt, connect};

    use super::*;

    /// A disk that is full after some bytes, until somebody makes room.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (written, room) = &mut *self.0.lock().unwrap();
            let taken = bytes.len().min(*room);
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            written.extend(&bytes[..taken]);
            *room -= taken;
            Ok(taken)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log_file(disk: &Disk) -> LogFile<Disk> {
        let notices = Notices::new("up", false);
        LogFile { out: disk.clone(), name: "polybus.log".to_owned(), zone: Zone::Utc, lost: 0, notices }
    }

    #[test]
    fn a_full_disk_costs_lines_and_the_next_one_begins_anew() {
        let disk = Disk(Arc::new(Mutex::new((Vec::new(), 6))));
        let mut file = log_file(&disk);
        for line in ["one\n", "two\n", "three\n"] {
            file.write(line);
        }
        assert_eq!(file.lost, 2);
        disk.0.lock().unwrap().1 = 100;
        file.write("four\n");
        assert_eq!((file.lost, disk.0.lock().unwrap().0.as_slice()), (0, &b"one\ntw\nfour\n"[..]));
    }

    #[tokio::test]
    async fn what_came_before_the_end_of_the_bus_is_written() {
        let bus = connect("embedded:").await.unwrap();
        let topic = Topic::new(Name::new("logs").unwrap());
        let monitor =
            LogMonitor::subscribe(&**bus.transport(), &topic, SubscribeOptions::default()).await.unwrap();
        for line in ["no line of ours", "nor this\u{1b}"] {
            bus.transport().announce(&topic.name, Message::new(line)).await.unwrap();
        }
        bus.drain(std::time::Duration::from_secs(5)).await;
        let disk = Disk(Arc::new(Mutex::new((Vec::new(), 10_000))));
        log_file(&disk).follow(monitor).await;
        let text = String::from_utf8(disk.0.lock().unwrap().0.clone()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines.len() == 2 && lines[0].ends_with(" no line of ours"), "{text}");
        assert!(lines[1].ends_with(" nor this\\x1b"), "{text}");
    }
}
