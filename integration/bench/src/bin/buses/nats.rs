//! The raw NATS client: acknowledged publishes with ids to the same streams, a durable pull consumer, confirmed acks, and
//! replies to an inbox named in a header.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectOptions, HeaderMap, Subscriber, header};
use async_trait::async_trait;
use futures_util::StreamExt;
use polybus_brokers::Broker;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::ours::{RAW, RAW_CALLS};
use crate::work::{Contender, Outcome, Pending, Work, in_flight};

/// The header that names the inbox.
const REPLY: &str = "Bench-Reply";

type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<async_nats::Message>>>>;

pub(crate) struct Raw {
    sender: Context,
    receiver: Context,
    answers: Client,
    inbox: String,
    waiting: Waiting,
}

impl Raw {
    pub(crate) async fn on(broker: &Broker) -> Outcome<Self> {
        let (sending, answers) = (connect(broker).await?, connect(broker).await?);
        let inbox = sending.new_inbox();
        let waiting = Waiting::default();
        tokio::spawn(dispatch(sending.subscribe(format!("{inbox}.*")).await?, waiting.clone()));
        sending.flush().await?;
        let (sender, receiver) = (jetstream::new(sending), jetstream::new(answers.clone()));
        Ok(Self { sender, receiver, answers, inbox, waiting })
    }

    async fn consumer(&self, queue: &str) -> Outcome<Consumer<pull::Config>> {
        let stream = self.receiver.get_stream(format!("polybus+q+{queue}")).await?;
        stream.get_consumer("workers").await
    }

    async fn serve(&self, window: usize) -> Outcome<JoinHandle<()>> {
        let consumer = self.consumer(RAW_CALLS).await?;
        let mut messages = consumer.stream().max_messages_per_batch(window).messages().await?;
        let client = self.answers.clone();
        Ok(tokio::spawn(async move {
            while let Some(Ok(message)) = messages.next().await {
                tokio::spawn(answer(client.clone(), message));
            }
        }))
    }

    async fn call(&self, body: bytes::Bytes) -> Outcome<()> {
        let id = Uuid::now_v7().simple().to_string();
        let (sender, reply) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), sender);
        let mut headers = with_id();
        headers.insert(REPLY, format!("{}.{id}", self.inbox));
        send(&self.sender, RAW_CALLS, headers, body).await?;
        reply.await?;
        Ok(())
    }
}

/// The client takes no user and password from a URL.
pub(crate) async fn connect(broker: &Broker) -> Outcome<Client> {
    let (user, password) = broker.login();
    let options = ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned());
    Ok(options.connect(broker.address()).await?)
}

fn with_id() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::NATS_MESSAGE_ID, Uuid::now_v7().to_string());
    headers
}

async fn send(context: &Context, queue: &str, headers: HeaderMap, body: bytes::Bytes) -> Outcome<()> {
    context.publish_with_headers(format!("polybus.q.{queue}"), headers, body).await?.await?;
    Ok(())
}

async fn answer(client: Client, message: jetstream::Message) -> Outcome<()> {
    let Some(inbox) = message.headers.as_ref().and_then(|headers| headers.get(REPLY)) else {
        return Err("no reply address".into());
    };
    client.publish(inbox.to_string(), message.payload.clone()).await?;
    message.double_ack().await
}

async fn dispatch(mut replies: Subscriber, waiting: Waiting) {
    while let Some(message) = replies.next().await {
        let Some((_, id)) = message.subject.rsplit_once('.') else { continue };
        let caller = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        if let Some(caller) = caller {
            let _ = caller.send(message);
        }
    }
}

#[async_trait]
impl Contender for Raw {
    async fn publish(&self, work: &Work) -> Outcome<Duration> {
        in_flight(work, |_| send(&self.sender, RAW, with_id(), work.body.clone())).await
    }

    async fn consume(&self, work: &Work) -> Outcome<Duration> {
        let start = Instant::now();
        let consumer = self.consumer(RAW).await?;
        let mut messages = consumer.stream().max_messages_per_batch(work.window).messages().await?;
        let mut pending = Pending::new(work.window);
        for _ in 0..work.messages {
            let Some(message) = messages.next().await else { return Err("the messages ended".into()) };
            let message = message?;
            pending.push(async move { message.double_ack().await }).await?;
        }
        pending.finish().await?;
        Ok(start.elapsed())
    }

    async fn request(&self, work: &Work) -> Outcome<Duration> {
        let server = self.serve(work.window).await?;
        let elapsed = in_flight(work, |_| self.call(work.body.clone())).await;
        server.abort();
        elapsed
    }
}
