//! What a case is given.

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use polybus_contract::{
    Arrival, Capability, Confirm, ConsumeOptions, Declared, Delivery, Feature, Group, Incoming, Intake, Name,
    Object, Profile, Queue, SubscribeOptions, Topology, Transport,
};
use tokio::time::timeout;

use crate::case::{CaseResult, Fail};
use crate::checker::{self, Expect, Findings};
use crate::faults::{Fault, Faults, Lasting};
use crate::ledger::{Entry, Flushing, Ledger};
use crate::outstanding::Outstanding;
use crate::subject::Subject;
use crate::times::Times;
use crate::traffic::{Consumer, Producer, Subscriber};

/// Lines of the log that are kept; what is beyond is counted.
const LOG_LINES: usize = 10_000;

/// What a case is given: handles on one bus, names of its own, declared times, seeded chance, a ledger, a log, and waiting
/// with a bound. Clones are the same stage.
#[derive(Clone)]
pub struct Stage(Arc<Inner>);

struct Inner {
    subject: Subject,
    run: String,
    prefix: String,
    seed: u64,
    rng: Mutex<fastrand::Rng>,
    ledger: Ledger,
    outstanding: Mutex<Outstanding>,
    began: Instant,
    log: Mutex<Vec<String>>,
    log_dropped: AtomicUsize,
    profile: Mutex<Profile>,
    handles: Mutex<Vec<Weak<dyn Transport>>>,
    declared: Mutex<Vec<Object>>,
    /// What lasts of the faults so far, and is undone after the case.
    lasting: Arc<Mutex<Vec<Fault>>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stage {
    /// A stage for the case of this id, with its ledger in `folder`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn new(subject: &Subject, id: &str, seed: u64, folder: &Path) -> std::io::Result<Self> {
        // Not from the seed: a replay must not meet what the run before it left on a broker.
        let run = uuid::Uuid::new_v4().simple().to_string().split_off(24);
        let profile = subject.open().profile();
        Ok(Self(Arc::new(Inner {
            subject: subject.clone(),
            prefix: format!("kit-{run}-{}", id.to_ascii_lowercase()),
            run,
            seed,
            rng: Mutex::new(fastrand::Rng::with_seed(seed)),
            ledger: Ledger::open(folder.join("ledger.jsonl"), Flushing::Buffered)?,
            outstanding: Mutex::default(),
            began: Instant::now(),
            log: Mutex::default(),
            log_dropped: AtomicUsize::new(0),
            profile: Mutex::new(profile),
            handles: Mutex::default(),
            declared: Mutex::default(),
            lasting: Arc::default(),
        })))
    }

    /// A fresh handle on the bus, not connected.
    #[must_use]
    pub fn open(&self) -> Arc<dyn Transport> {
        let handle = self.0.subject.open();
        locked(&self.0.handles).push(Arc::downgrade(&handle));
        handle
    }

    /// A fresh handle on the bus, connected within the declared patience.
    ///
    /// # Errors
    /// [`Fail`] if it does not connect.
    pub async fn connect(&self) -> CaseResult<Arc<dyn Transport>> {
        let handle = self.open();
        self.bounded("connect", handle.connect(self.times().patience)).await??;
        *locked(&self.0.profile) = handle.profile();
        Ok(handle)
    }

    /// What the bus said of itself when it was last connected.
    #[must_use]
    pub fn profile(&self) -> Profile {
        locked(&self.0.profile).clone()
    }

    /// What the bus declares.
    #[must_use]
    pub fn capability(&self) -> Capability {
        locked(&self.0.profile).capability
    }

    /// Whether the bus declares this.
    #[must_use]
    pub fn has(&self, feature: Feature) -> bool {
        self.capability().has(feature)
    }

    /// The bus to be judged.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.0.subject
    }

    /// The declared times.
    #[must_use]
    pub fn times(&self) -> &Times {
        self.0.subject.times()
    }

    /// How long to watch for what must not come: until an unsettled message would be back for certain.
    #[must_use]
    pub fn quiet(&self) -> Duration {
        self.times().past_lease(&self.capability())
    }

    /// Whether everything that was confirmed has been handed out. A consumer may come back later than a sender does, so
    /// that it is quiet does not say so.
    #[must_use]
    pub fn has_all_come(&self) -> bool {
        locked(&self.0.outstanding).is_empty()
    }

    /// The run, different each time.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.0.run
    }

    /// The case's seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// Chance, from the seed. Choices are repeated by a replay as long as they are asked for in the same order.
    pub fn choose<T>(&self, choice: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        choice(&mut locked(&self.0.rng))
    }

    /// This many bytes of chance.
    #[must_use]
    pub fn bytes(&self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.choose(|rng| rng.fill(&mut bytes));
        bytes
    }

    /// A name that no other case and no other run uses.
    ///
    /// # Errors
    /// [`Fail`] if `part` is not part of a name.
    pub fn name(&self, part: &str) -> CaseResult<Name> {
        Ok(Name::new(format!("{}-{part}", self.0.prefix))?)
    }

    /// What every name of this case begins with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// A queue of the case whose leases do not end while a case runs.
    ///
    /// # Errors
    /// As [`Stage::name`].
    pub fn queue(&self, part: &str) -> CaseResult<Queue> {
        let longer = self.times().patience * 2;
        let queue = Queue::new(self.name(part)?);
        let lease = self.capability().lease_limit.map_or(longer, |limit| limit.min(longer));
        Ok(if self.has(Feature::TimedLease) { queue.with_lease(lease) } else { queue })
    }

    /// A queue of the case with the declared short lease, where leases are timed.
    ///
    /// # Errors
    /// As [`Stage::name`].
    pub fn short_queue(&self, part: &str) -> CaseResult<Queue> {
        let queue = self.queue(part)?;
        Ok(if self.has(Feature::TimedLease) { queue.with_lease(self.times().lease) } else { queue })
    }

    /// Declares a queue like [`Stage::queue`] and says its name.
    ///
    /// # Errors
    /// As [`Stage::declare`].
    pub async fn declare_queue(&self, bus: &dyn Transport, part: &str) -> CaseResult<Name> {
        self.declare_this(bus, self.queue(part)?).await
    }

    /// Declares one queue and says its name.
    ///
    /// # Errors
    /// As [`Stage::declare`].
    pub async fn declare_this(&self, bus: &dyn Transport, queue: Queue) -> CaseResult<Name> {
        let name = queue.name.clone();
        self.declare(bus, &Topology::new().queue(queue)).await?;
        Ok(name)
    }

    /// Declares, and removes it all after the case where the bus can.
    ///
    /// # Errors
    /// [`Fail`] if the bus refuses or takes longer than the patience.
    pub async fn declare(&self, bus: &dyn Transport, topology: &Topology) -> CaseResult<Declared> {
        let declared = self.bounded("declare", bus.declare(topology)).await??;
        let mut objects = locked(&self.0.declared);
        objects.extend(topology.queues.iter().map(|queue| Object::Queue(queue.name.clone())));
        objects.extend(topology.groups.iter().map(group_object));
        objects.extend(topology.topics.iter().map(|topic| Object::Topic(topic.name.clone())));
        Ok(declared)
    }

    /// A producer of numbered messages.
    #[must_use]
    pub fn producer(&self, name: &str) -> Producer {
        Producer::new(self, name)
    }

    /// A consumer of numbered messages, live when this returns.
    ///
    /// # Errors
    /// [`Fail`] if the bus refuses or takes longer than the patience.
    pub async fn consumer(
        &self,
        bus: &dyn Transport,
        queue: &Name,
        name: &str,
        credit: u32,
    ) -> CaseResult<Consumer> {
        let options = ConsumeOptions::default().with_credit(credit);
        self.consumer_of(bus, &Intake::Queue(queue.clone()), name, options).await
    }

    /// A consumer of numbered messages of any intake, with any options.
    ///
    /// # Errors
    /// As [`Stage::consumer`].
    pub async fn consumer_of(
        &self,
        bus: &dyn Transport,
        intake: &Intake,
        name: &str,
        options: ConsumeOptions,
    ) -> CaseResult<Consumer> {
        let incoming = self.consume(bus, intake, options.with_label(name)).await?;
        Ok(Consumer::new(self, name, incoming))
    }

    /// A plain stream of deliveries, for what is not numbered.
    ///
    /// # Errors
    /// As [`Stage::consumer`].
    pub async fn consume(
        &self,
        bus: &dyn Transport,
        intake: &Intake,
        options: ConsumeOptions,
    ) -> CaseResult<Incoming<Delivery>> {
        Ok(self.bounded("consume", bus.consume(intake, options)).await??)
    }

    /// A subscriber of numbered messages, live when this returns.
    ///
    /// # Errors
    /// As [`Stage::consumer`].
    pub async fn subscriber(&self, bus: &dyn Transport, topic: &Name, name: &str) -> CaseResult<Subscriber> {
        Subscriber::new(self, bus, topic, name, SubscribeOptions::default()).await
    }

    /// As [`Stage::subscriber`], with these options.
    ///
    /// # Errors
    /// As there.
    pub async fn subscriber_with(
        &self,
        bus: &dyn Transport,
        topic: &Name,
        name: &str,
        options: SubscribeOptions,
    ) -> CaseResult<Subscriber> {
        Subscriber::new(self, bus, topic, name, options).await
    }

    /// Confirmed where the bus can confirm a send to a queue.
    #[must_use]
    pub fn confirm_queue(&self) -> Confirm {
        if self.has(Feature::Confirm) { Confirm::Required } else { Confirm::WhereAble }
    }

    /// Writes a line of the ledger.
    ///
    /// # Errors
    /// [`Fail::NotRun`] if it cannot be written.
    pub fn record(&self, entry: &Entry) -> CaseResult {
        locked(&self.0.outstanding).note(entry);
        Ok(self.0.ledger.write(entry)?)
    }

    /// Reads the ledger back from its file and checks it.
    ///
    /// # Errors
    /// [`Fail::Broken`] with what it proves, if that is not what is expected.
    pub fn check(&self, expect: &Expect) -> CaseResult<Findings> {
        self.0.ledger.flush()?;
        let findings = checker::check_files(&[self.0.ledger.path()], expect)?;
        self.log(format!("checked: {findings}"));
        if findings.is_good() { Ok(findings) } else { Err(Fail::broken(findings.to_string())) }
    }

    /// Writes a line of the log, which a failing case leaves behind.
    pub fn log(&self, line: impl fmt::Display) {
        let mut log = locked(&self.0.log);
        if log.len() < LOG_LINES {
            log.push(format!("{:>9.3} s  {line}", self.0.began.elapsed().as_secs_f64()));
        } else {
            self.0.log_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The lines of the log so far.
    #[must_use]
    pub fn log_lines(&self) -> Vec<String> {
        let mut lines = locked(&self.0.log).clone();
        let dropped = self.0.log_dropped.load(Ordering::Relaxed);
        if dropped > 0 {
            lines.push(format!("{dropped} more lines were not kept"));
        }
        lines
    }

    /// Waits for something of the bus within the declared patience.
    ///
    /// # Errors
    /// [`Fail`] naming `what` did not end.
    pub async fn bounded<F: Future>(&self, what: &str, future: F) -> CaseResult<F::Output> {
        let patience = self.times().patience;
        timeout(patience, future)
            .await
            .map_err(|_| Fail::broken(format!("{what} did not end within {patience:?}")))
    }

    /// Waits until `condition` holds, within the declared patience.
    ///
    /// # Errors
    /// [`Fail`] naming `what` did not come true.
    pub async fn until<F>(&self, what: &str, condition: impl FnMut() -> F) -> CaseResult
    where
        F: Future<Output = bool>,
    {
        self.until_within(self.times().patience, what, condition).await
    }

    /// Waits until `condition` holds, within a bound that the bus declares.
    ///
    /// # Errors
    /// [`Fail`] naming `what` did not come true.
    pub async fn until_within<F>(
        &self,
        bound: Duration,
        what: &str,
        mut condition: impl FnMut() -> F,
    ) -> CaseResult
    where
        F: Future<Output = bool>,
    {
        let looking = async {
            let mut pause = Duration::from_millis(1);
            while !condition().await {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(50));
            }
        };
        let late = |_| Fail::broken(format!("{what} did not end within {bound:?}"));
        timeout(bound, looking).await.map_err(late)
    }

    /// The next item that arrives, within the declared patience.
    ///
    /// # Errors
    /// [`Fail`] if nothing comes, or a gap or the end comes instead. `who` names the reader.
    pub async fn next<T: fmt::Debug>(&self, incoming: &mut Incoming<T>, who: &str) -> CaseResult<T> {
        let patience = self.times().patience;
        self.next_within(incoming, who, patience)
            .await?
            .ok_or_else(|| Fail::broken(format!("nothing came to {who} within {patience:?}")))
    }

    /// The next item that arrives within `time`; for what must not come.
    ///
    /// # Errors
    /// [`Fail`] if a gap or the end comes instead.
    pub async fn next_within<T: fmt::Debug>(
        &self,
        incoming: &mut Incoming<T>,
        who: &str,
        time: Duration,
    ) -> CaseResult<Option<T>> {
        match timeout(time, incoming.next()).await {
            Err(_) => Ok(None),
            Ok(Some(Arrival::Item(item))) => Ok(Some(item)),
            Ok(Some(Arrival::Gap(gap))) => Err(Fail::broken(format!("{who} has a gap: {gap:?}"))),
            Ok(None) => Err(Fail::broken(format!("{who} came to its end: {:?}", incoming.end()))),
        }
    }

    /// A handle of another tenant of the same bus, connected.
    ///
    /// # Errors
    /// [`Fail::NotRun`] if there is no other tenant.
    pub async fn neighbour(&self) -> CaseResult<Arc<dyn Transport>> {
        let none = || Fail::NotRun("no second tenant of this bus was given".to_owned());
        let handle = self.0.subject.neighbour().ok_or_else(none)?;
        locked(&self.0.handles).push(Arc::downgrade(&handle));
        self.bounded("connect as another tenant", handle.connect(self.times().patience)).await??;
        Ok(handle)
    }

    /// Whoever can do the faults that the case asked for. What lasts of them when the case is over, is undone.
    ///
    /// # Errors
    /// [`Fail::NotRun`] if nobody can; a case that names them in its table does not get this far.
    pub fn faults(&self, wanted: &[Fault]) -> CaseResult<Arc<dyn Faults>> {
        let found = self.0.subject.faults(wanted).cloned();
        let lasting = self.0.lasting.clone();
        let counted = found.map(|inside| -> Arc<dyn Faults> { Arc::new(Lasting { inside, lasting }) });
        counted.ok_or_else(|| Fail::NotRun(format!("nobody here can do {wanted:?} to the bus")))
    }

    /// Copies the ledger as it is now.
    pub(crate) fn copy_ledger(&self, to: &Path) -> std::io::Result<()> {
        self.0.ledger.flush()?;
        std::fs::copy(self.0.ledger.path(), to).map(|_| ())
    }

    /// Removes what the case declared, where the bus can, and closes its handles.
    pub(crate) async fn clear(&self) {
        let patience = self.times().patience;
        self.undo().await;
        let objects = std::mem::take(&mut *locked(&self.0.declared));
        if self.has(Feature::Remove) && !objects.is_empty() {
            let broom = self.open();
            let sweep = async {
                if broom.connect(patience).await.is_err() {
                    return;
                }
                let Some(desk) = broom.admin() else { return };
                for object in objects {
                    if let Err(error) = desk.remove(&object).await {
                        self.log(format!("left behind: {object}: {error}"));
                    }
                }
            };
            let _ = timeout(patience, sweep).await;
        }
        let handles = std::mem::take(&mut *locked(&self.0.handles));
        for handle in handles.iter().filter_map(Weak::upgrade) {
            if timeout(patience, handle.drain(Duration::ZERO)).await.is_err() {
                self.log("a handle did not close");
            }
        }
    }
}

impl Stage {
    /// The next case meets the bus as this one did.
    async fn undo(&self) {
        let lasting = locked(&self.0.lasting).clone();
        let Some(faults) = self.0.subject.faults(&[]).filter(|_| !lasting.is_empty()) else { return };
        for fault in lasting.into_iter().rev().filter_map(Fault::undone_by) {
            if let Err(error) = faults.inject(fault).await {
                self.log(format!("{fault} after the case: {error}"));
            }
        }
    }
}

fn group_object(group: &Group) -> Object {
    Object::Group { topic: group.topic.clone(), group: group.name.clone() }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage")
            .field("prefix", &self.0.prefix)
            .field("seed", &self.0.seed)
            .finish_non_exhaustive()
    }
}
