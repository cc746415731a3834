//! A worker on a bus whose subscriptions stall: connected, messages wait, and nothing comes (J7, R-02, R-03).

#![cfg(feature = "embedded")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use polybus_contract::{
    Admin, Arrival, ConsumeOptions, Declared, Delivery, DrainReport, End, Health, Incoming, Intake, Message,
    Name, Profile, PublishOptions, Receipt, Reply, ReplyOptions, ReplyTo, RequestOptions, Result, Source,
    SubscribeOptions, SubscriptionHealth, SubscriptionState, Target, Topology, Transport, TransportExt,
};
use tokio::sync::Notify;

use super::{Handler, Job, Observer, Shutdown, Verdict, WorkEnd, WorkEvent, Worker};
use crate::connect::Bus;

const STILL: Duration = Duration::from_secs(40);

/// The bus inside, but its first consumers stall after some deliveries, and never end when they are asked to.
#[derive(Debug)]
struct Stalls {
    inner: Arc<dyn Transport>,
    /// Consumers that will stall.
    bad: AtomicU32,
    /// What each of them gives before.
    gives: u32,
    /// The one that has stalled.
    stuck: Arc<Mutex<Option<SubscriptionHealth>>>,
}

#[derive(Debug)]
struct Still {
    inner: Box<dyn Source<Delivery>>,
    left: u32,
    own: SubscriptionHealth,
    stuck: Arc<Mutex<Option<SubscriptionHealth>>>,
}

impl Source<Delivery> for Still {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<std::result::Result<Arrival<Delivery>, End>> {
        if self.left == 0 {
            *self.stuck.lock().unwrap() = Some(self.own.clone());
            return Poll::Pending;
        }
        let next = self.inner.poll_next(context);
        if next.is_ready() {
            self.left -= 1;
        }
        next
    }

    fn set_credit(&mut self, credit: u32) -> Result<()> {
        self.inner.set_credit(credit)
    }

    fn stop(&mut self) {}
}

impl Drop for Still {
    fn drop(&mut self) {
        *self.stuck.lock().unwrap() = None;
    }
}

#[async_trait]
impl Transport for Stalls {
    fn profile(&self) -> Profile {
        self.inner.profile()
    }
    async fn connect(&self, within: Duration) -> Result<()> {
        self.inner.connect(within).await
    }
    async fn declare(&self, topology: &Topology) -> Result<Declared> {
        self.inner.declare(topology).await
    }
    async fn publish(&self, to: &Target, message: Message, options: PublishOptions) -> Result<Receipt> {
        self.inner.publish(to, message, options).await
    }
    async fn consume(&self, from: &Intake, options: ConsumeOptions) -> Result<Incoming<Delivery>> {
        let own = SubscriptionHealth {
            intake: from.to_string(),
            label: options.label.clone(),
            state: SubscriptionState::Stalled(STILL),
            in_hand: 0,
            arrived: 0,
        };
        let incoming = self.inner.consume(from, options).await?;
        if self.bad.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |bad| bad.checked_sub(1)).is_err() {
            return Ok(incoming);
        }
        let (inner, _) = incoming.into_source();
        Ok(Incoming::new(Still { inner, left: self.gives, own, stuck: self.stuck.clone() }))
    }
    async fn subscribe(&self, topic: &Name, options: SubscribeOptions) -> Result<Incoming<Message>> {
        self.inner.subscribe(topic, options).await
    }
    async fn request(
        &self,
        to: &Target,
        message: Message,
        options: RequestOptions,
    ) -> Result<Incoming<Reply>> {
        self.inner.request(to, message, options).await
    }
    async fn reply(&self, to: &ReplyTo, message: Message, options: ReplyOptions) -> Result<Receipt> {
        self.inner.reply(to, message, options).await
    }
    fn health(&self) -> Health {
        let mut health = self.inner.health();
        if let Some(stuck) = self.stuck.lock().unwrap().clone() {
            health.subscriptions.retain(|one| one.label != stuck.label);
            health.subscriptions.push(stuck);
        }
        health
    }
    async fn drain(&self, within: Duration) -> DrainReport {
        self.inner.drain(within).await
    }
    fn admin(&self) -> Option<&dyn Admin> {
        self.inner.admin()
    }
}

#[derive(Debug, Default)]
struct Seen(Mutex<Vec<WorkEvent>>);

impl Observer for Seen {
    fn saw(&self, _queue: &Name, event: &WorkEvent) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Seen {
    fn restarts(&self) -> usize {
        let events = self.0.lock().unwrap();
        events
            .iter()
            .filter(|event| matches!(event, WorkEvent::Restarted { stalled } if *stalled == STILL))
            .count()
    }
}

/// Answers; the first job waits to be let go.
struct Holds {
    jobs: AtomicU32,
    entered: Arc<Notify>,
    leave: Arc<Notify>,
}

#[async_trait]
impl Handler for Holds {
    async fn handle(&self, job: Job) -> Verdict {
        if self.jobs.fetch_add(1, Ordering::SeqCst) == 0 {
            self.entered.notify_one();
            self.leave.notified().await;
        }
        Verdict::Reply(Box::new(Message::new(job.message.body().as_bytes().unwrap().clone())))
    }
}

async fn ask(bus: Bus, text: &'static str) -> (Vec<u8>, Option<u32>) {
    let queue = Name::new("q").unwrap();
    let options = RequestOptions::default().with_deadline(Duration::from_mins(10));
    let reply = bus.transport().call(&queue, Message::new(text), options).await.unwrap();
    (reply.message.body().as_bytes().unwrap().to_vec(), reply.attempt)
}

#[tokio::test(start_paused = true)]
async fn j7_a_subscription_that_stalls_is_opened_again_and_jobs_in_hand_go_on() {
    let stuck = Arc::default();
    let bus = Bus::open("embedded:")
        .unwrap()
        .behind(|inner| Arc::new(Stalls { inner, bad: AtomicU32::new(3), gives: 1, stuck }));
    let seen = Arc::new(Seen::default());
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let holds = Holds { jobs: AtomicU32::new(0), entered: entered.clone(), leave: leave.clone() };
    let worker =
        Worker::new(&bus, Name::new("q").unwrap(), holds).with_concurrency(2).with_observer(seen.clone());
    let queue = worker.queue.clone();
    bus.transport().declare(&Topology::new().queue(queue)).await.unwrap();
    let (trigger, shutdown) = Shutdown::manual();
    let running = tokio::spawn(worker.run(shutdown));

    let first = tokio::spawn(ask(bus.clone(), "in hand"));
    entered.notified().await;
    // The next ones come over a subscription that gives nothing more, then over two others that give one each.
    let others = [tokio::spawn(ask(bus.clone(), "a")), tokio::spawn(ask(bus.clone(), "b"))];
    for other in others {
        other.await.unwrap();
    }
    assert!(seen.restarts() >= 2, "{seen:?}");
    leave.notify_one();
    assert_eq!(first.await.unwrap(), (b"in hand".to_vec(), Some(1)), "the job in hand was not disturbed");
    // After the last bad one it is well for good.
    for _ in 0..5 {
        ask(bus.clone(), "c").await;
    }
    assert_eq!(seen.restarts(), 3);
    trigger.drain();
    let report = running.await.unwrap().unwrap();
    assert!(report.is_clean(), "{report}");
    let events = seen.0.lock().unwrap();
    let begun = events.iter().filter(|event| matches!(event, WorkEvent::Began { .. })).count();
    let done = |event: &&WorkEvent| matches!(event, WorkEvent::Ended { how: WorkEnd::Done, .. });
    assert_eq!((begun, events.iter().filter(done).count()), (8, 8), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn restarts_that_do_not_help_become_rare_and_a_drain_ends_them() {
    let stuck = Arc::default();
    let bus = Bus::open("embedded:")
        .unwrap()
        .behind(|inner| Arc::new(Stalls { inner, bad: AtomicU32::new(u32::MAX), gives: 0, stuck }));
    let seen = Arc::new(Seen::default());
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let holds = Holds { jobs: AtomicU32::new(0), entered, leave };
    let worker = Worker::new(&bus, Name::new("q").unwrap(), holds).with_observer(seen.clone());
    let (trigger, shutdown) = Shutdown::manual();
    let running = tokio::spawn(worker.run(shutdown));
    tokio::time::sleep(Duration::from_hours(1)).await;
    let restarts = seen.restarts();
    assert!((10..30).contains(&restarts), "{restarts} in an hour");
    trigger.drain();
    running.await.unwrap().unwrap();
}
