//! Runs cases, one after another, each within a bound and with its panics contained.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::case::{Case, CaseResult, Fail};
use crate::report::{CaseReport, Report, Verdict};
use crate::stage::Stage;
use crate::subject::Subject;
use crate::twins;

/// Which cases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    groups: Vec<String>,
    cases: Vec<String>,
}

impl Selection {
    /// All of them.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Those with these ids or names.
    pub fn cases(cases: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::all().and_cases(cases)
    }

    /// Those of these groups, by their letters.
    pub fn groups(groups: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::all().and_groups(groups)
    }

    /// And those with these ids or names.
    #[must_use]
    pub fn and_cases(mut self, cases: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.cases.extend(cases.into_iter().map(Into::into));
        self
    }

    /// And those of these groups.
    #[must_use]
    pub fn and_groups(mut self, groups: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.groups.extend(groups.into_iter().map(Into::into));
        self
    }

    /// Whether `case` is among them.
    #[must_use]
    pub fn has(&self, case: &Case) -> bool {
        let is = |text: &String, other: &str| text.eq_ignore_ascii_case(other);
        (self.groups.is_empty() && self.cases.is_empty())
            || self.groups.iter().any(|group| is(group, case.group()))
            || self.cases.iter().any(|wanted| is(wanted, case.id) || is(wanted, case.name))
    }

    /// What was asked for and is in none of `cases`.
    #[must_use]
    pub fn unknown(&self, cases: &[Case]) -> Vec<String> {
        let group = |text: &&String| !cases.iter().any(|case| text.eq_ignore_ascii_case(case.group()));
        let case = |text: &&String| !cases.iter().any(|case| Self::cases([text.as_str()]).has(case));
        self.groups.iter().filter(group).chain(self.cases.iter().filter(case)).cloned().collect()
    }
}

/// How to run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunOptions {
    /// Which cases. Default all.
    pub selection: Selection,
    /// The seed of all chance. Default: a new one each time; the report names it.
    pub seed: u64,
    /// Where failing cases leave what replays them. Default `None`: nowhere.
    pub bundles: Option<PathBuf>,
    /// The longest that one case may take. Default 60 s.
    pub case_bound: Duration,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            selection: Selection::all(),
            seed: fastrand::u64(..),
            bundles: None,
            case_bound: Duration::from_mins(1),
        }
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident => $field:ident : $type:ty),* $(,)?) => {
        impl RunOptions {
            $($(#[$doc])* #[must_use] pub fn $name(mut self, value: $type) -> Self {
                self.$field = value;
                self
            })*
        }
    };
}

setters! {
    /// Sets [`RunOptions::selection`].
    with_selection => selection: Selection,
    /// Sets [`RunOptions::seed`].
    with_seed => seed: u64,
    /// Sets [`RunOptions::bundles`].
    with_bundles => bundles: Option<PathBuf>,
    /// Sets [`RunOptions::case_bound`].
    with_case_bound => case_bound: Duration,
}

/// Runs the selected cases on `subject`, in order.
pub async fn run(subject: &Subject, cases: &[Case], options: &RunOptions) -> Report {
    let mut report = Report::new(subject, options.seed);
    for case in cases.iter().filter(|case| options.selection.has(case)) {
        report.add(run_case(subject, case, options).await);
    }
    report.describe(&subject.open().profile());
    report
}

/// Runs one case on `subject`, or the negative twins of what the bus does not declare.
pub async fn run_case(subject: &Subject, case: &Case, options: &RunOptions) -> CaseReport {
    let began = Instant::now();
    let seed = case_seed(options.seed, case.id);
    let mut report = CaseReport::new(case, seed);
    let folder = tempfile::Builder::new().prefix("polybus-kit-").tempdir();
    let stage = folder.as_ref().map_err(|error| io::Error::from(error.kind()));
    match stage.and_then(|folder| Stage::new(subject, case.id, seed, folder.path())) {
        Err(error) => report.settle(Verdict::NotRun, Fail::from(error).to_string()),
        Ok(stage) => {
            let (verdict, why) = judge(subject, case, &stage, options.case_bound).await;
            report.settle(verdict, why);
            if tokio::time::timeout(options.case_bound, stage.clear()).await.is_err() {
                stage.log("clearing up did not end");
            }
            if let (Verdict::Fail, Some(bundles)) = (verdict, &options.bundles) {
                report.bundle = Some(keep_bundle(bundles, subject, &report, &stage, options.seed));
            }
        }
    }
    report.elapsed_ms = millis(began.elapsed());
    report
}

/// Each case has chance of its own, whatever else is selected.
fn case_seed(seed: u64, id: &str) -> u64 {
    id.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

async fn judge(subject: &Subject, case: &Case, stage: &Stage, bound: Duration) -> (Verdict, String) {
    // One handle stays open for the whole case: a bus in this process lives as long as somebody holds it.
    let _anchor = match stage.connect().await {
        Ok(anchor) => anchor,
        Err(fail) => return said(Err(fail.during("before the case"))),
    };
    let missing: Vec<_> = case.needs.iter().copied().filter(|need| !stage.has(*need)).collect();
    if !missing.is_empty() {
        let twins = stage.clone();
        let refusals = contained(bound, async move { twins::run(&twins, &missing).await }).await;
        return match refusals {
            Ok(refusals) => (Verdict::Refused, refusals.join("; ")),
            Err(fail) => said(Err(fail.during("negative twin"))),
        };
    }
    if !case.faults.is_empty() && subject.faults(case.faults).is_none() {
        let names: Vec<_> = case.faults.iter().map(|fault| fault.name()).collect();
        return (Verdict::NotRun, format!("nobody here can do this to the bus: {}", names.join(", ")));
    }
    let (body, on) = (case.body, stage.clone());
    said(contained(bound, async move { body(&on).await }).await)
}

fn said(result: CaseResult) -> (Verdict, String) {
    match result {
        Ok(()) => (Verdict::Pass, String::new()),
        Err(Fail::Broken(why)) => (Verdict::Fail, why),
        Err(Fail::Refused(why)) => (Verdict::Refused, why),
        Err(Fail::NotRun(why)) => (Verdict::NotRun, why),
    }
}

/// A panic is a failure of the case, and so is not coming to an end.
async fn contained<T: Send + 'static>(
    bound: Duration,
    work: impl Future<Output = CaseResult<T>> + Send + 'static,
) -> CaseResult<T> {
    let mut task = tokio::spawn(work);
    match tokio::time::timeout(bound, &mut task).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => Err(Fail::broken(format!("it panicked: {}", panic_text(error)))),
        Err(_) => {
            task.abort();
            Err(Fail::broken(format!("it did not end within {bound:?}")))
        }
    }
}

fn panic_text(error: tokio::task::JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "its task was cancelled".to_owned() };
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a text".to_owned())
}

/// Leaves what replays a failing case, and says where; or why that could not be written.
fn keep_bundle(bundles: &Path, subject: &Subject, report: &CaseReport, stage: &Stage, seed: u64) -> String {
    let folder = bundles.join(format!("{}-{seed}", report.id));
    let replay = json!({
        "subject": subject.name(), "case": report.id, "name": report.name, "seed": seed, "why": report.why,
        "replay": format!("polybus-kit run --case {} --seed {seed}", report.id),
        "run": stage.run(), "versions": subject.versions(),
    });
    let write = || {
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("replay.json"), format!("{replay:#}\n"))?;
        std::fs::write(folder.join("log.txt"), stage.log_lines().join("\n") + "\n")?;
        stage.copy_ledger(&folder.join("ledger.jsonl"))
    };
    match write() {
        Ok(()) => folder.display().to_string(),
        Err(error) => format!("could not be written: {error}"),
    }
}
