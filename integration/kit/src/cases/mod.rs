//! The cases, one table for each group.

mod a;
mod b;
mod c;
mod d;
mod e;
mod f;
mod g;
mod h;
mod i;
mod j;
mod k;
mod l;
mod r;

use crate::case::Case;

/// Every case, in the order of the report.
#[must_use]
pub fn all() -> Vec<Case> {
    [
        a::CASES,
        b::CASES,
        c::CASES,
        d::CASES,
        e::CASES,
        f::CASES,
        g::CASES,
        h::CASES,
        i::CASES,
        j::CASES,
        k::CASES,
        l::CASES,
        r::CASES,
    ]
    .concat()
}
