//! The local tools, under their old names (PRISEM services specification, 0).

mod break_report;
mod compat;
pub(crate) mod crosscor;
pub(crate) mod cumdist;
mod grammar;
mod inputs;
pub(crate) mod ipgrep;
mod keys;
mod maps;
mod masks;
mod talk;
