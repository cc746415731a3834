//! Ledgers: what was sent, confirmed, received and settled, as lines in a file (K3).

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::stamp::Stamp;

/// What happened to a numbered message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// About to be published.
    Sent,
    /// The bus has taken responsibility.
    Confirmed,
    /// The publish failed: nothing has happened.
    Refused,
    /// The publish ended with an unknown outcome.
    Unknown,
    /// Handed out to a consumer, or received by a subscriber.
    Received,
    /// Settled; `outcome` says how, and that the bus answered Ok.
    Settled,
    /// The settle failed, so the message may come back.
    SettleFailed,
}

/// One line of a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What happened.
    pub event: Event,
    /// When, in microseconds since 1970-01-01T00:00:00Z by the system's clock.
    pub at: u64,
    /// The run.
    pub run: String,
    /// Who sent the message.
    pub producer: String,
    /// Which of its messages.
    pub sequence: u64,
    /// The message's digest.
    pub digest: String,
    /// To whom it happened, for what is received and settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer: Option<String>,
    /// Which hand-out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// How it was settled, or why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}

impl Entry {
    /// An event now.
    #[must_use]
    pub fn now(event: Event, stamp: &Stamp) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            event,
            at: u64::try_from(since.as_micros()).unwrap_or(u64::MAX),
            run: stamp.run.clone(),
            producer: stamp.producer.clone(),
            sequence: stamp.sequence,
            digest: stamp.digest.clone(),
            consumer: None,
            attempt: None,
            outcome: None,
        }
    }

    /// The same, of this consumer's `attempt`-th hand-out.
    #[must_use]
    pub fn by(mut self, consumer: &str, attempt: Option<u32>) -> Self {
        self.consumer = Some(consumer.to_owned());
        self.attempt = attempt;
        self
    }

    /// The same, with how it was settled.
    #[must_use]
    pub fn with_outcome(mut self, outcome: impl Into<String>) -> Self {
        self.outcome = Some(outcome.into());
        self
    }
}

/// When lines leave the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flushing {
    /// When the buffer is full, at [`Ledger::flush`], and when the last handle goes.
    #[default]
    Buffered,
    /// Each line before the call returns: for a process that will be killed. It survives the process, not the machine.
    EachLine,
}

/// A ledger being written. Clones write to the same file.
#[derive(Clone, Debug)]
pub struct Ledger {
    file: Arc<Mutex<BufWriter<File>>>,
    path: Arc<Path>,
    flushing: Flushing,
}

impl Ledger {
    /// Opens the ledger at `path`, behind what is there already. A line that a killed process left unfinished stays
    /// alone on its line.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(path: impl Into<PathBuf>, flushing: Flushing) -> io::Result<Self> {
        let path: PathBuf = path.into();
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        if !ends_whole(&path)? {
            file.write_all(b"\n")?;
        }
        Ok(Self { file: Arc::new(Mutex::new(BufWriter::new(file))), path: path.into(), flushing })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self) -> MutexGuard<'_, BufWriter<File>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a line.
    ///
    /// # Errors
    /// What the file system says. A ledger that cannot be written proves nothing: the case is then not run.
    pub fn write(&self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let mut file = self.file();
        file.write_all(&line)?;
        if self.flushing == Flushing::EachLine { file.flush() } else { Ok(()) }
    }

    /// Sees to it that all lines are in the file.
    ///
    /// # Errors
    /// What the file system says.
    pub fn flush(&self) -> io::Result<()> {
        self.file().flush()
    }
}

fn ends_whole(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker;

    #[test]
    fn k3_what_is_written_is_read_and_a_torn_end_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let ledger = Ledger::open(&path, Flushing::EachLine).unwrap();
        let stamp = Stamp::new("r", "p", 1, b"x");
        let entries = [
            Entry::now(Event::Sent, &stamp),
            Entry::now(Event::Received, &stamp).by("c", Some(2)),
            Entry::now(Event::Settled, &stamp).by("c", Some(2)).with_outcome("ack"),
        ];
        for entry in &entries {
            ledger.write(entry).unwrap();
        }
        let read = checker::read(&[&path]).unwrap();
        assert_eq!(read.entries, entries);
        assert_eq!(read.torn, 0);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        let read = checker::read(&[&path]).unwrap();
        assert_eq!((read.entries.len(), read.torn), (2, 1));
        let again = Ledger::open(&path, Flushing::Buffered).unwrap();
        again.write(&entries[2]).unwrap();
        again.flush().unwrap();
        let read = checker::read(&[&path]).unwrap();
        assert_eq!((read.entries.len(), read.torn), (3, 1));
        std::fs::write(&path, [b"garbage\n", &whole[..]].concat()).unwrap();
        assert!(checker::read(&[&path]).unwrap_err().to_string().contains("line 1"));
    }
}
