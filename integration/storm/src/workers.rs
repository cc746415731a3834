//! Worker processes, and what they say.

use std::process::Stdio;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinSet;

use crate::ledger::Ledger;
use crate::word::Word;

/// The variable that holds the bus: its password stays out of process lists.
pub(crate) const BUS: &str = "POLYBUS_BUS";

/// Some worker processes. Dropping it kills them.
pub(crate) struct Workers {
    url: String,
    ledger: Arc<Ledger>,
    children: Vec<Child>,
    readers: JoinSet<()>,
    pub(crate) killed: u64,
}

impl Workers {
    /// Starts so many.
    pub(crate) fn start(url: &str, count: usize, ledger: &Arc<Ledger>) -> Result<Self, String> {
        let mut workers = Self {
            url: url.to_owned(),
            ledger: ledger.clone(),
            children: Vec::new(),
            readers: JoinSet::new(),
            killed: 0,
        };
        for _ in 0..count {
            let child = workers.spawn()?;
            workers.children.push(child);
        }
        Ok(workers)
    }

    fn spawn(&mut self) -> Result<Child, String> {
        let failed = |error: std::io::Error| format!("a worker cannot be started: {error}");
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(program);
        command.arg("work").env(BUS, &self.url).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().map_err(failed)?;
        let said = child.stdout.take().ok_or("a worker has no output")?;
        self.readers.spawn(listen(said, self.ledger.clone()));
        Ok(child)
    }

    /// Kills one with SIGKILL and starts another in its place.
    pub(crate) async fn kill_one(&mut self, which: usize) -> Result<(), String> {
        let index = which % self.children.len().max(1);
        let fresh = self.spawn()?;
        let mut old = std::mem::replace(&mut self.children[index], fresh);
        self.killed += 1;
        old.kill().await.map_err(|error| error.to_string())
    }

    /// Whether all run: one that ended by itself is a finding.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        for child in &mut self.children {
            if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
                return Err(format!("a worker ended by itself: {status}"));
            }
        }
        Ok(())
    }

    /// Kills all and hears what they said until then.
    pub(crate) async fn end(mut self) -> Result<(), String> {
        for child in &mut self.children {
            child.kill().await.map_err(|error| error.to_string())?;
        }
        while self.readers.join_next().await.is_some() {}
        Ok(())
    }
}

async fn listen(said: ChildStdout, ledger: Arc<Ledger>) {
    let mut lines = BufReader::new(said).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(word) = Word::parse(&line) {
            ledger.take(word);
        }
    }
}
