//! Checked deliveries: settlement outcomes the bus does not declare are refused without losing the message.

use std::borrow::Cow;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;

use super::gate::Gate;
use crate::capability::Feature;
use crate::delivery::Delivery;
use crate::error::{Operation, Result};
use crate::incoming::{Arrival, End, Incoming, Source};
use crate::settle::{Hold, Keep, Outcome, Settling};
use crate::transport::Profile;

/// Checks settlement only where the bus lacks something: a fully able bus pays nothing per delivery.
pub(super) fn checked_deliveries(incoming: Incoming<Delivery>, profile: &Profile) -> Incoming<Delivery> {
    let capability = profile.capability;
    let able = [Feature::RetryDelay, Feature::DeadLetters, Feature::SetCredit];
    if able.into_iter().all(|feature| capability.has(feature)) {
        return incoming;
    }
    let (source, end) = incoming.into_source();
    let gate = Arc::new(Gate::new(Cow::Owned(profile.clone()), Operation::Settle));
    Incoming::new(CheckedSource { source, end, gate })
}

#[derive(Debug)]
struct CheckedSource {
    source: Box<dyn Source<Delivery>>,
    end: Option<End>,
    gate: Arc<Gate<'static>>,
}

impl Source<Delivery> for CheckedSource {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Arrival<Delivery>, End>> {
        if let Some(end) = self.end.take() {
            return Poll::Ready(Err(end));
        }
        self.source.poll_next(context).map_ok(|arrival| match arrival {
            Arrival::Item(delivery) => Arrival::Item(checked(delivery, &self.gate)),
            gap @ Arrival::Gap(_) => gap,
        })
    }

    fn set_credit(&mut self, credit: u32) -> Result<()> {
        self.gate.need(Feature::SetCredit)?;
        self.source.set_credit(credit)
    }

    fn stop(&mut self) {
        self.source.stop();
    }
}

fn checked(delivery: Delivery, gate: &Arc<Gate<'static>>) -> Delivery {
    let (message, queue, attempt, terms, hold) = delivery.into_parts();
    let hold = Arc::new(CheckedHold { hold, gate: gate.clone() });
    Delivery::new(message, queue, attempt, terms, hold)
}

#[derive(Debug)]
struct CheckedHold {
    hold: Option<Arc<dyn Hold>>,
    gate: Arc<Gate<'static>>,
}

impl CheckedHold {
    fn allowed(&self, outcome: &Outcome) -> Result<()> {
        match outcome {
            Outcome::Retry { after, .. } if !after.is_zero() => self.gate.need(Feature::RetryDelay),
            Outcome::Reject { keep: Keep::Body | Keep::Substitute(_), .. } => {
                self.gate.need(Feature::DeadLetters)
            }
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Hold for CheckedHold {
    fn settle(self: Arc<Self>, outcome: Outcome) -> Settling {
        let Some(hold) = self.hold.clone() else { return Settling::done(Ok(())) };
        match self.allowed(&outcome) {
            Ok(()) => hold.settle(outcome),
            Err(refusal) => {
                // The delivery is consumed already: give it back first, or the refusal would lose it.
                drop(hold.settle(Outcome::Release));
                Settling::done(Err(refusal))
            }
        }
    }

    async fn renew(&self) -> Result<Option<Duration>> {
        match &self.hold {
            Some(hold) if self.gate.has_lease() => hold.renew().await,
            _ => Ok(None),
        }
    }
}
