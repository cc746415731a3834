//! Consuming from queues, dead letters and groups; settling and renewing.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use async_trait::async_trait;
use polybus_contract::{
    Arrival, ConsumeOptions, Death, Delivery, End, Gap, GapCause, Hold, Incoming, Intake, Keep, Kind,
    LeaseTerms, Message, Name, Operation, Outcome, Reason, Result, Settling, Source, UnixMillis,
};
use polybus_queue::{ConsumerId, Leaving, Now, Token};
use tokio::task::coop;

use crate::bus::{Bus, State, Wakes, nanos};
use crate::connection::Handle;
use crate::error::{refuse, refused};
use crate::journal::position as journal_position;
use crate::progress::{Reached, broken};

/// Messages taken under one lock at most: enough to make the lock cheap, few enough to keep sharing fair.
const BATCH: usize = 64;

/// One consumer, seen from the bus, from its stream and from its deliveries.
pub(crate) struct Reader {
    handle: Arc<Handle>,
    pub(crate) consumer: ConsumerId,
    /// What its deliveries say: the queue, or the topic of the group.
    queue: Name,
    group: bool,
    lease: Duration,
    pub(crate) intake: String,
    pub(crate) label: String,
    inner: Mutex<Inner>,
    /// Parked because its credit is used up. Read and written under the bus's lock.
    starved: AtomicBool,
    /// On the list of those that want credit. Read and written under the bus's lock.
    wanting: AtomicBool,
    /// On the list of those that wait for messages. Read and written under the bus's lock.
    listed: AtomicBool,
    /// Its stream was dropped.
    gone: AtomicBool,
    pub(crate) arrived: AtomicU64,
}

#[derive(Default)]
struct Inner {
    /// Handed out by the engine, not yet seen by anyone.
    buffer: VecDeque<Raw>,
    waker: Option<Waker>,
    end: Option<End>,
    /// Waits for the disk on behalf of the first in the buffer.
    syncing: Option<Reached>,
    /// When it last took something or found nothing, since the bus's start.
    moved: Duration,
    /// Acks that were good when they were made and of which the engine has not heard.
    acked: Vec<Token>,
    /// Acks may be put there. While this holds no lease of this reader can have been taken away unless its time is
    /// over: whatever else does that ends the deferring first, under both locks.
    defers: bool,
}

struct Raw {
    token: Token,
    message: Arc<Message>,
    attempt: u32,
    /// When its lease ends, in nanoseconds since the bus's start.
    until: u64,
    /// Where the journal has the hand-out: nobody sees it before it is safe, else a crash would forget the attempt.
    position: u64,
}

enum Next {
    Item(Raw),
    Ended(End),
    Nothing,
    /// The hand-out of the first one is not safe yet.
    Unsafe(u64),
}

enum Filled {
    Some,
    Gap(u64),
    Parked,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("intake", &self.intake)
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

impl Handle {
    /// Attaches a consumer. It is live when this returns.
    pub(crate) fn consume(
        self: &Arc<Self>,
        from: &Intake,
        options: ConsumeOptions,
    ) -> Result<Incoming<Delivery>> {
        self.takes_in(Operation::Consume)?;
        if options.credit == 0 || options.lease.is_some_and(|lease| lease.is_zero()) {
            return Err(refuse(Kind::InvalidOption, Operation::Consume, from)
                .with_detail("credit and lease must not be zero"));
        }
        let (engine_name, queue) = engine_name(from);
        let (consumer, lease, moved) = self
            .bus
            .with(|state, now, _| {
                let found = state.engine.find(&engine_name).ok_or(polybus_queue::Error::NoSuchQueue)?;
                let of_queue = state.engine.figures(found)?.options.lease.unwrap_or(Duration::MAX);
                let consumer = state.engine.attach(found, options.credit, options.lease)?;
                Ok((consumer, options.lease.unwrap_or(of_queue), now.since_start))
            })
            .map_err(|refusal| refused(refusal, Operation::Consume, from))?;
        let reader = Arc::new(Reader {
            handle: self.clone(),
            consumer,
            queue,
            group: matches!(from, Intake::Group { .. }),
            lease,
            intake: from.to_string(),
            label: options.label,
            inner: Mutex::new(Inner { moved, ..Inner::default() }),
            starved: AtomicBool::new(false),
            wanting: AtomicBool::new(false),
            listed: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            arrived: AtomicU64::new(0),
        });
        self.add_reader(&reader);
        Ok(Incoming::new(Deliveries { reader }))
    }
}

/// How the engine names an intake, and what its deliveries say they came from.
pub(crate) fn engine_name(intake: &Intake) -> (String, Name) {
    match intake {
        Intake::Queue(name) => (name.to_string(), name.clone()),
        Intake::Group { topic, group } => (format!("{topic}@{group}"), topic.clone()),
    }
}

/// The stream of a consumer. All state is in the reader, so a dropped `next` loses nothing.
struct Deliveries {
    reader: Arc<Reader>,
}

impl fmt::Debug for Deliveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reader.fmt(f)
    }
}

impl Source<Delivery> for Deliveries {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Arrival<Delivery>, End>> {
        // A reader that never finds its queue empty still lets others on its thread have a turn (C4).
        let progress = ready!(coop::poll_proceed(context));
        let next = self.reader.poll_next(context);
        if next.is_ready() {
            progress.made_progress();
        }
        next
    }

    fn set_credit(&mut self, credit: u32) -> Result<()> {
        self.reader.set_credit(credit)
    }

    fn stop(&mut self) {
        self.reader.leave(End::Stopped);
    }
}

impl Drop for Deliveries {
    fn drop(&mut self) {
        self.reader.leave(End::Stopped);
        self.reader.gone.store(true, Ordering::Release);
        self.reader.handle.remove_reader();
    }
}

impl Reader {
    fn bus(&self) -> &Arc<Bus> {
        &self.handle.bus
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_next(self: &Arc<Self>, context: &mut Context<'_>) -> Poll<Result<Arrival<Delivery>, End>> {
        loop {
            match self.next() {
                Next::Item(raw) => return Poll::Ready(Ok(Arrival::Item(self.delivery(raw)))),
                Next::Ended(end) => return Poll::Ready(Err(end)),
                Next::Nothing => {}
                Next::Unsafe(position) => match self.poll_safe(position, context) {
                    Poll::Ready(()) => continue,
                    Poll::Pending => return Poll::Pending,
                },
            }
            match self.fill(context.waker()) {
                Filled::Some => {}
                Filled::Gap(missed) => {
                    self.bus().count_missed(missed);
                    let gap = Gap { missed: Some(missed), cause: GapCause::Bound };
                    return Poll::Ready(Ok(Arrival::Gap(gap)));
                }
                Filled::Parked => return Poll::Pending,
            }
        }
    }

    fn next(&self) -> Next {
        let mut inner = self.inner();
        // What lay here longer than its lease is someone else's by now. What a message drops may come back for a
        // lock, so it is dropped when none is held; an empty list costs nothing.
        let mut lost = Vec::new();
        while inner.buffer.front().is_some_and(|raw| self.is_lost(raw)) {
            lost.extend(inner.buffer.pop_front());
        }
        let next = match inner.buffer.front() {
            Some(raw) if raw.position > self.bus().reached() => Next::Unsafe(raw.position),
            Some(_) => inner.buffer.pop_front().map_or(Next::Nothing, Next::Item),
            None => inner.end.clone().map_or(Next::Nothing, Next::Ended),
        };
        drop(inner);
        next
    }

    fn is_lost(&self, raw: &Raw) -> bool {
        raw.until <= self.bus().last_reading()
    }

    /// Waits until a hand-out is safe. If it never will be, the stream ends.
    fn poll_safe(&self, position: u64, context: &mut Context<'_>) -> Poll<()> {
        let Some(store) = &self.bus().store else { return Poll::Ready(()) };
        let mut inner = self.inner();
        let syncing = inner.syncing.get_or_insert_with(|| store.progress.wait(position));
        match Pin::new(syncing).poll(context) {
            Poll::Ready(reached) => {
                inner.syncing = None;
                if let Err(why) = reached {
                    inner.buffer.clear();
                    inner.end.get_or_insert(End::Failed(broken(Operation::Consume, &why)));
                }
                Poll::Ready(())
            }
            Poll::Pending => {
                inner.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    fn delivery(self: &Arc<Self>, raw: Raw) -> Delivery {
        // One task at a time polls a stream.
        self.arrived.store(self.arrived.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        let hold = Arc::new(Held { reader: self.clone(), token: raw.token, until: raw.until });
        Delivery::new(raw.message, self.queue.clone(), raw.attempt, LeaseTerms::Timed(self.lease), hold)
    }

    /// Takes what is ready, within credit and a fair share; with nothing there, waits to be woken.
    fn fill(self: &Arc<Self>, waker: &Waker) -> Filled {
        self.bus().with_taker(self, |state, now, wakes| {
            if self.group
                && let Ok(missed @ 1..) = state.engine.take_gap(self.consumer.queue())
            {
                return Filled::Gap(missed);
            }
            let taken = self.take(state, now);
            if taken > 0 {
                wakes.room();
                return Filled::Some;
            }
            self.park(state, now, waker)
        })
    }

    fn take(self: &Arc<Self>, state: &mut State, now: Now) -> usize {
        let share = state.engine.fair_share(self.consumer.queue()).min(BATCH);
        let until = nanos(now.since_start.saturating_add(self.lease));
        let mut inner = self.inner();
        inner.moved = now.since_start;
        let buffer = &mut inner.buffer;
        let taken = state.engine.take_up_to(self.consumer, share, now, |handed, journal| {
            let mut message = handed.payload.clone();
            if let Some(death) = handed.death {
                let of_life = Arc::unwrap_or_clone(message);
                message = Arc::new(of_life.with_death(death_of(death, &self.queue)));
            }
            let (token, attempt, position) = (handed.token, handed.attempt, journal_position(journal));
            buffer.push_back(Raw { token, message, attempt, until, position });
        });
        // A journal must have an ack before it counts, so there each comes at once.
        if !inner.defers && matches!(taken, Ok(1..)) && self.bus().store.is_none() {
            inner.defers = true;
            state.defer(self.clone());
        }
        taken.unwrap_or_else(|refusal| {
            let gone = refused(refusal, Operation::Consume, &self.intake);
            inner.end.get_or_insert(End::Failed(gone));
            1
        })
    }

    fn park(self: &Arc<Self>, state: &mut State, now: Now, waker: &Waker) -> Filled {
        // Who waits for credit must learn of the ack that brings it, and who waits for messages may wait for long.
        state.stop_deferring(self);
        let mut inner = self.inner();
        if inner.end.is_some() {
            return Filled::Some;
        }
        inner.moved = now.since_start;
        if !inner.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            inner.waker = Some(waker.clone());
        }
        drop(inner);
        let starved = state.engine.has_credit(self.consumer) == Some(false);
        self.starved.store(starved, Ordering::Relaxed);
        if starved && !self.wanting.swap(true, Ordering::Relaxed) {
            state.starve(self.clone());
        }
        if !starved && !self.listed.swap(true, Ordering::Relaxed) {
            state.wait(self.consumer.queue(), self.clone());
        }
        Filled::Parked
    }

    /// Taken off the list of those that wait, to be woken.
    pub(crate) fn unlist(&self) -> Option<Waker> {
        self.listed.store(false, Ordering::Relaxed);
        self.inner().waker.clone()
    }

    /// Credit came back: a reader that was parked for want of it looks again.
    fn fed(&self, wakes: &mut Wakes) {
        if self.starved.swap(false, Ordering::Relaxed) {
            wakes.push(self.inner().waker.clone());
        }
    }

    /// Whether it is no longer parked for want of credit; wakes it if it has some.
    pub(crate) fn is_fed(&self, credit: Option<bool>, wakes: &mut Wakes) -> bool {
        if credit != Some(false) {
            self.fed(wakes);
        }
        let fed = !self.starved.load(Ordering::Relaxed);
        if fed {
            self.wanting.store(false, Ordering::Relaxed);
        }
        fed
    }

    fn set_credit(&self, credit: u32) -> Result<()> {
        if credit == 0 {
            return Err(refuse(Kind::InvalidOption, Operation::Credit, &self.intake)
                .with_detail("credit must be at least 1"));
        }
        self.bus().with(|state, now, wakes| {
            let set = state.engine.set_credit(self.consumer, credit);
            set.map_err(|refusal| match refusal {
                polybus_queue::Error::NoSuchConsumer => crate::error::closed(Operation::Credit),
                other => refused(other, Operation::Credit, &self.intake),
            })?;
            let held = state.engine.in_hand(self.consumer).unwrap_or(0);
            self.release(state, now, held.saturating_sub(credit) as usize);
            self.fed(wakes);
            Ok(())
        })
    }

    /// Gives back up to `most` messages that nobody has seen, the newest first.
    fn release(&self, state: &mut State, now: Now, most: usize) -> u64 {
        let mut inner = self.inner();
        let keep = inner.buffer.len().saturating_sub(most);
        let back = inner.buffer.split_off(keep);
        drop(inner);
        let release =
            |raw: &Raw| state.engine.settle(raw.token, polybus_queue::Outcome::Release, now).is_ok();
        back.iter().map(release).filter(|released| *released).count() as u64
    }

    /// Whether any of its deliveries is out.
    pub(crate) fn holds(&self) -> bool {
        self.bus().look(|state| state.engine.holds(self.consumer))
    }

    /// Takes back what is out, its attempt counted: the handler had its time. Returns how many that were.
    pub(crate) fn abandon(&self) -> u64 {
        // A removed queue has nothing to give back.
        self.bus().with(|state, now, _| state.engine.recall(self.consumer, Leaving::Drop, now)).unwrap_or(0)
    }

    /// Ends the stream: gives back what nobody has seen, and lets the rest be settled. Returns how many were given
    /// back.
    pub(crate) fn leave(self: &Arc<Self>, end: End) -> u64 {
        self.bus().with(|state, now, wakes| {
            let returned = self.release(state, now, usize::MAX);
            // Refused if it had left before, or with its queue.
            let _ = state.engine.detach(self.consumer, Leaving::Keep, now);
            self.listed.store(false, Ordering::Relaxed);
            state.unwait(self.consumer.queue(), self, wakes);
            let mut inner = self.inner();
            inner.end.get_or_insert(end);
            wakes.push(inner.waker.take());
            returned
        })
    }

    /// Whether its stream is gone and none of its deliveries is out.
    pub(crate) fn is_over(&self) -> bool {
        self.gone.load(Ordering::Acquire) && !self.holds()
    }

    /// Messages in hand, credit left, and how long nothing moved.
    pub(crate) fn stalled(&self, state: &State, now: Duration) -> Option<Duration> {
        let credit = state.engine.has_credit(self.consumer)?;
        let ready = state.engine.ready(self.consumer.queue()).is_some_and(|ready| ready > 0);
        let waits = ready || !self.inner().buffer.is_empty();
        (credit && waits).then(|| now.saturating_sub(self.inner().moved))
    }

    /// Deliveries out and unsettled, those that nobody has seen yet not counted.
    pub(crate) fn seen(&self, state: &State) -> Option<u32> {
        let held = state.engine.in_hand(self.consumer)?;
        Some(held.saturating_sub(u32::try_from(self.inner().buffer.len()).unwrap_or(u32::MAX)))
    }

    /// Notes an ack that the engine hears of when this reader takes more, or when anybody could tell the difference.
    /// So most acks do without the lock that senders need. The timer ends a lease that is over, and with it the
    /// deferring, so the time that is looked at here may lag a little: nobody else has the message until then.
    fn ack_later(&self, token: Token, until: u64) -> bool {
        let now = self.bus().about_now();
        let mut inner = self.inner();
        let later = inner.defers && until > now && inner.acked.len() < BATCH;
        if later {
            inner.acked.push(token);
            self.handle.count_settled();
        }
        later
    }

    /// Tells the engine of all acks until now.
    pub(crate) fn tell_acks(&self, state: &mut State) {
        let mut inner = self.inner();
        for token in inner.acked.drain(..) {
            // It was good when it was made, which the time zero stands for, and no lease has been taken away since.
            let _ = state.engine.ack(token, Now::default());
        }
    }

    /// Tells the engine of all acks until now, and makes later ones wait for the bus's lock.
    pub(crate) fn end_deferring(&self, state: &mut State) {
        self.inner().defers = false;
        self.tell_acks(state);
    }

    /// The most frequent settle, and the one after which nobody but this reader has anything to do.
    fn ack(&self, token: Token, until: u64) -> Result<u64, polybus_queue::Error> {
        if self.ack_later(token, until) {
            return Ok(0);
        }
        let (acked, starved) = self.bus().briefly(|state, now| {
            self.tell_acks(state);
            let acked = state.engine.ack(token, now).map(|()| state.position());
            (acked, self.settled(acked.is_ok()))
        });
        if starved {
            self.bus().with(|_, _, wakes| self.fed(wakes));
        }
        acked
    }

    /// Counts a settle; true if this reader was parked for want of credit.
    fn settled(&self, success: bool) -> bool {
        if success {
            self.handle.count_settled();
        }
        self.starved.load(Ordering::Relaxed)
    }

    /// Settles; answers where the journal has it.
    fn settle(&self, token: Token, until: u64, outcome: Outcome) -> Result<u64> {
        let settled = match outcome {
            Outcome::Ack => self.ack(token, until),
            outcome => self.bus().with(|state, now, wakes| {
                let settled = settle_with(state, token, outcome, now).map(|()| state.position());
                if self.settled(settled.is_ok()) {
                    self.fed(wakes);
                }
                settled
            }),
        };
        self.handle.given_back();
        settled.map_err(|refusal| refused(refusal, Operation::Settle, &self.intake))
    }
}

fn settle_with(
    state: &mut State,
    token: Token,
    outcome: Outcome,
    now: Now,
) -> Result<(), polybus_queue::Error> {
    use polybus_queue::Outcome as Engine;
    let outcome = match outcome {
        Outcome::Ack => Engine::Ack,
        Outcome::Retry { after, error } => Engine::Retry { after, error },
        Outcome::Reject { reason, error, keep } => {
            let keep = match keep {
                Keep::Body => polybus_queue::Keep::Whole,
                Keep::Nothing => polybus_queue::Keep::Nothing,
                Keep::Substitute(body) => {
                    let message = Message::clone(state.engine.peek(token, now)?).with_body(body);
                    let size = message.size();
                    polybus_queue::Keep::Substitute(Arc::new(message), size)
                }
            };
            Engine::Reject { reason: reason_word(&reason), error, keep }
        }
        Outcome::Release => Engine::Release,
        // Whatever else there may be one day is at least not lost.
        _ => Engine::Dropped,
    };
    state.engine.settle(token, outcome, now)
}

fn reason_word(reason: &Reason) -> polybus_queue::Reason {
    match reason {
        Reason::Attempts => polybus_queue::Reason::Spent,
        Reason::Expired => polybus_queue::Reason::Expired,
        other => polybus_queue::Reason::Rejected(other.as_str().to_owned().into()),
    }
}

/// A death in the contract's words. The origin of a group's dead letter is its topic, which `intake` names.
pub(crate) fn death_of(death: &polybus_queue::Death, intake: &Name) -> Death {
    let time = |unix_ms: u64| UnixMillis(i64::try_from(unix_ms).unwrap_or(i64::MAX));
    Death {
        reason: match &death.reason {
            polybus_queue::Reason::Spent => Reason::Attempts,
            polybus_queue::Reason::Expired => Reason::Expired,
            polybus_queue::Reason::Rejected(word) => Reason::from(&**word),
        },
        error: death.last_error.as_deref().map(str::to_owned),
        attempts: death.attempts,
        first: death.first_unix_ms.map(time),
        at: time(death.died_unix_ms),
        queue: Name::new(&*death.origin).unwrap_or_else(|_| intake.clone()),
        whole: death.whole,
    }
}

/// The bus's side of one delivery.
struct Held {
    reader: Arc<Reader>,
    token: Token,
    /// When its lease ends unless it is renewed, in nanoseconds since the bus's start.
    until: u64,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("intake", &self.reader.intake).finish_non_exhaustive()
    }
}

#[async_trait]
impl Hold for Held {
    fn settle(self: Arc<Self>, outcome: Outcome) -> Settling {
        match self.reader.settle(self.token, self.until, outcome) {
            Ok(position) if position > self.reader.bus().reached() => {
                Settling::waiting(async move { self.reader.bus().safe(position, Operation::Settle).await })
            }
            settled => Settling::done(settled.map(drop)),
        }
    }

    async fn renew(&self) -> Result<Option<Duration>> {
        let renewed = self.reader.bus().with(|state, now, _| state.engine.renew(self.token, now));
        renewed.map_err(|refusal| refused(refusal, Operation::Renew, &self.reader.intake))
    }
}
