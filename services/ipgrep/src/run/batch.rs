//! Identifiers of the core, looked up together.
//!
//! A lookup waits for memory and what is done with its result is hard to predict. Looked up one after the other without
//! anything in between, many addresses wait at the same time; and those that nobody wants are left out without asking.

use super::work::Seen;
use crate::ident::Token;
use crate::map::{LabelId, Map};
use crate::scan::{Finds, Ip4, Other, What, lower};

/// Room for identifiers with their labels.
#[derive(Debug, Default)]
pub(super) struct Batch {
    plain: Vec<(Ip4, Option<LabelId>)>,
    others: Vec<(Other, Option<LabelId>)>,
    places: Vec<u32>,
    lower: Vec<u8>,
}

impl Batch {
    /// Looks up what was found in `text` and gives it in order, unless `wanted` says otherwise of identifiers that do
    /// not match and of those that do.
    #[inline]
    pub(super) fn drain(
        &mut self,
        finds: &mut Finds,
        (text, map): (&[u8], &Map),
        wanted: [bool; 2],
        mut take: impl FnMut(&Token<'_>, Option<LabelId>),
    ) -> Seen {
        let identifiers = (finds.plain.len() + finds.others.len()) as u64;
        let matches = self.look_up_plain(finds, map, wanted) + self.look_up_others(finds, text, map, wanted);
        let mut plain = self.plain.drain(..).peekable();
        for (other, label) in self.others.drain(..) {
            while let Some((ip4, label)) = plain.next_if(|(ip4, _)| ip4.start < other.start) {
                take(&ip4.token(), label);
            }
            take(&other.token(text, &mut self.lower), label);
        }
        plain.for_each(|(ip4, label)| take(&ip4.token(), label));
        Seen { identifiers, matches }
    }

    /// Keeps the plain addresses that are wanted, and gives the number of matches.
    fn look_up_plain(&mut self, finds: &mut Finds, map: &Map, wanted: [bool; 2]) -> u64 {
        self.plain.resize(finds.plain.len(), Default::default());
        let (mut kept, mut matches, mut next) = (0, 0, finds.plain.iter());
        map.ip4_all(finds.plain.iter().map(|ip4| ip4.bits), &mut self.places, |label| {
            let (Some(ip4), Some(place)) = (next.next(), self.plain.get_mut(kept)) else { return };
            *place = (*ip4, label);
            kept += usize::from(wanted[usize::from(label.is_some())]);
            matches += u64::from(label.is_some());
        });
        finds.plain.clear();
        self.plain.truncate(kept);
        matches
    }

    fn look_up_others(&mut self, finds: &mut Finds, text: &[u8], map: &Map, wanted: [bool; 2]) -> u64 {
        let mut matches = 0;
        for other in finds.others.drain(..) {
            let label = match other.what {
                What::Ip4(bits) => map.ip4(bits),
                What::Ip6(bits) => map.ip6(bits),
                What::Host => host(map, &text[other.start..other.end], &mut self.lower),
            };
            matches += u64::from(label.is_some());
            if wanted[usize::from(label.is_some())] {
                self.others.push((other, label));
            }
        }
        matches
    }
}

/// The label of a name in any case.
#[inline]
fn host(map: &Map, name: &[u8], room: &mut Vec<u8>) -> Option<LabelId> {
    if map.has_names_like(name) { map.host(lower(room, name)) } else { None }
}
