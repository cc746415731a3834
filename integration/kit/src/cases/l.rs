//! L: bodies larger than one message.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join;
use polybus_contract::{
    Body, BodyParts, ConsumeOptions, Delivery, Incoming, Intake, Kind, Message, Name, PublishOptions,
    ReplyOptions, RequestOptions, Target, Transport, TransportExt,
};

use crate::case::{Case, CaseResult, Fail, case, ensure, refused};
use crate::stage::Stage;
use crate::stamp::digest_of;

/// The table of the group.
pub(super) const CASES: &[Case] = &[
    case!(L1 large_exact [Queue, Settle, LargeBody] "a body of several parts arrives digest for digest, with its head, read in any steps"),
    case!(L2 large_survives_drop [Queue, Settle, LargeBody] "who is handed a large message next gets the whole body, however much of it was read before"),
    case!(L3 large_leaves_nothing [Queue, Settle, LargeBody] "the parts are there until the settle, and not after it"),
    case!(L4 large_reply [Queue, Settle, Request, LargeBody] "a reply comes in parts to a caller that reads such, and they are gone when it was read"),
];

/// A queue, a sender and one consumer.
struct Line {
    sender: Arc<dyn Transport>,
    queue: Name,
    worker: Arc<dyn Transport>,
    deliveries: Incoming<Delivery>,
}

impl Line {
    async fn new(stage: &Stage) -> CaseResult<Self> {
        let (sender, worker) = (stage.connect().await?, stage.connect().await?);
        let queue = stage.declare_queue(&*worker, "q").await?;
        let intake = Intake::Queue(queue.clone());
        let deliveries = stage.consume(&*worker, &intake, ConsumeOptions::default()).await?;
        Ok(Self { sender, queue, worker, deliveries })
    }

    async fn send(&mut self, stage: &Stage, body: Body) -> CaseResult {
        let options = PublishOptions::default().with_confirm(stage.confirm_queue());
        let to = Target::Queue(self.queue.clone());
        let sending = self.sender.publish(&to, Message::new(body), options);
        stage.bounded("a publish with a large body", sending).await??;
        Ok(())
    }

    async fn next(&mut self, stage: &Stage) -> CaseResult<Delivery> {
        stage.next(&mut self.deliveries, "the consumer").await
    }
}

/// Two whole parts and a bit, by the part size of most buses.
fn content(stage: &Stage) -> Bytes {
    let mark = stage.bytes(1009);
    mark.iter().copied().cycle().take((2 << 20) + 77).collect::<Vec<u8>>().into()
}

fn large(content: &Bytes) -> Body {
    Body::headed("in front", Arc::new(content.clone()))
}

fn parts_of(message: &Message) -> CaseResult<Arc<dyn BodyParts>> {
    let parts = message.body().as_parts().cloned();
    parts.ok_or_else(|| Fail::broken("a body that was sent in parts arrived without them"))
}

async fn whole(stage: &Stage, message: &Message) -> CaseResult<Bytes> {
    Ok(stage.bounded("reading a large body", message.body().read(1 << 30)).await??)
}

async fn is_whole(stage: &Stage, message: &Message, sent: &Bytes) -> CaseResult {
    let found = whole(stage, message).await?;
    let right = found.starts_with(b"in front") && digest_of(&found[8..]) == digest_of(sent);
    ensure!(right, "{} bytes behind a head of 8 were sent, {} other ones arrived", sent.len(), found.len());
    Ok(())
}

async fn large_exact(stage: &Stage) -> CaseResult {
    let mut line = Line::new(stage).await?;
    for sent in [content(stage), Bytes::from_static(b"1"), Bytes::new()] {
        line.send(stage, large(&sent)).await?;
        let delivery = line.next(stage).await?;
        is_whole(stage, delivery.message(), &sent).await?;
        let parts = parts_of(delivery.message())?;
        for offset in [0, (1 << 20) - 3, 7, (2 << 20) + 70] {
            let read = stage.bounded("reading a piece", parts.part(offset, 100)).await??;
            let rest = sent.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
            ensure!(rest.starts_with(&read), "what was read at byte {offset} is not what was sent there");
            ensure!(rest.is_empty() || !read.is_empty(), "nothing was read at byte {offset}");
        }
        stage.bounded("an ack", delivery.ack()).await??;
    }
    Ok(())
}

async fn large_survives_drop(stage: &Stage) -> CaseResult {
    let mut line = Line::new(stage).await?;
    let sent = content(stage);
    line.send(stage, large(&sent)).await?;
    for read in [0, 1 << 20, 2 << 20] {
        let delivery = line.next(stage).await?;
        let parts = parts_of(delivery.message())?;
        let mut offset = 0;
        while offset < read {
            let piece = stage.bounded("reading a piece", parts.part(offset, 1 << 20)).await??;
            ensure!(!piece.is_empty(), "the body ends at byte {offset}");
            offset += piece.len() as u64;
        }
        drop((delivery, parts));
    }
    let delivery = line.next(stage).await?;
    is_whole(stage, delivery.message(), &sent).await?;
    stage.bounded("an ack", delivery.ack()).await??;
    Ok(())
}

async fn large_leaves_nothing(stage: &Stage) -> CaseResult {
    let mut line = Line::new(stage).await?;
    let sent = content(stage);
    line.send(stage, large(&sent)).await?;
    let delivery = line.next(stage).await?;
    is_whole(stage, delivery.message(), &sent).await?;
    is_whole(stage, delivery.message(), &sent).await.map_err(|fail| fail.during("reading it again"))?;
    let parts = parts_of(delivery.message())?;
    stage.bounded("an ack", delivery.ack()).await??;
    let read = stage.bounded("reading what is gone", parts.part(0, 1)).await?;
    refused(read, "the parts of a settled message", |kind| kind == Kind::NotFound)?;
    Ok(())
}

async fn large_reply(stage: &Stage) -> CaseResult {
    let mut line = Line::new(stage).await?;
    let sent = content(stage);
    let options = RequestOptions::default().with_deadline(stage.times().patience + Duration::from_secs(30));
    let call = line.sender.call(&line.queue, Message::new("all of it"), options);
    let serving = async {
        let delivery = stage.next(&mut line.deliveries, "the worker").await?;
        ensure!(delivery.message().takes_parts(), "the request does not say that its caller reads parts");
        let address = delivery.message().reply_to().cloned();
        let address = address.ok_or_else(|| Fail::broken("a request arrived without a reply address"))?;
        let sending = line.worker.reply(&address, Message::new(large(&sent)), ReplyOptions::default());
        stage.bounded("a large reply", sending).await??;
        stage.bounded("an ack", delivery.ack()).await??;
        CaseResult::Ok(())
    };
    let (called, served) = join(call, serving).await;
    served?;
    let reply = called?.message;
    is_whole(stage, &reply, &sent).await?;
    let read = stage.bounded("reading what is gone", parts_of(&reply)?.part(0, 1)).await?;
    refused(read, "the parts of a reply that was read", |kind| kind == Kind::NotFound)?;
    Ok(())
}
