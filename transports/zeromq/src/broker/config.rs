//! What a broker is made with.

use std::time::Duration;

use polybus_contract::Result;

use super::identity::Identities;
use crate::socket::{Place, wrong};

/// What a broker is made with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BrokerConfig {
    /// Where it listens; at least one.
    pub listen: Vec<Place>,
    /// Its name: with it a reply address is known to be of this broker, also after a restart. Default `polybus`.
    pub name: String,
    /// Who may do what; `None`: everybody everything, on this machine only.
    pub identities: Option<Identities>,
    /// How often something is said at least; who is silent for three times as long is gone. Default 2 s.
    pub heartbeat: Duration,
    /// Connections at most, and so many clients that are away are kept. Default 1,024.
    pub max_clients: usize,
    /// How long what a client has in hand is kept for it to come back, unless too many are away. Default 30 s.
    pub resume: Duration,
    /// How long opening the bus may take. Default 60 s.
    pub open_within: Duration,
}

impl BrokerConfig {
    /// A broker that listens there.
    #[must_use]
    pub fn new(listen: Vec<Place>) -> Self {
        Self {
            listen,
            name: "polybus".to_owned(),
            identities: None,
            heartbeat: Duration::from_secs(2),
            max_clients: 1024,
            resume: Duration::from_secs(30),
            open_within: Duration::from_mins(1),
        }
    }

    /// Sets [`BrokerConfig::name`].
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets [`BrokerConfig::identities`].
    #[must_use]
    pub fn with_identities(mut self, identities: impl Into<Option<Identities>>) -> Self {
        self.identities = identities.into();
        self
    }

    /// Sets [`BrokerConfig::heartbeat`].
    #[must_use]
    pub const fn with_heartbeat(mut self, heartbeat: Duration) -> Self {
        self.heartbeat = heartbeat;
        self
    }

    /// Sets [`BrokerConfig::max_clients`].
    #[must_use]
    pub const fn with_max_clients(mut self, max_clients: usize) -> Self {
        self.max_clients = max_clients;
        self
    }

    /// Sets [`BrokerConfig::resume`].
    #[must_use]
    pub const fn with_resume(mut self, resume: Duration) -> Self {
        self.resume = resume;
        self
    }

    /// Refuses what does not go together.
    pub(crate) fn check(&self) -> Result<()> {
        if self.listen.is_empty() {
            return Err(wrong("listen", "a broker listens somewhere"));
        }
        if let Some(place) = self.listen.iter().find(|place| !place.is_local())
            && self.identities.is_none()
        {
            let why =
                "others than this machine can reach it: name a file of identities, or listen on 127.0.0.1";
            return Err(wrong(&place.to_string(), why));
        }
        if self.heartbeat < Duration::from_millis(100) || self.heartbeat > Duration::from_mins(5) {
            return Err(wrong("heartbeat", "it is from 0.1 to 300 seconds"));
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        if self.name.is_empty() || self.name.len() > 60 || !self.name.bytes().all(plain) {
            return Err(wrong(&self.name, "a name has 1 to 60 letters, digits, '_', '-' and '.'"));
        }
        if self.max_clients == 0 {
            return Err(wrong("max_clients", "it is at least 1"));
        }
        Ok(())
    }
}
