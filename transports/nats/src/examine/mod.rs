//! A look over the server for what bites.
//!
//! It uses a connection of its own, so that it hears what the server says of permissions. Nothing is made or taken:
//! permissions are tried with requests that the server must refuse for another reason once it let them through.

mod account;
mod client;
mod consumer;
mod permit;
mod stream;
mod words;

use polybus_contract::{Finding, Intake, Plan, Served, TopicGrade};
use serde_json::Value;

use crate::connection::Handle;
use crate::names::WORKERS;

use client::Client;
pub use words::DIAGNOSES;
use words::{CLOCK_SKEW, DEAD_LETTERS_WAITING, JETSTREAM_OFF, NO_LEADER, TOPIC_NOT_DURABLE};

/// Clocks may be apart by this much, in seconds.
const SKEW: f64 = 5.0;

/// What is found, one after the other.
type Findings = Vec<Finding>;

impl Handle {
    /// Looks over the server; without a connection it finds nothing.
    pub(crate) async fn examine(&self, plan: &Plan) -> Vec<Finding> {
        let mut found = Findings::new();
        let Some(client) = Client::open(&self.config).await else { return found };
        account::server(&client, plan, &mut found);
        let subjects = self.subjects(plan, &client);
        permit::look(client, &subjects, &mut found).await;
        let Some(client) = Client::open(&self.config).await else { return found };
        match client.api("INFO").await {
            Ok(info) => account::limits(&info, &self.config, plan, &mut found),
            Err(why) => {
                // A cluster without enough of its servers says so.
                let away = why.contains("unavailable");
                found.push(if away { &NO_LEADER } else { &JETSTREAM_OFF }.found("server", why));
                return found;
            }
        }
        let mut clock =
            CLOCK_SKEW.unknown("server", "no stream is there whose answer would tell the server's time");
        for served in &plan.services {
            let mut here = Findings::new();
            let told = self.look_at_queue(&client, served, &mut here).await;
            clock = told.unwrap_or(clock);
            let of = [served.name.clone()];
            found.extend(here.into_iter().map(|finding| finding.with_services(of.clone())));
        }
        for topic in plan.topics.iter().filter(|topic| topic.grade == TopicGrade::Durable) {
            let object = format!("topic {}", topic.name);
            let info = client.api(&format!("STREAM.INFO.{}", self.names.topic_stream(&topic.name))).await;
            found.extend(topic_of(info.ok().as_ref(), &object));
        }
        found.push(clock);
        found
    }

    /// Answers what the stream's answer says of the clocks, if there is one.
    async fn look_at_queue(&self, client: &Client, served: &Served, found: &mut Findings) -> Option<Finding> {
        let queue = &served.queue.name;
        let object = format!("queue {queue}");
        let name = self.names.queue_stream(queue);
        let began = client::now();
        let info = client.api(&format!("STREAM.INFO.{name}")).await;
        let clock = info.as_ref().ok().and_then(|info| client::skew(info, began, client::now()));
        match &info {
            Ok(info) => {
                stream::judge(info, served, &self.config, &object, found);
                let consumer = client.api(&format!("CONSUMER.INFO.{name}.{WORKERS}")).await.ok();
                let others = client.api(&format!("CONSUMER.NAMES.{name}")).await.ok();
                consumer::judge(consumer.as_ref(), others.as_ref(), served, &object, found);
            }
            Err(why) => found.push(self.untold(client, served, &object, why).await),
        }
        if let Some(dead) = self.names.dead_stream(&Intake::Queue(queue.clone())) {
            let info = client.api(&format!("STREAM.INFO.{dead}")).await.ok();
            found.push(dead_letters(info.as_ref(), &object));
        }
        clock
    }

    /// A queue whose stream does not tell of itself: it is not there yet, or cannot answer. Whoever takes its subject is
    /// known to the whole cluster.
    async fn untold(&self, client: &Client, served: &Served, object: &str, why: &str) -> Finding {
        let subject = self.names.queue_subject(&served.queue.name);
        let asked = serde_json::json!({ "subject": subject });
        let named = client.api_with("STREAM.NAMES", &asked).await.ok();
        let first = named.as_ref().and_then(|names| names["streams"][0].as_str());
        match first {
            Some(own) if own == self.names.queue_stream(&served.queue.name) => {
                leaderless(client, own, object, why)
            }
            Some(other) => words::SUBJECT_TAKEN.found(object, format!("stream {other} takes {subject}")),
            None => {
                words::SUBJECT_TAKEN.fine(object, "there is none yet; polybus serve makes it as it should be")
            }
        }
    }
}

/// The stream is there and was not shown: it has no leader who would, or this user may not ask.
fn leaderless(client: &Client, stream: &str, object: &str, why: &str) -> Finding {
    let asked = client.api_subject(&format!("STREAM.INFO.{stream}")).to_ascii_lowercase();
    // The answer was waited for in vain, so a complaint has been heard by now.
    let complaints = client.complaints();
    let told = format!("the stream is there, but: {why}");
    if complaints.iter().any(|complaint| complaint.to_ascii_lowercase().contains(&asked)) {
        NO_LEADER.unknown(object, told)
    } else {
        NO_LEADER.found(object, told)
    }
}

fn dead_letters(info: Option<&Value>, object: &str) -> Finding {
    let object = format!("dead letters of {object}");
    match info.and_then(|info| info["state"]["messages"].as_u64()).unwrap_or(0) {
        0 => DEAD_LETTERS_WAITING.fine(object, "none"),
        dead => DEAD_LETTERS_WAITING.found(object, format!("{dead} messages")),
    }
}

fn topic_of(info: Option<&Value>, object: &str) -> Option<Finding> {
    let storage = info?["config"]["storage"].as_str()?;
    let told = format!("storage is {storage}");
    Some(if storage == "file" {
        TOPIC_NOT_DURABLE.fine(object, told)
    } else {
        TOPIC_NOT_DURABLE.found(object, told)
    })
}
