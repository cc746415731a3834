//! A process as a transport.

use std::ffi::OsString;
use std::fmt;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use polybus_contract::{
    Admin, ConsumeOptions, Declared, Delivery, DrainReport, Error, Health, Incoming, Intake, Kind,
    Link as LinkState, Message, Name, Operation, Profile, PublishOptions, Receipt, Reply, ReplyOptions,
    ReplyTo, RequestOptions, Result, Start, SubscribeOptions, Target, Topology, Transport,
};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::process::Command;
use tokio::sync::OnceCell;

use super::PROTOCOL;
use super::figures::DrainLine;
use super::link::{GRACE, Link, locked, unreadable};
use super::options::ReceiptLine;
use super::stream::{Remote, read_delivery, read_message, read_reply};
use super::topology::DeclaredLine;
use super::wire::Op;
use super::words::{ProfileLine, millis, most};

/// A process that speaks the line protocol, and through it has a bus.
///
/// Nothing is started before a handle is first used. When the process has died, the handles on it answer
/// [`Kind::Disconnected`], and the next new handle starts another one.
pub struct Process {
    command: Vec<OsString>,
    link: Mutex<Option<Arc<Link>>>,
    handles: AtomicU64,
}

impl Process {
    /// A process that will be started with this command and these arguments.
    pub fn new(command: impl IntoIterator<Item = impl Into<OsString>>) -> Arc<Self> {
        let command = command.into_iter().map(Into::into).collect();
        Arc::new(Self { command, link: Mutex::default(), handles: AtomicU64::new(1) })
    }

    /// A process that is there already, behind these two streams. It is not started again. Needs a Tokio runtime.
    pub fn over(
        input: impl AsyncRead + Send + Unpin + 'static,
        output: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Arc<Self> {
        let link = Mutex::new(Some(Link::over(input, output)));
        Arc::new(Self { command: Vec::new(), link, handles: AtomicU64::new(1) })
    }

    /// A handle on its bus. No I/O.
    #[must_use]
    pub fn handle(self: &Arc<Self>) -> Arc<dyn Transport> {
        let number = self.handles.fetch_add(1, Ordering::Relaxed);
        Arc::new(ProcessTransport {
            process: self.clone(),
            number,
            opened: OnceCell::new(),
            profile: Mutex::new(most()),
        })
    }

    /// How many lines of the running process were not of the protocol.
    #[must_use]
    pub fn garbage_lines(&self) -> u64 {
        locked(&self.link).as_ref().map_or(0, |link| link.garbage_count())
    }

    fn link(&self) -> Result<Arc<Link>> {
        let mut link = locked(&self.link);
        if let Some(link) = link.as_ref().filter(|link| !link.is_gone() || self.command.is_empty()) {
            return Ok(link.clone());
        }
        let started = self.start()?;
        *link = Some(started.clone());
        Ok(started)
    }

    fn start(&self) -> Result<Arc<Link>> {
        let failed = |detail: String| Error::new(Kind::Disconnected, Operation::Connect).with_detail(detail);
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
        let link = Link::over(input, output);
        let alive = Arc::downgrade(&link);
        // Its end is waited for, so that it leaves nothing behind; it goes when its last handle does.
        tokio::spawn(async move {
            let unused = async {
                while alive.strong_count() > 0 {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            tokio::select! {
                _ = child.wait() => {}
                () = unused => drop(child.kill().await),
            }
        });
        Ok(link)
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("command", &self.command).finish_non_exhaustive()
    }
}

/// A handle on the bus of a [`Process`].
#[derive(Debug)]
pub struct ProcessTransport {
    process: Arc<Process>,
    pub(super) number: u64,
    opened: OnceCell<Arc<Link>>,
    profile: Mutex<Profile>,
}

impl ProcessTransport {
    /// The link, with this handle open on it.
    pub(super) async fn open(&self, operation: Operation) -> Result<&Arc<Link>> {
        let open = async {
            let link = self.process.link()?;
            let said: ProfileLine =
                link.ask(self.number, Op::Open { protocol: PROTOCOL }, operation, Duration::ZERO).await?;
            self.learn(&said, operation)?;
            Ok(link)
        };
        self.opened.get_or_try_init(|| open).await
    }

    fn learn(&self, said: &ProfileLine, operation: Operation) -> Result<()> {
        let profile = said.profile().map_err(|fault| unreadable(operation, fault))?;
        *locked(&self.profile) = profile;
        Ok(())
    }

    async fn receipt(&self, op: Op, operation: Operation, within: Duration) -> Result<Receipt> {
        let said: ReceiptLine = self.open(operation).await?.ask(self.number, op, operation, within).await?;
        said.receipt().map_err(|fault| unreadable(operation, fault))
    }
}

const fn start_bound(start: Start) -> Duration {
    match start {
        Start::Live(within) => within,
        Start::Eventually => Duration::ZERO,
    }
}

#[async_trait]
impl Transport for ProcessTransport {
    fn profile(&self) -> Profile {
        locked(&self.profile).clone()
    }

    async fn connect(&self, within: Duration) -> Result<()> {
        let link = self.open(Operation::Connect).await?;
        let connect = Op::Connect { within_ms: millis(within) };
        let said: ProfileLine = link.ask(self.number, connect, Operation::Connect, within).await?;
        self.learn(&said, Operation::Connect)
    }

    async fn declare(&self, topology: &Topology) -> Result<Declared> {
        let link = self.open(Operation::Declare).await?;
        let declare = Op::Declare(topology.into());
        let said: DeclaredLine = link.ask(self.number, declare, Operation::Declare, GRACE).await?;
        Ok(said.into())
    }

    async fn publish(&self, to: &Target, message: Message, options: PublishOptions) -> Result<Receipt> {
        let within = options.within;
        let id = message.id().cloned();
        let publish = Op::Publish { to: to.into(), message: (&message).into(), options: (&options).into() };
        let receipt = self.receipt(publish, Operation::Publish, within).await;
        receipt.map_err(|error| match (error.message_id(), id) {
            (None, Some(id)) => error.with_message_id(id),
            _ => error,
        })
    }

    async fn consume(&self, from: &Intake, options: ConsumeOptions) -> Result<Incoming<Delivery>> {
        let link = self.open(Operation::Consume).await?;
        let within = start_bound(options.start);
        let inbox = link.open_stream();
        let consume = Op::Consume { stream: inbox.0, from: from.into(), options: options.into() };
        // Made first: dropped, it closes the stream on the other side too.
        let remote = Remote::new(link.clone(), self.number, inbox, read_delivery, Operation::Consume);
        link.ask::<Value>(self.number, consume, Operation::Consume, within).await?;
        Ok(Incoming::new(remote))
    }

    async fn subscribe(&self, topic: &Name, options: SubscribeOptions) -> Result<Incoming<Message>> {
        let link = self.open(Operation::Subscribe).await?;
        let within = start_bound(options.start);
        let inbox = link.open_stream();
        let subscribe = Op::Subscribe { stream: inbox.0, topic: topic.to_string(), options: options.into() };
        let remote = Remote::new(link.clone(), self.number, inbox, read_message, Operation::Subscribe);
        link.ask::<Value>(self.number, subscribe, Operation::Subscribe, within).await?;
        Ok(Incoming::new(remote))
    }

    async fn request(
        &self,
        to: &Target,
        message: Message,
        options: RequestOptions,
    ) -> Result<Incoming<Reply>> {
        let link = self.open(Operation::Request).await?;
        let inbox = link.open_stream();
        let request = Op::Request {
            stream: inbox.0,
            to: to.into(),
            message: (&message).into(),
            options: (&options).into(),
        };
        let remote = Remote::new(link.clone(), self.number, inbox, read_reply, Operation::Request);
        link.ask::<Value>(self.number, request, Operation::Request, GRACE).await?;
        Ok(Incoming::new(remote))
    }

    async fn reply(&self, to: &ReplyTo, message: Message, options: ReplyOptions) -> Result<Receipt> {
        let within = options.within;
        let reply = Op::Reply { to: to.into(), message: (&message).into(), options: (&options).into() };
        self.receipt(reply, Operation::Reply, within).await
    }

    fn health(&self) -> Health {
        let Some(link) = self.opened.get() else { return Health::default() };
        let health = link.health(self.number).unwrap_or_default();
        if link.is_gone() {
            let down = LinkState::Down { since: Duration::ZERO, reason: "the process is gone".to_owned() };
            return Health { link: down, ..health };
        }
        health
    }

    async fn drain(&self, within: Duration) -> DrainReport {
        let drain = async {
            let link = self.open(Operation::Drain).await?;
            let drain = Op::Drain { within_ms: millis(within) };
            link.ask::<DrainLine>(self.number, drain, Operation::Drain, within).await
        };
        // Nobody saw it end well.
        drain.await.map_or(DrainReport { unflushed: 1, ..DrainReport::default() }, DrainReport::from)
    }

    fn admin(&self) -> Option<&dyn Admin> {
        Some(self)
    }

    async fn health_changed(&self) {
        match self.opened.get() {
            Some(link) => link.health_changed.notified().await,
            None => std::future::pending().await,
        }
    }
}

impl Drop for ProcessTransport {
    fn drop(&mut self) {
        if let Some(link) = self.opened.get() {
            link.tell(self.number, Op::Leave);
            link.forget_health(self.number);
        }
    }
}
