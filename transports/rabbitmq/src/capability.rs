//! What `RabbitMQ` can do, as this transport uses it.

use std::time::Duration;

use polybus_contract::{
    AttemptGrade, Capability, Durability, Fidelity, LeaseGrade, Profile, Property, SettleGrade,
};

use crate::config::{Config, ReplyVia};

/// The highest priority that has an effect: what the broker recommends at most.
pub(crate) const MAX_PRIORITY: u8 = 9;

/// The longest time a delivery may stay unsettled: the broker's `consumer_timeout`, which cannot be read over AMQP. It
/// is assumed to be its default, 30 minutes.
const CONSUMER_TIMEOUT: Duration = Duration::from_mins(30);

/// The most a `RabbitMQ` broker can do: a cluster, with a reply queue.
///
/// Not offered, because the broker has no means for it: timed leases (a delivery is kept as long as its connection
/// lives), confirmed settles (an ack has no answer), giving back without counting, a look at waiting messages (it would
/// count as an attempt), and recognising a repeated send. Large bodies lie in a queue of their own each.
#[must_use]
pub fn capability() -> Capability {
    of(&Config { replicas: 3, ..Config::default() })
}

pub(crate) fn of(config: &Config) -> Capability {
    Capability {
        queue: true,
        confirm: true,
        retry_delay: true,
        send_delay: true,
        dead_letters: true,
        priority: true,
        expiry: true,
        sender_order: true,
        topic: true,
        topic_group: true,
        topic_confirm: true,
        gap_count: true,
        live_subscribe: true,
        request: true,
        no_responder: true,
        reply_confirm: config.reply != ReplyVia::Direct,
        reply_stream: true,
        scatter: true,
        large_body: true,
        inspect: true,
        browse_dead: true,
        purge: true,
        redrive: true,
        remove: true,
        settle: SettleGrade::Sent,
        attempts: AttemptGrade::Counted,
        lease: LeaseGrade::Connection,
        lease_limit: Some(CONSUMER_TIMEOUT),
        max_message: Some(config.max_message),
        max_priority: MAX_PRIORITY,
        // A quorum queue confirms what is on the disks of most of its members.
        ..Capability::default().surviving(if config.replicas > 1 {
            Durability::Replicated
        } else {
            Durability::Disk
        })
    }
}

/// Who sent a message is proven by the broker and cannot be said by a sender.
pub(crate) fn profile(config: &Config) -> Profile {
    let fidelity = Fidelity::all().without(Property::Sender);
    Profile::new("rabbitmq", config.address(), of(config), fidelity)
}
