//! Consuming from queues, dead letters and groups.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use polybus_contract::{
    Arrival, ConsumeOptions, Delivery, End, Gap, Incoming, Intake, Kind, LeaseTerms, Message, Name,
    Operation, ReplyTo, Result, Source, Start, SubscriptionHealth, SubscriptionState,
};
use polybus_lines::{GapLine, Names, millis, name};
use rustc_hash::FxHashSet;
use tokio::task::coop;
use tokio::time::Instant;

use crate::connection::Handle;
use crate::error::{refuse, unreadable};
use crate::link::{Link, Slot};
use crate::settle::Held;
use crate::wire::frame::{Packet, kind};
use crate::wire::verbs::{ConsumeHeader, CreditHeader, DeliveryHeader, EndHeader, StopHeader};

/// One consumer, seen from the connection, from its stream and from its deliveries.
pub(crate) struct Reader {
    pub(crate) handle: Arc<Handle>,
    number: u64,
    from: Intake,
    pub(crate) intake: String,
    label: String,
    lease: Option<Duration>,
    inner: Mutex<Inner>,
    /// One at a time brings it to a connection.
    attaching: tokio::sync::Mutex<()>,
    /// Its stream was dropped.
    gone: AtomicBool,
    /// It was live, or may become so later: a queue that is not there yet is waited for.
    patient: AtomicBool,
    arrived: AtomicU64,
}

#[derive(Default)]
struct Inner {
    /// Received and not yet seen by anyone.
    buffer: VecDeque<Raw>,
    gaps: VecDeque<Gap>,
    /// Seen and not settled.
    in_hand: FxHashSet<u64>,
    waker: Option<Waker>,
    end: Option<End>,
    credit: u32,
    /// Whether it is live on the connection there is.
    live: bool,
    /// Since when its queue is not there.
    missing_since: Option<Instant>,
}

struct Raw {
    delivery: u64,
    session: u64,
    message: Message,
    queue: Name,
    attempt: u32,
    lease: Option<Duration>,
    /// When its lease ends by our clock.
    until: Option<Instant>,
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
    pub(crate) async fn consume(
        self: &Arc<Self>,
        from: &Intake,
        options: ConsumeOptions,
    ) -> Result<Incoming<Delivery>> {
        self.takes_in(Operation::Consume)?;
        if options.credit == 0 || options.lease.is_some_and(|lease| lease.is_zero()) {
            return Err(refuse(Kind::InvalidOption, Operation::Consume, from)
                .with_detail("credit and lease must not be zero"));
        }
        let reader = Arc::new(Reader {
            handle: self.clone(),
            number: self.switch.number(),
            from: from.clone(),
            intake: from.to_string(),
            label: options.label,
            lease: options.lease,
            inner: Mutex::new(Inner { credit: options.credit, ..Inner::default() }),
            attaching: tokio::sync::Mutex::default(),
            gone: AtomicBool::new(false),
            patient: AtomicBool::new(options.start == Start::Eventually),
            arrived: AtomicU64::new(0),
        });
        self.switch.add_stream(reader.number, Slot::Reader(reader.clone()));
        self.add_reader(&reader);
        self.start();
        // Dropped from here on, it leaves nothing behind.
        let deliveries = Deliveries { reader };
        match options.start {
            Start::Live(within) => deliveries.reader.go_live(Instant::now() + within).await?,
            Start::Eventually => {
                if let Some(link) = self.link_now() {
                    let reader = deliveries.reader.clone();
                    tokio::spawn(async move { reader.attach(&link, Instant::now() + ATTACH).await });
                }
            }
        }
        Ok(Incoming::new(deliveries))
    }
}

/// How long attaching may take where nobody waits for it.
pub(crate) const ATTACH: Duration = Duration::from_secs(20);

/// How long a queue that was there is waited for, and the pause between tries.
const MISSING: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_millis(100);

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
        self.reader.handle.forget_readers();
    }
}

impl Reader {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn go_live(self: &Arc<Self>, until: Instant) -> Result<()> {
        loop {
            let link = self.handle.link(Operation::Consume, until).await;
            let link = link.map_err(|error| error.with_target(&self.from))?;
            match self.attach(&link, until).await {
                // That connection is gone; the next one may come in time.
                Err(error) if error.kind() == Kind::Disconnected && Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                done => return done,
            }
        }
    }

    /// Consumes over this connection, unless it does already. What the broker refuses for good ends the stream.
    pub(crate) async fn attach(self: &Arc<Self>, link: &Arc<Link>, until: Instant) -> Result<()> {
        let _alone = self.attaching.lock().await;
        let credit = {
            let inner = self.inner();
            if inner.end.is_some() || (inner.live && !link.is_gone()) {
                return Ok(());
            }
            inner.credit
        };
        let header = ConsumeHeader {
            from: (&self.from).into(),
            credit,
            lease_ms: self.lease.map(millis),
            label: self.label.clone(),
        };
        let packet = Packet::new(kind::CONSUME, self.number, &header);
        match link.ask(packet, Operation::Consume, until).await {
            Ok(_) => {
                let mut inner = self.inner();
                if inner.end.is_some() {
                    // It left while the broker was asked, and may have said so before.
                    drop(inner);
                    link.tell(&Packet::new(kind::STOP, self.number, &StopHeader { gone: true }));
                    return Ok(());
                }
                inner.live = !link.is_gone();
                inner.missing_since = None;
                self.patient.store(true, Ordering::Release);
                let (changed, now) = (inner.credit != credit, inner.credit);
                drop(inner);
                if changed {
                    link.tell(&Packet::new(kind::CREDIT, self.number, &CreditHeader { credit: now }));
                }
                self.handle.health.notify_waiters();
                Ok(())
            }
            Err(error) => {
                let error = if error.target().is_none() { error.with_target(&self.from) } else { error };
                if error.kind() == Kind::NotFound && self.patient.load(Ordering::Acquire) {
                    self.be_patient(link);
                } else if !matches!(error.kind(), Kind::Disconnected | Kind::DeadlineExceeded) {
                    self.leave(End::Failed(error.clone()));
                }
                Err(error)
            }
        }
    }

    /// A broker that has lost its queues gets them again from whoever declared them: this one tries again in a moment, and
    /// in the end gives up.
    fn be_patient(self: &Arc<Self>, link: &Arc<Link>) {
        let mut since = self.inner().missing_since;
        let began = *since.get_or_insert_with(Instant::now);
        self.inner().missing_since = since;
        if began.elapsed() > MISSING {
            self.patient.store(false, Ordering::Release);
        }
        let (reader, link) = (self.clone(), link.clone());
        tokio::spawn(async move {
            tokio::time::sleep(AGAIN).await;
            if !link.is_gone() {
                let _ = reader.attach_again(&link).await;
            }
        });
    }

    // Boxed, since attaching may lead here again.
    fn attach_again<'a>(
        self: &'a Arc<Self>,
        link: &'a Arc<Link>,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>> {
        Box::pin(self.attach(link, Instant::now() + ATTACH))
    }

    /// The connection is lost. What nobody has seen the broker gives to whoever wants it.
    pub(crate) fn lost(&self) {
        let mut inner = self.inner();
        inner.live = false;
        let unseen = std::mem::take(&mut inner.buffer);
        drop(inner);
        drop(unseen);
    }

    /// The broker has forgotten this client: what is in hand is no longer held.
    pub(crate) fn begun_anew(&self) {
        self.inner().in_hand.clear();
        self.handle.given_back();
    }

    pub(crate) fn list_held(&self, to: &mut Vec<u64>) {
        to.extend(self.inner().in_hand.iter().copied());
    }

    /// A delivery came.
    pub(crate) fn arrive(&self, packet: Packet, link: &Link) {
        let delivery = match self.read(packet, link) {
            Ok(raw) => raw,
            Err(fault) => return self.end(End::Failed(unreadable(Operation::Consume, fault))),
        };
        let mut inner = self.inner();
        if inner.end.is_some() {
            drop(inner);
            return link.release(delivery.delivery);
        }
        if link.is_gone() {
            // The broker gives it to whoever wants it.
            return;
        }
        inner.buffer.push_back(delivery);
        wake(inner);
    }

    fn read(&self, mut packet: Packet, link: &Link) -> Result<Raw, String> {
        let header: DeliveryHeader = packet.read()?;
        let instance = &link.profile.instance;
        let body = packet.take_body();
        let message = header
            .message
            .message(body, Names::Checked, |address| ReplyTo::new(instance.clone(), address.as_str()))?;
        let lease = header.lease_ms.map(Duration::from_millis);
        Ok(Raw {
            delivery: header.delivery,
            session: link.switch.session(),
            message,
            queue: match &self.from {
                Intake::Queue(queue) if header.queue == queue.as_str() => queue.clone(),
                _ => name(&header.queue)?,
            },
            attempt: header.attempt,
            lease,
            until: lease.and_then(|lease| Instant::now().checked_add(lease)),
        })
    }

    /// A gap, or the end.
    pub(crate) fn hear(&self, packet: &Packet) {
        match packet.kind {
            kind::GAP => {
                let Ok(header) = packet.read::<GapLine>() else { return };
                let gap = Gap::from(header);
                let mut inner = self.inner();
                inner.gaps.push_back(gap);
                wake(inner);
            }
            kind::END => self.end(end_of(packet, Operation::Consume)),
            _ => {}
        }
    }

    /// Ends the stream behind what is in its buffer.
    fn end(&self, end: End) {
        let mut inner = self.inner();
        inner.end.get_or_insert(end);
        inner.live = false;
        wake(inner);
        self.handle.switch.remove_stream(self.number);
    }

    fn poll_next(self: &Arc<Self>, context: &Context<'_>) -> Poll<Result<Arrival<Delivery>, End>> {
        let mut inner = self.inner();
        // What lay here longer than its lease is someone else's by now.
        let now = Instant::now();
        while let Some(raw) = inner.buffer.pop_front_if(|raw| raw.until.is_some_and(|until| until <= now)) {
            // The broker counts it for the credit until it hears of it.
            if let Some(link) = self.handle.switch.link() {
                link.release(raw.delivery);
            }
        }
        if let Some(gap) = inner.gaps.pop_front() {
            return Poll::Ready(Ok(Arrival::Gap(gap)));
        }
        if let Some(raw) = inner.buffer.pop_front() {
            inner.in_hand.insert(raw.delivery);
            drop(inner);
            self.arrived.fetch_add(1, Ordering::Relaxed);
            return Poll::Ready(Ok(Arrival::Item(self.delivery(raw))));
        }
        if let Some(end) = &inner.end {
            return Poll::Ready(Err(end.clone()));
        }
        if !inner.waker.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
            inner.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    fn delivery(self: &Arc<Self>, raw: Raw) -> Delivery {
        let terms = raw.lease.map_or(LeaseTerms::Connection, LeaseTerms::Timed);
        let hold = Arc::new(Held { reader: self.clone(), delivery: raw.delivery, session: raw.session });
        Delivery::new(raw.message, raw.queue, raw.attempt, terms, hold)
    }

    /// A delivery is out of somebody's hands.
    pub(crate) fn let_go(&self, delivery: u64) {
        self.inner().in_hand.remove(&delivery);
        self.handle.given_back();
        if self.gone.load(Ordering::Acquire) {
            self.handle.forget_readers();
        }
    }

    fn set_credit(&self, credit: u32) -> Result<()> {
        if credit == 0 {
            return Err(refuse(Kind::InvalidOption, Operation::Credit, &self.intake)
                .with_detail("credit must be at least 1"));
        }
        let mut inner = self.inner();
        if inner.end.is_some() {
            return Err(crate::error::closed(Operation::Credit));
        }
        inner.credit = credit;
        let link = self.handle.switch.link().filter(|_| inner.live);
        // Beyond a credit that was cut, what nobody has seen goes back, the newest first.
        let most = (credit as usize).saturating_sub(inner.in_hand.len());
        let keep = inner.buffer.len().min(most);
        let beyond = inner.buffer.split_off(keep);
        drop(inner);
        if let Some(link) = link {
            link.tell(&Packet::new(kind::CREDIT, self.number, &CreditHeader { credit }));
            beyond.iter().rev().for_each(|raw| link.release(raw.delivery));
        }
        Ok(())
    }

    /// Ends the stream: gives back what nobody has seen, and lets the rest be settled. Returns how many were given back.
    pub(crate) fn leave(&self, end: End) -> u64 {
        let mut inner = self.inner();
        if inner.end.is_some() && !inner.live && inner.buffer.is_empty() {
            return 0;
        }
        let link = self.handle.switch.link();
        let unseen = std::mem::take(&mut inner.buffer);
        inner.live = false;
        inner.end.get_or_insert(end);
        wake(inner);
        self.handle.switch.remove_stream(self.number);
        if let Some(link) = link {
            // Before anything goes back: it shall not come here again.
            link.tell(&Packet::new(kind::STOP, self.number, &StopHeader { gone: true }));
            unseen.iter().rev().for_each(|raw| link.release(raw.delivery));
        }
        unseen.len() as u64
    }

    /// How many of its deliveries are in somebody's hands.
    pub(crate) fn holds(&self) -> u64 {
        self.inner().in_hand.len() as u64
    }

    /// Gives back what is in somebody's hands, its attempt counted: the handler had its time. Returns how many that were.
    pub(crate) fn abandon(&self) -> u64 {
        let held = std::mem::take(&mut self.inner().in_hand);
        held.len() as u64
    }

    /// Whether its stream is gone and none of its deliveries is out.
    pub(crate) fn is_over(&self) -> bool {
        self.gone.load(Ordering::Acquire) && self.holds() == 0
    }

    pub(crate) fn health(&self) -> Option<SubscriptionHealth> {
        let inner = self.inner();
        if inner.end.is_some() && inner.in_hand.is_empty() {
            return None;
        }
        let down = self.handle.down_for();
        Some(SubscriptionHealth {
            intake: self.intake.clone(),
            label: self.label.clone(),
            state: match down {
                Some(down) => SubscriptionState::Down(down),
                None if inner.live || inner.end.is_some() => SubscriptionState::Live,
                None => SubscriptionState::Down(Duration::ZERO),
            },
            in_hand: u32::try_from(inner.in_hand.len()).unwrap_or(u32::MAX),
            arrived: self.arrived.load(Ordering::Relaxed),
        })
    }
}

fn wake(mut inner: MutexGuard<'_, Inner>) {
    let waker = inner.waker.take();
    drop(inner);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// How the broker says that a stream ended.
pub(crate) fn end_of(packet: &Packet, operation: Operation) -> End {
    match packet.read::<EndHeader>() {
        Ok(EndHeader::Stopped) => End::Stopped,
        // The broker's own end is no end that anybody asked for here.
        Ok(EndHeader::Drained) => End::Failed(crate::error::down(operation, "the broker has ended")),
        Ok(EndHeader::Complete) => End::Complete,
        Ok(EndHeader::Failed { error }) => End::Failed(error.error(operation)),
        Err(fault) => End::Failed(unreadable(operation, fault)),
    }
}
