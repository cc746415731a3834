//! A connection of its own, which hears the server's complaints.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::header::HeaderMap;
use async_nats::{Event, ServerError, ServerInfo};
use bytes::Bytes;
use polybus_contract::Finding;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::SKEW;
use super::words::CLOCK_SKEW;
use crate::config::Config;
use crate::connection::options;

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(3);

/// How long the server is given to complain.
const COMPLAINT: Duration = Duration::from_secs(2);

/// Complaints that are kept.
const KEPT: usize = 256;

pub(super) struct Client {
    link: async_nats::Client,
    api: String,
    complaints: Arc<Mutex<Vec<String>>>,
    /// Woken when the client library has told everything.
    over: Arc<Notify>,
}

impl Client {
    /// A connection to the first server that takes one; `None`: why not is for whoever connects to say.
    pub(super) async fn open(config: &Config) -> Option<Self> {
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let over = Arc::new(Notify::new());
        for (host, port) in &config.servers {
            let (heard, told) = (complaints.clone(), over.clone());
            let listening = options(config).await.ok()?.event_callback(move |event| {
                let (heard, told) = (heard.clone(), told.clone());
                async move { hear(&heard, &told, event) }
            });
            let connecting = listening.connect(format!("{host}:{port}"));
            if let Ok(Ok(client)) = timeout(ANSWER, connecting).await {
                let domain = config.domain.as_ref();
                let api = domain.map_or_else(|| "$JS.API.".to_owned(), |domain| format!("$JS.{domain}.API."));
                return Some(Self { link: client, api, complaints, over });
            }
        }
        None
    }

    pub(super) fn info(&self) -> ServerInfo {
        self.link.server_info()
    }

    pub(super) fn api_subject(&self, what: &str) -> String {
        format!("{}{what}", self.api)
    }

    /// What the JetStream API answers, or why it does not.
    pub(super) async fn api(&self, what: &str) -> Result<Value, String> {
        self.api_with(what, &Value::Null).await
    }

    pub(super) async fn api_with(&self, what: &str, body: &Value) -> Result<Value, String> {
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let answer = timeout(ANSWER, self.link.request(self.api_subject(what), body)).await;
        let answer = answer.map_err(|_| "the JetStream API does not answer".to_owned())?;
        let answer = answer.map_err(|_| "JetStream does not answer: it is not enabled".to_owned())?;
        let json: Value = serde_json::from_slice(&answer.payload).map_err(|error| error.to_string())?;
        match json["error"]["description"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(json),
        }
    }

    /// Sends something that the server must refuse; whether it may be sent is heard later.
    pub(super) async fn try_publish(&self, subject: &str, body: &'static str, expects: Option<&str>) {
        let mut headers = HeaderMap::new();
        if let Some(stream) = expects {
            headers.insert("Nats-Expected-Stream", stream);
        }
        // What cannot be handed over is heard as silence.
        let _ = if headers.is_empty() {
            self.link.publish(subject.to_owned(), body.into()).await
        } else {
            self.link.publish_with_headers(subject.to_owned(), headers, body.into()).await
        };
    }

    pub(super) async fn try_subscribe(&self, subject: &str) {
        if let Ok(mut subscriber) = self.link.subscribe(subject.to_owned()).await {
            let _ = subscriber.unsubscribe().await;
        }
    }

    /// Everything that the server has complained of so far.
    pub(super) fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everything that the server has complained of, once it has seen all that was tried.
    ///
    /// It ends the connection: complaints reach us through the client library's events, behind its answers, and only the
    /// event of the end is known to come after all of them.
    pub(super) async fn last_complaints(self) -> Vec<String> {
        // Nobody listens there: either that is answered, or it is complained of, behind everything before.
        let nowhere = format!("polybus.doctor.{}", uuid::Uuid::new_v4().simple());
        let _ = timeout(COMPLAINT, self.link.request(nowhere, Bytes::new())).await;
        if self.link.drain().await.is_ok() {
            let _ = timeout(COMPLAINT, self.over.notified()).await;
        }
        self.complaints()
    }
}

fn hear(heard: &Mutex<Vec<String>>, over: &Notify, event: Event) {
    let complaint = match event {
        Event::ServerError(ServerError::Other(complaint)) => complaint,
        Event::Closed => return over.notify_one(),
        _ => return,
    };
    let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    if heard.len() < KEPT {
        heard.push(complaint);
    }
}

/// Seconds since 1970.
pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// What the time in an answer, asked for and read at these times, says of the clocks.
pub(super) fn skew(answer: &Value, before: f64, after: f64) -> Option<Finding> {
    let told = async_nats::datetime::parse_rfc3339(answer["ts"].as_str()?).ok()?;
    // Seconds are exact to microseconds in this type for centuries.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds are enough")]
    let told = (told.unix_timestamp_nanos() / 1_000_000) as f64 / 1000.0;
    let apart = if told < before { told - before } else { (told - after).max(0.0) };
    let told = format!("the server's clock is {apart:.1} s ahead of ours");
    Some(if apart.abs() > SKEW { CLOCK_SKEW.found("server", told) } else { CLOCK_SKEW.fine("server", told) })
}

#[cfg(test)]
mod tests {
    use polybus_contract::Grade;
    use serde_json::json;

    use super::*;

    #[test]
    fn clocks_are_compared() {
        let grade = |ts: &str| skew(&json!({ "ts": ts }), 1000.0, 1001.0).map(|finding| finding.grade);
        assert_eq!(grade("1970-01-01T00:16:40.5Z"), Some(Grade::Fine));
        assert_eq!(grade("1970-01-01T00:16:47Z"), Some(Grade::Warning));
        assert_eq!(grade("1970-01-01T00:16:30Z"), Some(Grade::Warning));
        assert_eq!(skew(&json!({}), 0.0, 0.0), None);
    }
}
