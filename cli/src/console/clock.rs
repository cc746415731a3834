//! The time that is written into output documents.

use std::env;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::{Failure, Outcome};

/// The current local time, or the time of `SOURCE_DATE_EPOCH` in UTC (3.4).
///
/// # Errors
/// Exit 78 if the variable is set to something else than Unix seconds.
pub(crate) fn output_time() -> Outcome<Zoned> {
    env::var_os("SOURCE_DATE_EPOCH")
        .filter(|value| !value.is_empty())
        .map_or_else(|| Ok(Zoned::now()), |value| read(&value.to_string_lossy()))
}

fn read(value: &str) -> Outcome<Zoned> {
    let timestamp = value.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    let refused =
        || Failure::configuration(format!("SOURCE_DATE_EPOCH: `{value}` is no time in Unix seconds"));
    timestamp.map(|time| time.to_zoned(TimeZone::UTC)).ok_or_else(refused)
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
