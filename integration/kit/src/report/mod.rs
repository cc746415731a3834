//! The one report: for machines as JSON, for people as a page (K7).

mod page;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use polybus_contract::{Capability, Feature, Profile, Property, UnixMillis};
use serde::Serialize;

use crate::case::Case;
use crate::subject::Subject;

/// What came of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The promise was kept.
    Pass,
    /// The promise was broken.
    Fail,
    /// The bus does not declare it and refuses it, honestly.
    Refused,
    /// It was not run. That is no pass.
    NotRun,
}

impl Verdict {
    /// All of them, in the order of summaries.
    pub const ALL: [Self; 4] = [Self::Pass, Self::Fail, Self::Refused, Self::NotRun];

    /// The words for it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Refused => "refused",
            Self::NotRun => "not run",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

/// What came of one case.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CaseReport {
    /// The case's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The letter of its group.
    pub group: String,
    /// What must hold.
    pub about: String,
    /// What came of it.
    pub verdict: Verdict,
    /// Why it failed, was refused or was not run; empty for a pass.
    pub why: String,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
    /// The case's own seed, made from that of the run.
    pub seed: u64,
    /// Where a failing case left what replays it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<String>,
}

impl CaseReport {
    pub(crate) fn new(case: &Case, seed: u64) -> Self {
        Self {
            id: case.id.to_owned(),
            name: case.name.to_owned(),
            group: case.group().to_owned(),
            about: case.about.to_owned(),
            verdict: Verdict::NotRun,
            why: String::new(),
            elapsed_ms: 0,
            seed,
            bundle: None,
        }
    }

    pub(crate) fn settle(&mut self, verdict: Verdict, why: String) {
        self.verdict = verdict;
        self.why = why;
    }
}

impl fmt::Display for CaseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<7} {:>6} ms  {} {}", self.verdict, self.elapsed_ms, self.id, self.name)?;
        if self.why.is_empty() { Ok(()) } else { write!(f, ": {}", self.why) }
    }
}

/// What the kit did to one mutant (K6).
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct MutantReport {
    /// The mutant's name.
    pub name: String,
    /// What is broken in it.
    pub about: String,
    /// Ids of the cases that must kill it.
    pub killers: Vec<String>,
    /// The cases that ran on it.
    pub cases: Vec<CaseReport>,
}

impl MutantReport {
    /// What `cases` did to a mutant.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        about: impl Into<String>,
        killers: &[&str],
        cases: Vec<CaseReport>,
    ) -> Self {
        let killers = killers.iter().map(|id| (*id).to_owned()).collect();
        Self { name: name.into(), about: about.into(), killers, cases }
    }

    /// What the case of this id did to it, if it ran.
    #[must_use]
    pub fn verdict_of(&self, id: &str) -> Option<Verdict> {
        self.cases.iter().find(|case| case.id == id).map(|case| case.verdict)
    }

    /// Whether every case that must kill it has failed on it.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        !self.killers.is_empty() && self.killers.iter().all(|id| self.verdict_of(id) == Some(Verdict::Fail))
    }
}

/// One line of the tables of what is declared.
#[derive(Clone, Debug, Serialize)]
pub struct Claim {
    /// The feature's or property's word.
    pub name: String,
    /// What it is, for people.
    pub about: String,
    /// Whether the bus declares it.
    pub declared: bool,
}

/// The report of a run.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// What was judged.
    pub subject: String,
    /// The kind of bus.
    pub bus: String,
    /// The run's seed.
    pub seed: u64,
    /// When it began, in milliseconds since 1970-01-01T00:00:00Z.
    pub began_unix_ms: i64,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
    /// Versions of the kit and of whatever the subject named.
    pub versions: Vec<(String, String)>,
    /// The times the bus declares, in milliseconds.
    pub times: Vec<(String, u64)>,
    /// The features and which of them the bus declares.
    pub capability: Vec<Claim>,
    /// Limits and grades.
    pub limits: Vec<(String, String)>,
    /// The properties of a message and which of them the bus carries.
    pub fidelity: Vec<Claim>,
    /// The cases.
    pub cases: Vec<CaseReport>,
    /// Mutants, if there were any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mutants: Vec<MutantReport>,
}

impl Report {
    /// A report without cases yet.
    #[must_use]
    pub fn new(subject: &Subject, seed: u64) -> Self {
        let times = subject.times();
        let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let times = [
            ("lease", times.lease),
            ("redelivery", times.redelivery),
            ("patience", times.patience),
            ("liveness", times.liveness),
            ("outage", times.outage),
        ];
        let mut report = Self {
            subject: subject.name().to_owned(),
            bus: String::new(),
            seed,
            began_unix_ms: UnixMillis::now().0,
            elapsed_ms: 0,
            versions: subject.versions().to_vec(),
            times: times.map(|(name, time)| (name.to_owned(), ms(time))).to_vec(),
            capability: Vec::new(),
            limits: Vec::new(),
            fidelity: Vec::new(),
            cases: Vec::new(),
            mutants: Vec::new(),
        };
        report.describe(&subject.open().profile());
        report
    }

    /// Writes down what the bus says of itself.
    pub fn describe(&mut self, profile: &Profile) {
        profile.bus.clone_into(&mut self.bus);
        let capability = profile.capability;
        let feature = |feature: &Feature| Claim {
            name: feature.name().to_owned(),
            about: feature.text().to_owned(),
            declared: capability.has(*feature),
        };
        self.capability = Feature::ALL.iter().map(feature).collect();
        let property = |property: &Property| Claim {
            name: property.name().to_owned(),
            about: String::new(),
            declared: profile.fidelity.has(*property),
        };
        self.fidelity = Property::ALL.iter().map(property).collect();
        self.limits = limits(&capability);
    }

    /// Adds what came of a case.
    pub fn add(&mut self, case: CaseReport) {
        self.elapsed_ms += case.elapsed_ms;
        self.cases.push(case);
    }

    /// One line: how many cases ended how.
    #[must_use]
    pub fn summary(&self) -> String {
        let counts = Verdict::ALL.map(|verdict| format!("{} {verdict}", self.count(verdict)));
        format!("{}: {}, seed {}, {} ms", self.subject, counts.join(", "), self.seed, self.elapsed_ms)
    }

    /// How many cases ended like this.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.cases.iter().filter(|case| case.verdict == verdict).count()
    }

    /// Whether something was run, nothing failed, and every mutant was killed. What was not run is not good, and not
    /// counted here: see [`Report::count`].
    #[must_use]
    pub fn is_good(&self) -> bool {
        let ran = self.count(Verdict::Pass) + self.count(Verdict::Refused) > 0 || !self.mutants.is_empty();
        ran && self.count(Verdict::Fail) == 0 && self.mutants.iter().all(MutantReport::is_killed)
    }

    /// The report as JSON.
    ///
    /// # Errors
    /// None that are known; it is what the library gives.
    pub fn json(&self) -> io::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// The report as one page that needs nothing else.
    #[must_use]
    pub fn page(&self) -> String {
        page::page(self)
    }

    /// Writes `report.json` and `report.html` into `folder` and says where they are.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, folder: &Path) -> io::Result<[PathBuf; 2]> {
        std::fs::create_dir_all(folder)?;
        let files = [folder.join("report.json"), folder.join("report.html")];
        std::fs::write(&files[0], self.json()?)?;
        std::fs::write(&files[1], self.page())?;
        Ok(files)
    }
}

fn limits(capability: &Capability) -> Vec<(String, String)> {
    let time = |time: Option<std::time::Duration>| time.map_or("none".to_owned(), |time| format!("{time:?}"));
    let bytes = capability.max_message.map_or("unknown".to_owned(), |bytes| format!("{bytes} bytes"));
    [
        ("durability", capability.durability().to_string()),
        ("settle", format!("{:?}", capability.settle).to_lowercase()),
        ("attempts", format!("{:?}", capability.attempts).to_lowercase()),
        ("lease", format!("{:?}", capability.lease).to_lowercase()),
        ("longest lease", time(capability.lease_limit)),
        ("largest message", bytes),
        ("highest priority", capability.max_priority.to_string()),
        ("repeated sends recognised for", time(capability.dedup_window)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())?;
        for case in self.cases.iter().filter(|case| case.verdict == Verdict::Fail) {
            write!(f, "\n{case}")?;
        }
        for mutant in self.mutants.iter().filter(|mutant| !mutant.is_killed()) {
            write!(f, "\nmutant {} lives: {}", mutant.name, mutant.killers.join(", "))?;
        }
        Ok(())
    }
}
