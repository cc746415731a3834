//! Find, mask, list and count identifiers in text against network maps.

mod break_report;
mod build_map;
mod crosscor;
mod cumdist;
mod ident;
mod json;
mod key;
mod map;
mod mask;
mod percent;
mod pfx;
mod pseudonym;
mod run;
mod scan;
mod stats;
#[cfg(test)]
mod vectors;
mod view;

pub use break_report::{BreakError, BreakMaps, BreakOptions, BreakReport, Earlier};
pub use build_map::{BuildMapError, BuiltMap, Feed, build_map};
pub use crosscor::{Correlation, Iff};
pub use cumdist::{CumdistError, Distribution, read_int};
pub use ident::{Address, Authority, Classes, ClassesError, Found, Kind, Token};
pub use json::{Shown, write_classification};
pub use key::{KeyError, SecretKey};
pub use map::{
    Broken, BrokenRow, LabelChoice, LabelId, Loaded, Map, MapError, MapFormat, MapOptions, Tlp, find_map,
};
pub use mask::{BadPadding, MaskOptions, Masker, Padding, PfxScope, clean_label, write_mask};
pub use percent::percent;
pub use pfx::{Pfx, PfxMode};
pub use pseudonym::Pseudonyms;
pub use run::{Count, Entry, Output, Report, RunError, RunOptions, Select, Tally, run};
pub use scan::{Covers, Dns, DnsError, Grammar, Scanner, Tlds};
pub use stats::LabelCounts;
