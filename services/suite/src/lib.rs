//! The PRISEM services as Polybus workers.
//!
//! Each service is a [`polybus::Service`] around an engine that knows no bus. [`named`] makes one by its short name,
//! as `polybus serve NAME` does.

mod anon;
mod crosscor;
mod engine;
pub mod fields;
mod large;
mod maps;

use polybus::Service;

pub use anon::Anon;
pub use crosscor::Crosscor;
pub use maps::ServerMap;

/// The short names of the services in this crate.
pub const NAMES: [&str; 2] = ["anon", "crosscor"];

/// How the services of this crate are set up.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// The map for requests that bring none.
    pub map: ServerMap,
    /// `--compat short-site`.
    pub short_site: bool,
}

/// The service of this short name; `None` for a name that is not one of [`NAMES`].
#[must_use]
pub fn named(name: &str, setup: &Setup) -> Option<Box<dyn Service>> {
    match name {
        "anon" => Some(Box::new(Anon::new(setup.map.clone()))),
        "crosscor" => Some(Box::new(Crosscor::new(setup.map.clone()).with_short_site(setup.short_site))),
        _ => None,
    }
}
