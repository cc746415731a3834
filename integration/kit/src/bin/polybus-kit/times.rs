//! Declared times from the command line.

use std::time::Duration;

use polybus_kit::Times;

/// Changes one of the times: `lease=300ms`, `redelivery=1s`, `patience=20s`.
pub(crate) fn set(times: Times, text: &str) -> Result<Times, String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("\"{text}\": a time is NAME=VALUE"))?;
    let value =
        duration(value).ok_or_else(|| format!("\"{text}\": the value is a number of ms or s, as 300ms"))?;
    match name {
        "lease" => Ok(times.with_lease(value)),
        "redelivery" => Ok(times.with_redelivery(value)),
        "patience" => Ok(times.with_patience(value)),
        "liveness" => Ok(times.with_liveness(value)),
        "outage" => Ok(times.with_outage(value)),
        _ => Err(format!("\"{text}\": the times are lease, redelivery, patience, liveness and outage")),
    }
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s')?, 1000),
    };
    let ms = number.parse::<u64>().ok()?.checked_mul(unit)?;
    (ms > 0).then(|| Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_faults_named() {
        let times = set(Times::default(), "lease=2s").unwrap();
        assert_eq!(set(times, "patience=500ms").unwrap().lease, Duration::from_secs(2));
        for wrong in ["lease", "lease=", "lease=0s", "lease=5", "tea=5s", "lease=-1s"] {
            assert!(set(times, wrong).unwrap_err().contains(wrong));
        }
    }
}
