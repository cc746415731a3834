//! The raw AMQP client: persistent messages with confirms to a durable queue, and acknowledged deliveries.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

use crate::{Outcome, Raw, WINDOW};

const NAME: &str = "bench_bulk";

pub(crate) struct Client {
    sender: Channel,
    receiving: Connection,
    /// It ends when dropped.
    _sending: Connection,
}

impl Client {
    pub(crate) async fn on(url: &str) -> Outcome<Self> {
        let sending = Connection::connect(url, ConnectionProperties::default()).await?;
        let receiving = Connection::connect(url, ConnectionProperties::default()).await?;
        let sender = sending.create_channel().await?;
        sender.confirm_select(ConfirmSelectOptions::default()).await?;
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        sender.queue_declare(NAME.into(), durable, FieldTable::default()).await?;
        Ok(Self { sender, receiving, _sending: sending })
    }

    async fn publish(&self, body: &Bytes) -> Outcome<()> {
        let (options, properties) =
            (BasicPublishOptions::default(), BasicProperties::default().with_delivery_mode(2));
        self.sender.basic_publish("".into(), NAME.into(), options, body, properties).await?.await?;
        Ok(())
    }
}

#[async_trait]
impl Raw for Client {
    async fn send(&self, messages: usize, body: Bytes) -> Outcome<()> {
        let all = futures_util::stream::iter(std::iter::repeat_n((), messages)).map(Outcome::Ok);
        all.map_ok(|()| self.publish(&body)).try_buffer_unordered(WINDOW).try_collect::<()>().await
    }

    async fn take(&self, messages: usize) -> Outcome<u64> {
        let channel = self.receiving.create_channel().await?;
        channel.basic_qos(u16::try_from(WINDOW)?, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let mut deliveries =
            channel.basic_consume(NAME.into(), "".into(), options, FieldTable::default()).await?;
        let mut bytes = 0;
        for _ in 0..messages {
            let Some(delivery) = deliveries.next().await else { return Err("the messages ended".into()) };
            let delivery = delivery?;
            delivery.ack(BasicAckOptions::default()).await?;
            bytes += delivery.data.len() as u64;
        }
        channel.close(200, "OK".into()).await?;
        Ok(bytes)
    }
}
