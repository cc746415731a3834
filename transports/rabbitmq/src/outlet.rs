//! One channel with publisher confirms, any number of publishes under way.
//!
//! Two traps of the client library are dealt with here. It numbers a publish and hands over its frames in two steps, so
//! that two tasks could swap them: the first poll happens under a lock. And it attaches a returned message to whichever
//! confirm comes next, which with several under way need not be that of the message: a return is matched by what it
//! holds, and since the broker sends a return before the confirm of the same message, nothing is told before all that
//! has arrived is looked through.

use std::collections::HashMap;
use std::future::{poll_fn, ready};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use futures_util::stream::{FuturesUnordered, Stream};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, ErrorKind};
use polybus_contract::{Operation, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use crate::connection::locked;
use crate::error::{down, of_broker};
use crate::header;
use crate::message::Raw;
use crate::session::ANSWER;

/// Publishes under way on one channel at most: what is more waits with its caller.
const UNDER_WAY: usize = 1024;

/// What the broker said of a publish.
#[derive(Debug)]
pub(crate) enum Verdict {
    Taken,
    /// No queue there.
    Returned,
    /// A bound, or no majority of a quorum queue.
    Refused,
    /// The channel or the connection ended first.
    Lost(lapin::Error),
    /// There was no channel any more; nothing has left.
    Unsent,
}

type Publishing = Pin<Box<dyn Future<Output = lapin::Result<Confirmation>> + Send>>;

/// One of them, until it is known what became of it.
struct UnderWay {
    key: u64,
    publishing: Publishing,
    done: Option<oneshot::Sender<Verdict>>,
    _permit: OwnedSemaphorePermit,
}

/// What happened to one of them.
struct Happened {
    key: u64,
    result: lapin::Result<Confirmation>,
    done: Option<oneshot::Sender<Verdict>>,
}

impl Future for UnderWay {
    type Output = Happened;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Happened> {
        let this = &mut *self;
        this.publishing.as_mut().poll(context).map(|result| Happened {
            key: this.key,
            result,
            done: this.done.take(),
        })
    }
}

/// What was handed over and is not watched yet, and who watches. Held over numbering, handing over and putting here: who
/// is woken by the client library in between finds it here.
#[derive(Default)]
struct Fresh {
    under_way: Vec<UnderWay>,
    /// Woken by the client library itself: to wake it for each publish too would cost as much as the publish.
    watcher: Option<Waker>,
    closed: bool,
}

pub(crate) struct Outlet {
    pub(crate) channel: Arc<Channel>,
    fresh: Arc<Mutex<Fresh>>,
    room: Arc<Semaphore>,
}

impl Drop for Outlet {
    fn drop(&mut self) {
        let mut fresh = locked(&self.fresh);
        fresh.closed = true;
        fresh.watcher.take().into_iter().for_each(Waker::wake);
    }
}

impl std::fmt::Debug for Outlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outlet").field("channel", &self.channel.id()).finish_non_exhaustive()
    }
}

/// Where a publish goes.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) exchange: ShortString,
    pub(crate) key: ShortString,
    pub(crate) mandatory: bool,
}

impl Route {
    /// To a queue by its name on the broker.
    pub(crate) fn queue(name: &str) -> Self {
        Self { exchange: ShortString::default(), key: header::known(name), mandatory: true }
    }
}

impl Outlet {
    pub(crate) async fn open(channel: Channel) -> Result<Self> {
        let selected = timeout(ANSWER, channel.confirm_select(ConfirmSelectOptions::default())).await;
        selected
            .map_err(|_| down(Operation::Publish, "the broker did not answer in time"))?
            .map_err(|error| of_broker(&error, Operation::Publish))?;
        let fresh = Arc::<Mutex<Fresh>>::default();
        tokio::spawn(settle_confirms(fresh.clone()));
        let room = Arc::new(Semaphore::new(UNDER_WAY));
        Ok(Self { channel: Arc::new(channel), fresh, room })
    }

    pub(crate) fn is_open(&self) -> bool {
        self.channel.status().connected()
    }

    /// How many wait for their confirms.
    pub(crate) fn waiting(&self) -> u64 {
        (UNDER_WAY - self.room.available_permits()) as u64
    }

    /// A place among those under way. Whoever waits for one has not sent anything.
    pub(crate) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.room.clone().acquire_owned().await.ok()
    }

    /// The same, if there is one at once.
    pub(crate) fn place_now(&self) -> Option<OwnedSemaphorePermit> {
        self.room.clone().try_acquire_owned().ok()
    }

    /// Hands the message over before it returns, in the order of the calls. The receiver tells what became of it;
    /// dropping it changes nothing.
    pub(crate) fn publish(
        &self,
        permit: OwnedSemaphorePermit,
        route: Route,
        raw: Raw,
    ) -> oneshot::Receiver<Verdict> {
        let (done, verdict) = oneshot::channel();
        let key = key_of(&route.exchange, &route.key, &raw.properties);
        let mut publishing = publishing(self.channel.clone(), route, raw);
        // Bounded by the permits that each of them holds.
        let mut fresh = locked(&self.fresh);
        let watcher = fresh.watcher.as_ref().unwrap_or(Waker::noop());
        let first = publishing.as_mut().poll(&mut Context::from_waker(watcher));
        let publishing = match first {
            Poll::Pending => publishing,
            Poll::Ready(Err(error)) if is_unsent(&error) => {
                let _ = done.send(Verdict::Unsent);
                return verdict;
            }
            // The broker may be faster than this thread.
            Poll::Ready(result) => {
                watcher.wake_by_ref();
                Box::pin(ready(result))
            }
        };
        fresh.under_way.push(UnderWay { key, publishing, done: Some(done), _permit: permit });
        verdict
    }
}

/// Refused before anything was handed over: there was no channel any more.
fn is_unsent(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidChannelState(..) | ErrorKind::InvalidConnectionState(_))
}

fn publishing(channel: Arc<Channel>, route: Route, raw: Raw) -> Publishing {
    Box::pin(async move {
        let Raw { properties, body } = raw;
        let options = BasicPublishOptions { mandatory: route.mandatory, immediate: false };
        channel.basic_publish(route.exchange, route.key, options, &body, properties).await?.await
    })
}

/// What a returned message and the one that was sent have in common.
fn key_of(exchange: &ShortString, key: &ShortString, properties: &BasicProperties) -> u64 {
    let mut hasher = DefaultHasher::new();
    (exchange.as_str(), key.as_str()).hash(&mut hasher);
    properties.message_id().as_ref().map(ShortString::as_str).hash(&mut hasher);
    properties.correlation_id().as_ref().map(ShortString::as_str).hash(&mut hasher);
    let headers = properties.headers().as_ref();
    for name in [header::ID, header::DERIVED_ID] {
        headers.and_then(|headers| headers.inner().get(name)).and_then(header::string).hash(&mut hasher);
    }
    hasher.finish()
}

fn verdict_of(result: lapin::Result<Confirmation>, returned: bool) -> Verdict {
    match result {
        Err(error) => Verdict::Lost(error),
        Ok(_) if returned => Verdict::Returned,
        Ok(Confirmation::Nack(_)) => Verdict::Refused,
        Ok(_) => Verdict::Taken,
    }
}

/// Takes the confirms of one channel, until nobody can send to it any more and all are known.
async fn settle_confirms(fresh: Arc<Mutex<Fresh>>) {
    let mut under_way = FuturesUnordered::new();
    let mut returned = HashMap::new();
    let mut batch = Vec::new();
    let mut open = true;
    while open || !under_way.is_empty() {
        poll_fn(|context| {
            open = take_over(&fresh, &mut under_way, context);
            while let Poll::Ready(Some(happened)) = Pin::new(&mut under_way).poll_next(context) {
                batch.push(happened);
            }
            let over = !open && under_way.is_empty();
            if batch.is_empty() && !over { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        tell(&mut batch, &mut returned);
    }
}

/// Watches what is fresh from now on; says whether more can come.
fn take_over(
    fresh: &Mutex<Fresh>,
    under_way: &mut FuturesUnordered<UnderWay>,
    context: &mut Context<'_>,
) -> bool {
    let mut fresh = locked(fresh);
    if !fresh.watcher.as_ref().is_some_and(|watcher| watcher.will_wake(context.waker())) {
        fresh.watcher = Some(context.waker().clone());
    }
    under_way.extend(fresh.under_way.drain(..));
    !fresh.closed
}

/// Tells what happened to a batch, after looking through all of it for what was returned.
fn tell(batch: &mut Vec<Happened>, returned: &mut HashMap<u64, u32>) {
    for happened in batch.iter() {
        if let Ok(Confirmation::Ack(Some(message)) | Confirmation::Nack(Some(message))) = &happened.result {
            *returned
                .entry(key_of(&message.exchange, &message.routing_key, &message.properties))
                .or_insert(0) += 1;
        }
    }
    for happened in batch.drain(..) {
        let back = !returned.is_empty() && take_one(returned, happened.key);
        if let Some(done) = happened.done {
            // Whoever asked may have stopped waiting.
            let _ = done.send(verdict_of(happened.result, back));
        }
    }
}

/// Messages alike may be under way, and be returned, more than once.
fn take_one(returned: &mut HashMap<u64, u32>, key: u64) -> bool {
    let Some(count) = returned.get_mut(&key) else { return false };
    *count -= 1;
    if *count == 0 {
        returned.remove(&key);
    }
    true
}
