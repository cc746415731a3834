//! The health topic: a server says each minute that it consumes (PRISEM services specification, 9.3).

use std::sync::Arc;
use std::time::Duration;

use polybus::frame::Identity;
use polybus::log::{Level, LogOptions, LogPublisher, LogSink};
use polybus::{Bus, Intake, Name, SubscriptionState, Topic, TopicGrade};

use super::{Link, Place};

/// The topic.
const HEALTH: &str = "health";

/// How often.
const EVERY: Duration = Duration::from_mins(1);

/// How often a server that does not consume yet is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The heartbeat of one service.
pub(super) struct Heartbeat {
    bus: Bus,
    identity: Identity,
    durable: bool,
    service: &'static str,
    queue: Name,
}

impl Heartbeat {
    pub(super) fn new(link: &Link, place: &Place, service: &'static str, queue: Name) -> Self {
        let durable = place.settings.durable.unwrap_or(true);
        Self { bus: link.bus.clone(), identity: link.identity.clone(), durable, service, queue }
    }

    /// Says `<service> healthy` each minute while the queue is consumed. Ends with the bus.
    pub(super) async fn beat(self) {
        let Ok(name) = Name::new(HEALTH) else { return };
        let topic = if self.durable { Topic::durable(name) } else { Topic::new(name) };
        let publisher = self.publisher(&topic);
        loop {
            if self.is_consuming() {
                publisher.log(Level::Info, &format!("{} healthy", self.service));
                tokio::time::sleep(EVERY).await;
            } else {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }

    fn publisher(&self, topic: &Topic) -> Arc<LogPublisher> {
        let grade = if self.durable { TopicGrade::Durable } else { TopicGrade::Plain };
        let options = LogOptions::default().with_introduce(false).with_grade(grade);
        Arc::new(LogPublisher::start(self.bus.transport(), &topic.name, &self.identity, options))
    }

    fn is_consuming(&self) -> bool {
        let subscriptions = self.bus.transport().health().subscriptions;
        let intake = Intake::Queue(self.queue.clone()).to_string();
        let own = subscriptions.iter().find(|subscription| subscription.intake == intake);
        own.is_some_and(|own| own.state == SubscriptionState::Live)
    }
}
