//! The desk.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use polybus_contract::{
    Admin, Browse, Browsed, Intake, MessageId, Object, Operation, Page, Place, Purged, QueueInfo, Redrive,
    Redriven, ReplyTo, Result,
};
use polybus_lines::{InfoLine, IntakeLine, Names, RedrivenLine};
use tokio::time::Instant;

use crate::ZeroMq;
use crate::error::unreadable;
use crate::wire::frame::{Packet, kind};
use crate::wire::verbs::{DeskHeader, ListHeader, PageHeader, PurgedHeader};

/// How long the desk may take.
const WITHIN: Duration = Duration::from_mins(1);

impl ZeroMq {
    async fn at_desk(&self, header: DeskHeader, operation: Operation) -> Result<Packet> {
        let packet = |number| Packet::new(kind::DESK, number, &header);
        self.handle.ask(packet, operation, Instant::now() + WITHIN).await
    }

    fn page(&self, answer: &Packet) -> Result<Page, String> {
        let header: PageHeader = answer.read()?;
        let instance: Arc<str> = self.handle.profile().instance.clone();
        let mut bodies = answer.body.clone().unwrap_or_default();
        let mut messages = Vec::with_capacity(header.messages.len());
        for line in header.messages {
            let length = usize::try_from(line.bytes).ok().filter(|length| *length <= bodies.len());
            let body = bodies.split_to(length.ok_or("a body is shorter than it says")?);
            let reply_to = |address: &String| ReplyTo::new(instance.clone(), address.as_str());
            let message = line.message.message(Bytes::copy_from_slice(&body), Names::Checked, reply_to)?;
            messages.push(Browsed::new(message, line.attempts));
        }
        Ok(Page::new(messages, header.next))
    }
}

#[async_trait]
impl Admin for ZeroMq {
    async fn list(&self) -> Result<Vec<Intake>> {
        let wrong = |fault: String| unreadable(Operation::Inspect, fault);
        let answer = self.at_desk(DeskHeader::List, Operation::Inspect).await?;
        let header: ListHeader = answer.read().map_err(wrong)?;
        header.intakes.iter().map(|line| line.intake().map_err(wrong)).collect()
    }

    async fn inspect(&self, intake: &Intake) -> Result<QueueInfo> {
        let header = DeskHeader::Inspect { intake: IntakeLine::from(intake) };
        let answer = self.at_desk(header, Operation::Inspect).await?;
        let line: InfoLine = answer.read().map_err(|fault| unreadable(Operation::Inspect, fault))?;
        Ok(line.into())
    }

    async fn browse(&self, intake: &Intake, place: Place, browse: Browse) -> Result<Page> {
        let Browse { from, limit, .. } = browse;
        let header = DeskHeader::Browse { intake: intake.into(), place: place.into(), from, limit };
        let answer = self.at_desk(header, Operation::Browse).await?;
        self.page(&answer).map_err(|fault| unreadable(Operation::Browse, fault))
    }

    async fn purge(&self, intake: &Intake, place: Place) -> Result<Purged> {
        let header = DeskHeader::Purge { intake: intake.into(), place: place.into() };
        let answer = self.at_desk(header, Operation::Purge).await?;
        let line: PurgedHeader = answer.read().map_err(|fault| unreadable(Operation::Purge, fault))?;
        Ok(Purged { messages: line.messages })
    }

    async fn redrive(&self, intake: &Intake, redrive: Redrive) -> Result<Redriven> {
        let ids = redrive.ids.iter().map(MessageId::to_string).collect();
        let header = DeskHeader::Redrive { intake: intake.into(), ids, limit: redrive.limit };
        let answer = self.at_desk(header, Operation::Redrive).await?;
        let line: RedrivenLine = answer.read().map_err(|fault| unreadable(Operation::Redrive, fault))?;
        Ok(line.into())
    }

    async fn remove(&self, object: &Object) -> Result<()> {
        self.at_desk(DeskHeader::Remove { object: object.into() }, Operation::Remove).await?;
        self.handle.held.remove(object);
        Ok(())
    }
}
