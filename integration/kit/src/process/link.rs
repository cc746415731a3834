//! The kit's end of the line: who waits for which answer, and what arrives for which stream.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use polybus_contract::{Error, Health, Kind, Operation, Result, Status};
use polybus_lines::{ErrorLine, GapLine};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;

use super::lines::{Line, LineReader};
use super::wire::{EndLine, FromProcess, Op, OutcomeLine, RequestLine};

/// How long the process may take for an answer beyond the bound of what was asked.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// An event of a stream that nobody has taken yet.
#[derive(Debug)]
pub(super) enum Arrived {
    Item(Value),
    Gap(GapLine),
    End(EndLine),
    /// The process is gone.
    Gone,
}

/// What has arrived for one stream. One item is asked for at a time, so there is little.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub(super) arrived: VecDeque<Arrived>,
    pub(super) waker: Option<Waker>,
    /// An item was asked for and has not come.
    pub(super) pulled: bool,
}

#[derive(Debug, Default)]
struct Tables {
    waiting: HashMap<u64, oneshot::Sender<FromProcess>>,
    streams: HashMap<u64, Arc<Mutex<Inbox>>>,
    health: HashMap<u64, Health>,
    gone: bool,
    garbage: u64,
    last_garbage: String,
}

/// One connection to a process. It ends when the process does, and does not come back.
#[derive(Debug)]
pub(super) struct Link {
    /// Unbounded in type and bounded in truth: each caller waits for its answer, settles are bounded by credit, and a
    /// stream asks for one item at a time.
    outgoing: mpsc::UnboundedSender<Vec<u8>>,
    tables: Mutex<Tables>,
    numbers: AtomicU64,
    pub(super) health_changed: Notify,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    /// A link over these two streams; its tasks end with them.
    pub(super) fn over(
        input: impl AsyncRead + Send + Unpin + 'static,
        output: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Arc<Self> {
        let (outgoing, lines) = mpsc::unbounded_channel();
        let link = Arc::new(Self {
            outgoing,
            tables: Mutex::default(),
            numbers: AtomicU64::new(1),
            health_changed: Notify::new(),
        });
        tokio::spawn(write_lines(lines, output));
        tokio::spawn(read_lines(Arc::downgrade(&link), LineReader::new(BufReader::new(input))));
        link
    }

    /// A number that nothing else on this link has.
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Closes the other side's input, once what was said before is written: it ends in its own time.
    pub(super) fn hang_up(&self) {
        // If nobody writes any longer, it is closed.
        let _ = self.outgoing.send(Vec::new());
    }

    pub(super) fn is_gone(&self) -> bool {
        locked(&self.tables).gone
    }

    /// Sends a request whose answer nobody waits for.
    pub(super) fn tell(&self, handle: u64, op: Op) {
        let _ = self.send(handle, op, None);
    }

    fn send(&self, handle: u64, op: Op, waiting: Option<oneshot::Sender<FromProcess>>) -> Result<u64, ()> {
        let id = self.number();
        let mut line = serde_json::to_vec(&RequestLine { id, handle, op }).map_err(|_| ())?;
        line.push(b'\n');
        let mut tables = locked(&self.tables);
        if tables.gone {
            return Err(());
        }
        if let Some(waiting) = waiting {
            tables.waiting.insert(id, waiting);
        }
        self.outgoing.send(line).map(|()| id).map_err(|_| ())
    }

    /// Asks; the request is on its way when this returns. The answer is awaited for at most `within` and a grace.
    pub(super) fn ask<T: DeserializeOwned>(
        self: &Arc<Self>,
        handle: u64,
        op: Op,
        operation: Operation,
        within: Duration,
    ) -> impl Future<Output = Result<T>> + Send + 'static + use<T> {
        let (waiting, answer) = oneshot::channel();
        let sent = self.send(handle, op, Some(waiting));
        let link = self.clone();
        async move {
            let id = sent.map_err(|()| gone(operation, Status::Temporary))?;
            let waiting = Waiting { link: &link, id };
            let answer = timeout(within.saturating_add(GRACE), answer).await;
            drop(waiting);
            match answer {
                Ok(Ok(said)) => Self::read(said, operation),
                Ok(Err(_)) => Err(gone(operation, Status::Unknown)),
                Err(_) => Err(link.silent(operation)),
            }
        }
    }

    fn read<T: DeserializeOwned>(line: FromProcess, operation: Operation) -> Result<T> {
        if let Some(error) = line.error {
            return Err(error.error(operation));
        }
        serde_json::from_value(line.ok.unwrap_or_default())
            .map_err(|error| unreadable(operation, format!("its answer cannot be read: {error}")))
    }

    fn silent(&self, operation: Operation) -> Error {
        let tables = locked(&self.tables);
        let garbage = match tables.garbage {
            0 => String::new(),
            count => format!("; {count} lines of it were garbage, the last: {}", tables.last_garbage),
        };
        Error::new(Kind::DeadlineExceeded, operation)
            .with_status(Status::Unknown)
            .with_detail(format!("the process did not answer in time{garbage}"))
    }

    /// Opens the inbox of a new stream and says its number.
    pub(super) fn open_stream(&self) -> (u64, Arc<Mutex<Inbox>>) {
        let stream = self.number();
        let inbox = Arc::new(Mutex::new(Inbox::default()));
        let mut tables = locked(&self.tables);
        if tables.gone {
            locked(&inbox).arrived.push_back(Arrived::Gone);
        } else {
            tables.streams.insert(stream, inbox.clone());
        }
        (stream, inbox)
    }

    pub(super) fn close_stream(&self, stream: u64) {
        locked(&self.tables).streams.remove(&stream);
    }

    pub(super) fn health(&self, handle: u64) -> Option<Health> {
        locked(&self.tables).health.get(&handle).cloned()
    }

    pub(super) fn forget_health(&self, handle: u64) {
        locked(&self.tables).health.remove(&handle);
    }

    fn garbage(&self, line: &[u8], fault: &str) {
        let shown: String =
            String::from_utf8_lossy(line).chars().take(80).flat_map(char::escape_default).collect();
        let mut tables = locked(&self.tables);
        tables.garbage += 1;
        tables.last_garbage = format!("\"{shown}\" ({fault})");
    }

    /// How many lines of the process were not of the protocol.
    pub(super) fn garbage_count(&self) -> u64 {
        locked(&self.tables).garbage
    }

    fn line(&self, line: &[u8]) {
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        match serde_json::from_slice::<FromProcess>(line) {
            // A list would be read as the fields in their order, which no process means.
            Ok(told) if is_object(line) => self.told(told, line),
            Ok(_) => self.garbage(line, "not an object"),
            Err(error) => self.garbage(line, &error.to_string()),
        }
    }

    fn told(&self, told: FromProcess, line: &[u8]) {
        match told {
            FromProcess { id: Some(id), .. } => {
                let waiting = locked(&self.tables).waiting.remove(&id);
                // An answer that nobody waits for any longer is no fault.
                if let Some(waiting) = waiting {
                    let _ = waiting.send(told);
                }
            }
            FromProcess { stream: Some(stream), item: Some(item), .. } => {
                self.arrived(stream, Arrived::Item(item));
            }
            FromProcess { stream: Some(stream), gap: Some(gap), .. } => {
                self.arrived(stream, Arrived::Gap(gap));
            }
            FromProcess { stream: Some(stream), end: Some(end), .. } => {
                self.arrived(stream, Arrived::End(end));
            }
            FromProcess { handle: Some(handle), health: Some(health), .. } => {
                locked(&self.tables).health.insert(handle, health.into());
                self.health_changed.notify_waiters();
            }
            _ => self.garbage(line, "neither an answer nor an event"),
        }
    }

    fn arrived(&self, stream: u64, arrived: Arrived) {
        let inbox = locked(&self.tables).streams.get(&stream).cloned();
        match inbox {
            Some(inbox) => deliver(&inbox, arrived),
            None => self.give_back(&arrived),
        }
    }

    /// What came for a stream that is gone was seen by nobody.
    pub(super) fn give_back(&self, arrived: &Arrived) {
        let Arrived::Item(item) = arrived else { return };
        let Some(delivery) = item.get("delivery").and_then(Value::as_u64) else { return };
        self.tell(0, Op::Settle { delivery, outcome: OutcomeLine::Release });
        self.tell(0, Op::Forget { delivery });
    }

    /// The process is gone: whoever waits is told, and every stream ends.
    fn end(&self) {
        let (waiting, streams) = {
            let mut tables = locked(&self.tables);
            tables.gone = true;
            (std::mem::take(&mut tables.waiting), std::mem::take(&mut tables.streams))
        };
        drop(waiting);
        for inbox in streams.values() {
            deliver(inbox, Arrived::Gone);
        }
        self.health_changed.notify_waiters();
    }
}

/// Whether the line is an object, and not another JSON value.
pub(super) fn is_object(line: &[u8]) -> bool {
    line.trim_ascii_start().first() == Some(&b'{')
}

/// A question in the table, taken out when nobody waits for its answer.
struct Waiting<'a> {
    link: &'a Link,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        locked(&self.link.tables).waiting.remove(&self.id);
    }
}

fn deliver(inbox: &Mutex<Inbox>, arrived: Arrived) {
    let mut inbox = locked(inbox);
    inbox.pulled = false;
    inbox.arrived.push_back(arrived);
    let waker = inbox.waker.take();
    drop(inbox);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The process is gone, or was never there.
pub(super) fn gone(operation: Operation, status: Status) -> Error {
    Error::new(Kind::Disconnected, operation).with_status(status).with_detail("the process is gone")
}

/// The process said something that is not of the protocol.
pub(super) fn unreadable(operation: Operation, detail: String) -> Error {
    Error::new(Kind::Protocol, operation).with_status(Status::Unknown).with_detail(detail)
}

impl From<EndLine> for polybus_contract::End {
    fn from(line: EndLine) -> Self {
        match line {
            EndLine::Stopped => Self::Stopped,
            EndLine::Drained => Self::Drained,
            EndLine::Complete => Self::Complete,
            EndLine::Failed { error } => Self::Failed(ErrorLine::error(&error, Operation::Consume)),
        }
    }
}

async fn write_lines(mut lines: mpsc::UnboundedReceiver<Vec<u8>>, mut output: impl AsyncWrite + Unpin) {
    // An empty line is the wish to hang up.
    while let Some(line) = lines.recv().await.filter(|line| !line.is_empty()) {
        // Reading finds out that the process is gone, and tells everybody.
        if output.write_all(&line).await.is_err() || (lines.is_empty() && output.flush().await.is_err()) {
            return;
        }
    }
    let _ = output.shutdown().await;
}

async fn read_lines(link: std::sync::Weak<Link>, mut input: LineReader<BufReader<impl AsyncRead + Unpin>>) {
    loop {
        let next = input.next().await;
        let Some(link) = link.upgrade() else { return };
        match next {
            Ok(Some(Line::Whole(bytes))) => link.line(&bytes),
            Ok(Some(Line::TooLong)) => link.garbage(b"", "longer than a line may be"),
            Ok(None) | Err(_) => return link.end(),
        }
    }
}
