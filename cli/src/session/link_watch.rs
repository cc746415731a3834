//! What people are told about a connection that comes and goes.

use std::time::Duration;

use polybus::log::Level;
use polybus::{Bus, Link};

use crate::console::Notices;

/// A bus that cannot tell of changes is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Tells of a connection that is lost, and of its return, on standard error, once each.
pub(crate) struct LinkWatch {
    notices: Notices,
    down: bool,
    blocked: bool,
}

impl LinkWatch {
    pub(crate) fn new(notices: &Notices) -> Self {
        Self { notices: notices.clone(), down: false, blocked: false }
    }

    /// Watches for ever. Cancel safe.
    pub(crate) async fn watch(mut self, bus: Bus) {
        loop {
            self.look(&bus);
            self.changed(&bus).await;
        }
    }

    /// Returns when another look is worth it. Cancel safe.
    pub(crate) async fn changed(&self, bus: &Bus) {
        let _looked = tokio::time::timeout(LOOK_EVERY, bus.transport().health_changed()).await;
    }

    /// Looks once.
    pub(crate) fn look(&mut self, bus: &Bus) {
        let link = bus.transport().health().link;
        match &link {
            Link::Down { reason, .. } if !self.down => {
                self.down = true;
                self.tell(&format!("the connection to {bus} is lost: {reason}; reconnecting"));
            }
            Link::Up | Link::Blocked if self.down => {
                self.down = false;
                self.tell(&format!("connected to {bus} again"));
            }
            _ => {}
        }
        let blocked = link == Link::Blocked;
        if blocked != self.blocked && matches!(link, Link::Up | Link::Blocked) {
            self.blocked = blocked;
            let word = if blocked { "holds publishers back" } else { "takes messages again" };
            self.tell(&format!("the bus {bus} {word}"));
        }
    }

    fn tell(&self, text: &str) {
        self.notices.log(Level::Warning, text);
    }
}
