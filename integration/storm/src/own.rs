//! `polybus broker` with a journal, as a process that is killed.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use crate::ledger::Violation;

/// The variable that names the program, if it is not the one beside this program.
const PROGRAM: &str = "POLYBUS_BIN";

/// How long it may take to be there.
const WITHIN: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);

/// A broker of our own. Dropping it kills it.
pub(crate) struct Own {
    program: PathBuf,
    journal: TempDir,
    address: String,
    running: Mutex<Option<Child>>,
}

fn failed(error: impl std::fmt::Display) -> Violation {
    format!("polybus broker: {error}")
}

/// The command, which is built before this is run.
fn program() -> Result<PathBuf, Violation> {
    if let Some(program) = std::env::var_os(PROGRAM) {
        return Ok(program.into());
    }
    let program = std::env::current_exe().map_err(failed)?.with_file_name("polybus");
    if program.is_file() {
        return Ok(program);
    }
    Err(failed(format!("{} is not there; build it, or name it with {PROGRAM}", program.display())))
}

impl Own {
    /// Starts one on a port that stays the same.
    pub(crate) async fn start() -> Result<Self, Violation> {
        let port = polybus_brokers::free_port().map_err(failed)?;
        let own = Self {
            program: program()?,
            journal: tempfile::tempdir().map_err(failed)?,
            address: format!("127.0.0.1:{port}"),
            running: Mutex::default(),
        };
        own.run().await?;
        Ok(own)
    }

    pub(crate) fn url(&self) -> String {
        format!("zmq://{}", self.address)
    }

    /// SIGKILL, a while of nothing, and it is there again on its journal.
    pub(crate) async fn kill(&self, away: Duration) -> Result<(), Violation> {
        if let Some(mut running) = self.running.lock().await.take() {
            running.kill().await.map_err(failed)?;
        }
        tokio::time::sleep(away).await;
        self.run().await
    }

    /// Starts it, and returns when it accepts connections.
    async fn run(&self) -> Result<(), Violation> {
        let mut command = Command::new(&self.program);
        command.arg("broker").arg("--journal").arg(self.journal.path()).args(["--listen", &self.url()]);
        let mut child = command.stdin(Stdio::null()).kill_on_drop(true).spawn().map_err(failed)?;
        let began = Instant::now();
        while TcpStream::connect(&self.address).await.is_err() {
            if let Some(status) = child.try_wait().map_err(failed)? {
                return Err(failed(format!("it ended by itself: {status}")));
            }
            if began.elapsed() > WITHIN {
                return Err(failed("nobody listens"));
            }
            tokio::time::sleep(LOOK).await;
        }
        *self.running.lock().await = Some(child);
        Ok(())
    }
}
