//! What NATS can do.

use polybus_contract::{AttemptGrade, Capability, Fidelity, LeaseGrade, Profile, Property, SettleGrade};

use crate::config::{Config, Storage};

/// What the server's largest payload must hold beside a body and its properties: the names of our headers, and the
/// death of a dead letter.
pub(crate) const HEADROOM: u64 = 4096;

/// The most NATS can do: with JetStream, in a cluster.
///
/// A server without JetStream gives topics and scatter requests only. What a confirmed message survives depends on
/// `storage` and `replicas`: files survive a kill of the servers ([`Process`](polybus_contract::Durability::Process)), several replicas the loss of one
/// ([`Replicated`](polybus_contract::Durability::Replicated)). Neither survives the loss of power, of all servers at once, for they sync their files
/// later, unless `sync=always` says that these do not. Attempts are counted by the
/// server, which writes them down behind the hand-out: after a crash they may be too low
/// ([`AttemptGrade::Volatile`]). It acknowledges a settle before that is in its files: after a kill of the server a
/// message may come back although its settle was acknowledged ([`SettleGrade::Sent`]). A release counts as an attempt. Large bodies lie in a
/// stream of their own. Priorities and delayed sends are not offered. A reply is sent and not confirmed.
#[must_use]
pub fn capability() -> Capability {
    of(&Config { replicas: 3, ..Config::default() })
}

/// This capability with queues that survive what such a stream survives.
pub(crate) const fn surviving(of: Capability, replicas: u8, in_file: bool, synced: bool) -> Capability {
    Capability {
        durability_process: in_file,
        durability_disk: in_file && synced,
        durability_replicated: replicas > 1,
        ..of
    }
}

/// With a configuration, before the server is known.
pub(crate) fn of(config: &Config) -> Capability {
    let can = Capability {
        queue: true,
        confirm: true,
        retry_delay: true,
        dead_letters: true,
        set_credit: true,
        expiry: true,
        sender_order: true,
        topic_group: true,
        topic_confirm: true,
        gap_count: true,
        no_responder: true,
        large_body: true,
        inspect: true,
        browse_ready: true,
        browse_dead: true,
        purge: true,
        redrive: true,
        remove: true,
        settle: SettleGrade::Sent,
        attempts: AttemptGrade::Volatile,
        lease: LeaseGrade::Timed,
        dedup_window: Some(config.dedup_window),
        ..core()
    };
    surviving(can, config.replicas, config.storage == Storage::File, config.synced)
}

/// Without JetStream.
fn core() -> Capability {
    Capability {
        topic: true,
        live_subscribe: true,
        request: true,
        reply_stream: true,
        scatter: true,
        ..Capability::default()
    }
}

/// On a server that takes so many bytes, with or without JetStream.
pub(crate) fn on(config: &Config, max_payload: u64, jetstream: bool) -> Capability {
    let max_message = Some(max_payload.saturating_sub(HEADROOM));
    if jetstream {
        return Capability { max_message, ..of(config) };
    }
    Capability { max_message, gap_count: true, ..core() }
}

/// Nobody proves who sent a message.
pub(crate) fn profile(instance: &str, capability: Capability) -> Profile {
    Profile::new(crate::config::SCHEME, instance, capability, Fidelity::all().without(Property::Sender))
}
