//! One connection of a client, from its first word to its last.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::FutureExt;
use futures_util::stream::{FuturesUnordered, SelectAll, StreamExt};
use polybus_contract::{Error, Kind, Operation};
use polybus_lines::{ErrorLine, GapLine, MessageLine, ProfileLine, millis};
use rustc_hash::FxHashMap;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::feed::{Control, Fed, Feed, Spring};
use super::identity::Rights;
use super::shared::{Client, Shared, Takeover};
use super::state::State;
use crate::pipe::{Broken, Inlet, Pipe, Said, limits};
use crate::wire::frame::{Packet, VERSION, kind};
use crate::wire::hello::{Challenge, GreetingLine, HelloLine, Side, WelcomeLine, nonce};
use crate::wire::reply::ReplyLine;
use crate::wire::verbs::{DeliveryHeader, EndHeader, TopicHeader};
use crate::zmtp;

/// How long a client may take to say who it is.
const HELLO: Duration = Duration::from_secs(10);

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
    said: Instant,
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
    session.leave(ended, client, number).await
}

/// Who said hello, and with what rights.
struct Known {
    line: HelloLine,
    rights: Arc<Rights>,
    proof: Option<String>,
    number: u64,
}

/// Greets, and waits for a hello that is fine; `None`: there was none.
async fn hello(shared: &Arc<Shared>, pipe: &Pipe, inlet: &mut Inlet) -> Result<Option<Known>, Broken> {
    let broker_nonce = nonce();
    let greeting = GreetingLine {
        versions: vec![VERSION],
        nonce: broker_nonce.clone(),
        proof_needed: shared.config.identities.is_some(),
        broker: concat!("polybus ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    pipe.put(&Packet::new(kind::GREETING, 0, &greeting));
    pipe.finish(HELLO).await?;
    let until = Instant::now() + HELLO;
    let mut closing = shared.closing.subscribe();
    loop {
        let said = loop {
            if let Some(said) = inlet.next()? {
                break said;
            }
            tokio::select! {
                filled = timeout_at(until, inlet.fill(pipe)) => filled.map_err(|_| Broken::Late)??,
                _ = closing.wait_for(|closing| *closing) => return Ok(None),
            }
        };
        let answer = match said {
            Said::Ping(context) => {
                pipe.raw(&zmtp::pong(&context));
                pipe.finish(HELLO).await?;
                continue;
            }
            Said::Message(frames) => match Packet::from_frames(frames) {
                Ok(packet) if packet.kind == kind::HELLO => match known(shared, &packet, &broker_nonce) {
                    Ok(known) => return Ok(Some(known)),
                    Err(error) => {
                        pipe.put(&refusal(packet.number, &error));
                        let _ = pipe.finish(HELLO).await;
                        return Ok(None);
                    }
                },
                Ok(packet) => {
                    let error = Error::new(Kind::Disconnected, Operation::Connect)
                        .with_detail("this is a new connection: say hello first");
                    refusal(packet.number, &error)
                }
                Err(fault) => malformed(shared, 0, fault),
            },
        };
        pipe.put(&answer);
        pipe.finish(until.saturating_duration_since(Instant::now())).await?;
    }
}

fn malformed(shared: &Shared, number: u64, fault: &str) -> Packet {
    shared.malformed.fetch_add(1, Ordering::Relaxed);
    refusal(number, &Error::new(Kind::Protocol, Operation::Decode).with_detail(fault))
}

pub(super) fn refusal(number: u64, error: &Error) -> Packet {
    Packet::new(kind::ERROR, number, &ErrorLine::from(error))
}

fn known(shared: &Shared, packet: &Packet, broker_nonce: &str) -> Result<Known, Error> {
    let wrong = |fault: String| Error::new(Kind::Protocol, Operation::Connect).with_detail(fault);
    let line: HelloLine = packet.read().map_err(wrong)?;
    let digits = line.client.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if line.client.len() != 32 || !digits {
        return Err(wrong("\"client\" is 32 hexadecimal digits, chosen at random".to_owned()));
    }
    let number = packet.number;
    let Some(identities) = &shared.config.identities else {
        return Ok(Known { line, rights: Arc::new(Rights::all()), proof: None, number });
    };
    let user = line.user.clone().unwrap_or_default();
    let challenge = Challenge { user: &user, client: &line.client, client_nonce: &line.nonce, broker_nonce };
    let proof = line.proof.as_deref().unwrap_or_default();
    // Who is not known is asked for as much work as who is.
    let (found, secret) = match identities.find(&user) {
        Some(identity) => (Some(identity), identity.secret.expose()),
        None => (None, "nobody has this secret"),
    };
    let proven = challenge.is_proven(Side::Client, secret.as_bytes(), proof);
    let Some(identity) = found.filter(|_| proven) else {
        shared.unauthorized.fetch_add(1, Ordering::Relaxed);
        return Err(Error::new(Kind::Unauthorized, Operation::Connect)
            .with_detail("the broker does not know this user with this secret"));
    };
    let proof = Some(challenge.prove(Side::Broker, identity.secret.expose().as_bytes()));
    Ok(Known { rights: identity.rights.clone(), proof, number, line })
}

type Attached = (Session, Client, u64);

/// Finds what is kept for the client, or opens a handle for it, and welcomes it.
async fn attach(
    shared: &Arc<Shared>,
    pipe: Pipe,
    mut inlet: Inlet,
    known: Known,
    takeover: Takeover,
) -> Result<Attached, Result<(), Broken>> {
    let Known { line, rights, proof, number: answer_to } = known;
    let user: Option<Arc<str>> = proof.as_ref().and(line.user.as_deref()).map(Arc::from);
    let client = (user.clone(), Arc::from(line.client.as_str()));
    let (number, kept) = shared.attach(&client, takeover).await;
    let resumed = kept.filter(|_| line.resume);
    let mut welcome = WelcomeLine {
        resumed: resumed.is_some(),
        profile: ProfileLine::from(&shared.profile),
        part: shared.part_size(),
        heartbeat_ms: millis(shared.config.heartbeat),
        proof,
        asking: Vec::new(),
    };
    let state = match resumed {
        Some(mut state) => {
            state.keep_only(&line.holding);
            state.replies.retain(|feed| line.asking.contains(&feed.number));
            welcome.asking = state.replies.iter().map(|feed| feed.number).collect();
            state
        }
        None => match shared.handle() {
            Ok(bus) => Box::new(State::new(bus, user, rights)),
            Err(error) => {
                pipe.put(&refusal(answer_to, &error));
                return Err(pipe.finish(HELLO).await);
            }
        },
    };
    inlet.set_limits(limits(shared.largest()));
    pipe.put(&Packet::new(kind::WELCOME, answer_to, &welcome));
    let session = Session::new(shared.clone(), pipe, inlet, state, line.keep);
    Ok((session, client, number))
}

impl Session {
    fn new(shared: Arc<Shared>, pipe: Pipe, inlet: Inlet, mut state: Box<State>, keep: bool) -> Self {
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
            said: Instant::now(),
            farewell: None,
            keep,
        }
    }

    async fn serve(
        &mut self,
        taken: &mut mpsc::Receiver<tokio::sync::oneshot::Sender<Box<State>>>,
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
            tokio::select! {
                Some(done) = self.calls.next(), if !self.calls.is_empty() => self.finish_calls(done)?,
                Some(fed) = self.feeds.next(), if room && !self.feeds.is_empty() => self.flow(fed),
                filled = self.inlet.fill(&self.pipe), if room && !self.backlog => {
                    filled?;
                    self.read()?;
                }
                writable = self.pipe.writable(), if self.blocked => {
                    writable?;
                    self.blocked = false;
                }
                Ok(()) = info.changed() => {
                    let told = info.borrow_and_update().clone();
                    self.pipe.put(&Packet::new(kind::INFO, 0, &told));
                }
                _ = ticks.tick() => self.tick(heartbeat)?,
                Some(give) = taken.recv() => return Ok(Ended::Taken(give)),
                _ = closing.wait_for(|closing| *closing) => return Ok(Ended::Closing),
            }
            if room && self.backlog {
                self.read()?;
            }
        }
    }

    /// Whether there is room for another call.
    fn takes_calls(&self) -> bool {
        self.calls.len() < CALLS && self.call_bytes < CALL_BYTES && self.pipe.waiting() < OUT
    }

    /// Does what was read, in its order.
    fn read(&mut self) -> Result<(), Broken> {
        while self.takes_calls() && self.farewell.is_none() {
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
        }
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
        if self.inlet.heard.elapsed() > heartbeat * 3 {
            return Err(Broken::Silent);
        }
        if self.pipe.stuck() > STUCK {
            return Err(Broken::Stuck);
        }
        if self.pipe.waiting() == 0 && self.said.elapsed() >= heartbeat {
            self.said = Instant::now();
            self.pipe.raw(&zmtp::ping(heartbeat * 3));
        }
        self.state.forget_stale(MARGIN);
        Ok(())
    }

    /// The end of the connection, and what becomes of what the client has.
    async fn leave(
        mut self,
        ended: Result<Ended, Broken>,
        client: Client,
        number: u64,
    ) -> Result<(), Broken> {
        // Consumers and subscriptions end with the connection; a client that comes back makes them anew.
        for feed in std::mem::take(&mut self.feeds) {
            if matches!(feed.spring, Spring::Replies(_)) && self.controls.contains_key(&feed.number) {
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
                self.shared.detach(client, number, self.state);
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
