//! The cases, one table for each group.

mod a;

use crate::case::Case;

/// Every case, in the order of the report.
#[must_use]
pub fn all() -> Vec<Case> {
    [a::CASES].concat()
}
