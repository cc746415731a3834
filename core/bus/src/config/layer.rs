//! One source of settings, and its name.

use std::fmt;
use std::path::PathBuf;

use figment::value::{Dict, Map, Value};
use figment::{Error, Metadata, Profile, Provider, Source};

use super::{ConfigError, Key};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody gave it.
    Default,
    /// A configuration file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => path.display().fmt(f),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// Checked values from one origin.
#[derive(Clone)]
pub(super) struct Layer {
    pub(super) origin: Origin,
    pub(super) values: Vec<(&'static Key, Value)>,
}

impl Layer {
    pub(super) fn new(origin: Origin) -> Self {
        Self { origin, values: Vec::new() }
    }

    /// Takes a text for `key`, which this source spells `spelled`.
    pub(super) fn text(&mut self, key: &'static Key, spelled: &str, text: &str) -> Result<(), ConfigError> {
        self.push(key, spelled, key.kind.of_text(text))
    }

    /// Takes a typed value for `key`, which this source spells `spelled`.
    pub(super) fn value(
        &mut self,
        key: &'static Key,
        spelled: &str,
        value: &Value,
    ) -> Result<(), ConfigError> {
        self.push(key, spelled, key.kind.of_value(value))
    }

    fn push(
        &mut self,
        key: &'static Key,
        spelled: &str,
        value: Result<Option<Value>, ()>,
    ) -> Result<(), ConfigError> {
        let value = value.map_err(|()| ConfigError::expected(&self.origin, spelled, &key.kind.expected()))?;
        self.values.extend(value.map(|value| (key, value)));
        Ok(())
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.values.iter().any(|(key, _)| key.path == path)
    }
}

/// Names of figment's metadata, from which [`origin_of`] finds its way back.
const FILE: &str = "configuration file";
const VARIABLE: &str = "environment variable";
const FLAG: &str = "command line";

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        match &self.origin {
            Origin::Default => Metadata::named("default"),
            Origin::File(path) => Metadata::from(FILE, path.as_path()),
            Origin::Environment(variable) => Metadata::from(VARIABLE, Source::Custom(variable.clone())),
            Origin::Flag(flag) => Metadata::from(FLAG, Source::Custom(flag.clone())),
        }
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let mut data = Dict::new();
        for (key, value) in &self.values {
            match key.path.split_once('.') {
                None => _ = data.insert(key.path.to_owned(), value.clone()),
                Some((table, name)) => {
                    let table = data.entry(table.to_owned()).or_insert_with(|| Value::from(Dict::new()));
                    if let Value::Dict(_, entries) = table {
                        entries.insert(name.to_owned(), value.clone());
                    }
                }
            }
        }
        Ok(Profile::Default.collect(data))
    }
}

/// The origin behind figment's metadata.
pub(super) fn origin_of(metadata: Option<&Metadata>) -> Origin {
    let Some(metadata) = metadata else { return Origin::Default };
    match (&*metadata.name, &metadata.source) {
        (FILE, Some(Source::File(path))) => Origin::File(path.clone()),
        (VARIABLE, Some(Source::Custom(variable))) => Origin::Environment(variable.clone()),
        (FLAG, Some(Source::Custom(flag))) => Origin::Flag(flag.clone()),
        _ => Origin::Default,
    }
}
