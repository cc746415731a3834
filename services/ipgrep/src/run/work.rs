//! What is done with one chunk.

use super::batch::Batch;
use super::lines::{Beside, Lines};
use super::plan::{Count, Output, RunOptions};
use super::tally::{Tally, label_of};
use crate::ident::Token;
use crate::map::{LabelId, Map};
use crate::scan::{Finds, LineEnds, Scanner};

/// Scans chunks.
pub(super) struct Worker<'a> {
    map: &'a Map,
    options: &'a RunOptions<'a>,
    scanner: Scanner,
    batch: Batch,
}

/// How many identifiers were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) identifiers: u64,
    pub(super) matches: u64,
}

/// What happens to the identifiers of a chunk.
struct Use<'a, 't> {
    text: &'t [u8],
    tally: &'a mut Tally,
    /// Whether identifiers that do not match and those that do are kept in the tally.
    keep: [bool; 2],
    /// Whether their occurrences are counted there.
    count: bool,
    beside: Option<Beside>,
    lines: Option<Lines<'a>>,
    seen: Seen,
}

impl<'a> Worker<'a> {
    pub(super) fn new(map: &'a Map, options: &'a RunOptions<'a>) -> Self {
        Self { map, options, scanner: Scanner::new(options.grammar.clone()), batch: Batch::default() }
    }

    /// Appends the selected lines of a chunk and adds what is counted.
    pub(super) fn work(&mut self, text: &[u8], out: &mut Vec<u8>, tally: &mut Tally) -> Seen {
        let Self { map, options, scanner, batch } = self;
        let keeps = |matching| options.count.counts(matching) || options.output.lists(matching);
        let lines = match options.output {
            Output::Lines(select, masker) => Some(Lines::new(text, out, select, masker)),
            _ => None,
        };
        let mut used = Use {
            text,
            tally,
            keep: [keeps(false), keeps(true)],
            count: matches!(options.count, Count::All | Count::Beside),
            beside: (options.count == Count::Beside).then(Beside::default),
            lines,
            seen: Seen::default(),
        };
        if options.grammar.classes.is_core() {
            scanner.scan_core(text, *map, |finds| used.batch(batch, finds, map));
        } else {
            let mut ends = LineEnds::default();
            ends.read(text);
            scanner.scan(text, *map, |token| used.token(&token, label_of(map, &token.found), &ends));
        }
        used.finish()
    }
}

impl Use<'_, '_> {
    #[inline(never)]
    fn batch(&mut self, batch: &mut Batch, finds: &mut Finds, map: &Map) {
        let (text, wanted) = (self.text, [self.wants(false), self.wants(true)]);
        let ends = std::mem::take(&mut finds.line_ends);
        let take = |token: &Token<'_>, label| self.take(token, label, &ends);
        let seen = batch.drain(finds, (text, map), wanted, take);
        finds.line_ends = ends;
        self.seen.identifiers += seen.identifiers;
        self.seen.matches += seen.matches;
    }

    fn token(&mut self, token: &Token<'_>, label: Option<LabelId>, ends: &LineEnds) {
        self.seen.identifiers += 1;
        self.seen.matches += u64::from(label.is_some());
        self.take(token, label, ends);
    }

    fn wants(&self, matching: bool) -> bool {
        self.keep[usize::from(matching)] || self.lines.as_ref().is_some_and(|lines| lines.wants(matching))
    }

    #[inline]
    fn take(&mut self, token: &Token<'_>, label: Option<LabelId>, ends: &LineEnds) {
        let matches = label.is_some();
        if self.keep[usize::from(matches)] {
            let index = self.tally.index_of(&token.found, label);
            if self.count {
                self.tally.count(index);
            }
            if let Some(beside) = &mut self.beside {
                let tally = &mut *self.tally;
                beside.token(self.text, token.start, matches, index, |index| tally.note_beside(index));
            }
        }
        if let Some(lines) = &mut self.lines {
            lines.token(token, label, ends);
        }
    }

    fn finish(self) -> Seen {
        if let Some(lines) = self.lines {
            lines.finish();
        }
        self.seen
    }
}
