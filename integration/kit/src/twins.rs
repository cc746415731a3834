//! Negative twins (K1): what a bus does not declare, it must refuse, typed, and nothing may change.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use polybus_contract::{
    Admin, Body, Browse, Confirm, ConsumeOptions, Durability, Feature, Group, Intake, Kind, Message, Name,
    Needs, Nobody, Object, Place, PublishOptions, Queue, Redrive, ReplyOptions, ReplyTo, RequestOptions,
    Result, SubscribeOptions, Target, Topic, Topology, Transport, Unmet,
};

use crate::case::{CaseResult, Fail, ensure, refused};
use crate::stage::Stage;

/// Runs the negative twin of each feature and says what was refused.
///
/// # Errors
/// [`Fail::Broken`] if something was accepted, refused as something else, or left a trace.
pub async fn run(stage: &Stage, missing: &[Feature]) -> CaseResult<Vec<String>> {
    let mut refusals = Vec::new();
    for feature in missing {
        let twin = Twin { stage, bus: stage.connect().await?, feature: *feature };
        refusals.push(twin.run().await?);
    }
    Ok(refusals)
}

/// The twin of one feature, on a handle of its own.
struct Twin<'a> {
    stage: &'a Stage,
    bus: Arc<dyn Transport>,
    feature: Feature,
}

impl Twin<'_> {
    async fn run(&self) -> CaseResult<String> {
        match self.feature {
            Feature::Queue => self.queue().await,
            Feature::Topic => self.topic().await,
            Feature::TopicGroup => self.group().await,
            Feature::TopicConfirm => self.durable_topic().await,
            Feature::Priority => self.declared(|queue| queue.with_priorities(true)).await,
            Feature::SurvivesProcess => {
                self.declared(|queue| queue.with_durability(Durability::Process)).await
            }
            Feature::SurvivesPower => self.declared(|queue| queue.with_durability(Durability::Disk)).await,
            Feature::Replicated => self.declared(|queue| queue.with_durability(Durability::Replicated)).await,
            Feature::Confirm => self.published(PublishOptions::default()).await,
            Feature::SendDelay => self.delayed().await,
            Feature::RetryDelay => self.retried().await,
            Feature::SetCredit => self.credit().await,
            Feature::TimedLease => self.leased().await,
            Feature::DeadLetters => self.dead().await,
            Feature::Request => self.requested(RequestOptions::default()).await,
            Feature::NoResponder => self.requested(RequestOptions::default().with_nobody(Nobody::Fail)).await,
            Feature::LargeBody => self.large().await,
            Feature::ReplyStream => self.parted().await,
            _ => self.at_desk().await,
        }
    }

    /// Whether the call answered that the bus does not have the feature.
    async fn refused<T>(&self, call: &str, answer: impl Future<Output = Result<T>>) -> CaseResult<String> {
        let feature = self.feature;
        let answer = self.stage.bounded(call, answer).await?;
        refused(answer, &format!("{call} without {feature}"), |kind| kind == Kind::Unsupported(feature))?;
        Ok(format!("{feature} is refused by {call}"))
    }

    /// No call asks for it, so it is refused where it is asked for: as a need, at start.
    fn as_need(&self) -> CaseResult<String> {
        let feature = self.feature;
        let unmet = Needs::of([feature]).unmet(&self.stage.capability());
        ensure!(unmet == [Unmet::Feature(feature)], "the need of {feature} is unmet and not named");
        Ok(format!("{feature} is refused as a need"))
    }

    fn name(&self) -> CaseResult<Name> {
        self.stage.name(&format!("twin-{}", self.feature))
    }

    /// A queue that is there.
    async fn line(&self) -> CaseResult<Name> {
        self.stage.declare_queue(&*self.bus, &format!("twin-{}", self.feature)).await
    }

    async fn consume(
        &self,
        queue: &Name,
    ) -> CaseResult<polybus_contract::Incoming<polybus_contract::Delivery>> {
        let intake = Intake::Queue(queue.clone());
        self.stage.consume(&*self.bus, &intake, ConsumeOptions::default()).await
    }

    /// Whether nothing came into the queue.
    async fn nothing_in(&self, queue: &Name) -> CaseResult {
        if !self.stage.has(Feature::Settle) {
            return Ok(());
        }
        let mut incoming = self.consume(queue).await?;
        let came = self.stage.next_within(&mut incoming, "the twin", self.stage.quiet()).await?;
        ensure!(came.is_none(), "what was refused for want of {} arrived: {came:?}", self.feature);
        Ok(())
    }

    /// Whether there is no such queue.
    async fn no_queue(&self, name: Name) -> CaseResult {
        let options = PublishOptions::default().with_confirm(self.stage.confirm_queue());
        let to = Target::Queue(name);
        let sent = self.bus.publish(&to, Message::new("x"), options);
        let sent = self.stage.bounded("a publish", sent).await?;
        let what = format!("a publish to a queue whose declare was refused for want of {}", self.feature);
        refused(sent, &what, |_| true).map(|_| ())
    }

    async fn large(&self) -> CaseResult<String> {
        let queue = self.line().await?;
        let body = Body::parts(Arc::new(Bytes::from_static(b"large")));
        let options = PublishOptions::default().with_confirm(self.stage.confirm_queue());
        let to = Target::Queue(queue.clone());
        let said = self.refused("publish", self.bus.publish(&to, Message::new(body), options)).await?;
        self.nothing_in(&queue).await?;
        Ok(said)
    }

    async fn queue(&self) -> CaseResult<String> {
        let name = self.name()?;
        self.refused("declare", self.bus.declare(&Topology::new().queue(Queue::new(name.clone())))).await?;
        let to = Target::Queue(name.clone());
        self.refused("publish", self.bus.publish(&to, Message::new("x"), PublishOptions::default())).await?;
        let intake = Intake::Queue(name);
        self.refused("consume", self.bus.consume(&intake, ConsumeOptions::default())).await?;
        Ok("queues are refused by declare, publish and consume".to_owned())
    }

    async fn topic(&self) -> CaseResult<String> {
        let name = self.name()?;
        self.refused("declare", self.bus.declare(&Topology::new().topic(Topic::new(name.clone())))).await?;
        let to = Target::Topic(name.clone());
        let unconfirmed = PublishOptions::default().with_confirm(Confirm::No);
        self.refused("publish", self.bus.publish(&to, Message::new("x"), unconfirmed)).await?;
        self.refused("subscribe", self.bus.subscribe(&name, SubscribeOptions::default())).await?;
        Ok("topics are refused by declare, publish and subscribe".to_owned())
    }

    async fn group(&self) -> CaseResult<String> {
        let (topic, group) = (self.name()?, self.name()?);
        let topology = Topology::new().group(Group::new(topic.clone(), group.clone()));
        self.refused("declare", self.bus.declare(&topology)).await?;
        let intake = Intake::Group { topic, group };
        self.refused("consume", self.bus.consume(&intake, ConsumeOptions::default())).await
    }

    async fn durable_topic(&self) -> CaseResult<String> {
        if !self.stage.has(Feature::Topic) {
            return self.as_need();
        }
        self.refused("declare", self.bus.declare(&Topology::new().topic(Topic::durable(self.name()?)))).await
    }

    /// A queue that asks for it is not made.
    async fn declared(&self, with: fn(Queue) -> Queue) -> CaseResult<String> {
        if !self.stage.has(Feature::Queue) {
            return self.as_need();
        }
        let name = self.name()?;
        let topology = Topology::new().queue(with(Queue::new(name.clone())));
        let said = self.refused("declare", self.bus.declare(&topology)).await?;
        self.no_queue(name).await?;
        Ok(said)
    }

    async fn published(&self, options: PublishOptions) -> CaseResult<String> {
        if !self.stage.has(Feature::Queue) {
            return self.as_need();
        }
        let queue = self.line().await?;
        let to = Target::Queue(queue.clone());
        let sent = self.bus.publish(&to, Message::new("x"), options);
        let said = self.refused("publish", sent).await?;
        self.nothing_in(&queue).await?;
        Ok(said)
    }

    async fn delayed(&self) -> CaseResult<String> {
        let options = PublishOptions::default().with_confirm(self.stage.confirm_queue());
        self.published(options.with_delay(Duration::from_millis(1))).await
    }

    /// The delivery whose settle was refused is not lost.
    async fn retried(&self) -> CaseResult<String> {
        if !(self.stage.has(Feature::Queue) && self.stage.has(Feature::Settle)) {
            return self.as_need();
        }
        let queue = self.line().await?;
        self.stage.producer("twin").send(&*self.bus, &queue).await?;
        let mut incoming = self.consume(&queue).await?;
        let delivery = self.stage.next(&mut incoming, "the twin").await?;
        let said = self.refused("retry", delivery.retry(Duration::from_secs(1))).await?;
        self.stage.next(&mut incoming, "the twin").await?.ack().await?;
        Ok(said)
    }

    async fn credit(&self) -> CaseResult<String> {
        if !self.stage.has(Feature::Queue) {
            return self.as_need();
        }
        let mut incoming = self.consume(&self.line().await?).await?;
        self.refused("set credit", std::future::ready(incoming.set_credit(2))).await
    }

    async fn leased(&self) -> CaseResult<String> {
        if !self.stage.has(Feature::Queue) {
            return self.as_need();
        }
        let intake = Intake::Queue(self.line().await?);
        let leased = ConsumeOptions::default().with_lease(self.stage.times().lease);
        self.refused("consume with a lease", self.bus.consume(&intake, leased)).await
    }

    async fn dead(&self) -> CaseResult<String> {
        if !self.stage.has(Feature::Queue) {
            return self.as_need();
        }
        let intake = Intake::Queue(self.line().await?.dead()?);
        self.refused("consume", self.bus.consume(&intake, ConsumeOptions::default())).await
    }

    async fn requested(&self, options: RequestOptions) -> CaseResult<String> {
        if !self.stage.has(Feature::Queue)
            || self.feature == Feature::NoResponder && !self.stage.has(Feature::Request)
        {
            return self.as_need();
        }
        let queue = self.line().await?;
        let to = Target::Queue(queue.clone());
        let asked = self.bus.request(&to, Message::new("x"), options);
        let said = self.refused("request", asked).await?;
        self.nothing_in(&queue).await?;
        Ok(said)
    }

    async fn parted(&self) -> CaseResult<String> {
        if !self.stage.has(Feature::Request) {
            return self.as_need();
        }
        let address = ReplyTo::new(self.bus.profile().instance, "0");
        let part = ReplyOptions::default().with_index(1_u32).with_last(false);
        self.refused("reply with a part", self.bus.reply(&address, Message::new("x"), part)).await
    }

    /// What the desk cannot do, it refuses. Without a desk nobody can ask.
    async fn at_desk(&self) -> CaseResult<String> {
        let Some(desk) = self.bus.admin().filter(|_| self.stage.has(Feature::Queue)) else {
            return self.as_need();
        };
        let name = self.line().await?;
        let intake = Intake::Queue(name.clone());
        match self.feature {
            Feature::Inspect => self.refused("inspect", desk.inspect(&intake)).await,
            Feature::BrowseReady => self.browsed(desk, &intake, Place::Ready).await,
            Feature::BrowseDead => self.browsed(desk, &intake, Place::Dead).await,
            Feature::Purge => self.refused("purge", desk.purge(&intake, Place::Ready)).await,
            Feature::Redrive => self.refused("redrive", desk.redrive(&intake, Redrive::default())).await,
            Feature::Remove => {
                let said = self.refused("remove", desk.remove(&Object::Queue(name.clone()))).await?;
                self.stage.producer("twin").send(&*self.bus, &name).await.map_err(kept)?;
                Ok(said)
            }
            _ => self.as_need(),
        }
    }

    async fn browsed(&self, desk: &dyn Admin, intake: &Intake, place: Place) -> CaseResult<String> {
        self.refused("browse", desk.browse(intake, place, Browse::default())).await
    }
}

fn kept(fail: Fail) -> Fail {
    fail.during("a queue whose removal was refused")
}
