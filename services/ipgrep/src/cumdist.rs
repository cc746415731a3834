//! Cumulative distribution of counts per label (PRISEM services specification, 8.4).

use std::io::{self, Write};

use serde_json::{Map as Object, Value};
use thiserror::Error;

use crate::json::write_text;
use crate::percent::percent;
use crate::stats::{self, TOTAL};

/// Input that holds no distribution.
#[derive(Debug, Error)]
pub enum CumdistError {
    /// The input is not one JSON value.
    #[error("not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// Neither `matchingstats` nor `matching_stats` is there.
    #[error("no key `matchingstats` or `matching_stats`")]
    NoStatistics,
    /// The statistics are neither an object nor an array of rows.
    #[error("the statistics must be an object or an array of {{\"site\",\"count\"}}")]
    BadShape,
    /// A count that is missing, negative or no integer.
    #[error("bad count for `{0}`")]
    BadCount(String),
    /// Labels have counts and the total is zero.
    #[error("the total is 0 while labels have counts")]
    ZeroTotal,
    /// The counts together exceed 64 bits.
    #[error("the counts are too large")]
    TooLarge,
}

/// Labels with their counts, by falling count, ties by the bytes of the label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    rows: Vec<(String, u64)>,
    sum: u64,
    stated: Option<u64>,
}

impl Distribution {
    /// Reads the statistics of a crosscor document, of a classification object, or of anything like them.
    ///
    /// # Errors
    /// [`CumdistError`]; nothing of a faulty input is used.
    pub fn parse(bytes: &[u8]) -> Result<Self, CumdistError> {
        let json = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let document: Value = serde_json::from_slice(json)?;
        let found = ["matchingstats", "matching_stats"]
            .iter()
            .find_map(|key| document.get(key).filter(|found| !found.is_null()));
        let (mut rows, mut stated) = (Vec::new(), None);
        for (label, count) in read_rows(found.ok_or(CumdistError::NoStatistics)?)? {
            if label == TOTAL || label == "All_Sites" {
                stated = Some(count);
            } else {
                rows.push((label, count));
            }
        }
        stats::sort(&mut rows);
        let sum = rows.iter().try_fold(0u64, |sum, (_, count)| sum.checked_add(*count));
        let sum = sum.ok_or(CumdistError::TooLarge)?;
        if stated == Some(0) && sum > 0 {
            Err(CumdistError::ZeroTotal)
        } else {
            Ok(Self { rows, sum, stated })
        }
    }

    /// The total: as stated, else the sum.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.stated.unwrap_or(self.sum)
    }

    /// A warning for the reader if the stated total is not the sum of the counts.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let stated = self.stated.filter(|stated| *stated != self.sum)?;
        Some(format!("{TOTAL} is {stated}, the counts add up to {}; percentages are of {stated}", self.sum))
    }

    /// Rows with percentage and cumulative percentage.
    fn ranked(&self) -> impl Iterator<Item = (&str, u64, String, String)> {
        let total = self.total();
        let mut running = 0;
        self.rows.iter().map(move |(label, count)| {
            running += count;
            (label.as_str(), *count, percent(*count, total, 2), percent(running, total, 2))
        })
    }

    /// Writes one line a label and the total.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        for (label, count, percent, cumulative) in self.ranked() {
            writeln!(out, "{label} {count} {percent} {cumulative}")?;
        }
        writeln!(out, "{TOTAL} {} 100.00", self.total())
    }

    /// Writes the same as one JSON object and LF.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(b"{\"rows\":[")?;
        for (number, (label, count, percent, cumulative)) in self.ranked().enumerate() {
            out.write_all(if number > 0 { b",{\"site\":" } else { b"{\"site\":" })?;
            write_text(out, label)?;
            write!(out, ",\"count\":{count},\"percent\":\"{percent}\",\"cumulative\":\"{cumulative}\"}}")?;
        }
        writeln!(out, "],\"total\":{}}}", self.total())
    }
}

fn read_rows(statistics: &Value) -> Result<Vec<(String, u64)>, CumdistError> {
    match statistics {
        Value::Object(counts) => counts.iter().map(|(label, count)| row(label, Some(count))).collect(),
        Value::Array(rows) => {
            rows.iter().map(|row| row.as_object().map_or(Err(CumdistError::BadShape), read_row)).collect()
        }
        _ => Err(CumdistError::BadShape),
    }
}

fn read_row(fields: &Object<String, Value>) -> Result<(String, u64), CumdistError> {
    let label = fields.get("site").and_then(Value::as_str).ok_or(CumdistError::BadShape)?;
    row(label, fields.get("count"))
}

fn row(label: &str, count: Option<&Value>) -> Result<(String, u64), CumdistError> {
    let count = count.and_then(read_int).and_then(|count| u64::try_from(count).ok());
    Ok((label.to_owned(), count.ok_or_else(|| CumdistError::BadCount(label.to_owned()))?))
}

/// Reads an integer field (PRISEM services specification, 6.1): a JSON number without fraction, or a decimal text
/// with an optional sign, 1 to 18 digits and blanks around. `None` for anything else, and outside 64 bits; the sign
/// is the caller's to judge.
#[must_use]
pub fn read_int(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(whole)),
        Value::String(text) => read_decimal(text.trim_ascii()),
        _ => None,
    }
}

/// A double without fraction that fits 64 bits.
#[allow(clippy::cast_possible_truncation)] // the bounds are checked before
fn whole(number: f64) -> Option<i64> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    let fits = number.fract() == 0.0 && (-LIMIT..LIMIT).contains(&number);
    fits.then_some(number as i64)
}

fn read_decimal(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let valid = (1..=18).contains(&digits.len()) && digits.bytes().all(|sign| sign.is_ascii_digit());
    if valid { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> String {
        match Distribution::parse(json.as_bytes()) {
            Err(error) => error.to_string(),
            Ok(distribution) => {
                let mut out = Vec::new();
                distribution.write_text(&mut out).unwrap();
                String::from_utf8(out).unwrap()
            }
        }
    }

    #[test]
    fn object_and_array() {
        let lines = "CITYA 4 57.14 57.14\nCITYB 3 42.86 100.00\nALLSITES 7 100.00\n";
        assert_eq!(text(r#"{"matchingstats":{"CITYB":3,"ALLSITES":7,"CITYA":4}}"#), lines);
        let rows = r#"[{"site":"CITYB","count":" 3 "},{"site":"CITYA","count":4.0,"percent":"x"}]"#;
        assert_eq!(text(&format!("\u{feff}{{\"matching_stats\":{rows}}}")), lines);
        assert_eq!(
            text(&format!("{{\"matching_stats\":{rows},\"matchingstats\":{{}}}}")),
            "ALLSITES 0 100.00\n"
        );
    }

    #[test]
    fn totals() {
        assert_eq!(text(r#"{"matchingstats":{"A":0,"All_Sites":0}}"#), "A 0 0.00 0.00\nALLSITES 0 100.00\n");
        assert_eq!(text(r#"{"matchingstats":{"A":1,"ALLSITES":0}}"#), CumdistError::ZeroTotal.to_string());
        let low = Distribution::parse(br#"{"matchingstats":{"A":3,"ALLSITES":2}}"#).unwrap();
        assert!(low.warning().unwrap().contains("add up to 3"));
        assert_eq!(
            text(r#"{"matchingstats":{"A":3,"ALLSITES":2}}"#),
            "A 3 150.00 150.00\nALLSITES 2 100.00\n"
        );
        assert_eq!(Distribution::parse(br#"{"matchingstats":{"A":3}}"#).unwrap().warning(), None);
    }

    #[test]
    fn refused() {
        let broken = [
            "",
            "nope",
            "[]",
            "7",
            "{}",
            r#"{"matchingstats":null}"#,
            r#"{"matchingstats":[1]}"#,
            r#"{"matchingstats":[{"count":1}]}"#,
            r#"{"matchingstats":[{"site":"A"}]}"#,
            r#"{"matchingstats":{"A":-1}}"#,
            r#"{"matchingstats":{"A":1.5}}"#,
            r#"{"matchingstats":{"A":"x"}}"#,
            r#"{"matchingstats":{"A":true}}"#,
            r#"{"matchingstats":{"A":9223372036854775808}}"#,
            r#"{"matchingstats":{"A":NaN}}"#,
            r#"{"matchingstats":{"A":1}} x"#,
        ];
        for json in broken {
            assert!(Distribution::parse(json.as_bytes()).is_err(), "{json}");
        }
        let huge = r#"{"matchingstats":{"A":9223372036854775807,"B":9223372036854775807,"C":2}}"#;
        assert_eq!(text(huge), CumdistError::TooLarge.to_string());
    }

    #[test]
    fn json_form() {
        let mut out = Vec::new();
        let distribution = Distribution::parse(br#"{"matchingstats":{"\u00e9\"":1,"B":3}}"#).unwrap();
        distribution.write_json(&mut out).unwrap();
        let want = r#"{"rows":[{"site":"B","count":3,"percent":"75.00","cumulative":"75.00"},{"site":"é\"","count":1,"percent":"25.00","cumulative":"100.00"}],"total":4}"#;
        assert_eq!(String::from_utf8(out).unwrap(), format!("{want}\n"));
    }

    #[test]
    fn integers_of_fields() {
        let read = |json: &str| read_int(&serde_json::from_str(json).unwrap());
        let cases = [
            ("7", Some(7)),
            ("7.0", Some(7)),
            ("1e3", Some(1000)),
            ("-0.0", Some(0)),
            ("-3", Some(-3)),
            ("\" +12\\t\"", Some(12)),
            ("\"-5\"", Some(-5)),
            ("\"0007\"", Some(7)),
            ("\"123456789012345678\"", Some(123_456_789_012_345_678)),
            ("\"1234567890123456789\"", None),
            ("\"1.0\"", None),
            ("\"\"", None),
            ("\"+\"", None),
            ("\"+-1\"", None),
            ("0.5", None),
            ("9223372036854775808", None),
            ("1e300", None),
            ("null", None),
            ("true", None),
            ("[]", None),
        ];
        for (json, value) in cases {
            assert_eq!(read(json), value, "{json}");
        }
    }
}
