//! The PRISEM services as Polybus workers.

pub mod fields;
