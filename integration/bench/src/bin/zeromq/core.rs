//! Requests of NATS itself, without a queue.

use std::time::Duration;

use async_nats::Client;
use async_trait::async_trait;
use futures_util::StreamExt;
use polybus_brokers::Broker;

use crate::nats::connect;
use crate::work::{Contender, Outcome, Work, in_flight};

/// Nobody keeps a stream over it.
const SUBJECT: &str = "bench.core";

pub(crate) struct Core {
    asking: Client,
    answering: Client,
}

impl Core {
    pub(crate) async fn on(broker: &Broker) -> Outcome<Self> {
        Ok(Self { asking: connect(broker).await?, answering: connect(broker).await? })
    }
}

#[async_trait]
impl Contender for Core {
    async fn publish(&self, _work: &Work) -> Outcome<Duration> {
        Err("nothing is confirmed there".into())
    }

    async fn consume(&self, _work: &Work) -> Outcome<Duration> {
        Err("nothing is kept there".into())
    }

    async fn request(&self, work: &Work) -> Outcome<Duration> {
        let mut requests = self.answering.subscribe(SUBJECT).await?;
        let client = self.answering.clone();
        // Somebody listens for certain when one of its own comes back.
        client.publish(SUBJECT, "".into()).await?;
        requests.next().await;
        let server = tokio::spawn(async move {
            while let Some(request) = requests.next().await {
                if let Some(reply) = request.reply {
                    let _ = client.publish(reply, request.payload).await;
                }
            }
        });
        let elapsed = in_flight(work, async |_| {
            self.asking.request(SUBJECT, work.body.clone()).await?;
            Ok(())
        })
        .await;
        server.abort();
        elapsed
    }
}
