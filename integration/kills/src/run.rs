//! The process that kills.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::ledger::{Figures, Ledger};
use crate::word::Word;

/// A process that says nothing for this long hangs.
const SILENT: Duration = Duration::from_mins(1);

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) kills: u64,
    pub(crate) seed: u64,
    /// Where bus and ledger lie.
    pub(crate) directory: PathBuf,
    pub(crate) sync: String,
    /// The longest time under load, in milliseconds.
    pub(crate) busy: u64,
}

/// Why it ended early.
pub(crate) type Failure = String;

/// All runs, one after the other, on one directory.
pub(crate) struct Runs {
    plan: Plan,
    rng: Rng,
    ledger: Ledger,
    file: File,
    written: u64,
}

impl Runs {
    pub(crate) fn new(plan: Plan) -> Result<Self, Failure> {
        if plan.directory.join("bus").exists() {
            return Err(format!(
                "{} holds a bus of another run, whose books are not here",
                plan.directory.display()
            ));
        }
        let file = File::create(plan.directory.join("ledger")).map_err(|error| error.to_string())?;
        Ok(Self { rng: Rng::with_seed(plan.seed), plan, ledger: Ledger::default(), file, written: 0 })
    }

    /// Kills as often as planned, then lets a last process empty everything, and checks.
    pub(crate) fn run(mut self, mut progress: impl FnMut(u64, &Figures)) -> Result<Figures, Failure> {
        for run in 1..=self.plan.kills {
            let (while_opening, wait) = (self.rng.u8(..8) == 0, self.rng.u64(..=self.plan.busy * 1000));
            self.kill_one(run, while_opening, Duration::from_micros(wait))
                .map_err(|failure| format!("run {run}: {failure}"))?;
            progress(run, &self.ledger.figures);
        }
        self.empty(self.plan.kills + 1)?;
        self.ledger.close()?;
        Ok(self.ledger.figures)
    }

    fn spawn(&mut self, run: u64, empty: bool) -> Result<(Child, Receiver<String>), Failure> {
        self.ledger.begin(run);
        self.note(&format!("-- run {run}"))?;
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let bus = self.plan.directory.join("bus");
        let url =
            format!("embedded://{}?sync={}&segment=65536&max_message=65536", bus.display(), self.plan.sync);
        let mut command = Command::new(program);
        command.args(["load", &url, &self.rng.u64(..).to_string(), &run.to_string()]);
        if empty {
            command.arg("--empty");
        }
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
        let output = child.stdout.take().ok_or("the process has no output")?;
        let (lines, receiver) = sync_channel(1 << 16);
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
        Ok((child, receiver))
    }

    fn kill_one(&mut self, run: u64, while_opening: bool, wait: Duration) -> Result<(), Failure> {
        let (mut child, lines) = self.spawn(run, false)?;
        let read = self.until_killed(&mut child, &lines, while_opening, wait);
        // Also after a failure nothing is left running.
        let killed = child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string());
        read?;
        killed?;
        // What it said until then is in the pipe: it counts.
        lines.iter().try_for_each(|line| self.take(&line).map(drop))
    }

    fn until_killed(
        &mut self,
        child: &mut Child,
        lines: &Receiver<String>,
        while_opening: bool,
        wait: Duration,
    ) -> Result<(), Failure> {
        let begun = Instant::now();
        let mut until = while_opening.then(|| begun + wait / 4);
        loop {
            let now = Instant::now();
            let left = until.map_or(SILENT, |until| until.saturating_duration_since(now));
            if left.is_zero() {
                return child.kill().map_err(|error| error.to_string());
            }
            match lines.recv_timeout(left) {
                Ok(line) => {
                    if let Some(Word::Open { .. }) = self.take(&line)? {
                        until.get_or_insert_with(|| Instant::now() + wait);
                    }
                }
                Err(RecvTimeoutError::Timeout) if until.is_some() => {}
                Err(RecvTimeoutError::Timeout) => return Err("the process does not open its bus".to_owned()),
                Err(RecvTimeoutError::Disconnected) => return Err("the process ended by itself".to_owned()),
            }
        }
    }

    fn empty(&mut self, run: u64) -> Result<(), Failure> {
        let (mut child, lines) = self.spawn(run, true)?;
        let mut emptied = false;
        loop {
            match lines.recv_timeout(SILENT) {
                Ok(line) => emptied |= matches!(self.take(&line)?, Some(Word::Empty)),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    child.kill().map_err(|error| error.to_string())?;
                    return Err("the last process does not end".to_owned());
                }
            }
        }
        child.wait().map_err(|error| error.to_string())?;
        if emptied { Ok(()) } else { Err("the last process did not empty the bus".to_owned()) }
    }

    fn take(&mut self, line: &str) -> Result<Option<Word>, Failure> {
        self.note(line)?;
        let word = Word::parse(line);
        if let Some(word) = &word {
            self.ledger.take(word)?;
        }
        Ok(word)
    }

    /// Writes to the ledger; of a long run the last part and the one before are kept.
    fn note(&mut self, line: &str) -> Result<(), Failure> {
        self.written += line.len() as u64 + 1;
        if self.written > 64 << 20 {
            self.turn_page().map_err(|error| error.to_string())?;
        }
        writeln!(self.file, "{line}").map_err(|error| error.to_string())
    }

    fn turn_page(&mut self) -> std::io::Result<()> {
        let name = |end: &str| -> PathBuf { Path::new(&self.plan.directory).join(format!("ledger{end}")) };
        std::fs::rename(name(""), name(".before"))?;
        self.file = File::create(name(""))?;
        self.written = 0;
        Ok(())
    }
}
