//! The process itself: starting it, and killing it as a fault.

use std::ffi::OsString;
use std::fmt;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use polybus_contract::{Error, Feature, Kind, Name, Operation, Result, Transport};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::process::{Child, Command};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::client::ProcessTransport;
use super::link::{Link, locked};
use crate::faults::{Fault, Faults, cannot};

/// How often it is looked whether anybody still uses the process.
const UNUSED: Duration = Duration::from_millis(100);

/// How long a process may take to end when it is stopped.
const STOP: Duration = Duration::from_secs(20);

/// A process that speaks the line protocol, and through it has a bus.
///
/// Nothing is started before a handle is first used. When the process has died, what was open on it ends with
/// [`Kind::Disconnected`], and the next use of a handle starts another one. It is killed when its last handle goes.
///
/// It is [`Faults`] too: it can be killed with SIGKILL, or stopped by the end of its input, and stays down until it is started
/// again; and it can be paused with SIGSTOP.
pub struct Process {
    command: Vec<OsString>,
    running: Mutex<Option<Running>>,
    handles: AtomicU64,
    /// Killed on purpose, and not to be started by accident.
    down: AtomicBool,
}

struct Running {
    link: Arc<Link>,
    kill: Arc<Notify>,
    ended: watch::Receiver<bool>,
    pid: Option<Pid>,
}

impl Process {
    /// A process that will be started with this command and these arguments.
    pub fn new(command: impl IntoIterator<Item = impl Into<OsString>>) -> Arc<Self> {
        Arc::new(Self::with(command.into_iter().map(Into::into).collect(), None))
    }

    /// A process that is there already, behind these two streams. It is not started again. Needs a Tokio runtime.
    pub fn over(
        input: impl AsyncRead + Send + Unpin + 'static,
        output: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Arc<Self> {
        let (_, ended) = watch::channel(false);
        let running = Running { link: Link::over(input, output), kill: Arc::default(), ended, pid: None };
        Arc::new(Self::with(Vec::new(), Some(running)))
    }

    fn with(command: Vec<OsString>, running: Option<Running>) -> Self {
        Self {
            command,
            running: Mutex::new(running),
            handles: AtomicU64::new(1),
            down: AtomicBool::new(false),
        }
    }

    /// A handle on its bus. No I/O.
    #[must_use]
    pub fn handle(self: &Arc<Self>) -> Arc<dyn Transport> {
        let number = self.handles.fetch_add(1, Ordering::Relaxed);
        Arc::new(ProcessTransport::new(self.clone(), number))
    }

    /// How many lines of the running process were not of the protocol.
    #[must_use]
    pub fn garbage_lines(&self) -> u64 {
        locked(&self.running).as_ref().map_or(0, |running| running.link.garbage_count())
    }

    /// The link to the running process, which is started if there is none.
    pub(super) fn link(&self) -> Result<Arc<Link>> {
        let mut running = locked(&self.running);
        if let Some(found) = running.as_ref().filter(|found| !found.link.is_gone() || self.command.is_empty())
        {
            return Ok(found.link.clone());
        }
        if self.down.load(Ordering::Acquire) {
            return Err(failed("the process was killed and not started again".to_owned()));
        }
        let started = self.start()?;
        let link = started.link.clone();
        *running = Some(started);
        Ok(link)
    }

    fn start(&self) -> Result<Running> {
        let [program, arguments @ ..] = &*self.command else {
            return Err(failed("no command was given".to_owned()));
        };
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(format!("{} cannot be started: {error}", program.to_string_lossy())))?;
        let (Some(input), Some(output)) = (child.stdout.take(), child.stdin.take()) else {
            return Err(failed("the process has no standard streams".to_owned()));
        };
        let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let (end, ended) = watch::channel(false);
        let (link, kill) = (Link::over(input, output), Arc::<Notify>::default());
        tokio::spawn(look_after(child, Arc::downgrade(&link), kill.clone(), end));
        Ok(Running { link, kill, ended, pid })
    }

    /// Ends the process by `how`, and waits until it has ended.
    async fn down(&self, how: impl FnOnce(&Running)) -> Result<()> {
        self.down.store(true, Ordering::Release);
        let found = locked(&self.running).as_ref().map(|running| {
            how(running);
            (running.ended.clone(), running.link.clone())
        });
        let Some((mut ended, link)) = found else { return Ok(()) };
        let waiting = async {
            // Its task is gone as well: then so is the process.
            let _ = ended.wait_for(|ended| *ended).await;
            // What it said last is still being read.
            while !link.is_gone() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(STOP, waiting).await.map_err(|_| failed(format!("the process did not end within {STOP:?}")))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let running = locked(&self.running);
        // While it is not reaped its number is its own.
        let pid = running.as_ref().filter(|running| !*running.ended.borrow()).and_then(|running| running.pid);
        let pid = pid.ok_or_else(|| failed("no process runs".to_owned()))?;
        kill_process(pid, signal).map_err(|error| failed(format!("the process cannot be signalled: {error}")))
    }
}

fn failed(detail: String) -> Error {
    Error::new(Kind::Disconnected, Operation::Connect).with_detail(detail)
}

/// Waits for the end of the process, so that it leaves nothing behind, and brings it about when it is asked to, or when
/// nobody uses the process any longer.
async fn look_after(
    mut child: Child,
    link: std::sync::Weak<Link>,
    kill: Arc<Notify>,
    end: watch::Sender<bool>,
) {
    let unused = async {
        while link.strong_count() > 0 {
            sleep(UNUSED).await;
        }
    };
    tokio::select! {
        _ = child.wait() => {}
        () = kill.notified() => drop(child.kill().await),
        () = unused => drop(child.kill().await),
    }
    end.send_replace(true);
}

#[async_trait]
impl Faults for Process {
    fn can(&self, fault: Fault) -> bool {
        let known = matches!(fault, Fault::Kill | Fault::Stop | Fault::Start | Fault::Pause | Fault::Resume);
        known && !self.command.is_empty()
    }

    async fn inject(&self, fault: Fault) -> Result<()> {
        match fault {
            Fault::Kill => self.down(|running| running.kill.notify_one()).await,
            Fault::Stop => self.down(|running| running.link.hang_up()).await,
            Fault::Pause => self.signal(Signal::STOP),
            Fault::Resume => self.signal(Signal::CONT),
            Fault::Start => {
                self.down.store(false, Ordering::Release);
                self.link().map(|_| ())
            }
            other => Err(cannot("a process", other)),
        }
    }

    async fn write_foreign(&self, queue: &Name, _bytes: &[u8]) -> Result<()> {
        Err(Error::unsupported(Feature::Queue, Operation::Publish, "a foreign publisher").with_target(queue))
    }

    fn takes_client(&self) -> bool {
        true
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("command", &self.command).finish_non_exhaustive()
    }
}
