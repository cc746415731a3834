//! Running over texts of any size: selection of lines, masking, lists and counts.

pub(crate) mod tally;

pub use tally::{Entry, Tally};
