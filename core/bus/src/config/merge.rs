//! One set of settings from all layers.

use figment::Figment;
use figment::value::Value;

use super::files::{self, Places};
use super::layer::{Layer, origin_of};
use super::{
    BusUrl, ConfigError, Effective, EffectiveSetting, KEYS, Key, Kind, Loaded, Origin, Secret, Settings,
};
use super::{address, secret};
use crate::frame::Json;

/// Ports of AMQP, plain and with TLS.
const PORTS: (u16, u16) = (5672, 5671);

/// Layers, weakest first, and what they give together.
pub(super) struct Merge {
    layers: Vec<Layer>,
    figment: Figment,
}

impl Merge {
    pub(super) fn of(layers: Vec<Layer>) -> Self {
        let figment = layers.iter().cloned().fold(Figment::new(), Figment::merge);
        Self { layers, figment }
    }

    pub(super) fn loaded(&self, places: &Places) -> Result<Loaded, ConfigError> {
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
    if let Some(setting) = effective.0.iter_mut().find(|setting| setting.key == key) {
        *setting = EffectiveSetting { key, value, origin };
    }
}

/// A value as it may be shown.
fn shown(key: &Key, value: &Value) -> Json {
    if key.kind.is_secret() {
        return Json::from(secret::HIDDEN);
    }
    match value {
        Value::String(_, text) if key.kind == Kind::Url => BusUrl::new(text.as_str()).to_string().into(),
        Value::String(_, text) => text.as_str().into(),
        Value::Bool(_, flag) => (*flag).into(),
        Value::Array(_, values) => values.iter().map(|value| shown(key, value)).collect::<Vec<_>>().into(),
        Value::Num(_, number) => number.to_u128().map_or_else(
            || {
                number
                    .to_f64()
                    .map_or(Json::Null, |float| Json::parse(float.to_string()).unwrap_or(Json::Null))
            },
            |whole| u64::try_from(whole).map_or(Json::Null, Json::from),
        ),
        _ => Json::Null,
    }
}
