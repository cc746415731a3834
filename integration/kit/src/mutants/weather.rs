//! Outages and alarms, simulated in front of a correct bus, so that mutants meet them too.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use polybus_contract::{
    ConsumeOptions, Declared, Delivery, Durability, Error, Feature, Health, Hold, Incoming, Intake, Kind,
    Link, Message, Name, Operation, Outcome, Profile, PublishOptions, Receipt, Reply, ReplyOptions, ReplyTo,
    RequestOptions, Result, Settling, Start, Status, SubscribeOptions, SubscriptionState, Target, Topology,
};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::flaw::{Flaw, Inside};
use super::gate::{gate, later};
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
    /// The link swallows everything; that was noticed.
    Silent,
    /// The link is slow.
    Slow,
    /// Nothing is handed out.
    Stalled,
}

impl Sky {
    const fn reaches(self) -> bool {
        !matches!(self, Self::Down | Self::Silent)
    }

    /// Whether something can come to a consumer.
    const fn hands_out(self) -> bool {
        self.reaches() && !matches!(self, Self::Stalled)
    }
}

/// Not a flaw: a bus that can be away, full, slow or stalled, and says so as it should. What it holds survives its death, which
/// is a simulated one.
#[derive(Debug, Default)]
pub(super) struct Weather {
    sky: watch::Sender<Sky>,
}

impl Weather {
    /// How long it takes each way on a slow link.
    const SLOW: Duration = Duration::from_millis(200);

    /// How long verbs without a bound of their own wait for the bus.
    const PATIENCE: Duration = Duration::from_secs(10);

    fn is(&self, sky: Sky) -> bool {
        *self.sky.borrow() == sky
    }

    async fn up(&self, within: Duration, operation: Operation) -> Result<()> {
        let mut sky = self.sky.subscribe();
        let reached = timeout(within, sky.wait_for(|sky| sky.reaches())).await.map(|_| ());
        reached.map_err(|_| Error::new(Kind::Disconnected, operation))?;
        if self.is(Sky::Slow) {
            sleep(Self::SLOW).await;
        }
        Ok(())
    }

    /// What comes waits for good weather.
    fn gated<T: Send + 'static>(&self, incoming: Incoming<T>) -> Incoming<T> {
        let sky = self.sky.clone();
        gate(incoming, move || {
            let mut sky = sky.subscribe();
            Box::pin(async move { drop(sky.wait_for(|sky| sky.hands_out()).await) })
        })
    }

    /// Begins `open` when the bus can be reached, in a task of its own if it need not be live before.
    async fn begin<T: Send + 'static>(
        &self,
        start: Start,
        operation: Operation,
        open: impl Future<Output = Result<Incoming<T>>> + Send + 'static,
    ) -> Result<Incoming<T>> {
        if start == Start::Eventually && !self.sky.borrow().reaches() {
            let mut sky = self.sky.subscribe();
            return Ok(self.gated(later(async move {
                drop(sky.wait_for(|sky| sky.reaches()).await);
                open.await
            })));
        }
        self.up(Self::PATIENCE, operation).await?;
        open.await.map(|incoming| self.gated(incoming))
    }
}

#[async_trait]
impl Flaw for Weather {
    fn profile(&self, mut honest: Profile) -> Profile {
        honest.capability.durability_process = true;
        honest
    }

    async fn connect(&self, inside: &Inside, within: Duration) -> Result<()> {
        self.up(within, Operation::Connect).await?;
        inside.connect(within).await
    }

    async fn declare(&self, inside: &Inside, topology: &Topology) -> Result<Declared> {
        self.up(Self::PATIENCE, Operation::Declare).await?;
        let mut topology = topology.clone();
        // The bus inside does not die, whatever it declares of itself.
        for queue in &mut topology.queues {
            queue.durability = queue.durability.filter(|durability| *durability > Durability::Process);
        }
        inside.declare(&topology).await
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
        let (start, inside, from) = (options.start, inside.clone(), from.clone());
        self.begin(start, Operation::Consume, async move { inside.consume(&from, options).await }).await
    }

    /// A settle that cannot reach the bus leaves the delivery to its lease. One that finds no room for a dead letter
    /// gives the original back.
    fn settle(&self, hold: Arc<dyn Hold>, outcome: Outcome) -> Settling {
        if !self.sky.borrow().reaches() {
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
        let (start, inside, topic) = (options.start, inside.clone(), topic.clone());
        self.begin(start, Operation::Subscribe, async move { inside.subscribe(&topic, options).await }).await
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
            Sky::Fair | Sky::Slow | Sky::Stalled => honest.link,
            Sky::Down | Sky::Silent => Link::Down { since: Duration::ZERO, reason: "an outage".to_owned() },
            Sky::Full => Link::Blocked,
        };
        if self.is(Sky::Stalled) {
            for subscription in &mut honest.subscriptions {
                subscription.state = SubscriptionState::Stalled(Duration::ZERO);
            }
        }
        honest
    }
}

/// Who makes the weather.
pub(super) struct WeatherMaker(pub(super) Arc<Weather>);

#[async_trait]
impl Faults for WeatherMaker {
    fn can(&self, fault: Fault) -> bool {
        !matches!(fault, Fault::Pause | Fault::Resume | Fault::Truncate | Fault::Foreign)
    }

    async fn inject(&self, fault: Fault) -> Result<()> {
        let sky = match fault {
            Fault::Stop | Fault::Kill => Sky::Down,
            Fault::Fill => Sky::Full,
            Fault::Blackhole => Sky::Silent,
            Fault::Slow => Sky::Slow,
            Fault::Stall => Sky::Stalled,
            _ => Sky::Fair,
        };
        self.0.sky.send_replace(sky);
        Ok(())
    }

    async fn write_foreign(&self, _queue: &Name, _bytes: &[u8]) -> Result<()> {
        Err(Error::unsupported(Feature::Queue, Operation::Publish, "simulated weather"))
    }
}
