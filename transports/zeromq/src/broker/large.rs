//! The parts of large bodies, handed on to the bus inside.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use polybus_contract::{
    Error, Feature, Kind, Operation, PARTS_LIVE, Part, PartSink, PartStore, PartsId, Result,
};

use super::uploads::{self, Uploads};
use crate::wire::frame::{Packet, kind};
use crate::wire::verbs::{PartHeader, PartsHeader};

/// Work that was begun.
pub(super) type Work = Pin<Box<dyn Future<Output = Result<Packet>> + Send>>;

/// What one client is writing.
pub(super) struct Large {
    store: Option<Arc<dyn PartStore>>,
    uploads: Uploads,
}

fn gone() -> Error {
    Error::new(Kind::NotFound, Operation::Publish).with_detail(
        "its parts are not there: removed, expired, or lost with a broker that had them in memory",
    )
}

impl Large {
    pub(super) fn new(store: Option<Arc<dyn PartStore>>, abandoned: Arc<AtomicU64>) -> Self {
        Self { store, uploads: Uploads::new(abandoned) }
    }

    /// Ends the bodies of which no part came for long.
    pub(super) fn forget_idle(&self) {
        self.uploads.forget_idle();
    }

    /// Begins what is asked for; parts of one body are written in the order in which they were said.
    pub(super) fn begin(&self, header: PartsHeader, body: Bytes, number: u64) -> Result<Work> {
        let store = self.store.clone().ok_or_else(|| {
            Error::unsupported(Feature::LargeBody, Operation::Publish, "the bus of this broker")
        })?;
        Ok(match header {
            PartsHeader::Create { id, live_ms } => self.create(store, id.parse()?, live_ms, number)?,
            PartsHeader::Put { id, index, sha256 } => {
                let part = Part::found(index, body, digest(&sha256)?);
                let work = self.uploads.take(id.parse()?)?;
                Box::pin(async move {
                    put(&work, &*store, part).await?;
                    work.done();
                    Ok(Packet::bare(kind::OK, number))
                })
            }
            PartsHeader::Finish { id, parts } => {
                let id = id.parse()?;
                let sink = self.uploads.remove(id);
                Box::pin(async move {
                    finish(sink, &*store, id, parts).await?;
                    Ok(Packet::bare(kind::OK, number))
                })
            }
            PartsHeader::Get { manifest, index } => {
                let manifest = manifest.parse()?;
                Box::pin(async move {
                    let part = store.open(&manifest, index).await?.next().await?;
                    let header = PartHeader { index: part.index, sha256: HEXLOWER.encode(&part.sha256) };
                    Ok(Packet::new(kind::OK, number, &header).with_body(part.bytes))
                })
            }
            PartsHeader::Remove { id } => {
                let id = id.parse()?;
                self.uploads.remove(id);
                Box::pin(async move {
                    store.remove(id).await?;
                    Ok(Packet::bare(kind::OK, number))
                })
            }
        })
    }

    fn create(&self, store: Arc<dyn PartStore>, id: PartsId, live_ms: u64, number: u64) -> Result<Work> {
        let live = Duration::from_millis(live_ms).min(PARTS_LIVE);
        let work = self.uploads.begin(id)?;
        Ok(Box::pin(async move {
            // Held while it is made: parts that are said at once wait for it.
            let mut place = work.sink.lock().await;
            *place = Some(store.create(id, live).await?);
            drop(place);
            work.done();
            Ok(Packet::bare(kind::OK, number))
        }))
    }
}

/// Puts a part. After a failure the sink is of no use, also for parts that wait already.
async fn put(work: &uploads::Work, store: &dyn PartStore, part: Part) -> Result<()> {
    // Held while the sink is made: parts that are said at once wait for it, in their order.
    let mut place = work.sink.lock().await;
    if work.begins {
        *place = Some(resume(store, work.id).await?.0);
    }
    let put = place.as_mut().ok_or_else(gone)?.put(part).await;
    if put.is_err() {
        *place = None;
    }
    put
}

/// Ends a body. One that is not in the table broke off, or was ended already and its answer lost.
async fn finish(
    sink: Option<uploads::Sink>,
    store: &dyn PartStore,
    id: PartsId,
    parts: Option<u32>,
) -> Result<()> {
    let written = match sink {
        Some(sink) => sink.lock().await.take(),
        None => None,
    };
    if let Some(mut sink) = written {
        return sink.finish().await;
    }
    // Who does not say how many there are would take what there is for all of it.
    let parts = parts.ok_or_else(|| gone().with_target(id))?;
    let (mut sink, there) = resume(store, id).await?;
    if there < parts {
        return Err(gone().with_target(id).with_detail(format!("only {there} of its parts are there")));
    }
    sink.finish().await
}

/// Goes on with a body whose writing broke off.
async fn resume(store: &dyn PartStore, id: PartsId) -> Result<(Box<dyn PartSink>, u32)> {
    let is_gone = |error: &Error| error.kind() == Kind::NotFound;
    store.resume(id).await.map_err(|error| if is_gone(&error) { gone().with_target(id) } else { error })
}

fn digest(text: &str) -> Result<[u8; 32]> {
    let digest = HEXLOWER.decode(text.as_bytes()).ok().and_then(|digest| digest.try_into().ok());
    digest.ok_or_else(|| {
        Error::new(Kind::Protocol, Operation::Publish).with_detail("\"sha256\" is 64 hexadecimal digits")
    })
}
