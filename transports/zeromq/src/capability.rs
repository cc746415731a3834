//! What a bus behind a broker can do.

use std::time::Duration;

use polybus_contract::{
    AttemptGrade, Capability, Durability, Fidelity, LeaseGrade, Profile, SettleGrade,
};

use crate::wire::words::BUS;

/// The most that a broker can do: one with a journal that is synced before anything is confirmed.
///
/// Without a journal nothing survives the broker, and attempts are forgotten with it. Whether a repeated send is recognised,
/// and what the largest message is, the broker says.
#[must_use]
pub fn capability() -> Capability {
    Capability {
        queue: true,
        confirm: true,
        retry_delay: true,
        send_delay: true,
        dead_letters: true,
        uncounted_release: true,
        set_credit: true,
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
        reply_confirm: true,
        reply_stream: true,
        scatter: true,
        large_body: true,
        inspect: true,
        browse_ready: true,
        browse_dead: true,
        purge: true,
        redrive: true,
        remove: true,
        settle: SettleGrade::Confirmed,
        attempts: AttemptGrade::Counted,
        lease: LeaseGrade::Timed,
        lease_limit: None,
        max_message: None,
        max_priority: u8::MAX,
        dedup_window: Some(Duration::MAX),
        ..Capability::default().surviving(Durability::Disk)
    }
}

/// Before the broker is known.
pub(crate) fn before(instance: &str) -> Profile {
    Profile::new(BUS, instance, capability(), Fidelity::all())
}
