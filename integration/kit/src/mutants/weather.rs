//! Outages and alarms, simulated in front of a correct bus, so that mutants meet them too.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use polybus_contract::{
    ConsumeOptions, Declared, Delivery, Error, Feature, Health, Hold, Incoming, Intake, Kind, Link, Message,
    Name, Operation, Outcome, PublishOptions, Receipt, Reply, ReplyOptions, ReplyTo, RequestOptions, Result,
    Settling, Status, SubscribeOptions, Target, Topology,
};
use tokio::sync::watch;
use tokio::time::timeout;

use super::flaw::{Flaw, Inside};
use crate::faults::{Fault, Faults};

/// How it is out there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sky {
    #[default]
    Fair,
    /// Nothing reaches the bus; what it holds stays there.
    Down,
    /// It takes nothing more.
    Full,
}

/// Not a flaw: a bus that can be away, or full, and says so as it should.
#[derive(Debug, Default)]
pub(super) struct Weather {
    sky: watch::Sender<Sky>,
}

impl Weather {
    /// How long verbs without a bound of their own wait for the bus.
    const PATIENCE: Duration = Duration::from_secs(10);

    fn is(&self, sky: Sky) -> bool {
        *self.sky.borrow() == sky
    }

    async fn up(&self, within: Duration, operation: Operation) -> Result<()> {
        let mut sky = self.sky.subscribe();
        let reached = timeout(within, sky.wait_for(|sky| *sky != Sky::Down)).await;
        reached.map(|_| ()).map_err(|_| Error::new(Kind::Disconnected, operation))
    }
}

#[async_trait]
impl Flaw for Weather {
    async fn connect(&self, inside: &Inside, within: Duration) -> Result<()> {
        self.up(within, Operation::Connect).await?;
        inside.connect(within).await
    }

    async fn declare(&self, inside: &Inside, topology: &Topology) -> Result<Declared> {
        self.up(Self::PATIENCE, Operation::Declare).await?;
        inside.declare(topology).await
    }

    async fn publish(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: PublishOptions,
    ) -> Result<Receipt> {
        self.up(options.within, Operation::Publish).await?;
        if self.is(Sky::Full) {
            return Err(Error::new(Kind::Full, Operation::Publish).with_target(to));
        }
        inside.publish(to, message, options).await
    }

    async fn consume(
        &self,
        inside: &Inside,
        from: &Intake,
        options: ConsumeOptions,
    ) -> Result<Incoming<Delivery>> {
        self.up(Self::PATIENCE, Operation::Consume).await?;
        inside.consume(from, options).await
    }

    /// A settle that cannot reach the bus leaves the delivery to its lease. One that finds no room for a dead letter
    /// gives the original back.
    fn settle(&self, hold: Arc<dyn Hold>, outcome: Outcome) -> Settling {
        if self.is(Sky::Down) {
            let lost = Error::new(Kind::Disconnected, Operation::Settle).with_status(Status::Unknown);
            return Settling::done(Err(lost));
        }
        if self.is(Sky::Full) && matches!(outcome, Outcome::Reject { .. }) {
            drop(hold.settle(Outcome::Release));
            return Settling::done(Err(Error::new(Kind::Full, Operation::Settle)));
        }
        hold.settle(outcome)
    }

    async fn subscribe(
        &self,
        inside: &Inside,
        topic: &Name,
        options: SubscribeOptions,
    ) -> Result<Incoming<Message>> {
        self.up(Self::PATIENCE, Operation::Subscribe).await?;
        inside.subscribe(topic, options).await
    }

    async fn request(
        &self,
        inside: &Inside,
        to: &Target,
        message: Message,
        options: RequestOptions,
    ) -> Result<Incoming<Reply>> {
        self.up(Self::PATIENCE, Operation::Request).await?;
        inside.request(to, message, options).await
    }

    async fn reply(
        &self,
        inside: &Inside,
        to: &ReplyTo,
        message: Message,
        options: ReplyOptions,
    ) -> Result<Receipt> {
        self.up(options.within, Operation::Reply).await?;
        inside.reply(to, message, options).await
    }

    fn health(&self, mut honest: Health) -> Health {
        honest.link = match *self.sky.borrow() {
            Sky::Fair => honest.link,
            Sky::Down => Link::Down { since: Duration::ZERO, reason: "an outage".to_owned() },
            Sky::Full => Link::Blocked,
        };
        honest
    }
}

/// Who makes the weather.
pub(super) struct WeatherMaker(pub(super) Arc<Weather>);

#[async_trait]
impl Faults for WeatherMaker {
    fn can(&self, fault: Fault) -> bool {
        matches!(fault, Fault::Stop | Fault::Start | Fault::Fill | Fault::Relieve)
    }

    async fn inject(&self, fault: Fault) -> Result<()> {
        let sky = match fault {
            Fault::Stop => Sky::Down,
            Fault::Fill => Sky::Full,
            _ => Sky::Fair,
        };
        self.0.sky.send_replace(sky);
        Ok(())
    }

    async fn write_foreign(&self, _queue: &Name, _bytes: &[u8]) -> Result<()> {
        Err(Error::unsupported(Feature::Queue, Operation::Publish, "simulated weather"))
    }
}
