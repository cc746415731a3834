//! One server, in a container or as a local program.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::engine::Container;
use crate::layout::Layout;
use crate::process::{Process, Program};
use crate::start::write_files;
use crate::tenant::Tenant;
use crate::tls::Certificates;
use crate::{Error, Kind, probe};

/// Lines of a log that an error shows.
const LOG_LINES: usize = 30;

pub(crate) enum Home {
    Container(Container),
    Local(Process),
}

pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) port: u16,
    pub(crate) tls_port: u16,
    pub(crate) management: Option<u16>,
    pub(crate) version: String,
    pub(crate) layout: Layout,
    pub(crate) within: Duration,
    pub(crate) certificates: Option<Certificates>,
    // Before the folder: what runs ends before its files go.
    pub(crate) home: Home,
    pub(crate) folder: TempDir,
}

impl Node {
    /// Itself, when it accepts connections.
    pub(crate) async fn up(mut self) -> Result<Self, Error> {
        self.version = self.ready(self.within).await?;
        if self.kind.accepts(&self.version) {
            return Ok(self);
        }
        Err(Error::Setting(format!("{} was asked for, and the server is {}", self.kind, self.version)))
    }

    pub(crate) const fn is_container(&self) -> bool {
        matches!(self.home, Home::Container(_))
    }

    /// A file of the configuration as the server sees it.
    pub(crate) fn seen(&self, file: &str) -> String {
        format!("{}/{file}", self.layout.folder)
    }

    pub(crate) fn write_files(&self, tenants: &[Tenant], full: bool) -> Result<(), Error> {
        write_files(self.kind, self.folder.path(), &self.layout, tenants, full)
    }

    /// Waits until it accepts connections, and says its version.
    pub(crate) async fn ready(&self, within: Duration) -> Result<String, Error> {
        let began = Instant::now();
        let mut pause = Duration::from_millis(10);
        loop {
            if let Some(version) = probe::version(self.kind.product(), self.port).await {
                return Ok(version);
            }
            let ended = !self.is_running().await;
            if ended || began.elapsed() > within {
                return Err(self.not_ready(ended, within).await);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(200));
        }
    }

    pub(crate) async fn not_ready(&self, ended: bool, waited: Duration) -> Error {
        let logs = self.logs().await.unwrap_or_else(|error| error.to_string());
        let lines: Vec<_> = logs.lines().collect();
        let log = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
        let kind = self.kind;
        if ended { Error::Ended { kind, log } } else { Error::NotReady { kind, waited, log } }
    }

    async fn is_running(&self) -> bool {
        match &self.home {
            Home::Container(container) => container.is_running().await,
            Home::Local(process) => process.is_running(),
        }
    }

    pub(crate) async fn kill(&self) -> Result<(), Error> {
        match &self.home {
            Home::Container(container) => container.kill().await,
            Home::Local(process) => {
                process.kill();
                Ok(())
            }
        }
    }

    pub(crate) async fn stop(&self) -> Result<(), Error> {
        match &self.home {
            Home::Container(container) => container.stop().await,
            Home::Local(process) => {
                process.stop().await;
                Ok(())
            }
        }
    }

    pub(crate) async fn restart(&self) -> Result<(), Error> {
        if self.is_running().await {
            self.stop().await?;
        }
        match &self.home {
            Home::Container(container) => container.start_again().await?,
            Home::Local(process) => process.start_again()?,
        }
        self.ready(self.within).await.map(|_| ())
    }

    pub(crate) async fn pause(&self) -> Result<(), Error> {
        match &self.home {
            Home::Container(container) => container.pause().await,
            Home::Local(process) => {
                process.pause().await;
                Ok(())
            }
        }
    }

    pub(crate) async fn resume(&self) -> Result<(), Error> {
        match &self.home {
            Home::Container(container) => container.resume().await,
            Home::Local(process) => {
                process.signal(Signal::CONT);
                Ok(())
            }
        }
    }

    /// Makes it read its configuration again.
    pub(crate) async fn reload(&self) -> Result<(), Error> {
        match &self.home {
            Home::Container(container) => container.hang_up().await,
            Home::Local(process) => {
                process.signal(Signal::HUP);
                Ok(())
            }
        }
    }

    pub(crate) async fn logs(&self) -> Result<String, Error> {
        match &self.home {
            Home::Container(container) => container.logs().await,
            Home::Local(process) => process.logs(),
        }
    }

    /// Runs `rabbitmqctl`.
    pub(crate) async fn command(&self, arguments: &[&str]) -> Result<String, Error> {
        let (output, good) = match &self.home {
            Home::Container(container) => {
                let command = ["rabbitmqctl"].iter().chain(arguments).map(|word| (*word).to_owned());
                container.run(command.collect()).await?
            }
            Home::Local(process) => run(process.server(), arguments).await?,
        };
        let command = format!("rabbitmqctl {}", arguments.first().unwrap_or(&""));
        if good { Ok(output) } else { Err(Error::Command { command, output }) }
    }
}

/// What lies beside the server, as `rabbitmqctl`, with its environment.
async fn run(server: &Program, arguments: &[&str]) -> Result<(String, bool), Error> {
    let output = tokio::process::Command::new(server.path.with_file_name("rabbitmqctl"))
        .args(arguments)
        .envs(server.environment.iter().map(|(name, value)| (name, value)))
        .kill_on_drop(true)
        .output()
        .await
        .map_err(Error::io("run rabbitmqctl"))?;
    let text = [output.stdout, output.stderr].concat();
    Ok((String::from_utf8_lossy(&text).into_owned(), output.status.success()))
}
