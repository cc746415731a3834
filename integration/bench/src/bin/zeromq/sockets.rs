//! Bare ZeroMQ sockets the same way: a DEALER that asks, a ROUTER in a process of its own that passes on, a DEALER that answers.
//! Nothing is queued, confirmed, leased or counted.

use std::collections::HashMap;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as Locked, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Mutex, oneshot};
use tokio::time::timeout;
use zeromq::{
    DealerRecvHalf, DealerSendHalf, DealerSocket, RouterSocket, Socket, SocketRecv, SocketSend, ZmqMessage,
};

use crate::work::{Contender, Outcome, Work, in_flight};

/// Instead of the URL of a bus behind a broker.
pub(crate) const BARE: &str = "bare";

const LONGEST: Duration = Duration::from_secs(10);

type Waiting = Arc<Locked<HashMap<Bytes, oneshot::Sender<Bytes>>>>;

/// The process in the middle. Who speaks first with one frame answers; what others say goes to him, and back.
pub(crate) async fn forward() -> Outcome<()> {
    let mut router = RouterSocket::new();
    let mut out = std::io::stdout();
    writeln!(out, "{}", router.bind("tcp://127.0.0.1:0").await?)?;
    out.flush()?;
    let answering = router.recv().await?.into_vec().swap_remove(0);
    loop {
        let mut frames = router.recv().await?.into_vec();
        // From the one who answers: his name, then whom it is for.
        if frames[0] == answering {
            frames.remove(0);
        } else {
            frames.insert(0, answering.clone());
        }
        router.send(message(frames)?).await?;
    }
}

fn message(frames: Vec<Bytes>) -> Outcome<ZmqMessage> {
    ZmqMessage::try_from(frames).map_err(|_| "a message without a frame".into())
}

async fn dealer(url: &str) -> Outcome<DealerSocket> {
    let mut dealer = DealerSocket::new();
    dealer.connect(url).await?;
    Ok(dealer)
}

pub(crate) struct Sockets {
    asking: Mutex<DealerSendHalf>,
    waiting: Waiting,
    next: AtomicU64,
}

impl Sockets {
    pub(crate) async fn on(url: &str) -> Outcome<Self> {
        let mut answering = dealer(url).await?;
        answering.send(message(vec![Bytes::from_static(b"here")])?).await?;
        tokio::spawn(answer(answering));
        let (asking, replies) = dealer(url).await?.split();
        let waiting = Waiting::default();
        tokio::spawn(take_replies(replies, waiting.clone()));
        Ok(Self { asking: Mutex::new(asking), waiting, next: AtomicU64::new(0) })
    }

    async fn call(&self, body: &Bytes) -> Outcome<()> {
        let id = Bytes::copy_from_slice(&self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        let (here, reply) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), here);
        self.asking.lock().await.send(message(vec![id, body.clone()])?).await?;
        // The process in the middle may be gone, and with it the reply.
        timeout(LONGEST, reply).await??;
        Ok(())
    }
}

async fn answer(mut answering: DealerSocket) -> Outcome<()> {
    loop {
        let request = answering.recv().await?;
        answering.send(request).await?;
    }
}

async fn take_replies(mut replies: DealerRecvHalf, waiting: Waiting) -> Outcome<()> {
    loop {
        let mut frames = replies.recv().await?.into_vec();
        let Some(body) = frames.pop() else { continue };
        let Some(id) = frames.first() else { continue };
        let caller = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        if let Some(caller) = caller {
            let _ = caller.send(body);
        }
    }
}

#[async_trait]
impl Contender for Sockets {
    async fn publish(&self, _work: &Work) -> Outcome<Duration> {
        Err("nothing is confirmed there".into())
    }

    async fn consume(&self, _work: &Work) -> Outcome<Duration> {
        Err("nothing is kept there".into())
    }

    async fn request(&self, work: &Work) -> Outcome<Duration> {
        in_flight(work, async |_| self.call(&work.body).await).await
    }
}
