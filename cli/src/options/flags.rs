//! From options to settings.

use polybus::config::Loader;

use super::General;

/// Options of a command line that are settings: the option, the key, the value.
#[derive(Debug, Default)]
pub(crate) struct Flags(Vec<(&'static str, &'static str, String)>);

impl Flags {
    /// Takes an option if it was given.
    pub(crate) fn take(&mut self, option: &'static str, key: &'static str, value: Option<&String>) {
        self.0.extend(value.map(|value| (option, key, value.clone())));
    }

    /// Takes a switch if it is on.
    pub(crate) fn switch(&mut self, option: &'static str, key: &'static str, on: bool) {
        self.0.extend(on.then(|| (option, key, "true".to_owned())));
    }

    /// Hands all to the loader of the settings.
    pub(crate) fn load_into(self, loader: Loader) -> Loader {
        self.0.into_iter().fold(loader, |loader, (option, key, value)| loader.flag(option, key, value))
    }
}

/// What the options of every program on a bus have in common.
pub(crate) trait Shared {
    /// What every program understands.
    fn general(&self) -> &General;

    /// The settings among its options.
    fn flags(&self, flags: &mut Flags);
}
