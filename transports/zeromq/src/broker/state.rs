//! What one client has at the broker, which outlives its connection for a while.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use polybus_contract::{Checked, Delivery, Lease, LeaseTerms, Outcome, Transport};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::time::Instant;

use super::feed::{Control, Feed};
use super::hand::Hand;
use super::identity::Rights;
use super::large::Large;

/// A delivery in the hands of the client.
pub(super) struct InHand {
    pub(super) delivery: Delivery,
    pub(super) lease: Lease,
    /// The stream it was delivered on.
    pub(super) stream: u64,
    /// When its lease ends by our clock.
    until: Option<Instant>,
    /// Whose credit it counts for.
    control: Arc<Control>,
}

pub(super) struct State {
    pub(super) bus: Arc<dyn Transport>,
    /// The same behind the always-on checks.
    pub(super) checked: Arc<Checked>,
    pub(super) user: Option<Arc<str>>,
    pub(super) rights: Arc<Rights>,
    pub(super) deliveries: FxHashMap<u64, InHand>,
    /// How much these are.
    pub(super) hand: Arc<Hand>,
    last_delivery: u64,
    /// What it sent without asking for an answer, and that failed.
    pub(super) undelivered: u64,
    pub(super) large: Large,
    /// Streams of replies while there is no connection.
    pub(super) replies: Vec<Feed>,
}

impl State {
    pub(super) fn new(
        bus: Arc<dyn Transport>,
        user: Option<Arc<str>>,
        rights: Arc<Rights>,
        abandoned: Arc<AtomicU64>,
    ) -> Self {
        Self {
            checked: Arc::new(Checked::new(bus.clone())),
            large: Large::new(bus.parts(), abandoned),
            bus,
            user,
            rights,
            deliveries: FxHashMap::default(),
            hand: Arc::default(),
            last_delivery: 0,
            undelivered: 0,
            replies: Vec::new(),
        }
    }

    /// Notes a delivery that is handed out, and says its number and its lease.
    pub(super) fn hand_out(
        &mut self,
        delivery: Delivery,
        stream: u64,
        control: Arc<Control>,
    ) -> (u64, Option<Duration>) {
        self.last_delivery += 1;
        let term = term(delivery.terms());
        let until = term.and_then(|term| Instant::now().checked_add(term));
        let lease = delivery.lease();
        self.hand.take(delivery.message().size());
        let in_hand = InHand { delivery, lease, stream, until, control };
        self.deliveries.insert(self.last_delivery, in_hand);
        (self.last_delivery, term)
    }

    /// Takes a delivery out of the client's hands.
    pub(super) fn take(&mut self, number: u64) -> Option<Delivery> {
        let in_hand = self.deliveries.remove(&number)?;
        in_hand.control.let_go();
        self.hand.give_back(in_hand.delivery.message().size());
        Some(in_hand.delivery)
    }

    pub(super) fn renewed(&mut self, number: u64, term: Option<Duration>) {
        if let Some(in_hand) = self.deliveries.get_mut(&number) {
            in_hand.until = term.and_then(|term| Instant::now().checked_add(term));
        }
    }

    /// Forgets deliveries whose lease is over: somebody else has them, and a client that settles nothing must not fill the
    /// memory.
    pub(super) fn forget_stale(&mut self, margin: Duration) {
        let now = Instant::now();
        let is_over = |in_hand: &InHand| in_hand.until.is_some_and(|until| until + margin < now);
        let over: Vec<_> = self
            .deliveries
            .iter()
            .filter(|(_, in_hand)| is_over(in_hand))
            .map(|(number, _)| *number)
            .collect();
        for number in over {
            drop(self.take(number));
        }
    }

    /// The client says what it still has: what nobody there has seen goes back uncounted.
    pub(super) fn keep_only(&mut self, holding: &[u64]) {
        let holding: FxHashSet<u64> = holding.iter().copied().collect();
        let unseen: Vec<_> =
            self.deliveries.keys().filter(|number| !holding.contains(number)).copied().collect();
        for number in unseen {
            if let Some(delivery) = self.take(number) {
                drop(delivery.settle(Outcome::Release));
            }
        }
    }

    /// Those of a stream that were handed out before its client came back count for its credit.
    pub(super) fn carry(&mut self, stream: u64, control: &Arc<Control>) {
        let of_stream = self.deliveries.values_mut().filter(|in_hand| in_hand.stream == stream);
        for in_hand in of_stream {
            in_hand.control = control.clone();
        }
    }

    pub(super) fn held_of(&self, stream: u64) -> u32 {
        let count = self.deliveries.values().filter(|in_hand| in_hand.stream == stream).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

const fn term(terms: LeaseTerms) -> Option<Duration> {
    match terms {
        LeaseTerms::Timed(term) => Some(term),
        LeaseTerms::Connection => None,
    }
}
