//! Find, mask, list and count identifiers in text against network maps.

mod ident;
mod map;
mod run;

pub use ident::{Address, Authority, Classes, ClassesError, Found, Kind, Token};
pub use map::{Broken, BrokenRow, LabelChoice, LabelId, Loaded, Map, MapError, MapFormat, MapOptions, Tlp};
pub use run::{Entry, Tally};
