//! What a bus behind a broker can do.

use std::time::Duration;

use polybus_contract::{AttemptGrade, Capability, Durability, Fidelity, LeaseGrade, Profile, SettleGrade};

use crate::wire::BUS;

/// The most that a broker can do: one with a journal that is synced before anything is confirmed.
///
/// Without a journal nothing survives the broker, and attempts are forgotten with it. A repeated send is recognised only by a
/// broker that was started for it, and the largest message may be another one.
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
        max_message: Some(16 << 20),
        max_priority: u8::MAX,
        dedup_window: None,
        ..Capability::default().surviving(Durability::Disk)
    }
}

/// Before the broker is known, which may take larger messages and recognise repeated sends.
pub(crate) fn before(instance: &str) -> Profile {
    let most = Capability { max_message: None, dedup_window: Some(Duration::MAX), ..capability() };
    Profile::new(BUS, instance, most, Fidelity::all())
}
