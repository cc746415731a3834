//! Looking after a consumer that gets nothing: whether its end of the broker still answers, whether messages wait that it
//! could take, and whether the broker knows it at all. A connection can be well while one of these is not.

use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lapin::options::BasicQosOptions;
use tokio::time::{Instant, sleep, timeout};

use crate::consume::{Line, Reader};
use crate::session::Session;
use crate::topology::is_there;

/// How long nothing comes before somebody looks, and how long the answer may take. A stall is shown within three times
/// this, by two looks in a row.
const SILENCE: Duration = Duration::from_secs(3);

/// What one look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// Something came, nothing waits, or nothing could be taken.
    Well,
    /// Messages wait that it could take.
    Waiting,
    /// The queue has no consumer at all.
    Unknown,
    /// The channel is gone: its stream says so, too.
    Gone,
}

impl Reader {
    /// Looks now and then, as long as the line lives; returns if the broker has lost the consumer.
    pub(crate) async fn watch(&self, session: &Session, line: &Weak<Line>) {
        let (mut began, mut before) = (Instant::now(), Seen::Well);
        loop {
            if before == Seen::Well {
                began = Instant::now();
            }
            let seen = self.look(session, line, began).await;
            match (seen, before) {
                (Seen::Gone, _) => return std::future::pending().await,
                (Seen::Unknown, Seen::Unknown) => {
                    tracing::warn!(
                        intake = self.intake,
                        "the broker has lost the consumer; it is begun again"
                    );
                    return;
                }
                (Seen::Waiting, Seen::Waiting) => self.stalls(began, "messages wait, and none comes"),
                (Seen::Well, _) => self.flows(self.inner()),
                _ => {}
            }
            before = seen;
        }
    }

    /// One look, after a while in which something may have come.
    async fn look(&self, session: &Session, line: &Weak<Line>, began: Instant) -> Seen {
        let came = self.came.load(Ordering::Relaxed);
        let quiet = || self.came.load(Ordering::Relaxed) == came && self.has_room();
        sleep(SILENCE.mul_f64(0.75 + fastrand::f64() / 4.0)).await;
        if !quiet() {
            return Seen::Well;
        }
        // What had been handed out before is here when this is answered.
        if !self.answers(line, began).await {
            return Seen::Gone;
        }
        match is_there(session, &self.wire).await {
            Ok(Some(_)) if !quiet() => Seen::Well,
            Ok(Some((_, 0))) => Seen::Unknown,
            Ok(Some((waiting, _))) if waiting > 0 => Seen::Waiting,
            _ => Seen::Well,
        }
    }

    /// Waits until the broker's end of the channel answers, and shows if that takes long; false: the channel is gone.
    async fn answers(&self, line: &Weak<Line>, began: Instant) -> bool {
        let Some(channel) = line.upgrade().map(|line| line.channel.clone()) else { return false };
        // It says again what holds already: a question that changes nothing.
        let mut asked = std::pin::pin!(channel.basic_qos(self.credit, BasicQosOptions::default()));
        let Ok(answer) = timeout(SILENCE, &mut asked).await else {
            self.stalls(began, "its channel does not answer");
            return asked.await.is_ok();
        };
        answer.is_ok()
    }
}
