//! The services that this executable can serve itself.

use polybus::config::Settings;
use polybus::{Needs, Server, Service};
use polybus_ipgrep::{MapOptions, Tlp};
use polybus_suite::{Anon, Crosscor, ServerMap};

use crate::console::{Failure, Outcome};
use crate::options::Compat;

/// A service of this executable.
pub(crate) struct BuiltIn {
    /// Its short name.
    pub(crate) name: &'static str,
    /// What it does, in one line.
    pub(crate) about: &'static str,
    make: fn(ServerMap, &[Compat]) -> Box<dyn Service>,
}

/// All of them.
pub(crate) const BUILT_IN: &[BuiltIn] = &[
    BuiltIn {
        name: "anon",
        about: "masks or classifies the identifiers of a text by a network map",
        make: |map, _| Box::new(Anon::new(map)),
    },
    BuiltIn {
        name: "crosscor",
        about: "tells which identifiers of a map occur in a text, and with whom",
        make: |map, compat| Box::new(Crosscor::new(map).with_short_site(compat.contains(&Compat::ShortSite))),
    },
];

impl BuiltIn {
    /// The service with this name.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        BUILT_IN.iter().find(|service| service.name == name)
    }

    /// The service with this name, which a command line asks for.
    ///
    /// # Errors
    /// Exit 2, naming all there are.
    pub(crate) fn named(name: &str) -> Outcome<&'static Self> {
        Self::find(name).ok_or_else(|| {
            Failure::usage(format!("no service {name} in this program; it has {}", Self::names()))
        })
    }

    /// The services that the settings name for this machine; all there are if they name none.
    ///
    /// # Errors
    /// Exit 78, naming all there are.
    pub(crate) fn configured(settings: &Settings) -> Outcome<Vec<&'static Self>> {
        let Some(names) = &settings.up.services else { return Ok(BUILT_IN.iter().collect()) };
        let one = |name: &String| {
            Self::find(name).ok_or_else(|| {
                let known = Self::names();
                Failure::configuration(format!(
                    "up.services: no service {name} in this program; it has {known}"
                ))
            })
        };
        names.iter().map(one).collect()
    }

    /// All names, for texts.
    pub(crate) fn names() -> String {
        BUILT_IN.iter().map(|service| service.name).collect::<Vec<_>>().join(", ")
    }

    /// The service, ready to serve.
    pub(crate) fn make(&self, settings: &Settings, compat: &[Compat]) -> Box<dyn Service> {
        // The settings have checked the word.
        let tlp = settings.tlp.as_deref().and_then(|level| level.parse().ok()).unwrap_or(Tlp::White);
        let options = MapOptions { tlp, ..MapOptions::default() };
        let map = ServerMap { file: settings.map.clone(), options };
        (self.make)(map, compat)
    }

    /// What it needs of a bus.
    pub(crate) fn needs() -> Needs {
        Server::needs()
    }
}
