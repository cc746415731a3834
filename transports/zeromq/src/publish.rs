//! Sending to queues and publishing to topics.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use polybus_contract::{
    Confirm, Error, Message, MessageId, Operation, PublishOptions, Receipt, ReplyTo, Result, Target,
};
use polybus_lines::MessageLine;
use tokio::time::Instant;

use crate::connection::Handle;
use crate::error::unreadable;
use crate::wire::frame::{Packet, kind};
use crate::wire::receipt::ReceiptLine;
use crate::wire::verbs::PublishHeader;

/// What the broker may take beyond the bound of a call, which it keeps itself.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// What a message says of itself.
pub(crate) fn line(message: &Message) -> MessageLine {
    MessageLine::of(message, ReplyTo::to_string)
}

impl Handle {
    pub(crate) async fn publish(
        self: &Arc<Self>,
        to: &Target,
        mut message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        self.open(Operation::Publish)?;
        let id = message.ensure_id().clone();
        let sent = self.send(to, &message, options, id.clone()).await;
        sent.map_err(|error| named(error, to, id))
    }

    async fn send(
        self: &Arc<Self>,
        to: &Target,
        message: &Message,
        mut options: PublishOptions,
        id: MessageId,
    ) -> Result<Receipt> {
        let until = Instant::now() + options.within;
        let link = self.link(Operation::Publish, until).await?;
        options.within = until.saturating_duration_since(Instant::now());
        let header = PublishHeader { to: to.into(), message: line(message), options: (&options).into() };
        let body = message.body().head().clone();
        let answered = options.confirm != Confirm::No;
        let number = if answered { self.switch.number() } else { 0 };
        let packet = Packet::new(kind::PUBLISH, number, &header).with_body(body);
        if !answered {
            link.room(Operation::Publish, until).await?;
            self.handed.fetch_add(1, Ordering::AcqRel);
            link.pipe.send(&packet, false);
            return Ok(Receipt::Handed(id));
        }
        let answer = link.ask(packet, Operation::Publish, until + GRACE).await?;
        let receipt: ReceiptLine = answer.read().map_err(|fault| unreadable(Operation::Publish, fault))?;
        receipt.receipt(id).map_err(|fault| unreadable(Operation::Publish, fault))
    }
}

/// The error, naming what it is about.
pub(crate) fn named(error: Error, to: &Target, id: MessageId) -> Error {
    let error = if error.target().is_none() { error.with_target(to) } else { error };
    error.with_message_id(id)
}
