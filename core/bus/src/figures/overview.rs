//! All queues and services of a bus together.

use std::time::Duration;

use polybus_contract::{Intake, QueueInfo, Served};

use super::{Look, Rates, Told, Unknown, attempts, backlog, empties_in};

/// A queue or group, as two looks show it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct QueueView {
    /// Which.
    pub intake: Intake,
    /// Its figures in the later look; if there are none, whether it is not there or was not shown.
    pub info: Told<QueueInfo>,
    /// How it moved between the looks.
    pub rates: Rates,
}

/// A service that is, or will be, served, and its queue.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ServiceView {
    /// The service, and how it is to be served.
    pub service: Served,
    /// Its queue.
    pub queue: QueueView,
}

/// A bus, as two looks show it.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Overview {
    /// The time between the looks; zero if there was one.
    pub apart: Duration,
    /// The queues and groups that are there, in the order of the later look; also those that were not shown.
    pub queues: Vec<QueueView>,
    /// The services, whether their queues are there or not.
    pub services: Vec<ServiceView>,
}

impl QueueView {
    /// What the looks show of one queue. Without an earlier one no rate is known.
    fn of(intake: &Intake, earlier: Option<&Look>, later: &Look) -> Self {
        let info = later.told(intake).cloned();
        let rates = match (&info, earlier) {
            (Err(why), _) => Rates::unknown(*why),
            (_, None) => Rates::unknown(Unknown::OneLook),
            (Ok(info), Some(earlier)) => earlier.info(intake).map_or_else(
                || Rates::unknown(Unknown::OneLook),
                |before| Rates::between(before, info, later.at.duration_since(earlier.at)),
            ),
        };
        Self { intake: intake.clone(), info, rates }
    }

    fn told<T>(&self, figure: impl FnOnce(&QueueInfo) -> Told<T>) -> Told<T> {
        self.info.as_ref().map_err(|why| *why).and_then(figure)
    }

    /// See [`backlog`].
    ///
    /// # Errors
    /// Why it is not known.
    pub fn backlog(&self) -> Told<u64> {
        self.told(backlog)
    }

    /// See [`empties_in`].
    ///
    /// # Errors
    /// Why it is not known.
    pub fn empties_in(&self) -> Told<Duration> {
        self.told(|info| empties_in(info, &self.rates))
    }

    /// See [`attempts`].
    ///
    /// # Errors
    /// Why it is not known.
    pub fn attempts(&self) -> Told<f64> {
        self.told(attempts)
    }

    /// Whether somebody consumes it: there are consumers, or something was settled between the looks.
    ///
    /// # Errors
    /// If the bus does not tell how many consumers there are, and nothing was settled.
    pub fn is_served(&self) -> Told<bool> {
        let consumers = self.told(|info| info.consumers.ok_or(Unknown::Untold));
        match (consumers, self.rates.settled) {
            (Ok(consumers), _) => Ok(consumers > 0),
            (Err(_), Ok(settled)) if settled > 0.0 => Ok(true),
            (Err(why), _) => Err(why),
        }
    }
}

impl Overview {
    /// What two looks show, or one. A queue that is not there any more is left out; a service of it stays.
    #[must_use]
    pub fn of(services: &[Served], earlier: Option<&Look>, later: &Look) -> Self {
        let view = |intake: &Intake| QueueView::of(intake, earlier, later);
        let service = |service: &Served| ServiceView {
            service: service.clone(),
            queue: view(&Intake::Queue(service.queue.name.clone())),
        };
        Self {
            apart: earlier.map_or(Duration::ZERO, |earlier| later.at.duration_since(earlier.at)),
            queues: later
                .queues
                .iter()
                .map(|(intake, _)| view(intake))
                .filter(|queue| queue.info != Err(Unknown::Absent))
                .collect(),
            services: services.iter().map(service).collect(),
        }
    }
}

#[cfg(all(test, feature = "embedded"))]
mod tests {
    use polybus_contract::{
        Arrival, ConsumeOptions, Kind, Message, Name, Outcome, Queue, Topology, Transport, TransportExt,
    };

    use super::*;
    use crate::connect;
    use crate::figures::{intakes, look};

    const WITHIN: Duration = Duration::from_secs(10);

    /// As if the later look had been this long after the earlier one.
    fn later_by(earlier: &Look, mut later: Look, apart: Duration) -> Look {
        later.at = earlier.at + apart;
        later
    }

    async fn send(bus: &dyn Transport, queue: &Name, many: usize) -> polybus_contract::Result<()> {
        for _ in 0..many {
            bus.send(queue, Message::new("a")).await?;
        }
        Ok(())
    }

    #[tokio::test]
    async fn two_looks_at_a_bus_show_what_happened_between_them() {
        let bus = connect("embedded:").await.unwrap();
        let transport = &**bus.transport();
        let queue = Queue::new(Name::new("jobs").unwrap());
        let services = [
            Served::new("worker", queue.clone()),
            Served::new("none", Queue::new(Name::new("none").unwrap())),
        ];
        transport.declare(&Topology::new().queue(queue.clone())).await.unwrap();
        send(transport, &queue.name, 4).await.unwrap();
        let desk = transport.admin().unwrap();
        let all = intakes(desk, &[], &services).await.unwrap();
        assert_eq!(all.len(), 2);
        let earlier = look(desk, &all, WITHIN).await;
        assert_eq!(earlier.queues[1].1.as_ref().unwrap_err().kind(), Kind::NotFound);
        assert!(earlier.trouble().is_none());

        let intake = Intake::Queue(queue.name.clone());
        let mut consumer =
            transport.consume(&intake, ConsumeOptions::default().with_credit(1_u32)).await.unwrap();
        for outcome in [Outcome::Dropped, Outcome::Ack, Outcome::Ack] {
            let Some(Arrival::Item(delivery)) = consumer.next().await else { panic!("nothing came") };
            delivery.settle(outcome).await.unwrap();
        }
        send(transport, &queue.name, 6).await.unwrap();
        let later = later_by(&earlier, look(desk, &all, WITHIN).await, Duration::from_secs(2));
        let overview = Overview::of(&services, Some(&earlier), &later);
        assert_eq!(overview.apart, Duration::from_secs(2));
        assert_eq!(overview.queues.len(), 1, "what is not there is left out");
        let seen = &overview.queues[0];
        assert_eq!((seen.rates.sent, seen.rates.settled), (Ok(3.0), Ok(1.0)));
        assert_eq!((seen.backlog(), seen.empties_in()), (Ok(8), Ok(Duration::from_secs(8))));
        assert_eq!((seen.is_served(), seen.attempts()), (Ok(true), Ok(1.5)));
        assert_eq!(overview.services[0].queue, *seen);
        let none = &overview.services[1].queue;
        assert_eq!((none.backlog(), none.is_served()), (Err(Unknown::Absent), Err(Unknown::Absent)));
        assert_eq!(Overview::of(&[], None, &later).queues[0].rates, Rates::unknown(Unknown::OneLook));
    }

    #[test]
    fn a_queue_that_is_not_shown_hides_no_other() {
        let [open, shut, none] = ["open", "shut", "none"].map(|name| Intake::Queue(Name::new(name).unwrap()));
        let refused = |kind| polybus_contract::Error::new(kind, polybus_contract::Operation::Inspect);
        let shown = vec![
            (open, Ok(QueueInfo { ready: Some(1), ..QueueInfo::default() })),
            (shut, Err(refused(Kind::Unauthorized))),
            (none, Err(refused(Kind::NotFound))),
        ];
        let look = Look::new(std::time::Instant::now(), shown.clone());
        assert!(look.trouble().is_none());
        let told: Vec<_> = Overview::of(&[], None, &look).queues.iter().map(QueueView::backlog).collect();
        assert_eq!(told, [Ok(1), Err(Unknown::Unseen)]);
        let blind = Look::new(look.at, shown.into_iter().skip(1).collect());
        assert_eq!(blind.trouble().unwrap().kind(), Kind::Unauthorized);
    }

    #[test]
    fn who_settles_is_there_though_the_bus_does_not_count_consumers() {
        let intake = Intake::Queue(Name::new("jobs").unwrap());
        let busy = Rates { settled: Ok(0.5), ..Rates::unknown(Unknown::Untold) };
        let mut view = QueueView { intake, info: Ok(QueueInfo::default()), rates: busy };
        assert_eq!(view.is_served(), Ok(true));
        view.rates.settled = Ok(0.0);
        assert_eq!(view.is_served(), Err(Unknown::Untold));
        view.info = Ok(QueueInfo { consumers: Some(0), ..QueueInfo::default() });
        assert_eq!(view.is_served(), Ok(false));
    }
}
