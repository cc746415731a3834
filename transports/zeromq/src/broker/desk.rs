//! The desk for clients.

use bytes::BytesMut;
use polybus_contract::{
    Admin, Browse, Error, Feature, Kind, Name, Object, Operation, Page, Place, Result, Transport,
};
use polybus_lines::{InfoLine, IntakeLine, MessageLine, RedrivenLine, browse_of, redrive_of};

use super::identity::{Right, Rights};
use crate::wire::frame::{Packet, kind};
use crate::wire::verbs::{BrowsedLine, DeskHeader, ListHeader, PageHeader, PurgedHeader};

/// Bytes of one page of browsed messages, unless a single one is larger.
const PAGE: u64 = 4 << 20;

fn name_fault(fault: String) -> Error {
    Error::new(Kind::InvalidName, Operation::Inspect).with_detail(fault)
}

/// Does one thing at the desk.
pub(super) async fn at(
    bus: &dyn Transport,
    rights: &Rights,
    header: DeskHeader,
    number: u64,
    most: u64,
) -> Result<Packet> {
    let Some(desk) = bus.admin() else {
        return Err(Error::unsupported(Feature::Inspect, Operation::Inspect, "the bus of this broker"));
    };
    let ok = |header: &dyn erased::Json| Packet { header: header.text(), ..Packet::bare(kind::OK, number) };
    Ok(match header {
        DeskHeader::List => {
            if !rights.has_some(Right::Desk) {
                let detail = "the desk is for users with a \"desk\" in the broker's file of identities";
                return Err(Error::new(Kind::Unauthorized, Operation::Inspect).with_detail(detail));
            }
            let mut intakes = desk.list().await?;
            intakes.retain(|intake| rights.sees(intake));
            ok(&ListHeader { intakes: intakes.iter().map(IntakeLine::from).collect() })
        }
        DeskHeader::Inspect { intake } => {
            let intake = allowed(&intake, rights, Operation::Inspect)?;
            ok(&InfoLine::from(desk.inspect(&intake).await?))
        }
        DeskHeader::Browse { intake, place, from, limit } => {
            let intake = allowed(&intake, rights, Operation::Browse)?;
            let page = browse(desk, &intake, place.into(), browse_of(from, limit), PAGE.min(most)).await?;
            page_packet(&page, number)
        }
        DeskHeader::Purge { intake, place } => {
            let intake = allowed(&intake, rights, Operation::Purge)?;
            ok(&PurgedHeader { messages: desk.purge(&intake, place.into()).await?.messages })
        }
        DeskHeader::Redrive { intake, ids, limit } => {
            let intake = allowed(&intake, rights, Operation::Redrive)?;
            ok(&RedrivenLine::from(desk.redrive(&intake, redrive_of(&ids, limit)).await?))
        }
        DeskHeader::Remove { object } => {
            let object = object.object().map_err(name_fault)?;
            rights.check(Right::Desk, name_of(&object), Operation::Remove)?;
            desk.remove(&object).await?;
            Packet::bare(kind::OK, number)
        }
    })
}

const fn name_of(object: &Object) -> &Name {
    match object {
        Object::Queue(name) | Object::Topic(name) | Object::Group { topic: name, .. } => name,
    }
}

fn allowed(line: &IntakeLine, rights: &Rights, operation: Operation) -> Result<polybus_contract::Intake> {
    let intake = line.intake().map_err(name_fault)?;
    let name = match &intake {
        polybus_contract::Intake::Queue(name) => name,
        polybus_contract::Intake::Group { topic, .. } => topic,
    };
    rights.check(Right::Desk, name, operation)?;
    Ok(intake)
}

/// A page that fits into one packet: a shorter one is asked for until it does.
async fn browse(
    desk: &dyn Admin,
    intake: &polybus_contract::Intake,
    place: Place,
    browse: Browse,
    most: u64,
) -> Result<Page> {
    let mut limit = browse.limit;
    loop {
        let page = desk.browse(intake, place, browse.with_limit(limit)).await?;
        let bytes: u64 = page.messages.iter().map(|browsed| browsed.size).sum();
        if bytes <= most || page.messages.len() <= 1 {
            return Ok(page);
        }
        limit = u32::try_from(page.messages.len() / 2).unwrap_or(1).max(1);
    }
}

fn page_packet(page: &Page, number: u64) -> Packet {
    let mut bodies = BytesMut::new();
    let mut lines = Vec::with_capacity(page.messages.len());
    for browsed in &page.messages {
        let body = browsed.message.body().head();
        bodies.extend_from_slice(body);
        lines.push(BrowsedLine {
            // Nobody answers what is only looked at.
            message: MessageLine::of(&browsed.message, ToString::to_string),
            attempts: browsed.attempts,
            bytes: body.len() as u64,
        });
    }
    let header = PageHeader { messages: lines, next: page.next };
    Packet::new(kind::OK, number, &header).with_body(bodies.freeze())
}

/// Headers of several types, written the same way.
mod erased {
    use bytes::Bytes;
    use serde::Serialize;

    pub(super) trait Json {
        fn text(&self) -> Bytes;
    }

    impl<T: Serialize> Json for T {
        fn text(&self) -> Bytes {
            serde_json::to_vec(self).unwrap_or_default().into()
        }
    }
}
