//! J: faults. What the bus does when it, its link or its clock fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{join, try_join, try_join_all};
use polybus_contract::{
    Arrival, ConsumeOptions, Durability, Feature, Intake, Kind, Link, Message, Name, PublishOptions, Queue,
    ReplyOptions, RequestOptions, Start, Status, SubscribeOptions, SubscriptionState, Target, Topic,
    Topology, Transport, TransportExt,
};
use tokio::time::{Instant, sleep, timeout};

use super::h::{offer, take_all};
use crate::case::{Case, CaseResult, Fail, case, ensure, refused};
use crate::checker::{Attempts, Expect};
use crate::faults::{Fault, Faults};
use crate::stage::Stage;
use crate::traffic::{Consumer, Producer, Subscriber};

/// The table of the group.
pub(super) const CASES: &[Case] = &[
    case!(J1 restart_graceful [Queue, Settle, Confirm, SurvivesProcess] {Stop, Start} "two orderly restarts under load: nothing confirmed is lost, nothing acked returns, duplicates stay within what was in hand"),
    case!(J2 kill_9 [Queue, Settle, Confirm, SurvivesProcess] {Kill, Start} "two kills under load: the same"),
    case!(J3 half_open [Queue, Settle] {Blackhole, Mend} "a silent link is noticed within its bound, a publish into it ends typed, and all goes on when it is mended"),
    case!(J4 slow_link [Queue, Settle] {Slow, Mend} "a slow link is not taken for a dead one"),
    case!(J5 consumer_restored [Queue, Settle] {Stop, Start} "after each fault the same consumer goes on, with its credit, and so does a subscription"),
    case!(J6 subscribe_while_down [Queue, Settle] {Stop, Start} "what began to consume while the bus was down is live when it is back"),
    case!(J7 silent_stall [Queue, Settle] {Stall, Flow} "a consumer that gets nothing of what waits is shown as stalled within its bound"),
    case!(J8 broker_blocked [Queue, Settle, Confirm] {Fill, Relieve} "an alarm is shown as a state and refuses publishes typed; consumers go on"),
    case!(J9 clock_jump [Queue, Settle] {Jump, JumpBack} "leases, delays and deadlines do not follow the wall clock"),
];

/// Messages of one restart case.
const MESSAGES: u64 = 10_000;
/// Senders of one restart case.
const SENDERS: u64 = 8;
/// Consumers of one restart case.
const CONSUMERS: u64 = 2;
/// What each of them may have in hand.
const CREDIT: u32 = 20;
const RESTARTS: u64 = 2;
/// Acks of the moments before a kill that a server may forget if it acknowledges a settle before that is in its files.
/// Seen: up to 103 in two kills, see docs/src/nats.md.
const FORGOTTEN: u64 = 200;

/// A queue whose leases last long enough for work and short enough to be waited for.
fn queue(stage: &Stage) -> CaseResult<Queue> {
    let queue = stage.queue("q")?;
    let lease = queue.lease.min(stage.times().lease * 10);
    Ok(if stage.has(Feature::TimedLease) { queue.with_lease(lease) } else { queue })
}

/// How long until everything that was in hand is back for certain.
fn settled_down(stage: &Stage) -> Duration {
    if stage.has(Feature::TimedLease) { stage.times().lease * 11 + stage.quiet() } else { stage.quiet() }
}

/// Waits until the handle is connected again.
async fn reach(stage: &Stage, bus: &dyn Transport) -> CaseResult {
    let patience = stage.times().patience;
    stage.until("a reconnect", || async { bus.connect(patience).await.is_ok() }).await
}

/// The bus is killed or stopped, stays away for a moment, and starts.
async fn restart(stage: &Stage, faults: &dyn Faults, down: Fault) -> CaseResult {
    faults.inject(down).await?;
    sleep(stage.times().redelivery).await;
    Ok(faults.inject(Fault::Start).await?)
}

async fn restart_graceful(stage: &Stage) -> CaseResult {
    through_restarts(stage, Fault::Stop).await
}

async fn kill_9(stage: &Stage) -> CaseResult {
    through_restarts(stage, Fault::Kill).await
}

/// Load that goes on through restarts.
struct Load {
    stage: Stage,
    queue: Name,
    /// Publishes that have ended, in whatever way.
    offered: AtomicU64,
    /// The kit keeps the bus down: how long that takes is not the bus's to answer for.
    down: AtomicBool,
    takes_client: bool,
}

async fn through_restarts(stage: &Stage, down: Fault) -> CaseResult {
    let faults = stage.faults(&[down, Fault::Start])?;
    let bus = stage.connect().await?;
    let queue = stage.declare_this(&*bus, queue(stage)?.with_durability(Durability::Process)).await?;
    let takes_client = faults.takes_client();
    let load = Load {
        stage: stage.clone(),
        queue,
        offered: AtomicU64::new(0),
        down: AtomicBool::new(false),
        takes_client,
    };
    let sending = try_join_all((0..SENDERS).map(|number| load.send(&*bus, number)));
    let working = async {
        let reader = stage.connect().await?;
        try_join_all((0..CONSUMERS).map(|number| load.work(&*reader, number))).await
    };
    let harm = async {
        for number in 1..=RESTARTS {
            load.until_offered(MESSAGES * number / (RESTARTS + 1)).await;
            load.down.store(true, Ordering::Relaxed);
            restart(stage, &*faults, down).await?;
            load.down.store(false, Ordering::Relaxed);
        }
        CaseResult::Ok(())
    };
    tokio::try_join!(sending, working, harm)?;
    let attempts = if stage.has(Feature::AttemptsCounted) { Attempts::NeverLow } else { Attempts::Ignored };
    let confirmed_acks = stage.has(Feature::SettleConfirmed);
    let forgotten = if down == Fault::Kill && !confirmed_acks { FORGOTTEN } else { 0 };
    let expect = Expect::default()
        .with_complete(true)
        .with_duplicates(Some(RESTARTS * CONSUMERS * u64::from(CREDIT) + forgotten))
        .with_confirmed_acks(confirmed_acks)
        .with_attempts(attempts);
    stage.check(&expect).map(|_| ())
}

impl Load {
    async fn until_offered(&self, count: u64) {
        while self.offered.load(Ordering::Relaxed) < count {
            sleep(Duration::from_millis(1)).await;
        }
    }

    async fn reach(&self, bus: &dyn Transport) -> CaseResult {
        while self.down.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(10)).await;
        }
        reach(&self.stage, bus).await
    }

    /// Sends its share. A publish that failed is not repeated: the next one goes when the bus is back.
    async fn send(&self, bus: &dyn Transport, number: u64) -> CaseResult {
        let stage = &self.stage;
        let target = Target::Queue(self.queue.clone());
        let mut producer = stage.producer(&format!("p{number}"));
        for _ in 0..MESSAGES / SENDERS {
            let (stamp, message) = producer.message();
            let options = PublishOptions::default().with_confirm(stage.confirm_queue());
            let sent = producer.hand_in(bus, &target, &stamp, message, options);
            if stage.bounded("a publish", sent).await??.is_err() {
                self.reach(bus).await?;
            }
            self.offered.fetch_add(1, Ordering::Relaxed);
            // A bus in this process may answer without ever waiting.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Everything is sent, and has come: or nothing came for as long as what must come may take.
    fn is_over(&self, last: Instant) -> bool {
        let all_sent = self.offered.load(Ordering::Relaxed) == MESSAGES;
        all_sent && (self.stage.has_all_come() || last.elapsed() > self.stage.times().patience)
    }

    /// Acks what comes, until everything is sent and nothing comes any longer.
    async fn work(&self, bus: &dyn Transport, number: u64) -> CaseResult {
        let stage = &self.stage;
        let name = format!("c{number}");
        let mut consumer = stage.consumer(bus, &self.queue, &name, CREDIT).await?;
        let mut last = Instant::now();
        loop {
            match timeout(settled_down(stage), consumer.incoming().next()).await {
                Ok(Some(Arrival::Item(delivery))) => {
                    let _ = consumer.taken(delivery)?.try_settle(polybus_contract::Outcome::Ack).await?;
                    last = Instant::now();
                }
                Ok(Some(Arrival::Gap(gap))) => {
                    return Err(Fail::broken(format!("{name} has a gap: {gap:?}")));
                }
                Ok(None) if self.takes_client => {
                    self.reach(bus).await?;
                    consumer = stage.consumer(bus, &self.queue, &name, CREDIT).await?;
                }
                Ok(None) => {
                    let end = consumer.incoming().end();
                    return Err(Fail::broken(format!("{name} came to its end with the bus: {end:?}")));
                }
                Err(_) if self.is_over(last) => return Ok(()),
                Err(_) => {}
            }
        }
    }
}

/// A bus, a queue, who sends to it and who consumes from it.
struct Line {
    bus: Arc<dyn Transport>,
    queue: Name,
    producer: Producer,
    consumer: Consumer,
}

/// What a consumer of a line may have in hand.
const LINE: u32 = 4;

impl Line {
    async fn new(stage: &Stage) -> CaseResult<Self> {
        let bus = stage.connect().await?;
        let queue = stage.declare_this(&*bus, queue(stage)?).await?;
        let consumer = stage.consumer(&*bus, &queue, "c", LINE).await?;
        Ok(Self { bus, queue, producer: stage.producer("p"), consumer })
    }

    /// Some messages, there and done with.
    async fn pass(&mut self, count: u64) -> CaseResult {
        for _ in 0..count {
            self.producer.send(&*self.bus, &self.queue).await?;
            self.consumer.next().await?.ack().await?;
        }
        Ok(())
    }

    /// After a fault: publishes until one is accepted, for the first ones may meet what is left of the old connection.
    /// Then everything is taken, and the line is as it was at first.
    async fn recover(&mut self, stage: &Stage) -> CaseResult {
        reach(stage, &*self.bus).await?;
        let target = Target::Queue(self.queue.clone());
        let began = Instant::now();
        loop {
            let options = PublishOptions::default().with_within(stage.times().patience);
            let options = options.with_confirm(stage.confirm_queue());
            match offer(stage, &*self.bus, &target, &mut self.producer, options).await? {
                Ok(_) => break,
                Err(error) if began.elapsed() > stage.times().patience => {
                    return Err(Fail::from(error).during("a publish after the fault"));
                }
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
        while let Some(taken) = self.consumer.next_until(settled_down(stage)).await? {
            taken.ack().await?;
        }
        Ok(())
    }
}

/// What a line proves after so many faults.
fn check(stage: &Stage, faults: u64) -> CaseResult {
    let expect = Expect::default()
        .with_complete(true)
        .with_duplicates(Some(faults * u64::from(LINE)))
        .with_confirmed_acks(stage.has(Feature::SettleConfirmed));
    stage.check(&expect).map(|_| ())
}

async fn half_open(stage: &Stage) -> CaseResult {
    let faults = stage.faults(&[Fault::Blackhole, Fault::Mend])?;
    let mut line = Line::new(stage).await?;
    line.pass(3).await?;
    silence(stage, &*faults, &mut line, Fault::Blackhole).await?;
    if faults.can(Fault::Pause) && faults.can(Fault::Resume) && !faults.takes_client() {
        silence(stage, &*faults, &mut line, Fault::Pause).await?;
    }
    check(stage, 2)
}

async fn silence(stage: &Stage, faults: &dyn Faults, line: &mut Line, fault: Fault) -> CaseResult {
    let what = |what: &str| format!("{what} with the bus silent ({fault})");
    faults.inject(fault).await?;
    let bus = line.bus.clone();
    let target = Target::Queue(line.queue.clone());
    let short = PublishOptions::default().with_within(stage.times().redelivery);
    let sent = offer(stage, &*bus, &target, &mut line.producer, short.with_confirm(stage.confirm_queue()));
    let noticed = stage.until_within(stage.times().liveness, "that a silent link is noticed", || async {
        matches!(bus.health().link, Link::Down { .. })
    });
    let (sent, noticed) = join(sent, noticed).await;
    noticed.map_err(|fail| fail.during(what("watching the health")))?;
    if stage.has(Feature::Confirm) {
        let down = |kind| matches!(kind, Kind::Disconnected | Kind::DeadlineExceeded);
        let error = refused(sent?, &what("a publish"), down)?;
        ensure!(error.status() != Status::Permanent, "{}: {error} is permanent", what("a publish"));
    }
    if let Some(undo) = fault.undone_by() {
        faults.inject(undo).await?;
    }
    line.recover(stage).await.map_err(|fail| fail.during(format!("after {fault}")))?;
    line.pass(3).await
}

async fn slow_link(stage: &Stage) -> CaseResult {
    let faults = stage.faults(&[Fault::Slow, Fault::Mend])?;
    let mut line = Line::new(stage).await?;
    line.pass(1).await?;
    faults.inject(Fault::Slow).await?;
    let bus = line.bus.clone();
    let flapped = async {
        loop {
            if let Link::Down { reason, .. } = bus.health().link {
                return reason;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    let traffic = async {
        // Seconds on such a link: longer than the pause between two heartbeats.
        let large = stage.capability().max_message.map_or(128 << 10, |most| (128 << 10).min(most / 2));
        let mut bulky = stage.producer("bulky").with_filler(usize::try_from(large).unwrap_or(0));
        let began = Instant::now();
        loop {
            bulky.send(&*line.bus, &line.queue).await?;
            line.consumer.next().await?.ack().await?;
            line.pass(1).await?;
            if began.elapsed() > stage.times().liveness * 2 || bulky.made() >= 20 {
                return CaseResult::Ok(());
            }
        }
    };
    tokio::select! {
        done = traffic => done.map_err(|fail| fail.during("on a slow link"))?,
        reason = flapped => return Err(Fail::broken(format!("a slow link was taken for a dead one: {reason}"))),
    }
    faults.inject(Fault::Mend).await?;
    line.pass(3).await?;
    stage.check(&Expect::each_once()).map(|_| ())
}

/// The case needs a client that outlives its bus.
fn own_client(faults: &dyn Faults) -> CaseResult {
    if faults.takes_client() {
        return Err(Fail::NotRun("its client dies with the bus here, and restores nothing".to_owned()));
    }
    Ok(())
}

async fn consumer_restored(stage: &Stage) -> CaseResult {
    let faults = stage.faults(&[Fault::Stop, Fault::Start])?;
    own_client(&*faults)?;
    let mut line = Line::new(stage).await?;
    let mut news = News::new(stage, &*line.bus, Start::default()).await?;
    line.pass(1).await?;
    let mut done = 0;
    for fault in [Fault::Cut, Fault::Truncate, Fault::Kill, Fault::Stop] {
        if !faults.can(fault) || fault.undone_by().is_some_and(|undo| !faults.can(undo)) {
            continue;
        }
        strike(stage, &*faults, &mut line, fault).await?;
        let after = |fail: Fail| fail.during(format!("after {fault}"));
        line.recover(stage).await.map_err(after)?;
        credit_holds(stage, &mut line).await.map_err(after)?;
        news.arrive(stage, &*line.bus).await.map_err(after)?;
        done += 1;
    }
    check(stage, done)
}

/// The fault, and its end.
async fn strike(stage: &Stage, faults: &dyn Faults, line: &mut Line, fault: Fault) -> CaseResult {
    match fault {
        Fault::Cut => Ok(faults.inject(fault).await?),
        Fault::Truncate => {
            faults.inject(fault).await?;
            let target = Target::Queue(line.queue.clone());
            let short = PublishOptions::default().with_within(stage.times().redelivery);
            // Whether it arrives is unknown; that it ends is what `offer` sees to.
            let _ = offer(stage, &*line.bus, &target, &mut line.producer, short).await?;
            Ok(faults.inject(Fault::Mend).await?)
        }
        down => restart(stage, faults, down).await,
    }
}

/// The consumer gets as many as its credit, no more, and more as it settles.
async fn credit_holds(stage: &Stage, line: &mut Line) -> CaseResult {
    line.producer.send_many(&*line.bus, &line.queue, u64::from(LINE) + 2).await?;
    let mut in_hand = Vec::new();
    for _ in 0..LINE {
        in_hand.push(line.consumer.next().await?);
    }
    if let Some(more) = line.consumer.next_within(stage.times().redelivery).await? {
        return Err(Fail::broken(format!("{more} came beyond the credit of {LINE}")));
    }
    for taken in in_hand {
        taken.ack().await?;
    }
    for _ in 0..2 {
        line.consumer.next().await?.ack().await?;
    }
    Ok(())
}

/// A subscription, where the bus has topics.
struct News(Option<(Name, Producer, Subscriber)>);

impl News {
    async fn new(stage: &Stage, bus: &dyn Transport, start: Start) -> CaseResult<Self> {
        if !(stage.has(Feature::Topic) && stage.has(Feature::LiveSubscribe)) {
            return Ok(Self(None));
        }
        let topic = stage.name("t")?;
        let options = SubscribeOptions::default().with_start(start);
        let subscriber = stage.subscriber_with(bus, &topic, "s", options).await?;
        Ok(Self(Some((topic, stage.producer("news"), subscriber))))
    }

    /// What is published arrives at the old subscription, sooner or later. A gap may say what was missed.
    async fn arrive(&mut self, stage: &Stage, bus: &dyn Transport) -> CaseResult {
        let Some((topic, producer, subscriber)) = &mut self.0 else { return Ok(()) };
        let to = Target::Topic(topic.clone());
        let began = Instant::now();
        while began.elapsed() < stage.times().patience {
            let short = PublishOptions::default()
                .with_confirm(polybus_contract::Confirm::WhereAble)
                .with_within(stage.times().patience);
            let _ = offer(stage, bus, &to, producer, short).await?;
            let window = stage.times().redelivery;
            match timeout(window, subscriber.incoming().next()).await {
                Ok(Some(Arrival::Item(message))) => return subscriber.received(&message).map(|_| ()),
                Ok(Some(Arrival::Gap(_))) | Err(_) => {}
                Ok(None) => {
                    let end = subscriber.incoming().end();
                    return Err(Fail::broken(format!("the subscription came to its end: {end:?}")));
                }
            }
        }
        Err(Fail::broken("nothing of what is published reaches the subscription"))
    }
}

async fn subscribe_while_down(stage: &Stage) -> CaseResult {
    let faults = stage.faults(&[Fault::Stop, Fault::Start])?;
    own_client(&*faults)?;
    let first = stage.connect().await?;
    let name = stage.declare_this(&*first, queue(stage)?).await?;
    if stage.has(Feature::Topic) {
        stage.declare(&*first, &Topology::new().topic(Topic::new(stage.name("t")?))).await?;
    }
    faults.inject(Fault::Stop).await?;
    let bus = stage.open();
    let connected = stage.bounded("a connect to nobody", bus.connect(stage.times().redelivery)).await?;
    let down = |kind| matches!(kind, Kind::Disconnected | Kind::DeadlineExceeded);
    refused(connected, "a connect to a bus that is down", down)?;
    let patient = ConsumeOptions::default().with_credit(LINE).with_start(Start::Eventually);
    let consumer = stage.consumer_of(&*bus, &Intake::Queue(name.clone()), "early", patient).await?;
    let mut news = News::new(stage, &*bus, Start::Eventually).await?;
    sleep(stage.times().outage).await;
    faults.inject(Fault::Start).await?;
    reach(stage, &*first).await?;
    let mut line = Line { bus, queue: name, producer: stage.producer("p"), consumer };
    line.recover(stage).await.map_err(|fail| fail.during("after the start"))?;
    line.pass(3).await?;
    news.arrive(stage, &*line.bus).await?;
    check(stage, 1)
}

async fn silent_stall(stage: &Stage) -> CaseResult {
    let faults = stage.faults(&[Fault::Stall, Fault::Flow])?;
    let mut line = Line::new(stage).await?;
    line.pass(2).await?;
    faults.inject(Fault::Stall).await?;
    line.producer.send_many(&*line.bus, &line.queue, 2).await?;
    let bus = line.bus.clone();
    let shown = stage.until_within(stage.times().liveness, "that a stall is shown", || async {
        let health = bus.health();
        let stalled = |state| !matches!(state, SubscriptionState::Live);
        health.subscriptions.iter().any(|one| stalled(one.state)) || !matches!(health.link, Link::Up)
    });
    tokio::select! {
        shown = shown => shown?,
        // A transport that finds a way around the stall has seen it too.
        taken = line.consumer.next() => taken?.ack().await?,
    }
    faults.inject(Fault::Flow).await?;
    line.recover(stage).await?;
    line.pass(1).await?;
    let bus = line.bus.clone();
    stage.until("that all is well after a stall", || async { bus.health().is_good() }).await?;
    check(stage, 1)
}

async fn broker_blocked(stage: &Stage) -> CaseResult {
    const WAITING: u64 = 20;
    let faults = stage.faults(&[Fault::Fill, Fault::Relieve])?;
    let (sender, reader) = (stage.connect().await?, stage.connect().await?);
    let name = stage.declare_this(&*sender, queue(stage)?).await?;
    let target = Target::Queue(name.clone());
    let mut producer = stage.producer("p");
    producer.send_many(&*sender, &name, WAITING).await?;
    let mut consumer = stage.consumer(&*reader, &name, "c", LINE).await?;
    faults.inject(Fault::Fill).await?;
    let short = || PublishOptions::default().with_within(stage.times().redelivery);
    let back_pressure = |kind| matches!(kind, Kind::Full | Kind::DeadlineExceeded | Kind::Disconnected);
    let during = offer(stage, &*sender, &target, &mut producer, short()).await?;
    refused(during, "a publish during an alarm", back_pressure)?;
    let blocked = || async { matches!(sender.health().link, Link::Blocked) };
    stage.until("that an alarm is shown as a state", blocked).await?;
    for _ in 0..WAITING {
        let taken = consumer.next().await.map_err(|fail| fail.during("during an alarm"))?;
        taken.ack().await.map_err(|fail| fail.during("during an alarm"))?;
    }
    faults.inject(Fault::Relieve).await?;
    let well = || async { matches!(sender.health().link, Link::Up) };
    stage.until("that the end of an alarm is shown", well).await?;
    producer.send(&*sender, &name).await.map_err(|fail| fail.during("after an alarm"))?;
    take_all(stage, &mut consumer).await?;
    let acks = stage.has(Feature::SettleConfirmed);
    stage.check(&Expect::each_once().with_confirmed_acks(acks)).map(|_| ())
}

async fn clock_jump(stage: &Stage) -> CaseResult {
    let faults = stage.faults(&[Fault::Jump, Fault::JumpBack])?;
    let bus = stage.connect().await?;
    let name = stage.declare_this(&*bus, stage.queue("q")?).await?;
    let mut producer = stage.producer("p");
    for fault in [Fault::Jump, Fault::JumpBack] {
        let during = |fail: Fail| fail.during(format!("over a {fault} of the clock"));
        producer.send(&*bus, &name).await?;
        let mut holder = stage.consumer(&*bus, &name, "holder", 1).await?;
        let in_hand = holder.next().await?;
        let mut other = stage.consumer(&*bus, &name, "other", 1).await?;
        let harm = async { Ok(faults.inject(fault).await?) };
        let (delayed, asked) = (delay_kept(stage, &*bus, fault), answered(stage, &*bus));
        try_join(harm, try_join(delayed, asked)).await.map_err(during)?;
        other.nothing_more().await.map_err(during)?;
        in_hand.ack().await.map_err(during)?;
        drop((holder, other));
    }
    stage.check(&Expect::each_once()).map(|_| ())
}

/// A delayed retry comes after its delay, and does come, where the bus can delay.
async fn delay_kept(stage: &Stage, bus: &dyn Transport, fault: Fault) -> CaseResult {
    if !stage.has(Feature::RetryDelay) {
        return Ok(());
    }
    let sender = format!("over-{fault}");
    let name = stage.declare_queue(bus, &sender).await?;
    stage.producer(&sender).send(bus, &name).await?;
    let mut consumer = stage.consumer(bus, &name, "delayed", 1).await?;
    let delay = stage.times().lease;
    let began = Instant::now();
    consumer.next().await?.retry(delay).await?;
    let again = consumer.next().await?;
    ensure!(began.elapsed() >= delay, "a retry after {delay:?} came after {:?}", began.elapsed());
    again.ack().await
}

/// A call that waits meanwhile gets its reply, where the bus has requests.
async fn answered(stage: &Stage, bus: &dyn Transport) -> CaseResult {
    if !stage.has(Feature::Request) {
        return Ok(());
    }
    let name = stage.declare_queue(bus, "calls").await?;
    let mut requests = stage.consume(bus, &Intake::Queue(name.clone()), ConsumeOptions::default()).await?;
    let options = RequestOptions::default().with_deadline(stage.times().patience);
    let call = async { Ok(bus.call(&name, Message::new("x"), options).await?) };
    let work = async {
        let request = stage.next(&mut requests, "the worker").await?;
        sleep(stage.times().redelivery).await;
        if let Some(to) = request.message().reply_to().cloned() {
            bus.reply(&to, Message::new("y"), ReplyOptions::default()).await?;
        }
        Ok(request.ack().await?)
    };
    try_join(call, work).await.map(|_| ())
}
