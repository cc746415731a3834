//! Ephemeral subscriptions of topics.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use polybus_contract::{
    Arrival, End, Gap, GapCause, Incoming, Kind, Message, Name, Operation, ReplyTo, Result, Source, Start,
    SubscribeOptions, SubscriptionHealth, SubscriptionState,
};
use polybus_lines::{GapLine, Names};
use tokio::task::coop;
use tokio::time::Instant;

use crate::connection::{Handle, locked};
use crate::consume::{ATTACH, end_of};
use crate::error::{refuse, unreadable};
use crate::link::{Link, Slot};
use crate::wire::frame::{Packet, kind};
use crate::wire::verbs::{StopHeader, SubscribeHeader, TopicHeader};

/// Bytes that wait for one reader at most, whatever their number; a single message may be larger.
const BYTES: u64 = 64 << 20;

/// One subscription: a bounded buffer that loses its oldest and knows how many.
pub(crate) struct Subscription {
    handle: Arc<Handle>,
    number: u64,
    topic: Name,
    label: String,
    limit: u32,
    inner: Mutex<Inner>,
    attaching: tokio::sync::Mutex<()>,
    arrived: AtomicU64,
}

#[derive(Default)]
struct Inner {
    buffer: VecDeque<Message>,
    bytes: u64,
    /// Dropped at the bound, here or at the broker, since the last gap that was shown.
    missed: u64,
    /// What else is to be shown before the next message.
    gaps: VecDeque<Gap>,
    waker: Option<Waker>,
    end: Option<End>,
    live: bool,
    /// It was live once.
    before: bool,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("topic", &self.topic)
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

impl Handle {
    pub(crate) async fn subscribe(
        self: &Arc<Self>,
        topic: &Name,
        options: SubscribeOptions,
    ) -> Result<Incoming<Message>> {
        self.takes_in(Operation::Subscribe)?;
        if options.buffer == 0 {
            return Err(refuse(Kind::InvalidOption, Operation::Subscribe, topic)
                .with_detail("buffer must be at least 1"));
        }
        let subscription = Arc::new(Subscription {
            handle: self.clone(),
            number: self.switch.number(),
            topic: topic.clone(),
            label: options.label,
            limit: options.buffer,
            inner: Mutex::default(),
            attaching: tokio::sync::Mutex::default(),
            arrived: AtomicU64::new(0),
        });
        self.switch.add_stream(subscription.number, Slot::Subscription(subscription.clone()));
        self.add_subscription(&subscription);
        self.start();
        let messages = Messages { subscription };
        match options.start {
            Start::Live(within) => messages.subscription.go_live(Instant::now() + within).await?,
            Start::Eventually => {
                if let Some(link) = self.link_now() {
                    let subscription = messages.subscription.clone();
                    tokio::spawn(async move { subscription.attach(&link, Instant::now() + ATTACH).await });
                }
            }
        }
        Ok(Incoming::new(messages))
    }

    fn add_subscription(&self, subscription: &Arc<Subscription>) {
        locked(&self.subscriptions).push(subscription.clone());
        self.health.notify_waiters();
        if self.takes_in(Operation::Subscribe).is_err() {
            subscription.leave(End::Drained);
        }
    }

    fn remove_subscription(&self, subscription: &Arc<Subscription>) {
        locked(&self.subscriptions).retain(|other| !Arc::ptr_eq(other, subscription));
        self.health.notify_waiters();
    }
}

impl Subscription {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn go_live(self: &Arc<Self>, until: Instant) -> Result<()> {
        loop {
            let link = self.handle.link(Operation::Subscribe, until).await;
            let link = link.map_err(|error| error.with_target(&self.topic))?;
            match self.attach(&link, until).await {
                Err(error) if error.kind() == Kind::Disconnected && Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                done => return done,
            }
        }
    }

    /// Subscribes over this connection, unless it does already. What the broker refuses for good ends the stream.
    pub(crate) async fn attach(self: &Arc<Self>, link: &Arc<Link>, until: Instant) -> Result<()> {
        let _alone = self.attaching.lock().await;
        {
            let inner = self.inner();
            if inner.end.is_some() || (inner.live && !link.is_gone()) {
                return Ok(());
            }
        }
        let header =
            SubscribeHeader { topic: self.topic.to_string(), buffer: self.limit, label: self.label.clone() };
        let packet = Packet::new(kind::SUBSCRIBE, self.number, &header);
        match link.ask(packet, Operation::Subscribe, until).await {
            Ok(_) => {
                let mut inner = self.inner();
                if inner.end.is_some() {
                    // It left while the broker was asked, and may have said so before.
                    drop(inner);
                    link.tell(&Packet::new(kind::STOP, self.number, &StopHeader { gone: true }));
                    return Ok(());
                }
                inner.live = !link.is_gone();
                if std::mem::replace(&mut inner.before, true) {
                    // What was published meanwhile nobody can count.
                    inner.gaps.push_back(Gap { missed: None, cause: GapCause::Outage });
                }
                wake(inner);
                self.handle.health.notify_waiters();
                Ok(())
            }
            Err(error) => {
                let error = if error.target().is_none() { error.with_target(&self.topic) } else { error };
                if !matches!(error.kind(), Kind::Disconnected | Kind::DeadlineExceeded) {
                    self.leave(End::Failed(error.clone()));
                }
                Err(error)
            }
        }
    }

    pub(crate) fn lost(&self) {
        self.inner().live = false;
    }

    /// A message, a gap, or the end.
    pub(crate) fn arrive(&self, packet: Packet, link: &Link) {
        match packet.kind {
            kind::TOPIC => match read(packet, link) {
                Ok(message) => self.push(message),
                Err(fault) => self.end(End::Failed(unreadable(Operation::Subscribe, fault))),
            },
            kind::GAP => {
                let Ok(header) = packet.read::<GapLine>() else { return };
                let mut inner = self.inner();
                match Gap::from(header) {
                    Gap { missed: Some(missed), cause: GapCause::SlowReader } => inner.missed += missed,
                    other => inner.gaps.push_back(other),
                }
                wake(inner);
            }
            kind::END => self.end(end_of(&packet, Operation::Subscribe)),
            _ => {}
        }
    }

    /// Adds a message. At a bound the oldest go: this reader sees a gap, nobody else notices.
    fn push(&self, message: Message) {
        let mut inner = self.inner();
        if inner.end.is_some() {
            return;
        }
        inner.bytes += message.size();
        inner.buffer.push_back(message);
        let mut dropped = 0;
        while inner.buffer.len() > self.limit as usize || (inner.bytes > BYTES && inner.buffer.len() > 1) {
            let Some(oldest) = inner.buffer.pop_front() else { break };
            inner.bytes -= oldest.size();
            dropped += 1;
        }
        inner.missed += dropped;
        wake(inner);
        self.handle.missed.fetch_add(dropped, Ordering::Relaxed);
    }

    fn end(&self, end: End) {
        let mut inner = self.inner();
        inner.end.get_or_insert(end);
        inner.live = false;
        wake(inner);
        self.handle.switch.remove_stream(self.number);
    }

    /// Ends the stream after what is in its buffer.
    pub(crate) fn leave(&self, end: End) {
        self.end(end);
        if let Some(link) = self.handle.switch.link() {
            link.tell(&Packet::new(kind::STOP, self.number, &StopHeader { gone: true }));
        }
    }

    fn next(&self, context: &Context<'_>) -> Poll<Result<Arrival<Message>, End>> {
        let mut inner = self.inner();
        if inner.missed > 0 {
            let missed = Some(std::mem::take(&mut inner.missed));
            return Poll::Ready(Ok(Arrival::Gap(Gap { missed, cause: GapCause::SlowReader })));
        }
        if let Some(gap) = inner.gaps.pop_front() {
            return Poll::Ready(Ok(Arrival::Gap(gap)));
        }
        if let Some(message) = inner.buffer.pop_front() {
            inner.bytes -= message.size();
            drop(inner);
            self.arrived.fetch_add(1, Ordering::Relaxed);
            return Poll::Ready(Ok(Arrival::Item(message)));
        }
        if let Some(end) = &inner.end {
            return Poll::Ready(Err(end.clone()));
        }
        inner.waker = Some(context.waker().clone());
        Poll::Pending
    }

    pub(crate) fn health(&self) -> SubscriptionHealth {
        let down = self.handle.down_for();
        let live = self.inner().live;
        SubscriptionHealth {
            intake: format!("topic {}", self.topic),
            label: self.label.clone(),
            state: match down {
                Some(down) => SubscriptionState::Down(down),
                None if live => SubscriptionState::Live,
                None => SubscriptionState::Down(Duration::ZERO),
            },
            in_hand: 0,
            arrived: self.arrived.load(Ordering::Relaxed),
        }
    }
}

fn read(mut packet: Packet, link: &Link) -> Result<Message, String> {
    let header: TopicHeader = packet.read()?;
    let instance = &link.profile.instance;
    header.message.message(packet.take_body(), Names::Checked, |address| {
        ReplyTo::new(instance.clone(), address.as_str())
    })
}

fn wake(mut inner: MutexGuard<'_, Inner>) {
    let waker = inner.waker.take();
    drop(inner);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The stream of a subscription.
#[derive(Debug)]
struct Messages {
    subscription: Arc<Subscription>,
}

impl Source<Message> for Messages {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Arrival<Message>, End>> {
        let progress = ready!(coop::poll_proceed(context));
        let next = self.subscription.next(context);
        if next.is_ready() {
            progress.made_progress();
        }
        next
    }

    fn stop(&mut self) {
        self.subscription.leave(End::Stopped);
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.subscription.leave(End::Stopped);
        self.subscription.handle.remove_subscription(&self.subscription);
    }
}
