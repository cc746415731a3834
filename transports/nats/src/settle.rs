//! The bus's side of one delivery: settling and renewing.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use polybus_contract::{
    Death, Error, Hold, Intake, Keep, Kind, Message, Operation, Outcome, Reason, Result, Settling, Status,
    UnixMillis,
};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::api::PubAck;
use crate::consume::Reader;
use crate::error::{refuse, unknown};
use crate::link::{LOST, Link, Outgoing, nobody};
use crate::message::{self, Raw, buried};

/// How long the server may take to acknowledge a settle.
const WITHIN: Duration = Duration::from_secs(10);

/// How long a message waits that could not be brought to the dead letters.
const AGAIN: Duration = Duration::from_secs(1);

/// Our clock and the server's do not run together: a lease ends for us this much sooner, or a tenth of it.
const MARGIN: Duration = Duration::from_secs(1);

/// What the server says of a delivery, in the subject of its acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    ack: String,
    /// How often it was handed out.
    delivered: u32,
    /// Its position in the stream.
    pub(crate) seq: u64,
}

impl Place {
    pub(crate) fn ack(&self) -> &str {
        &self.ack
    }

    /// Nine words, or more on servers and accounts that put domain and account into it.
    pub(crate) fn read(ack: &str) -> Option<Self> {
        let words: Vec<_> = ack.strip_prefix("$JS.ACK.")?.split('.').collect();
        let at = if words.len() >= 9 { 4 } else { 2 };
        let delivered: u64 = words.get(at)?.parse().ok()?;
        let seq = words.get(at + 1)?.parse().ok()?;
        Some(Self { ack: ack.to_owned(), delivered: u32::try_from(delivered).unwrap_or(u32::MAX), seq })
    }
}

/// One delivery.
pub(crate) struct Held {
    reader: Arc<Reader>,
    place: Place,
    pub(crate) raw: Raw,
    until: Mutex<Instant>,
    in_hand: AtomicBool,
    settled: AtomicBool,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("intake", &self.reader.intake).finish_non_exhaustive()
    }
}

/// Says a word about a delivery, without waiting for anything: what gets lost comes back.
pub(crate) fn word(link: &Link, ack: &str, word: impl Into<Bytes>) {
    if let Err(back) = link.try_send(Outgoing::new(ack, word), None) {
        let client = link.client.clone();
        tokio::spawn(async move {
            let (message, _) = *back;
            let _ = timeout(WITHIN, client.publish(message.subject, message.body)).await;
        });
    }
}

impl Held {
    pub(crate) fn new(reader: Arc<Reader>, place: Place, raw: Raw, handed_out: Instant) -> Self {
        let until = handed_out + shorter(reader.lease());
        let (in_hand, settled) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { reader, place, raw, until: Mutex::new(until), in_hand, settled }
    }

    pub(crate) fn ack(&self) -> &str {
        &self.place.ack
    }

    pub(crate) const fn attempt(&self) -> u32 {
        self.place.delivered
    }

    pub(crate) fn take_in_hand(&self) {
        self.in_hand.store(true, Ordering::Release);
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire)
    }

    fn until(&self) -> Instant {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody else may have it by now.
    pub(crate) fn is_lost(&self) -> bool {
        Instant::now() >= self.until()
    }

    fn max_attempts(&self) -> u32 {
        self.reader.settings.get().map_or(u32::MAX, |settings| settings.max_attempts)
    }

    /// Whether it was handed out more often than its queue allows.
    pub(crate) fn is_spent(&self) -> bool {
        self.place.delivered > self.max_attempts()
    }

    /// Where the lease is not the server's: keeps the message from others while it lasts, and gives it to them when it
    /// ends.
    pub(crate) fn look_after(&self, link: &Link) {
        if self.is_settled() {
            return;
        }
        if !self.is_lost() {
            return word(link, self.ack(), "+WPI");
        }
        if !self.settled.swap(true, Ordering::AcqRel) {
            word(link, self.ack(), "-NAK");
        }
    }

    /// Gives up on it: it goes to others at once, and a late settle answers `Stale`.
    pub(crate) fn abandon(&self, link: &Link) {
        if self.in_hand.load(Ordering::Acquire) && !self.settled.swap(true, Ordering::AcqRel) {
            word(link, self.ack(), "-NAK");
        }
    }

    fn stale(&self, operation: Operation) -> Error {
        refuse(Kind::Stale, operation, &self.reader.intake)
    }

    /// It cannot be given to the program.
    pub(crate) fn bury_unseen<T>(self: Arc<Self>, reason: Reason, error: Option<String>) -> Option<T> {
        drop(self.bury(reason, error, Keep::Body));
        None
    }

    fn settle_now(self: &Arc<Self>, outcome: Outcome) -> Settling {
        if self.is_lost() || self.settled.swap(true, Ordering::AcqRel) || self.reader.handle.is_closed() {
            return Settling::done(Err(self.stale(Operation::Settle)));
        }
        match outcome {
            Outcome::Ack | Outcome::Reject { keep: Keep::Nothing, .. } => self.say("+ACK".to_owned()),
            Outcome::Retry { error, .. } if self.place.delivered >= self.max_attempts() => {
                self.bury(Reason::Attempts, error, Keep::Body)
            }
            Outcome::Retry { after, .. } => self.say_back(after),
            // What is rejected among the dead letters has nowhere to go.
            Outcome::Reject { .. } if self.is_dead() => self.say("+ACK".to_owned()),
            Outcome::Reject { reason, error, keep } => self.bury(reason, error, keep),
            // Whatever else there may be one day is at least not lost.
            _ => self.say_back(Duration::ZERO),
        }
    }

    fn is_dead(&self) -> bool {
        matches!(&self.reader.intake, Intake::Queue(name) if name.is_dead())
    }

    /// Says it and asks for the acknowledgement. Without a connection it is said on the next one, if that comes before
    /// the lease ends.
    fn say(self: &Arc<Self>, text: String) -> Settling {
        let Some(link) = self.reader.handle.link_now() else { return self.say_later(text) };
        let (address, answer) = link.waiting.settling();
        let message = Outgoing::new(self.ack(), text);
        if let Err(back) = link.try_send(message, Some(address)) {
            tokio::spawn(async move {
                let (message, reply) = *back;
                link.send(message, reply, Instant::now() + WITHIN).await
            });
        }
        let held = self.clone();
        Settling::waiting(async move { held.report(timeout(WITHIN, answer).await.ok()) })
    }

    fn report(&self, answer: Option<Result<async_nats::Message, oneshot::error::RecvError>>) -> Result<()> {
        match answer {
            Some(Ok(answer)) if nobody(&answer) => Err(self.stale(Operation::Settle)),
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) => Err(unknown(Operation::Settle, LOST).with_target(&self.reader.intake)),
            None => Err(unknown(Operation::Settle, "the server did not answer in time")
                .with_target(&self.reader.intake)),
        }
    }

    /// Gives it back.
    fn say_back(self: &Arc<Self>, after: Duration) -> Settling {
        let Some(link) = self.reader.handle.link_now().filter(|link| link.is_old()) else {
            return self.say(nak(after));
        };
        let after = if self.reader.is_leaving() { after.max(self.reader.burst(&link)) } else { after };
        let held = self.clone();
        self.in_background(async move {
            held.reader.tidy(&link).await;
            held.say_and_wait(&link, nak(after)).await
        })
    }

    fn say_later(self: &Arc<Self>, text: String) -> Settling {
        let held = self.clone();
        self.in_background(async move {
            let link = held.reader.handle.link(Operation::Settle, held.until()).await;
            let link = link.map_err(|error| error.with_status(Status::Unknown))?;
            if held.is_lost() {
                return Err(held.stale(Operation::Settle));
            }
            held.say_and_wait(&link, text).await
        })
    }

    async fn say_and_wait(&self, link: &Link, text: String) -> Result<()> {
        let (address, answer) = link.waiting.settling();
        let until = Instant::now() + WITHIN;
        let sent = link.send(Outgoing::new(self.ack(), text), Some(address), until).await;
        sent.map_err(|error| error.with_status(Status::Unknown))?;
        self.report(timeout(WITHIN, answer).await.ok())
    }

    /// Work with more than one step goes on when nobody waits for it. Until it is done the reader counts as busy.
    fn in_background(self: &Arc<Self>, work: impl Future<Output = Result<()>> + Send + 'static) -> Settling {
        let (sender, receiver) = oneshot::channel();
        let reader = self.reader.clone();
        reader.burying.fetch_add(1, Ordering::AcqRel);
        tokio::spawn(async move {
            let done = work.await;
            reader.burying.fetch_sub(1, Ordering::AcqRel);
            reader.refill();
            reader.handle.given_back();
            let _ = sender.send(done);
        });
        Settling::waiting(async move {
            receiver.await.unwrap_or_else(|_| Err(unknown(Operation::Settle, "the work was cut off")))
        })
    }

    /// To the dead letters: confirmed there before it is settled here (R-16).
    fn bury(self: &Arc<Self>, reason: Reason, error: Option<String>, keep: Keep) -> Settling {
        let held = self.clone();
        self.in_background(async move {
            let link = held.reader.handle.link(Operation::Settle, held.until()).await;
            let link = link.map_err(|error| error.with_status(Status::Unknown))?;
            match held.send_letter(&link, reason, error, keep).await {
                Ok(()) => held.say_and_wait(&link, "+ACK".to_owned()).await,
                Err(error) => {
                    tracing::warn!(%error, intake = %held.reader.intake, "a dead letter was not taken; it is tried again");
                    held.say_and_wait(&link, nak(AGAIN)).await?;
                    Err(error)
                }
            }
        })
    }

    async fn send_letter(
        &self,
        link: &Link,
        reason: Reason,
        error: Option<String>,
        keep: Keep,
    ) -> Result<()> {
        let handle = &self.reader.handle;
        let intake = &self.reader.intake;
        let Some(subject) = handle.names.dead_subject(intake) else { return Ok(()) };
        let whole = matches!(keep, Keep::Body);
        let death = Death {
            reason,
            error,
            attempts: self.attempt().min(self.max_attempts()),
            first: None,
            at: UnixMillis::now(),
            queue: self.reader.queue.clone(),
            whole,
        };
        let mut message = self.message();
        if let Keep::Substitute(body) = keep {
            message = message.with_body(body);
        }
        let headers = buried(&message, &death, &format!("d{}", self.place.seq))?;
        let body = message.body().as_bytes().cloned().unwrap_or_default();
        let letter = || Outgoing::new(subject.clone(), body.clone()).with_headers(headers.clone());
        let full = handle.dead_letters_full(link, intake).await;
        let mut answer = link.ask(letter(), Operation::Settle, Instant::now() + WITHIN).await?;
        if nobody(&answer) {
            handle.make_dead_letters(link, intake, self.reader.settings.get()).await?;
            answer = link.ask(letter(), Operation::Settle, Instant::now() + WITHIN).await?;
        }
        let ack: PubAck = serde_json::from_slice(&answer.payload)
            .map_err(|_| unknown(Operation::Settle, "the dead letters do not answer"))?;
        if let Some(error) = ack.error {
            return Err(error.into_error(Operation::Settle, subject));
        }
        if full && !ack.duplicate {
            handle.dead_dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The message once more; one that cannot be read keeps its body.
    fn message(&self) -> Message {
        message::decode(&self.raw, &self.reader.handle.instance).unwrap_or_else(|_| {
            let made_up = self.raw.made_up.clone().unwrap_or_default();
            Message::new(self.raw.body.clone()).with_derived_id(made_up.as_str())
        })
    }

    async fn renew_now(&self) -> Result<Option<Duration>> {
        if self.is_lost() || self.is_settled() || self.reader.handle.is_closed() {
            return Err(self.stale(Operation::Renew));
        }
        let link = self.reader.handle.link(Operation::Renew, self.until()).await;
        let link = link.map_err(|error| error.with_target(&self.reader.intake))?;
        let said = Instant::now();
        if self.is_lost() {
            return Err(self.stale(Operation::Renew));
        }
        let answer = link.ask(Outgoing::new(self.ack(), "+WPI"), Operation::Renew, self.until()).await?;
        if nobody(&answer) {
            return Err(self.stale(Operation::Renew));
        }
        let lease = self.reader.lease();
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = said + shorter(lease);
        Ok(Some(lease))
    }
}

/// A lease as our clock counts it.
fn shorter(lease: Duration) -> Duration {
    lease.saturating_sub((lease / 10).min(MARGIN))
}

pub(crate) fn nak(after: Duration) -> String {
    if after.is_zero() {
        return "-NAK".to_owned();
    }
    format!("-NAK {}", json!({ "delay": u64::try_from(after.as_nanos()).unwrap_or(u64::MAX) }))
}

#[async_trait]
impl Hold for Held {
    fn settle(self: Arc<Self>, outcome: Outcome) -> Settling {
        let settling = self.settle_now(outcome);
        if self.in_hand.swap(false, Ordering::AcqRel) {
            self.reader.out_of_hand();
        }
        settling
    }

    async fn renew(&self) -> Result<Option<Duration>> {
        self.renew_now().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgement_subjects_of_all_servers() {
        for ack in [
            "$JS.ACK.S.workers.3.17.20.1700000000.5",
            "$JS.ACK.hub.ACCOUNT.S.workers.3.17.20.1700000000.5",
            "$JS.ACK._.ACCOUNT.S.workers.3.17.20.1700000000.5.random",
        ] {
            let place = Place::read(ack).unwrap();
            assert_eq!((place.delivered, place.seq, place.ack.as_str()), (3, 17, ack));
        }
        for ack in ["", "_INBOX.x.1", "$JS.ACK.S", "$JS.ACK.S.w.x.y.z.1.2"] {
            assert_eq!(Place::read(ack), None, "{ack}");
        }
    }

    #[test]
    fn a_lease_ends_sooner_for_us() {
        assert_eq!(shorter(Duration::from_secs(30)), Duration::from_secs(29));
        assert_eq!(shorter(Duration::from_millis(300)), Duration::from_millis(270));
        assert_eq!(nak(Duration::from_millis(2)), r#"-NAK {"delay":2000000}"#);
    }
}
