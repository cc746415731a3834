//! The comparison with the embedded bus.

use std::sync::OnceLock;

use libtest_mimic::Failed;
use polybus_kit::{Report, RunOptions, Selection, Subject, Verdict, cases, parity};

use crate::stand::{Stand, runtime};

/// The groups that are compared.
const GROUPS: [&str; 9] = ["A", "B", "C", "D", "E", "F", "G", "H", "I"];

/// What the embedded bus answers, asked once.
#[derive(Default)]
pub(crate) struct Embedded(OnceLock<Report>);

impl Embedded {
    fn report(&self, seed: u64) -> Result<&Report, Failed> {
        if self.0.get().is_none() {
            let subject = Subject::from_url("embedded:kit-parity?max_message=1048576")?
                .with_neighbour_url("embedded:kit-parity-neighbour?max_message=1048576")?;
            let options = RunOptions::default().with_seed(seed).with_selection(Selection::groups(GROUPS));
            let report = runtime()?.block_on(polybus_kit::run(&subject, &cases::all(), &options));
            let _ = self.0.set(report);
        }
        self.0.get().ok_or_else(|| "no report of the embedded bus".into())
    }

    /// Compares a broker with it, and writes the report of the broker, with this as its case R3.
    pub(crate) fn compare(&self, stand: &Stand) -> Result<(), Failed> {
        stand.run_unjudged(parity::CASE)?;
        let mut report = stand.report()?;
        parity::judge(&mut report, self.report(stand.seed)?);
        let [_, page] = report.write(&stand.folder())?;
        println!("{}\n  {}", report.summary(), page.display());
        match report.cases.iter().find(|case| case.id == parity::CASE) {
            Some(case) if case.verdict == Verdict::Pass => Ok(()),
            Some(case) => Err(case.to_string().into()),
            None => Err("the kit has no such case".into()),
        }
    }
}
