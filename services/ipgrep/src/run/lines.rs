//! Selecting lines and replacing identifiers in them.

use memchr::memchr;

use super::plan::Select;
use crate::ident::{Found, Token};
use crate::map::LabelId;
use crate::mask::Masker;
use crate::scan::LineEnds;

/// Spans of the text up to this length are copied at once.
const SHORT: usize = 64;

/// Writes the selected lines of a chunk.
///
/// Text is copied in spans as long as possible. A line is looked at only when something in it matters: a match, or an
/// address that is replaced though it has no label.
pub(super) struct Lines<'a> {
    text: &'a [u8],
    out: &'a mut Vec<u8>,
    select: Select,
    masker: Option<&'a Masker>,
    /// Whether identifiers without a label may be replaced.
    unlabelled: bool,
    /// How much of the text has been dealt with.
    copied: usize,
    /// The line that is being written.
    line: Option<Line>,
}

#[derive(Clone, Copy)]
struct Line {
    end: usize,
    /// Length of the output before it.
    mark: usize,
    matched: bool,
}

impl<'a> Lines<'a> {
    pub(super) fn new(
        text: &'a [u8],
        out: &'a mut Vec<u8>,
        select: Select,
        masker: Option<&'a Masker>,
    ) -> Self {
        let unlabelled = masker.is_some_and(replaces_unlabelled);
        Self { text, out, select, masker, unlabelled, copied: 0, line: None }
    }

    /// Whether identifiers that match, or those that do not, matter at all.
    pub(super) fn wants(&self, matching: bool) -> bool {
        matching || self.unlabelled
    }

    /// Takes note of the next identifier.
    #[inline]
    pub(super) fn token(&mut self, token: &Token<'_>, label: Option<LabelId>, ends: &LineEnds) {
        if !self.wants(label.is_some()) {
            return;
        }
        if self.select != Select::All {
            self.enter_line(token.start, label.is_some(), ends);
        }
        if let Some(masker) = self.masker {
            append(self.out, self.text, self.copied, token.start);
            self.copied = token.start;
            if masker.write(self.out, token, label) {
                self.copied = token.end;
            }
        }
    }

    #[inline]
    fn enter_line(&mut self, at: usize, matched: bool, ends: &LineEnds) {
        if let Some(line) = self.line.as_mut().filter(|line| at < line.end) {
            line.matched |= matched;
            return;
        }
        self.leave_line();
        let start = ends.before(self.copied, at).map_or(self.copied, |lf| lf + 1);
        let end = ends.from(at).map_or(self.text.len(), |lf| lf + 1);
        if self.select == Select::NonMatching {
            self.out.extend_from_slice(&self.text[self.copied..start]);
        }
        self.copied = start;
        self.line = Some(Line { end, mark: self.out.len(), matched });
    }

    fn leave_line(&mut self) {
        let Some(line) = self.line.take() else { return };
        if line.matched == (self.select == Select::Matching) {
            append(self.out, self.text, self.copied, line.end);
        } else {
            self.out.truncate(line.mark);
        }
        self.copied = line.end;
    }

    /// Writes what is left of the chunk.
    pub(super) fn finish(mut self) {
        self.leave_line();
        if self.select != Select::Matching {
            self.out.extend_from_slice(&self.text[self.copied..]);
        }
    }
}

/// Appends a span of the text. Most are short: to copy a fixed length and cut it takes less time than to find the way
/// that suits the length.
#[inline]
fn append(out: &mut Vec<u8>, text: &[u8], from: usize, to: usize) {
    match text[from..].first_chunk::<SHORT>() {
        Some(span) if to - from <= SHORT => {
            let end = out.len() + (to - from);
            out.extend_from_slice(span);
            out.truncate(end);
        }
        _ => out.extend_from_slice(&text[from..to]),
    }
}

fn replaces_unlabelled(masker: &Masker) -> bool {
    let mut probe = Vec::new();
    masker.write(&mut probe, &Token { start: 0, end: 7, found: Found::Ip4(0) }, None)
}

/// Notes the identifiers that stand on a line with a match (7.7).
#[derive(Default)]
pub(super) struct Beside {
    line_end: usize,
    matched: bool,
    /// Identifiers without a label on this line, as long as there is no match on it.
    waiting: Vec<u32>,
}

impl Beside {
    pub(super) fn token(
        &mut self,
        text: &[u8],
        start: usize,
        matches: bool,
        index: u32,
        note: impl FnMut(u32),
    ) {
        if start >= self.line_end {
            self.line_end = memchr(b'\n', &text[start..]).map_or(text.len(), |lf| start + lf + 1);
            self.matched = false;
            self.waiting.clear();
        }
        self.matched |= matches;
        if !matches {
            self.waiting.push(index);
        }
        if self.matched {
            self.waiting.drain(..).for_each(note);
        }
    }
}
