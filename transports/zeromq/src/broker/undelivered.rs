//! What was sent with the number 0 and failed: nobody is answered, so it is counted.

use std::sync::atomic::{AtomicU64, Ordering};

use polybus_contract::Kind;
use serde::Serialize;

use crate::wire::verbs::InfoHeader;

/// Publishes and replies that failed without an answer, by why.
#[derive(Debug, Default)]
pub(super) struct Undelivered {
    pub(super) full: AtomicU64,
    pub(super) unroutable: AtomicU64,
    pub(super) unauthorized: AtomicU64,
    pub(super) other: AtomicU64,
}

impl Undelivered {
    pub(super) fn count(&self, kind: Kind) {
        let count = match kind {
            Kind::Full => &self.full,
            Kind::Unroutable | Kind::NoResponder | Kind::NotFound => &self.unroutable,
            Kind::Unauthorized => &self.unauthorized,
            _ => &self.other,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// How the broker is, and what it could not do for this client.
#[derive(Debug, Serialize)]
pub(super) struct ToldHeader<'a> {
    #[serde(flatten)]
    pub(super) info: &'a InfoHeader,
    pub(super) undelivered: u64,
}
