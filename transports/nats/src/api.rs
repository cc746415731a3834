//! The JetStream API, in JSON: what of it is used here means the same on every server since 2.9.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::header::HeaderMap;
use bytes::Bytes;
use data_encoding::BASE64;
use polybus_contract::{Error, Kind, Operation, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::error::{ApiError, unknown};
use crate::link::{Link, Outgoing, nobody};

/// How long one request to the API may take.
pub(crate) const WITHIN: Duration = Duration::from_secs(5);

/// An answer is an error or what was asked for.
#[derive(Deserialize)]
struct Answer {
    error: Option<ApiError>,
}

/// The acknowledgement of a publish to a stream.
#[derive(Debug, Deserialize)]
pub(crate) struct PubAck {
    #[serde(default)]
    pub(crate) error: Option<ApiError>,
    #[serde(default)]
    pub(crate) stream: String,
    #[serde(default)]
    pub(crate) duplicate: bool,
}

impl PubAck {
    /// Whether an answer says that a stream has the message.
    pub(crate) fn is_good(answer: &async_nats::Message) -> bool {
        let read = serde_json::from_slice::<Self>(&answer.payload);
        !nobody(answer) && read.is_ok_and(|ack| ack.error.is_none() && !ack.stream.is_empty())
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct StreamInfo {
    pub(crate) config: StreamConfig,
    pub(crate) state: StreamState,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct StreamConfig {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) max_msgs: i64,
    pub(crate) max_bytes: i64,
    pub(crate) discard: String,
    pub(crate) storage: String,
    pub(crate) num_replicas: u8,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct StreamState {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ConsumerInfo {
    pub(crate) name: String,
    pub(crate) config: ConsumerConfig,
    pub(crate) delivered: Position,
    pub(crate) ack_floor: Position,
    pub(crate) num_ack_pending: u64,
    pub(crate) num_pending: u64,
    /// Requests that wait for messages.
    pub(crate) num_waiting: u64,
}

impl ConsumerInfo {
    /// Whether it has messages that nobody has, and may hand them out.
    pub(crate) fn could_hand_out(&self) -> bool {
        let most = self.config.max_ack_pending;
        self.num_pending > 0
            && u64::try_from(most).map_or(true, |most| most == 0 || self.num_ack_pending < most)
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ConsumerConfig {
    pub(crate) description: String,
    /// In nanoseconds.
    pub(crate) ack_wait: u64,
    /// How many may be in hand altogether.
    pub(crate) max_ack_pending: i64,
    /// The most that one request may ask for; 0: no limit.
    pub(crate) max_batch: u32,
    /// How long it may live, in nanoseconds; 0: no limit.
    pub(crate) max_expires: u64,
}

/// What an account has stored, and may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Account {
    #[serde(flatten)]
    whole: Usage,
    /// Where the limits are those of so many replicas.
    tiers: HashMap<String, Usage>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Usage {
    memory: u64,
    storage: u64,
    limits: Limits,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Limits {
    max_memory: i64,
    max_storage: i64,
}

impl Account {
    /// Whether all of its limits leave so many bytes. What is not limited has none, or zero.
    pub(crate) fn takes(&self, bytes: u64) -> bool {
        let leaves = |limit: i64, used: u64| {
            u64::try_from(limit).map_or(true, |limit| limit == 0 || used + bytes <= limit)
        };
        self.tiers.values().chain([&self.whole]).all(|usage| {
            leaves(usage.limits.max_memory, usage.memory) && leaves(usage.limits.max_storage, usage.storage)
        })
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Position {
    pub(crate) consumer_seq: u64,
    pub(crate) stream_seq: u64,
}

#[derive(Deserialize)]
struct Got {
    message: Stored,
}

/// A message as the API shows it.
#[derive(Debug, Deserialize)]
pub(crate) struct Stored {
    pub(crate) seq: u64,
    #[serde(default)]
    hdrs: Option<String>,
    #[serde(default)]
    data: Option<String>,
    #[serde(default)]
    pub(crate) time: String,
}

impl Stored {
    /// Whether the client library can read its headers. It ends the connection over those it cannot.
    pub(crate) fn is_readable(&self) -> bool {
        let bytes = BASE64.decode(self.hdrs.as_deref().unwrap_or_default().as_bytes());
        let Some(text) = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok()) else { return false };
        let named = |line: &str| {
            let name = line.split_once(':').map(|(name, _)| name.parse::<async_nats::HeaderName>().is_ok());
            line.is_empty() || line.starts_with(char::is_whitespace) || name.unwrap_or(false)
        };
        text.lines().skip(1).all(named)
    }

    /// The body.
    pub(crate) fn body(&self) -> Bytes {
        BASE64.decode(self.data.as_deref().unwrap_or_default().as_bytes()).unwrap_or_default().into()
    }

    /// Headers and body. Headers that are no text are left out.
    pub(crate) fn content(&self) -> Option<(HeaderMap, Bytes)> {
        let bytes =
            |text: &Option<String>| BASE64.decode(text.as_deref().unwrap_or_default().as_bytes()).ok();
        let headers = String::from_utf8(bytes(&self.hdrs)?).unwrap_or_default();
        let mut map = HeaderMap::new();
        for (name, value) in headers.lines().skip(1).filter_map(|line| line.split_once(':')) {
            if let (Ok(name), Ok(value)) =
                (name.parse::<async_nats::HeaderName>(), value.trim().parse::<async_nats::HeaderValue>())
            {
                map.append(name, value);
            }
        }
        Some((map, self.body()))
    }
}

/// What one page of an answer holds.
#[derive(Deserialize)]
struct Listed<T> {
    #[serde(default)]
    total: u64,
    /// A server that has none writes null.
    #[serde(default = "none", alias = "streams", alias = "consumers")]
    items: Option<Vec<T>>,
}

const fn none<T>() -> Option<Vec<T>> {
    None
}

#[derive(Deserialize)]
struct Count {
    #[serde(default)]
    purged: u64,
}

#[derive(Deserialize)]
struct Done {}

/// `None`: there is no such stream, consumer or message.
pub(crate) type Found<T> = Result<Option<T>>;

impl Link {
    /// One request to the API. The inner error is the server's answer.
    async fn api<T: DeserializeOwned>(
        &self,
        what: &str,
        body: &Value,
        operation: Operation,
    ) -> Result<Result<T, ApiError>> {
        let subject = format!("{}{what}", self.api);
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let answer = self.ask(Outgoing::new(subject, body), operation, Instant::now() + WITHIN).await?;
        if nobody(&answer) {
            return Err(Error::new(Kind::Disconnected, operation)
                .with_detail("JetStream does not answer: it is not enabled for this account, or starts"));
        }
        let broken = || unknown(operation, "the server's answer cannot be read");
        let error = serde_json::from_slice::<Answer>(&answer.payload).map_err(|_| broken())?.error;
        match error {
            Some(error) => Ok(Err(error)),
            None => serde_json::from_slice(&answer.payload).map(Ok).map_err(|_| broken()),
        }
    }

    async fn find<T: DeserializeOwned>(&self, what: &str, body: &Value, operation: Operation) -> Found<T> {
        match self.api(what, body, operation).await? {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into_error(operation, what)),
        }
    }

    async fn act<T: DeserializeOwned>(&self, what: &str, body: &Value, operation: Operation) -> Result<T> {
        self.api(what, body, operation).await?.map_err(|error| error.into_error(operation, what))
    }

    pub(crate) async fn account(&self, operation: Operation) -> Result<Account> {
        self.act("INFO", &Value::Null, operation).await
    }

    pub(crate) async fn stream(&self, name: &str, operation: Operation) -> Found<StreamInfo> {
        self.find(&format!("STREAM.INFO.{name}"), &Value::Null, operation).await
    }

    /// Makes a stream. Two who make the same one at the same time both succeed.
    pub(crate) async fn create_stream(&self, config: &Value, operation: Operation) -> Result<StreamInfo> {
        let name = config["name"].as_str().unwrap_or_default();
        self.act(&format!("STREAM.CREATE.{name}"), config, operation).await
    }

    pub(crate) async fn update_stream(&self, config: &Value, operation: Operation) -> Result<StreamInfo> {
        let name = config["name"].as_str().unwrap_or_default();
        self.act(&format!("STREAM.UPDATE.{name}"), config, operation).await
    }

    /// Whether it was there.
    pub(crate) async fn delete_stream(&self, name: &str, operation: Operation) -> Result<bool> {
        let gone: Option<Done> = self.find(&format!("STREAM.DELETE.{name}"), &Value::Null, operation).await?;
        Ok(gone.is_some())
    }

    pub(crate) async fn consumer(
        &self,
        stream: &str,
        name: &str,
        operation: Operation,
    ) -> Found<ConsumerInfo> {
        self.find(&format!("CONSUMER.INFO.{stream}.{name}"), &Value::Null, operation).await
    }

    pub(crate) async fn create_consumer(
        &self,
        stream: &str,
        name: &str,
        config: &Value,
        operation: Operation,
    ) -> Result<ConsumerInfo> {
        let body = json!({ "stream_name": stream, "config": config });
        self.act(&format!("CONSUMER.DURABLE.CREATE.{stream}.{name}"), &body, operation).await
    }

    /// Whether it was there.
    pub(crate) async fn delete_consumer(
        &self,
        stream: &str,
        name: &str,
        operation: Operation,
    ) -> Result<bool> {
        let what = format!("CONSUMER.DELETE.{stream}.{name}");
        let gone: Option<Done> = self.find(&what, &Value::Null, operation).await?;
        Ok(gone.is_some())
    }

    /// All streams, by their names.
    pub(crate) async fn streams(&self, operation: Operation) -> Result<Vec<String>> {
        self.pages("STREAM.NAMES", operation).await
    }

    /// The consumers of a stream.
    pub(crate) async fn consumers(&self, stream: &str, operation: Operation) -> Result<Vec<ConsumerInfo>> {
        self.pages(&format!("CONSUMER.LIST.{stream}"), operation).await
    }

    async fn pages<T: DeserializeOwned>(&self, what: &str, operation: Operation) -> Result<Vec<T>> {
        let mut all = Vec::new();
        loop {
            let page: Listed<T> = self.act(what, &json!({ "offset": all.len() }), operation).await?;
            let items = page.items.unwrap_or_default();
            let last = items.is_empty();
            all.extend(items);
            if last || all.len() as u64 >= page.total {
                return Ok(all);
            }
        }
    }

    /// The first message of a subject at or behind a position.
    pub(crate) async fn message_from(
        &self,
        stream: &str,
        seq: u64,
        subject: &str,
        operation: Operation,
    ) -> Found<Stored> {
        let body = json!({ "seq": seq, "next_by_subj": subject });
        let got: Option<Got> = self.find(&format!("STREAM.MSG.GET.{stream}"), &body, operation).await?;
        Ok(got.map(|got| got.message))
    }

    /// Whether it was there.
    pub(crate) async fn delete_message(&self, stream: &str, seq: u64, operation: Operation) -> Result<bool> {
        let body = json!({ "seq": seq, "no_erase": true });
        let gone: Option<Done> = self.find(&format!("STREAM.MSG.DELETE.{stream}"), &body, operation).await?;
        Ok(gone.is_some())
    }

    /// Deletes everything of some subjects; answers how much that was.
    pub(crate) async fn purge_subject(
        &self,
        stream: &str,
        subject: &str,
        operation: Operation,
    ) -> Result<u64> {
        let body = json!({ "filter": subject });
        Ok(self.act::<Count>(&format!("STREAM.PURGE.{stream}"), &body, operation).await?.purged)
    }

    /// Deletes everything in front of a position; answers how much that was.
    pub(crate) async fn purge_before(&self, stream: &str, seq: u64, operation: Operation) -> Result<u64> {
        let body = json!({ "seq": seq });
        Ok(self.act::<Count>(&format!("STREAM.PURGE.{stream}"), &body, operation).await?.purged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_streams_lists_none() {
        let listed = |text| serde_json::from_str::<Listed<String>>(text).unwrap().items;
        assert_eq!(listed(r#"{"total":0,"offset":0,"limit":1024,"streams":null}"#), None);
        assert_eq!(listed(r#"{"total":1,"streams":["a"]}"#), Some(vec!["a".to_owned()]));
        assert_eq!(listed("{}"), None);
    }

    #[test]
    fn j8_figures_of_an_account() {
        let account = |text| serde_json::from_str::<Account>(text).unwrap();
        let limited =
            r#"{"memory":0,"storage":90,"limits":{"max_memory":-1,"max_storage":100},"domain":"x"}"#;
        assert!(account(limited).takes(10) && !account(limited).takes(11));
        assert!(account("{}").takes(u64::from(u32::MAX)));
        let tiers = r#"{"storage":0,"limits":{"max_storage":0},"tiers":{"R3":{"storage":5,"limits":{"max_storage":5}}}}"#;
        assert!(!account(tiers).takes(1));
    }
}
