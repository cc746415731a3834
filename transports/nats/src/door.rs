//! The door: plain requests to services, and the discovery of NATS services (ADR-32).
//!
//! A request on the core subject of a queue is stored in the queue with its reply subject in our header, so leases,
//! attempts, bounds and dead letters are as ever, and whichever worker gets it answers the caller. The client library
//! has services of its own; they begin anew with another id on each connection and count only what they answer
//! themselves, so this is done here: it is nine subscriptions and three small documents.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Subscriber;
use async_nats::header::HeaderMap;
use futures_util::StreamExt;
use futures_util::stream::{SelectAll, select_all};
use jiff::Timestamp;
use polybus_contract::{DoorService, Error, Kind, Message, Name, Operation, Result, Target, UnixMillis};
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::connection::Handle;
use crate::error::{refuse, unknown};
use crate::link::{LOST, Link, Outgoing};
use crate::message::{self, Raw};

/// How a caller is told that there will be no answer.
pub(crate) const SERVICE_ERROR: &str = "Nats-Service-Error";
pub(crate) const SERVICE_ERROR_CODE: &str = "Nats-Service-Error-Code";

/// Those who keep a door to the same queue compete for its requests.
const GROUP: &str = "q";

/// Requests on their way to the queue; more wait in the client library's buffer.
const PASSING: usize = 64;

/// How long passing one on, or making a subscription, may take.
const WITHIN: Duration = Duration::from_secs(5);

const VERBS: [&str; 3] = ["PING", "INFO", "STATS"];

/// A door that is kept.
struct Keeper {
    handle: Arc<Handle>,
    service: DoorService,
    id: String,
    subject: String,
    started: Timestamp,
}

impl Handle {
    /// Where plain requests for a queue go.
    pub(crate) fn door_subject(&self, queue: &Name) -> String {
        self.names.topic_subject(queue)
    }

    pub(crate) async fn keep_door(self: &Arc<Self>, service: &DoorService) -> Result<()> {
        self.takes_in(Operation::Consume)?;
        check(service)?;
        let keeper = Arc::new(Keeper {
            handle: self.clone(),
            service: service.clone(),
            id: uuid::Uuid::new_v4().simple().to_string(),
            subject: self.door_subject(&service.queue),
            started: Timestamp::now(),
        });
        self.start();
        let mut links = self.link.subscribe();
        loop {
            let until = Instant::now() + WITHIN;
            let link = match self.link(Operation::Consume, until).await {
                Ok(link) => link,
                Err(_) if !self.is_closed() => continue,
                Err(_) => return Ok(()),
            };
            if let Err(error) = keeper.serve_on(&link).await {
                tracing::debug!(%error, queue = %service.queue, "a door was lost");
            }
            // This connection is over, or does not subscribe: the next one will.
            let over = async {
                links.wait_for(|now| !now.as_ref().is_some_and(|now| Arc::ptr_eq(now, &link))).await.is_ok()
            };
            let _ = timeout(WITHIN, over).await;
        }
    }
}

fn check(service: &DoorService) -> Result<()> {
    let fits = |text: &str, more: &[u8]| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
    };
    let core = service.version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<_> = core.split('.').map(|part| part.parse::<u64>().is_ok()).collect();
    let wrong = if !fits(&service.name, b"_-") {
        format!("the name \"{}\" is not made of letters, digits, _ and -", service.name.escape_default())
    } else if numbers != [true; 3] || !fits(&service.version, b".-+") {
        format!("the version \"{}\" is not one such as 1.2.3", service.version.escape_default())
    } else {
        return Ok(());
    };
    Err(refuse(Kind::InvalidOption, Operation::Consume, &service.queue).with_detail(wrong))
}

impl Keeper {
    /// Serves on one connection until it is lost.
    async fn serve_on(self: &Arc<Self>, link: &Arc<Link>) -> Result<()> {
        let lost = |_| unknown(Operation::Subscribe, LOST);
        let mut asked = self.discovery(link).await?;
        let requests = link.client.queue_subscribe(self.subject.clone(), GROUP.to_owned());
        let mut requests = requests.await.map_err(lost)?;
        link.round_trip(Operation::Subscribe, Instant::now() + WITHIN).await?;
        let mut passing = JoinSet::new();
        loop {
            tokio::select! {
                Some(_) = passing.join_next(), if !passing.is_empty() => {}
                question = asked.next() => match question {
                    Some(question) => self.tell(link, question).await,
                    None => break,
                },
                request = requests.next(), if passing.len() < PASSING => {
                    let Some(request) = request else { break };
                    passing.spawn(self.clone().pass(link.clone(), request));
                }
            }
        }
        // What is being passed on is not given up: the caller would ask in vain.
        while passing.join_next().await.is_some() {}
        Ok(())
    }

    /// `$SRV.<verb>`, and the same of our name and of our id.
    async fn discovery(&self, link: &Link) -> Result<SelectAll<Subscriber>> {
        let mut all = Vec::new();
        for verb in VERBS {
            let name = &self.service.name;
            let own = [String::new(), format!(".{name}"), format!(".{name}.{}", self.id)];
            for end in own {
                let made = link.client.subscribe(format!("$SRV.{verb}{end}")).await;
                all.push(made.map_err(|_| unknown(Operation::Subscribe, LOST))?);
            }
        }
        Ok(select_all(all))
    }

    async fn tell(&self, link: &Link, question: async_nats::Message) {
        let Some(reply) = question.reply else { return };
        let told = match question.subject.split('.').nth(1) {
            Some("PING") => self.ping(),
            Some("INFO") => self.info(),
            Some("STATS") => self.stats(),
            _ => return,
        };
        let answer = Outgoing::new(reply.to_string(), told.to_string());
        // If that fails the asker has its bound.
        let _ = link.send(answer, None, Instant::now() + WITHIN).await;
    }

    /// What every answer begins with.
    fn answer(&self, kind: &str) -> Json {
        let metadata: BTreeMap<_, _> = self.service.metadata.iter().cloned().collect();
        json!({
            "type": format!("io.nats.micro.v1.{kind}_response"),
            "name": self.service.name,
            "id": self.id,
            "version": self.service.version,
            "metadata": metadata,
        })
    }

    fn ping(&self) -> Json {
        self.answer("ping")
    }

    fn endpoint(&self) -> Json {
        json!({ "name": "call", "subject": self.subject, "queue_group": GROUP })
    }

    fn info(&self) -> Json {
        let mut told = self.answer("info");
        let mut endpoint = self.endpoint();
        endpoint["metadata"] = json!({ "queue": self.service.queue.as_str() });
        told["description"] = json!(self.service.description);
        told["endpoints"] = json!([endpoint]);
        told
    }

    fn stats(&self) -> Json {
        let figures = self.service.tally.figures();
        let busy = u64::try_from(figures.busy.as_nanos()).unwrap_or(u64::MAX);
        let mut told = self.answer("stats");
        let mut endpoint = self.endpoint();
        endpoint["num_requests"] = json!(figures.requests);
        endpoint["num_errors"] = json!(figures.errors);
        endpoint["last_error"] = json!(figures.last_error.unwrap_or_default());
        endpoint["processing_time"] = json!(busy);
        endpoint["average_processing_time"] = json!(busy / figures.requests.max(1));
        told["started"] = json!(self.started.to_string());
        told["endpoints"] = json!([endpoint]);
        told
    }

    /// Passes one request on; if the queue does not take it, its sender is told.
    async fn pass(self: Arc<Self>, link: Arc<Link>, request: async_nats::Message) {
        let Some(reply) = request.reply.as_ref().map(ToString::to_string) else {
            tracing::debug!(queue = %self.service.queue, "a message at the door wants no answer; it is dropped");
            return;
        };
        if let Err(error) = self.passed(request, reply.clone()).await {
            tracing::debug!(%error, queue = %self.service.queue, "a request at the door was refused");
            self.refuse(&link, reply, &error).await;
        }
    }

    async fn passed(&self, request: async_nats::Message, reply: String) -> Result<()> {
        let to = Target::Queue(self.service.queue.clone());
        let message = self.message(request)?;
        if !self.handle.is_inbox(&reply) {
            return Err(refuse(Kind::InvalidMessage, Operation::Request, &to).with_detail("no reply inbox"));
        }
        self.handle.post_request(&to, message, reply, 0, Instant::now() + WITHIN).await.map(drop)
    }

    /// The request as a message. Its headers are its sender's; where the answer goes is not theirs to say.
    fn message(&self, request: async_nats::Message) -> Result<Message> {
        let raw = Raw { headers: request.headers, body: request.payload, made_up: None };
        let message = message::decode(&raw, &self.handle.instance).map_err(|why| {
            refuse(Kind::InvalidMessage, Operation::Request, &self.service.queue).with_detail(why)
        })?;
        let message = message.without_reply_to().without_death();
        let deadline = message.deadline().copied();
        let deadline = deadline.unwrap_or_else(|| UnixMillis::now().after(self.service.within));
        Ok(message.with_deadline(deadline))
    }

    async fn refuse(&self, link: &Link, reply: String, error: &Error) {
        if !self.handle.is_inbox(&reply) {
            return;
        }
        let mut headers = HeaderMap::new();
        headers.insert(SERVICE_ERROR_CODE, code(&error.kind()));
        headers.insert(SERVICE_ERROR, error.to_string().replace(['\r', '\n'], " "));
        let answer = Outgoing::new(reply, "").with_headers(headers);
        // If that fails the asker has its bound.
        let _ = link.send(answer, None, Instant::now() + WITHIN).await;
    }
}

/// As programs of the web know them.
const fn code(kind: &Kind) -> &'static str {
    match kind {
        Kind::TooLarge { .. } => "413",
        Kind::InvalidMessage => "400",
        Kind::Full => "429",
        _ => "503",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_discovery_can_show_is_taken() {
        let service = |name: &str, version: &str| DoorService::new(name, version, Name::new("q").unwrap());
        for version in ["0.1.0", "1.2.3-rc.1", "1.2.3+build"] {
            assert!(check(&service("who-has_2", version)).is_ok(), "{version}");
        }
        for (name, version) in
            [("", "1.0.0"), ("a.b", "1.0.0"), ("a", "1.0"), ("a", "1.0.x"), ("a", "1.0.0 ")]
        {
            assert_eq!(
                check(&service(name, version)).unwrap_err().kind(),
                Kind::InvalidOption,
                "{name} {version}"
            );
        }
    }
}
