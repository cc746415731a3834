//! Transports that are broken on purpose (K6): the kit is tested by what it catches.
//!
//! Each [`Mutant`] wraps any correct bus and has one flaw. Every one must be killed by a named case, and every case must
//! kill one, or it proves nothing.

mod asking;
mod broken;
mod closing;
mod content;
mod dead;
mod fanout;
mod faulty;
mod flaw;
mod gate;
mod large;
mod promising;
mod resources;
mod secrets;
mod sending;
mod serving;
mod settling;
mod stranger;
mod table;
mod weather;

use std::fmt;
use std::sync::Arc;

use polybus_contract::{Checked, Transport};

use crate::case::Case;
use crate::report::{MutantReport, Verdict};
use crate::runner::{RunOptions, run_case};
use crate::subject::Subject;
use broken::Broken;
use flaw::{Flaw, Struck};

use stranger::{LockedOut, PASSWORD};
use weather::{Weather, WeatherMaker};

pub use table::ALL;

/// Where a flaw is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    /// In the transport, under the always-on checks.
    Under,
    /// In the checks themselves, or in a transport without them.
    Instead,
}

/// A transport with one flaw.
#[derive(Clone, Copy)]
pub struct Mutant {
    /// Its name, which is stable.
    pub name: &'static str,
    /// What it does wrong, in one line.
    pub flaw: &'static str,
    /// The group of cases that it offends.
    pub group: &'static str,
    /// The cases that must kill it.
    pub killers: &'static [&'static str],
    layer: Layer,
    make: fn(u64) -> Arc<dyn Flaw>,
}

impl Mutant {
    /// The mutant of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|mutant| mutant.name == name)
    }

    /// `subject`, broken in this way. What the flaw does by chance follows from the seed.
    #[must_use]
    pub fn of(&self, subject: &Subject, seed: u64) -> Subject {
        let flaw = (self.make)(seed);
        let name = format!("{}+{}", subject.name(), self.name);
        let told = flaw.clone();
        let subject = subject.clone().with_harm(move |faults| Arc::new(Struck { faults, flaw: told }));
        match self.layer {
            Layer::Under => subject.wrapped(name, move |inside| Arc::new(Broken::new(inside, flaw.clone()))),
            Layer::Instead => subject
                .wrapped(name, move |inside| {
                    Arc::new(Broken::new(Arc::new(Checked::new(inside)), flaw.clone()))
                })
                .unchecked(),
        }
    }
}

/// The subject with a stranger whose password is refused (I2), for a bus that has no passwords of its own.
#[must_use]
pub fn with_stranger(subject: &Subject) -> Subject {
    let inside = subject.clone();
    let refused = move || -> Arc<dyn Transport> { Arc::new(Broken::new(inside.open(), Arc::new(LockedOut))) };
    subject.clone().with_stranger(PASSWORD, refused)
}

/// The subject behind simulated outages and alarms, and somebody who makes them: what cases need that stop or fill a bus.
#[must_use]
pub fn with_weather(subject: &Subject) -> Subject {
    let weather = Arc::new(Weather::default());
    let maker = Arc::new(WeatherMaker(weather.clone()));
    let name = format!("{} in any weather", subject.name());
    subject.wrapped(name, move |inside| Arc::new(Broken::new(inside, weather.clone()))).with_faults(maker)
}

/// Runs the selected cases on one mutant after the other, and says what they did to it.
///
/// `subject` makes a fresh correct bus for each of them, by the name of the mutant. A mutant may leave its bus in any
/// state.
pub async fn run(
    subject: impl Fn(&str) -> Subject,
    mutants: &[Mutant],
    cases: &[Case],
    options: &RunOptions,
) -> Vec<MutantReport> {
    let mut reports = Vec::new();
    for mutant in mutants {
        let mut ran = Vec::new();
        for case in cases.iter().filter(|case| options.selection.has(case)) {
            let broken = mutant.of(&subject(mutant.name), options.seed);
            ran.push(run_case(&broken, case, options).await);
        }
        reports.push(MutantReport::new(mutant.name, mutant.flaw, mutant.killers, ran));
    }
    reports
}

/// The cases that killed none of these mutants.
#[must_use]
pub fn idle<'a>(cases: &'a [Case], reports: &[MutantReport]) -> Vec<&'a Case> {
    let kills = |case: &Case| reports.iter().any(|report| report.verdict_of(case.id) == Some(Verdict::Fail));
    cases.iter().filter(|case| !kills(case)).collect()
}

impl fmt::Debug for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mutant({})", self.name)
    }
}
