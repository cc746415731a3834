//! Answering: on a channel of its own, and to the broker's direct reply-to over a connection of its own, which an address
//! that somebody forged can close without harm to anything else.

use std::sync::Arc;

use lapin::Connection;
use polybus_contract::{
    Confirmed, Durability, Error, Kind, Message, MessageId, Operation, Receipt, ReplyOptions, ReplyTo, Result,
};
use tokio::sync::Mutex as TurnMutex;
use tokio::time::{Instant, timeout_at};

use crate::connection::{Core, count};
use crate::dial::{Dialled, Socket, dial};
use crate::error::{down, of_broker};
use crate::header::{self, known, short};
use crate::message::{Raw, encode, reply_table, split_address};
use crate::outlet::{Outlet, Route, Verdict};
use crate::publish::{full, judged};
use crate::request::DIRECT;
use crate::session::Way;

/// The connection for direct replies, made when one is first needed.
#[derive(Debug, Default)]
pub(crate) struct Direct(TurnMutex<Option<Line>>);

#[derive(Debug)]
struct Line {
    outlet: Arc<Outlet>,
    /// Held: the channel goes with it.
    connection: Connection,
    socket: Socket,
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.outlet.is_open() {
            self.socket.shut();
        }
    }
}

impl Core {
    pub(crate) async fn reply(
        self: &Arc<Self>,
        to: &ReplyTo,
        mut message: Message,
        options: ReplyOptions,
    ) -> Result<Receipt> {
        self.open(Operation::Reply)?;
        let id = message.ensure_id().clone();
        let (queue, correlation) = split_address(to.address_on(&self.instance)?);
        let raw = self.answer(&message, &options, correlation.as_deref())?;
        let until = Instant::now() + options.within;
        let replied = if queue.starts_with(DIRECT) {
            Box::pin(self.reply_directly(&queue, raw, &id, until)).await
        } else {
            self.reply_to_queue(&queue, &raw, &id, until).await
        };
        replied.map_err(|error| as_reply(&error).with_message_id(id))
    }

    /// The reply for the wire: what has to be repeated is the correlation id, whatever else the message has.
    fn answer(&self, message: &Message, options: &ReplyOptions, correlation: Option<&str>) -> Result<Raw> {
        let mut table = reply_table(options);
        let own = message.correlation_id().map(String::as_str);
        if let (Some(own), Some(_)) = (own.filter(|own| Some(*own) != correlation), correlation) {
            table.text(header::CORRELATION, own);
        }
        let mut raw = encode(message, &self.instance, table)?;
        if let Some(correlation) = correlation.and_then(short) {
            raw.properties = raw.properties.with_correlation_id(correlation);
        }
        Ok(raw)
    }

    async fn reply_to_queue(
        self: &Arc<Self>,
        queue: &str,
        raw: &Raw,
        id: &MessageId,
        until: Instant,
    ) -> Result<Receipt> {
        let Some(_) = short(queue) else { return Ok(self.unclaimed(queue, "it is too long")) };
        match self.confirmed(Way::Replies, &Route::queue(queue), raw, until).await? {
            Verdict::Returned => {
                count(&self.counts.late_replies, 1);
                Ok(Receipt::Unclaimed)
            }
            Verdict::Refused => Err(full("the reply queue is at its bound")),
            _ => Ok(Receipt::Confirmed(Confirmed::new(id.clone(), Durability::Volatile))),
        }
    }

    fn unclaimed(&self, queue: &str, why: &str) -> Receipt {
        let shown: String = queue.chars().take(64).flat_map(char::escape_default).collect();
        tracing::warn!(address = shown, why, "no reply can be sent to this address");
        count(&self.counts.late_replies, 1);
        Receipt::Unclaimed
    }

    /// The broker confirms it whether or not the caller is still there, so nobody knows.
    async fn reply_directly(
        self: &Arc<Self>,
        address: &str,
        raw: Raw,
        id: &MessageId,
        until: Instant,
    ) -> Result<Receipt> {
        if !is_direct_address(address) {
            return Ok(self.unclaimed(address, "it is no address that a broker makes"));
        }
        // Once more on a fresh connection: it may have been somebody else's address that closed the first one.
        for _ in 0..2 {
            let outlet = self.direct_outlet(until).await?;
            let permit = timeout_at(until, outlet.place()).await.ok().flatten();
            let permit = permit.ok_or_else(|| full("too many replies are under way"))?;
            let route = Route { mandatory: false, ..Route::queue(address) };
            match judged(outlet.publish(permit, route, raw.clone()), until).await {
                Ok(Verdict::Taken) => return Ok(Receipt::Handed(id.clone())),
                Ok(Verdict::Refused) => return Err(full("the broker refused a direct reply")),
                Err(error) if error.kind() == Kind::DeadlineExceeded => return Err(error),
                _ => {}
            }
        }
        Err(crate::error::unknown(Kind::Disconnected, Operation::Reply, Some(id))
            .with_detail("the broker closes the connection for direct replies"))
    }

    async fn direct_outlet(&self, until: Instant) -> Result<Arc<Outlet>> {
        let mut line = self.direct.0.lock().await;
        if let Some(line) = line.as_ref().filter(|line| line.outlet.is_open()) {
            return Ok(line.outlet.clone());
        }
        *line = None;
        let place = self.current().map_or(0, |session| session.place);
        let Dialled { connection, socket, .. } = dial(&self.config, "direct replies", place, until).await?;
        let opening = async {
            let channel =
                connection.create_channel().await.map_err(|error| of_broker(&error, Operation::Reply))?;
            Outlet::open(channel).await.map(Arc::new)
        };
        let opened = timeout_at(until, opening).await;
        let outlet = opened.map_err(|_| down(Operation::Reply, "the broker did not answer in time"))??;
        *line = Some(Line { outlet: outlet.clone(), connection, socket });
        Ok(outlet)
    }

    /// Says goodbye on the connection for direct replies.
    pub(crate) async fn close_direct(&self, until: Instant) {
        let line = self.direct.0.lock().await.take();
        if let Some(line) = line {
            let _ = timeout_at(until, line.connection.close(200, known("OK"))).await;
            line.socket.shut();
        }
    }
}

fn as_reply(error: &Error) -> Error {
    let again = Error::new(error.kind(), Operation::Reply).with_status(error.status());
    match error.detail() {
        Some(detail) => again.with_detail(detail),
        None => again,
    }
}

/// Whether a broker can have made this address: `amq.rabbitmq.reply-to.`, an Erlang process id in base64, a dot, and a
/// key in base64. Of anything else the broker cannot make sense, and closes the connection.
fn is_direct_address(address: &str) -> bool {
    let Some((process, key)) = address
        .strip_prefix(DIRECT)
        .and_then(|rest| rest.strip_prefix('.'))
        .and_then(|rest| rest.split_once('.'))
    else {
        return false;
    };
    let is_key = (16..=32).contains(&key.len()) && unbase64(key).is_some();
    is_key && unbase64(process).is_some_and(|bytes| is_process(&bytes))
}

/// The external term format of a process id: version 131, tag 88 (or 103 of old), the node's name as an atom, and three
/// numbers.
fn is_process(bytes: &[u8]) -> bool {
    let (numbers, rest) = match bytes {
        [131, 88, rest @ ..] => (12, rest),
        [131, 103, rest @ ..] => (9, rest),
        _ => return false,
    };
    let (length, rest) = match rest {
        // Atoms with one byte for the length, and with two.
        [119 | 115, length, rest @ ..] => (usize::from(*length), rest),
        [100 | 118, high, low, rest @ ..] => (usize::from(*high) << 8 | usize::from(*low), rest),
        _ => return false,
    };
    rest.len() == length + numbers && rest[..length.min(rest.len())].contains(&b'@')
}

/// The bytes behind standard base64, padding included.
fn unbase64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len());
    let (mut bits, mut held) = (0_u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forged_addresses_are_seen() {
        // As RabbitMQ 3.10 made it.
        let made =
            "amq.rabbitmq.reply-to.g1h2AA5yZXBseUA2MzQ3OTkyNAAACKEAAAAEawsIrA==.F8sFTParLeIO1rNr9R6uuA==";
        assert!(is_direct_address(made));
        // 131, 88, atom "r@localhost" and twelve bytes.
        let mut process = vec![131, 88, 119, 11];
        process.extend_from_slice(b"r@localhost");
        process.extend_from_slice(&[0; 12]);
        assert!(is_process(&process));
        assert!(!is_process(&process[..20]));
        for forged in [
            "amq.rabbitmq.reply-to",
            "amq.rabbitmq.reply-to.",
            "amq.rabbitmq.reply-to.x.y",
            "amq.rabbitmq.reply-to.AAAA.s6h1fCHC4yO8gUVSKYPRBA==",
            "amq.rabbitmq.reply-toX.g1h3.s6h1fCHC4yO8gUVSKYPRBA==",
        ] {
            assert!(!is_direct_address(forged), "{forged}");
        }
    }
}
