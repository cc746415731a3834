//! Find, mask, list and count identifiers in text against network maps.

mod ident;
mod key;
mod map;
mod mask;
mod percent;
mod pfx;
mod pseudonym;
mod run;
#[cfg(test)]
mod vectors;

pub use ident::{Address, Authority, Classes, ClassesError, Found, Kind, Token};
pub use map::{Broken, BrokenRow, LabelChoice, LabelId, Loaded, Map, MapError, MapFormat, MapOptions, Tlp};
pub use run::{Entry, Tally};
pub use key::{KeyError, SecretKey};
pub use mask::{BadPadding, MaskOptions, Masker, Padding, PfxScope, clean_label, write_mask};
pub use percent::percent;
pub use pfx::{Pfx, PfxMode};
pub use pseudonym::Pseudonyms;
