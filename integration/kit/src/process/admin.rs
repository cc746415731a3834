//! The desk behind the line.

use async_trait::async_trait;
use polybus_contract::{
    Admin, Browse, Browsed, Intake, MessageId, Object, Operation, Page, Place, Purged, QueueInfo, Redrive,
    Redriven, Result,
};
use polybus_lines::{InfoLine, IntakeLine, RedrivenLine};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::client::ProcessTransport;
use super::figures::{BrowsedLine, PageLine};
use super::link::{GRACE, unreadable};
use super::wire::Op;

impl ProcessTransport {
    async fn at_desk<T: DeserializeOwned>(&self, op: Op, operation: Operation) -> Result<T> {
        self.open(operation).await?.ask(self.number, op, operation, GRACE).await
    }
}

#[async_trait]
impl Admin for ProcessTransport {
    async fn list(&self) -> Result<Vec<Intake>> {
        let lines: Vec<IntakeLine> = self.at_desk(Op::List, Operation::Inspect).await?;
        let intakes: Result<_, String> = lines.iter().map(IntakeLine::intake).collect();
        intakes.map_err(|fault| unreadable(Operation::Inspect, fault))
    }

    async fn inspect(&self, intake: &Intake) -> Result<QueueInfo> {
        let line: InfoLine = self.at_desk(Op::Inspect { intake: intake.into() }, Operation::Inspect).await?;
        Ok(line.into())
    }

    async fn browse(&self, intake: &Intake, place: Place, browse: Browse) -> Result<Page> {
        let Browse { from, limit, .. } = browse;
        let op = Op::Browse { intake: intake.into(), place: place.into(), from, limit };
        let line: PageLine = self.at_desk(op, Operation::Browse).await?;
        let browsed = |line: BrowsedLine| Ok(Browsed::new(line.message.message()?, line.attempts));
        let messages: Result<_, String> = line.messages.into_iter().map(browsed).collect();
        let messages = messages.map_err(|fault| unreadable(Operation::Browse, fault))?;
        Ok(Page::new(messages, line.next))
    }

    async fn purge(&self, intake: &Intake, place: Place) -> Result<Purged> {
        let op = Op::Purge { intake: intake.into(), place: place.into() };
        Ok(Purged { messages: self.at_desk(op, Operation::Purge).await? })
    }

    async fn redrive(&self, intake: &Intake, redrive: Redrive) -> Result<Redriven> {
        let ids = redrive.ids.iter().map(MessageId::to_string).collect();
        let op = Op::Redrive { intake: intake.into(), ids, limit: redrive.limit };
        let line: RedrivenLine = self.at_desk(op, Operation::Redrive).await?;
        Ok(line.into())
    }

    async fn remove(&self, object: &Object) -> Result<()> {
        let op = Op::Remove { object: object.into() };
        self.at_desk::<Value>(op, Operation::Remove).await.map(|_| ())
    }
}
