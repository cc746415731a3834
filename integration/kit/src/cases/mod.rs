//! The cases, one table for each group.

mod a;
mod b;
mod c;
mod d;

use crate::case::Case;

/// Every case, in the order of the report.
#[must_use]
pub fn all() -> Vec<Case> {
    [a::CASES, b::CASES, c::CASES, d::CASES].concat()
}
