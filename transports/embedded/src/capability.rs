//! What the embedded bus can do.

use std::path::PathBuf;

use polybus_contract::{AttemptGrade, Capability, Durability, Fidelity, LeaseGrade, Profile, SettleGrade};

use crate::config::{Config, Sync};

/// The most an embedded bus can do, with the default options: that of one with a journal.
///
/// Without a directory everything is in memory: its durability is [`Durability::Volatile`], and attempts are
/// forgotten with the messages they belong to. With one it is [`Durability::Disk`], or [`Durability::Process`] where
/// the journal is only synced from time to time. Large bodies lie in files, beside the journal or nameless.
#[must_use]
pub fn capability() -> Capability {
    of(&Config { directory: Some(PathBuf::new()), ..Config::default() })
}

/// What a confirmed message survives.
pub(crate) const fn durability(config: &Config) -> Durability {
    match (&config.directory, config.sync) {
        (None, _) => Durability::Volatile,
        (Some(_), Sync::Always) => Durability::Disk,
        (Some(_), Sync::Every(_)) => Durability::Process,
    }
}

pub(crate) fn of(config: &Config) -> Capability {
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
        attempts: if config.directory.is_some() { AttemptGrade::Counted } else { AttemptGrade::Volatile },
        lease: LeaseGrade::Timed,
        lease_limit: None,
        max_message: Some(config.max_message),
        max_priority: u8::MAX,
        dedup_window: config.dedup_window,
        ..Capability::default().surviving(durability(config))
    }
}

/// Messages are kept as they are, so every property is carried.
pub(crate) fn profile(config: &Config, instance: &str) -> Profile {
    Profile::new(crate::config::SCHEME, instance, of(config), Fidelity::all())
}
