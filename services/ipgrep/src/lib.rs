//! Find, mask, list and count identifiers in text against network maps.

mod ident;

pub use ident::{Address, Authority, Classes, ClassesError, Found, Kind, Token};
