//! One connection to the broker: who waits for which answer, and what arrives for whom.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use polybus_contract::{Error, Kind, Operation, Profile, Result};
use polybus_lines::ErrorLine;
use rustc_hash::FxHashMap;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::consume::Reader;
use crate::error::{LOST, down, unknown, unreadable};
use crate::pipe::{Broken, Inlet, Pipe, Said};
use crate::request::Call;
use crate::subscribe::Subscription;
use crate::wire::frame::{Packet, kind};
use crate::wire::verbs::{InfoHeader, OutcomeLine, SettleHeader};
use crate::zmtp;

/// Bytes that wait to be written before a message has to wait for room.
const OUT: usize = 4 << 20;

/// How long the broker may read nothing of what waits for it.
const STUCK: Duration = Duration::from_secs(15);

/// What a farewell may take.
const LAST: Duration = Duration::from_secs(1);

/// With no more than so many questions open a packet is written at once; with more the writes are gathered.
const FEW: usize = 2;

/// Who gets what arrives for a number.
#[derive(Clone, Debug)]
pub(crate) enum Slot {
    Reader(Arc<Reader>),
    Subscription(Arc<Subscription>),
    Call(Arc<Call>),
}

/// Who waits for an answer.
#[derive(Debug)]
struct Waiter {
    tell: oneshot::Sender<Result<Packet>>,
    operation: Operation,
    settles: bool,
}

/// A settle that waits for the client to be back.
#[derive(Debug)]
struct Parked {
    delivery: u64,
    number: u64,
    packet: Packet,
    tell: oneshot::Sender<Result<Packet>>,
}

/// The connection that settles go over, and those that wait for one. Under one lock: none is left behind by a connection that
/// comes up meanwhile.
#[derive(Debug, Default)]
struct Settles {
    link: Weak<Link>,
    parked: Vec<Parked>,
}

/// What outlives a connection: the numbers, and who is behind them.
#[derive(Debug, Default)]
pub(crate) struct Switch {
    numbers: AtomicU64,
    waiting: Mutex<FxHashMap<u64, Waiter>>,
    streams: Mutex<FxHashMap<u64, Slot>>,
    settles: Mutex<Settles>,
    /// Which of the broker's sessions with this client it is; a new one knows nothing of deliveries of the old one.
    session: AtomicU64,
    /// Settles that were confirmed.
    pub(crate) settled: AtomicU64,
    /// Somebody was answered.
    answered: Notify,
    pub(crate) info: Mutex<InfoHeader>,
    pub(crate) info_changed: Notify,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Switch {
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn session(&self) -> u64 {
        self.session.load(Ordering::Acquire)
    }

    pub(crate) fn add_stream(&self, number: u64, slot: Slot) {
        locked(&self.streams).insert(number, slot);
    }

    pub(crate) fn remove_stream(&self, number: u64) -> bool {
        locked(&self.streams).remove(&number).is_some()
    }

    fn stream(&self, number: u64) -> Option<Slot> {
        locked(&self.streams).get(&number).cloned()
    }

    /// Requests whose replies are waited for.
    pub(crate) fn calls(&self) -> Vec<(u64, Arc<Call>)> {
        let streams = locked(&self.streams);
        let calls = streams.iter().filter_map(|(number, slot)| match slot {
            Slot::Call(call) => Some((*number, call.clone())),
            _ => None,
        });
        calls.collect()
    }

    pub(crate) fn count_calls(&self) -> u64 {
        locked(&self.streams).values().filter(|slot| matches!(slot, Slot::Call(_))).count() as u64
    }

    /// Deliveries that were settled here and of which the broker has not heard.
    pub(crate) fn parked(&self) -> Vec<u64> {
        locked(&self.settles).parked.iter().map(|parked| parked.delivery).collect()
    }

    /// Settles whose fate is unknown now.
    pub(crate) fn unanswered(&self) -> u64 {
        let waiting = locked(&self.waiting).values().filter(|waiter| waiter.settles).count();
        (waiting + locked(&self.settles).parked.len()) as u64
    }

    pub(crate) async fn all_answered(&self) {
        loop {
            let mut answered = std::pin::pin!(self.answered.notified());
            answered.as_mut().enable();
            if self.unanswered() == 0 {
                return;
            }
            answered.await;
        }
    }

    fn wait(
        &self,
        number: u64,
        operation: Operation,
        settles: bool,
    ) -> (oneshot::Receiver<Result<Packet>>, usize) {
        let (tell, told) = oneshot::channel();
        let mut waiting = locked(&self.waiting);
        waiting.insert(number, Waiter { tell, operation, settles });
        (told, waiting.len())
    }

    fn forget(&self, number: u64) {
        locked(&self.waiting).remove(&number);
    }

    /// The connection over which hello was said, also while what was consumed is still being restored on it.
    pub(crate) fn link(&self) -> Option<Arc<Link>> {
        locked(&self.settles).link.upgrade().filter(|link| !link.is_gone())
    }

    /// Settles with the broker that is there, or with the one that will be.
    pub(crate) fn settle(&self, delivery: u64, packet: Packet) -> oneshot::Receiver<Result<Packet>> {
        let number = packet.number;
        let mut settles = locked(&self.settles);
        if let Some(link) = settles.link.upgrade().filter(|link| !link.is_gone()) {
            drop(settles);
            let (told, open) = self.wait(number, Operation::Settle, true);
            link.pipe.send(&packet, open <= FEW);
            if link.is_gone() {
                self.lost(number);
            }
            return told;
        }
        let (tell, told) = oneshot::channel();
        settles.parked.push(Parked { delivery, number, packet, tell });
        told
    }

    fn lost(&self, number: u64) {
        let waiter = locked(&self.waiting).remove(&number);
        if let Some(Waiter { tell, operation, .. }) = waiter {
            let _ = tell.send(Err(unknown(operation, LOST)));
        }
        self.answered.notify_waiters();
    }

    /// The connection is gone: nobody will be answered.
    pub(crate) fn fail_all(&self) {
        let waiting = std::mem::take(&mut *locked(&self.waiting));
        for Waiter { tell, operation, .. } in waiting.into_values() {
            let _ = tell.send(Err(unknown(operation, LOST)));
        }
        self.answered.notify_waiters();
    }

    /// The broker goes on where it was: what was settled meanwhile is said now.
    pub(crate) fn resumed(&self, link: &Arc<Link>) {
        for parked in self.go_over(link) {
            let waiter = Waiter { tell: parked.tell, operation: Operation::Settle, settles: true };
            locked(&self.waiting).insert(parked.number, waiter);
            link.pipe.send(&parked.packet, false);
        }
        if link.is_gone() {
            self.fail_all();
        }
    }

    /// The broker knows nothing of this client: what it had in hand is somebody else's.
    pub(crate) fn begun_anew(&self, link: &Arc<Link>) {
        self.session.fetch_add(1, Ordering::AcqRel);
        self.fail(self.go_over(link));
    }

    /// From now on settles go over this connection. Answers those that waited for one.
    fn go_over(&self, link: &Arc<Link>) -> Vec<Parked> {
        let mut settles = locked(&self.settles);
        settles.link = Arc::downgrade(link);
        std::mem::take(&mut settles.parked)
    }

    /// No connection will come.
    pub(crate) fn fail_parked(&self) {
        let parked = std::mem::take(&mut locked(&self.settles).parked);
        self.fail(parked);
    }

    fn fail(&self, parked: Vec<Parked>) {
        for parked in parked {
            let _ = parked.tell.send(Err(crate::error::stale(Operation::Settle)));
        }
        self.answered.notify_waiters();
    }

    fn packet(&self, packet: Packet, link: &Link) {
        match packet.kind {
            kind::OK | kind::ERROR => self.answer(packet),
            kind::DELIVERY => match self.stream(packet.number) {
                Some(Slot::Reader(reader)) => reader.arrive(packet, link),
                _ => give_back(&packet, link),
            },
            kind::INFO => self.learn(&packet),
            _ => match self.stream(packet.number) {
                Some(Slot::Reader(reader)) => reader.hear(&packet),
                Some(Slot::Subscription(subscription)) => subscription.arrive(packet, link),
                Some(Slot::Call(call)) => call.arrive(packet, link),
                // Its reader is gone.
                None => {}
            },
        }
    }

    fn answer(&self, packet: Packet) {
        let Some(waiter) = locked(&self.waiting).remove(&packet.number) else { return };
        let Waiter { tell, operation, settles } = waiter;
        let answer = if packet.kind == kind::ERROR {
            let line = packet.read::<ErrorLine>();
            Err(line.map_or_else(|fault| unreadable(operation, fault), |line| line.error(operation)))
        } else {
            Ok(packet)
        };
        if settles {
            if answer.is_ok() {
                self.settled.fetch_add(1, Ordering::Release);
            }
            let _ = tell.send(answer);
            self.answered.notify_waiters();
        } else {
            let _ = tell.send(answer);
        }
    }

    fn learn(&self, packet: &Packet) {
        // A broker that says more than is understood says it to others.
        if let Ok(info) = packet.read::<InfoHeader>() {
            *locked(&self.info) = info;
            self.info_changed.notify_waiters();
        }
    }
}

/// What came for a consumer that is gone was seen by nobody.
fn give_back(packet: &Packet, link: &Link) {
    if let Ok(header) = packet.read::<crate::wire::verbs::RenewHeader>() {
        link.release(header.delivery);
    }
}

/// A connection over which hello was said.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) pipe: Pipe,
    pub(crate) switch: Arc<Switch>,
    /// What the broker said that it is.
    pub(crate) profile: Profile,
    /// The size of the parts of large bodies.
    pub(crate) part: u32,
    gone: AtomicBool,
}

impl Link {
    pub(crate) fn new(pipe: Pipe, switch: Arc<Switch>, profile: Profile, part: u32) -> Self {
        Self { pipe, switch, profile, part, gone: AtomicBool::new(false) }
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Sends a packet that nobody answers.
    pub(crate) fn tell(&self, packet: &Packet) {
        self.pipe.send(packet, false);
    }

    /// Gives back a delivery that nobody saw.
    pub(crate) fn release(&self, delivery: u64) {
        self.tell(&Packet::new(kind::SETTLE, 0, &SettleHeader { delivery, outcome: OutcomeLine::Release }));
    }

    /// Waits until a message of this size may be added to what waits to be written.
    pub(crate) async fn room(&self, operation: Operation, until: Instant) -> Result<()> {
        while self.pipe.waiting() >= OUT {
            let mut room = std::pin::pin!(self.pipe.room.notified());
            room.as_mut().enable();
            if self.pipe.waiting() < OUT {
                break;
            }
            // Whoever ends the connection wakes only those that wait by then.
            if self.is_gone() {
                return Err(down(operation, LOST));
            }
            if timeout_at(until, room).await.is_err() {
                return Err(down(operation, "the broker does not take what is sent fast enough"));
            }
        }
        Ok(())
    }

    /// Asks and waits for the answer until then. Dropped after the first poll: an unknown outcome.
    pub(crate) async fn ask(&self, packet: Packet, operation: Operation, until: Instant) -> Result<Packet> {
        self.room(operation, until).await?;
        let answer = self.say(&packet, operation, until);
        drop(packet);
        answer.await
    }

    /// Asks here and now, so that what is said next comes behind it; the answer comes until then, whether it is waited for
    /// or not. Dropped: an unknown outcome.
    pub(crate) fn say(
        &self,
        packet: &Packet,
        operation: Operation,
        until: Instant,
    ) -> impl Future<Output = Result<Packet>> + Send + use<> {
        let number = packet.number;
        let (told, open) = self.switch.wait(number, operation, false);
        let forgotten = Forgotten { switch: self.switch.clone(), number };
        self.pipe.send(packet, open <= FEW);
        if self.is_gone() {
            self.switch.lost(number);
        }
        async move {
            let _forgotten = forgotten;
            match timeout_at(until, told).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(unknown(operation, LOST)),
                Err(_) => Err(Error::new(Kind::DeadlineExceeded, operation)
                    .with_detail("the broker did not answer in time")),
            }
        }
    }

    /// The connection is over.
    pub(crate) fn end(&self) {
        self.gone.store(true, Ordering::Release);
        self.pipe.room.notify_waiters();
        self.switch.fail_all();
    }
}

/// A question that nobody waits for any longer.
struct Forgotten {
    switch: Arc<Switch>,
    number: u64,
}

impl Drop for Forgotten {
    fn drop(&mut self) {
        self.switch.forget(self.number);
    }
}

/// Runs a connection until it breaks or is closed.
pub(crate) async fn run(
    link: Arc<Link>,
    mut inlet: Inlet,
    heartbeat: Duration,
    mut closing: watch::Receiver<bool>,
) -> Broken {
    let broken = match work(&link, &mut inlet, heartbeat, &mut closing).await {
        Ok(()) => {
            let _ = link.pipe.finish(LAST).await;
            Broken::Closed
        }
        Err(broken) => broken,
    };
    link.end();
    broken
}

async fn work(
    link: &Arc<Link>,
    inlet: &mut Inlet,
    heartbeat: Duration,
    closing: &mut watch::Receiver<bool>,
) -> Result<(), Broken> {
    let mut ticks = interval(heartbeat / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut blocked = false;
    let mut said = Instant::now();
    loop {
        while let Some(heard) = inlet.next()? {
            match heard {
                Said::Ping(context) => link.pipe.raw(&zmtp::pong(&context)),
                Said::Message(frames) => {
                    // What is no packet of this version is not for this client.
                    if let Ok(packet) = Packet::from_frames(frames) {
                        link.switch.packet(packet, link);
                    }
                }
            }
        }
        if !blocked && link.pipe.waiting() > 0 {
            blocked = !link.pipe.flush()?;
        }
        tokio::select! {
            filled = inlet.fill(&link.pipe) => filled?,
            () = link.pipe.work.notified(), if !blocked => blocked = !link.pipe.flush()?,
            writable = link.pipe.writable(), if blocked => {
                writable?;
                blocked = !link.pipe.flush()?;
            }
            _ = ticks.tick() => {
                if inlet.heard.elapsed() > heartbeat * 3 {
                    return Err(Broken::Silent);
                }
                if link.pipe.stuck() > STUCK {
                    return Err(Broken::Stuck);
                }
                if link.pipe.waiting() == 0 && said.elapsed() >= heartbeat {
                    said = Instant::now();
                    link.pipe.raw(&zmtp::ping(heartbeat * 3));
                }
            }
            _ = closing.wait_for(|closing| *closing) => return Ok(()),
        }
    }
}
