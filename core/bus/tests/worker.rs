//! Workers on the embedded bus: at least once, one answer, nothing lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests end at the first surprise")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use polybus::{
    Bus, Handler, Intake, Job, Keep, Kind, Message, Name, Nobody, Place, Queue, Reason, RequestOptions,
    Shutdown, Topology, TraceContext, TransportExt, Verdict, Worker, async_trait,
};
use tokio::sync::Notify;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn bus() -> Bus {
    Bus::open("embedded:").unwrap()
}

fn upper(job: &Job) -> Verdict {
    let bytes = job.message.body().as_bytes().unwrap();
    Verdict::Reply(Box::new(Message::new(bytes.to_ascii_uppercase())))
}

/// Does what the closure says.
struct Does<F>(F);

#[async_trait]
impl<F> Handler for Does<F>
where
    F: Fn(&Job) -> Verdict + Send + Sync + 'static,
{
    async fn handle(&self, job: Job) -> Verdict {
        (self.0)(&job)
    }
}

fn spawn(
    worker: Worker,
    shutdown: &Shutdown,
) -> tokio::task::JoinHandle<polybus::Result<polybus::DrainReport>> {
    let shutdown = shutdown.clone();
    tokio::spawn(worker.run(shutdown))
}

async fn ask(bus: &Bus, text: &'static str) -> polybus::Result<Vec<u8>> {
    let reply = bus.transport().call(&name("q"), Message::new(text), RequestOptions::default()).await?;
    Ok(reply.message.body().as_bytes().unwrap().to_vec())
}

async fn declared(bus: &Bus) {
    bus.transport().declare(&Topology::new().queue(Queue::new(name("q")))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn g5_a_panicking_worker_leaves_the_job_to_another() {
    let bus = bus();
    declared(&bus).await;
    let (_trigger, shutdown) = Shutdown::manual();
    let panics = Arc::new(AtomicU32::new(0));
    let seen = panics.clone();
    let broken = Does(move |_: &Job| -> Verdict {
        seen.fetch_add(1, Ordering::SeqCst);
        panic!("broken worker")
    });
    let _broken = spawn(Worker::new(&bus, name("q"), broken), &shutdown);
    let asked = tokio::spawn({
        let bus = bus.clone();
        async move { ask(&bus, "abc").await }
    });
    while panics.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let attempts = Arc::new(AtomicU32::new(0));
    let last = attempts.clone();
    let healthy = Does(move |job: &Job| {
        last.store(job.attempt, Ordering::SeqCst);
        upper(job)
    });
    let _healthy = spawn(Worker::new(&bus, name("q"), healthy), &shutdown);
    let answer = asked.await.unwrap();
    // Whoever got the later attempts: the caller has one answer, and the count is true.
    assert_eq!(answer.unwrap(), b"ABC");
    assert_eq!(attempts.load(Ordering::SeqCst), panics.load(Ordering::SeqCst) + 1);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_always_panics_ends_in_a_typed_answer() {
    let bus = bus();
    let (_trigger, shutdown) = Shutdown::manual();
    let runs = Arc::new(AtomicU32::new(0));
    let seen = runs.clone();
    declared(&bus).await;
    let broken = Does(move |_: &Job| -> Verdict {
        seen.fetch_add(1, Ordering::SeqCst);
        panic!("always")
    });
    let _worker = spawn(Worker::new(&bus, name("q"), broken), &shutdown);
    let error = ask(&bus, "abc").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Remote);
    assert!(error.to_string().contains("internal"), "{error}");
    assert_eq!(runs.load(Ordering::SeqCst), 5);
}

/// A handler that waits to be let go.
struct Gate {
    entered: Arc<Notify>,
    leave: Arc<Notify>,
}

#[async_trait]
impl Handler for Gate {
    async fn handle(&self, job: Job) -> Verdict {
        self.entered.notify_one();
        self.leave.notified().await;
        upper(&job)
    }
}

fn gate() -> (Gate, Arc<Notify>, Arc<Notify>) {
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    (Gate { entered: entered.clone(), leave: leave.clone() }, entered, leave)
}

#[tokio::test(start_paused = true)]
async fn g5_an_aborted_worker_leaves_the_job_to_another() {
    let bus = bus();
    declared(&bus).await;
    let (_trigger, shutdown) = Shutdown::manual();
    let (stuck, entered, _leave) = gate();
    let worker = spawn(Worker::new(&bus, name("q"), stuck), &shutdown);
    let asked = tokio::spawn({
        let bus = bus.clone();
        async move { ask(&bus, "abc").await }
    });
    entered.notified().await;
    worker.abort();
    let _other = spawn(
        Worker::new(
            &bus,
            name("q"),
            Does(|job: &Job| {
                assert_eq!(job.attempt, 2);
                upper(job)
            }),
        ),
        &shutdown,
    );
    assert_eq!(asked.await.unwrap().unwrap(), b"ABC");
}

#[tokio::test(start_paused = true)]
async fn d9_the_lease_is_renewed_while_the_handler_runs() {
    let bus = bus();
    let (_trigger, shutdown) = Shutdown::manual();
    let queue = Queue::new(name("q")).with_lease(Duration::from_secs(10));
    bus.transport().declare(&Topology::new().queue(queue)).await.unwrap();
    let runs = Arc::new(AtomicU32::new(0));
    for _ in 0..2 {
        let seen = runs.clone();
        let slow = Slow { runs: seen };
        drop(spawn(Worker::new(&bus, name("q"), slow), &shutdown));
    }
    let options = RequestOptions::default().with_deadline(Duration::from_mins(5));
    let reply = bus.transport().call(&name("q"), Message::new("abc"), options).await.unwrap();
    assert_eq!(reply.attempt, Some(1));
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert_eq!(runs.load(Ordering::SeqCst), 1, "a second worker saw the job");
}

struct Slow {
    runs: Arc<AtomicU32>,
}

#[async_trait]
impl Handler for Slow {
    async fn handle(&self, job: Job) -> Verdict {
        self.runs.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(35)).await;
        upper(&job)
    }
}

#[tokio::test(start_paused = true)]
async fn i3_drain_finishes_what_is_in_hand() {
    let bus = bus();
    declared(&bus).await;
    let (trigger, shutdown) = Shutdown::manual();
    let (slow, entered, leave) = gate();
    let worker = spawn(Worker::new(&bus, name("q"), slow), &shutdown);
    let asked = tokio::spawn({
        let bus = bus.clone();
        async move { ask(&bus, "abc").await }
    });
    entered.notified().await;
    trigger.drain();
    leave.notify_one();
    let report = worker.await.unwrap().unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.finished, 1);
    assert_eq!(asked.await.unwrap().unwrap(), b"ABC");
}

#[tokio::test(start_paused = true)]
async fn i4_drain_ends_at_its_deadline_and_says_so() {
    let bus = bus();
    declared(&bus).await;
    let (trigger, shutdown) = Shutdown::manual();
    let (stuck, entered, _leave) = gate();
    let worker = Worker::new(&bus, name("q"), stuck).with_drain(Duration::from_secs(3));
    let worker = spawn(worker, &shutdown);
    bus.transport().send(&name("q"), Message::new("abc")).await.unwrap();
    entered.notified().await;
    trigger.drain();
    let report = worker.await.unwrap().unwrap();
    assert_eq!((report.finished, report.abandoned), (0, 1));
    assert!(!report.is_clean());
    let figures = bus.transport().admin().unwrap().inspect(&Intake::Queue(name("q"))).await.unwrap();
    assert_eq!((figures.ready, figures.leased), (Some(1), Some(0)), "the job is back");
}

#[tokio::test(start_paused = true)]
async fn i4_a_second_signal_aborts() {
    let bus = bus();
    declared(&bus).await;
    let (trigger, shutdown) = Shutdown::manual();
    let (stuck, entered, _leave) = gate();
    let worker = spawn(Worker::new(&bus, name("q"), stuck), &shutdown);
    bus.transport().send(&name("q"), Message::new("abc")).await.unwrap();
    entered.notified().await;
    trigger.drain();
    trigger.abort();
    assert_eq!(worker.await.unwrap().unwrap().abandoned, 1);
}

#[tokio::test(start_paused = true)]
async fn c2_never_more_jobs_than_asked_for() {
    let bus = bus();
    declared(&bus).await;
    let (_trigger, shutdown) = Shutdown::manual();
    let (now, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let counted = Counted { now, most: most.clone() };
    drop(spawn(Worker::new(&bus, name("q"), counted).with_concurrency(7), &shutdown));
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let bus = bus.clone();
            tokio::spawn(async move { ask(&bus, "x").await.unwrap() })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), b"X");
    }
    assert_eq!(most.load(Ordering::SeqCst), 7);
}

struct Counted {
    now: Arc<AtomicU32>,
    most: Arc<AtomicU32>,
}

#[async_trait]
impl Handler for Counted {
    async fn handle(&self, job: Job) -> Verdict {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.now.fetch_sub(1, Ordering::SeqCst);
        upper(&job)
    }
}

#[tokio::test(start_paused = true)]
async fn d4_rejected_messages_keep_their_reason() {
    let bus = bus();
    declared(&bus).await;
    let (_trigger, shutdown) = Shutdown::manual();
    let rejects = Does(|_: &Job| Verdict::Reject {
        reply: None,
        reason: Reason::Decode,
        error: "not for us".to_owned(),
        keep: Keep::Body,
    });
    drop(spawn(Worker::new(&bus, name("q"), rejects), &shutdown));
    let id = bus.transport().send(&name("q"), Message::new("junk")).await.unwrap().id;
    let desk = bus.transport().admin().unwrap();
    let intake = Intake::Queue(name("q"));
    while desk.inspect(&intake).await.unwrap().dead != Some(1) {
        tokio::task::yield_now().await;
    }
    let page = desk.browse(&intake, Place::Dead, polybus::Browse::default()).await.unwrap();
    let message = &page.messages[0].message;
    assert_eq!(message.id(), Some(&id));
    let death = message.death().unwrap();
    assert_eq!(
        (death.reason.as_str(), death.error.as_deref(), death.attempts),
        ("decode", Some("not for us"), 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passed_is_not_worked_on() {
    let bus = bus();
    declared(&bus).await;
    let options = RequestOptions::default().with_deadline(Duration::from_millis(50));
    let error = bus.transport().call(&name("q"), Message::new("late"), options).await.unwrap_err();
    assert_eq!(error.kind(), Kind::DeadlineExceeded);
    // Real time, because a deadline is wall time and the paused clock does not move it.
    std::thread::sleep(Duration::from_millis(60));
    let (_trigger, shutdown) = Shutdown::manual();
    let runs = Arc::new(AtomicU32::new(0));
    let seen = runs.clone();
    let counting = Does(move |job: &Job| {
        seen.fetch_add(1, Ordering::SeqCst);
        upper(job)
    });
    drop(spawn(Worker::new(&bus, name("q"), counting), &shutdown));
    assert_eq!(ask(&bus, "now").await.unwrap(), b"NOW");
    assert_eq!(runs.load(Ordering::SeqCst), 1, "the late one was worked on");
}

#[tokio::test(start_paused = true)]
async fn at_most_once_leaves_a_second_attempt() {
    let bus = bus();
    declared(&bus).await;
    let (_trigger, shutdown) = Shutdown::manual();
    let runs = Arc::new(AtomicU32::new(0));
    let seen = runs.clone();
    let broken = Does(move |_: &Job| -> Verdict {
        seen.fetch_add(1, Ordering::SeqCst);
        panic!("once")
    });
    drop(spawn(Worker::new(&bus, name("q"), broken), &shutdown));
    let options = RequestOptions::default().with_at_most_once(true);
    let error = bus.transport().call(&name("q"), Message::new("x"), options).await.unwrap_err();
    assert!(error.to_string().contains("poison"), "{error}");
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn g3_nobody_and_no_queue_are_told_apart() {
    let bus = bus();
    let missing = ask(&bus, "x").await.unwrap_err();
    assert_eq!(missing.kind(), Kind::Unroutable);
    declared(&bus).await;
    let options = RequestOptions::default().with_nobody(Nobody::Fail);
    let nobody = bus.transport().call(&name("q"), Message::new("x"), options).await.unwrap_err();
    assert_eq!(nobody.kind(), Kind::NoResponder);
}

#[tokio::test(start_paused = true)]
async fn a_job_beyond_its_last_attempt_is_answered_and_kept() {
    let bus = bus();
    let (_trigger, shutdown) = Shutdown::manual();
    let fails = Does(|job: &Job| Verdict::Retry {
        after: Duration::from_millis(1),
        error: format!("attempt {} failed", job.attempt),
    });
    drop(spawn(Worker::new(&bus, name("q"), fails).with_max_attempts(3), &shutdown));
    let error = loop {
        match ask(&bus, "x").await.unwrap_err() {
            error if error.kind() == Kind::Unroutable => tokio::task::yield_now().await,
            error => break error,
        }
    };
    assert_eq!(error.kind(), Kind::Remote);
    assert!(error.to_string().contains("poison"), "{error}");
    let desk = bus.transport().admin().unwrap();
    let intake = Intake::Queue(name("q"));
    while desk.inspect(&intake).await.unwrap().dead != Some(1) {
        tokio::task::yield_now().await;
    }
    let page = desk.browse(&intake, Place::Dead, polybus::Browse::default()).await.unwrap();
    let death = page.messages[0].message.death().unwrap().clone();
    assert_eq!((death.reason.as_str(), death.attempts), ("attempts", 3));
    assert_eq!(death.error.as_deref(), Some("attempt 3 failed"));
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_workers_all_died_is_answered_by_the_next() {
    let bus = bus();
    let (_trigger, shutdown) = Shutdown::manual();
    let (stuck, entered, _leave) = gate();
    let (stuck, handler) = (Arc::new(stuck), entered);
    let worker = |handler: Shared| Worker::new(&bus, name("q"), handler).with_max_attempts(2);
    let first = spawn(worker(Shared(stuck.clone())), &shutdown);
    let asked = tokio::spawn({
        let bus = bus.clone();
        async move {
            while !bus.transport().admin().unwrap().list().await.is_ok_and(|queues| !queues.is_empty()) {
                tokio::task::yield_now().await;
            }
            ask(&bus, "abc").await
        }
    });
    handler.notified().await;
    first.abort();
    let second = spawn(worker(Shared(stuck.clone())), &shutdown);
    handler.notified().await;
    second.abort();
    drop(spawn(worker(Shared(stuck)), &shutdown));
    let error = asked.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("poison"), "{error}");
}

struct Shared(Arc<Gate>);

#[async_trait]
impl Handler for Shared {
    async fn handle(&self, job: Job) -> Verdict {
        self.0.handle(job).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_continues_the_trace_of_its_sender() {
    let bus = bus();
    declared(&bus).await;
    let (_trigger, shutdown) = Shutdown::manual();
    let tells = Does(|job: &Job| {
        let ids = [job.trace(), TraceContext::current()].map(|trace| trace.map(|trace| trace.to_string()));
        Verdict::Reply(Box::new(Message::new(format!("{ids:?}"))))
    });
    drop(spawn(Worker::new(&bus, name("q"), tells), &shutdown));
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let fidelity = bus.transport().profile().fidelity;
    let traced = TraceContext::read(parent, Some("a=1")).unwrap().put_on(Message::new("x"), &fidelity);
    let reply = bus.transport().call(&name("q"), traced, RequestOptions::default()).await.unwrap();
    let told = String::from_utf8(reply.message.body().as_bytes().unwrap().to_vec()).unwrap();
    assert_eq!(told, format!("[Some({parent:?}), Some({parent:?})]"));
    assert_eq!(ask(&bus, "x").await.unwrap(), b"[None, None]");
}
