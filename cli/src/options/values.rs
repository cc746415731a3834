//! How the values of options are written.

use std::time::Duration;

use polybus::Deadline;

/// Seconds, with or without a fraction.
///
/// # Errors
/// One line for people, as for the other readers here.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let refused = || "a number of seconds such as 30 or 0.5".to_owned();
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = text.parse().ok().filter(|_| plain).ok_or_else(refused)?;
    Duration::try_from_secs_f64(number).map_err(|_| refused())
}

/// Seconds of a deadline; 0 is for ever.
pub(crate) fn deadline(text: &str) -> Result<Deadline, String> {
    let within = seconds(text)?;
    Ok(if within.is_zero() { Deadline::Never } else { Deadline::Within(within) })
}

/// A number of at least 1.
pub(crate) fn positive(text: &str) -> Result<u32, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "a whole number from 1".to_owned())
}

/// A size in bytes of at least 1.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "a whole number of bytes from 1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_seconds_are_for_ever() {
        assert_eq!(deadline("0"), Ok(Deadline::Never));
        assert_eq!(deadline("0.0"), Ok(Deadline::Never));
        assert_eq!(deadline("1800"), Ok(Deadline::Within(Duration::from_mins(30))));
        assert_eq!(deadline(".25"), Ok(Deadline::Within(Duration::from_millis(250))));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "-1", "+1", "1e3", "inf", "nan", "soon", ".", "1.2.3", "99999999999999999999999"] {
            assert!(seconds(text).is_err(), "{text}");
        }
        assert!(positive("0").is_err() && positive("-1").is_err() && bytes("0").is_err() && bytes("1k").is_err());
    }
}
