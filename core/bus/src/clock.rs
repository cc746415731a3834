//! The time that is written into output documents (PRISEM services specification, 3.4).

use std::env;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use thiserror::Error;

/// `SOURCE_DATE_EPOCH` is set to something else than Unix seconds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("SOURCE_DATE_EPOCH: \"{0}\" is no time in Unix seconds")]
pub struct BadSourceDate(String);

/// The current local time, or the time of `SOURCE_DATE_EPOCH` in UTC. For documents and default time windows only:
/// timers and log lines keep the real time.
///
/// # Errors
/// [`BadSourceDate`].
pub fn output_time() -> Result<Zoned, BadSourceDate> {
    match env::var_os("SOURCE_DATE_EPOCH").filter(|value| !value.is_empty()) {
        Some(value) => read(&value.to_string_lossy()),
        None => Ok(Zoned::now()),
    }
}

fn read(value: &str) -> Result<Zoned, BadSourceDate> {
    let timestamp = value.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    timestamp.map(|time| time.to_zoned(TimeZone::UTC)).ok_or_else(|| BadSourceDate(value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_time_is_in_utc() {
        assert_eq!(read("1392876660").unwrap().to_string(), "2014-02-20T06:11:00+00:00[UTC]");
        assert!(read("soon").is_err());
        assert!(read("99999999999999999").is_err());
    }
}
