//! Polybus, as programs use it: through `connect` and the always-on checks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use polybus_contract::{
    Arrival, ConsumeOptions, Delivery, Incoming, Intake, Message, Name, PublishOptions, Queue, ReplyOptions,
    RequestOptions, Target, Topology, Transport, TransportExt,
};
use tokio::task::JoinHandle;

use crate::work::{Contender, Outcome, Pending, Work, in_flight};

/// The queue of this side, and the one with the same settings that the raw client uses.
pub(crate) const OURS: &str = "bench_ours";
pub(crate) const RAW: &str = "bench_raw";
/// The same for requests.
pub(crate) const OURS_CALLS: &str = "bench_ours_calls";
pub(crate) const RAW_CALLS: &str = "bench_raw_calls";

pub(crate) struct Ours {
    sender: Arc<dyn Transport>,
    receiver: Arc<dyn Transport>,
}

impl Ours {
    /// Declares the queues of both sides.
    pub(crate) async fn on(url: &str) -> Outcome<Self> {
        let sender = polybus::connect(url).await?.transport().clone();
        let receiver = polybus::connect(url).await?.transport().clone();
        let mut topology = Topology::new();
        for name in [OURS, RAW, OURS_CALLS, RAW_CALLS] {
            topology = topology.queue(Queue::new(Name::new(name)?));
        }
        receiver.declare(&topology).await?;
        Ok(Self { sender, receiver })
    }

    async fn deliveries(&self, queue: &str, credit: usize) -> Outcome<Incoming<Delivery>> {
        let options = ConsumeOptions::default().with_credit(u32::try_from(credit)?);
        Ok(self.receiver.consume(&Intake::Queue(Name::new(queue)?), options).await?)
    }

    /// Answers every request with its own body, `window` at a time.
    async fn serve(&self, window: usize) -> Outcome<JoinHandle<()>> {
        let mut deliveries = self.deliveries(OURS_CALLS, window).await?;
        let bus = self.receiver.clone();
        Ok(tokio::spawn(async move {
            while let Some(Arrival::Item(delivery)) = deliveries.next().await {
                tokio::spawn(answer(bus.clone(), delivery));
            }
        }))
    }
}

async fn answer(bus: Arc<dyn Transport>, delivery: Delivery) -> Outcome<()> {
    let Some(address) = delivery.message().reply_to().cloned() else { return Err("no reply address".into()) };
    let reply = Message::new(delivery.message().body().clone());
    bus.reply(&address, reply, ReplyOptions::default()).await?;
    Ok(delivery.ack().await?)
}

#[async_trait]
impl Contender for Ours {
    async fn publish(&self, work: &Work) -> Outcome<Duration> {
        let target = Target::Queue(Name::new(OURS)?);
        in_flight(work, async |_| {
            self.sender.publish(&target, Message::new(work.body.clone()), PublishOptions::default()).await?;
            Ok(())
        })
        .await
    }

    async fn consume(&self, work: &Work) -> Outcome<Duration> {
        let start = Instant::now();
        let mut deliveries = self.deliveries(OURS, work.window).await?;
        let mut pending = Pending::new(work.window);
        for _ in 0..work.messages {
            let Some(Arrival::Item(delivery)) = deliveries.next().await else {
                return Err(format!("the deliveries ended: {:?}", deliveries.end()).into());
            };
            let settling = delivery.ack();
            pending.push(async move { Ok(settling.await?) }).await?;
        }
        pending.finish().await?;
        Ok(start.elapsed())
    }

    async fn request(&self, work: &Work) -> Outcome<Duration> {
        let server = self.serve(work.window).await?;
        let queue = Name::new(OURS_CALLS)?;
        let elapsed = in_flight(work, async |_| {
            self.sender.call(&queue, Message::new(work.body.clone()), RequestOptions::default()).await?;
            Ok(())
        })
        .await;
        server.abort();
        elapsed
    }
}
