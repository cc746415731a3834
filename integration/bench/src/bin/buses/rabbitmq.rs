//! The raw AMQP client: confirms, mandatory routing, persistent messages, explicit acks, an exclusive reply queue.
//!
//! Who asks and who answers are two programs, so neither uses a connection of the other. Each has one for publishing and one
//! for consuming, as Polybus does: a broker with an alarm stops reading from those that publish, and acknowledgements are to
//! get through all the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::ours::{RAW, RAW_CALLS};
use crate::work::{Contender, Outcome, Pending, Work, in_flight};

type Waiting = Arc<Mutex<HashMap<ShortString, oneshot::Sender<Vec<u8>>>>>;

pub(crate) struct Raw {
    sender: Channel,
    receiver: Channel,
    answers: Channel,
    replies: ShortString,
    waiting: Waiting,
    /// They end when dropped.
    _connections: [Connection; 4],
}

impl Raw {
    pub(crate) async fn on(url: &str) -> Outcome<Self> {
        let connect = async || Connection::connect(url, ConnectionProperties::default()).await;
        let (asking, hearing) = (connect().await?, connect().await?);
        let (serving, answering) = (connect().await?, connect().await?);
        let (sender, reply_channel) = (confirming(&asking).await?, hearing.create_channel().await?);
        let (receiver, answers) = (serving.create_channel().await?, confirming(&answering).await?);
        let exclusive =
            QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
        let replies =
            reply_channel.queue_declare("".into(), exclusive, FieldTable::default()).await?.name().clone();
        let unacked = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let consumer =
            reply_channel.basic_consume(replies.clone(), "".into(), unacked, FieldTable::default()).await?;
        let waiting = Waiting::default();
        tokio::spawn(dispatch(consumer, reply_channel, waiting.clone()));
        Ok(Self {
            sender,
            receiver,
            answers,
            replies,
            waiting,
            _connections: [asking, hearing, serving, answering],
        })
    }

    async fn consumer(&self, queue: &str, window: usize) -> Outcome<Consumer> {
        self.receiver.basic_qos(u16::try_from(window)?, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        Ok(self.receiver.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?)
    }

    async fn stop(&self, consumer: &ShortString) -> Outcome<()> {
        Ok(self.receiver.basic_cancel(consumer.clone(), BasicCancelOptions::default()).await?)
    }

    fn serve(&self, mut consumer: Consumer) -> JoinHandle<()> {
        let channel = self.answers.clone();
        tokio::spawn(async move {
            while let Some(Ok(delivery)) = consumer.next().await {
                tokio::spawn(answer(channel.clone(), delivery));
            }
        })
    }

    async fn call(&self, body: &[u8]) -> Outcome<()> {
        let id: ShortString = Uuid::now_v7().to_string().into();
        let (sender, reply) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), sender);
        // A request ends with its deadline, on both sides.
        let properties = persistent()
            .with_correlation_id(id)
            .with_reply_to(self.replies.clone())
            .with_expiration("30000".into());
        send(&self.sender, RAW_CALLS, body, properties).await?;
        reply.await?;
        Ok(())
    }
}

async fn confirming(connection: &Connection) -> Outcome<Channel> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

fn persistent() -> BasicProperties {
    BasicProperties::default().with_delivery_mode(2).with_message_id(Uuid::now_v7().to_string().into())
}

async fn send(channel: &Channel, queue: &str, body: &[u8], properties: BasicProperties) -> Outcome<()> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    match channel.basic_publish("".into(), queue.into(), options, body, properties).await?.await? {
        Confirmation::Ack(None) => Ok(()),
        other => Err(format!("not confirmed: {other:?}").into()),
    }
}

async fn answer(channel: Channel, delivery: Delivery) -> Outcome<()> {
    let Some(address) = delivery.properties.reply_to().clone() else { return Err("no reply address".into()) };
    let id = delivery.properties.correlation_id().clone().unwrap_or_default();
    let properties = BasicProperties::default().with_correlation_id(id);
    send(&channel, address.as_str(), &delivery.data, properties).await?;
    delivery.ack(BasicAckOptions::default()).await?;
    Ok(())
}

async fn dispatch(mut consumer: Consumer, _channel: Channel, waiting: Waiting) {
    while let Some(Ok(delivery)) = consumer.next().await {
        let Some(id) = delivery.properties.correlation_id() else { continue };
        let caller = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        if let Some(caller) = caller {
            let _ = caller.send(delivery.data);
        }
    }
}

#[async_trait]
impl Contender for Raw {
    async fn publish(&self, work: &Work) -> Outcome<Duration> {
        in_flight(work, |_| send(&self.sender, RAW, &work.body, persistent())).await
    }

    async fn consume(&self, work: &Work) -> Outcome<Duration> {
        let start = Instant::now();
        let mut consumer = self.consumer(RAW, work.window).await?;
        let mut pending = Pending::new(work.window);
        for _ in 0..work.messages {
            let Some(delivery) = consumer.next().await else { return Err("the deliveries ended".into()) };
            let delivery = delivery?;
            pending
                .push(async move {
                    delivery.ack(BasicAckOptions::default()).await?;
                    Ok(())
                })
                .await?;
        }
        pending.finish().await?;
        let elapsed = start.elapsed();
        self.stop(&consumer.tag()).await?;
        Ok(elapsed)
    }

    async fn request(&self, work: &Work) -> Outcome<Duration> {
        let consumer = self.consumer(RAW_CALLS, work.window).await?;
        let tag = consumer.tag();
        let server = self.serve(consumer);
        let elapsed = in_flight(work, |_| self.call(&work.body)).await;
        self.stop(&tag).await?;
        server.abort();
        elapsed
    }
}
