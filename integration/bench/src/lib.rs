//! Side-by-side benchmarks of Polybus.
//!
//! Each binary prints the machine, the versions, and per line a rate with its spread over several rounds.

use std::fmt;
use std::io::Write;
use std::time::Duration;

/// Operations per second over several rounds: the median, and the range they lie in.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// The median round.
    pub median: f64,
    /// The slowest round.
    pub least: f64,
    /// The fastest round.
    pub most: f64,
}

impl Spread {
    /// From the times that `operations` took in each round. No rounds: all zero.
    #[must_use]
    pub fn of(operations: u64, times: &[Duration]) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "counts of operations stay far below 2^52")]
        let rates = times.iter().map(|time| operations as f64 / time.as_secs_f64());
        Self::over(rates.collect())
    }

    /// Over any figures, one per round. No rounds: all zero.
    #[must_use]
    pub fn over(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        let at = |index: usize| figures.get(index).copied().unwrap_or(0.0);
        Self { median: at(figures.len() / 2), least: at(0), most: at(figures.len().saturating_sub(1)) }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, least, most } = self;
        write!(f, "{median:>12.0}/s  (from {least:.0} to {most:.0})")
    }
}

/// The machine and the compiler's target, in one line.
#[must_use]
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZeroUsize::get);
    let model = std::fs::read_to_string("/proc/cpuinfo").ok();
    let model =
        model.as_deref().and_then(|text| text.lines().find_map(|line| line.strip_prefix("model name")));
    let model = model.map_or("unknown processor", |line| line.trim_start_matches(['\t', ' ', ':']));
    let version = env!("CARGO_PKG_VERSION");
    let (system, architecture) = (std::env::consts::OS, std::env::consts::ARCH);
    let build = if cfg!(debug_assertions) { "debug build" } else { "release build" };
    format!("polybus {version}, {system} {architecture}, {cores} cores, {model}, {build}")
}

/// Prints a line; a closed output is no reason to fail.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_range() {
        let spread =
            Spread::of(100, &[Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(2)]);
        assert_eq!((spread.least, spread.median, spread.most), (25.0, 50.0, 100.0));
        assert_eq!(Spread::over(Vec::new()).most.to_bits(), 0);
    }
}
