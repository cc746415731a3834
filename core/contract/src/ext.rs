//! The verbs callers use.

use std::future::Future;
use std::time::Duration;

use crate::drain::DrainReport;
use crate::error::{Error, Kind, Operation, Result, Status};
use crate::incoming::{Arrival, End, Incoming};
use crate::message::Message;
use crate::name::Name;
use crate::options::{Confirm, PublishOptions, RequestOptions};
use crate::receipt::{Confirmed, Receipt};
use crate::reply::Reply;
use crate::target::Target;
use crate::transport::Transport;

/// Conveniences on every transport. The safe verb and the weak one have different names.
pub trait TransportExt: Transport {
    /// Sends to a queue, confirmed: `Ok` means the bus has taken responsibility.
    ///
    /// # Errors
    /// As [`Transport::publish`].
    fn send(&self, queue: &Name, message: Message) -> impl Future<Output = Result<Confirmed>> + Send {
        let target = Target::Queue(queue.clone());
        async move {
            let receipt = self.publish(&target, message, PublishOptions::default()).await?;
            receipt.confirmed().ok_or_else(|| unconfirmed(&target))
        }
    }

    /// Sends to a queue without waiting to hear of it: faster, and it may get lost.
    ///
    /// # Errors
    /// As [`Transport::publish`].
    fn send_unconfirmed(
        &self,
        queue: &Name,
        message: Message,
    ) -> impl Future<Output = Result<Receipt>> + Send {
        let target = Target::Queue(queue.clone());
        let options = PublishOptions::default().with_confirm(Confirm::No);
        async move { self.publish(&target, message, options).await }
    }

    /// Publishes to a topic; confirmed where topic and bus are durable.
    ///
    /// # Errors
    /// As [`Transport::publish`].
    fn announce(&self, topic: &Name, message: Message) -> impl Future<Output = Result<Receipt>> + Send {
        let target = Target::Topic(topic.clone());
        let options = PublishOptions::default().with_confirm(Confirm::WhereAble);
        async move { self.publish(&target, message, options).await }
    }

    /// Asks a queue and waits for the one reply.
    ///
    /// # Errors
    /// As [`Transport::request`] and its end; [`Kind::Remote`] with the responder's code and text;
    /// [`Kind::Protocol`] if the answer is a stream (use `request`: parts are never thrown away).
    fn call(
        &self,
        queue: &Name,
        message: Message,
        options: RequestOptions,
    ) -> impl Future<Output = Result<Reply>> + Send {
        let target = Target::Queue(queue.clone());
        async move {
            let mut replies = self.request(&target, message, options).await?;
            the_one(&mut replies).await.map_err(|error| error.with_target(&target))
        }
    }

    /// Closes at once: a drain without patience.
    fn close(&self) -> impl Future<Output = DrainReport> + Send {
        async move { self.drain(Duration::ZERO).await }
    }
}

impl<T: Transport + ?Sized> TransportExt for T {}

fn unconfirmed(target: &Target) -> Error {
    Error::new(Kind::Protocol, Operation::Publish)
        .with_target(target)
        .with_status(Status::Unknown)
        .with_detail("the bus answered a confirmed send without a confirmation")
}

async fn the_one(replies: &mut Incoming<Reply>) -> Result<Reply> {
    match replies.next().await {
        Some(Arrival::Item(reply)) => one_reply(reply),
        Some(Arrival::Gap(_)) => Err(Error::new(Kind::Protocol, Operation::Request)
            .with_status(Status::Unknown)
            .with_detail("part of the answer was lost")),
        None => Err(ended(replies.end())),
    }
}

fn one_reply(reply: Reply) -> Result<Reply> {
    if let Some(error) = &reply.error {
        let detail = format!("{}: {}", error.code, error.text);
        return Err(Error::new(Kind::Remote, Operation::Request).with_detail(detail));
    }
    if !reply.last {
        return Err(Error::new(Kind::Protocol, Operation::Request)
            .with_detail("the answer is a stream of replies; read it with `request`"));
    }
    Ok(reply)
}

fn ended(end: Option<&End>) -> Error {
    match end {
        Some(End::Failed(error)) => error.clone(),
        Some(End::Stopped | End::Drained) => {
            Error::new(Kind::Closed, Operation::Request).with_status(Status::Unknown)
        }
        Some(End::Complete) | None => Error::new(Kind::Protocol, Operation::Request)
            .with_status(Status::Unknown)
            .with_detail("the answer ended without a reply"),
    }
}
