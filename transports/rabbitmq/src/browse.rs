//! A look at dead letters. AMQP has none that takes nothing: all letters are fetched by a consumer with a channel of its
//! own, and go back when the channel is closed.
//!
//! How they go back decides whether their order stays. Measured on 3.10 and 4.0: with the channel of one consumer they
//! return in the order they had; given back one by one, or fetched by `basic.get`, in any order. A quorum queue puts what
//! returns behind what had returned before, so a look at some of them would turn the queue: it is at all. The broker counts
//! a hand-out each time, which means nothing here: what is dead is handed out as often as anybody likes, and a redrive
//! counts anew.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use polybus_contract::{Browse, Browsed, Error, Intake, Kind, Name, Operation, Page, Place, Result};
use tokio::time::{Instant, sleep, timeout};

use crate::connection::Core;
use crate::error::{down, of_broker};
use crate::header::known;
use crate::message::decode;
use crate::rules::{Limit, NO_DELIVERY_LIMIT, look_at_limit};
use crate::session::{ANSWER, Session};
use crate::topology::is_there;

/// Letters of a page, if nobody said how many, and at most.
const PAGE: (u32, u32) = (250, 1000);

/// The most that one consumer can be given at once.
const MOST: u16 = u16::MAX;

/// A page ends after so many bytes, with at least one letter.
const PAGE_BYTES: u64 = 16 << 20;

/// How long the next letter may take. Where others take letters too there may be fewer than were counted.
const NEXT: Duration = Duration::from_secs(1);

/// How long letters may take to be back in their queue.
const BACK: Duration = Duration::from_secs(2);

impl Core {
    /// A page of the dead letters of a queue or group.
    pub(crate) async fn browse_dead(self: &Arc<Self>, intake: &Intake, browse: Browse) -> Result<Page> {
        let session = self.at_desk(Operation::Browse).await?;
        let dead = self.wire_at(intake, Place::Dead);
        let Some((waiting, _)) = is_there(&session, &dead).await? else {
            // None have died yet, unless there is no such queue.
            self.there(&session, &self.wire_at(intake, Place::Ready), intake, Operation::Browse).await?;
            return Ok(Page::default());
        };
        let limit = if browse.limit == 0 { PAGE.0 } else { browse.limit.min(PAGE.1) };
        let end = browse.from.saturating_add(limit.into()).min(waiting.into());
        if end <= browse.from {
            return Ok(Page::default());
        }
        if end > MOST.into() {
            return Err(too_far());
        }
        let all = u16::try_from(waiting).unwrap_or(MOST);
        self.may_be_looked_at(&session, &dead).await?;
        let mut look = Look::begin(&session, &dead, all).await?;
        let (_, living, _) = self.place_of(intake);
        let page = look.take(browse.from..end, all, |delivery| self.browsed(delivery, &living)).await;
        look.end().await;
        is_back(&session, &dead, waiting).await;
        let messages = page?;
        let next = browse.from + messages.len() as u64;
        let more = !messages.is_empty() && next < waiting.into();
        Ok(Page::new(messages, more.then_some(next)))
    }

    fn browsed(&self, delivery: lapin::message::Delivery, living: &Name) -> Browsed {
        let decoded = decode(&delivery.properties, &Bytes::from(delivery.data), &self.instance);
        let Some(death) = decoded.way.death(living) else { return Browsed::new(decoded.message, 1) };
        let attempts = death.attempts;
        Browsed::new(decoded.message.with_death(death), attempts)
    }

    /// Dead letters of ours may be handed out for ever; in a queue of somebody else with a limit, each look would bring
    /// them nearer to being dropped.
    async fn may_be_looked_at(&self, session: &Session, dead: &str) -> Result<()> {
        let looked_at = format!("{dead} may be looked at");
        if self.was_made(session, &looked_at) {
            return Ok(());
        }
        match look_at_limit(session, dead, true).await? {
            Some(Limit(limit)) if limit.is_none_or(|limit| limit < NO_DELIVERY_LIMIT) => {
                Err(Error::new(Kind::Conflict, Operation::Browse).with_detail(
                    "the queue of the dead letters was made by others, with a limit on deliveries: a look would count as one",
                ))
            }
            _ => {
                self.mark_made(session, looked_at);
                Ok(())
            }
        }
    }
}

/// All are fetched at once.
fn too_far() -> Error {
    Error::new(Kind::InvalidOption, Operation::Browse)
        .with_detail("only the oldest 65,535 dead letters can be looked at")
}

/// A consumer of dead letters that keeps none. Dropping it gives back what it has.
struct Look {
    channel: Channel,
    consumer: Consumer,
}

impl Look {
    async fn begin(session: &Session, dead: &str, prefetch: u16) -> Result<Self> {
        let channel = session.consumer_channel().await?;
        let beginning = async {
            channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
            let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
            channel.basic_consume(known(dead), known(""), options, arguments).await
        };
        let consumer = timeout(ANSWER, beginning).await.map_err(|_| silent())?;
        let consumer = consumer.map_err(|error| of_broker(&error, Operation::Browse))?;
        Ok(Self { channel, consumer })
    }

    /// Those in these places, as many as fit and come in time.
    async fn take(
        &mut self,
        places: Range<u64>,
        all: u16,
        browsed: impl Fn(lapin::message::Delivery) -> Browsed,
    ) -> Result<Vec<Browsed>> {
        let (mut page, mut bytes) = (Vec::new(), 0);
        for place in 0..u64::from(all) {
            let delivery = match timeout(NEXT, self.consumer.next()).await {
                Ok(Some(Ok(delivery))) => delivery,
                Ok(Some(Err(error))) => return Err(of_broker(&error, Operation::Browse)),
                Ok(None) => return Err(down(Operation::Browse, "the broker ended the look")),
                Err(_) => break,
            };
            if !places.contains(&place) || bytes >= PAGE_BYTES {
                continue;
            }
            let letter = browsed(delivery);
            bytes += letter.size;
            page.push(letter);
        }
        Ok(page)
    }

    /// Nothing more comes, and all goes back.
    async fn end(self) {
        let tag = self.consumer.tag();
        let ending = async {
            self.channel.basic_cancel(tag, BasicCancelOptions::default()).await?;
            self.channel.close(200, known("OK")).await
        };
        // A channel that was not closed is when it is dropped.
        let _ = timeout(ANSWER, ending).await;
    }
}

/// Waits until they are back, as far as the broker tells: whoever looks or redrives next is to find them. Others may have
/// taken some.
async fn is_back(session: &Session, dead: &str, waiting: u32) {
    let until = Instant::now() + BACK;
    while Instant::now() < until {
        match is_there(session, dead).await {
            Ok(Some((count, _))) if count < waiting => sleep(Duration::from_millis(20)).await,
            _ => return,
        }
    }
}

fn silent() -> Error {
    down(Operation::Browse, "the broker did not answer in time")
}
