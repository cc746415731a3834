//! Numbers and times that peers write in several ways (PRISEM services specification, 4.4 and 6.1).

use super::json::decimal;
use super::{Json, Number};

/// How many digits a decimal text may have.
const TEXT_DIGITS: usize = 18;

/// An integer of any sign: a JSON integer, a number without fraction, or decimal text with optional sign, 1 to 18
/// digits and blanks around. None for everything else and for what does not fit 64 bits signed.
#[must_use]
pub fn integer(value: &Json) -> Option<i64> {
    match value {
        Json::Number(number) => number.as_integer(),
        Json::String(text) => integer_text(text),
        _ => None,
    }
}

/// Like [`integer`], but not below zero: the kind `int` of request fields.
#[must_use]
pub fn unsigned(value: &Json) -> Option<i64> {
    integer(value).filter(|number| *number >= 0)
}

/// Unix seconds of a frame: [`integer`], and fractions (also in texts) are rounded down.
pub(super) fn time(value: &Json) -> Option<i64> {
    match value {
        Json::Number(number) => number.floor(),
        Json::String(text) => time_text(text),
        _ => None,
    }
}

/// A text, or a number as its shortest text.
pub(super) fn text_or_number(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.to_string()),
        Json::Number(number) => Some(Number::shortest_text(number)),
        _ => None,
    }
}

fn integer_text(text: &str) -> Option<i64> {
    let trimmed = trim_blanks(text);
    is_short_decimal(trimmed).then(|| trimmed.parse().ok()).flatten()
}

fn time_text(text: &str) -> Option<i64> {
    let trimmed = trim_blanks(text);
    let (whole, fraction) = trimmed.split_once('.').unwrap_or((trimmed, "0"));
    if !is_short_decimal(whole) || fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    decimal(trimmed, 0).and_then(|(floor, _)| i64::try_from(floor).ok())
}

/// The blanks that may stand around a value: all ASCII white space.
pub(crate) fn trim_blanks(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}')
}

/// An optional sign and 1 to 18 digits.
fn is_short_decimal(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    (1..=TEXT_DIGITS).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text.to_owned()).unwrap()
    }

    #[test]
    fn integers() {
        for (text, want) in [
            ("5", Some(5)),
            ("-5.0", Some(-5)),
            ("5.5", None),
            ("9223372036854775808", None),
            ("\" +5\\n\"", Some(5)),
            ("\"-007\"", Some(-7)),
            ("\"999999999999999999\"", Some(999_999_999_999_999_999)),
            ("\"1000000000000000000\"", None),
            ("\"5.0\"", None),
            ("\"1e3\"", None),
            ("\"\"", None),
            ("\"+\"", None),
            ("\"+-5\"", None),
            ("\"0x5\"", None),
            ("\"٥\"", None),
            ("true", None),
            ("null", None),
            ("[5]", None),
        ] {
            assert_eq!(integer(&json(text)), want, "{text}");
        }
        assert_eq!(unsigned(&json("-1")), None);
        assert_eq!(unsigned(&json("\"-0\"")), Some(0));
    }

    #[test]
    fn times() {
        for (text, want) in [
            ("1413590832.9", Some(1_413_590_832)),
            ("-5.5", Some(-6)),
            ("\"1413590832.77\"", Some(1_413_590_832)),
            ("\" -5.5 \"", Some(-6)),
            ("\"-5.0\"", Some(-5)),
            ("\"5.\"", None),
            ("\".5\"", None),
            ("\"1e9\"", None),
            ("\"1.2.3\"", None),
            ("\"1.-2\"", None),
            ("1e30", None),
            ("false", None),
        ] {
            assert_eq!(time(&json(text)), want, "{text}");
        }
    }
}
