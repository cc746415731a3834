//! Whether this user may do what servers and clients do.

use polybus_contract::{Intake, Plan};

use super::Findings;
use super::client::Client;
use super::words::{PERMISSION_PUBLISH, PERMISSION_SUBSCRIBE};
use crate::connection::Handle;
use crate::names::WORKERS;

/// No stream is called this, so what expects it is refused by every stream.
const NO_STREAM: &str = "polybus-doctor";

/// No valid JSON: a request that cannot be understood does nothing.
const NONSENSE: &str = "{";

/// One thing to be tried.
pub(super) struct Trial {
    object: String,
    subject: String,
    how: How,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// A request to the API that cannot be understood.
    Ask,
    /// A message that no stream takes.
    Send,
    Listen,
}

impl Handle {
    /// The subjects of what is planned.
    pub(super) fn subjects(&self, plan: &Plan, client: &Client) -> Vec<Trial> {
        let mut trials = vec![
            trial("replies", &format!("{}.*", self.waiting.inbox()), How::Listen),
            trial("JetStream API", &client.api_subject("INFO"), How::Ask),
        ];
        for served in &plan.services {
            let queue = &served.queue.name;
            let object = format!("queue {queue}");
            let stream = self.names.queue_stream(queue);
            let asked = [
                format!("STREAM.INFO.{stream}"),
                format!("STREAM.CREATE.{stream}"),
                format!("CONSUMER.INFO.{stream}.{WORKERS}"),
                format!("CONSUMER.DURABLE.CREATE.{stream}.{WORKERS}"),
                format!("CONSUMER.MSG.NEXT.{stream}.{WORKERS}"),
            ];
            trials.extend(asked.iter().map(|what| trial(&object, &client.api_subject(what), How::Ask)));
            trials.push(trial(&object, &format!("$JS.ACK.{stream}.{WORKERS}.polybus"), How::Ask));
            trials.push(trial(&object, &self.names.queue_subject(queue), How::Send));
            let dead = self.names.dead_subject(&Intake::Queue(queue.clone()));
            trials.extend(dead.map(|dead| trial(&format!("dead letters of {object}"), &dead, How::Send)));
            trials.push(trial(&object, &self.names.serve_subject(queue), How::Listen));
        }
        for topic in &plan.topics {
            let object = format!("topic {}", topic.name);
            trials.push(trial(&object, &self.names.topic_subject(&topic.name), How::Listen));
        }
        trials
    }
}

fn trial(object: &str, subject: &str, how: How) -> Trial {
    Trial { object: object.to_owned(), subject: subject.to_owned(), how }
}

/// Tries all of them on this connection, and listens to what the server has to say.
pub(super) async fn look(client: Client, trials: &[Trial], found: &mut Findings) {
    for trial in trials {
        match trial.how {
            How::Ask => client.try_publish(&trial.subject, NONSENSE, None).await,
            How::Send => client.try_publish(&trial.subject, "", Some(NO_STREAM)).await,
            How::Listen => client.try_subscribe(&trial.subject).await,
        }
    }
    let complaints = client.last_complaints().await;
    let refused = trials.iter().filter_map(|trial| {
        let (verb, diagnosis) = match trial.how {
            How::Listen => ("Subscription", &PERMISSION_SUBSCRIBE),
            _ => ("Publish", &PERMISSION_PUBLISH),
        };
        let said = format!("Permissions Violation for {verb} to \"{}\"", trial.subject);
        complaints
            .iter()
            .find(|complaint| complaint.to_ascii_lowercase().contains(&said.to_ascii_lowercase()))
            .map(|_| diagnosis.found(trial.object.clone(), format!("the server refuses {}", trial.subject)))
    });
    let refused: Vec<_> = refused.collect();
    if refused.is_empty() {
        found.push(PERMISSION_PUBLISH.fine("server", "everything that is planned may be sent"));
        found.push(PERMISSION_SUBSCRIBE.fine("server", "everything that is planned may be heard"));
    }
    found.extend(refused);
}
