//! A publisher that knows nothing of Polybus: the client library of the broker, as anybody uses it.

use std::sync::Arc;

use async_trait::async_trait;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use polybus_brokers::{Broker, Product};
use polybus_contract::{Name, Result};
use polybus_kit::{Fault, Faults};

use crate::harm::failed;

pub(crate) struct Foreign(Arc<Broker>);

impl Foreign {
    pub(crate) const fn new(broker: Arc<Broker>) -> Self {
        Self(broker)
    }
}

#[async_trait]
impl Faults for Foreign {
    fn can(&self, fault: Fault) -> bool {
        fault == Fault::Foreign
    }

    async fn inject(&self, fault: Fault) -> Result<()> {
        Err(failed(fault.name(), "a foreign publisher only writes"))
    }

    async fn write_foreign(&self, queue: &Name, bytes: &[u8]) -> Result<()> {
        let (broker, queue) = (&self.0, queue.as_str());
        let who = "a foreign publisher";
        match broker.kind().product() {
            Product::RabbitMq => amqp(broker, queue, bytes).await.map_err(|error| failed(who, error)),
            Product::Nats => nats(broker, queue, bytes).await.map_err(|error| failed(who, error)),
        }
    }
}

/// To the default exchange, where a queue is reached by its name.
async fn amqp(broker: &Broker, queue: &str, bytes: &[u8]) -> lapin::Result<()> {
    let connection = Connection::connect(&broker.url(), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let confirm = channel.basic_publish("".into(), queue.into(), options, bytes, properties).await?;
    confirm.await?;
    connection.close(200, "done".into()).await
}

/// To the subject that the stream of the queue takes.
async fn nats(
    broker: &Broker,
    queue: &str,
    bytes: &[u8],
) -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (user, password) = broker.login();
    let options = async_nats::ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned());
    let client = options.connect(broker.address()).await?;
    let stream = async_nats::jetstream::new(client);
    stream.publish(format!("polybus.q.{queue}"), bytes.to_vec().into()).await?.await?;
    Ok(())
}
