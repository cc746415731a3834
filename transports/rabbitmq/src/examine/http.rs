//! GET, as far as the management interface needs it.

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use polybus_contract::{Error, Operation, Result};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::wire::{self, WITHIN};
use crate::config::Config;
use crate::error::down;

/// The largest answer that is read.
const ANSWER: usize = 8 << 20;

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// What the server's clock said, in whole seconds.
    pub(super) date: Option<Timestamp>,
    pub(super) json: Value,
}

/// Where to ask, and as whom.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
    /// In front of all paths.
    pub(super) base: String,
    /// The header that says who asks.
    pub(super) authorization: String,
}

/// Asks for one path, within its bound.
pub(super) async fn get(config: &Config, site: &Site, path: &str) -> Result<Answer> {
    let until = Instant::now() + WITHIN;
    match timeout_at(until, ask(config, site, path, until)).await {
        Ok(answer) => answer,
        Err(_) => Err(down(Operation::Inspect, "the management interface did not answer in time")),
    }
}

async fn ask(config: &Config, site: &Site, path: &str, until: Instant) -> Result<Answer> {
    let wire = wire::open(config, (&site.host, site.port), site.tls, until).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(wire)).await.map_err(|error| broken(&error))?;
    let conversing = tokio::spawn(connection);
    let answer = exchange(&mut sender, site, path).await;
    conversing.abort();
    answer
}

type Sender = hyper::client::conn::http1::SendRequest<Empty<Bytes>>;

async fn exchange(sender: &mut Sender, site: &Site, path: &str) -> Result<Answer> {
    let request = Request::get(format!("{}{path}", site.base))
        .header(header::HOST, format!("{}:{}", site.host, site.port))
        .header(header::AUTHORIZATION, &site.authorization)
        .body(Empty::new())
        .map_err(|error| down(Operation::Inspect, &error.to_string()))?;
    let answer = sender.send_request(request).await.map_err(|error| broken(&error))?;
    let status = answer.status();
    let date = answer.headers().get(header::DATE).and_then(|date| date.to_str().ok()).and_then(moment);
    let body = Limited::new(answer.into_body(), ANSWER).collect().await;
    let body = body.map_err(|error| down(Operation::Inspect, &error.to_string()))?.to_bytes();
    let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Ok(Answer { status, date, json })
}

/// The day of the week tells nothing more, and may be wrong where the clock is.
fn moment(date: &str) -> Option<Timestamp> {
    const PARSER: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);
    PARSER.parse_timestamp(date).ok()
}

fn broken(error: &hyper::Error) -> Error {
    down(Operation::Inspect, &error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_http_are_read() {
        let date = moment("Sat, 28 Nov 2026 19:42:13 GMT").unwrap();
        assert_eq!(date.to_string(), "2026-11-28T19:42:13Z");
        let wrong_day = moment("Sat, 28 Nov 2027 19:42:13 GMT").unwrap();
        assert_eq!(wrong_day.to_string(), "2027-11-28T19:42:13Z");
        assert!(moment("yesterday").is_none());
    }
}
