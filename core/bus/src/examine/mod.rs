//! A look over a bus for what bites, before it bites: `polybus doctor` prints what this finds.

mod reach;
mod words;

use std::fmt;
use std::time::Duration;

use polybus_contract::{Diagnosis, Finding, Grade, Plan, Unmet};

pub use words::DIAGNOSES;
use words::{CONNECTION, NEEDS, PRIVATE, URL};

use crate::config::redact_url;
use crate::connect::{BUSES, Bus, CONNECT_WITHIN};

/// How long leaving the bus takes at most.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// What was found on a bus.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Examination {
    /// The URL, without secrets.
    pub url: String,
    /// The findings, the worst first.
    pub findings: Vec<Finding>,
}

impl Examination {
    fn new(url: &str, mut findings: Vec<Finding>) -> Self {
        // Two ways of looking may see the same.
        let mut seen: Vec<Finding> = Vec::with_capacity(findings.len());
        findings.retain(|finding| {
            let new = !seen.contains(finding);
            if new {
                seen.push(finding.clone());
            }
            new
        });
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.grade));
        Self { url: redact_url(url), findings }
    }

    /// How many findings have this grade.
    #[must_use]
    pub fn count(&self, grade: Grade) -> usize {
        self.findings.iter().filter(|finding| finding.grade == grade).count()
    }

    /// The worst grade.
    #[must_use]
    pub fn worst(&self) -> Grade {
        self.findings.iter().map(|finding| finding.grade).max().unwrap_or(Grade::Fine)
    }
}

impl fmt::Display for Examination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = Grade::ALL.iter().rev().map(|grade| format!("{} {grade}", self.count(*grade)));
        f.write_str(&counts.collect::<Vec<_>>().join(", "))
    }
}

/// Everything that is looked for on any bus of this build: the words of all buses, then those of each transport by its first scheme.
#[must_use]
pub fn catalogue() -> Vec<(&'static str, &'static Diagnosis)> {
    let mut lists: Vec<(&'static str, &'static [&'static Diagnosis])> = vec![("every bus", DIAGNOSES)];
    for kind in BUSES {
        // Schemes of one transport share its list.
        if lists.iter().all(|(_, list)| !std::ptr::eq(*list, kind.diagnoses)) {
            lists.push((kind.scheme, kind.diagnoses));
        }
    }
    lists.into_iter().flat_map(|(bus, list)| list.iter().map(move |diagnosis| (bus, *diagnosis))).collect()
}

/// Connects to the bus that `url` names and looks over it: for what keeps a client away, for needs of the services that
/// it does not meet, and for what its transport looks for ([`Transport::examine`](crate::Transport::examine)).
///
/// It changes nothing on the bus, and ends within a minute on one that answers. It never fails: that a bus cannot be
/// reached is a finding. Cancel safe.
pub async fn examine(url: &str, plan: &Plan) -> Examination {
    let bus = match Bus::open(url) {
        Ok(bus) => bus,
        Err(error) => {
            let told = error.detail().unwrap_or("it is not understood");
            return Examination::new(url, vec![URL.found("URL", told)]);
        }
    };
    let mut findings = Vec::new();
    if bus.is_local() {
        // Opening its journal would change it.
        findings.push(PRIVATE.found("bus", "it is inside one process"));
    } else {
        findings.extend(connected(&bus, url).await);
    }
    findings.extend(bus.transport().examine(plan).await);
    findings.extend(needs(&bus, plan));
    bus.drain(LEAVE_WITHIN).await;
    Examination::new(url, findings)
}

async fn connected(bus: &Bus, url: &str) -> Vec<Finding> {
    match bus.transport().connect(CONNECT_WITHIN).await {
        Ok(()) => vec![CONNECTION.fine("connection", "it is there")],
        Err(error) => reach::why(url, &error).await,
    }
}

fn needs(bus: &Bus, plan: &Plan) -> Vec<Finding> {
    let capability = bus.transport().profile().capability;
    let mut findings = Vec::new();
    for served in &plan.services {
        let of = [served.name.clone()];
        // A message that is too large is for the transport to judge.
        let unmet = served.needs.unmet(&capability).into_iter();
        let unmet = unmet.filter(|unmet| !matches!(unmet, Unmet::MessageSize { .. }));
        findings.extend(unmet.map(|unmet| NEEDS.found("bus", unmet.to_string()).with_services(of.clone())));
    }
    findings
}

#[cfg(all(test, feature = "embedded"))]
mod tests {
    use std::collections::HashSet;

    use polybus_contract::{Feature, Name, Needs, Queue, Served};

    use super::*;

    #[test]
    fn words_are_unique_on_each_bus_and_well_formed() {
        let plain =
            |code: &str| code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let mut seen = HashSet::new();
        for (bus, diagnosis) in catalogue() {
            assert!(seen.insert((bus, diagnosis.code)), "{bus}: {} twice", diagnosis.code);
            assert!(plain(diagnosis.code) && diagnosis.grade > Grade::Unknown, "{}", diagnosis.code);
            for text in [diagnosis.meaning, diagnosis.remedy] {
                assert!(
                    !text.is_empty() && !text.contains(['|', '\n']) && !text.contains("  "),
                    "{}",
                    diagnosis.code
                );
            }
        }
    }

    #[tokio::test]
    async fn needs_that_are_not_met_are_found_for_their_service() {
        let served = Served::new("anon", Queue::new(Name::new("anon_0.5.5").unwrap()))
            .with_needs(Needs::of([Feature::Replicated]));
        let found = examine("embedded:", &Plan::default().with_services([served])).await;
        assert_eq!((found.worst(), found.count(Grade::Fault)), (Grade::Fault, 1));
        assert_eq!(
            (found.findings[0].diagnosis.code, &*found.findings[0].services),
            ("needs-unmet", &["anon".to_owned()][..])
        );
        let wrong = examine("warp://u:s3cret@broker.example.org/", &Plan::default()).await;
        assert_eq!(wrong.findings[0].diagnosis.code, "bus-url");
        assert!(!format!("{wrong:?}").contains("s3cret"));
    }
}
