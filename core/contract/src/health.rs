//! Health: per subscription, not per connection.

use std::time::Duration;

/// The state of the link to the bus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Link {
    /// Not connected yet.
    #[default]
    Idle,
    /// Connected.
    Up,
    /// Connected, and the bus holds publishers back.
    Blocked,
    /// Not connected.
    Down {
        /// For how long.
        since: Duration,
        /// Why, as far as known. No secrets.
        reason: String,
    },
    /// Drained or closed.
    Closed,
}

/// The state of one consumer or subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscriptionState {
    /// It receives, or nothing waits.
    Live,
    /// Connected, messages wait, credit is there, and nothing flows (J7).
    Stalled(Duration),
    /// Not live, for this long.
    Down(Duration),
}

/// One consumer or subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionHealth {
    /// What it reads.
    pub intake: String,
    /// The label it was given.
    pub label: String,
    /// Its state.
    pub state: SubscriptionState,
    /// Deliveries out and unsettled.
    pub in_hand: u32,
    /// Arrivals since it began.
    pub arrived: u64,
}

/// What was dropped or refused since the bus began: nothing is dropped without a count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Replies that came after their caller had gone.
    pub late_replies: u64,
    /// Messages that subscribers missed.
    pub missed: u64,
    /// Dead letters that fell out of their bound.
    pub dead_dropped: u64,
    /// Messages dropped at a bound with [`Overflow::DropOldest`](crate::Overflow::DropOldest).
    pub overflowed: u64,
    /// Expired messages that were dropped.
    pub expired: u64,
    /// Requests that wait for a reply now.
    pub pending_requests: u64,
}

/// How the bus is, now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The link.
    pub link: Link,
    /// Every consumer and subscription of this handle.
    pub subscriptions: Vec<SubscriptionHealth>,
    /// Counts.
    pub counters: Counters,
    /// What connecting found and whoever runs the program should know, one line each: what was kept of a damaged journal,
    /// for example, and what was not. Programs show it once. No secrets.
    pub notes: Vec<String>,
}

impl Health {
    /// Whether the link is up and every subscription live.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self.link, Link::Up | Link::Blocked)
            && self.subscriptions.iter().all(|subscription| subscription.state == SubscriptionState::Live)
    }
}
