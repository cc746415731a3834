//! Identifiers in bytes (PRISEM services specification, 7.2 and 7.8).

mod address;
mod border;
mod byte;
mod fast;
mod finds;
mod grammar;
mod index;
mod names;
mod plain_names;
mod quads;
#[cfg(test)]
pub(crate) mod reference;
mod signs;
mod suffix;
#[cfg(test)]
mod tests;

pub(crate) use finds::{Finds, Ip4, LineEnds, Other, What};
pub use grammar::{Covers, Dns, DnsError, Grammar, Tlds};
pub(crate) use signs::lower;

use index::Index;
use names::Chain;
use signs::Piece;

use crate::ident::{Classes, Token};
use crate::view::View;

/// Finds identifiers in texts.
///
/// Takes time in proportion to the text, whatever it holds. Keeps working memory between texts, so one scanner should
/// serve many.
#[derive(Debug, Default)]
pub struct Scanner {
    grammar: Grammar,
    chain: Chain,
    index: Index,
    finds: Finds,
    view: View,
    lower: Vec<u8>,
}

impl Scanner {
    /// A scanner for what the grammar says.
    #[must_use]
    pub fn new(grammar: Grammar) -> Self {
        Self { grammar, ..Self::default() }
    }

    /// Gives every identifier of a text in order. The text is one or more whole lines; an LF is a border like the end.
    ///
    /// `map` says which names a rule covers although they end in a file suffix.
    pub fn scan(&mut self, text: &[u8], map: &impl Covers, mut emit: impl FnMut(Token<'_>)) {
        if self.grammar.classes.is_core() {
            let mut lower = std::mem::take(&mut self.lower);
            self.scan_core(text, map, |finds| finds.drain(text, &mut lower, &mut emit));
            self.lower = lower;
            return;
        }
        self.chain.forget();
        let mut base = 0;
        for piece in text.split(|byte| *byte <= b' ') {
            self.scan_piece(piece, base, map, &mut emit);
            base += piece.len() + 1;
        }
    }

    /// The same for the classes of the core alone. Gives what was found by and by; `give` is to empty it.
    pub(crate) fn scan_core(&mut self, text: &[u8], map: &impl Covers, give: impl FnMut(&mut Finds)) {
        self.chain.forget();
        let Self { grammar, chain, index, finds, .. } = self;
        fast::Scan { text, grammar, map, chain, finds, cursor: 0, done: [0; 2] }.run(index, give);
    }

    fn scan_piece(&mut self, real: &[u8], base: usize, map: &impl Covers, emit: &mut impl FnMut(Token<'_>)) {
        let defang = self.grammar.classes.has(Classes::DEFANG);
        let mut piece = Piece { real, signs: real, starts: None, base };
        let Self { grammar, chain, view, lower, .. } = self;
        if View::differs(real, defang) {
            view.read(real, defang);
            piece = Piece { signs: view.signs(), starts: Some(view.starts()), ..piece };
        }
        if memchr::memchr2(b'.', b':', piece.signs).is_some() {
            chain.forget();
            signs::Scan { piece, grammar, map, chain, lower, next_at: None }.run(emit);
        }
    }
}
