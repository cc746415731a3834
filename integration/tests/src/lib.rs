//! What the end-to-end tests share: the built command, the vectors, and how a case is run and judged.

mod binary;
mod case;
mod desk;
mod judge;

pub use binary::{Error, Programs, feed};
pub use case::{Case, Compare, Expect, cases, vectors};
pub use desk::Desk;
pub use judge::judge;
