//! R3: does a bus answer as another one does, wherever both declare support? A comparison of two reports, of which the other
//! one is usually that of the embedded bus.

use std::fmt;

use crate::case::Case;
use crate::report::{Report, Verdict};
use crate::runner::{RunOptions, run_case};
use crate::subject::Subject;

/// The case that the comparison is.
pub const CASE: &str = "R3";

/// The groups that are compared.
const GROUPS: &str = "ABCDEFGHI";

/// A case that ended otherwise on two buses that both declare what it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// The case.
    pub case: String,
    /// What came of it on the bus that is judged.
    pub here: Verdict,
    /// What came of it on the other one.
    pub there: Verdict,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} here, {} there", self.case, self.here.text(), self.there.text())
    }
}

/// Whether the case is compared, if it runs on both.
#[must_use]
pub fn compares(case: &Case) -> bool {
    GROUPS.contains(case.group())
}

/// Runs those of the selected cases that can be compared with `report` on the other bus, and judges.
pub async fn run(report: &mut Report, there: &Subject, cases: &[Case], options: &RunOptions) {
    let mut other = Report::new(there, options.seed);
    // A bus in this process lives as long as somebody holds it.
    let _anchor = there.open();
    for case in cases.iter().filter(|case| compares(case) && options.selection.has(case)) {
        other.add(run_case(there, case, options).await);
    }
    judge(report, &other);
}

/// The cases of groups A to I that ran on both buses, and how many of them there are. What either bus does not declare
/// was refused there, and what could not be run says nothing: neither is compared.
#[must_use]
pub fn compare(here: &Report, there: &Report) -> (usize, Vec<Disagreement>) {
    let ran = |verdict| matches!(verdict, Verdict::Pass | Verdict::Fail);
    let mut compared = 0;
    let mut disagreements = Vec::new();
    for case in here.cases.iter().filter(|case| GROUPS.contains(&case.group) && ran(case.verdict)) {
        let other = there.cases.iter().find(|other| other.id == case.id && ran(other.verdict));
        let Some(other) = other else { continue };
        compared += 1;
        if other.verdict != case.verdict {
            let (here, there) = (case.verdict, other.verdict);
            disagreements.push(Disagreement { case: case.id.clone(), here, there });
        }
    }
    (compared, disagreements)
}

/// Writes the comparison into the report, as what came of its case R3, if that was asked for.
pub fn judge(report: &mut Report, other: &Report) {
    let (compared, disagreements) = compare(report, other);
    let Some(case) = report.cases.iter_mut().find(|case| case.id == CASE) else { return };
    let words: Vec<_> = disagreements.iter().map(ToString::to_string).collect();
    (case.verdict, case.why) = match (compared, disagreements.is_empty()) {
        (0, _) => (Verdict::NotRun, "no case of groups A to I ran on both".to_owned()),
        (_, true) => (Verdict::Pass, format!("{compared} cases ended as they do on {}", other.subject)),
        (_, false) => {
            let words = words.join("; ");
            (Verdict::Fail, format!("{compared} cases were compared with {}: {words}", other.subject))
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::CaseReport;
    use crate::subject::Subject;

    fn report(verdicts: &[(&str, Verdict)]) -> Report {
        let bus = Subject::from_url("embedded:parity").unwrap();
        let mut report = Report::new(&bus, 1);
        for (id, verdict) in verdicts {
            let cases = crate::cases::all();
            let case = cases.iter().find(|case| case.id == *id).unwrap();
            let mut made = CaseReport::new(case, 1);
            made.verdict = *verdict;
            report.cases.push(made);
        }
        report
    }

    #[test]
    fn r3_only_what_ran_on_both_is_compared() {
        use Verdict::{Fail, NotRun, Pass, Refused};
        let embedded = report(&[("A1", Pass), ("D1", Pass), ("E6", Pass), ("F1", NotRun), ("K5s", Pass)]);
        let live = report(&[("A1", Pass), ("D1", Fail), ("E6", Refused), ("F1", Pass), ("K5s", Fail)]);
        let (compared, disagreements) = compare(&live, &embedded);
        assert_eq!(compared, 2);
        assert_eq!(disagreements, [Disagreement { case: "D1".to_owned(), here: Fail, there: Pass }]);
    }

    #[test]
    fn r3_the_comparison_becomes_the_case() {
        use Verdict::{Fail, NotRun, Pass};
        for (here, there, verdict) in [(Pass, Pass, Pass), (Fail, Pass, Fail), (NotRun, Pass, NotRun)] {
            let mut live = report(&[("A1", here), ("R3", NotRun)]);
            judge(&mut live, &report(&[("A1", there)]));
            assert_eq!(live.cases[1].verdict, verdict);
        }
    }
}
