//! JSON numbers kept as text, and the exact integers inside them.

use std::borrow::Cow;

use bytestring::ByteString;

/// A JSON number as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number(Repr);

/// An integer that 64 bits hold and that is written as we would write it is kept as such: arrays of them are common,
/// and a piece of the message for each would cost more. Every number has one form only.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Repr {
    Integer(i64),
    Text(ByteString),
}

impl Number {
    /// Takes a piece of `source` that the parser has found to be a JSON number.
    pub(super) fn from_checked(source: &ByteString, text: &str) -> Self {
        Self(small(text).map_or_else(|| Repr::Text(source.slice_ref(text)), Repr::Integer))
    }

    /// The number as it stands in the message.
    #[must_use]
    pub fn as_written(&self) -> Cow<'_, str> {
        match &self.0 {
            Repr::Integer(number) => number.to_string().into(),
            Repr::Text(text) => Cow::Borrowed(text),
        }
    }

    /// True if it is written without fraction and exponent, however large.
    #[must_use]
    pub fn is_integer_token(&self) -> bool {
        match &self.0 {
            Repr::Integer(_) => true,
            Repr::Text(text) => !text.contains(['.', 'e', 'E']),
        }
    }

    /// The value if it has no fraction (`5`, `5.0`, `5e3`) and fits 64 bits signed.
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        match &self.0 {
            Repr::Integer(number) => Some(*number),
            Repr::Text(text) => match decimal(text, 0)? {
                (floor, true) => i64::try_from(floor).ok(),
                _ => None,
            },
        }
    }

    /// The value rounded down, if that fits 64 bits signed.
    #[must_use]
    pub fn floor(&self) -> Option<i64> {
        decimal(&self.as_written(), 0).and_then(|(floor, _)| i64::try_from(floor).ok())
    }

    /// The shortest text that reads back as the same number: integers by their digits, all others as the nearest
    /// IEEE double is printed (`0.50` is `0.5`, `1.0` stays `1.0`). Beyond the range of doubles: as written.
    #[must_use]
    pub fn shortest_text(&self) -> String {
        let text = self.as_written();
        if self.is_integer_token() {
            return if text == "-0" { "0".to_owned() } else { text.into_owned() };
        }
        let double = text.parse().ok().and_then(serde_json::Number::from_f64);
        double.map_or_else(|| text.into_owned(), |number| number.to_string())
    }
}

/// The integer of a text that is its only spelling.
fn small(text: &str) -> Option<i64> {
    if text == "-0" { None } else { text.parse().ok() }
}

impl From<i64> for Number {
    fn from(number: i64) -> Self {
        Self(Repr::Integer(number))
    }
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        let text = || Repr::Text(number.to_string().into());
        Self(i64::try_from(number).map_or_else(|_| text(), Repr::Integer))
    }
}

/// The largest number of digits `decimal` keeps; far above 64 bits, far below what 128 bits hold.
const MAX_DIGITS: i64 = 36;

/// `text * 10^power` rounded down, and whether nothing was lost; none if the result has more than 36 digits.
/// `text` is a decimal number with optional sign, fraction and exponent. Exact: no floating point is involved.
pub(crate) fn decimal(text: &str, power: u32) -> Option<(i128, bool)> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let joined = [whole, fraction].concat();
    let significant = joined.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Some((0, true));
    }
    let trailing = joined.len() - joined.trim_end_matches('0').len();
    let scale = saturating_exponent(exponent)
        .saturating_add(i64::from(power))
        .saturating_add(signed(trailing))
        .saturating_sub(signed(fraction.len()));
    scaled(significant, scale).map(|(floor, exact)| match (negative, exact) {
        (false, _) => (floor, exact),
        (true, true) => (-floor, true),
        (true, false) => (-floor - 1, false),
    })
}

/// `digits * 10^scale` cut to an integer; `digits` neither begins nor ends with a zero.
fn scaled(digits: &str, scale: i64) -> Option<(i128, bool)> {
    let length = scale.saturating_add(signed(digits.len()));
    if length > MAX_DIGITS {
        return None;
    }
    let kept = usize::try_from(length).unwrap_or(0).min(digits.len());
    let value: i128 = if kept == 0 { 0 } else { digits[..kept].parse().ok()? };
    let zeros = u32::try_from(scale).unwrap_or(0);
    Some((value.checked_mul(10_i128.checked_pow(zeros)?)?, scale >= 0))
}

fn saturating_exponent(text: &str) -> i64 {
    let limit = if text.starts_with('-') { i64::MIN } else { i64::MAX };
    text.parse().unwrap_or(limit)
}

fn signed(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        let source = ByteString::from(text.to_owned());
        Number::from_checked(&source, &source)
    }

    #[test]
    fn integers_are_exact() {
        for (text, want) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("4384.0", Some(4384)),
            ("1e3", Some(1000)),
            ("120e-1", Some(12)),
            ("125e-1", None),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("-9223372036854775808", Some(i64::MIN)),
            ("0.0000e999999999999999999999", Some(0)),
            ("1e999999999999999999999", None),
            ("1e-999999999999999999999", None),
        ] {
            assert_eq!(number(text).as_integer(), want, "{text}");
        }
    }

    #[test]
    fn fractions_are_rounded_down() {
        for (text, want) in
            [("1.9", Some(1)), ("-1.1", Some(-2)), ("-0.5", Some(-1)), ("1e-400", Some(0)), ("1e30", None)]
        {
            assert_eq!(number(text).floor(), want, "{text}");
        }
    }

    #[test]
    fn shortest_texts() {
        for (text, want) in [("0.50", "0.5"), ("5", "5"), ("-0", "0"), ("5e-1", "0.5"), ("1.0", "1.0")] {
            assert_eq!(number(text).shortest_text(), want);
        }
        let large = "123456789012345678901234567890";
        assert_eq!(number(large).shortest_text(), large);
        assert_eq!(number("1e999").shortest_text(), "1e999");
    }
}
