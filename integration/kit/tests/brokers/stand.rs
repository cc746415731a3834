//! The brokers of one version, and what came of the cases on them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libtest_mimic::Failed;
use polybus_brokers::{Broker, Kind, Options, Product, Tls};
use polybus_contract::TransportExt;
use polybus_kit::proxy::Proxy;
use polybus_kit::{
    Case, CaseReport, Faults, Insisting, Report, RunOptions, Subject, Times, Verdict, run_case,
};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

use crate::foreign::Foreign;
use crate::harm::Harm;

/// Cases that do harm to the broker where somebody can, though they need not.
const HARMFUL: [&str; 2] = ["D11", "E2"];

/// Cases about TLS, which need listeners of their own.
const WITH_TLS: [&str; 2] = ["K1s", "K2s"];

/// Cases that use a bad link where there can be one.
const LINKED: &str = "DJ";

/// Cases that run at once, beside those that harm a broker: of these there is one for each broker at a time, and most of
/// its time passes with waiting.
static BESIDE: Semaphore = Semaphore::const_new(5);

pub(crate) struct Stand {
    pub(crate) kind: Kind,
    pub(crate) seed: u64,
    shared: Mutex<Option<Arc<Broker>>>,
    harmed: Mutex<Option<Arc<Broker>>>,
    cases: Mutex<Vec<CaseReport>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Each test has one: some count the tasks in it.
pub(crate) fn runtime() -> Result<Runtime, Failed> {
    Ok(Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// Starts a broker where there is none yet.
async fn get(kind: Kind, slot: &mut Option<Arc<Broker>>) -> Result<Arc<Broker>, Failed> {
    if slot.is_none() {
        *slot = Some(Arc::new(Broker::start(kind).await?));
    }
    slot.clone().ok_or_else(|| "no broker".into())
}

impl Stand {
    pub(crate) fn new(kind: Kind, seed: u64) -> Self {
        Self { kind, seed, shared: Mutex::default(), harmed: Mutex::default(), cases: Mutex::default() }
    }

    pub(crate) fn start(&self) -> Result<(), String> {
        self.shared().map(|_| ()).map_err(|failed| failed.message().unwrap_or_default().to_owned())
    }

    fn shared(&self) -> Result<Arc<Broker>, Failed> {
        runtime()?.block_on(get(self.kind, &mut locked(&self.shared)))
    }

    /// Runs a case and keeps what came of it for the report.
    pub(crate) fn judge(&self, case: &Case) -> Result<(), Failed> {
        let report = self.run(case)?;
        locked(&self.cases).push(report.clone());
        match report.verdict {
            Verdict::Pass | Verdict::Refused => Ok(()),
            Verdict::Fail | Verdict::NotRun => Err(report.to_string().into()),
        }
    }

    fn run(&self, case: &Case) -> Result<CaseReport, Failed> {
        if does_harm(case) { self.run_harmed(case) } else { self.run_shared(case) }
    }

    fn run_shared(&self, case: &Case) -> Result<CaseReport, Failed> {
        let broker = self.shared()?;
        runtime()?.block_on(async {
            let _place = BESIDE.acquire().await?;
            let mut subject = subject(&broker, LINKED.contains(case.group()), false).await?;
            let with =
                |tls| async move { Broker::start_with(self.kind, &Options::default().with_tls(tls)).await };
            // They live as long as the case.
            let _ends;
            if WITH_TLS.contains(&case.id) {
                let (right, wrong) = (with(Tls::Server).await?, with(Tls::WrongName).await?);
                let insisting = Insisting::by_urls(&broker.tls_url(), &right.url(), &wrong.url())?;
                subject = subject.with_insisting(insisting);
                _ends = (right, wrong);
            }
            Ok(run_case(&subject, case, &self.options()).await)
        })
    }

    /// On the broker that is harmed, which one case has at a time.
    fn run_harmed(&self, case: &Case) -> Result<CaseReport, Failed> {
        let mut slot = locked(&self.harmed);
        runtime()?.block_on(async {
            let broker = get(self.kind, &mut slot).await?;
            let subject = subject(&broker, true, true).await?;
            let report = run_case(&subject, case, &self.options()).await;
            // The next case gets one that is well.
            if broker.ready(Duration::from_secs(1)).await.is_err() && broker.restart().await.is_err() {
                *slot = None;
            }
            Ok(report)
        })
    }

    pub(crate) fn options(&self) -> RunOptions {
        RunOptions::default()
            .with_seed(self.seed)
            .with_bundles(Some(self.folder().join("bundles")))
            .with_case_bound(Duration::from_mins(4))
    }

    /// The list of what is not run is true: each case on it says why it cannot be run. One that can be belongs off it.
    pub(crate) fn says_what_is_not_run(&self, listed: &[&str]) -> Result<(), Failed> {
        for id in listed {
            let report = self.run_unjudged(id)?;
            if report.verdict != Verdict::NotRun || report.why.is_empty() {
                return Err(format!("it is on the list of what is not run: {report}").into());
            }
        }
        Ok(())
    }

    /// Runs a case for the report, whatever comes of it.
    pub(crate) fn run_unjudged(&self, id: &str) -> Result<CaseReport, Failed> {
        let case = polybus_kit::cases::all().into_iter().find(|case| case.id == id);
        let report = self.run(&case.ok_or_else(|| format!("the kit has no case {id}"))?)?;
        locked(&self.cases).push(report.clone());
        Ok(report)
    }

    /// Everything so far, as a report that names the versions of server and client.
    pub(crate) fn report(&self) -> Result<Report, Failed> {
        let broker = self.shared()?;
        runtime()?.block_on(async {
            let subject = subject(&broker, false, false).await?;
            let mut report = Report::new(&subject, self.seed);
            let handle = subject.open();
            handle.connect(subject.times().patience).await?;
            report.describe(&handle.profile());
            handle.close().await;
            let mut cases = locked(&self.cases).clone();
            let order: Vec<_> = polybus_kit::cases::all().iter().map(|case| case.id).collect();
            cases.sort_by_key(|case| order.iter().position(|id| *id == case.id));
            for case in cases {
                report.add(case);
            }
            Ok(report)
        })
    }

    /// Where the report of this broker goes: `kit/rabbitmq_3_10` in the target folder.
    pub(crate) fn folder(&self) -> PathBuf {
        let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
        temporary.parent().unwrap_or(temporary).join("kit").join(self.kind.word())
    }

    /// Ends the brokers; a static would not.
    pub(crate) fn close(&self) {
        locked(&self.shared).take();
        locked(&self.harmed).take();
    }
}

fn does_harm(case: &Case) -> bool {
    HARMFUL.contains(&case.id) || case.faults.iter().any(|fault| Harm::CAN.contains(fault))
}

/// What the author of the transport says of its times.
fn times(product: Product) -> Times {
    let times = Times::default().with_patience(Duration::from_secs(40));
    match product {
        // A message of a closed connection is back when the broker has noticed; a busy machine takes its time.
        Product::RabbitMq => times.with_redelivery(Duration::from_secs(1)),
        // The server looks for ended leases by a timer, and a pull waits for its turn.
        Product::Nats => times.with_lease(Duration::from_secs(1)).with_redelivery(Duration::from_secs(1)),
    }
}

/// The broker as a subject; behind a proxy that can make the link bad if `linked`, with who can do harm to it if `harmed`.
async fn subject(broker: &Arc<Broker>, linked: bool, harmed: bool) -> Result<Subject, Failed> {
    let mut faults: Vec<Arc<dyn Faults>> = vec![Arc::new(Foreign::new(broker.clone()))];
    let mut url = broker.url();
    if linked {
        let proxy = Proxy::start(broker.address()).await?;
        url = broker.url_at(&proxy.address().to_string());
        faults.push(Arc::new(proxy));
    }
    if harmed {
        faults.push(Arc::new(Harm::new(broker.clone())));
    }
    let stranger = broker.stranger_url();
    let wrong = move || polybus::Bus::open(&stranger).map(|bus| bus.transport().clone());
    // Only to know that it is understood.
    let first = wrong()?;
    let subject = Subject::from_url(&url)?
        .with_neighbour_url(&broker.neighbour_url())?
        .with_stranger(Broker::WRONG_PASSWORD, move || wrong().unwrap_or_else(|_| first.clone()))
        .with_times(times(broker.kind().product()))
        .with_faults(Arc::new(faults))
        .with_version(broker.kind().product().to_string(), broker.version())
        .with_version("runs", if broker.is_container() { "in a container" } else { "as a local program" });
    let (client, version) = client(broker.kind().product());
    Ok(subject.with_version(client, version))
}

/// The client library and the version that this was built with.
fn client(product: Product) -> (&'static str, String) {
    let name = match product {
        Product::RabbitMq => "lapin",
        Product::Nats => "async-nats",
    };
    let lock = include_str!("../../../../Cargo.lock");
    let entry = lock.split_once(&format!("name = \"{name}\"\nversion = \"")).map(|(_, rest)| rest);
    let version = entry.and_then(|rest| rest.split('"').next()).unwrap_or("unknown");
    (name, version.to_owned())
}
