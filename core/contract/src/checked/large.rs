//! Large bodies: on the way out their parts go to the store of the bus and a manifest into the message; on the way in
//! the manifest becomes a body that reads them, and the settle takes them away.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;

use super::Checked;
use crate::body::{Body, BodyParts};
use crate::delivery::Delivery;
use crate::error::{Error, Kind, Operation, Result, Status};
use crate::incoming::{Arrival, End, Incoming, Source};
use crate::message::Message;
use crate::options::{Deadline, PublishOptions, ReplyOptions, RequestOptions};
use crate::parts::{Manifest, PARTS, PARTS_LIVE, PartStore, StoredParts, Unreadable, Upload};
use crate::receipt::Receipt;
use crate::reply::Reply;
use crate::settle::{Hold, Keep, Outcome, Settling};
use crate::target::{ReplyTo, Target};
use crate::transport::Transport;

/// How long the parts of a request outlive its deadline, and those of a reply its sending.
const SPARE: Duration = Duration::from_hours(1);

/// Whether something must be done to a message before it is sent.
pub(super) fn concerns(message: &Message) -> bool {
    message.body().as_parts().is_some()
}

/// How long the parts of a request are needed.
fn live(deadline: Deadline) -> Duration {
    match deadline {
        Deadline::Within(within) => within.saturating_add(SPARE).min(PARTS_LIVE),
        Deadline::Never => PARTS_LIVE,
    }
}

/// A message as it goes to the transport, and the parts that were stored for it.
struct Outgoing {
    message: Message,
    stored: Option<Arc<StoredParts>>,
}

/// What was stored for a message that was not sent is of no use to anybody.
async fn without_unsent<T>(stored: Option<Arc<StoredParts>>, sent: Result<T>) -> Result<T> {
    let unsent = sent.as_ref().is_err_and(|error| error.status() != Status::Unknown);
    if let Some(stored) = stored.filter(|_| unsent) {
        // What cannot be removed now goes when its time has passed.
        let _ = stored.remove().await;
    }
    sent
}

impl Checked {
    /// The place beside the queues of this bus, if it has one.
    pub(super) fn beside(&self) -> Option<Beside> {
        let profile = self.lend_profile();
        if !profile.capability.large_body {
            return None;
        }
        let store = self.get_ref().parts()?;
        Some(Beside { store, instance: profile.instance.clone() })
    }

    async fn outgoing(&self, message: Message, live: Duration) -> Result<Outgoing> {
        let Some(parts) = message.body().as_parts().cloned() else {
            return Ok(Outgoing { message, stored: None });
        };
        let instance = self.lend_profile().instance.clone();
        let (manifest, stored) = if let Some(stored) = parts.stored().filter(|stored| stored.is_on(&instance))
        {
            (stored.manifest().to_string(), None)
        } else {
            let stored = Box::pin(self.store(&*parts, live)).await?;
            (stored.manifest().to_string(), Some(stored))
        };
        let head = message.body().head().clone();
        let mut message = message.with_body(head);
        message.carried_mut().set_carried(PARTS, manifest);
        Ok(Outgoing { message, stored })
    }

    async fn store(&self, parts: &dyn BodyParts, live: Duration) -> Result<Arc<StoredParts>> {
        let mut upload = Upload::begin(self, live).await?;
        match upload.write_all(parts).await {
            Ok(()) => upload.finish().await,
            Err(error) => {
                upload.abandon().await;
                Err(error)
            }
        }
    }

    /// Refuses parts for those who cannot read them, before any are stored.
    async fn reaches(&self, to: &Target, message: &Message, operation: Operation) -> Result<()> {
        let (Target::Queue(queue), Some(_)) = (to, message.body().as_parts()) else { return Ok(()) };
        let reaches = match self.get_ref().parts() {
            Some(store) => store.reaches(queue).await?,
            None => true,
        };
        if reaches {
            return Ok(());
        }
        let limit = self.lend_profile().capability.max_message.unwrap_or(0);
        let kind = Kind::TooLarge { limit, size: message.body().len() };
        let detail = "those who serve it have not said that they read bodies in parts";
        Err(Error::new(kind, operation).with_target(to).with_detail(detail))
    }

    pub(super) async fn publish_large(
        &self,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        self.reaches(to, &message, Operation::Publish).await?;
        let Outgoing { message, stored } = self.outgoing(message, PARTS_LIVE).await?;
        let sent = self.get_ref().publish(to, message, options).await;
        without_unsent(stored, sent).await
    }

    /// A request with a body that goes there in parts, as its replies may.
    pub(super) async fn request_large(
        &self,
        to: &Target,
        message: Message,
        options: RequestOptions,
        beside: Beside,
    ) -> Result<Incoming<Reply>> {
        self.reaches(to, &message, Operation::Request).await?;
        let Outgoing { message, stored } = self.outgoing(message, live(options.deadline)).await?;
        let sent = self.get_ref().request(to, message, options).await;
        Ok(beside.wrap(without_unsent(stored, sent).await?))
    }

    pub(super) async fn reply_large(
        &self,
        to: &ReplyTo,
        message: Message,
        options: ReplyOptions,
    ) -> Result<Receipt> {
        let Outgoing { message, stored } = self.outgoing(message, SPARE).await?;
        let sent = self.get_ref().reply(to, message, options).await;
        if let (Ok(Receipt::Unclaimed), Some(stored)) = (&sent, &stored) {
            // What cannot be removed now goes when its time has passed.
            let _ = stored.remove().await;
        }
        without_unsent(stored, sent).await
    }
}

/// The place beside the queues of a bus.
#[derive(Clone, Debug)]
pub(super) struct Beside {
    store: Arc<dyn PartStore>,
    instance: Arc<str>,
}

impl Beside {
    pub(super) fn wrap<T: Arrives>(self, incoming: Incoming<T>) -> Incoming<T> {
        let (source, end) = incoming.into_source();
        Incoming::new(LargeSource { source, end, beside: self })
    }

    /// The parts that a message speaks of.
    fn parts_of(&self, message: &Message) -> Option<std::result::Result<StoredParts, Error>> {
        let text = message.carried().get(PARTS)?;
        // The body of such a dead letter was replaced, and its parts are gone.
        if message.death().is_some_and(|death| !death.whole) {
            return None;
        }
        let manifest = text.as_text().unwrap_or_default().parse::<Manifest>();
        Some(manifest.map(|manifest| StoredParts::new(self.store.clone(), self.instance.clone(), manifest)))
    }
}

/// What arrives with a body that may lie beside the queue.
pub(super) trait Arrives: fmt::Debug + Send + 'static {
    fn joined(self, beside: &Beside) -> Self;
}

impl Arrives for Reply {
    fn joined(mut self, beside: &Beside) -> Self {
        if let Some(parts) = beside.parts_of(&self.message) {
            self.message = with_parts(self.message, parts.map(StoredParts::once).map(Arc::new));
        }
        self
    }
}

impl Arrives for Delivery {
    fn joined(self, beside: &Beside) -> Self {
        let Some(parts) = beside.parts_of(self.message()) else { return self };
        let parts = parts.map(Arc::new);
        let (message, queue, attempt, terms, hold) = self.into_parts();
        let hold = LargeHold { hold, parts: parts.as_ref().ok().cloned() };
        Self::new(with_parts(message, parts), queue, attempt, terms, Arc::new(hold))
    }
}

fn with_parts(message: Message, parts: std::result::Result<Arc<StoredParts>, Error>) -> Message {
    let head = message.body().head().clone();
    let parts: Arc<dyn BodyParts> = match parts {
        Ok(parts) => parts,
        Err(error) => Arc::new(Unreadable(error)),
    };
    message.with_body(Body::headed(head, parts))
}

#[derive(Debug)]
struct LargeSource<T> {
    source: Box<dyn Source<T>>,
    end: Option<End>,
    beside: Beside,
}

impl<T: Arrives> Source<T> for LargeSource<T> {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Arrival<T>, End>> {
        if let Some(end) = self.end.take() {
            return Poll::Ready(Err(end));
        }
        self.source.poll_next(context).map_ok(|arrival| match arrival {
            Arrival::Item(item) => Arrival::Item(item.joined(&self.beside)),
            gap @ Arrival::Gap(_) => gap,
        })
    }

    fn set_credit(&mut self, credit: u32) -> Result<()> {
        self.source.set_credit(credit)
    }

    fn stop(&mut self) {
        self.source.stop();
    }
}

/// Takes the parts away once the delivery they came with is settled for good, and not before: until then another worker
/// may need them. Of a dead letter that is kept whole they stay, for as long as they live.
#[derive(Debug)]
struct LargeHold {
    hold: Option<Arc<dyn Hold>>,
    parts: Option<Arc<StoredParts>>,
}

#[async_trait]
impl Hold for LargeHold {
    fn settle(self: Arc<Self>, outcome: Outcome) -> Settling {
        let Some(hold) = self.hold.clone() else { return Settling::done(Ok(())) };
        let for_good = match &outcome {
            Outcome::Ack => true,
            Outcome::Reject { keep, .. } => !matches!(keep, Keep::Body),
            _ => false,
        };
        let settling = hold.settle(outcome);
        match self.parts.clone().filter(|parts| for_good && !parts.is_kept()) {
            Some(parts) => Settling::waiting(async move {
                settling.await?;
                // What cannot be removed now goes when its time has passed.
                let _ = parts.remove().await;
                Ok(())
            }),
            None => settling,
        }
    }

    async fn renew(&self) -> Result<Option<Duration>> {
        match &self.hold {
            Some(hold) => hold.renew().await,
            None => Ok(None),
        }
    }
}
