//! Settling and renewing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use polybus_contract::{Hold, Operation, Outcome, Result, Settling};
use tokio::time::{Instant, timeout};

use crate::consume::Reader;
use crate::error::{LOST, stale, unknown, unreadable};
use crate::wire::frame::{Packet, kind};
use crate::wire::verbs::{OutcomeLine, RenewHeader, RenewedHeader, SettleHeader};

/// How long an answer to a settle or a renewal is waited for.
const WITHIN: Duration = Duration::from_secs(30);

/// The bus's side of one delivery.
pub(crate) struct Held {
    pub(crate) reader: Arc<Reader>,
    pub(crate) delivery: u64,
    /// In which of the broker's sessions with this client it was handed out.
    pub(crate) session: u64,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("intake", &self.reader.intake).finish_non_exhaustive()
    }
}

impl Held {
    fn is_stale(&self) -> bool {
        self.session != self.reader.handle.switch.session()
    }
}

#[async_trait]
impl Hold for Held {
    fn settle(self: Arc<Self>, outcome: Outcome) -> Settling {
        let handle = &self.reader.handle;
        let intake = self.reader.intake.clone();
        if self.is_stale() || handle.is_closed() {
            self.reader.let_go(self.delivery);
            return Settling::done(Err(stale(Operation::Settle).with_target(intake)));
        }
        let (line, body) = OutcomeLine::of(outcome);
        let header = SettleHeader { delivery: self.delivery, outcome: line };
        let mut packet = Packet::new(kind::SETTLE, handle.switch.number(), &header);
        packet.body = body;
        let told = handle.switch.settle(self.delivery, packet);
        // Behind the settle: a drain that sees nothing in hand finds this under way.
        self.reader.let_go(self.delivery);
        Settling::waiting(async move {
            let answer = match timeout(WITHIN, told).await {
                Ok(Ok(answer)) => answer.map(|_| ()),
                Ok(Err(_)) => Err(unknown(Operation::Settle, LOST)),
                Err(_) => Err(unknown(Operation::Settle, "the broker did not answer in time")),
            };
            answer.map_err(|error| if error.target().is_none() { error.with_target(intake) } else { error })
        })
    }

    async fn renew(&self) -> Result<Option<Duration>> {
        let handle = &self.reader.handle;
        let packet = |number| Packet::new(kind::RENEW, number, &RenewHeader { delivery: self.delivery });
        if self.is_stale() {
            return Err(stale(Operation::Renew).with_target(&self.reader.intake));
        }
        let answer = handle.ask(packet, Operation::Renew, Instant::now() + WITHIN).await;
        let answer = answer.map_err(|error| error.with_target(&self.reader.intake))?;
        let header: RenewedHeader = answer.read().map_err(|fault| unreadable(Operation::Renew, fault))?;
        Ok(header.lease_ms.map(Duration::from_millis))
    }
}
