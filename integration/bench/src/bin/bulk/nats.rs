//! The raw NATS client: acknowledged publishes to a work-queue stream, a durable pull consumer, confirmed acks.

use async_nats::ConnectOptions;
use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::stream::{Config, RetentionPolicy};
use async_nats::jetstream::{self, Context};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use polybus_brokers::Broker;

use crate::{Outcome, Raw, WINDOW};

const NAME: &str = "bench_bulk";

pub(crate) struct Client(Context);

impl Client {
    pub(crate) async fn on(broker: &Broker) -> Outcome<Self> {
        let (user, password) = broker.login();
        let login = ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned());
        let context = jetstream::new(login.connect(broker.address()).await?);
        let config = Config {
            name: NAME.to_owned(),
            subjects: vec![NAME.to_owned()],
            retention: RetentionPolicy::WorkQueue,
            ..Config::default()
        };
        let stream = context.create_stream(config).await?;
        let durable = Some(NAME.to_owned());
        stream.create_consumer(pull::Config { durable_name: durable, ..pull::Config::default() }).await?;
        Ok(Self(context))
    }
}

#[async_trait]
impl Raw for Client {
    async fn send(&self, messages: usize, body: Bytes) -> Outcome<()> {
        let send = |()| async { Outcome::Ok(self.0.publish(NAME, body.clone()).await?.await.map(drop)?) };
        let all = futures_util::stream::iter(std::iter::repeat_n((), messages)).map(Outcome::Ok);
        all.map_ok(send).try_buffer_unordered(WINDOW).try_collect::<()>().await
    }

    async fn take(&self, messages: usize) -> Outcome<u64> {
        let stream = self.0.get_stream(NAME).await?;
        let consumer: jetstream::consumer::Consumer<pull::Config> = stream.get_consumer(NAME).await?;
        let mut incoming = consumer.stream().max_messages_per_batch(WINDOW).messages().await?;
        let mut bytes = 0;
        for _ in 0..messages {
            let Some(message) = incoming.next().await else { return Err("the messages ended".into()) };
            let message = message?;
            message.double_ack().await?;
            bytes += message.payload.len() as u64;
        }
        Ok(bytes)
    }
}
