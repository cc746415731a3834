//! The parts of large bodies: one stream for all of them, a subject for each part, read with direct gets.
//!
//! A part is written to a subject of its own, of which the stream keeps the last message: one that is sent again after a
//! lost connection replaces itself. What nobody removed goes by its age. See `docs/src/wire-parts.md`.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::header::HeaderMap;
use async_trait::async_trait;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use polybus_contract::{
    Bounds, Error, Kind, Manifest, Operation, Overflow, PARTS_LIVE, Part, PartSink, PartSource, PartStore,
    PartsId, Result,
};
use serde_json::json;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};

use crate::api::PubAck;
use crate::capability::HEADROOM;
use crate::connection::Handle;
use crate::error::{refuse, unknown};
use crate::link::{Link, Outgoing, nobody};

/// The largest part: a server with a larger payload gets no larger ones.
const PART: u64 = 1 << 20;

/// Until the server is known: what every server takes by default.
const USUAL_PAYLOAD: u64 = 1 << 20;

/// Parts on their way at the same time, in either direction.
const WINDOW: usize = 8;

/// How long a part is tried while there is no connection, or the server does not answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long one try may take, and the pause before the next one.
const TRY: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);

/// The header of a part with the digest of its content.
const DIGEST: &str = "x-polybus-part-sha256";

/// The place beside the queues of one handle.
#[derive(Clone)]
pub(crate) struct Store {
    handle: Arc<Handle>,
    /// Whether the stream was seen.
    made: Arc<AtomicBool>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Store {
    pub(crate) fn new(handle: Arc<Handle>) -> Self {
        Self { handle, made: Arc::default() }
    }

    fn subject(&self, id: PartsId, index: impl fmt::Display) -> String {
        self.handle.names.part_subject(&format!("{id}.{index}"))
    }

    /// Makes the stream unless it is there. Its bound is what the server can give: whoever needs more is told that it is full.
    async fn see_to_stream(&self, link: &Link) -> Result<()> {
        if self.made.load(Ordering::Acquire) {
            return Ok(());
        }
        let name = self.handle.names.parts_stream();
        if link.stream(&name, Operation::Publish).await?.is_none() {
            let bounds =
                Bounds { messages: u64::MAX, bytes: self.handle.config.parts, overflow: Overflow::Refuse };
            let subjects = [self.handle.names.part_subject("*.*")];
            let mut config = self.handle.stream_config(&name, &subjects, "limits", bounds);
            config["max_msgs"] = json!(-1);
            config["max_msgs_per_subject"] = json!(1);
            config["max_age"] = json!(u64::try_from(PARTS_LIVE.as_nanos()).unwrap_or(u64::MAX));
            config["allow_direct"] = json!(true);
            self.handle.make_stream(link, &config, "large bodies").await?;
        }
        self.made.store(true, Ordering::Release);
        Ok(())
    }

    /// Writes a part, trying again while the connection is away.
    async fn write(self, subject: String, part: Part) -> Result<()> {
        let ends = Instant::now() + PATIENCE;
        loop {
            let failure = match self.write_once(&subject, &part, ends).await {
                Err(error) if error.kind() == Kind::Disconnected => error,
                done => return done,
            };
            if Instant::now() + PAUSE >= ends {
                return Err(failure);
            }
            sleep(PAUSE).await;
        }
    }

    async fn write_once(&self, subject: &str, part: &Part, ends: Instant) -> Result<()> {
        let link = self.handle.link(Operation::Publish, ends).await?;
        self.see_to_stream(&link).await?;
        let mut headers = HeaderMap::new();
        headers.insert(DIGEST, HEXLOWER.encode(&part.sha256));
        let message = Outgoing::new(subject, part.bytes.clone()).with_headers(headers);
        let answer = link.ask(message, Operation::Publish, Instant::now() + TRY).await?;
        if nobody(&answer) {
            // The stream is gone, or not back yet.
            self.made.store(false, Ordering::Release);
            return Err(unknown(Operation::Publish, "nobody takes parts"));
        }
        let ack: PubAck = serde_json::from_slice(&answer.payload)
            .map_err(|_| unknown(Operation::Publish, "the server's answer cannot be read"))?;
        if let Some(error) = ack.error {
            self.handle.refused(&error, part.bytes.len() as u64);
            return Err(error.into_error(Operation::Publish, "large bodies"));
        }
        self.handle.taken();
        Ok(())
    }

    /// Reads a part, trying again while the connection is away.
    async fn read(self, id: PartsId, index: u32) -> Result<Part> {
        let ends = Instant::now() + PATIENCE;
        let subject = self.subject(id, index);
        loop {
            let failure = match self.read_once(&subject, index, ends).await {
                Err(error) if error.kind() == Kind::Disconnected => error,
                done => return done,
            };
            if Instant::now() + PAUSE >= ends {
                return Err(failure);
            }
            sleep(PAUSE).await;
        }
    }

    async fn read_once(&self, subject: &str, index: u32, ends: Instant) -> Result<Part> {
        let link = self.handle.link(Operation::Consume, ends).await?;
        let stream = self.handle.names.parts_stream();
        let get = Outgoing::new(
            format!("{}DIRECT.GET.{stream}", link.api),
            json!({ "last_by_subj": subject }).to_string(),
        );
        let answer = link.ask(get, Operation::Consume, Instant::now() + TRY).await?;
        match answer.status.map(|status| status.as_u16()) {
            None => part_of(index, answer.headers.as_ref(), answer.payload),
            Some(404) => self.read_surely(&link, &stream, subject, index).await,
            // No server that has the stream answers yet.
            Some(_) => Err(unknown(Operation::Consume, "nobody gives parts")),
        }
    }

    /// A replica that lags behind does not have a part yet that its leader has.
    async fn read_surely(&self, link: &Link, stream: &str, subject: &str, index: u32) -> Result<Part> {
        let found = link.message_from(stream, 1, subject, Operation::Consume).await?;
        let content = found.and_then(|found| found.content());
        let (headers, body) = content.ok_or_else(|| refuse(Kind::NotFound, Operation::Consume, subject))?;
        part_of(index, Some(&headers), body)
    }
}

fn part_of(index: u32, headers: Option<&HeaderMap>, content: Bytes) -> Result<Part> {
    let digest = headers.and_then(|headers| headers.get(DIGEST)).map(async_nats::HeaderValue::as_str);
    let digest = digest.and_then(|text| HEXLOWER.decode(text.as_bytes()).ok());
    match digest.and_then(|digest| digest.try_into().ok()) {
        Some(sha256) => Ok(Part::found(index, content, sha256)),
        None => {
            Err(Error::new(Kind::Protocol, Operation::Consume).with_detail("a part comes without its digest"))
        }
    }
}

#[async_trait]
impl PartStore for Store {
    fn part_size(&self) -> u32 {
        let payload = self.handle.link_now().map_or(USUAL_PAYLOAD, |link| link.max_payload);
        u32::try_from(payload.saturating_sub(HEADROOM).clamp(1, PART)).unwrap_or(1)
    }

    async fn create(&self, id: PartsId, _live: Duration) -> Result<Box<dyn PartSink>> {
        let link = self.handle.link(Operation::Publish, Instant::now() + PATIENCE).await?;
        self.see_to_stream(&link).await?;
        Ok(Box::new(Sink { store: self.clone(), id, under_way: JoinSet::new() }))
    }

    async fn open(&self, manifest: &Manifest, from: u32) -> Result<Box<dyn PartSource>> {
        let mut source = Reading {
            store: self.clone(),
            id: manifest.id,
            next: from,
            end: manifest.parts,
            under_way: VecDeque::with_capacity(WINDOW),
        };
        source.fetch_ahead();
        Ok(Box::new(source))
    }

    async fn remove(&self, id: PartsId) -> Result<()> {
        let link = self.handle.link(Operation::Remove, Instant::now() + TRY).await?;
        let stream = self.handle.names.parts_stream();
        match link.purge_subject(&stream, &self.subject(id, '*'), Operation::Remove).await {
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            done => done.map(drop),
        }
    }
}

struct Sink {
    store: Store,
    id: PartsId,
    under_way: JoinSet<Result<()>>,
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Sink {
    async fn one_done(&mut self) -> Result<()> {
        match self.under_way.join_next().await {
            Some(Ok(done)) => done.map_err(|error| error.with_target(self.id)),
            Some(Err(_)) => Err(Error::new(Kind::Closed, Operation::Publish)),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl PartSink for Sink {
    async fn put(&mut self, part: Part) -> Result<()> {
        while self.under_way.len() >= WINDOW {
            self.one_done().await?;
        }
        let subject = self.store.subject(self.id, part.index);
        self.under_way.spawn(self.store.clone().write(subject, part));
        Ok(())
    }

    async fn finish(&mut self) -> Result<()> {
        while !self.under_way.is_empty() {
            self.one_done().await?;
        }
        Ok(())
    }
}

struct Reading {
    store: Store,
    id: PartsId,
    next: u32,
    end: u32,
    under_way: VecDeque<AbortOnDrop>,
}

/// A part that is being read, and not any more when nobody waits for it.
struct AbortOnDrop(JoinHandle<Result<Part>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("id", &self.id).field("next", &self.next).finish_non_exhaustive()
    }
}

impl Reading {
    fn fetch_ahead(&mut self) {
        while self.under_way.len() < WINDOW && self.next < self.end {
            let read = tokio::spawn(self.store.clone().read(self.id, self.next));
            self.under_way.push_back(AbortOnDrop(read));
            self.next += 1;
        }
    }
}

#[async_trait]
impl PartSource for Reading {
    async fn next(&mut self) -> Result<Part> {
        self.fetch_ahead();
        let Some(first) = self.under_way.front_mut() else {
            return Err(refuse(Kind::NotFound, Operation::Consume, self.id));
        };
        let read = (&mut first.0).await;
        self.under_way.pop_front();
        self.fetch_ahead();
        read.unwrap_or_else(|_| Err(Error::new(Kind::Closed, Operation::Consume)))
    }
}
