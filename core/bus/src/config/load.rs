//! From all sources to one set of settings.

use std::path::{Path, PathBuf};

use figment::value::Value;
use figment::{Figment, Provider};

use super::files::{self, Environment, Places};
use super::layer::{Layer, origin_of};
use super::{BusUrl, ConfigError, Effective, EffectiveSetting, KEYS, Key, Origin, Secret, Settings};
use super::{address, environment, old, secret, toml};
use crate::frame::Json;

/// Ports of AMQP, plain and with TLS.
const PORTS: (u16, u16) = (5672, 5671);

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
        let places = Places { directory: PathBuf::from("."), system: PathBuf::from("/etc/polybus/polybus.toml") };
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
        let layers = tables.map(|profiles| profiles.into_values().map(|t| toml::from_tables(origin.clone(), &t)));
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
        f.debug_struct("Loader").field("family", &self.family).field("places", &self.places).finish_non_exhaustive()
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

/// Layers, weakest first, and what they give together.
struct Merge {
    layers: Vec<Layer>,
    figment: Figment,
}

impl Merge {
    fn of(layers: Vec<Layer>) -> Self {
        let figment = layers.iter().cloned().fold(Figment::new(), Figment::merge);
        Self { layers, figment }
    }

    fn loaded(&self, places: &Places) -> Result<Loaded, ConfigError> {
        let extracted: Result<Settings, _> = self.figment.extract();
        let mut settings = extracted.map_err(|error| self.unextracted(&error))?;
        let mut effective = Effective(KEYS.iter().map(|key| self.setting(key)).collect());
        self.choose_bus(&mut settings, &mut effective);
        self.choose_port(&mut settings, &mut effective);
        self.choose_password(&mut settings, &mut effective, places)?;
        Ok(Loaded { settings, effective, notices: Vec::new() })
    }

    /// Values are checked when they are taken; what is left are rules of single settings.
    fn unextracted(&self, error: &figment::Error) -> ConfigError {
        let path = error.path.join(".");
        let expected = Key::find(&path).map_or_else(|| error.kind.to_string(), |key| key.kind.expected());
        ConfigError::expected(&self.origin(&path), &path, &expected)
    }

    fn origin(&self, path: &str) -> Origin {
        origin_of(self.figment.find_metadata(path))
    }

    /// How strong the source of a setting is; 0 for a default, and for none.
    fn strength(&self, path: &str) -> usize {
        self.layers.iter().rposition(|layer| layer.has(path)).unwrap_or(0)
    }

    fn setting(&self, key: &'static Key) -> EffectiveSetting {
        let value = self.figment.find_value(key.path).ok().map_or(Json::Null, |value| shown(key, &value));
        EffectiveSetting { key: key.path, value, origin: self.origin(key.path) }
    }

    /// A server from a stronger source than the bus URL's means: that server, not that URL.
    fn choose_bus(&self, settings: &mut Settings, effective: &mut Effective) {
        if self.strength("amqp.server") > self.strength("bus") {
            settings.bus = None;
            replace(effective, "bus", Json::Null, self.origin("amqp.server"));
        }
    }

    /// The port: its own setting, unless the server text is from a stronger source and has one.
    fn choose_port(&self, settings: &mut Settings, effective: &mut Effective) {
        let server = settings.amqp.host.clone();
        let (host, port) = address::split(&server).unwrap_or((&server, None));
        host.clone_into(&mut settings.amqp.host);
        let stronger = self.strength("amqp.server") > self.strength("amqp.port");
        let (chosen, origin) = match port {
            Some(port) if stronger => (port, self.origin("amqp.server")),
            _ if settings.amqp.port != 0 => (settings.amqp.port, self.origin("amqp.port")),
            Some(port) => (port, self.origin("amqp.server")),
            None if settings.amqp.tls => (PORTS.1, Origin::Default),
            None => (PORTS.0, Origin::Default),
        };
        settings.amqp.port = chosen;
        replace(effective, "amqp.port", Json::from(u64::from(chosen)), origin);
    }

    /// The password: its own setting, unless a file from a stronger source holds it.
    fn choose_password(
        &self,
        settings: &mut Settings,
        effective: &mut Effective,
        places: &Places,
    ) -> Result<(), ConfigError> {
        let Some(file) = &settings.amqp.password_file else { return Ok(()) };
        if self.strength("amqp.password") >= self.strength("amqp.password_file") {
            return Ok(());
        }
        let text = files::read(&places.directory.join(file))?;
        settings.amqp.password = text.lines().next().map(Secret::new);
        let origin = self.origin("amqp.password_file");
        replace(effective, "amqp.password", Json::from(secret::HIDDEN), origin);
        Ok(())
    }
}

fn replace(effective: &mut Effective, key: &'static str, value: Json, origin: Origin) {
    let place = effective.0.iter_mut().find(|setting| setting.key == key);
    place.into_iter().for_each(|setting| *setting = EffectiveSetting { key, value: value.clone(), origin: origin.clone() });
}

/// A value as it may be shown.
fn shown(key: &Key, value: &Value) -> Json {
    if key.kind.is_secret() {
        return Json::from(secret::HIDDEN);
    }
    match value {
        Value::String(_, text) if key.kind == super::Kind::Url => BusUrl::new(text.as_str()).to_string().into(),
        Value::String(_, text) => text.as_str().into(),
        Value::Bool(_, flag) => (*flag).into(),
        Value::Num(_, number) => number.to_u128().map_or_else(
            || number.to_f64().map_or(Json::Null, |float| Json::parse(float.to_string()).unwrap_or(Json::Null)),
            |whole| u64::try_from(whole).map_or(Json::Null, Json::from),
        ),
        _ => Json::Null,
    }
}
