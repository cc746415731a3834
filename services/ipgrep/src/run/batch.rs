//! Identifiers of the core, gathered so that they are looked up together.
//!
//! A lookup waits for memory and what is done with its result is hard to predict. Looked up one after the other without
//! anything in between, many addresses wait at the same time.

use crate::ident::{Found, Token};
use crate::map::{LabelId, Map};
use crate::scan::lower;

/// How many identifiers are gathered.
const SIZE: usize = 128;

/// Identifiers in order of their places.
#[derive(Debug, Default)]
pub(super) struct Batch {
    items: Vec<Item>,
    ip6: Vec<u128>,
    lower: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Item {
    start: usize,
    end: usize,
    label: Option<LabelId>,
    what: What,
}

/// What is not in the text in this form; kept small.
#[derive(Clone, Copy, Debug)]
enum What {
    Ip4(u32),
    /// The next of [`Batch::ip6`].
    Ip6,
    Host,
}

impl Batch {
    /// Whether it is time to drain the batch.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.items.len() >= SIZE
    }

    /// Gathers an IPv4 address.
    #[inline]
    pub(super) fn push_ip4(&mut self, start: usize, end: usize, bits: u32) {
        self.items.push(Item { start, end, label: None, what: What::Ip4(bits) });
    }

    /// Gathers an identifier of the core.
    pub(super) fn push(&mut self, token: &Token<'_>, map: &Map) {
        let (what, label) = match token.found {
            Found::Ip4(bits) => (What::Ip4(bits), None),
            Found::Ip6(bits) => {
                self.ip6.push(bits);
                (What::Ip6, map.ip6(bits))
            }
            Found::Host(name) => (What::Host, map.host(name)),
            _ => return,
        };
        self.items.push(Item { start: token.start, end: token.end, label, what });
    }

    /// Gives what was gathered from `text` with its labels, if `wanted` says so of the label.
    #[inline]
    pub(super) fn drain(
        &mut self,
        text: &[u8],
        map: &Map,
        mut wanted: impl FnMut(Option<LabelId>) -> bool,
        mut take: impl FnMut(&Token<'_>, Option<LabelId>),
    ) {
        for item in &mut self.items {
            if let What::Ip4(bits) = item.what {
                item.label = map.ip4(bits);
            }
        }
        let mut ip6 = self.ip6.drain(..);
        for item in self.items.drain(..) {
            let Item { start, end, label, what } = item;
            let bits6 = if matches!(what, What::Ip6) { ip6.next().unwrap_or(0) } else { 0 };
            if wanted(label) {
                let found = match what {
                    What::Ip4(bits) => Found::Ip4(bits),
                    What::Ip6 => Found::Ip6(bits6),
                    What::Host => Found::Host(lower(&mut self.lower, &text[start..end])),
                };
                take(&Token { start, end, found }, label);
            }
        }
    }
}
