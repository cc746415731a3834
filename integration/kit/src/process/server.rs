//! The process's end of the line: any transport, served.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use polybus_contract::{
    Admin, Arrival, Delivery, End, Error, Feature, Incoming, Keep, Kind, Lease, LeaseTerms, Message,
    Operation, Outcome, Reason, Reply, Result, Transport,
};
use polybus_lines::{
    DeclaredLine, ErrorLine, InfoLine, IntakeLine, ProfileLine, RedrivenLine, browse_of, millis, name,
    redrive_of,
};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::PROTOCOL;
use super::figures::{BrowsedLine, DrainLine, HealthLine, PageLine};
use super::lines::{Line, LineReader};
use super::link::{is_object, locked};
use super::message::{MessageLine, ReplyLine, body_of};
use super::options::ReceiptLine;
use super::wire::{DeliveryLine, EndLine, FromProcess, Op, OutcomeLine, RequestLine};

/// How often the health of each handle is looked at; it is told when it has changed.
const HEALTH: Duration = Duration::from_millis(50);

/// Lines that wait for the kit to read them; who has more to say waits.
const OUTGOING: usize = 1024;

/// Serves a bus over two streams, usually standard input and output, until the input ends.
///
/// `open` makes a handle on the bus for each connection that the kit wants; all on the same bus.
///
/// # Errors
/// What the streams say. A line that is not of the protocol is answered with an error, and the next one is read.
pub async fn serve_process(
    open: impl Fn() -> Arc<dyn Transport> + Send + Sync + 'static,
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Send + Unpin + 'static,
) -> io::Result<()> {
    let (outgoing, lines) = mpsc::channel(OUTGOING);
    let mut writer = tokio::spawn(write_lines(lines, output));
    let server = Arc::new(Server {
        open: Box::new(open),
        outgoing,
        handles: Mutex::default(),
        told: Mutex::default(),
        streams: Mutex::default(),
        deliveries: Mutex::default(),
        numbers: AtomicU64::new(1),
    });
    let _ending = Ending(server.clone());
    let mut input = LineReader::new(BufReader::new(input));
    // Dropped with this future, and everything under way with it.
    let mut tasks = JoinSet::new();
    tasks.spawn(server.clone().watch_health());
    loop {
        let next = tokio::select! {
            next = input.next() => next?,
            ended = &mut writer => return ended.unwrap_or_else(|error| Err(io::Error::other(error))),
            Some(_) = tasks.join_next() => continue,
        };
        match next {
            Some(Line::Whole(line)) => server.line(&line, &mut tasks).await,
            Some(Line::TooLong) => server.refuse(None, "the line is too long".to_owned()).await,
            None => return Ok(()),
        }
    }
}

async fn write_lines(
    mut lines: mpsc::Receiver<FromProcess>,
    mut output: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    while let Some(line) = lines.recv().await {
        let mut bytes = serde_json::to_vec(&line)?;
        bytes.push(b'\n');
        output.write_all(&bytes).await?;
        if lines.is_empty() {
            output.flush().await?;
        }
    }
    output.shutdown().await
}

/// A delivery in the kit's hands: the lease stays for a renewal after the settle, which must be refused.
struct Held {
    delivery: Option<Delivery>,
    lease: Lease,
}

/// What the kit wants of a stream.
#[derive(Debug)]
enum Want {
    Item,
    Credit(u32),
    Stop,
}

struct Server {
    open: Box<dyn Fn() -> Arc<dyn Transport> + Send + Sync>,
    outgoing: mpsc::Sender<FromProcess>,
    handles: Mutex<HashMap<u64, Arc<dyn Transport>>>,
    /// The health of each handle as it was last told.
    told: Mutex<HashMap<u64, HealthLine>>,
    /// The kit asks each stream for one item at a time, and it is the kit that bounds what else it wants.
    streams: Mutex<HashMap<u64, mpsc::UnboundedSender<Want>>>,
    deliveries: Mutex<HashMap<u64, Held>>,
    numbers: AtomicU64,
}

/// When the serving ends, everything that was open does.
struct Ending(Arc<Server>);

impl Drop for Ending {
    fn drop(&mut self) {
        // A stream's task ends when nobody can want anything of it; it holds the server, so this must not wait for it.
        locked(&self.0.streams).clear();
        let deliveries = std::mem::take(&mut *locked(&self.0.deliveries));
        let handles = std::mem::take(&mut *locked(&self.0.handles));
        drop((deliveries, handles));
    }
}

/// What an operation answers.
type Answer = Result<Value>;

fn invalid(operation: Operation, fault: String) -> Error {
    Error::new(Kind::Protocol, operation).with_detail(fault)
}

fn value(line: impl Serialize) -> Answer {
    serde_json::to_value(line).map_err(|error| invalid(Operation::Handle, error.to_string()))
}

impl Server {
    async fn say(&self, line: FromProcess) {
        // A kit that has gone reads nothing, and the input ends as well.
        let _ = self.outgoing.send(line).await;
    }

    async fn refuse(&self, id: Option<u64>, fault: String) {
        let error = ErrorLine::from(&invalid(Operation::Decode, fault));
        self.say(FromProcess { id: Some(id.unwrap_or(0)), error: Some(error), ..FromProcess::default() })
            .await;
    }

    async fn line(self: &Arc<Self>, line: &[u8], tasks: &mut JoinSet<()>) {
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        match serde_json::from_slice::<RequestLine>(line) {
            Ok(request) if is_object(line) => self.begin(request, tasks).await,
            Ok(_) => self.refuse(None, "not an object".to_owned()).await,
            Err(error) => {
                let id = serde_json::from_slice::<Value>(line).ok().and_then(|line| line.get("id")?.as_u64());
                self.refuse(id, format!("not a request: {error}")).await;
            }
        }
    }

    /// Begins each request in the order of the lines, and lets those that wait not hold up the next.
    async fn begin(self: &Arc<Self>, request: RequestLine, tasks: &mut JoinSet<()>) {
        let RequestLine { id, handle, op } = request;
        let server = self.clone();
        // Whoever has the answer may look at the health at once.
        let changes_health = matches!(op, Op::Connect { .. } | Op::Request { .. } | Op::Drain { .. });
        let mut work = Box::pin(async move {
            let answer = server.perform(handle, op).await;
            if changes_health {
                server.tell_health(handle).await;
            }
            answer
        });
        match std::future::poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await {
            Poll::Ready(answer) => self.answer(id, answer).await,
            Poll::Pending => {
                let server = self.clone();
                tasks.spawn(async move {
                    let answer = work.await;
                    server.answer(id, answer).await;
                });
            }
        }
    }

    async fn answer(&self, id: u64, answer: Answer) {
        let line = match answer {
            Ok(ok) => FromProcess { id: Some(id), ok: Some(ok), ..FromProcess::default() },
            Err(error) => {
                FromProcess { id: Some(id), error: Some((&error).into()), ..FromProcess::default() }
            }
        };
        self.say(line).await;
    }

    fn handle(&self, handle: u64, operation: Operation) -> Result<Arc<dyn Transport>> {
        let found = locked(&self.handles).get(&handle).cloned();
        found.ok_or_else(|| invalid(operation, format!("handle {handle} is not open")))
    }

    async fn perform(self: &Arc<Self>, handle: u64, op: Op) -> Answer {
        match op {
            Op::Open { protocol } => self.open(handle, protocol),
            Op::Leave => {
                locked(&self.told).remove(&handle);
                let left = locked(&self.handles).remove(&handle);
                Ok(json!(left.is_some()))
            }
            Op::Pull { stream } => Ok(self.want(stream, Want::Item)),
            Op::Credit { stream, credit } => Ok(self.want(stream, Want::Credit(credit))),
            Op::Stop { stream } => Ok(self.want(stream, Want::Stop)),
            Op::Close { stream } => Ok(json!(locked(&self.streams).remove(&stream).is_some())),
            Op::Settle { delivery, outcome } => self.settle(delivery, outcome).await,
            Op::Renew { delivery } => self.renew(delivery).await,
            Op::Forget { delivery } => {
                let held = locked(&self.deliveries).remove(&delivery);
                Ok(json!(held.is_some()))
            }
            other => self.call(handle, other).await,
        }
    }

    fn open(&self, handle: u64, protocol: u32) -> Answer {
        if protocol != PROTOCOL {
            let fault = format!("protocol {protocol} is not spoken here, {PROTOCOL} is");
            return Err(invalid(Operation::Connect, fault));
        }
        let transport = (self.open)();
        let profile = ProfileLine::from(&transport.profile());
        locked(&self.handles).insert(handle, transport);
        value(profile)
    }

    fn want(&self, stream: u64, want: Want) -> Value {
        let asked = locked(&self.streams).get(&stream).map(|wants| wants.send(want).is_ok());
        json!(asked.unwrap_or(false))
    }

    async fn settle(&self, delivery: u64, outcome: OutcomeLine) -> Answer {
        let outcome = outcome_of(outcome).map_err(|fault| invalid(Operation::Settle, fault))?;
        let taken = locked(&self.deliveries).get_mut(&delivery).and_then(|held| held.delivery.take());
        match taken {
            Some(delivery) => delivery.settle(outcome).await.map(|()| Value::Null),
            None => Err(invalid(Operation::Settle, format!("delivery {delivery} is not in hand"))),
        }
    }

    async fn renew(&self, delivery: u64) -> Answer {
        let lease = locked(&self.deliveries).get(&delivery).map(|held| held.lease.clone());
        match lease {
            Some(lease) => Ok(json!(lease.renew().await?.map(millis))),
            None => Err(invalid(Operation::Renew, format!("delivery {delivery} is not in hand"))),
        }
    }

    async fn call(self: &Arc<Self>, handle: u64, op: Op) -> Answer {
        let bad = |operation| move |fault| invalid(operation, fault);
        match op {
            Op::Connect { within_ms } => {
                let bus = self.handle(handle, Operation::Connect)?;
                bus.connect(Duration::from_millis(within_ms)).await?;
                value(ProfileLine::from(&bus.profile()))
            }
            Op::Declare(topology) => {
                let topology = topology.topology().map_err(bad(Operation::Declare))?;
                let declared = self.handle(handle, Operation::Declare)?.declare(&topology).await?;
                value(DeclaredLine::from(declared))
            }
            Op::Publish { to, message, options } => {
                let bad = bad(Operation::Publish);
                let (to, message) = (to.target().map_err(bad)?, message.message().map_err(bad)?);
                let options = options.options().map_err(bad)?;
                let receipt = self.handle(handle, Operation::Publish)?.publish(&to, message, options).await?;
                value(ReceiptLine::from(&receipt))
            }
            Op::Reply { to, message, options } => {
                let message = message.message().map_err(bad(Operation::Reply))?;
                let bus = self.handle(handle, Operation::Reply)?;
                let receipt = bus.reply(&to.reply_to(), message, options.options()).await?;
                value(ReceiptLine::from(&receipt))
            }
            Op::Drain { within_ms } => {
                let bus = self.handle(handle, Operation::Drain)?;
                value(DrainLine::from(bus.drain(Duration::from_millis(within_ms)).await))
            }
            other => self.open_stream(handle, other).await,
        }
    }

    async fn open_stream(self: &Arc<Self>, handle: u64, op: Op) -> Answer {
        let bad = |operation| move |fault| invalid(operation, fault);
        match op {
            Op::Consume { stream, from, options } => {
                let from = from.intake().map_err(bad(Operation::Consume))?;
                let incoming =
                    self.handle(handle, Operation::Consume)?.consume(&from, options.options()).await?;
                Ok(self.serve(stream, incoming, Self::delivery_line))
            }
            Op::Subscribe { stream, topic, options } => {
                let topic = name(&topic).map_err(bad(Operation::Subscribe))?;
                let bus = self.handle(handle, Operation::Subscribe)?;
                let incoming = bus.subscribe(&topic, options.options()).await?;
                Ok(self.serve(stream, incoming, |_, message: Message| value(MessageLine::from(&message))))
            }
            Op::Request { stream, to, message, options } => {
                let bad = bad(Operation::Request);
                let (to, message) = (to.target().map_err(bad)?, message.message().map_err(bad)?);
                let bus = self.handle(handle, Operation::Request)?;
                let incoming = bus.request(&to, message, options.options()).await?;
                Ok(self.serve(stream, incoming, |_, reply: Reply| value(ReplyLine::from(&reply))))
            }
            other => {
                let bus = self.handle(handle, Operation::Inspect)?;
                let Some(desk) = bus.admin() else {
                    return Err(Error::unsupported(
                        Feature::Inspect,
                        Operation::Inspect,
                        "a bus without a desk",
                    ));
                };
                at_desk(desk, other).await
            }
        }
    }

    fn delivery_line(server: &Self, delivery: Delivery) -> Answer {
        let number = server.numbers.fetch_add(1, Ordering::Relaxed);
        let lease_ms = match delivery.terms() {
            LeaseTerms::Timed(lease) => Some(millis(lease)),
            LeaseTerms::Connection => None,
        };
        let line = DeliveryLine {
            delivery: number,
            queue: delivery.queue().to_string(),
            attempt: delivery.attempt(),
            lease_ms,
            message: delivery.message().into(),
        };
        let held = Held { lease: delivery.lease(), delivery: Some(delivery) };
        locked(&server.deliveries).insert(number, held);
        value(line)
    }

    fn serve<T: Send + 'static>(
        self: &Arc<Self>,
        stream: u64,
        incoming: Incoming<T>,
        line: fn(&Self, T) -> Answer,
    ) -> Value {
        let (wants, wanted) = mpsc::unbounded_channel();
        locked(&self.streams).insert(stream, wants);
        tokio::spawn(self.clone().forward(stream, incoming, wanted, line));
        Value::Null
    }

    /// Forwards one arrival for each that the kit asks for, until the end or until the kit closes the stream.
    async fn forward<T: Send + 'static>(
        self: Arc<Self>,
        stream: u64,
        mut incoming: Incoming<T>,
        mut wanted: mpsc::UnboundedReceiver<Want>,
        line: fn(&Self, T) -> Answer,
    ) {
        let mut owed = 0_u64;
        loop {
            let arrival = tokio::select! {
                biased;
                want = wanted.recv() => match want {
                    None => return,
                    Some(Want::Item) => { owed += 1; continue }
                    // The kit does not wait for the answer; a bus that refuses shows by what it hands out.
                    Some(Want::Credit(credit)) => { let _ = incoming.set_credit(credit); continue }
                    Some(Want::Stop) => { incoming.stop(); continue }
                },
                arrival = incoming.next(), if owed > 0 => arrival,
            };
            owed -= 1;
            let mut told = FromProcess { stream: Some(stream), ..FromProcess::default() };
            match arrival {
                Some(Arrival::Item(item)) => match line(&self, item) {
                    Ok(item) => told.item = Some(item),
                    Err(error) => told.end = Some(EndLine::Failed { error: (&error).into() }),
                },
                Some(Arrival::Gap(gap)) => told.gap = Some(gap.into()),
                None => told.end = Some(end_line(incoming.end())),
            }
            let ended = told.end.is_some();
            self.say(told).await;
            if ended {
                locked(&self.streams).remove(&stream);
                return;
            }
        }
    }

    async fn watch_health(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(HEALTH);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let handles: Vec<_> = locked(&self.handles).keys().copied().collect();
            for handle in handles {
                self.tell_health(handle).await;
            }
        }
    }

    /// Tells the health of a handle, if it is not what was told last.
    async fn tell_health(&self, handle: u64) {
        let Some(bus) = locked(&self.handles).get(&handle).cloned() else { return };
        let health = HealthLine::from(&bus.health());
        let before = locked(&self.told).insert(handle, health.clone());
        if before.as_ref() != Some(&health) {
            self.say(FromProcess { handle: Some(handle), health: Some(health), ..FromProcess::default() })
                .await;
        }
    }
}

fn end_line(end: Option<&End>) -> EndLine {
    match end {
        Some(End::Drained) => EndLine::Drained,
        Some(End::Complete) => EndLine::Complete,
        Some(End::Failed(error)) => EndLine::Failed { error: error.into() },
        _ => EndLine::Stopped,
    }
}

fn outcome_of(line: OutcomeLine) -> Result<Outcome, String> {
    Ok(match line {
        OutcomeLine::Ack => Outcome::Ack,
        OutcomeLine::Retry { after_ms, error } => {
            Outcome::Retry { after: Duration::from_millis(after_ms), error }
        }
        OutcomeLine::Reject { reason, error, keep, body } => {
            let keep = match (keep.as_str(), body) {
                ("body", _) => Keep::Body,
                ("nothing", _) => Keep::Nothing,
                ("substitute", Some(body)) => Keep::Substitute(body_of(&body)?),
                (other, _) => return Err(format!("unknown keep {other:?}")),
            };
            Outcome::Reject { reason: Reason::from(reason.as_str()), error, keep }
        }
        OutcomeLine::Release => Outcome::Release,
        OutcomeLine::Dropped => Outcome::Dropped,
    })
}

async fn at_desk(desk: &dyn Admin, op: Op) -> Answer {
    let bad = |operation| move |fault| invalid(operation, fault);
    match op {
        Op::List => value(desk.list().await?.iter().map(IntakeLine::from).collect::<Vec<_>>()),
        Op::Inspect { intake } => {
            let intake = intake.intake().map_err(bad(Operation::Inspect))?;
            value(InfoLine::from(desk.inspect(&intake).await?))
        }
        Op::Browse { intake, place, from, limit } => {
            let intake = intake.intake().map_err(bad(Operation::Browse))?;
            let page = desk.browse(&intake, place.into(), browse_of(from, limit)).await?;
            let line = |browsed: &polybus_contract::Browsed| BrowsedLine {
                message: (&browsed.message).into(),
                attempts: browsed.attempts,
            };
            value(PageLine { messages: page.messages.iter().map(line).collect(), next: page.next })
        }
        Op::Purge { intake, place } => {
            let intake = intake.intake().map_err(bad(Operation::Purge))?;
            Ok(json!(desk.purge(&intake, place.into()).await?.messages))
        }
        Op::Redrive { intake, ids, limit } => {
            let intake = intake.intake().map_err(bad(Operation::Redrive))?;
            value(RedrivenLine::from(desk.redrive(&intake, redrive_of(&ids, limit)).await?))
        }
        Op::Remove { object } => {
            let object = object.object().map_err(bad(Operation::Remove))?;
            desk.remove(&object).await.map(|()| Value::Null)
        }
        other => Err(invalid(Operation::Handle, format!("nobody here does {other:?}"))),
    }
}
