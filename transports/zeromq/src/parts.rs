//! The parts of large bodies, which the broker keeps.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::ptr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use data_encoding::HEXLOWER;
use polybus_contract::{
    Error, Kind, Manifest, Operation, Part, PartSink, PartSource, PartStore, PartsId, Result,
};
use polybus_lines::millis;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::connection::Handle;
use crate::error::unreadable;
use crate::link::Link;
use crate::wire::frame::{Packet, kind};
use crate::wire::verbs::{PartHeader, PartsHeader};

/// Parts on their way at the same time, in either direction.
const WINDOW: usize = 4;

/// How long a part may take, waiting for a lost connection included.
const PATIENCE: Duration = Duration::from_mins(1);

/// The same for taking a body away: what stays goes when its time has passed.
const FAREWELL: Duration = Duration::from_secs(5);

/// The pause before it is tried again: a connection may be known to be lost a moment later.
const PAUSE: Duration = Duration::from_millis(100);

/// Until the broker is known.
const USUAL_PART: u32 = 1 << 20;

/// The place beside the queues of one handle.
#[derive(Clone)]
pub(crate) struct Store(pub(crate) Arc<Handle>);

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Store {
    /// Asks, and asks again while the connection is away: nothing that is asked here does harm when it is done twice.
    async fn ask(&self, header: &PartsHeader, operation: Operation) -> Result<Packet> {
        self.ask_for(header, operation, PATIENCE).await
    }

    async fn ask_for(
        &self,
        header: &PartsHeader,
        operation: Operation,
        patience: Duration,
    ) -> Result<Packet> {
        let ends = Instant::now() + patience;
        loop {
            let packet = |number| Packet::new(kind::PARTS, number, header);
            match self.0.ask(packet, operation, ends).await {
                Err(error) if is_away(&error) && Instant::now() + PAUSE < ends => sleep(PAUSE).await,
                answer => return answer,
            }
        }
    }

    async fn get(self, manifest: Arc<str>, index: u32) -> Result<Part> {
        let header = PartsHeader::Get { manifest: manifest.to_string(), index };
        part(self.ask(&header, Operation::Consume).await?)
    }
}

fn is_away(error: &Error) -> bool {
    error.kind() == Kind::Disconnected
}

fn part(answer: Packet) -> Result<Part> {
    let wrong = |fault: &str| unreadable(Operation::Consume, fault);
    let header: PartHeader = answer.read().map_err(|fault| wrong(&fault))?;
    let digest = HEXLOWER.decode(header.sha256.as_bytes()).ok().and_then(|digest| digest.try_into().ok());
    let digest = digest.ok_or_else(|| wrong("a part without a digest"))?;
    Ok(Part::found(header.index, answer.body.unwrap_or_default(), digest))
}

#[async_trait]
impl PartStore for Store {
    fn part_size(&self) -> u32 {
        self.0.link_now().map_or(USUAL_PART, |link| link.part.max(1))
    }

    async fn create(&self, id: PartsId, live: Duration) -> Result<Box<dyn PartSink>> {
        let header = PartsHeader::Create { id: id.to_string(), live_ms: millis(live) };
        self.ask(&header, Operation::Publish).await?;
        Ok(Box::new(Sink {
            store: self.clone(),
            id,
            link: Weak::new(),
            under_way: VecDeque::with_capacity(WINDOW),
            parts: 0,
            failing: None,
        }))
    }

    async fn open(&self, manifest: &Manifest, from: u32) -> Result<Box<dyn PartSource>> {
        let manifest = (manifest.to_string().into(), manifest.parts);
        Ok(Box::new(Source { store: self.clone(), manifest, next: from, fetching: VecDeque::new() }))
    }

    async fn remove(&self, id: PartsId) -> Result<()> {
        let header = PartsHeader::Remove { id: id.to_string() };
        self.ask_for(&header, Operation::Remove, FAREWELL).await.map(|_| ())
    }
}

/// Work that ends with whoever wants it.
struct Task<T>(JoinHandle<Result<T>>);

impl<T> Task<T> {
    async fn done(&mut self) -> Result<T> {
        match Pin::new(&mut self.0).await {
            Ok(done) => done,
            Err(_) => Err(Error::new(Kind::Internal, Operation::Publish).with_detail("a part was dropped")),
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A part that was put, and what the broker says to it, once it was said on the connection that there is.
type Putting = (Part, Option<Pin<Box<dyn Future<Output = Result<Packet>> + Send>>>);

/// The parts of a body that is written. The broker writes them in the order in which they are said, and knows those that it has
/// already; so on a new connection all that were not answered are said again.
struct Sink {
    store: Store,
    id: PartsId,
    /// The connection over which they are said.
    link: Weak<Link>,
    under_way: VecDeque<Putting>,
    parts: u32,
    /// Since when nothing was answered.
    failing: Option<Instant>,
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Sink {
    fn until(&self) -> Instant {
        self.failing.unwrap_or_else(Instant::now) + PATIENCE
    }

    /// Says what was not said yet over the connection that there is, waiting for one.
    async fn say(&mut self) -> Result<()> {
        let began = Instant::now();
        while let Err(error) = self.say_once().await {
            // The first try may have waited for a connection already.
            self.failing.get_or_insert(began);
            self.pause(error).await?;
        }
        Ok(())
    }

    async fn say_once(&mut self) -> Result<()> {
        let until = self.until();
        let link = self.store.0.link(Operation::Publish, until).await?;
        if !ptr::eq(self.link.as_ptr(), Arc::as_ptr(&link)) {
            self.link = Arc::downgrade(&link);
            self.under_way.iter_mut().for_each(|(_, answer)| *answer = None);
        }
        for (part, answer) in self.under_way.iter_mut().filter(|(_, answer)| answer.is_none()) {
            link.room(Operation::Publish, until).await?;
            let packet = packet(self.id, part, self.store.0.switch.number());
            // From now on: that it comes late is no fault of its own.
            *answer = Some(Box::pin(link.say(&packet, Operation::Publish, Instant::now() + PATIENCE)));
        }
        Ok(())
    }

    /// Waits for the answer to the oldest part.
    async fn answered(&mut self) -> Result<()> {
        let answer = match self.under_way.front_mut() {
            Some((_, Some(answer))) => answer.await,
            _ => return self.say().await,
        };
        match answer {
            Ok(_) => {
                self.under_way.pop_front();
                self.failing = None;
                Ok(())
            }
            Err(error) => {
                self.link = Weak::new();
                self.under_way.iter_mut().for_each(|(_, answer)| *answer = None);
                self.pause(error).await
            }
        }
    }

    /// Before the next try; an error if there is none.
    async fn pause(&mut self, error: Error) -> Result<()> {
        let since = *self.failing.get_or_insert_with(Instant::now);
        if !is_away(&error) || since.elapsed() + PAUSE >= PATIENCE {
            return Err(error.with_target(self.id));
        }
        sleep(PAUSE).await;
        Ok(())
    }
}

fn packet(id: PartsId, part: &Part, number: u64) -> Packet {
    let (id, sha256) = (id.to_string(), HEXLOWER.encode(&part.sha256));
    let header = PartsHeader::Put { id, index: part.index, sha256 };
    Packet::new(kind::PARTS, number, &header).with_body(part.bytes.clone())
}

#[async_trait]
impl PartSink for Sink {
    async fn put(&mut self, part: Part) -> Result<()> {
        while self.under_way.len() >= WINDOW {
            self.answered().await?;
        }
        self.parts = part.index.saturating_add(1);
        self.under_way.push_back((part, None));
        self.say().await
    }

    async fn finish(&mut self) -> Result<()> {
        while !self.under_way.is_empty() {
            self.answered().await?;
        }
        let header = PartsHeader::Finish { id: self.id.to_string(), parts: Some(self.parts) };
        self.store.ask(&header, Operation::Publish).await.map(|_| ())
    }
}

/// The parts of a body that is read, a few ahead.
struct Source {
    store: Store,
    manifest: (Arc<str>, u32),
    next: u32,
    fetching: VecDeque<Task<Part>>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("next", &self.next).finish_non_exhaustive()
    }
}

#[async_trait]
impl PartSource for Source {
    async fn next(&mut self) -> Result<Part> {
        let (manifest, parts) = self.manifest.clone();
        while self.fetching.len() < WINDOW && (self.next < parts || self.fetching.is_empty()) {
            let get = self.store.clone().get(manifest.clone(), self.next);
            self.fetching.push_back(Task(tokio::spawn(get)));
            self.next += 1;
        }
        let part = match self.fetching.front_mut() {
            Some(first) => first.done().await,
            None => Err(Error::new(Kind::NotFound, Operation::Consume)),
        };
        self.fetching.pop_front();
        part
    }
}
