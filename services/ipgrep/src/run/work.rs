//! What is done with one chunk.

use super::lines::{Beside, Lines};
use super::plan::{Count, Output, RunOptions};
use super::tally::{Tally, label_of};
use crate::ident::Token;
use crate::map::{LabelId, Map};
use crate::scan::Scanner;

/// Scans chunks.
pub(super) struct Worker<'a> {
    map: &'a Map,
    options: &'a RunOptions<'a>,
    scanner: Scanner,
}

/// How many identifiers were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) identifiers: u64,
    pub(super) matches: u64,
}

impl<'a> Worker<'a> {
    pub(super) fn new(map: &'a Map, options: &'a RunOptions<'a>) -> Self {
        Self { map, options, scanner: Scanner::new(options.grammar.clone()) }
    }

    /// Appends the selected lines of a chunk and adds what is counted.
    pub(super) fn work(&mut self, text: &[u8], out: &mut Vec<u8>, tally: &mut Tally) -> Seen {
        match self.options.output {
            Output::Lines(select, masker) => {
                let mut lines = Lines::new(text, out, select, masker);
                let seen = self.scan(text, tally, |token, label| lines.token(token, label));
                lines.finish();
                seen
            }
            _ => self.scan(text, tally, |_, _| ()),
        }
    }

    #[inline]
    fn scan(
        &mut self,
        text: &[u8],
        tally: &mut Tally,
        mut write: impl FnMut(&Token<'_>, Option<LabelId>),
    ) -> Seen {
        let Self { map, options, scanner } = self;
        let keeps = |matching| options.count.counts(matching) || options.output.lists(matching);
        let keep = [keeps(false), keeps(true)];
        let mut beside = (options.count == Count::Beside).then(Beside::default);
        let mut seen = Seen::default();
        scanner.scan(text, *map, |token| {
            let label = label_of(map, &token.found);
            seen.identifiers += 1;
            seen.matches += u64::from(label.is_some());
            if keep[usize::from(label.is_some())] {
                let index = tally.add(&token.found, label);
                if let Some(beside) = &mut beside {
                    beside.token(text, token.start, label.is_some(), index, |index| tally.note_beside(index));
                }
            }
            write(&token, label);
        });
        seen
    }
}
