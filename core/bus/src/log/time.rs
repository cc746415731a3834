//! Times of log lines: read as sent, shown in the zone of the reader (PRISEM services specification, 9.2 and 9.4).

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};

use crate::frame::decimal;

/// Numbers from here on are milliseconds, below it seconds.
const MILLISECONDS_FROM: i128 = 100_000_000_000;

/// Digits of a nanosecond.
const NANOS: u32 = 9;

/// The zone in which a monitor shows times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Zone {
    /// UTC.
    #[default]
    Utc,
    /// The zone of this machine, or of the environment variable `TZ`.
    Local,
}

impl Zone {
    fn of(self) -> TimeZone {
        match self {
            Self::Utc => TimeZone::UTC,
            Self::Local => TimeZone::system(),
        }
    }
}

/// A time as a sender wrote it: `YYYY-MM-DDThh:mm:ss`, fraction of one to nine digits, zone; both optional.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SentTime<'a> {
    /// The moment; none if it lies outside the years that can be written.
    pub(super) moment: Option<Timestamp>,
    /// The digits of the fraction.
    pub(super) fraction: &'a str,
}

impl<'a> SentTime<'a> {
    /// None unless `text` is a real date and time. Second 60 is read as 59, no zone means UTC.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        let (clock, rest) = text.split_at_checked("YYYY-MM-DDThh:mm:ss".len())?;
        let (fraction, zone) = split_fraction(rest)?;
        let offset = offset(zone)?;
        let local = civil(clock, fraction)?;
        Some(Self { moment: offset.to_timestamp(local).ok(), fraction })
    }
}

fn split_fraction(rest: &str) -> Option<(&str, &str)> {
    let Some(digits) = rest.strip_prefix(['.', ',']) else { return Some(("", rest)) };
    let length = digits.bytes().take_while(u8::is_ascii_digit).count();
    (1..=9).contains(&length).then(|| digits.split_at(length))
}

fn civil(clock: &str, fraction: &str) -> Option<DateTime> {
    let shape = clock.bytes().zip("0000-00-00T00:00:00".bytes());
    if !shape.into_iter().all(|(got, want)| got == want || (want == b'0' && got.is_ascii_digit())) {
        return None;
    }
    let number = |from: usize, to: usize| clock.get(from..to)?.parse::<i8>().ok();
    let year = clock.get(..4)?.parse().ok().filter(|year| *year > 0)?;
    let second = number(17, 19)?;
    let nanos = if fraction.is_empty() { 0 } else { format!("{fraction:0<9}").parse().ok()? };
    let second = if second == 60 { 59 } else { second };
    DateTime::new(year, number(5, 7)?, number(8, 10)?, number(11, 13)?, number(14, 16)?, second, nanos).ok()
}

/// `Z`, `+hh`, `+hhmm`, `+hh:mm`, the same with `-`, or nothing.
fn offset(zone: &str) -> Option<Offset> {
    if zone.is_empty() || zone == "Z" {
        return Some(Offset::UTC);
    }
    let sign = match zone.as_bytes()[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits = match zone.get(1..)?.as_bytes() {
        [a, b] => [*a, *b, b'0', b'0'],
        [a, b, c, d] | [a, b, b':', c, d] => [*a, *b, *c, *d],
        _ => return None,
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let [hours, minutes] = [[digits[0], digits[1]], [digits[2], digits[3]]]
        .map(|[tens, ones]| i32::from(tens - b'0') * 10 + i32::from(ones - b'0'));
    (hours < 24 && minutes < 60)
        .then(|| Offset::from_seconds(sign * (hours * 60 + minutes) * 60).ok())
        .flatten()
}

/// A number of seconds or milliseconds since 1970, as JSON records carry it.
pub(super) fn of_number(text: &str) -> Option<Timestamp> {
    let (whole, _) = decimal(text, 0)?;
    let power = if whole >= MILLISECONDS_FROM { NANOS - 3 } else { NANOS };
    Timestamp::from_nanosecond(decimal(text, power)?.0).ok()
}

/// `YYYY-MM-DDThh:mm:ss.ffffff` in UTC, cut to microseconds.
pub(super) fn utc_micros(moment: Timestamp) -> String {
    let utc = moment.to_zoned(TimeZone::UTC);
    format!("{}.{:06}", clock(&utc), utc.subsec_nanosecond() / 1000)
}

/// `YYYY-MM-DDThh:mm:ss[.fraction]+hh:mm` in `zone`, with these digits of a fraction.
pub(super) fn shown(moment: Timestamp, fraction: &str, zone: Zone) -> String {
    let there = moment.to_zoned(zone.of());
    let dot = if fraction.is_empty() { "" } else { "." };
    format!("{}{dot}{fraction}{}", clock(&there), there.strftime("%:z"))
}

/// [`shown`] with six digits.
pub(super) fn shown_micros(moment: Timestamp, zone: Zone) -> String {
    let micros = moment.to_zoned(TimeZone::UTC).subsec_nanosecond() / 1000;
    shown(moment, &format!("{micros:06}"), zone)
}

fn clock(at: &Zoned) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str) -> Option<String> {
        SentTime::read(text)?.moment.map(utc_micros)
    }

    #[test]
    fn times_as_sent() {
        for (text, want) in [
            ("2014-11-05T17:01:53.628154999-08:00", Some("2014-11-06T01:01:53.628154")),
            ("2014-11-05T17:01:53,6+0530", Some("2014-11-05T11:31:53.600000")),
            ("2014-11-05T17:01:53-05", Some("2014-11-05T22:01:53.000000")),
            ("2014-11-05T17:01:53", Some("2014-11-05T17:01:53.000000")),
            ("2014-11-05T23:59:60Z", Some("2014-11-05T23:59:59.000000")),
            ("1969-12-31T23:59:59.999999999", Some("1969-12-31T23:59:59.999999")),
            ("2012-02-29T00:00:00Z", Some("2012-02-29T00:00:00.000000")),
            ("2014-02-29T00:00:00Z", None),
            ("2014-11-05T24:00:00Z", None),
            ("2014-11-05T23:60:00Z", None),
            ("2014-11-05T23:59:61Z", None),
            ("2014-11-05 17:01:53", None),
            ("2014-11-05T17:01:53.", None),
            ("2014-11-05T17:01:53.1234567890", None),
            ("2014-11-05T17:01:53z", None),
            ("2014-11-05T17:01:53+5", None),
            ("2014-11-05T17:01:53+05:3", None),
            ("2014-11-05T17:01:53+24:00", None),
            ("2014-11-05T17:01:53+05:60", None),
            ("2014-11-05T17:01:53UTC", None),
            ("+014-11-05T17:01:53Z", None),
            ("0000-11-05T17:01:53Z", None),
            ("2014-11-05T17:01:5é", None),
        ] {
            assert_eq!(micros(text).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn numbers_are_seconds_or_milliseconds() {
        for (text, want) in [
            ("1415235136", Some("2014-11-06T00:52:16.000000")),
            ("1415235136.5", Some("2014-11-06T00:52:16.500000")),
            ("1415235136123", Some("2014-11-06T00:52:16.123000")),
            ("100000000000", Some("1973-03-03T09:46:40.000000")),
            ("99999999999", Some("5138-11-16T09:46:39.000000")),
            ("-0.5", Some("1969-12-31T23:59:59.500000")),
            ("1e30", None),
        ] {
            assert_eq!(of_number(text).map(utc_micros).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn shown_with_the_digits_that_were_sent() {
        let sent = SentTime::read("2014-11-05T17:01:53,628-08:00").unwrap();
        assert_eq!(shown(sent.moment.unwrap(), sent.fraction, Zone::Utc), "2014-11-06T01:01:53.628+00:00");
        let sent = SentTime::read("2014-11-05T17:01:53").unwrap();
        assert_eq!(shown(sent.moment.unwrap(), sent.fraction, Zone::Utc), "2014-11-05T17:01:53+00:00");
        assert_eq!(shown_micros(sent.moment.unwrap(), Zone::Utc), "2014-11-05T17:01:53.000000+00:00");
    }
}
