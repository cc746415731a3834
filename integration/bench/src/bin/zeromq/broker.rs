//! The broker, in a process of its own: this program again.

use std::io::Write;
use std::process::Stdio;

use polybus::broker::{BrokerConfig, Place, start};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child as Running, Command};

use crate::work::Outcome;

/// Set to the URL of the bus behind the broker.
pub(crate) const BEHIND: &str = "POLYBUS_BENCH_BEHIND";

pub(crate) fn journal(folder: &TempDir) -> String {
    format!("embedded://{}", folder.path().display())
}

pub(crate) async fn serve(url: &str) -> Outcome<()> {
    let config = BrokerConfig::new(vec![Place::from_url("zmq://127.0.0.1:0")?]);
    let url = url.to_owned();
    let broker = tokio::spawn(async move { start(config, &url).await }).await??;
    let mut out = std::io::stdout();
    writeln!(out, "{}", broker.places()[0])?;
    out.flush()?;
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    Ok(())
}

/// A broker, which ends with this.
pub(crate) struct Child {
    pub(crate) url: String,
    _running: Running,
}

impl Child {
    pub(crate) async fn start(behind: &str) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.env(BEHIND, behind).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut running = command.spawn()?;
        let out = running.stdout.take().ok_or("it has no output")?;
        let url = BufReader::new(out).lines().next_line().await?.ok_or("it did not start")?;
        Ok(Self { url, _running: running })
    }
}
