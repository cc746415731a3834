//! What the owner of a broker can do to it.

use std::sync::Arc;

use async_trait::async_trait;
use polybus_brokers::{Broker, Product};
use polybus_contract::{Error, Kind, Name, Operation, Result};
use polybus_kit::{Fault, Faults};

/// Kills, stops, pauses, fills and stalls a broker.
pub(crate) struct Harm(Arc<Broker>);

impl Harm {
    pub(crate) const CAN: [Fault; 9] = [
        Fault::Kill,
        Fault::Stop,
        Fault::Start,
        Fault::Pause,
        Fault::Resume,
        Fault::Fill,
        Fault::Relieve,
        Fault::Stall,
        Fault::Flow,
    ];

    pub(crate) const fn new(broker: Arc<Broker>) -> Self {
        Self(broker)
    }
}

/// What stood in the way of a fault.
pub(crate) fn failed(what: &str, why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Disconnected, Operation::Connect).with_detail(format!("{what}: {why}"))
}

#[async_trait]
impl Faults for Harm {
    fn can(&self, fault: Fault) -> bool {
        let stalls = matches!(fault, Fault::Stall | Fault::Flow);
        Self::CAN.contains(&fault) && (!stalls || self.0.kind().product() == Product::RabbitMq)
    }

    async fn inject(&self, fault: Fault) -> Result<()> {
        let done = match fault {
            Fault::Kill => self.0.kill().await,
            Fault::Stop => self.0.stop().await,
            Fault::Start => self.0.restart().await,
            Fault::Pause => self.0.pause().await,
            Fault::Resume => self.0.resume().await,
            Fault::Fill => self.0.fill().await,
            Fault::Relieve => self.0.relieve().await,
            Fault::Stall => self.0.stall().await,
            Fault::Flow => self.0.flow().await,
            _ => return Err(failed(fault.name(), "not among what the owner of a broker can do")),
        };
        done.map_err(|error| failed(fault.name(), error))
    }

    async fn write_foreign(&self, _queue: &Name, _bytes: &[u8]) -> Result<()> {
        Err(failed("foreign", "not among what the owner of a broker can do"))
    }
}
