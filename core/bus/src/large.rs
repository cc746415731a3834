//! Frames with a large content: the frame travels as one message, and what would be the base64 text of one field lies
//! beside the queue as it is, in parts (see `docs/src/wire-parts.md`).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use polybus_contract::{
    Body, BodyParts, Deadline, Error, Kind, Message, Name, Operation, PARTS_LIVE, Result, StoredParts,
    Transport, Upload, Value,
};

use crate::frame::{ReadFault, Received};

/// The carried header that names the field whose content lies behind the frame.
pub(crate) const CONTENT: &str = "x-polybus-content";

/// What of the time of a call is added before parts of a request may go.
const SPARE: Duration = Duration::from_hours(1);

/// The content of one field of a frame, in parts.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Content {
    /// The field.
    pub field: String,
    /// What it holds, as it is: not base64.
    pub parts: Arc<dyn BodyParts>,
}

impl Content {
    /// The content of `field`.
    #[must_use]
    pub fn new(field: impl Into<String>, parts: Arc<dyn BodyParts>) -> Self {
        Self { field: field.into(), parts }
    }

    /// All of it in memory, if it is not longer than `limit`.
    ///
    /// # Errors
    /// [`TooLarge`](Kind::TooLarge) before anything is read; otherwise as [`BodyParts::part`].
    pub async fn read(&self, limit: u64) -> Result<Bytes> {
        Body::parts(self.parts.clone()).read(limit).await
    }

    /// The message of a frame in which this field is empty. Flattened it is the frame, a line feed, and the content.
    pub(crate) fn message(&self, frame: Vec<u8>) -> Message {
        let mut head = BytesMut::from(Bytes::from(frame));
        head.put_u8(b'\n');
        let mut message = Message::new(Body::headed(head.freeze(), self.parts.clone()));
        message.carried_mut().set_carried(CONTENT, Value::Text(self.field.as_str().into()));
        message
    }

    /// The content behind the frame of a message, if there is any.
    pub(crate) fn of(message: &Message) -> Option<Self> {
        let field = message.carried().get(CONTENT)?.as_text()?;
        Some(Self::new(field, message.body().as_parts()?.clone()))
    }
}

/// Why the frame of a message cannot be had.
#[derive(Debug)]
pub(crate) enum Unread {
    Bus(Error),
    Frame(ReadFault),
}

/// The frame of a message, and the content behind it.
pub(crate) async fn read(
    message: &Message,
    max_bytes: u64,
) -> std::result::Result<(Received, Option<Content>), Unread> {
    let content = Content::of(message);
    let frame = match &content {
        Some(_) => message.body().head().clone(),
        None => message.body().read(max_bytes).await.map_err(Unread::Bus)?,
    };
    let frame = Received::read(&frame, max_bytes).map_err(Unread::Frame)?;
    Ok((frame, content))
}

/// Where a service puts a large result part by part while it works.
#[derive(Clone, Debug)]
pub struct Outbox {
    bus: Arc<dyn Transport>,
    stdout: Arc<Mutex<Option<Arc<StoredParts>>>>,
}

impl Outbox {
    pub(crate) fn new(bus: Arc<dyn Transport>) -> Self {
        Self { bus, stdout: Arc::default() }
    }

    /// Begins a large result.
    ///
    /// # Errors
    /// As [`Upload::begin`].
    pub async fn begin(&self) -> Result<Upload> {
        Upload::begin(&*self.bus, SPARE).await
    }

    /// Makes this the standard output of the answer, in place of what the answer says itself.
    pub fn set_stdout(&self, stored: Arc<StoredParts>) {
        *self.stdout.lock().unwrap_or_else(PoisonError::into_inner) = Some(stored);
    }

    pub(crate) fn take_stdout(&self) -> Option<Arc<StoredParts>> {
        self.stdout.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Begins the parts of a request for `queue`.
pub(crate) async fn begin(bus: &dyn Transport, queue: &Name, deadline: Deadline) -> Result<Upload> {
    if let Some(store) = bus.parts().filter(|_| bus.profile().capability.large_body)
        && !store.reaches(queue).await?
    {
        let limit = bus.profile().capability.max_message.unwrap_or(0);
        let detail =
            "only a frame that fits into one message: those who serve it have not said that they read parts";
        let kind = Kind::TooLarge { limit, size: limit.saturating_add(1) };
        return Err(Error::new(kind, Operation::Request).with_target(queue).with_detail(detail));
    }
    let live = match deadline {
        Deadline::Within(within) => within.saturating_add(SPARE).min(PARTS_LIVE),
        Deadline::Never => PARTS_LIVE,
    };
    Upload::begin(bus, live).await
}
