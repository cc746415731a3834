//! A broker as programs of this machine.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process_group, test_kill_process_group, waitid,
};

use crate::Error;

/// How long an orderly stop may take before it becomes a kill.
const STOP: Duration = Duration::from_secs(30);

/// How long what a killed program has started may take to be gone.
const GROUP: Duration = Duration::from_secs(1);

/// A program and what it is given. Its output is appended to `log`.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) log: PathBuf,
}

impl Program {
    fn spawn(&self) -> Result<Child, Error> {
        let failed = || Error::io(format!("run {}", self.path.display()));
        let log = File::options().create(true).append(true).open(&self.log).map_err(failed())?;
        let errors = log.try_clone().map_err(failed())?;
        Command::new(&self.path)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            // The programs start others; all of them get what the first one gets.
            .process_group(0)
            .spawn()
            .map_err(failed())
    }
}

/// A server and the programs it needs to be there first. They end with this.
#[derive(Debug)]
pub(crate) struct Process {
    before: Vec<Program>,
    server: Program,
    running: Mutex<Vec<Child>>,
}

/// What [`Process::start`] runs.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) before: Vec<Program>,
    pub(crate) server: Program,
}

impl Process {
    pub(crate) fn start(Programs { before, server }: Programs) -> Result<Self, Error> {
        let process = Self { before, server, running: Mutex::default() };
        process.start_again()?;
        Ok(process)
    }

    pub(crate) const fn server(&self) -> &Program {
        &self.server
    }

    fn running(&self) -> MutexGuard<'_, Vec<Child>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn start_again(&self) -> Result<(), Error> {
        let mut running = self.running();
        end(&mut running);
        for program in self.before.iter().chain([&self.server]) {
            let child = program.spawn()?;
            running.push(child);
        }
        Ok(())
    }

    /// Whether the broker is running, as far as the system knows.
    pub(crate) fn is_running(&self) -> bool {
        self.running().last_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    pub(crate) fn kill(&self) {
        end(&mut self.running());
    }

    pub(crate) async fn stop(&self) {
        self.signal(Signal::TERM);
        let began = Instant::now();
        while self.is_running() && began.elapsed() < STOP {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.kill();
    }

    /// Sends a signal to the broker and everything it has started.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(child) = self.running().last() {
            signal_group(child, signal);
        }
    }

    /// Stops it where it is; it does nothing more when this returns, while the signal alone takes its time.
    pub(crate) async fn pause(&self) {
        self.signal(Signal::STOP);
        let began = Instant::now();
        while self.is_running() && !self.is_paused() && began.elapsed() < STOP {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn is_paused(&self) -> bool {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let pid = self.running().last().and_then(pid_of);
        pid.is_some_and(|pid| matches!(waitid(WaitId::Pid(pid), options), Ok(Some(_))))
    }

    /// The end of what the broker wrote.
    pub(crate) fn logs(&self) -> Result<String, Error> {
        read(&self.server.log)
    }
}

fn read(log: &Path) -> Result<String, Error> {
    let bytes = std::fs::read(log).map_err(Error::io(format!("read {}", log.display())))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn pid_of(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

fn signal_group(child: &Child, signal: Signal) {
    if let Some(group) = pid_of(child) {
        // It may have ended by itself.
        let _ = kill_process_group(group, signal);
    }
}

/// Kills all of them and waits for them: what is not waited for stays in the table of processes.
fn end(running: &mut Vec<Child>) {
    for mut child in running.drain(..).rev() {
        signal_group(&child, Signal::KILL);
        let _ = child.wait();
        wait_for_group(&child);
    }
}

/// The program may be a shell around the server, which ends a moment later and holds its port until then. Bounded,
/// since what nobody reaps stays in its group for good.
fn wait_for_group(child: &Child) {
    let began = Instant::now();
    while pid_of(child).is_some_and(|group| test_kill_process_group(group).is_ok()) && began.elapsed() < GROUP
    {
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
