//! The parts of large bodies, which the broker keeps.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use polybus_contract::{
    Error, Kind, Manifest, Operation, Part, PartSink, PartSource, PartStore, PartsId, Result,
};
use polybus_lines::millis;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::connection::Handle;
use crate::error::unreadable;
use crate::wire::frame::{Packet, kind};
use crate::wire::verbs::{PartHeader, PartsHeader};

/// Parts on their way at the same time, in either direction.
const WINDOW: usize = 4;

/// How long a part may take, waiting for a lost connection included.
const PATIENCE: Duration = Duration::from_mins(1);

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
    async fn ask(&self, header: PartsHeader, body: Option<Bytes>, operation: Operation) -> Result<Packet> {
        let packet = |number| Packet { body, ..Packet::new(kind::PARTS, number, &header) };
        self.0.ask(packet, operation, Instant::now() + PATIENCE).await
    }

    /// A part, asked for again while the connection is away: reading takes nothing away.
    async fn get(self, manifest: Arc<str>, index: u32) -> Result<Part> {
        let ends = Instant::now() + PATIENCE;
        loop {
            let header = PartsHeader::Get { manifest: manifest.to_string(), index };
            match self.ask(header, None, Operation::Consume).await {
                Err(error) if error.kind() == Kind::Disconnected && Instant::now() < ends => {}
                answer => return part(answer?),
            }
        }
    }
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
        self.ask(header, None, Operation::Publish).await?;
        Ok(Box::new(Sink { store: self.clone(), id, under_way: VecDeque::new() }))
    }

    async fn open(&self, manifest: &Manifest, from: u32) -> Result<Box<dyn PartSource>> {
        let manifest = (manifest.to_string().into(), manifest.parts);
        Ok(Box::new(Source { store: self.clone(), manifest, next: from, fetching: VecDeque::new() }))
    }

    async fn remove(&self, id: PartsId) -> Result<()> {
        self.ask(PartsHeader::Remove { id: id.to_string() }, None, Operation::Remove).await.map(|_| ())
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

/// The parts of a body that is written. The broker writes them in the order in which they are said.
struct Sink {
    store: Store,
    id: PartsId,
    under_way: VecDeque<Task<Packet>>,
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Sink {
    async fn until(&mut self, few: usize) -> Result<()> {
        while self.under_way.len() > few {
            if let Some(first) = self.under_way.front_mut() {
                first.done().await?;
            }
            self.under_way.pop_front();
        }
        Ok(())
    }
}

#[async_trait]
impl PartSink for Sink {
    async fn put(&mut self, part: Part) -> Result<()> {
        self.until(WINDOW - 1).await?;
        let header = PartsHeader::Put {
            id: self.id.to_string(),
            index: part.index,
            sha256: HEXLOWER.encode(&part.sha256),
        };
        let link = self.store.0.link(Operation::Publish, Instant::now() + PATIENCE).await?;
        let mut packet = Packet::new(kind::PARTS, self.store.0.switch.number(), &header);
        packet.body = Some(part.bytes);
        // Said here and now, so that the next one comes behind it.
        let mut asking =
            Box::pin(async move { link.ask(packet, Operation::Publish, Instant::now() + PATIENCE).await });
        let said = futures_util::future::FutureExt::now_or_never(asking.as_mut());
        if let Some(answer) = said {
            return answer.map(|_| ());
        }
        self.under_way.push_back(Task(tokio::spawn(asking)));
        Ok(())
    }

    async fn finish(&mut self) -> Result<()> {
        self.until(0).await?;
        let header = PartsHeader::Finish { id: self.id.to_string() };
        self.store.ask(header, None, Operation::Publish).await.map(|_| ())
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
