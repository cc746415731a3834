//! A look over the broker for what bites. It uses a connection of its own and changes nothing.

use std::sync::Arc;
use std::time::Duration;

use polybus_contract::{Admin, Durability, Finding, Intake, Kind, Link, Plan, Served, Transport};

use crate::ZeroMq;
use crate::connection::{self, Handle};

polybus_contract::diagnoses! {
    NOT_ENCRYPTED: Warning "not-encrypted",
        "whoever is on the way reads every message and can change it; the secret stays secret, the messages do not",
        "put a tunnel between the machines: WireGuard, stunnel, or ssh -L 5570:127.0.0.1:5570";
    BROKER_VOLATILE: Warning "broker-volatile",
        "the broker keeps no journal: what waits is gone when it stops, though its sender was told that it is there",
        "start it with polybus broker --journal DIR; durable = false says that this is wanted";
    BROKER_BLOCKED: Fault "broker-blocked",
        "the journal takes no messages for want of room: senders are refused or wait",
        "free room on the disk of the journal, or let workers empty the queues";
    BROKER_FAILED: Fault "broker-failed",
        "the journal cannot be written any longer: nothing is confirmed or settled until the broker is started again",
        "see to the disk that the reason names, then start the broker again";
    MESSAGE_LIMIT: Warning "message-limit",
        "a larger message is refused, and its sender gets an error; only between clients and workers of Polybus does what exceeds it travel in parts",
        "start the broker with a larger --max-message, or state what it takes with max_bytes";
    RIGHTS_MISSING: Fault "rights-missing",
        "the broker refuses this user at this queue",
        "add the queue to \"serve\", or to \"desk\" for figures, of this user in the broker's file of identities";
    DEAD_LETTERS_WAITING: Notice "dead-letters-waiting",
        "requests that nobody could serve wait for somebody to look at them; beyond the bound the oldest are dropped",
        "polybus dead list QUEUE, then redrive or purge them";
}

/// How long the look may take to connect.
const WITHIN: Duration = Duration::from_secs(5);

/// Looks over the broker; without a connection it finds nothing.
pub(crate) async fn examine(handle: &Arc<Handle>, plan: &Plan) -> Vec<Finding> {
    let look = ZeroMq { handle: connection::open(handle.config.clone()) };
    let mut found = Vec::new();
    if look.connect(WITHIN).await.is_ok() {
        look_at_link(&look, &mut found);
        look_at_broker(&look, plan, &mut found);
        for served in &plan.services {
            look_at_queue(&look, served, &mut found).await;
        }
    }
    look.drain(Duration::from_millis(500)).await;
    found
}

fn look_at_link(look: &ZeroMq, found: &mut Vec<Finding>) {
    let place = &look.handle.config.place;
    found.push(if place.is_local() {
        NOT_ENCRYPTED.fine(place.to_string(), "it does not leave this machine")
    } else {
        NOT_ENCRYPTED.found(place.to_string(), "the connection is in the clear")
    });
}

fn look_at_broker(look: &ZeroMq, plan: &Plan, found: &mut Vec<Finding>) {
    let profile = look.handle.profile();
    let broker = profile.instance.to_string();
    found.push(match profile.capability.durability() {
        Durability::Volatile => BROKER_VOLATILE.found(&*broker, "no journal"),
        durability => BROKER_VOLATILE.fine(&*broker, format!("a journal: {durability}")),
    });
    found.push(match look.handle.health().link {
        Link::Blocked => BROKER_BLOCKED.found(&*broker, "the journal is full"),
        Link::Down { reason, .. } => BROKER_FAILED.found(&*broker, reason),
        _ => BROKER_BLOCKED.fine(&*broker, "it takes messages"),
    });
    let limit = profile.capability.max_message.unwrap_or(u64::MAX);
    for served in &plan.services {
        let Some(size) = served.message_size.filter(|_| served.size_stated) else { continue };
        let seen = format!("{limit} bytes, {size} are wanted");
        let finding = if size > limit {
            MESSAGE_LIMIT.found(&*broker, seen)
        } else {
            MESSAGE_LIMIT.fine(&*broker, seen)
        };
        found.push(finding.with_services([served.name.clone()]));
    }
}

async fn look_at_queue(look: &ZeroMq, served: &Served, found: &mut Vec<Finding>) {
    let object = format!("queue {}", served.queue.name);
    let services = [served.name.clone()];
    match look.inspect(&Intake::Queue(served.queue.name.clone())).await {
        Ok(info) => {
            let dead = info.dead.unwrap_or(0);
            let seen = format!("{dead} dead letters");
            let finding = if dead > 0 {
                DEAD_LETTERS_WAITING.found(object, seen)
            } else {
                DEAD_LETTERS_WAITING.fine(object, seen)
            };
            found.push(finding.with_services(services));
        }
        Err(error) if error.kind() == Kind::Unauthorized => {
            let seen = "figures of it are not for this user";
            found.push(DEAD_LETTERS_WAITING.unknown(&*object, seen).with_services(services.clone()));
            found.push(RIGHTS_MISSING.unknown(object, seen).with_services(services));
        }
        // A queue that is not there yet is made when it is served.
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_unique() {
        let mut codes: Vec<_> = DIAGNOSES.iter().map(|diagnosis| diagnosis.code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), DIAGNOSES.len());
    }
}
