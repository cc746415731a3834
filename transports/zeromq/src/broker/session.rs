//! One connection of a client, from its first word to its last.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::FutureExt;
use futures_util::stream::{FuturesUnordered, SelectAll, StreamExt};
use polybus_contract::{Error, Kind, Operation};
use polybus_lines::{ErrorLine, GapLine, MessageLine, millis};
use rustc_hash::FxHashMap;
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};

use super::clients::Client;
use super::feed::{Control, Fed, Feed};
use super::hello::{attach, hello};
use super::shared::{HAND_OVER, Shared};
use super::state::State;
use super::undelivered::ToldHeader;
use crate::pipe::{Broken, Inlet, Pipe, Said};
use crate::wire::frame::{Packet, kind};
use crate::wire::reply::ReplyLine;
use crate::wire::verbs::{DeliveryHeader, EndHeader, InfoHeader, TopicHeader};
use crate::zmtp;

/// How long a client may take to say who it is.
pub(super) const HELLO: Duration = Duration::from_secs(10);

/// Bytes that wait to be written to a client before nothing more is begun for it.
const OUT: usize = 4 << 20;

/// Calls of one client under way at the same time, and the bytes in them; then it is not read.
const CALLS: usize = 4096;
const CALL_BYTES: usize = 64 << 20;

/// Streams of one client: consumers, subscriptions and requests.
pub(super) const STREAMS: usize = 65_536;

/// Consumers and subscriptions among them.
pub(super) const LASTING: usize = 4096;

/// How long a client may read nothing of what waits for it.
const STUCK: Duration = Duration::from_secs(15);

/// How long the lease of a delivery is over before it is forgotten here.
const MARGIN: Duration = Duration::from_secs(10);

/// Arrivals taken in one turn: enough to make a large write, few enough to be fair.
const TURN: usize = 64;

/// What a call came to.
pub(super) enum Done {
    /// An answer.
    Answer(Packet),
    /// A stream begins, with an answer.
    Opened(Feed, Packet),
    /// A stream that could not begin, with what is said of it.
    Refused(u64, Packet),
    /// A lease was renewed.
    Renewed(u64, Option<Duration>, Packet),
    /// Nobody wants to know.
    Nothing,
    /// It failed, and nobody wants to know; it is counted.
    Undelivered(Kind),
}

/// A call under way, and the bytes it holds.
pub(super) type Call = Pin<Box<dyn Future<Output = (usize, Done)> + Send>>;

pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pipe: Pipe,
    inlet: Inlet,
    pub(super) state: Box<State>,
    calls: FuturesUnordered<Call>,
    call_bytes: usize,
    feeds: SelectAll<Feed>,
    /// Wishes for the streams, by number; and whether they last.
    pub(super) controls: FxHashMap<u64, (Arc<Control>, bool)>,
    pub(super) lasting: usize,
    /// What was read and waits, because there is too much under way.
    backlog: bool,
    blocked: bool,
    /// Since when the client is read; while it is not, nothing can be heard of it.
    read_since: Option<Instant>,
    said: Instant,
    /// How much of what could not be delivered the client was told.
    told: u64,
    /// The number of the farewell, once it was said.
    farewell: Option<u64>,
    /// Whether the client will come back.
    keep: bool,
}

/// How a connection ended that was not broken.
enum Ended {
    Farewell,
    /// Another connection of the same client goes on with what is its.
    Taken(tokio::sync::oneshot::Sender<Box<State>>),
    Closing,
}

/// Serves a connection to its end.
pub(super) async fn run(shared: Arc<Shared>, pipe: Pipe, mut inlet: Inlet) -> Result<(), Broken> {
    let Some(hello) = hello(&shared, &pipe, &mut inlet).await? else { return Ok(()) };
    let (takeover, mut taken) = mpsc::channel(1);
    let (mut session, client, number) = match attach(&shared, pipe, inlet, hello, takeover).await {
        Ok(attached) => attached,
        Err(ended) => return ended,
    };
    let ended = session.serve(&mut taken).await;
    session.leave(ended, client, number, taken).await
}

pub(super) fn malformed(shared: &Shared, number: u64, fault: &str) -> Packet {
    shared.malformed.fetch_add(1, Ordering::Relaxed);
    refusal(number, &Error::new(Kind::Protocol, Operation::Decode).with_detail(fault))
}

pub(super) fn refusal(number: u64, error: &Error) -> Packet {
    Packet::new(kind::ERROR, number, &ErrorLine::from(error))
}

impl Session {
    pub(super) fn new(
        shared: Arc<Shared>,
        pipe: Pipe,
        inlet: Inlet,
        mut state: Box<State>,
        keep: bool,
    ) -> Self {
        let (mut feeds, mut controls) = (SelectAll::new(), FxHashMap::default());
        for feed in state.replies.drain(..) {
            controls.insert(feed.number, (feed.control.clone(), false));
            feeds.push(feed);
        }
        Self {
            shared,
            pipe,
            inlet,
            state,
            calls: FuturesUnordered::new(),
            call_bytes: 0,
            feeds,
            controls,
            lasting: 0,
            backlog: false,
            blocked: false,
            read_since: None,
            said: Instant::now(),
            told: 0,
            farewell: None,
            keep,
        }
    }

    async fn serve(
        &mut self,
        taken: &mut mpsc::Receiver<oneshot::Sender<Box<State>>>,
    ) -> Result<Ended, Broken> {
        let mut info = self.shared.info.subscribe();
        info.mark_changed();
        let mut closing = self.shared.closing.subscribe();
        let heartbeat = self.shared.config.heartbeat;
        let mut ticks = interval(heartbeat / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.read()?;
        loop {
            if self.pipe.waiting() > 0 && !self.blocked {
                self.blocked = !self.pipe.flush()?;
            }
            if let Some(number) = self.farewell
                && self.calls.is_empty()
            {
                self.say(&Packet::bare(kind::OK, number));
                return Ok(Ended::Farewell);
            }
            let room = self.pipe.waiting() < OUT;
            self.reads(room && !self.backlog);
            tokio::select! {
                // Nothing wakes for what was read already: there may be room for it because all was written just now.
                () = yield_now(), if self.backlog && self.takes_calls() => self.read()?,
                Some(done) = self.calls.next(), if !self.calls.is_empty() => self.finish_calls(done)?,
                Some(fed) = self.feeds.next(), if room && !self.feeds.is_empty() => self.flow(fed),
                filled = self.inlet.fill(&self.pipe), if self.read_since.is_some() => {
                    filled?;
                    self.read()?;
                }
                writable = self.pipe.writable(), if self.blocked => {
                    writable?;
                    self.blocked = false;
                }
                Ok(()) = info.changed() => {
                    let told = info.borrow_and_update().clone();
                    self.inform(&told);
                }
                _ = ticks.tick() => self.tick(heartbeat)?,
                Some(give) = taken.recv() => return Ok(Ended::Taken(give)),
                _ = closing.wait_for(|closing| *closing) => return Ok(Ended::Closing),
            }
        }
    }

    /// Notes whether the client is read from now on. What it said before lies unread, so its silence counts from here.
    fn reads(&mut self, reading: bool) {
        self.read_since = self.read_since.filter(|_| reading).or_else(|| reading.then(Instant::now));
    }

    /// Whether another call may begin.
    fn takes_calls(&self) -> bool {
        let room = self.calls.len() < CALLS && self.call_bytes < CALL_BYTES && self.pipe.waiting() < OUT;
        room && self.farewell.is_none()
    }

    /// Does what was read, in its order.
    fn read(&mut self) -> Result<(), Broken> {
        while self.takes_calls() {
            match self.inlet.next()? {
                None => {
                    self.backlog = false;
                    return Ok(());
                }
                Some(Said::Ping(context)) => self.pipe.raw(&zmtp::pong(&context)),
                Some(Said::Message(frames)) => self.message(frames),
            }
        }
        self.backlog = true;
        Ok(())
    }

    fn message(&mut self, frames: Vec<Bytes>) {
        match Packet::from_frames(frames) {
            Ok(packet) => self.packet(packet),
            Err(fault) => self.say(&malformed(&self.shared, 0, fault)),
        }
    }

    pub(super) fn say(&self, packet: &Packet) {
        self.pipe.put(packet);
    }

    pub(super) fn malformed(&self, number: u64, fault: &str) {
        self.say(&malformed(&self.shared, number, fault));
    }

    pub(super) fn bid_farewell(&mut self, number: u64) {
        self.farewell = Some(number);
    }

    /// Begins a call: at once as far as it needs no waiting, so that calls happen in the order in which they were said.
    pub(super) fn call(&mut self, bytes: usize, call: impl Future<Output = Done> + Send + 'static) {
        let mut call = Box::pin(call);
        if let Some(done) = call.as_mut().now_or_never() {
            return self.done(done);
        }
        self.call_bytes += bytes;
        self.calls.push(Box::pin(call.map(move |done| (bytes, done))));
    }

    /// Those calls that are over by now, after this one.
    fn finish_calls(&mut self, first: (usize, Done)) -> Result<(), Broken> {
        let mut next = Some(first);
        while let Some((bytes, done)) = next {
            self.call_bytes -= bytes;
            self.done(done);
            next = self.calls.next().now_or_never().flatten();
        }
        if self.backlog { self.read() } else { Ok(()) }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Answer(packet) => self.say(&packet),
            Done::Opened(feed, packet) => {
                self.say(&packet);
                // Its client may have lost interest while it was opened.
                if self.controls.contains_key(&feed.number) {
                    self.feeds.push(feed);
                }
            }
            Done::Refused(number, packet) => {
                self.forget_stream(number);
                self.say(&packet);
            }
            Done::Renewed(number, term, packet) => {
                self.state.renewed(number, term);
                self.say(&packet);
            }
            Done::Nothing => {}
            Done::Undelivered(kind) => self.undelivered(kind),
        }
    }

    /// Counts what failed without an answer; see [`Session::inform`].
    pub(super) fn undelivered(&mut self, kind: Kind) {
        self.shared.undelivered.count(kind);
        self.state.undelivered += 1;
    }

    /// Says how the broker is, and how much it could not deliver for this client.
    fn inform(&mut self, info: &InfoHeader) {
        self.told = self.state.undelivered;
        self.say(&Packet::new(kind::INFO, 0, &ToldHeader { info, undelivered: self.told }));
    }

    /// What has arrived by now, after this one.
    fn flow(&mut self, first: (u64, Fed)) {
        let mut next = Some(first);
        for _ in 0..TURN {
            let Some((number, fed)) = next else { return };
            let packet = self.fed(number, fed);
            self.say(&packet);
            if self.pipe.waiting() >= OUT {
                return;
            }
            next = self.feeds.next().now_or_never().flatten();
        }
        if let Some((number, fed)) = next {
            let packet = self.fed(number, fed);
            self.say(&packet);
        }
    }

    fn fed(&mut self, number: u64, fed: Fed) -> Packet {
        let shared = self.shared.clone();
        let address = |to: &polybus_contract::ReplyTo| shared.address(to);
        match fed {
            Fed::Delivery(delivery) => {
                let message = MessageLine::of(delivery.message(), address);
                let body = delivery.message().body().head().clone();
                let (queue, attempt) = (delivery.queue().to_string(), delivery.attempt());
                let control =
                    self.controls.get(&number).map(|(control, _)| control.clone()).unwrap_or_default();
                let (delivery, term) = self.state.hand_out(delivery, number, control);
                let header = DeliveryHeader { delivery, attempt, lease_ms: term.map(millis), queue, message };
                Packet::new(kind::DELIVERY, number, &header).with_body(body)
            }
            Fed::Message(message) => {
                let header = TopicHeader { message: MessageLine::of(&message, address) };
                Packet::new(kind::TOPIC, number, &header).with_body(message.body().head().clone())
            }
            Fed::Reply(reply) => {
                let body = reply.message.body().head().clone();
                Packet::new(kind::ANSWER, number, &ReplyLine::of(&reply, address)).with_body(body)
            }
            Fed::Gap(gap) => Packet::new(kind::GAP, number, &GapLine::from(gap)),
            Fed::End(end) => {
                self.forget_stream(number);
                Packet::new(kind::END, number, &end_header(&end))
            }
        }
    }

    pub(super) fn forget_stream(&mut self, number: u64) {
        if let Some((_, lasts)) = self.controls.remove(&number)
            && lasts
        {
            self.lasting -= 1;
        }
    }

    fn tick(&mut self, heartbeat: Duration) -> Result<(), Broken> {
        // Who is not read is not silent; whether it reads is seen below.
        let silent = self.read_since.map(|since| since.max(self.inlet.heard).elapsed());
        if silent.is_some_and(|silent| silent > heartbeat * 3) {
            return Err(Broken::Silent);
        }
        if self.pipe.stuck() > STUCK {
            return Err(Broken::Stuck);
        }
        if self.pipe.waiting() == 0 && self.said.elapsed() >= heartbeat {
            self.said = Instant::now();
            self.pipe.raw(&zmtp::ping(heartbeat * 3));
        }
        if self.told != self.state.undelivered && self.pipe.waiting() < OUT {
            let info = self.shared.info.borrow().clone();
            self.inform(&info);
        }
        self.state.forget_stale(MARGIN);
        self.state.large.forget_idle();
        Ok(())
    }

    /// The end of the connection, and what becomes of what the client has.
    async fn leave(
        mut self,
        ended: Result<Ended, Broken>,
        client: Client,
        number: u64,
        mut taken: mpsc::Receiver<oneshot::Sender<Box<State>>>,
    ) -> Result<(), Broken> {
        // Consumers and subscriptions end with the connection; a client that comes back makes them anew. A request of which
        // a reply may be lost on the way ends too: its caller learns that the outcome is unknown.
        if !matches!(ended, Ok(Ended::Closing)) {
            // Nobody hears of these calls, and what they hold must be free before somebody else goes on.
            self.calls.clear();
        }
        for feed in std::mem::take(&mut self.feeds) {
            if feed.may_go_on() && self.controls.contains_key(&feed.number) {
                self.state.replies.push(feed);
            }
        }
        match ended {
            Ok(Ended::Taken(give)) => {
                let _ = give.send(self.state);
                Ok(())
            }
            Ok(Ended::Farewell) => {
                drop(self.state);
                self.shared.forget(&client, number);
                self.pipe.finish(HELLO).await
            }
            Ok(Ended::Closing) => {
                self.close().await;
                self.shared.forget(&client, number);
                Ok(())
            }
            Err(broken) if self.keep => {
                if let Some(state) = self.shared.detach(client, number, self.state)
                    && let Ok(Some(give)) = timeout(HAND_OVER, taken.recv()).await
                {
                    // It came back before this connection was known to be over.
                    let _ = give.send(state);
                }
                Err(broken)
            }
            Err(broken) => {
                drop(self.state);
                self.shared.forget(&client, number);
                Err(broken)
            }
        }
    }

    /// The broker ends: what was begun is still answered.
    async fn close(&mut self) {
        let until = Instant::now() + super::FINISH;
        while let Ok(Some((_, done))) = timeout_at(until, self.calls.next()).await {
            self.done(done);
        }
        let _ = self.pipe.finish(until.saturating_duration_since(Instant::now())).await;
    }
}

fn end_header(end: &polybus_contract::End) -> EndHeader {
    use polybus_contract::End;
    match end {
        End::Drained => EndHeader::Drained,
        End::Complete => EndHeader::Complete,
        End::Failed(error) => EndHeader::Failed { error: error.into() },
        _ => EndHeader::Stopped,
    }
}
