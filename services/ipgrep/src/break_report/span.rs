//! The first and the last time that a text speaks of.

use memchr::memchr_iter;
use serde::Serialize;

/// A date and time as `YYYY-MM-DDThh:mm:ss`; texts of this form are in the order of time.
type Moment = [u8; 19];

/// First and last time on the lines of a text, as written there, without zones.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Span(Option<(Moment, Moment)>);

#[derive(Debug, Serialize)]
pub(super) struct Written {
    first: Option<String>,
    last: Option<String>,
}

impl Span {
    /// Notes every time of a line: `YYYY-MM-DD` or `YYYY/MM/DD`, `T` or a blank, `hh:mm:ss`.
    pub(super) fn note(&mut self, line: &[u8]) {
        for colon in memchr_iter(b':', line) {
            let Some(moment) = moment_around(line, colon) else { continue };
            let (first, last) = self.0.unwrap_or((moment, moment));
            self.0 = Some((first.min(moment), last.max(moment)));
        }
    }

    pub(super) fn written(self) -> Written {
        let text = |moment: Moment| String::from_utf8_lossy(&moment).into_owned();
        Written { first: self.0.map(|(first, _)| text(first)), last: self.0.map(|(_, last)| text(last)) }
    }
}

/// The time whose first colon stands here.
fn moment_around(line: &[u8], colon: usize) -> Option<Moment> {
    let start = colon.checked_sub(13)?;
    let mut moment: Moment = *line.get(start..)?.first_chunk()?;
    if start.checked_sub(1).is_some_and(|before| line[before].is_ascii_digit()) || !looks_like_time(&moment) {
        return None;
    }
    (moment[4], moment[7], moment[10]) = (b'-', b'-', b'T');
    Some(moment)
}

fn looks_like_time(moment: &Moment) -> bool {
    let shape = moment.iter().zip(b"0000-00-00T00:00:00").all(|(sign, form)| match form {
        b'0' => sign.is_ascii_digit(),
        b'-' => b"-/".contains(sign),
        b'T' => b"T ".contains(sign),
        form => sign == form,
    });
    let number = |at: usize| (moment[at] - b'0') * 10 + moment[at + 1] - b'0';
    shape
        && (1..=12).contains(&number(5))
        && (1..=31).contains(&number(8))
        && number(11) < 24
        && number(14) < 60
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(text: &str) -> (Option<String>, Option<String>) {
        let mut span = Span::default();
        span.note(text.as_bytes());
        let written = span.written();
        (written.first, written.last)
    }

    #[test]
    fn times_in_any_place() {
        let both = (Some("2013-12-31T23:00:00".to_owned()), Some("2014-01-03T23:22:13".to_owned()));
        assert_eq!(span("x|2014/01/03T23:22:13.994|2013-12-31 23:00:00Z"), both);
        for text in ["", ":", "12:00:00", "2014/13/03T23:22:13", "12014/01/03T23:22:13", "2014/01/03T23:22:1"]
        {
            assert_eq!(span(text), (None, None), "{text}");
        }
    }
}
