//! Streams and deliveries behind the line.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use polybus_contract::{
    Arrival, Delivery, End, Error, Hold, Keep, Kind, LeaseTerms, Message, Operation, Outcome, Reply, Result,
    Settling, Source, Status,
};
use polybus_lines::{millis, name};
use serde_json::Value;

use super::link::{Arrived, Inbox, Link, gone, locked, unreadable};
use super::message::{MessageLine, ReplyLine, body_line};
use super::wire::{DeliveryLine, Op, OutcomeLine};

/// How what arrives is read.
type Read<T> = fn(&Arc<Link>, u64, Value) -> Result<T, String>;

/// One stream of a handle. Everything that may be lost lies in its inbox, so a dropped `next` loses nothing.
pub(super) struct Remote<T> {
    link: Arc<Link>,
    handle: u64,
    stream: u64,
    inbox: Arc<Mutex<Inbox>>,
    read: Read<T>,
    operation: Operation,
}

impl<T> Remote<T> {
    pub(super) fn new(
        link: Arc<Link>,
        handle: u64,
        (stream, inbox): (u64, Arc<Mutex<Inbox>>),
        read: Read<T>,
        operation: Operation,
    ) -> Self {
        Self { link, handle, stream, inbox, read, operation }
    }

    fn arrival(&self, arrived: Arrived) -> Result<Arrival<T>, End> {
        match arrived {
            Arrived::Item(item) => (self.read)(&self.link, self.handle, item)
                .map(Arrival::Item)
                .map_err(|fault| End::Failed(unreadable(self.operation, fault))),
            Arrived::Gap(gap) => Ok(Arrival::Gap(gap.into())),
            Arrived::End(end) => Err(end.into()),
            Arrived::Gone => Err(End::Failed(gone(self.operation, Status::Unknown))),
        }
    }
}

impl<T> Source<T> for Remote<T> {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Arrival<T>, End>> {
        let mut inbox = locked(&self.inbox);
        if let Some(arrived) = inbox.arrived.pop_front() {
            drop(inbox);
            return Poll::Ready(self.arrival(arrived));
        }
        inbox.waker = Some(context.waker().clone());
        let asked = std::mem::replace(&mut inbox.pulled, true);
        drop(inbox);
        if !asked {
            self.link.tell(self.handle, Op::Pull { stream: self.stream });
        }
        Poll::Pending
    }

    fn set_credit(&mut self, credit: u32) -> Result<()> {
        if credit == 0 {
            let error = Error::new(Kind::InvalidOption, Operation::Credit);
            return Err(error.with_detail("credit must be at least 1"));
        }
        self.link.tell(self.handle, Op::Credit { stream: self.stream, credit });
        Ok(())
    }

    fn stop(&mut self) {
        self.link.tell(self.handle, Op::Stop { stream: self.stream });
    }
}

impl<T> Drop for Remote<T> {
    fn drop(&mut self) {
        self.link.close_stream(self.stream);
        self.link.tell(self.handle, Op::Close { stream: self.stream });
        for arrived in locked(&self.inbox).arrived.drain(..) {
            self.link.give_back(&arrived);
        }
    }
}

impl<T> fmt::Debug for Remote<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("stream", &self.stream).finish_non_exhaustive()
    }
}

pub(super) fn read_message(_: &Arc<Link>, _: u64, item: Value) -> Result<Message, String> {
    let line: MessageLine = serde_json::from_value(item).map_err(|error| error.to_string())?;
    line.message()
}

pub(super) fn read_reply(_: &Arc<Link>, _: u64, item: Value) -> Result<Reply, String> {
    let line: ReplyLine = serde_json::from_value(item).map_err(|error| error.to_string())?;
    line.reply()
}

pub(super) fn read_delivery(link: &Arc<Link>, handle: u64, item: Value) -> Result<Delivery, String> {
    let said: DeliveryLine = serde_json::from_value(item).map_err(|error| error.to_string())?;
    let terms = said.lease_ms.map(Duration::from_millis).map_or(LeaseTerms::Connection, LeaseTerms::Timed);
    let hold = Arc::new(RemoteHold { link: link.clone(), handle, delivery: said.delivery });
    Ok(Delivery::new(said.message.message()?, name(&said.queue)?, said.attempt, terms, hold))
}

/// The kit's side of a delivery that the process holds.
struct RemoteHold {
    link: Arc<Link>,
    handle: u64,
    delivery: u64,
}

impl fmt::Debug for RemoteHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteHold").field("delivery", &self.delivery).finish_non_exhaustive()
    }
}

#[async_trait]
impl Hold for RemoteHold {
    fn settle(self: Arc<Self>, outcome: Outcome) -> Settling {
        let settle = Op::Settle { delivery: self.delivery, outcome: outcome_line(outcome) };
        // On its way now; only the report is awaited.
        let answer = self.link.ask::<Value>(self.handle, settle, Operation::Settle, Duration::ZERO);
        Settling::waiting(async move { answer.await.map(|_| ()) })
    }

    async fn renew(&self) -> Result<Option<Duration>> {
        let renew = Op::Renew { delivery: self.delivery };
        let term: Option<u64> = self.link.ask(self.handle, renew, Operation::Renew, Duration::ZERO).await?;
        Ok(term.map(Duration::from_millis))
    }
}

impl Drop for RemoteHold {
    fn drop(&mut self) {
        self.link.tell(self.handle, Op::Forget { delivery: self.delivery });
    }
}

fn outcome_line(outcome: Outcome) -> OutcomeLine {
    match outcome {
        Outcome::Ack => OutcomeLine::Ack,
        Outcome::Retry { after, error } => OutcomeLine::Retry { after_ms: millis(after), error },
        Outcome::Reject { reason, error, keep } => {
            let (keep, body) = match keep {
                Keep::Body => ("body", None),
                Keep::Substitute(body) => ("substitute", Some(body_line(&body))),
                Keep::Nothing => ("nothing", None),
            };
            OutcomeLine::Reject { reason: reason.to_string(), error, keep: keep.to_owned(), body }
        }
        Outcome::Release => OutcomeLine::Release,
        _ => OutcomeLine::Dropped,
    }
}
