//! The process of a broker: starting it, and doing harm to it.

use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use libtest_mimic::Failed;
use polybus_contract::{Error, Kind, Name, Operation, Result};
use polybus_kit::{Fault, Faults};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child as Running, Command};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout;

use crate::serve::HOW;
use crate::{Under, clock};

pub(crate) const SECRET: &str = "kit-0123456789abcdef";
pub(crate) const WRONG_SECRET: &str = "wrong-0123456789abc";

const WITHIN: Duration = Duration::from_secs(20);

/// A broker that can be killed and started again, at the same place.
pub(crate) struct Child {
    under: Under,
    folder: TempDir,
    place: Mutex<String>,
    running: AsyncMutex<Option<Running>>,
}

fn failed(what: impl std::fmt::Display) -> Error {
    Error::new(Kind::Disconnected, Operation::Connect).with_detail(format!("the broker of the kit: {what}"))
}

impl Child {
    pub(crate) async fn start(under: Under) -> std::result::Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        let place = if under.ipc {
            format!("zmq+ipc://{}/broker.sock", folder.path().display())
        } else {
            "zmq://127.0.0.1:0".to_owned()
        };
        let child = Self { under, folder, place: Mutex::new(place), running: AsyncMutex::default() };
        child.run().await?;
        Ok(child)
    }

    async fn run(&self) -> Result<()> {
        let mut running = self.running.lock().await;
        let place = self.place();
        let bus = if self.under.journal {
            format!("embedded://{}/journal?max_message=1048576", self.folder.path().display())
        } else {
            "embedded:kit?max_message=1048576".to_owned()
        };
        let secret = if self.under.journal { format!(" {SECRET}") } else { String::new() };
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(program);
        if self.under.clock {
            clock::load(&mut command, self.folder.path()).map_err(failed)?;
        }
        command.env(HOW, format!("{place} {bus}{secret}")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().map_err(failed)?;
        let mut lines =
            BufReader::new(child.stdout.take().ok_or_else(|| failed("it has no output"))?).lines();
        let line = timeout(WITHIN, lines.next_line()).await.map_err(failed)?.map_err(failed)?;
        *self.place.lock().map_err(failed)? = line.ok_or_else(|| failed("it did not start"))?;
        *running = Some(child);
        Ok(())
    }

    fn place(&self) -> String {
        self.place.lock().map(|place| place.clone()).unwrap_or_default()
    }

    /// Host and port.
    pub(crate) fn address(&self) -> String {
        self.place().trim_start_matches("zmq://").to_owned()
    }

    pub(crate) fn url(&self, secret: &str) -> String {
        if self.under.ipc { self.place() } else { self.url_at(&self.address(), secret) }
    }

    pub(crate) fn url_at(&self, address: &str, secret: &str) -> String {
        let login = if self.under.journal { format!("kit:{secret}@") } else { String::new() };
        format!("zmq://{login}{address}?heartbeat=1.5")
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        let running = self.running.lock().await;
        let pid =
            running.as_ref().and_then(Running::id).and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        kill_process(pid.ok_or_else(|| failed("it does not run"))?, signal).map_err(failed)
    }

    async fn end(&self, kill: bool) -> Result<()> {
        let mut child = self.running.lock().await.take().ok_or_else(|| failed("it does not run"))?;
        if kill {
            child.start_kill().map_err(failed)?;
        }
        drop(child.stdin.take());
        timeout(WITHIN, child.wait()).await.map_err(failed)?.map_err(failed).map(|_| ())
    }
}

#[async_trait]
impl Faults for Child {
    fn can(&self, fault: Fault) -> bool {
        match fault {
            Fault::Kill | Fault::Stop | Fault::Start | Fault::Pause | Fault::Resume => true,
            Fault::Jump | Fault::JumpBack => self.under.clock,
            _ => false,
        }
    }

    async fn inject(&self, fault: Fault) -> Result<()> {
        match fault {
            Fault::Kill => self.end(true).await,
            Fault::Stop => self.end(false).await,
            Fault::Start => self.run().await,
            Fault::Pause => self.signal(Signal::STOP).await,
            Fault::Resume => self.signal(Signal::CONT).await,
            Fault::Jump => clock::turn(self.folder.path(), true).map_err(failed),
            Fault::JumpBack => clock::turn(self.folder.path(), false).map_err(failed),
            other => Err(failed(format!("it cannot do this: {other}"))),
        }
    }

    async fn write_foreign(&self, _queue: &Name, _bytes: &[u8]) -> Result<()> {
        Err(failed("nothing foreign can be written"))
    }
}
