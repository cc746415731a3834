//! From all sources to one set of settings.

use std::path::{Path, PathBuf};

use figment::Provider;
use figment::value::Value;

use super::files::{self, Environment, Places};
use super::layer::Layer;
use super::merge::Merge;
use super::{ConfigError, Effective, KEYS, Key, Origin, Settings, environment, old, toml};

/// Which sources are the stronger ones of their layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `polybus.toml` and `POLYBUS_*`: programs of this release.
    Polybus,
    /// `rpc_config.yml` and `RPC_*`: programs called by an old name.
    Prisem,
}

impl Family {
    /// Both families, this one last.
    fn in_order(self) -> [Self; 2] {
        match self {
            Self::Polybus => [Self::Prisem, Self::Polybus],
            Self::Prisem => [Self::Polybus, Self::Prisem],
        }
    }
}

/// Gathers the sources of a program's settings.
#[derive(Clone)]
pub struct Loader {
    family: Family,
    environment: Environment,
    places: Places,
    flags: Vec<Result<Layer, ConfigError>>,
}

/// Settings that were loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Each with its origin.
    pub effective: Effective,
    /// What was passed over, for DEBUG.
    pub notices: Vec<String>,
}

impl Loader {
    /// No environment, and no files but those of the current folder and the system.
    #[must_use]
    pub fn new(family: Family) -> Self {
        let places =
            Places { directory: PathBuf::from("."), system: PathBuf::from("/etc/polybus/polybus.toml") };
        Self { family, environment: Environment::new(), places, flags: Vec::new() }
    }

    /// The environment of this process. Variables that are not UTF-8 are taken with their bad bytes replaced.
    #[must_use]
    pub fn from_process(family: Family) -> Self {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        Self::new(family).environment(std::env::vars_os().map(|(name, value)| (text(name), text(value))))
    }

    /// Replaces the environment.
    #[must_use]
    pub fn environment<N: Into<String>, V: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.environment = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        self
    }

    /// Looks for files in this folder instead of the current one.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.places.directory = directory.into();
        self
    }

    /// Takes this as the file of the whole system instead of `/etc/polybus/polybus.toml`.
    #[must_use]
    pub fn system_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.places.system = path.into();
        self
    }

    /// A flag of the command line: `flag` as the user wrote it (such as `--server`), and the value of the setting
    /// with `path` as key. Later flags win. A wrong one is reported by [`load`](Self::load).
    #[must_use]
    pub fn flag(mut self, flag: &str, path: &str, value: impl Into<Value>) -> Self {
        let mut layer = Layer::new(Origin::Flag(flag.to_owned()));
        let taken = match Key::find(path) {
            Some(key) => layer.value(key, path, &value.into()),
            None => Err(ConfigError::expected(&layer.origin, path, "the key of a setting")),
        };
        self.flags.push(taken.map(|()| layer));
        self
    }

    /// Flags of the command line from a figment provider, whose name is shown as their origin.
    #[must_use]
    pub fn provider(mut self, provider: impl Provider) -> Self {
        let origin = Origin::Flag(provider.metadata().name.into_owned());
        let tables = provider.data().map_err(|error| ConfigError::new(&origin, error.kind.to_string()));
        let layers =
            tables.map(|profiles| profiles.into_values().map(|t| toml::from_tables(origin.clone(), &t)));
        match layers {
            Ok(layers) => self.flags.extend(layers),
            Err(error) => self.flags.push(Err(error)),
        }
        self
    }

    /// Reads all sources and merges them.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first value that cannot be used, and for a file that cannot be read or is no
    /// mapping.
    pub fn load(self) -> Result<Loaded, ConfigError> {
        let mut notices = Vec::new();
        let mut layers = vec![defaults()?];
        for family in self.family.in_order() {
            layers.extend(self.file(family, &mut notices)?);
        }
        for family in self.family.in_order() {
            layers.extend(environment::layers(&self.environment, family)?);
        }
        let unknown = environment::unknown(&self.environment);
        notices.extend(unknown.into_iter().map(|name| format!("environment variable {name} is not known")));
        for flag in self.flags {
            layers.push(flag?);
        }
        Ok(Loaded { notices, ..Merge::of(layers).loaded(&self.places)? })
    }

    fn file(&self, family: Family, notices: &mut Vec<String>) -> Result<Option<Layer>, ConfigError> {
        match family {
            Family::Polybus => {
                let path = self.places.new_file(&self.environment);
                path.map(|path| toml::read(&path, &files::read(&path)?)).transpose()
            }
            Family::Prisem => {
                let named = self.places.named_old_file(&self.environment);
                let found = self.places.old_file(&self.environment);
                if let Some(named) = named.filter(|named| found.as_ref() != Some(named)) {
                    notices.push(format!("{}: named by RPC_CONFIG, does not exist", named.display()));
                }
                found.map(|path| old_layer(&path, notices)).transpose()
            }
        }
    }
}

/// Flags may hold secrets.
impl std::fmt::Debug for Loader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loader")
            .field("family", &self.family)
            .field("places", &self.places)
            .finish_non_exhaustive()
    }
}

fn old_layer(path: &Path, notices: &mut Vec<String>) -> Result<Layer, ConfigError> {
    let (layer, unknown) = old::read(path, &files::read(path)?)?;
    notices.extend(unknown.into_iter().map(|name| format!("{}: {name} is not known", path.display())));
    Ok(layer)
}

fn defaults() -> Result<Layer, ConfigError> {
    let mut layer = Layer::new(Origin::Default);
    for key in KEYS {
        if let Some(text) = key.default {
            layer.text(key, key.path, text)?;
        }
    }
    Ok(layer)
}
