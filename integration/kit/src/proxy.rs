//! A TCP proxy that makes a link bad on purpose (K4): it swallows, delays, throttles, truncates, refuses and resets.
//!
//! It stands between a transport and its broker, on 127.0.0.1, knows nothing of what passes, and changes its behaviour
//! while connections are open. What waits in it is bounded, and so are its connections.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! use polybus_kit::proxy::{Behaviour, Proxy};
//!
//! let proxy = Proxy::start("127.0.0.1:5672").await?;
//! let url = format!("amqp://{}", proxy.address());
//! proxy.set(Behaviour::blackhole()); // silent from here on, with all connections up
//! proxy.set(Behaviour::clear()); // what lost bytes is reset, the rest goes on
//! proxy.reset(); // every connection ends with a reset
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use polybus_contract::{Error, Feature, Name, Operation, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::faults::{Fault, Faults};

/// Connections at once; more are reset, and counted.
const CONNECTIONS: usize = 1024;
/// The largest piece that is passed on at once.
const PIECE: usize = 16 << 10;
/// Pieces of one direction of one connection that wait at most: a link of 1 MiB.
const PIECES: usize = 64;
/// How long the broker may take to accept.
const CONNECT: Duration = Duration::from_secs(10);

/// How the link behaves, in both directions of every connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Behaviour {
    /// Nothing arrives, and nobody is told: connections stay up, new ones are accepted. A connection that lost bytes is
    /// reset when this ends, for a stream has no holes. An end of one side is not told to the other before.
    pub blackhole: bool,
    /// New connections are reset at once.
    pub refuse: bool,
    /// What arrives is this much late. What is sent meanwhile is late by as much, not by more.
    pub delay: Duration,
    /// Each direction of each connection passes so many bytes a second. `None`: as many as it can.
    pub rate: Option<u32>,
    /// Each direction of each connection passes so many bytes more, and is then reset: a frame is cut in the middle.
    pub truncate: Option<u64>,
}

impl Behaviour {
    /// A good link.
    #[must_use]
    pub fn clear() -> Self {
        Self::default()
    }

    /// A link that swallows everything.
    #[must_use]
    pub fn blackhole() -> Self {
        Self { blackhole: true, ..Self::default() }
    }

    /// A link that takes no new connections.
    #[must_use]
    pub fn refusing() -> Self {
        Self { refuse: true, ..Self::default() }
    }

    /// A link with this delay, and this many bytes a second.
    #[must_use]
    pub fn slow(delay: Duration, rate: u32) -> Self {
        Self { delay, rate: Some(rate), ..Self::default() }
    }

    /// A link that breaks after so many bytes.
    #[must_use]
    pub fn truncating(after: u64) -> Self {
        Self { truncate: Some(after), ..Self::default() }
    }
}

/// What passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figures {
    /// Connections that were accepted.
    pub accepted: u64,
    /// Of these, reset because of the behaviour, the bound, or a broker that was not there.
    pub refused: u64,
    /// Of these, open now.
    pub open: u64,
    /// Bytes passed on, both ways.
    pub passed: u64,
    /// Bytes swallowed, both ways.
    pub swallowed: u64,
}

#[derive(Debug)]
struct Shared {
    upstream: Mutex<String>,
    behaviour: watch::Sender<Behaviour>,
    resets: watch::Sender<u64>,
    accepted: AtomicU64,
    refused: AtomicU64,
    open: AtomicU64,
    passed: AtomicU64,
    swallowed: AtomicU64,
}

/// A proxy, which ends with its connections when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

impl Proxy {
    /// A proxy on a free port of 127.0.0.1 in front of `upstream`, "host:port". The broker need not be there yet. Needs a
    /// Tokio runtime.
    ///
    /// # Errors
    /// What the system says to the listener.
    pub async fn start(upstream: impl Into<String>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream: Mutex::new(upstream.into()),
            behaviour: watch::Sender::default(),
            resets: watch::Sender::default(),
            accepted: AtomicU64::default(),
            refused: AtomicU64::default(),
            open: AtomicU64::default(),
            passed: AtomicU64::default(),
            swallowed: AtomicU64::default(),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone())).abort_handle();
        Ok(Self { address, shared, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where new connections go from now on: a broker may come back on another port.
    pub fn set_upstream(&self, upstream: impl Into<String>) {
        *self.shared.upstream.lock().unwrap_or_else(PoisonError::into_inner) = upstream.into();
    }

    /// How the link behaves from now on, connections that are open included.
    pub fn set(&self, behaviour: Behaviour) {
        self.shared.behaviour.send_replace(behaviour);
    }

    /// How the link behaves.
    #[must_use]
    pub fn behaviour(&self) -> Behaviour {
        *self.shared.behaviour.borrow()
    }

    /// Ends every open connection with a reset on both sides, once.
    pub fn reset(&self) {
        self.shared.resets.send_modify(|resets| *resets += 1);
    }

    /// What passed so far.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let shared = &self.shared;
        Figures {
            accepted: read(&shared.accepted),
            refused: read(&shared.refused),
            open: read(&shared.open),
            passed: read(&shared.passed),
            swallowed: read(&shared.swallowed),
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("address", &self.address)
            .field("behaviour", &self.behaviour())
            .field("figures", &self.figures())
            .finish_non_exhaustive()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.reset();
    }
}

/// Ends with the proxy; a failure to accept (too many open files) is a pause.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok((client, _)) = listener.accept().await else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        let place = room.clone().try_acquire_owned();
        let (Ok(place), false) = (place, shared.behaviour.borrow().refuse) else {
            shared.refused.fetch_add(1, Ordering::Relaxed);
            reset(&client);
            continue;
        };
        let (shared, resets) = (shared.clone(), shared.resets.subscribe());
        tokio::spawn(async move {
            shared.open.fetch_add(1, Ordering::Relaxed);
            carry(client, &shared, resets).await;
            shared.open.fetch_sub(1, Ordering::Relaxed);
            drop(place);
        });
    }
}

/// Dropped after this, it ends with a reset. A socket that is gone already needs none.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

/// One connection, to its end.
async fn carry(mut client: TcpStream, shared: &Shared, mut resets: watch::Receiver<u64>) {
    let mut silence = shared.behaviour.subscribe();
    tokio::select! {
        // The proxy outlives its connections: it resets them when it goes.
        _ = silence.wait_for(|behaviour| !behaviour.blackhole) => {}
        _ = resets.changed() => return reset(&client),
    }
    let upstream = shared.upstream.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Ok(Ok(mut broker)) = timeout(CONNECT, TcpStream::connect(upstream)).await else {
        shared.refused.fetch_add(1, Ordering::Relaxed);
        return reset(&client);
    };
    // Small pieces go at once, as they would without a proxy.
    let _ = (client.set_nodelay(true), broker.set_nodelay(true));
    let whole = {
        let ((from_client, to_client), (from_broker, to_broker)) = (client.split(), broker.split());
        let ways = async {
            tokio::try_join!(one_way(from_client, to_broker, shared), one_way(from_broker, to_client, shared))
                .is_ok()
        };
        tokio::select! {
            whole = ways => whole,
            _ = resets.changed() => false,
        }
    };
    if !whole {
        reset(&client);
        reset(&broker);
    }
}

/// The connection ends with a reset.
struct Broken;

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self
    }
}

type Way = std::result::Result<(), Broken>;

/// A piece, and when it may arrive.
type Piece = (Instant, Bytes);

/// Passes on what one side says, and that it has ended.
async fn one_way(from: ReadHalf<'_>, to: WriteHalf<'_>, shared: &Shared) -> Way {
    let (queue, pieces) = mpsc::channel(PIECES);
    let reading = read(from, queue, shared.behaviour.subscribe());
    let writing = Writing { to, shared, behaviour: shared.behaviour.subscribe(), left: None, lost: false };
    tokio::try_join!(reading, writing.run(pieces)).map(|_| ())
}

async fn read(
    mut from: ReadHalf<'_>,
    queue: mpsc::Sender<Piece>,
    behaviour: watch::Receiver<Behaviour>,
) -> Way {
    let mut room = vec![0; PIECE];
    loop {
        let count = match from.read(&mut room).await {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(_) => return heard(behaviour).await,
        };
        let due = Instant::now() + behaviour.borrow().delay;
        let piece = Bytes::copy_from_slice(room.get(..count).unwrap_or_default());
        queue.send((due, piece)).await.map_err(|_| Broken)?;
    }
}

/// A reset is told to the other side, but not through silence.
async fn heard(mut behaviour: watch::Receiver<Behaviour>) -> Way {
    let _ = behaviour.wait_for(|behaviour| !behaviour.blackhole).await;
    Err(Broken)
}

struct Writing<'a> {
    to: WriteHalf<'a>,
    shared: &'a Shared,
    behaviour: watch::Receiver<Behaviour>,
    /// What may still pass before the stream is cut.
    left: Option<u64>,
    /// Bytes were swallowed.
    lost: bool,
}

impl Writing<'_> {
    async fn run(mut self, mut pieces: mpsc::Receiver<Piece>) -> Way {
        self.left = self.behaviour.borrow_and_update().truncate;
        loop {
            tokio::select! {
                biased;
                changed = self.behaviour.changed() => {
                    changed.map_err(|_| Broken)?;
                    self.change()?;
                }
                piece = pieces.recv() => match piece {
                    Some((due, piece)) => self.late(due, &piece).await?,
                    None => return self.end().await,
                },
            }
        }
    }

    fn change(&mut self) -> Way {
        let now = *self.behaviour.borrow_and_update();
        self.left = now.truncate;
        if self.lost && !now.blackhole { Err(Broken) } else { Ok(()) }
    }

    /// Passes a piece on when it is due. Not cancelled by a change: that would lose it.
    async fn late(&mut self, due: Instant, piece: &[u8]) -> Way {
        sleep_until(due).await;
        if self.behaviour.has_changed().is_ok_and(|changed| changed) {
            self.change()?;
        }
        let now = *self.behaviour.borrow();
        if now.blackhole {
            self.lost = true;
            self.shared.swallowed.fetch_add(piece.len() as u64, Ordering::Relaxed);
            return Ok(());
        }
        // A sixteenth of a second at a time, so that a slow link is slow evenly.
        let step = now.rate.map_or(PIECE, |rate| usize::try_from(rate / 16).unwrap_or(PIECE).max(1));
        for part in piece.chunks(step) {
            self.pass(part, now.rate).await?;
        }
        Ok(())
    }

    async fn pass(&mut self, part: &[u8], rate: Option<u32>) -> Way {
        let length = part.len() as u64;
        if let Some(left) = self.left.as_mut() {
            if length > *left {
                let whole = usize::try_from(*left).ok().and_then(|left| part.get(..left));
                self.to.write_all(whole.unwrap_or_default()).await?;
                return Err(Broken);
            }
            *left -= length;
        }
        self.to.write_all(part).await?;
        self.shared.passed.fetch_add(length, Ordering::Relaxed);
        if let Some(rate) = rate {
            let bytes = u32::try_from(length).unwrap_or(u32::MAX);
            sleep(Duration::from_secs(1).saturating_mul(bytes) / rate.max(1)).await;
        }
        Ok(())
    }

    /// One side has ended; the other one may go on.
    async fn end(mut self) -> Way {
        let _ = self.behaviour.wait_for(|behaviour| !behaviour.blackhole).await;
        if self.lost {
            return Err(Broken);
        }
        Ok(self.to.shutdown().await?)
    }
}

/// What a proxy does as a fault of the link: [`Fault::Cut`], [`Fault::Blackhole`], [`Fault::Slow`], [`Fault::Truncate`] and
/// [`Fault::Mend`].
#[async_trait]
impl Faults for Proxy {
    fn can(&self, fault: Fault) -> bool {
        matches!(fault, Fault::Cut | Fault::Blackhole | Fault::Slow | Fault::Truncate | Fault::Mend)
    }

    async fn inject(&self, fault: Fault) -> Result<()> {
        match fault {
            Fault::Cut => self.reset(),
            Fault::Blackhole => self.set(Behaviour::blackhole()),
            Fault::Slow => self.set(Behaviour::slow(Duration::from_millis(200), 64 << 10)),
            // Less than a frame of any bus.
            Fault::Truncate => self.set(Behaviour::truncating(5)),
            Fault::Mend => self.set(Behaviour::clear()),
            other => return Err(crate::faults::cannot("a proxy", other)),
        }
        Ok(())
    }

    async fn write_foreign(&self, queue: &Name, _bytes: &[u8]) -> Result<()> {
        Err(Error::unsupported(Feature::Queue, Operation::Publish, "a proxy").with_target(queue))
    }
}
