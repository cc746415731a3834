//! Transports that are careless with the parts of large bodies.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use polybus_contract::{
    Body, BodyParts, Delivery, Manifest, Message, PARTS, Part, PartSink, PartSource, PartStore, PartsId,
    Receipt, ReplyOptions, ReplyTo, Result,
};

use super::flaw::{Flaw, Inside};

/// What such a store does wrong.
#[derive(Clone, Copy, Debug)]
pub(super) enum Careless {
    /// Changes a byte of a part.
    Damages,
    /// Takes the parts away when they are read.
    Takes,
    /// Never removes any.
    Keeps,
}

#[async_trait]
impl Flaw for Careless {
    fn parts(&self, inside: &Inside) -> Option<Arc<dyn PartStore>> {
        inside.parts().map(|store| Arc::new(Store { store, flaw: *self }) as Arc<dyn PartStore>)
    }

    /// Where the bus inside has checks of its own, the parts are at a delivery already.
    fn delivery(&self, delivery: Delivery) -> Option<Delivery> {
        let parts = delivery.message().body().as_parts().cloned();
        if let (Self::Keeps, Some(stored)) = (self, parts.as_ref().and_then(|parts| parts.stored())) {
            stored.keep();
        }
        match (self, parts) {
            (Self::Takes, Some(parts)) => taken(delivery, parts),
            _ => Some(delivery),
        }
    }
}

/// The same delivery, whose parts are gone when some were read.
fn taken(delivery: Delivery, parts: Arc<dyn BodyParts>) -> Option<Delivery> {
    let (message, queue, attempt, terms, hold) = delivery.into_parts();
    let head = message.body().head().clone();
    let message = message.with_body(Body::headed(head, Arc::new(Taken(parts))));
    hold.map(|hold| Delivery::new(message, queue, attempt, terms, hold))
}

#[derive(Debug)]
struct Taken(Arc<dyn BodyParts>);

#[async_trait]
impl BodyParts for Taken {
    fn len(&self) -> u64 {
        self.0.len()
    }

    async fn part(&self, offset: u64, max: usize) -> Result<Bytes> {
        let part = self.0.part(offset, max).await?;
        if let Some(stored) = self.0.stored() {
            stored.remove().await?;
        }
        Ok(part)
    }
}

#[derive(Debug)]
struct Store {
    store: Arc<dyn PartStore>,
    flaw: Careless,
}

#[async_trait]
impl PartStore for Store {
    fn part_size(&self) -> u32 {
        self.store.part_size()
    }

    async fn create(&self, id: PartsId, live: Duration) -> Result<Box<dyn PartSink>> {
        let sink = self.store.create(id, live).await?;
        Ok(match self.flaw {
            Careless::Damages => Box::new(Damaging(sink)),
            _ => sink,
        })
    }

    async fn open(&self, manifest: &Manifest, from: u32) -> Result<Box<dyn PartSource>> {
        let source = self.store.open(manifest, from).await?;
        if matches!(self.flaw, Careless::Takes) {
            self.store.remove(manifest.id).await?;
        }
        Ok(source)
    }

    async fn remove(&self, id: PartsId) -> Result<()> {
        if matches!(self.flaw, Careless::Keeps) { Ok(()) } else { self.store.remove(id).await }
    }
}

#[derive(Debug)]
struct Damaging(Box<dyn PartSink>);

#[async_trait]
impl PartSink for Damaging {
    async fn put(&mut self, part: Part) -> Result<()> {
        let mut bytes = BytesMut::from(&part.bytes[..]);
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        self.0.put(Part::new(part.index, bytes.freeze())).await
    }

    async fn finish(&mut self) -> Result<()> {
        self.0.finish().await
    }
}

/// Replies come without what was behind their head.
#[derive(Debug)]
pub(super) struct HeadsOnly;

#[async_trait]
impl Flaw for HeadsOnly {
    async fn reply(
        &self,
        inside: &Inside,
        to: &ReplyTo,
        mut message: Message,
        options: ReplyOptions,
    ) -> Result<Receipt> {
        message.carried_mut().remove_carried(PARTS);
        inside.reply(to, message, options).await
    }
}
