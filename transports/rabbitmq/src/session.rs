//! What lives as long as a pair of connections does: one for publishing, one for consuming. An alarm of the broker
//! stops the reading of whole connections that publish, and acks must not wait behind it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use lapin::{Channel, Connection, Event};
use polybus_contract::{Kind, Operation, Result};
use tokio::sync::{Mutex as TurnMutex, Notify, watch};
use tokio::time::{Duration, Instant, timeout, timeout_at};

use crate::config::Config;
use crate::dial::{Dialled, Socket, dial};
use crate::error::{down, refuse, text_of};
use crate::outlet::Outlet;

/// How often a connection is looked at, besides being listened to.
const LOOK: Duration = Duration::from_millis(500);

/// What a publish goes through: each on a channel of its own, so that one that the broker closes harms no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To queues: cannot offend the broker.
    Queues,
    /// To exchanges, which may be gone.
    Topics,
    /// To addresses that strangers wrote.
    Replies,
    /// Requests: with direct reply-to the replies come back on this channel.
    Requests,
    /// To queues, by senders that do not wait.
    Unconfirmed,
}

const WAYS: usize = 5;

/// Numbers sessions over all handles of the process.
static GENERATIONS: AtomicU64 = AtomicU64::new(1);

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) generation: u64,
    /// Which of the named brokers it leads to.
    pub(crate) place: usize,
    pub(crate) consuming: Connection,
    publishing: Connection,
    sockets: [Socket; 2],
    outlets: [Mutex<Option<Arc<Outlet>>>; WAYS],
    opening: TurnMutex<()>,
    /// Unconfirmed publishes to exchanges.
    plain: Mutex<Option<Channel>>,
    /// Declaring, looking, fetching.
    desk: TurnMutex<Option<Desk>>,
    /// Declaring what only this connection may use.
    private: TurnMutex<Option<Channel>>,
    config: Config,
    /// The subscriptions of this session share one.
    pub(crate) listening: TurnMutex<Option<Channel>>,
    blocked: watch::Sender<bool>,
    lost: watch::Sender<Option<Arc<str>>>,
    pub(crate) closing: AtomicBool,
    changed: Arc<Notify>,
}

impl Session {
    /// Connects twice, both to the same broker where several are named and it answers twice.
    pub(crate) async fn open(
        config: &Config,
        turn: usize,
        until: Instant,
        changed: Arc<Notify>,
    ) -> Result<Arc<Self>> {
        let first = dial(config, "consuming", turn, until).await?;
        let second =
            dial(config, "publishing", first.place, until).await.inspect_err(|_| first.socket.shut())?;
        let session = Arc::new(Self {
            generation: GENERATIONS.fetch_add(1, Ordering::Relaxed),
            place: first.place,
            consuming: first.connection,
            publishing: second.connection,
            sockets: [first.socket, second.socket],
            outlets: Default::default(),
            opening: TurnMutex::default(),
            plain: Mutex::default(),
            desk: TurnMutex::default(),
            private: TurnMutex::default(),
            config: config.clone(),
            listening: TurnMutex::default(),
            blocked: watch::Sender::new(false),
            lost: watch::Sender::new(None),
            closing: AtomicBool::new(false),
            changed,
        });
        session.watch(&session.consuming);
        session.watch(&session.publishing);
        Ok(session)
    }

    /// Listens to a connection until it is lost.
    fn watch(self: &Arc<Self>, connection: &Connection) {
        let mut events = Box::pin(connection.events_listener());
        let session = Arc::downgrade(self);
        let status = connection.status().clone();
        tokio::spawn(async move {
            loop {
                let event = timeout(LOOK, events.next()).await;
                let Some(session) = session.upgrade() else { return };
                match event {
                    Ok(Some(Event::ConnectionBlocked(reason))) => session.block(&reason),
                    Ok(Some(Event::ConnectionUnblocked)) => session.unblock(),
                    Ok(Some(Event::Error(error))) if !status.connected() => session.lose(&text_of(&error)),
                    Ok(None) => session.lose("the connection ended"),
                    _ if !status.connected() => session.lose("the connection is closed"),
                    _ => {}
                }
                if session.lost().is_some() {
                    return;
                }
            }
        });
    }

    fn block(&self, reason: &str) {
        tracing::warn!(reason, "the broker holds publishers back");
        self.blocked.send_replace(true);
        self.changed.notify_waiters();
    }

    fn unblock(&self) {
        tracing::info!("the broker takes publishes again");
        self.blocked.send_replace(false);
        self.changed.notify_waiters();
    }

    /// Ends it for everybody. The sockets are shut: what waits on them ends.
    pub(crate) fn lose(&self, reason: &str) {
        let first = self.lost.send_if_modified(|lost| {
            let first = lost.is_none();
            lost.get_or_insert_with(|| reason.into());
            first
        });
        if first {
            self.sockets.iter().for_each(Socket::shut);
        }
    }

    pub(crate) fn lost(&self) -> Option<Arc<str>> {
        self.lost.borrow().clone()
    }

    /// Why it was lost, once it is.
    pub(crate) async fn when_lost(&self) -> Arc<str> {
        let mut lost = self.lost.subscribe();
        match lost.wait_for(Option::is_some).await {
            Ok(lost) => lost.clone().unwrap_or_default(),
            Err(_) => "the session ended".into(),
        }
    }

    pub(crate) fn is_blocked(&self) -> bool {
        *self.blocked.borrow()
    }

    /// Whether the broker holds publishers back by then.
    pub(crate) async fn blocks(&self, until: Instant) -> bool {
        timeout_at(until, self.blocked.subscribe().wait_for(|blocked| *blocked)).await.is_ok()
    }

    /// Waits until the broker takes publishes; `Full` at the bound.
    pub(crate) async fn unblocked(&self, until: Instant, operation: Operation) -> Result<()> {
        if !self.is_blocked() {
            return Ok(());
        }
        let mut blocked = self.blocked.subscribe();
        let free = timeout_at(until, blocked.wait_for(|blocked| !blocked)).await.is_ok();
        if free {
            return Ok(());
        }
        Err(polybus_contract::Error::new(Kind::Full, operation)
            .with_detail("the broker holds publishers back: an alarm of memory or disk"))
    }

    /// The confirmed channel of this way, opened anew if the broker closed it.
    pub(crate) async fn outlet(&self, way: Way) -> Result<Arc<Outlet>> {
        if let Some(outlet) = self.known_outlet(way) {
            return Ok(outlet);
        }
        let _turn = self.opening.lock().await;
        if let Some(outlet) = self.known_outlet(way) {
            return Ok(outlet);
        }
        let channel = self.channel(&self.publishing, Operation::Publish).await?;
        let outlet = Arc::new(Outlet::open(channel).await?);
        *slot(&self.outlets[way as usize]) = Some(outlet.clone());
        Ok(outlet)
    }

    /// The confirmed channel of this way, if it is open.
    pub(crate) fn known_outlet(&self, way: Way) -> Option<Arc<Outlet>> {
        slot(&self.outlets[way as usize]).as_ref().filter(|outlet| outlet.is_open()).cloned()
    }

    /// The channel for unconfirmed publishes.
    pub(crate) async fn plain(&self) -> Result<Channel> {
        let known = || slot(&self.plain).clone().filter(|channel| channel.status().connected());
        if let Some(channel) = known() {
            return Ok(channel);
        }
        let _turn = self.opening.lock().await;
        if let Some(channel) = known() {
            return Ok(channel);
        }
        let channel = self.channel(&self.publishing, Operation::Publish).await?;
        *slot(&self.plain) = Some(channel.clone());
        Ok(channel)
    }

    /// A fresh channel. The client library remembers the error of a channel that the broker closed by its number, and
    /// answers with it when that number comes round again: then this connection is used up.
    async fn channel(&self, connection: &Connection, operation: Operation) -> Result<Channel> {
        let opened = timeout(ANSWER, connection.create_channel()).await.map_err(|_| silent(operation))?;
        opened.map_err(|error| {
            if error.is_amqp_soft_error() {
                self.lose("the channels of the connection are used up");
            }
            down(operation, &text_of(&error))
        })
    }

    /// A channel for one consumer.
    pub(crate) async fn consumer_channel(&self) -> Result<Channel> {
        self.channel(&self.consuming, Operation::Consume).await
    }

    /// Runs one command at the desk, one at a time. After an error the broker has closed its channel, and the next one
    /// gets a fresh channel.
    pub(crate) async fn ask<T, F>(&self, operation: Operation, command: impl FnOnce(Channel) -> F) -> Asked<T>
    where
        F: Future<Output = lapin::Result<T>>,
    {
        // Apart: it is seldom, and every send would carry the room for it.
        Box::pin(self.ask_here(operation, command)).await
    }

    async fn ask_here<T, F>(&self, operation: Operation, command: impl FnOnce(Channel) -> F) -> Asked<T>
    where
        F: Future<Output = lapin::Result<T>>,
    {
        let mut slot = self.desk.lock().await;
        if slot.as_ref().is_some_and(Desk::is_used_up) {
            *slot = None;
        }
        let desk = match &mut *slot {
            Some(desk) => desk,
            None => slot.insert(Desk::open(&self.config, self.place).await.map_err(Refused::Ours)?),
        };
        let known = desk.channel.take().filter(|channel| channel.status().connected());
        let channel = if let Some(channel) = known {
            channel
        } else {
            let opened = timeout(ANSWER, desk.connection.create_channel()).await;
            opened.map_err(|_| Refused::Ours(silent(operation)))?.map_err(Refused::Broker)?
        };
        let answer = answered(operation, command(channel.clone())).await;
        match &answer {
            Ok(_) => desk.channel = Some(channel),
            Err(_) => desk.burned += 1,
        }
        answer
    }

    /// As [`Session::ask`], on the connection that consumes: what is private belongs to it.
    pub(crate) async fn ask_private<T, F>(
        &self,
        operation: Operation,
        command: impl FnOnce(Channel) -> F,
    ) -> Asked<T>
    where
        F: Future<Output = lapin::Result<T>>,
    {
        let mut slot = self.private.lock().await;
        let channel = match slot.take().filter(|channel| channel.status().connected()) {
            Some(channel) => channel,
            None => self.channel(&self.consuming, operation).await.map_err(Refused::Ours)?,
        };
        let answer = Box::pin(answered(operation, command(channel.clone()))).await;
        if answer.is_ok() {
            *slot = Some(channel);
        }
        answer
    }

    /// How many publishes wait for their confirms.
    pub(crate) fn unconfirmed(&self) -> u64 {
        let waiting =
            |outlet: &Mutex<Option<Arc<Outlet>>>| slot(outlet).as_ref().map_or(0, |outlet| outlet.waiting());
        self.outlets.iter().map(waiting).sum()
    }

    /// Closes both connections within the bound, then without asking.
    pub(crate) async fn close(&self, until: Instant) {
        self.closing.store(true, Ordering::Release);
        let bound = until.max(Instant::now() + FAREWELL);
        let farewell = async {
            // The order matters: acks may wait for publishes that were confirmed.
            let _ = self.publishing.close(200, "OK".into()).await;
            let _ = self.consuming.close(200, "OK".into()).await;
        };
        let _ = timeout_at(bound, farewell).await;
        drop(self.desk.lock().await.take());
        self.lose("closed");
    }
}

/// How long the broker may take to answer a command.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);

/// A connection for commands that the broker may answer by closing their channel. The client library remembers the
/// error of such a channel by its number, of which there are 2047, so the connection is replaced before they come round.
#[derive(Debug)]
struct Desk {
    connection: Connection,
    socket: Socket,
    channel: Option<Channel>,
    burned: u32,
}

/// Channels that may be burned on one connection.
const BURNED: u32 = 1000;

impl Desk {
    async fn open(config: &Config, turn: usize) -> Result<Self> {
        let Dialled { connection, socket, .. } = dial(config, "desk", turn, Instant::now() + ANSWER).await?;
        Ok(Self { connection, socket, channel: None, burned: 0 })
    }

    fn is_used_up(&self) -> bool {
        self.burned >= BURNED || !self.connection.status().connected()
    }
}

impl Drop for Desk {
    /// Nothing of what was asked waits for anything.
    fn drop(&mut self) {
        self.socket.shut();
    }
}

async fn answered<T>(operation: Operation, command: impl Future<Output = lapin::Result<T>>) -> Asked<T> {
    match timeout(ANSWER, command).await {
        Ok(answer) => answer.map_err(Refused::Broker),
        Err(_) => Err(Refused::Ours(silent(operation))),
    }
}

/// How long a connection may take to say goodbye, also if the drain has no time left.
const FAREWELL: Duration = Duration::from_secs(1);

fn slot<T>(slot: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

fn silent(operation: Operation) -> polybus_contract::Error {
    down(operation, "the broker did not answer in time")
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Refused {
    Broker(lapin::Error),
    Ours(polybus_contract::Error),
}

pub(crate) type Asked<T> = std::result::Result<T, Refused>;

impl Refused {
    /// The broker's reply code.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Broker(error) => crate::error::code_of(error),
            Self::Ours(_) => None,
        }
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Self::Broker(error) => text_of(error),
            Self::Ours(error) => error.to_string(),
        }
    }

    pub(crate) fn of(self, operation: Operation, target: impl std::fmt::Display) -> polybus_contract::Error {
        match self {
            Self::Broker(error) => {
                refuse(crate::error::kind_of(&error), operation, target).with_detail(text_of(&error))
            }
            Self::Ours(error) => error.with_target(target),
        }
    }
}
