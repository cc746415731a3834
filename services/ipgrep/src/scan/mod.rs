//! Identifiers in bytes (PRISEM services specification, 7.2 and 7.8).

mod address;
mod anchors;
mod border;
mod byte;
mod fast;
mod grammar;
mod names;
mod quick;
#[cfg(test)]
pub(crate) mod reference;
mod signs;
mod suffix;
#[cfg(test)]
mod tests;

pub use grammar::{Covers, Dns, DnsError, Grammar, Tlds};
pub(crate) use signs::lower;

use anchors::Anchors;
use names::Chain;
use signs::Piece;

use crate::ident::{Classes, Found, Token};
use crate::view::View;

/// Receives identifiers.
pub(crate) trait Sink {
    /// An IPv4 address: far the most frequent kind, and wanted at once.
    fn ip4(&mut self, start: usize, end: usize, bits: u32);

    /// Any identifier.
    fn token(&mut self, token: Token<'_>);
}

struct Emit<F>(F);

impl<F: FnMut(Token<'_>)> Sink for Emit<F> {
    #[inline]
    fn ip4(&mut self, start: usize, end: usize, bits: u32) {
        self.token(Token { start, end, found: Found::Ip4(bits) });
    }

    #[inline]
    fn token(&mut self, token: Token<'_>) {
        (self.0)(token);
    }
}

/// Finds identifiers in texts.
///
/// Takes time in proportion to the text, whatever it holds. Keeps working memory between texts, so one scanner should
/// serve many.
#[derive(Debug, Default)]
pub struct Scanner {
    grammar: Grammar,
    chain: Chain,
    anchors: Anchors,
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
    pub fn scan(&mut self, text: &[u8], map: &impl Covers, emit: impl FnMut(Token<'_>)) {
        self.scan_into(text, map, &mut Emit(emit));
    }

    /// The same for a receiver that takes IPv4 addresses separately.
    pub(crate) fn scan_into(&mut self, text: &[u8], map: &impl Covers, sink: &mut impl Sink) {
        self.chain.forget();
        if self.grammar.classes.is_core() {
            let Self { grammar, chain, anchors, lower, .. } = self;
            fast::Scan { text, grammar, map, chain, lower, cursor: 0 }.run(anchors, sink);
        } else {
            let mut base = 0;
            for piece in text.split(|byte| *byte <= b' ') {
                self.scan_piece(piece, base, map, sink);
                base += piece.len() + 1;
            }
        }
    }

    fn scan_piece(&mut self, real: &[u8], base: usize, map: &impl Covers, sink: &mut impl Sink) {
        let defang = self.grammar.classes.has(Classes::DEFANG);
        let mut piece = Piece { real, signs: real, starts: None, base };
        let Self { grammar, chain, view, lower, .. } = self;
        if View::differs(real, defang) {
            view.read(real, defang);
            piece = Piece { signs: view.signs(), starts: Some(view.starts()), ..piece };
        }
        if memchr::memchr2(b'.', b':', piece.signs).is_some() {
            chain.forget();
            signs::Scan { piece, grammar, map, chain, lower, next_at: None }
                .run(&mut |token: Token<'_>| sink.token(token));
        }
    }
}
