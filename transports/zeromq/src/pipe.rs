//! One connection: the handshake, messages in, messages out.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::socket::Stream;
use crate::wire::frame::Packet;
use crate::zmtp::{self, Command, Decoder, Event, Fault, GREETING, Limits, MORE, Socket};

/// What is read at once at most.
const READ: usize = 64 << 10;

/// Bodies up to this size are copied between the packets around them: fewer, larger writes.
const COPIED: usize = 16 << 10;

/// Slices of one write.
const SLICES: usize = 16;

/// Frames of a message: head, header, body. One more is a fault of the protocol above, which answers it; more are cut.
const FRAMES: usize = 4;

/// What a peer may say before it said who it is.
pub(crate) const EARLY: u64 = 64 << 10;

/// Why a connection is over.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The other side closed it, or the network did.
    Closed,
    Io(io::Error),
    Fault(Fault),
    /// The handshake took too long.
    Late,
    /// Nothing came for too long.
    Silent,
    /// The other side does not read.
    Stuck,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => f.write_str("the connection was closed"),
            Self::Io(error) => write!(f, "the connection was lost: {error}"),
            Self::Fault(fault) => write!(f, "the peer does not keep to the protocol: {fault}"),
            Self::Late => f.write_str("the peer took too long for the handshake"),
            Self::Silent => f.write_str("the peer is silent"),
            Self::Stuck => f.write_str("the peer does not read what it is sent"),
        }
    }
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The largest message of so many bytes of body, with what stands before the body.
pub(crate) const fn limits(body: u64) -> Limits {
    let frame = body.saturating_add(EARLY);
    Limits { frame, message: frame.saturating_add(EARLY), frames: FRAMES }
}

/// What waits to be written.
#[derive(Debug, Default)]
struct Out {
    chunks: VecDeque<Bytes>,
    tail: BytesMut,
    length: usize,
    /// Since when something waits without a byte of it leaving.
    since: Option<Instant>,
}

impl Out {
    fn put(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        self.length += bytes.len();
    }

    fn frame(&mut self, flags: u8, content: &[u8]) {
        let before = self.tail.len();
        zmtp::head(flags, content.len(), &mut self.tail);
        self.tail.extend_from_slice(content);
        self.length += self.tail.len() - before;
    }

    fn body(&mut self, body: &Bytes) {
        if body.len() <= COPIED {
            return self.frame(0, body);
        }
        let before = self.tail.len();
        zmtp::head(0, body.len(), &mut self.tail);
        self.length += self.tail.len() - before + body.len();
        self.chunks.push_back(self.tail.split().freeze());
        self.chunks.push_back(body.clone());
    }

    /// Writes what the socket takes. Whether everything is written.
    fn write(&mut self, stream: &Stream) -> io::Result<bool> {
        while self.length > 0 {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut used = 0;
            for (slot, chunk) in
                slices.iter_mut().zip(self.chunks.iter().map(|chunk| &chunk[..]).chain([&self.tail[..]]))
            {
                *slot = IoSlice::new(chunk);
                used += 1;
            }
            match stream.try_write(&slices[..used]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.written(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.since.get_or_insert_with(Instant::now);
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn written(&mut self, mut count: usize) {
        self.length -= count;
        self.since = None;
        while let Some(first) = self.chunks.front_mut() {
            if first.len() > count {
                first.advance(count);
                return;
            }
            count -= first.len();
            self.chunks.pop_front();
        }
        self.tail.advance(count);
    }
}

/// The sending half, which any task may use.
#[derive(Debug)]
pub(crate) struct Pipe {
    stream: Stream,
    out: Mutex<Out>,
    /// Bytes that wait.
    waiting: AtomicUsize,
    /// Somebody was told to write and has not begun.
    told: AtomicBool,
    /// Something is there to be written, by whoever runs the connection.
    pub(crate) work: Notify,
    /// Room was made.
    pub(crate) room: Notify,
}

impl Pipe {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            out: Mutex::default(),
            waiting: AtomicUsize::new(0),
            told: AtomicBool::new(false),
            work: Notify::new(),
            room: Notify::new(),
        }
    }

    fn out(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that wait to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(crate) fn raw(&self, bytes: &[u8]) {
        let mut out = self.out();
        out.put(bytes);
        self.waiting.store(out.length, Ordering::Relaxed);
    }

    /// Adds a packet to what is written next; see [`Pipe::flush`].
    pub(crate) fn put(&self, packet: &Packet) {
        let mut out = self.out();
        put(&mut out, packet);
        self.waiting.store(out.length, Ordering::Relaxed);
    }

    /// Sends a packet from whatever task this is: at once if nothing waits and `now` says so, else whoever runs the
    /// connection writes it with whatever else there is by then.
    pub(crate) fn send(&self, packet: &Packet, now: bool) {
        let mut out = self.out();
        let idle = out.length == 0;
        put(&mut out, packet);
        // What cannot be written shows when the connection is read.
        let rest = !(now && idle && out.write(&self.stream).unwrap_or(false));
        self.waiting.store(out.length, Ordering::Relaxed);
        drop(out);
        if rest && !self.told.swap(true, Ordering::AcqRel) {
            self.work.notify_one();
        }
    }

    /// Writes what the socket takes now. Whether everything is written.
    pub(crate) fn flush(&self) -> Result<bool, Broken> {
        self.told.store(false, Ordering::Release);
        let mut out = self.out();
        let before = out.length;
        let done = out.write(&self.stream).map_err(Broken::Io);
        let after = out.length;
        self.waiting.store(after, Ordering::Relaxed);
        drop(out);
        if after < before {
            self.room.notify_waiters();
        }
        done
    }

    /// Returns when the socket takes more.
    pub(crate) async fn writable(&self) -> Result<(), Broken> {
        self.stream.writable().await.map_err(Broken::Io)
    }

    /// For how long the other side has taken nothing of what waits.
    pub(crate) fn stuck(&self) -> Duration {
        self.out().since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Writes everything, within this time.
    pub(crate) async fn finish(&self, within: Duration) -> Result<(), Broken> {
        let all = async {
            while !self.flush()? {
                self.writable().await?;
            }
            Ok(())
        };
        timeout(within, all).await.map_err(|_| Broken::Stuck)?
    }
}

fn put(out: &mut Out, packet: &Packet) {
    let head = packet.head();
    let has_body = packet.body.is_some();
    let has_header = has_body || !packet.header.is_empty();
    out.frame(if has_header { MORE } else { 0 }, &head);
    if has_header {
        out.frame(if has_body { MORE } else { 0 }, &packet.header);
    }
    if let Some(body) = &packet.body {
        out.body(body);
    }
}

/// The receiving half, which one task has.
#[derive(Debug)]
pub(crate) struct Inlet {
    buffer: BytesMut,
    decoder: Decoder,
    /// When bytes came last.
    pub(crate) heard: Instant,
}

/// What the other side said.
#[derive(Debug)]
pub(crate) enum Said {
    Message(Vec<Bytes>),
    Ping(Bytes),
}

impl Inlet {
    /// Waits until there is something to read and reads it. Cancel safe.
    pub(crate) async fn fill(&mut self, pipe: &Pipe) -> Result<(), Broken> {
        loop {
            pipe.stream.readable().await.map_err(Broken::Io)?;
            if self.read(pipe)? {
                return Ok(());
            }
        }
    }

    /// Reads what is there; false: nothing is.
    fn read(&mut self, pipe: &Pipe) -> Result<bool, Broken> {
        // No more room than what came already: a claim alone costs nothing.
        let more = self.decoder.missing(self.buffer.len()).clamp(READ, READ.max(self.buffer.len()));
        self.buffer.reserve(more);
        match pipe.stream.try_read(&mut self.buffer) {
            Ok(0) => Err(Broken::Closed),
            Ok(_) => {
                self.heard = Instant::now();
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(Broken::Io(error)),
        }
    }

    /// What was said next, of what was read.
    pub(crate) fn next(&mut self) -> Result<Option<Said>, Broken> {
        loop {
            match self.decoder.next(&mut self.buffer)? {
                None => return Ok(None),
                Some(Event::Message(frames)) => return Ok(Some(Said::Message(frames))),
                Some(Event::Command(Command::Ping(context))) => return Ok(Some(Said::Ping(context))),
                Some(Event::Command(Command::Error(why))) => return Err(refused(&why).into()),
                Some(_) => {}
            }
        }
    }

    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.decoder.set_limits(limits);
    }

    async fn event(&mut self, pipe: &Pipe) -> Result<Event, Broken> {
        loop {
            if let Some(event) = self.decoder.next(&mut self.buffer)? {
                return Ok(event);
            }
            self.fill(pipe).await?;
        }
    }
}

fn refused(why: &[u8]) -> Fault {
    let text = why.get(1..).unwrap_or_default();
    Fault::Refused(String::from_utf8_lossy(text).chars().take(200).collect())
}

/// The ZMTP handshake, within this time.
pub(crate) async fn shake(stream: Stream, own: Socket, within: Duration) -> Result<(Pipe, Inlet), Broken> {
    let pipe = Pipe::new(stream);
    let decoder = Decoder::new(Limits { frame: EARLY, message: EARLY, frames: FRAMES });
    let mut inlet = Inlet { buffer: BytesMut::new(), decoder, heard: Instant::now() };
    let shaking = async {
        pipe.raw(&GREETING);
        pipe.raw(&zmtp::ready(own));
        pipe.finish(within).await?;
        if inlet.event(&pipe).await? != Event::Greeted {
            return Err(Fault::NotReady.into());
        }
        match inlet.event(&pipe).await? {
            Event::Command(Command::Ready(data)) => own.meets(&zmtp::read_ready(&data)?)?,
            Event::Command(Command::Error(why)) => return Err(refused(&why).into()),
            _ => return Err(Fault::NotReady.into()),
        }
        Ok::<(), Broken>(())
    };
    timeout(within, shaking).await.map_err(|_| Broken::Late)??;
    Ok((pipe, inlet))
}
