//! Who may use a broker.

use std::fmt;
use std::iter::repeat_with;

/// Somebody with a user, a password, and a part of the broker: a virtual host of RabbitMQ, an account of NATS.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Tenant {
    pub(crate) name: String,
    pub(crate) password: String,
}

impl Tenant {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), password: secret() }
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tenant({})", self.name)
    }
}

/// A word that no other run has.
pub(crate) fn secret() -> String {
    repeat_with(fastrand::alphanumeric).take(24).collect()
}
